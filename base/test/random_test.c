#include <criterion/criterion.h>

#include "base/base.h"

Test(random, same_seed_same_stream) {
  struct random a, b;
  random_seed(&a, 42);
  random_seed(&b, 42);
  for (int i = 0; i < 1000; i++)
    cr_assert_eq(random_next(&a), random_next(&b));
}

Test(random, known_first_values_of_xoshiro256starstar) {
  /* With the state {1, 2, 3, 4} the published generator yields these. */
  struct random random = {.state = {1, 2, 3, 4}};
  cr_assert_eq(random_next(&random), 11520u);
  cr_assert_eq(random_next(&random), 0u);
  cr_assert_eq(random_next(&random), 1509978240u);
}

Test(random, split_stream_does_not_depend_on_later_draws) {
  struct random a, b;
  random_seed(&a, 7);
  random_seed(&b, 7);
  struct random child_a = random_split(&a), child_b = random_split(&b);
  random_next(&b);
  for (int i = 0; i < 100; i++)
    cr_assert_eq(random_next(&child_a), random_next(&child_b));
}

Test(random, below_is_uniform_and_in_range) {
  struct random random;
  random_seed(&random, 1);
  int counts[7] = {0};
  for (int i = 0; i < 70000; i++) {
    const uint64_t value = random_below(&random, 7);
    cr_assert_lt(value, 7u);
    counts[value]++;
  }
  for (int i = 0; i < 7; i++)
    cr_assert(counts[i] > 9500 && counts[i] < 10500, "value %d came %d times of 70000", i, counts[i]);
}

Test(random, shuffle_keeps_every_item) {
  struct random random;
  random_seed(&random, 3);
  int items[50], seen[50] = {0};
  for (int i = 0; i < 50; i++)
    items[i] = i;
  random_shuffle(&random, items, 50, sizeof items[0]);
  int moved = 0;
  for (int i = 0; i < 50; i++) {
    seen[items[i]]++;
    moved += items[i] != i;
  }
  for (int i = 0; i < 50; i++)
    cr_assert_eq(seen[i], 1);
  cr_assert_gt(moved, 30);
}
