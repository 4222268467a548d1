/* Seeds over several processes: the order in which they count, and what becomes of one that ends its process.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "harness/sim.h"

struct seen {
  struct seed_record records[64];
  size_t count;
};

static void note(void *context, const struct seed_record *record) {
  struct seen *seen = context;
  cr_assert_lt(seen->count, 64);
  seen->records[seen->count++] = *record;
}

static struct pool_options options_of(struct seen *seen, uint64_t first, uint64_t last, size_t jobs) {
  const struct sim_settings settings = {.design = &sim_raft, .time_ns = 2 * NS_PER_S, .nodes = 3};
  return (struct pool_options){.first = first,
                               .last = last,
                               .draw = sim_draw_options(&settings),
                               .simulation = sim_run_options(&settings),
                               .jobs = jobs,
                               .seed_budget_ns = 60 * NS_PER_S,
                               .each = note,
                               .context = seen};
}

static struct pool_totals run(const struct pool_options *options) {
  struct pool_totals totals;
  struct error error = {0};
  cr_assert_eq(pool_run(options, &totals, &error), 0, "%s", error.message);
  return totals;
}

Test(pool, results_count_in_the_order_of_seeds_whatever_the_jobs) {
  struct seen one = {0}, many = {0};
  const struct pool_options alone = options_of(&one, 1, 24, 1), together = options_of(&many, 1, 24, 5);
  const struct pool_totals first = run(&alone), second = run(&together);
  cr_expect_eq(first.seeds, 24);
  cr_expect_eq(first.digest, second.digest);
  cr_expect_eq(first.transitions, second.transitions);
  cr_assert_eq(many.count, 24);
  for (size_t i = 0; i < 24; i++) {
    cr_expect_eq(many.records[i].seed, i + 1);
    cr_expect_eq(many.records[i].digest, one.records[i].digest);
  }
}

static struct journal *die(const struct raft_journal_options *options, const struct world *world,
                           const struct state_machine *state) {
  (void)options, (void)world, (void)state;
  fprintf(stderr, "sim: no reason\n");
  abort();
}

static struct journal *never_end(const struct raft_journal_options *options, const struct world *world,
                                 const struct state_machine *state) {
  (void)options, (void)world, (void)state;
  for (volatile int turn = 0;; turn = !turn)
    continue;
  return NULL;
}

Test(pool, a_seed_that_kills_its_process_is_evidence_about_that_seed) {
  struct seen seen = {0};
  struct pool_options options = options_of(&seen, 5, 9, 2);
  options.simulation.journal = die;
  const struct pool_totals totals = run(&options);
  cr_expect_eq(totals.seeds, 5);
  cr_expect_eq(totals.failed, 5);
  cr_expect_eq(totals.first_failed, 5);
  for (size_t i = 0; i < seen.count; i++) {
    cr_expect_eq(seen.records[i].seed, 5 + i);
    cr_expect_str_eq(seed_kind(&seen.records[i]), "crash");
    cr_expect(strstr(seen.records[i].text, "no reason"), "%s", seen.records[i].text);
  }
}

Test(pool, a_seed_without_end_is_stuck) {
  struct seen seen = {0};
  struct pool_options options = options_of(&seen, 1, 1, 2);
  options.simulation.journal = never_end;
  options.seed_budget_ns = 200 * NS_PER_MS;
  const struct pool_totals totals = run(&options);
  cr_expect_eq(totals.failed, 1);
  cr_expect_str_eq(seed_kind(&seen.records[0]), "stuck");
}

Test(pool, stop_at_first_ends_with_the_lowest_seed_that_fails) {
  struct seen seen = {0};
  struct pool_options options = options_of(&seen, 3, 60, 4);
  options.simulation.journal = die;
  options.stop_at_first = true;
  const struct pool_totals totals = run(&options);
  cr_expect_eq(totals.seeds, 1);
  cr_expect_eq(totals.first_failed, 3);
  cr_expect_eq(seen.count, 1);
}

Test(pool, what_failed_decides_the_exit_code) {
  cr_expect_eq(sim_exit_code(&(struct pool_totals){.seeds = 3, .ok = 9}), EXIT_VALID);
  cr_expect_eq(sim_exit_code(&(struct pool_totals){.seeds = 3, .ok = 9, .unknown = 1}), EXIT_UNKNOWN);
  cr_expect_eq(sim_exit_code(&(struct pool_totals){.seeds = 3, .ok = 0}), EXIT_UNKNOWN);
  cr_expect_eq(sim_exit_code(&(struct pool_totals){.seeds = 3, .ok = 9, .interrupted = true}), EXIT_UNKNOWN);
  cr_expect_eq(sim_exit_code(&(struct pool_totals){.seeds = 3, .ok = 9, .out_of_time = true}), EXIT_VALID);
  cr_expect_eq(sim_exit_code(&(struct pool_totals){.seeds = 3, .ok = 9, .unknown = 1, .failed = 1}),
               EXIT_INVALID);
}

Test(sim, the_command_that_repeats_a_seed_restricts_what_is_drawn) {
  char text[SIM_AGAIN_SIZE];
  const struct sim_settings plain = {.design = &sim_raft};
  cr_expect_str_eq(sim_again(&plain, 7, text), "assay sim --seed 7");
  const struct sim_settings full = {.design = &sim_raft,
                                    .nodes = 5,
                                    .time_ns = 2500 * NS_PER_MS,
                                    .workload = "moves",
                                    .faults = "disk",
                                    .bug = "x",
                                    .no_check = true};
  cr_expect_str_eq(
      sim_again(&full, 7, text),
      "assay sim --seed 7 --nodes 5 --time 2500ms --workload moves --faults disk --bug x --no-check");
}
