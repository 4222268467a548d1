#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "base/base.h"
#include "harness/bench_histogram.h"
#include "harness/bench_load.h"
#include "harness/bench_machine.h"

static int compare_numbers(const void *a, const void *b) {
  const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

Test(histogram, quantiles_are_right_to_two_percent) {
  enum { COUNT = 10000 };
  struct random random;
  random_seed(&random, 1);
  uint64_t *values = xcalloc(COUNT, sizeof *values);
  struct histogram *histogram = xmalloc(sizeof *histogram);
  for (int round = 0; round < 50; round++) {
    *histogram = (struct histogram){0};
    const uint64_t bits = 1 + random_below(&random, 44);
    for (size_t i = 0; i < COUNT; i++) {
      values[i] = random_next(&random) >> (64 - 1 - random_below(&random, bits));
      histogram_add(histogram, values[i]);
    }
    qsort(values, COUNT, sizeof *values, compare_numbers);
    static const double quantiles[] = {0.001, 0.5, 0.9, 0.99, 1};
    for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
      const double exact = (double)values[(size_t)ceil(quantiles[i] * COUNT) - 1];
      const double found = (double)histogram_quantile(histogram, quantiles[i]);
      cr_assert(found >= exact && found <= exact * 1.02 + 1, "quantile %g: %g for %g", quantiles[i], found,
                exact);
    }
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

Test(bench, every_kind_of_load_has_its_name) {
  for (int kind = 0; kind < LOAD_KINDS; kind++)
    cr_assert_eq(load_kind_of(load_name((enum load_kind)kind), strlen(load_name((enum load_kind)kind))),
                 kind);
  cr_assert_eq(load_kind_of("creates", 7), -1);
}

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
