#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <jansson.h>
#include <stdlib.h>

#include "harness/bench/report.h"

static struct bench_row rows[4];
static struct noise noise = {
    .spin_least = 1, .spin_most = 2, .syncs = {100, 300, 200}, .sync_count = 3, .foreign_count = 1};

/* Two cases of three runs on two systems, of which the peer cannot do the second. */
static struct report make_report(void) {
  static const struct load_case cases[] = {{LOAD_CREATE, 8, 32, NAMES_DEFAULT},
                                           {LOAD_RENAME, 1, 1, NAMES_DEFAULT}};
  static const char *const systems[] = {"assay", "etcd"};
  static const double ours[] = {600, 900, 300}, peers[] = {100, 300, 200};
  for (size_t run = 0; run < 3; run++) {
    rows[0].runs[run] =
        (struct run_figures){.per_second = ours[run], .p99_us = ours[run], .max_us = ours[run]};
    rows[1].runs[run] = (struct run_figures){.per_second = peers[run]};
    rows[2].runs[run] = (struct run_figures){.per_second = 50};
  }
  rows[0].measured = rows[1].measured = rows[2].measured = true;
  return (struct report){.cases = cases,
                         .case_count = 2,
                         .systems = systems,
                         .system_count = 2,
                         .runs = 3,
                         .nodes = 3,
                         .time_ns = NS_PER_S,
                         .noise = &noise,
                         .rows = rows};
}

static json_t *next_row(FILE *out) {
  char line[2000];
  struct json_error_t error;
  if (!fgets(line, sizeof line, out))
    return NULL;
  json_t *row = json_loads(line, 0, &error);
  cr_assert_not_null(row, "%s: %s", error.text, line);
  return row;
}

static double number(const json_t *row, const char *name) {
  cr_assert(json_is_number(json_object_get(row, name)), "%s", name);
  return json_number_value(json_object_get(row, name));
}

Test(bench_report, a_row_of_a_peer_has_the_ratio_of_the_medians_and_those_of_the_rounds) {
  cr_redirect_stdout();
  const struct report report = make_report();
  report_print_json(&report);
  fflush(stdout);
  FILE *out = cr_get_redirected_stdout();
  json_t *row = next_row(out);
  cr_assert_str_eq(json_string_value(json_object_get(row, "case")), "create:8x32");
  cr_assert_null(json_object_get(row, "peer"));
  cr_assert(number(row, "ops_per_second") == 600 && number(row, "p99_us") == 600 &&
            number(row, "max_us") == 900);
  json_decref(row);
  row = next_row(out);
  cr_assert_str_eq(json_string_value(json_object_get(row, "peer")), "etcd");
  cr_assert(number(row, "ops_per_second") == 200 && number(row, "ratio") == 3);
  cr_assert(number(row, "ratio_least") == 1.5 && number(row, "ratio_most") == 6);
  json_decref(row);
  row = next_row(out);
  cr_assert_str_eq(json_string_value(json_object_get(row, "case")), "rename:1x1");
  json_decref(row);
  cr_assert_null(next_row(out), "the peer has no row of what it cannot do");
}

Test(bench_report, a_peer_that_did_nothing_has_no_ratio) {
  cr_redirect_stdout();
  const struct report report = make_report();
  for (size_t run = 0; run < 3; run++)
    rows[1].runs[run].per_second = 0;
  report_print_json(&report);
  fflush(stdout);
  FILE *out = cr_get_redirected_stdout();
  json_decref(next_row(out));
  json_t *row = next_row(out);
  cr_assert(json_is_null(json_object_get(row, "ratio")));
  json_decref(row);
}

Test(bench_report, histograms_have_a_file_each_unless_there_is_one) {
  char directory[] = "/tmp/assay-report-XXXXXX";
  cr_assert_not_null(mkdtemp(directory));
  char *path = path_join(directory, "h"), *of_peer = path_join(directory, "h.create:8x32.etcd");
  struct report report = make_report();
  struct error error;
  cr_assert_eq(report_write_histograms(&report, path, &error), 0, "%s", error.message);
  cr_assert(file_exists(of_peer) && !file_exists(path));
  rows[1].measured = rows[2].measured = false;
  cr_assert_eq(report_write_histograms(&report, path, &error), 0, "%s", error.message);
  cr_assert(file_exists(path));
  cr_assert_eq(report_write_histograms(&report, "/nowhere/h", &error), ERR_IO);
  free(path);
  free(of_peer);
  directory_remove(directory, NULL);
}
