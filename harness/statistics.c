#include "harness/statistics.h"

#include <stdlib.h>

static int ascending(const void *a, const void *b) {
  const int64_t first = *(const int64_t *)a, second = *(const int64_t *)b;
  return (first > second) - (first < second);
}

/* The nearest-rank percentile of `count` ascending values. */
static int64_t percentile(const int64_t *values, size_t count, double fraction) {
  const size_t rank = (size_t)(fraction * (double)count);
  return values[rank < count ? rank : count - 1];
}

static void count_kind(const struct history *history, enum operation_kind kind, int64_t *latencies,
                       struct operation_statistics *out) {
  size_t count = 0;
  for (size_t i = 0; i < history->count; i++) {
    const struct operation *operation = &history->operations[i];
    if (operation->arguments.kind != kind)
      continue;
    out->ok += operation->outcome == OUTCOME_OK;
    out->fail += operation->outcome == OUTCOME_FAIL;
    out->info += operation->outcome == OUTCOME_INFO;
    if (operation->outcome == OUTCOME_OK)
      latencies[count++] = operation->complete_time_ns - operation->invoke_time_ns;
  }
  if (count == 0)
    return;
  qsort(latencies, count, sizeof *latencies, ascending);
  out->p50_ns = percentile(latencies, count, 0.50);
  out->p99_ns = percentile(latencies, count, 0.99);
  out->max_ns = latencies[count - 1];
}

static void find_gap(struct statistics *statistics) {
  int64_t last_ns = statistics->began_ns;
  for (int64_t i = 0; i <= statistics->ok; i++) {
    const int64_t next_ns = i < statistics->ok ? statistics->ok_times_ns[i] : statistics->ended_ns;
    if (next_ns - last_ns > statistics->longest_gap_ns) {
      statistics->longest_gap_ns = next_ns - last_ns;
      statistics->longest_gap_at_ns = last_ns;
    }
    last_ns = next_ns;
  }
}

/* The first ok at or after `time_ns`, or -1. */
static int64_t first_ok_after(const struct statistics *statistics, int64_t time_ns) {
  int64_t low = 0, high = statistics->ok;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (statistics->ok_times_ns[middle] < time_ns)
      low = middle + 1;
    else
      high = middle;
  }
  return low < statistics->ok ? statistics->ok_times_ns[low] : -1;
}

static void find_recovery(const struct timeline *timeline, struct statistics *statistics) {
  for (size_t i = 0; i < timeline->fault_count; i++) {
    const struct timeline_fault *fault = &timeline->faults[i];
    if (fault->skipped || fault->healed_ns == 0)
      continue;
    const int64_t ok_ns = first_ok_after(statistics, fault->healed_ns);
    if (ok_ns >= 0 && ok_ns - fault->healed_ns > statistics->longest_recovery_ns)
      statistics->longest_recovery_ns = ok_ns - fault->healed_ns;
  }
}

void statistics_make(const struct history *history, const struct timeline *timeline,
                     struct statistics *statistics) {
  *statistics = (struct statistics){.operations = (int64_t)history->count};
  int64_t *scratch = xcalloc(history->count + 1, sizeof *scratch);
  for (int kind = 0; kind < OPERATION_KINDS; kind++) {
    struct operation_statistics *out = &statistics->kinds[kind];
    count_kind(history, (enum operation_kind)kind, scratch, out);
    statistics->ok += out->ok;
    statistics->fail += out->fail;
    statistics->info += out->info;
  }
  free(scratch);
  statistics->ok_times_ns = xcalloc((size_t)statistics->ok + 1, sizeof *statistics->ok_times_ns);
  size_t count = 0;
  for (size_t i = 0; i < history->count; i++) {
    const struct operation *operation = &history->operations[i];
    if (i == 0)
      statistics->began_ns = operation->invoke_time_ns;
    const int64_t last_ns =
        operation->complete_event == NO_EVENT ? operation->invoke_time_ns : operation->complete_time_ns;
    if (last_ns > statistics->ended_ns)
      statistics->ended_ns = last_ns;
    if (operation->outcome == OUTCOME_OK)
      statistics->ok_times_ns[count++] = operation->complete_time_ns;
  }
  if (count > 1)
    qsort(statistics->ok_times_ns, count, sizeof *statistics->ok_times_ns, ascending);
  find_gap(statistics);
  find_recovery(timeline, statistics);
}

void statistics_free(struct statistics *statistics) {
  free(statistics->ok_times_ns);
  statistics->ok_times_ns = NULL;
}
