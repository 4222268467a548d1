/* load.h: load on a cluster: so many connections, so many requests outstanding on each at most, one kind of
 * operation. Closed loop: an answer lets the next request go. Open loop: requests go when they are due
 * (schedule.h), as far as places for outstanding ones are free. */
#ifndef ASSAY_HARNESS_BENCH_LOAD_H
#define ASSAY_HARNESS_BENCH_LOAD_H

#include <uv.h>

#include "base/base.h"
#include "harness/bench/cases.h"
#include "harness/bench/histogram.h"
#include "harness/bench/system.h"

struct load_options {
  struct load_case item;
  uint64_t rate; /* requests a second in all; 0: closed loop */
  int64_t warm_up_ns, time_ns;
  const bool *interrupted; /* becomes true when it is to end early: ERR_UNAVAILABLE then */
  uint64_t round;          /* of all loads on one cluster, ascending: each works in directories of its own */
};

struct load_result {
  /* ns, of what was answered without an error; closed loop: within the measured time, since it was sent; open
   * loop: what was due within the measured time, since then, whenever it was answered. What was due and never
   * sent counts with the time it had waited when the measured time was over: it took longer. */
  struct histogram latencies;
  double seconds;          /* measured; shorter than asked when delete ran out of files */
  uint64_t done;           /* answered without an error within the measured time */
  uint64_t unsent;         /* open loop: due within the measured time and never sent */
  uint64_t answered;       /* all answers, those of the preparation and the warm-up too */
  uint64_t created;        /* names that were made, in all */
  uint64_t failed;         /* answers with an error within the measured time */
  const char *first_error; /* the name of one, NULL without */
};

/* Prepares, warms up, measures; runs the loop until all is answered and closed. ERR_UNAVAILABLE also when
 * nothing is answered for 20 s, or a connection is lost. */
int load_run(uv_loop_t *loop, const struct bench_system *system, struct system_cluster *cluster,
             const struct load_options *options, struct load_result *result, struct error *error);

#endif
