/* Whom faults of links hit, and how hard. That they take hold is proved by the table (table/link.c). */
#include <criterion/criterion.h>
#include <string.h>

#include "nemesis/fault.h"
#include "nemesis/link/link.h"

#define SEEDS 400

static struct aim aim_of(const char *name, size_t nodes, int primary, uint64_t seed) {
  const struct fault *fault = catalogue_find(name);
  struct facts facts = {.nodes = nodes, .primary = primary, .old_primary = -1};
  struct random random;
  struct aim aim;
  struct error error = {0};
  random_seed(&random, seed);
  for (size_t i = 0; i < nodes; i++)
    facts.free[i] = true;
  cr_assert(fault, "%s", name);
  cr_assert_eq(fault_aim(fault, &facts, &random, &aim, &error), 0, "%s", error.message);
  return aim;
}

static size_t count_shaped(const struct aim *aim, size_t nodes) {
  size_t count = 0;
  for (size_t i = 0; i < nodes * nodes; i++)
    count += aim->shaped[i];
  return count;
}

Test(link_faults, some_links_are_hit_and_none_of_a_node_to_itself) {
  for (size_t i = 0; i < link_faults.count; i++)
    for (size_t nodes = 2; nodes <= 5; nodes++)
      for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const char *name = link_faults.faults[i].description.name;
        const struct aim aim = aim_of(name, nodes, (int)(seed % nodes), seed);
        cr_assert(aim.shapes && !aim.cuts && count_shaped(&aim, nodes) > 0, "%s", name);
        for (size_t a = 0; a < nodes; a++) {
          cr_assert_not(aim.shaped[a * nodes + a]);
          for (size_t b = 0; b < nodes; b++)
            cr_assert(!aim.shaped[a * nodes + b] || aim.targets[a] || aim.targets[b], "%s", name);
        }
        const struct aim again = aim_of(name, nodes, (int)(seed % nodes), seed);
        cr_assert_eq(memcmp(aim.shaped, again.shaped, sizeof aim.shaped), 0);
        for (size_t k = 0; k < aim.number_count; k++)
          cr_assert_eq(aim.numbers[k].value, again.numbers[k].value);
      }
}

Test(link_faults, the_primary_is_hit_often_and_every_kind_of_place_comes_up) {
  size_t at_primary = 0, everywhere = 0, one_way = 0, both_ways = 0, scattered = 0;
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    const struct aim aim = aim_of("link-loss", 5, 2, seed);
    const size_t shaped = count_shaped(&aim, 5);
    size_t targets = 0;
    for (size_t i = 0; i < 5; i++)
      targets += aim.targets[i];
    everywhere += shaped == 20;
    at_primary += targets == 1 && aim.targets[2];
    one_way += targets == 1 && shaped == 4;
    both_ways += targets == 1 && shaped == 8;
    scattered += targets > 1 && shaped < 20;
  }
  cr_assert(at_primary > SEEDS * 2 / 5 && at_primary < SEEDS * 7 / 10, "%zu", at_primary);
  cr_assert(everywhere > 20 && scattered > 20 && both_ways > 50 && one_way > 100,
            "%zu everywhere, %zu scattered, %zu both ways, %zu one way", everywhere, scattered, both_ways,
            one_way);
}

static void expect_range(const char *fault, const char *number, double least, double most) {
  double lowest = 1e9, highest = 0;
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    const struct aim aim = aim_of(fault, 3, -1, seed);
    const double value = aim_get(&aim, number);
    cr_assert(value >= least * 0.99 && value <= most * 1.01, "%s: %s is %g", fault, number, value);
    lowest = value < lowest ? value : lowest;
    highest = value > highest ? value : highest;
  }
  cr_assert(lowest < least + (most - least) / 4 && highest > least + (most - least) / 2, "%s: %s is %g to %g",
            fault, number, lowest, highest);
}

Test(link_faults, numbers_are_drawn_from_what_is_hardly_felt_to_what_hurts) {
  expect_range("link-delay", "delay_ms", 5, 1500);
  expect_range("link-delay", "jitter_ms", 0, 1500);
  expect_range("link-loss", "loss_percent", 1, 40);
  expect_range("link-duplicate", "duplicate_percent", 5, 80);
  expect_range("link-reorder", "reorder_percent", 10, 80);
  expect_range("link-corrupt", "corrupt_percent", 1, 30);
  expect_range("link-rate", "rate_kb_per_s", 2, 1000);
  expect_range("link-flap", "down_ms", 100, 600);
}

Test(link_faults, one_node_has_no_links) {
  const struct facts alone = {.nodes = 1, .primary = 0, .old_primary = -1, .free = {true}};
  for (size_t i = 0; i < link_faults.count; i++)
    cr_assert(fault_unsuitable(&link_faults.faults[i], &alone, NULL));
}
