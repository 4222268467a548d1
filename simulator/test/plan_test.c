#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "simulator/plan.h"

static char path[64];

static void make_path(void) {
  snprintf(path, sizeof path, "/tmp/plan-test-XXXXXX");
  const int file = mkstemp(path);
  cr_assert(file >= 0);
  close(file);
}

static void remove_path(void) {
  unlink(path);
}

TestSuite(plan, .init = make_path, .fini = remove_path);

static struct plan draw(uint64_t seed) {
  struct plan plan;
  cr_assert(plan_draw(seed, NULL, &plan, NULL) == 0);
  return plan;
}

static bool same_faults(const struct plan *a, const struct plan *b) {
  bool same = a->fault_count == b->fault_count;
  for (size_t i = 0; same && i < a->fault_count; i++) {
    const struct planned_fault *f = &a->faults[i], *g = &b->faults[i];
    same = f->fault == g->fault && f->target == g->target && f->node == g->node && f->at_ns == g->at_ns &&
           f->for_ns == g->for_ns && f->at_election == g->at_election && f->after_ns == g->after_ns &&
           f->strength == g->strength && f->draw == g->draw;
  }
  return same;
}

static bool same_weather(const struct weather *a, const struct weather *b) {
  bool same = a->loss == b->loss && a->duplication == b->duplication && a->delay_ns == b->delay_ns &&
              a->jitter_ns == b->jitter_ns && a->slow_frame == b->slow_frame && a->disk_ns == b->disk_ns &&
              a->disk_jitter_ns == b->disk_jitter_ns && a->disk_stall == b->disk_stall &&
              a->store_ns == b->store_ns;
  for (size_t i = 0; i < SIMULATOR_NODES_MAX; i++)
    same = same && a->clock_drift[i] == b->clock_drift[i];
  return same;
}

static bool same(const struct plan *a, const struct plan *b) {
  return a->seed == b->seed && a->nodes == b->nodes && a->duration_ns == b->duration_ns &&
         a->election_timeout_ms == b->election_timeout_ms && a->heartbeat_ms == b->heartbeat_ms &&
         a->snapshot_threshold == b->snapshot_threshold && a->snapshot_trailing == b->snapshot_trailing &&
         a->segment_size == b->segment_size && a->cache_size == b->cache_size &&
         a->row_cache_size == b->row_cache_size && a->write_size == b->write_size &&
         same_weather(&a->weather, &b->weather) && a->workload == b->workload && a->clients == b->clients &&
         a->think_ns == b->think_ns && a->burst_ns == b->burst_ns && a->silence_ns == b->silence_ns &&
         a->request_timeout_ns == b->request_timeout_ns && a->attempt_timeout_ns == b->attempt_timeout_ns &&
         a->operations_per_set == b->operations_per_set && a->any_readers == b->any_readers &&
         a->reports == b->reports && a->operations == b->operations && same_faults(a, b) &&
         a->omitted_count == b->omitted_count &&
         (a->omitted_count == 0 ||
          memcmp(a->omitted, b->omitted, a->omitted_count * sizeof *a->omitted) == 0);
}

/* Some of the first operations, alone and in ranges. */
static void omit_some(struct plan *plan, struct random *random) {
  plan->omitted = xcalloc((size_t)plan->operations + 1, sizeof *plan->omitted);
  const double density = random_unit(random);
  for (uint64_t i = 0; i < plan->operations; i++)
    if (random_chance(random, density))
      plan->omitted[plan->omitted_count++] = i;
}

static void check_again(const struct plan *plan, bool by_file) {
  struct plan again;
  struct error error = {0};
  struct bytes text = {0};
  int status;
  if (by_file) {
    cr_assert(plan_write(plan, path, &error) == 0, "%s", error.message);
    status = plan_read(path, &again, &error);
  } else {
    cr_assert(plan_encode(plan, &text, &error) == 0, "%s", error.message);
    status = plan_decode(text.data, text.size, "memory", &again, &error);
  }
  cr_assert(status == 0, "seed %" PRIu64 ": %s", plan->seed, error.message);
  cr_assert(same(plan, &again), "seed %" PRIu64, plan->seed);
  plan_free(&again);
  bytes_free(&text);
}

Test(plan, what_is_written_is_read_again) {
  struct random random;
  random_seed(&random, 1);
  for (uint64_t i = 0; i < 1000; i++) {
    struct plan plan = draw(i % 3 == 0 ? random_next(&random) : i);
    if (i % 2 == 0)
      omit_some(&plan, &random);
    check_again(&plan, i % 50 == 0);
    plan_free(&plan);
  }
}

Test(plan, a_seed_draws_one_plan_and_a_copy_is_like_it) {
  for (uint64_t seed = 0; seed < 200; seed++) {
    struct plan plan = draw(seed), again = draw(seed), copy;
    plan_copy(&plan, &copy);
    cr_assert(same(&plan, &again) && same(&plan, &copy));
    plan_free(&plan);
    plan_free(&again);
    plan_free(&copy);
  }
}

