/* The shrinker, on a simulation whose evidence depends on just what the test says. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "simulator/plan.h"

/* The evidence shows if and only if all of this is in the plan. */
struct needs {
  uint64_t fault_draws[8]; /* faults with these draws */
  size_t fault_count;
  uint64_t operations[8];
  size_t operation_count;
  int64_t at_ns;
  size_t clients, nodes;
  bool loss, snapshots;
  size_t runs;
};

static bool has_fault(const struct plan *plan, uint64_t draw) {
  for (size_t i = 0; i < plan->fault_count; i++)
    if (plan->faults[i].draw == draw)
      return true;
  return false;
}

static bool does_operation(const struct plan *plan, uint64_t number) {
  for (size_t i = 0; i < plan->omitted_count; i++)
    if (plan->omitted[i] == number)
      return false;
  return number < plan->operations;
}

static void run(void *context, const struct plan *plan, bool last, struct simulation_result *result) {
  struct needs *needs = context;
  (void)last;
  needs->runs++;
  bool shown = plan->duration_ns > needs->at_ns && plan->clients >= needs->clients &&
               plan->nodes >= needs->nodes && (!needs->loss || plan->weather.loss > 0) &&
               (!needs->snapshots || plan->snapshot_threshold < PLAN_THRESHOLD);
  for (size_t i = 0; i < needs->fault_count; i++)
    shown = shown && has_fault(plan, needs->fault_draws[i]);
  for (size_t i = 0; i < needs->operation_count; i++)
    shown = shown && does_operation(plan, needs->operations[i]);
  *result = (struct simulation_result){.evidence = shown ? EVIDENCE_INVARIANT : EVIDENCE_NONE,
                                       .at_ns = shown ? needs->at_ns : 0,
                                       .operations = plan->operations - plan->omitted_count};
  snprintf(result->invariant, sizeof result->invariant, "%s", shown ? "log-matching" : "");
}

static struct needs draw_needs(struct random *random, const struct plan *plan) {
  struct needs needs = {.at_ns = 0,
                        .clients = (size_t)random_between(random, 1, (int64_t)plan->clients),
                        .nodes = random_chance(random, 0.5) ? 3 : plan->nodes,
                        .loss = plan->weather.loss > 0 && random_chance(random, 0.5),
                        .snapshots = plan->snapshot_threshold < PLAN_THRESHOLD && random_chance(random, 0.5)};
  for (size_t i = 0; i < plan->fault_count && needs.fault_count < 5; i++)
    if (random_chance(random, 0.1)) {
      needs.fault_draws[needs.fault_count++] = plan->faults[i].draw;
      needs.at_ns = plan->faults[i].at_ns + NS_PER_MS;
    }
  for (uint64_t i = 0; i < plan->operations && needs.operation_count < 8; i++)
    if (random_chance(random, 0.05))
      needs.operations[needs.operation_count++] = i;
  if (needs.at_ns >= plan->duration_ns)
    needs.at_ns = plan->duration_ns - 1;
  return needs;
}

/* Draws are made to be names. */
static struct plan draw_plan(uint64_t seed) {
  struct plan plan;
  cr_assert(plan_draw(seed, NULL, &plan, NULL) == 0);
  for (size_t i = 0; i < plan.fault_count; i++)
    plan.faults[i].draw = i;
  return plan;
}

Test(shrink, what_is_left_is_what_is_needed) {
  struct random random;
  random_seed(&random, 1);
  for (uint64_t seed = 0; seed < 150; seed++) {
    struct plan plan = draw_plan(seed), smaller;
    struct needs needs = draw_needs(&random, &plan);
    struct simulation_result result;
    plan_shrink_with(&plan, run, &needs, 1000000, NULL, NULL, &smaller, &result);
    cr_assert(result.evidence == EVIDENCE_INVARIANT && strcmp(result.invariant, "log-matching") == 0);
    cr_assert(smaller.fault_count == needs.fault_count, "seed %" PRIu64 ": %zu faults, %zu needed", seed,
              smaller.fault_count, needs.fault_count);
    cr_assert(smaller.operations - smaller.omitted_count == needs.operation_count, "seed %" PRIu64, seed);
    cr_assert(smaller.operations == 0 || needs.operation_count > 0);
    cr_assert(smaller.clients == needs.clients && smaller.nodes == needs.nodes);
    cr_assert((smaller.weather.loss > 0) == needs.loss);
    cr_assert((smaller.snapshot_threshold < PLAN_THRESHOLD) == needs.snapshots);
    cr_assert(smaller.duration_ns == needs.at_ns + 1, "seed %" PRIu64, seed);
    cr_assert(smaller.weather.delay_ns <= plan_calm_weather().delay_ns);
    for (size_t i = 0; i < smaller.fault_count; i++)
      cr_assert(smaller.faults[i].for_ns < 2 * NS_PER_MS);
    plan_free(&plan);
    plan_free(&smaller);
  }
}

static bool no_larger(const struct plan *smaller, const struct plan *plan) {
  return smaller->fault_count <= plan->fault_count && smaller->duration_ns <= plan->duration_ns &&
         smaller->clients <= plan->clients && smaller->nodes <= plan->nodes &&
         smaller->operations - smaller->omitted_count <= plan->operations - plan->omitted_count &&
         smaller->weather.loss <= plan->weather.loss && smaller->weather.delay_ns <= plan->weather.delay_ns;
}

Test(shrink, the_bound_of_runs_is_kept_and_nothing_grows) {
  struct random random;
  random_seed(&random, 2);
  for (uint64_t seed = 0; seed < 100; seed++) {
    struct plan plan = draw_plan(seed), smaller;
    struct needs needs = draw_needs(&random, &plan);
    struct simulation_result result;
    const size_t runs_max = 2 + (size_t)random_below(&random, 60);
    plan_shrink_with(&plan, run, &needs, runs_max, NULL, NULL, &smaller, &result);
    cr_assert(needs.runs <= runs_max, "%zu runs of %zu", needs.runs, runs_max);
    cr_assert(result.evidence == EVIDENCE_INVARIANT);
    cr_assert(no_larger(&smaller, &plan));
    plan_free(&plan);
    plan_free(&smaller);
  }
}

Test(shrink, a_plan_that_shows_nothing_is_left_alone) {
  struct plan plan = draw_plan(1), smaller;
  struct needs needs = {.at_ns = INT64_MAX};
  struct simulation_result result;
  plan_shrink_with(&plan, run, &needs, 100, NULL, NULL, &smaller, &result);
  cr_assert(result.evidence == EVIDENCE_NONE && needs.runs == 2);
  cr_assert(smaller.fault_count == plan.fault_count && smaller.duration_ns == plan.duration_ns);
  plan_free(&plan);
  plan_free(&smaller);
}

struct last_told {
  size_t calls;
  struct shrink_progress progress;
};

static void told(void *context, const struct shrink_progress *progress) {
  struct last_told *last = context;
  cr_assert(progress->runs >= last->progress.runs);
  last->progress = *progress;
  last->calls++;
}

Test(shrink, progress_ends_with_what_is_left) {
  struct random random;
  random_seed(&random, 3);
  struct plan plan = draw_plan(4), smaller;
  struct needs needs = draw_needs(&random, &plan);
  struct simulation_result result;
  struct last_told last = {0};
  plan_shrink_with(&plan, run, &needs, 100000, told, &last, &smaller, &result);
  cr_assert(last.calls > 0 && last.progress.faults == smaller.fault_count);
  plan_free(&plan);
  plan_free(&smaller);
}
