/* Whole simulations: a sound cluster comes through, the same seed is the same run, and a journal that lies is
 * caught. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "histories/histories.h"
#include "simulator/simulator.h"
#include "simulator/test/lying_journal.h"

static struct simulation_result run(uint64_t seed, const struct plan_options *drawn,
                                    const struct simulation_options *options) {
  struct plan plan;
  struct error error;
  struct simulation_result result;
  cr_assert_eq(plan_draw(seed, drawn, &plan, &error), 0, "%s", error.message);
  simulate(&plan, options, &result);
  plan_free(&plan);
  return result;
}

static void come_through(uint64_t seed, const struct plan_options *drawn) {
  const struct simulation_options options = {.journal = raft_journal_new, .check = true};
  struct simulation_result result = run(seed, drawn, &options);
  cr_assert_eq(result.evidence, EVIDENCE_NONE, "seed %llu: %s %s: %s", (unsigned long long)seed,
               evidence_name(result.evidence), result.invariant, result.text);
  cr_assert_gt(result.ok, 0, "seed %llu: nobody was answered", (unsigned long long)seed);
  simulation_result_free(&result);
}

Test(simulation, a_sound_cluster_comes_through) {
  for (uint64_t seed = 1; seed <= 60; seed++) {
    const struct plan_options drawn = {.nodes = seed % 2 ? 3 : 5};
    come_through(seed, &drawn);
  }
}

/* Plans that found something when it was new, as small as they could be made:
 *   lost-disk               a node that lost its disk was never sent what it lost while one leader led
 *   unsynced-first-frame    a segment's first frame could not be synced; as the next one was made already,
 * the log could not be trusted any more checkpoint-never-taken  a journal that is closed waited for ever for
 * a snapshot whose write had failed */
Test(simulation, plans_that_found_something_come_through) {
  static const char *const names[] = {"lost-disk", "unsynced-first-frame", "checkpoint-never-taken"};
  const char *source = getenv("ASSAY_SOURCE");
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    char path[1024];
    struct plan plan;
    struct error error;
    struct simulation_result result;
    snprintf(path, sizeof path, "%s/simulator/corpus/%s.json", source ? source : ".", names[i]);
    cr_assert_eq(plan_read(path, &plan, &error), 0, "%s", error.message);
    const struct simulation_options options = {.journal = raft_journal_new, .check = true};
    simulate(&plan, &options, &result);
    cr_assert_eq(result.evidence, EVIDENCE_NONE, "%s: %s: %s", names[i], evidence_name(result.evidence),
                 result.text);
    simulation_result_free(&result);
    plan_free(&plan);
  }
}

/* -- determinism ---------------------------------------------------------------------------------------- */

static void tell_nobody(void *context, const struct transition *transition) {
  (*(uint64_t *)context) += transition->number;
}

Test(simulation, two_hundred_seeds_run_twice_are_the_same) {
  const struct simulation_options once = {.journal = raft_journal_new};
  uint64_t before = 0;
  for (uint64_t seed = 1000; seed < 1200; seed++) {
    uint64_t told = 0;
    /* A trace and a history that is kept must not change anything. */
    const struct simulation_options again = {.journal = raft_journal_new,
                                             .keep_history = seed % 2,
                                             .trace = seed % 10 ? NULL : tell_nobody,
                                             .trace_context = &told};
    const struct plan_options drawn = {.duration_ns = 20 * NS_PER_S};
    struct simulation_result first = run(seed, &drawn, &once), second = run(seed, &drawn, &again);
    cr_assert_eq(first.digest, second.digest, "seed %llu", (unsigned long long)seed);
    cr_assert_eq(first.transitions, second.transitions);
    cr_assert_eq(first.operations, second.operations);
    cr_assert_neq(first.digest, before, "two seeds have one digest");
    before = first.digest;
    simulation_result_free(&first);
    simulation_result_free(&second);
  }
}

Test(simulation, a_run_ends_where_it_is_told_to) {
  const struct simulation_options options = {.journal = raft_journal_new, .until = 500};
  struct simulation_result result = run(7, &(struct plan_options){0}, &options);
  cr_assert_eq(result.transitions, 499);
  cr_assert_eq(result.evidence, EVIDENCE_NONE);
  simulation_result_free(&result);
}