Test(plan, a_plan_stays_within_its_bounds) {
  for (uint64_t seed = 0; seed < 3000; seed++) {
    const struct plan plan = draw(seed);
    cr_assert(plan.nodes == 3 || plan.nodes == 5);
    cr_assert(plan.duration_ns >= 20 * NS_PER_S && plan.duration_ns <= 120 * NS_PER_S);
    cr_assert(plan.heartbeat_ms * 2 <= plan.election_timeout_ms);
    cr_assert(plan.weather.delay_ns + plan.weather.jitter_ns < plan.election_timeout_ms * NS_PER_MS / 2);
    cr_assert(plan.attempt_timeout_ns <= plan.request_timeout_ns);
    cr_assert(plan.any_readers <= plan.clients);
    cr_assert(plan.clients >= 2 && plan.clients <= SIMULATOR_CLIENTS_MAX);
    for (size_t i = 0; i < plan.fault_count; i++) {
      cr_assert(plan.faults[i].at_ns >= 0 && plan.faults[i].at_ns < plan.duration_ns);
      cr_assert(plan.faults[i].for_ns >= 0 && plan.faults[i].node < plan.nodes);
      cr_assert(i == 0 || plan.faults[i - 1].at_ns <= plan.faults[i].at_ns);
      cr_assert(!isnan(plan.faults[i].strength));
    }
    plan_free((struct plan *)&plan);
  }
}

/* What a swarm is for: everything comes up, and nothing comes up always. */
Test(plan, every_fault_is_in_many_plans_and_missing_in_many) {
  enum { SEEDS = 2000 };
  size_t plans[SIMULATED_FAULTS] = {0}, with_snapshots = 0, large = 0, readers = 0, all_read = 0;
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    struct plan plan = draw(seed);
    bool seen[SIMULATED_FAULTS] = {false};
    for (size_t i = 0; i < plan.fault_count; i++)
      seen[plan.faults[i].fault] = true;
    for (size_t i = 0; i < SIMULATED_FAULTS; i++)
      plans[i] += seen[i];
    with_snapshots += plan.snapshot_threshold <= 200;
    large += plan.nodes == 5;
    readers += plan.any_readers > 0;
    all_read += plan.any_readers == plan.clients;
    plan_free(&plan);
  }
  for (size_t i = 0; i < SIMULATED_FAULTS; i++)
    cr_assert(plans[i] > SEEDS / 20 && plans[i] < SEEDS * 9 / 10, "%s is in %zu of %d plans",
              simulated_fault_name((enum simulated_fault)i), plans[i], SEEDS);
  cr_assert(with_snapshots > SEEDS / 2 && with_snapshots < SEEDS * 9 / 10);
  cr_assert(large > SEEDS / 6 && large < SEEDS / 3);
  cr_assert(readers > SEEDS / 3 && readers < SEEDS * 2 / 3, "any nodes are read in %zu", readers);
  cr_assert(all_read > SEEDS / 8 && readers > all_read + SEEDS / 8, "by all in %zu", all_read);
}

Test(plan, options_bound_what_is_drawn) {
  const struct plan_options options = {
      .nodes = 5, .duration_ns = 7 * NS_PER_S, .workload = "moves", .reads = "any", .faults = "crash,disk"};
  for (uint64_t seed = 0; seed < 300; seed++) {
    struct plan plan;
    cr_assert(plan_draw(seed, &options, &plan, NULL) == 0);
    cr_assert(plan.nodes == 5 && plan.duration_ns == 7 * NS_PER_S && strcmp(plan.workload, "moves") == 0);
    cr_assert(plan.snapshot_threshold > 200, "snapshots were not asked for");
    cr_assert_eq(plan.any_readers, plan.clients);
    for (size_t i = 0; i < plan.fault_count; i++) {
      const enum simulated_fault fault = plan.faults[i].fault;
      cr_assert(fault == SIMULATED_CRASH || (fault >= SIMULATED_FULL_DISK && fault <= SIMULATED_ROT));
    }
    plan_free(&plan);
  }
}

Test(plan, no_faults_can_be_asked_for) {
  struct plan plan;
  cr_assert(plan_draw(1, &(struct plan_options){.faults = "none"}, &plan, NULL) == 0);
  cr_assert(plan.fault_count == 0);
  plan_free(&plan);
}

Test(plan, options_that_make_no_sense_are_refused) {
  const struct plan_options wrong[] = {{.nodes = 4},        {.workload = "mixture"}, {.faults = "crash,,"},
                                       {.faults = "crush"}, {.duration_ns = -1},     {.reads = "all"}};
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    struct plan plan;
    struct error error = {0};
    cr_assert(plan_draw(1, &wrong[i], &plan, &error) == ERR_BAD_INPUT);
    cr_assert(strlen(error.message) > 20);
  }
}

/* ---- Files that are not plans ---- */

