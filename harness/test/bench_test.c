#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "harness/bench/cases.h"
#include "harness/bench/histogram.h"
#include "harness/bench/machine.h"
#include "harness/bench/schedule.h"
#include "harness/bench/work.h"

static int compare_numbers(const void *a, const void *b) {
  const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* ---- histogram ---- */

Test(histogram, quantiles_are_those_of_the_sorted_values_to_one_in_a_thousand) {
  enum { COUNT = 10000 };
  struct random random;
  random_seed(&random, 1);
  uint64_t *values = xcalloc(COUNT, sizeof *values);
  struct histogram *histogram = xmalloc(sizeof *histogram);
  for (int round = 0; round < 50; round++) {
    memset(histogram, 0, sizeof *histogram);
    const uint64_t bits = 1 + random_below(&random, 44);
    for (size_t i = 0; i < COUNT; i++) {
      values[i] = random_next(&random) >> (64 - 1 - random_below(&random, bits));
      histogram_add(histogram, values[i]);
    }
    qsort(values, COUNT, sizeof *values, compare_numbers);
    static const double quantiles[] = {0.0001, 0.001, 0.5, 0.9, 0.99, 0.999, 1};
    for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
      const double exact = (double)values[(size_t)ceil(quantiles[i] * COUNT) - 1];
      const double found = (double)histogram_quantile(histogram, quantiles[i]);
      cr_assert(found >= exact && found <= exact * 1.001, "quantile %g: %g for %g", quantiles[i], found,
                exact);
    }
    cr_assert_eq(histogram_quantile(histogram, 1), values[COUNT - 1]);
    cr_assert_eq(histogram->most, values[COUNT - 1]);
  }
  cr_assert_eq(histogram->count, COUNT);
  free(values);
  free(histogram);
}

Test(histogram, an_empty_one_has_no_quantile_and_a_huge_value_fits) {
  struct histogram *histogram = xcalloc(1, sizeof *histogram);
  cr_assert_eq(histogram_quantile(histogram, 0.5), 0);
  histogram_add(histogram, UINT64_MAX);
  cr_assert(histogram_quantile(histogram, 0.5) > UINT64_C(1) << 44);
  free(histogram);
}

Test(histogram, merged_ones_are_one_of_all_values) {
  struct histogram *parts = xcalloc(2, sizeof *parts), *all = xcalloc(1, sizeof *all);
  struct random random;
  random_seed(&random, 2);
  for (int i = 0; i < 1000; i++) {
    const uint64_t value = random_below(&random, UINT64_C(1) << random_below(&random, 40));
    histogram_add(&parts[i % 2], value);
    histogram_add(all, value);
  }
  histogram_merge(&parts[0], &parts[1]);
  cr_assert_eq(parts[0].count, all->count);
  cr_assert_eq(parts[0].most, all->most);
  cr_assert_arr_eq(parts[0].buckets, all->buckets, sizeof all->buckets);
  free(parts);
  free(all);
}

/* Every line of the text against the sorted values: how many are not above the value, and at what share. */
Test(histogram, the_percentile_text_counts_what_the_sorted_values_count) {
  enum { COUNT = 3000 };
  struct histogram *histogram = xcalloc(1, sizeof *histogram);
  uint64_t *values = xcalloc(COUNT, sizeof *values);
  struct random random;
  random_seed(&random, 3);
  for (size_t i = 0; i < COUNT; i++)
    histogram_add(histogram,
                  values[i] = 1000 * (1 + random_below(&random, UINT64_C(1) << random_below(&random, 30))));
  qsort(values, COUNT, sizeof *values, compare_numbers);
  char *text = NULL;
  size_t size = 0;
  FILE *file = open_memstream(&text, &size);
  histogram_print(histogram, 1000, file);
  fclose(file);
  cr_assert(strstr(text, "       Value     Percentile TotalCount 1/(1-Percentile)\n\n") == text, "%s", text);
  size_t lines = 0;
  double previous = -1, share = 0;
  for (char *line = strchr(text, '\n') + 2; *line != '#'; line = strchr(line, '\n') + 1) {
    double value;
    unsigned long count, exact = 0;
    cr_assert_eq(sscanf(line, "%lf %lf %lu", &value, &share, &count), 3, "%s", line);
    while (exact < COUNT && (double)values[exact] <= value * 1000 * 1.0000001 + 0.5)
      exact++;
    cr_assert_eq(count, exact, "%.80s: %lu values are not above", line, exact);
    cr_assert(share > previous && (double)count / COUNT >= share - 1e-9, "%.80s", line);
    previous = share;
    lines++;
  }
  cr_assert_eq(share, 1);
  cr_assert(lines > 20 && lines < 100, "%zu lines", lines);
  cr_assert(strstr(text, "Total count    =         3000]"), "%s", text);
  free(text);
  free(values);
  free(histogram);
}

