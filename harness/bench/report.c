#include "harness/bench/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define RATIO_SIZE 32u

struct spread {
  double least, median, most;
};

/* Of all runs, medians but for `most_us`. */
struct row_figures {
  struct spread per_second;
  double p50_us, p90_us, p99_us, p999_us, cpu_us;
  double most_us;
};

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static struct spread spread_of(const double *values, size_t count) {
  double *sorted = xmalloc(count * sizeof *sorted);
  memcpy(sorted, values, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, compare_doubles);
  const struct spread spread = {sorted[0], sorted[count / 2], sorted[count - 1]};
  free(sorted);
  return spread;
}

static const struct bench_row *row_of(const struct report *report, size_t item, size_t system) {
  return &report->rows[item * report->system_count + system];
}

/* The spread of the member of run_figures at `offset`. */
static struct spread member_spread(const struct bench_row *row, size_t runs, size_t offset) {
  double values[RUNS_MAX] = {0};
  for (size_t run = 0; run < runs; run++)
    memcpy(&values[run], (const char *)&row->runs[run] + offset, sizeof values[run]);
  return spread_of(values, runs);
}

static struct row_figures figures_of(const struct bench_row *row, size_t runs) {
#define OF(member) member_spread(row, runs, offsetof(struct run_figures, member))
  return (struct row_figures){.per_second = OF(per_second),
                              .p50_us = OF(p50_us).median,
                              .p90_us = OF(p90_us).median,
                              .p99_us = OF(p99_us).median,
                              .p999_us = OF(p999_us).median,
                              .cpu_us = OF(cpu_us).median,
                              .most_us = OF(max_us).most};
#undef OF
}

/* Ours to the peer's: `median` of the medians, the others of single rounds, whose runs followed each other.
 */
static struct spread ratio_of(const struct bench_row *ours, const struct bench_row *peer, size_t runs) {
  double ratios[RUNS_MAX] = {0};
  for (size_t run = 0; run < runs; run++)
    ratios[run] = ours->runs[run].per_second / peer->runs[run].per_second;
  struct spread ratio = spread_of(ratios, runs);
  ratio.median = figures_of(ours, runs).per_second.median / figures_of(peer, runs).per_second.median;
  return ratio;
}

/* A peer that did nothing in a run, for a run can be shorter than its pauses, has no ratio. */
static const char *ratio_text(double ratio, const char *none, char out[RATIO_SIZE]) {
  snprintf(out, RATIO_SIZE, "%.2f", ratio);
  return isfinite(ratio) ? out : none;
}

static void print_json_row(const struct report *report, size_t item, size_t system) {
  const struct noise *noise = report->noise;
  const struct spread sync = spread_of(noise->syncs, noise->sync_count);
  const struct bench_row *row = row_of(report, item, system);
  const struct row_figures figures = figures_of(row, report->runs);
  char name[CASE_NAME_SIZE];
  printf("{\"case\": \"%s\", ", case_name(&report->cases[item], name));
  if (system > 0) {
    const struct spread ratio = ratio_of(row_of(report, item, 0), row, report->runs);
    char median[RATIO_SIZE], least[RATIO_SIZE], most[RATIO_SIZE];
    printf("\"peer\": \"%s\", \"ratio\": %s, \"ratio_least\": %s, \"ratio_most\": %s, ",
           report->systems[system], ratio_text(ratio.median, "null", median),
           ratio_text(ratio.least, "null", least), ratio_text(ratio.most, "null", most));
  }
  printf("\"ops_per_second\": %.0f, \"p50_us\": %.0f, \"p90_us\": %.0f, \"p99_us\": %.0f, \"p999_us\": %.0f, "
         "\"max_us\": %.0f, \"cpu_us\": %.1f, \"ops_per_second_least\": %.0f, \"ops_per_second_most\": %.0f, "
         "\"failed\": %" PRIu64 ", ",
         figures.per_second.median, figures.p50_us, figures.p90_us, figures.p99_us, figures.p999_us,
         figures.most_us, figures.cpu_us, figures.per_second.least, figures.per_second.most, row->failed);
  if (report->rate > 0)
    printf("\"rate\": %" PRIu64 ", \"unsent\": %" PRIu64 ", ", report->rate, row->unsent);
  printf("\"runs\": %zu, \"nodes\": %zu, \"noise\": {\"spin_ratio\": %.2f, \"fsync_us\": %.0f, "
         "\"fsync_us_most\": %.0f, \"foreign_cpu\": %.3f, \"foreign_cpu_most\": %.3f}}\n",
         report->runs, report->nodes, noise->spin_most / noise->spin_least, sync.median, sync.most,
         noise->foreign_sum / (double)noise->foreign_count, noise->foreign_most);
}

