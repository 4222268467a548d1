/* report.h: what `assay bench master` prints. */
#ifndef ASSAY_HARNESS_BENCH_REPORT_H
#define ASSAY_HARNESS_BENCH_REPORT_H

#include "harness/bench/cases.h"
#include "harness/bench/histogram.h"

#define RUNS_MAX 99
#define SYSTEMS_MAX 4u

/* Of one run of a case on one system. */
struct run_figures {
  double per_second;
  double p50_us, p90_us, p99_us, p999_us, max_us;
  double cpu_us; /* processor time of nodes and clients an answer, which noise of others moves little */
};

/* A case on one system: one row. */
struct bench_row {
  bool measured; /* false: the system has no equivalent */
  struct run_figures runs[RUNS_MAX];
  struct histogram latencies; /* of all runs */
  uint64_t failed, unsent;
  const char *first_error;
};

/* Over all runs: how far the machine was from quiet. */
struct noise {
  double spin_least, spin_most; /* us */
  double syncs[RUNS_MAX * CASES_MAX * SYSTEMS_MAX + 1];
  size_t sync_count;
  double foreign_sum, foreign_most; /* shares of the machine */
  size_t foreign_count;
};

struct report {
  const struct load_case *cases;
  size_t case_count;
  const char *const *systems; /* names: Assay's own first, then peers */
  size_t system_count;
  size_t runs, nodes;
  int64_t time_ns;
  uint64_t rate; /* 0: closed loop */
  const struct noise *noise;
  const struct bench_row *rows; /* rows[a case * system_count + a system] */
};

void report_print_json(const struct report *report);
void report_print_table(const struct report *report);

/* Writes a row's latencies, in microseconds, to `path`; of several rows, each to "<path>.<case>.<system>". */
int report_write_histograms(const struct report *report, const char *path, struct error *error);

#endif