/* ---- cases ---- */

Test(cases, are_read_and_written_alike) {
  static const char *const names[] = {"create:8x32", "stat:64x1",        "list:8x32:1000", "rename:1024x128",
                                      "delete:1x1",  "mixed:8x32:10000", "set:2x3",        "list:1x1"};
  struct load_case cases[CASES_MAX];
  size_t count;
  struct error error;
  char name[CASE_NAME_SIZE];
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    cr_assert_eq(cases_parse(names[i], cases, &count, &error), 0, "%s", error.message);
    cr_assert_eq(count, 1);
    cr_assert_str_eq(case_name(&cases[0], name), names[i]);
  }
  cr_assert_eq(cases_parse("list:8x32:7,create:1x2", cases, &count, &error), 0);
  cr_assert_eq(count, 2);
  cr_assert(cases[0].kind == LOAD_LIST && cases[0].connections == 8 && cases[0].outstanding == 32 &&
            cases[0].names == 7);
  cr_assert(cases[1].kind == LOAD_CREATE && cases[1].outstanding == 2 && cases[1].names == NAMES_DEFAULT);
}

Test(cases, that_are_none_are_refused_with_what_is_wrong) {
  static const struct {
    const char *text, *says;
  } wrong[] = {
      {"", "'' is none; a case is"},
      {"creates:8x32", "'creates:8x32' is none"},
      {"create", "'create' is none"},
      {"create:", "needs 1 to 1024 connections"},
      {"create:x", "needs 1 to 1024 connections"},
      {"create:0x1", "needs 1 to 1024 connections"},
      {"create:1025x1", "needs 1 to 1024 connections"},
      {"create:99999999999999999999x1", "needs 1 to 1024 connections"},
      {"create:8", "needs 1 to 1024 connections"},
      {"create:8x", "needs 1 to 128 requests outstanding"},
      {"create:8x129", "needs 1 to 128 requests outstanding"},
      {"create:8x-1", "needs 1 to 128 requests outstanding"},
      {"create:8x32:100", "goes on behind the case (':100'); only list and mixed"},
      {"create:8x32 ", "goes on behind the case (' ')"},
      {"list:8x32:", "needs 1 to 10000 names"},
      {"list:8x32:10001", "needs 1 to 10000 names"},
      {"list:8x32:1:1", "goes on behind the case (':1')"},
      {"create:8x32,", "'' is none"},
      {"create:8x32,,stat:1x1", "'' is none"},
      {"all,create:1x1,create:1x1,create:1x1,create:1x1,create:1x1", "more than 32 cases"},
  };
  struct load_case cases[CASES_MAX];
  size_t count;
  struct error error;
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    cr_assert_eq(cases_parse(wrong[i].text, cases, &count, &error), ERR_BAD_INPUT, "%s", wrong[i].text);
    cr_assert(strstr(error.message, wrong[i].says), "%s: %s", wrong[i].text, error.message);
  }
}

Test(cases, all_of_them_are_every_operation_in_four_shapes) {
  struct load_case cases[CASES_MAX];
  size_t count, of_kind[LOAD_KINDS] = {0};
  cr_assert_eq(cases_parse("all", cases, &count, NULL), 0);
  for (size_t i = 0; i < count; i++)
    of_kind[cases[i].kind]++;
  for (int kind = 0; kind < LOAD_KINDS; kind++)
    cr_assert_eq(of_kind[kind], 4, "%s", load_name((enum load_kind)kind));
}

Test(cases, mixed_has_the_shares_that_are_documented) {
  unsigned shares[LOAD_KINDS] = {0};
  for (unsigned face = 0; face < 100; face++)
    shares[mixed_kind(face)]++;
  cr_assert(shares[LOAD_STAT] == 50 && shares[LOAD_LIST] == 10 && shares[LOAD_CREATE] == 25 &&
            shares[LOAD_SET] == 15);
}