void report_print_json(const struct report *report) {
  for (size_t item = 0; item < report->case_count; item++)
    for (size_t system = 0; system < report->system_count; system++)
      if (row_of(report, item, system)->measured)
        print_json_row(report, item, system);
}

static void print_table_row(const struct report *report, size_t item, size_t system) {
  const struct bench_row *row = row_of(report, item, system);
  const struct row_figures figures = figures_of(row, report->runs);
  char name[CASE_NAME_SIZE];
  printf("%-16s %-10s %12.0f %10.0f … %10.0f %9.0f %9.0f %9.0f %9.0f %9.0f %9.1f",
         case_name(&report->cases[item], name), report->systems[system], figures.per_second.median,
         figures.per_second.least, figures.per_second.most, figures.p50_us, figures.p90_us, figures.p99_us,
         figures.p999_us, figures.most_us, figures.cpu_us);
  if (system > 0) {
    const struct spread ratio = ratio_of(row_of(report, item, 0), row, report->runs);
    char median[RATIO_SIZE], least[RATIO_SIZE], most[RATIO_SIZE];
    printf("   ours/%s %s (%s … %s)", report->systems[system], ratio_text(ratio.median, "-", median),
           ratio_text(ratio.least, "-", least), ratio_text(ratio.most, "-", most));
  }
  if (row->unsent > 0)
    printf("   did not keep up: %" PRIu64 " never sent", row->unsent);
  if (row->failed > 0)
    printf("   %" PRIu64 " failed, e.g. %s", row->failed, row->first_error);
  printf("\n");
}

void report_print_table(const struct report *report) {
  const struct noise *noise = report->noise;
  const struct spread sync = spread_of(noise->syncs, noise->sync_count);
  printf("%-16s %-10s %12s %23s %9s %9s %9s %9s %9s %9s\n", "case", "system", "operations/s",
         "least … most of runs", "p50 us", "p90 us", "p99 us", "p99.9 us", "max us", "cpu us/op");
  for (size_t item = 0; item < report->case_count; item++)
    for (size_t system = 0; system < report->system_count; system++)
      if (row_of(report, item, system)->measured)
        print_table_row(report, item, system);
  printf("\n%zu nodes of each system and all clients on this machine; %zu runs of %g s each, medians; every "
         "acknowledged write is on the disks of a majority.\n",
         report->nodes, report->runs, (double)report->time_ns / NS_PER_S);
  if (report->rate > 0)
    printf("Open loop: %" PRIu64 " requests a second, whose times count from when they were due.\n",
           report->rate);
  if (report->system_count > 1)
    printf(
        "The systems took turns in each round; ratios are of medians, in brackets those of single rounds.\n");
  printf(
      "The machine meanwhile: others used %.0f %% of it (%.0f %% in the worst run), arithmetic took 1 to %.2f "
      "times its best, an fsync of 4 KiB %.0f us (%.0f … %.0f).\n",
      100 * noise->foreign_sum / (double)noise->foreign_count, 100 * noise->foreign_most,
      noise->spin_most / noise->spin_least, sync.median, sync.least, sync.most);
}

static int write_one(const struct histogram *latencies, const char *path, struct error *error) {
  FILE *file = fopen(path, "we");
  if (!file)
    return error_set_errno(error, ERR_IO, "--histogram: cannot make %s", path);
  histogram_print(latencies, (double)NS_PER_US, file);
  const bool failed = ferror(file) != 0;
  if (fclose(file) != 0 || failed)
    return error_set_errno(error, ERR_IO, "--histogram: cannot write %s", path);
  return 0;
}

int report_write_histograms(const struct report *report, const char *path, struct error *error) {
  size_t measured = 0;
  int status = 0;
  for (size_t i = 0; i < report->case_count * report->system_count; i++)
    measured += report->rows[i].measured;
  for (size_t item = 0; item < report->case_count; item++)
    for (size_t system = 0; status == 0 && system < report->system_count; system++) {
      const struct bench_row *row = row_of(report, item, system);
      char name[CASE_NAME_SIZE], each[4096];
      if (!row->measured)
        continue;
      if (measured > 1)
        snprintf(each, sizeof each, "%s.%s.%s", path, case_name(&report->cases[item], name),
                 report->systems[system]);
      status = write_one(&row->latencies, measured > 1 ? each : path, error);
    }
  return status;
}