static int read_text(const char *text, struct error *error) {
  struct plan plan;
  const int status = plan_decode(text, strlen(text), path, &plan, error);
  if (status == 0)
    plan_free(&plan);
  return status;
}

/* A written plan with `old` replaced. */
static char *changed(const char *old, const char *new) {
  struct plan plan = {0};
  const struct plan_options options = {.nodes = 3, .faults = "partition,slow-disk"};
  cr_assert(plan_draw(3, &options, &plan, NULL) == 0);
  free(plan.faults);
  plan.faults = xcalloc(1, sizeof *plan.faults);
  plan.fault_count = 1;
  plan.faults[0] = (struct planned_fault){
      .fault = SIMULATED_SLOW_DISK, .target = TARGET_NODE, .node = 2, .at_ns = 5, .for_ns = 7, .strength = 8};
  struct bytes content = {0};
  cr_assert(plan_encode(&plan, &content, NULL) == 0);
  plan_free(&plan);
  bytes_append_u8(&content, 0);
  char *at = strstr((char *)content.data, old);
  cr_assert(at != NULL, "%s is not in the plan", old);
  const size_t size = strlen((char *)content.data) + strlen(new) + 1;
  char *text = xmalloc(size);
  snprintf(text, size, "%.*s%s%s", (int)(at - (char *)content.data), (char *)content.data, new,
           at + strlen(old));
  bytes_free(&content);
  return text;
}

Test(plan, what_is_wrong_is_named) {
  static const struct {
    const char *old, *new, *named;
  } cases[] = {
      {"\"plan\": 1", "\"plan\": 2", "plan: "},
      {"\"nodes\": 3", "\"nodes\": 4", "nodes: "},
      {"\"nodes\": 3", "\"nodes\": \"3\"", "nodes: "},
      {"\"clients\": ", "\"clients\": 99", "clients: "},
      {"\"clients\"", "\"Clients\"", "clients: it is missing"},
      {"\"seed\": 3", "\"seed\": -3", "seed: "},
      {"\"seed\": 3", "\"seed\": 3, \"sead\": 4", "sead: "},
      {"\"weather\": {", "\"weather\": {\"wind\": 4, ", "weather.wind: "},
      {"\"loss\": 0.0", "\"loss\": 1.5", "weather.loss: "},
      {"\"slow-disk\"", "\"slow-disc\"", "faults[0].fault: "},
      {"\"target\": \"node\"", "\"target\": \"nobody\"", "faults[0].target: "},
      {"\"node\": 2", "\"node\": 3", "faults[0].node: "},
      {"\"at_ns\": 5", "\"at_ns\": -5", "faults[0].at_ns: "},
      {"\"at_election\": false", "\"at_election\": 0", "faults[0].at_election: "},
      {"\"strength\": 8", "\"strength\": 0", "faults[0].strength: "},
      {"\"omitted\": []", "\"omitted\": [3, 2]", "omitted: "},
      {"\"omitted\": []", "\"omitted\": [[3, 2]]", "omitted: "},
      {"\"omitted\": []", "\"omitted\": [99999999]", "omitted: "},
      {"\"any_readers\": ", "\"any_readers\": 9", "any_readers: "},
      {"\"reports\": ", "\"reports\": 2", "reports: "},
      {"\"heartbeat_ms\": ", "\"heartbeat_ms\": 9999", "heartbeat_ms: "},
      {"\"workload\": \"", "\"workload\": \"un", "workload: "},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct error error = {0};
    char *text = changed(cases[i].old, cases[i].new);
    cr_assert(read_text(text, &error) == ERR_BAD_INPUT, "%s was taken", cases[i].new);
    cr_assert(strstr(error.message, cases[i].named) != NULL, "%s: %s", cases[i].new, error.message);
    cr_assert(strstr(error.message, path) != NULL, "%s", error.message);
    free(text);
  }
}

Test(plan, what_is_not_a_plan_is_refused) {
  static const char *const texts[] = {
      "", "[]", "{", "{}", "{\"plan\": 1}", "7", "{\"plan\": 1, \"plan\": 1}"};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    struct error error = {0};
    cr_assert(read_text(texts[i], &error) == ERR_BAD_INPUT, "%s", texts[i]);
  }
  unlink(path);
  struct plan plan;
  struct error error = {0};
  cr_assert(plan_read(path, &plan, &error) != 0);
}

/* Cut short and with bytes changed: refused or read, never a crash. */
Test(plan, a_damaged_plan_does_no_harm) {
  struct random random;
  random_seed(&random, 5);
  char *text = changed("\"nodes\": 3", "\"nodes\": 3");
  const size_t size = strlen(text);
  for (size_t i = 0; i < 2000; i++) {
    char *damaged = xstrdup(text);
    damaged[random_below(&random, size)] = (char)random_between(&random, 32, 126);
    if (i % 4 == 0)
      damaged[random_below(&random, size)] = '\0';
    read_text(damaged, NULL);
    free(damaged);
  }
  free(text);
}
