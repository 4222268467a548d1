/* bench_load.h: closed-loop load on a master cluster: so many connections, so many requests outstanding on
 * each, one kind of operation. */
#ifndef ASSAY_HARNESS_BENCH_LOAD_H
#define ASSAY_HARNESS_BENCH_LOAD_H

#include <uv.h>

#include "base/base.h"
#include "harness/bench_histogram.h"

enum load_kind {
  LOAD_CREATE,
  LOAD_STAT,
  LOAD_LIST,
  LOAD_RENAME,
  LOAD_DELETE,
  LOAD_SET,
  LOAD_MIXED,
  LOAD_KINDS
};

const char *load_name(enum load_kind kind);
int load_kind_of(const char *name, size_t size); /* -1: unknown */

struct load_options {
  enum load_kind kind;
  size_t connections, outstanding;
  int64_t warm_up_ns, time_ns;
  const char *const *addresses; /* as master_client_options.addresses */
  size_t address_count;
  const bool *interrupted; /* becomes true when it is to end early: ERR_UNAVAILABLE then */
  uint64_t round;          /* of all loads on one cluster, ascending: each works in directories of its own */
};

struct load_result {
  struct histogram latencies; /* ns, of what was answered ok within the measured time */
  double seconds;             /* measured; shorter than asked when delete ran out of files */
  uint64_t answered;          /* all answers, those of the preparation and the warm-up too */
  uint64_t failed;            /* answers other than ok within the measured time */
  const char *first_error;    /* the name of one, NULL without */
};

/* Prepares, warms up, measures; runs the loop until all is answered and closed. */
int load_run(uv_loop_t *loop, const struct load_options *options, struct load_result *result,
             struct error *error);

#endif
