/* statistics.h: what a history amounts to in numbers: counts and latencies per operation, gaps, throughput.
 */
#ifndef ASSAY_HARNESS_STATISTICS_H
#define ASSAY_HARNESS_STATISTICS_H

#include "harness/timeline.h"
#include "histories/histories.h"

struct operation_statistics {
  int64_t ok, fail, info;
  int64_t p50_ns, p99_ns, max_ns; /* of the ok ones; 0 when there are none */
};

struct statistics {
  struct operation_statistics kinds[OPERATION_KINDS];
  int64_t operations, ok, fail, info;
  int64_t began_ns, ended_ns; /* first invocation, last event; 0 without operations */
  int64_t longest_gap_ns; /* longest time without any ok, between the first invocation and the last event */
  int64_t longest_gap_at_ns;   /* where it begins */
  int64_t longest_recovery_ns; /* from the heal of a fault to the first ok after it; the longest of all */
  int64_t *ok_times_ns;        /* completions of the ok ones, ascending; `ok` of them */
};

void statistics_make(const struct history *history, const struct timeline *timeline,
                     struct statistics *statistics);
void statistics_free(struct statistics *statistics);

#endif
