#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/base.h"
#include "master/worker_registry.h"

static struct slice text(const char *string) {
  return (struct slice){string, strlen(string)};
}

static struct worker_registry *with(int64_t lease_ns, size_t limit) {
  return worker_registry_new(&(struct worker_registry_options){.lease_ns = lease_ns, .places_limit = limit});
}

Test(worker_registry, a_silent_worker_is_lost_and_comes_back) {
  struct worker_registry *registry = with(10, 0);
  struct worker_state state;
  uint64_t found[4];
  cr_assert(worker_registry_register(registry, 7, 1, text("127.0.0.1:1"), 100));
  worker_registry_add(registry, 7, 55);
  cr_assert_eq(worker_registry_find(registry, 55, 110, found, 4), 1);
  cr_assert_eq(found[0], 7);
  cr_assert_eq(worker_registry_find(registry, 55, 111, found, 4), 0);
  cr_assert(worker_registry_look(registry, 7, 111, &state) && !state.live);
  cr_assert_eq(worker_registry_statistics(registry, 111).lost, 1);
  cr_assert(worker_registry_heard(registry, 7, 1, 5, 6, 120));
  cr_assert_eq(worker_registry_find(registry, 55, 121, found, 4), 1);
  cr_assert(worker_registry_look(registry, 7, 121, &state) && state.live);
  cr_assert_eq(state.free_bytes, 5);
  cr_assert_eq(state.stored_bytes, 6);
  cr_assert_eq(state.blocks, 1);
  worker_registry_free(registry);
}

Test(worker_registry, another_epoch_has_to_register_and_report) {
  struct worker_registry *registry = with(10, 0);
  uint64_t found[4];
  cr_assert(!worker_registry_heard(registry, 7, 1, 0, 0, 0));
  cr_assert(worker_registry_register(registry, 7, 1, text("a:1"), 0));
  worker_registry_add(registry, 7, 55);
  cr_assert(worker_registry_register(registry, 7, 1, text("a:1"), 1), "again");
  cr_assert_eq(worker_registry_find(registry, 55, 1, found, 4), 1, "nothing was new about it");
  cr_assert(!worker_registry_heard(registry, 7, 2, 0, 0, 1));
  cr_assert(worker_registry_register(registry, 7, 2, text("b:1"), 1));
  cr_assert_eq(worker_registry_find(registry, 55, 1, found, 4), 0);
  cr_assert(!worker_registry_heard(registry, 7, 1, 0, 0, 1));
  cr_assert(worker_registry_heard(registry, 7, 2, 0, 0, 1));
  worker_registry_clear(registry);
  cr_assert(!worker_registry_heard(registry, 7, 2, 0, 0, 1));
  worker_registry_free(registry);
}

Test(worker_registry, who_is_silent_for_long_is_forgotten) {
  struct worker_registry *registry = with(10, 0);
  cr_assert(worker_registry_register(registry, 7, 1, text("a:1"), 0));
  worker_registry_add(registry, 7, 55);
  cr_assert(worker_registry_register(registry, 8, 1, text("a:2"), 1000));
  cr_assert(!worker_registry_heard(registry, 7, 1, 0, 0, 1000));
  cr_assert_eq(worker_registry_statistics(registry, 1000).places, 0);
  worker_registry_free(registry);
}

Test(worker_registry, places_are_bounded) {
  struct worker_registry *registry = with(10, 3);
  cr_assert(worker_registry_register(registry, 7, 1, text("a:1"), 0));
  for (uint64_t block = 1; block <= 5; block++)
    worker_registry_add(registry, 7, block);
  cr_assert_eq(worker_registry_statistics(registry, 0).places, 3);
  cr_assert_eq(worker_registry_statistics(registry, 0).places_missed, 2);
  worker_registry_remove(registry, 7, 1);
  worker_registry_add(registry, 7, 5);
  cr_assert_eq(worker_registry_statistics(registry, 0).places, 3);
  worker_registry_free(registry);
}

#define WORKERS 6
#define BLOCKS 400

/* Against a plain table of who has what. */
static void run(uint64_t seed) {
  struct random random;
  bool has[WORKERS][BLOCKS] = {0}, known[WORKERS] = {0};
  uint64_t epochs[WORKERS] = {0};
  random_seed(&random, seed);
  struct worker_registry *registry = with(10, 0);
  const bool close_ids = random_chance(&random, 0.5);
  for (int step = 0; step < 3000; step++) {
    const size_t worker = random_below(&random, WORKERS), block = random_below(&random, BLOCKS);
    const uint64_t id = close_ids ? block + 1 : (block + 1) * UINT64_C(0x100000001);
    const uint64_t dice = random_below(&random, 1000);
    if (dice < 4) {
      cr_assert(worker_registry_register(registry, worker + 1, ++epochs[worker], text("a:1"), 0));
      memset(has[worker], 0, sizeof has[worker]);
      known[worker] = true;
    } else if (dice == 4) {
      worker_registry_clear(registry);
      memset(has, 0, sizeof has);
      memset(known, 0, sizeof known);
    } else if (dice < 600) {
      worker_registry_add(registry, worker + 1, id);
      has[worker][block] = known[worker];
    } else {
      worker_registry_remove(registry, worker + 1, id);
      has[worker][block] = false;
    }
    size_t all = 0, mine = 0;
    for (size_t i = 0; i < WORKERS; i++)
      for (size_t j = 0; j < BLOCKS; j++) {
        all += has[i][j];
        mine += i == worker && has[i][j];
      }
    uint64_t found[WORKERS];
    const size_t count = worker_registry_find(registry, id, 0, found, WORKERS);
    size_t expected = 0;
    for (size_t i = 0; i < WORKERS; i++)
      expected += has[i][block];
    cr_assert_eq(count, expected, "seed %lu step %d", (unsigned long)seed, step);
    for (size_t i = 0; i < count; i++)
      cr_assert(has[found[i] - 1][block]);
    cr_assert_eq(worker_registry_statistics(registry, 0).places, all);
    struct worker_state state;
    if (known[worker])
      cr_assert(worker_registry_look(registry, worker + 1, 0, &state) && state.blocks == mine);
  }
  worker_registry_free(registry);
}

Test(worker_registry, random_changes_against_a_plain_table) {
  for (uint64_t seed = 1; seed <= 20; seed++)
    run(seed);
}

Test(worker_registry, a_million_blocks_take_little_memory) {
  struct worker_registry *registry = with(10, 0);
  cr_assert(worker_registry_register(registry, 7, 1, text("a:1"), 0));
  for (uint64_t i = 0; i < 1000000; i++)
    worker_registry_add(registry, 7, (i / 1000 + 1) << 32 | (i % 1000 + 1));
  const struct worker_registry_statistics seen = worker_registry_statistics(registry, 0);
  cr_assert_eq(seen.places, 1000000);
  cr_assert_leq(seen.memory_bytes, 30u << 20, "%lu bytes", (unsigned long)seen.memory_bytes);
  uint64_t found[2];
  for (uint64_t i = 0; i < 1000000; i += 997)
    cr_assert_eq(worker_registry_find(registry, (i / 1000 + 1) << 32 | (i % 1000 + 1), 0, found, 2), 1);
  worker_registry_free(registry);
}
