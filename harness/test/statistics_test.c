#include <criterion/criterion.h>
#include <stdlib.h>

#include "harness/statistics.h"

static void add(struct history *history, enum operation_kind kind, enum outcome outcome, int64_t from_ns,
                int64_t to_ns) {
  const struct arguments arguments = {.kind = kind, .path = text_of("/a")};
  const struct answer answer = {.code = outcome == OUTCOME_OK     ? ANSWER_OK
                                        : outcome == OUTCOME_FAIL ? ANSWER_NOT_FOUND
                                                                  : ANSWER_TIMEOUT};
  const size_t position =
      history_invoke(history, (int64_t)history->count, history->count + 1, &arguments, from_ns);
  history_complete(history, position, outcome, &answer, to_ns);
}

Test(statistics, counts_and_latencies_by_operation) {
  struct history *history = history_new();
  struct timeline timeline = {0};
  struct statistics statistics;
  for (int64_t i = 0; i < 100; i++)
    add(history, OPERATION_STAT, OUTCOME_OK, 1000 * i, 1000 * i + i + 1);
  add(history, OPERATION_MKDIR, OUTCOME_FAIL, 200000, 200010);
  add(history, OPERATION_MKDIR, OUTCOME_INFO, 200020, 200030);
  statistics_make(history, &timeline, &statistics);
  cr_expect_eq(statistics.operations, 102);
  cr_expect_eq(statistics.ok, 100);
  cr_expect_eq(statistics.fail, 1);
  cr_expect_eq(statistics.info, 1);
  cr_expect_eq(statistics.kinds[OPERATION_STAT].p50_ns, 51);
  cr_expect_eq(statistics.kinds[OPERATION_STAT].p99_ns, 100);
  cr_expect_eq(statistics.kinds[OPERATION_STAT].max_ns, 100);
  cr_expect_eq(statistics.kinds[OPERATION_MKDIR].max_ns, 0);
  statistics_free(&statistics);
  history_free(history);
}

/* The same two numbers, found by looking at every moment. */
static int64_t slow_gap(const struct history *history, int64_t end_ns) {
  int64_t longest = 0, since = history->operations[0].invoke_time_ns;
  for (int64_t now = since; now <= end_ns; now++)
    for (size_t i = 0; i < history->count; i++)
      if ((history->operations[i].outcome == OUTCOME_OK && history->operations[i].complete_time_ns == now) ||
          now == end_ns) {
        longest = now - since > longest ? now - since : longest;
        since = now;
      }
  return longest;
}

static int64_t slow_recovery(const struct history *history, const struct timeline *timeline) {
  int64_t longest = 0;
  for (size_t f = 0; f < timeline->fault_count; f++) {
    if (timeline->faults[f].healed_ns == 0)
      continue;
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < history->count; i++) {
      const struct operation *operation = &history->operations[i];
      if (operation->outcome == OUTCOME_OK && operation->complete_time_ns >= timeline->faults[f].healed_ns &&
          operation->complete_time_ns < first)
        first = operation->complete_time_ns;
    }
    if (first != INT64_MAX && first - timeline->faults[f].healed_ns > longest)
      longest = first - timeline->faults[f].healed_ns;
  }
  return longest;
}

Test(statistics, gaps_and_recoveries_agree_with_a_slow_search) {
  struct random random;
  random_seed(&random, 11);
  for (int round = 0; round < 300; round++) {
    struct history *history = history_new();
    int64_t now = 1 + random_between(&random, 0, 5), end = now;
    const int64_t count = random_between(&random, 1, 12);
    for (int64_t i = 0; i < count; i++) {
      const int64_t from = now;
      now += random_between(&random, 1, 15);
      add(history, OPERATION_STAT, (enum outcome)random_below(&random, 3), from, now);
      end = now;
      now += random_between(&random, 0, 5);
    }
    struct timeline_fault faults[3] = {0};
    struct timeline timeline = {.faults = faults, .fault_count = 3};
    for (size_t f = 0; f < 3; f++)
      faults[f].healed_ns = random_chance(&random, 0.3) ? 0 : random_between(&random, 1, end + 5);
    struct statistics statistics;
    statistics_make(history, &timeline, &statistics);
    cr_expect_eq(statistics.longest_gap_ns, slow_gap(history, end), "round %d", round);
    cr_expect_eq(statistics.longest_recovery_ns, slow_recovery(history, &timeline), "round %d", round);
    statistics_free(&statistics);
    history_free(history);
  }
}

Test(statistics, an_empty_history_is_all_zero) {
  struct history *history = history_new();
  struct timeline timeline = {0};
  struct statistics statistics;
  statistics_make(history, &timeline, &statistics);
  cr_expect_eq(statistics.operations, 0);
  cr_expect_eq(statistics.longest_gap_ns, 0);
  statistics_free(&statistics);
  history_free(history);
}