Test(simulation, what_is_omitted_is_not_done_and_changes_no_number) {
  const struct simulation_options options = {.journal = raft_journal_new, .keep_history = true};
  const struct plan_options calm = {.nodes = 3, .faults = "clock-jump", .duration_ns = 20 * NS_PER_S};
  uint64_t omitted[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  struct plan plan;
  struct error error;
  cr_assert_eq(plan_draw(11, &calm, &plan, &error), 0);
  struct simulation_result all, fewer;
  simulate(&plan, &options, &all);
  plan.omitted = omitted;
  plan.omitted_count = ARRAY_SIZE(omitted);
  simulate(&plan, &options, &fewer);
  plan.omitted = NULL;
  plan.omitted_count = 0;
  cr_assert_gt(all.operations, 20);
  cr_assert_gt(fewer.operations, 0);
  cr_assert_eq(all.evidence, EVIDENCE_NONE);
  cr_assert_eq(fewer.evidence, EVIDENCE_NONE, "%s", fewer.text);
  simulation_result_free(&all);
  simulation_result_free(&fewer);
  plan_free(&plan);
}

/* -- a journal that lies -------------------------------------------------------------------------------- */

static void expect(enum lie lie, enum evidence evidence, const char *invariant) {
  const struct simulation_options options = {.journal = lying_journal_new};
  const struct plan_options calm = {.nodes = 3, .faults = "clock-jump", .duration_ns = 20 * NS_PER_S};
  lying_journal_lie(lie);
  struct simulation_result result = run(5, &calm, &options);
  lying_journal_lie(LIE_NONE);
  cr_assert_eq(result.evidence, evidence, "lie %d is taken for %s %s: %s", (int)lie,
               evidence_name(result.evidence), result.invariant, result.text);
  cr_assert_str_eq(result.invariant, invariant, "lie %d is taken for %s: %s", (int)lie, result.invariant,
                   result.text);
  if (evidence != EVIDENCE_NONE)
    cr_assert_gt(result.at, 0);
  simulation_result_free(&result);
}

Test(simulation, a_journal_that_tells_the_truth) {
  expect(LIE_NONE, EVIDENCE_NONE, "");
}

Test(simulation, two_leaders_are_seen) {
  expect(LIE_LEADS_TOO, EVIDENCE_INVARIANT, "election-safety");
}

Test(simulation, a_leader_with_a_short_log_is_seen) {
  expect(LIE_SHORT_LOG, EVIDENCE_INVARIANT, "leader-completeness");
}

Test(simulation, a_skipped_entry_is_seen) {
  expect(LIE_SKIPS, EVIDENCE_INVARIANT, "commit-monotonic");
}

Test(simulation, an_entry_emptied_at_one_replica_is_seen) {
  expect(LIE_EMPTIES, EVIDENCE_INVARIANT, "state-machine-safety");
}

Test(simulation, a_confirmation_that_asks_nobody_is_seen_by_the_history) {
  const struct simulation_options options = {.journal = lying_journal_new, .check = true, .minimise = true};
  const struct plan_options drawn = {.faults = "partition,pause,stalled-partition"};
  size_t found = 0;
  lying_journal_lie(LIE_CONFIRMS);
  for (uint64_t seed = 1; seed <= 300 && found == 0; seed++) {
    struct simulation_result result = run(seed, &drawn, &options);
    if (result.evidence == EVIDENCE_HISTORY) {
      found++;
      cr_assert_leq(result.counterexample_count, 10);
      cr_assert_not_null(result.explanation);
    } else {
      cr_assert_eq(result.evidence, EVIDENCE_NONE, "seed %llu: %s", (unsigned long long)seed, result.text);
    }
    simulation_result_free(&result);
  }
  lying_journal_lie(LIE_NONE);
  cr_assert_eq(found, 1);
}

Test(simulation, a_cluster_that_never_has_a_leader_is_not_live) {
  expect(LIE_NEVER_LEADS, EVIDENCE_LIVENESS, "");
}

Test(simulation, a_node_that_ends_without_a_reason_is_seen) {
  expect(LIE_FATAL, EVIDENCE_FATAL, "");
}