/* ---- schedule: the clock is a number ---- */

Test(schedule, requests_are_due_evenly_and_none_is_lost_over_an_hour) {
  static const uint64_t rates[] = {1, 3, 7, 999, 1000, 33333, RATE_MAX};
  for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
    struct schedule schedule = {.start_ns = 12345, .rate = rates[i]};
    for (uint64_t taken = 0; taken < 100000; taken++) {
      int64_t due_ns;
      const double exact = 12345 + (double)taken * 1e9 / (double)rates[i];
      const int64_t next_ns = schedule_next_ns(&schedule);
      cr_assert(fabs((double)next_ns - exact) <= 1 + exact * 1e-12);
      cr_assert_not(schedule_take(&schedule, next_ns - 1, &due_ns), "not before its time");
      cr_assert(schedule_take(&schedule, next_ns, &due_ns));
      cr_assert_eq(due_ns, next_ns);
    }
    schedule.taken = 3600 * rates[i];
    cr_assert_eq(schedule_next_ns(&schedule), 12345 + 3600 * NS_PER_S);
  }
}

Test(schedule, a_stall_makes_nothing_of_what_became_due_disappear) {
  struct schedule schedule = {.start_ns = 0, .rate = 1000};
  int64_t due_ns;
  cr_assert(schedule_take(&schedule, 0, &due_ns));
  uint64_t due = 0;
  while (schedule_take(&schedule, NS_PER_S, &due_ns)) {
    due++;
    cr_assert_eq(due_ns, (int64_t)due * NS_PER_MS, "from when it was due, not from when it was taken");
  }
  cr_assert_eq(due, 1000);
}

/* ---- the directory ---- */

#define PARENT_SIZE 64u

static void make_parent(char parent[PARENT_SIZE]) {
  snprintf(parent, PARENT_SIZE, "/tmp/assay-work-XXXXXX");
  cr_assert_not_null(mkdtemp(parent));
}

Test(work, what_a_killed_one_left_is_removed_and_what_one_uses_is_not) {
  char parent[PARENT_SIZE], left[80] = "", *other;
  struct work mine, next;
  struct error error;
  int pipe_of[2];
  make_parent(parent);
  cr_assert_eq(pipe(pipe_of), 0);
  const pid_t child = fork();
  if (child == 0) {
    struct work its;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (work_open(parent, &its, NULL) == 0 && write(pipe_of[1], its.path, strlen(its.path) + 1) > 0)
      pause();
    _exit(1);
  }
  cr_assert_gt(read(pipe_of[0], left, sizeof left - 1), 0);
  other = path_join(parent, "assay-bench-notes");
  FILE *file = fopen(other, "w");
  fclose(file);

  cr_assert_eq(work_open(parent, &mine, &error), 0, "%s", error.message);
  cr_assert(file_exists(left), "it is in use");
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  cr_assert_eq(work_open(parent, &next, &error), 0, "%s", error.message);
  cr_assert_not(file_exists(left), "it was left");
  cr_assert(file_exists(mine.path) && file_exists(next.path) && file_exists(other));

  work_close(&mine);
  work_close(&next);
  work_close(&next);
  free(other);
  directory_remove(parent, NULL);
}

Test(work, a_place_that_is_none_is_named) {
  struct work work;
  struct error error;
  cr_assert_eq(work_open("/nowhere", &work, &error), ERR_IO);
  cr_assert(strstr(error.message, "--directory: cannot use /nowhere"), "%s", error.message);
  work_close(&work);
}

/* ---- the machine ---- */

Test(bench, the_machine_is_probed_and_its_time_read) {
  struct machine_probe probe;
  struct machine_time before, after;
  struct error error;
  cr_assert_eq(machine_time(NULL, 0, &before, &error), 0, "%s", error.message);
  cr_assert_eq(machine_probe("/tmp", &probe, &error), 0, "%s", error.message);
  cr_assert_eq(machine_time(NULL, 0, &after, &error), 0, "%s", error.message);
  cr_assert(probe.spin_us > 0 && probe.sync_us > 0);
  cr_assert(after.all >= before.all && after.ours >= before.ours);
  const double share = machine_foreign_share(&before, &after);
  cr_assert(share >= 0 && share <= 1.5);
  cr_assert_eq(machine_probe("/nowhere", &probe, &error), ERR_IO);
}
