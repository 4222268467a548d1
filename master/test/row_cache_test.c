/* The cache's own book-keeping: what its memory is said to be, and what a pin holds. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/records.h"
#include "master/row_cache.h"

#define GROUPS 20
#define NAMES 40

struct fixture {
  struct row_cache cache;
  struct random random;
};

static struct row_key key_of(uint64_t group, uint64_t number) {
  char name[24];
  const int size = snprintf(name, sizeof name, "%llu", (unsigned long long)number);
  return edge_key(group, (struct slice){name, (size_t)size});
}

static struct slice slice_of(const struct row_key *key) {
  return (struct slice){(const char *)key->bytes, key->size};
}

static struct row *find(const struct fixture *fixture, const struct row_key *key) {
  return row_cache_find(&fixture->cache, TABLE_EDGES, slice_of(key), row_hash(TABLE_EDGES, slice_of(key)));
}

static struct row *insert(struct fixture *fixture, const struct row_key *key, size_t value_size) {
  static const char value[1000];
  return row_cache_insert(&fixture->cache, TABLE_EDGES, slice_of(key), row_hash(TABLE_EDGES, slice_of(key)),
                          (struct slice){value, value_size}, false);
}

/* Counted from what is there, instead of from what came and went. */
static size_t counted(const struct row_cache *cache) {
  size_t memory = 0;
  for (size_t i = 0; i <= cache->mask; i++)
    for (const struct row *row = cache->buckets[i]; row; row = row->next)
      memory += row_memory(row);
  for (size_t i = 0; i <= cache->group_mask; i++)
    for (const struct group *group = cache->groups[i]; group; group = group->next)
      memory += sizeof *group + group->capacity * sizeof(struct row *);
  return memory;
}

static void change_one(struct fixture *fixture) {
  static const char value[1000];
  struct random *random = &fixture->random;
  const struct row_key key = key_of(random_below(random, GROUPS), random_below(random, NAMES));
  struct row *row = find(fixture, &key);
  if (!row) {
    insert(fixture, &key, random_below(random, 300));
  } else if (random_chance(random, 0.5)) {
    row_cache_remove(&fixture->cache, row);
    free(row);
  } else {
    const size_t size = random_below(random, 300);
    row_cache_replace(&fixture->cache, row, (struct slice){value, size}, random_chance(random, 0.2) && !size);
    free(row);
  }
}

Test(row_cache, memory_is_that_of_what_is_there) {
  struct fixture fixture;
  row_cache_init(&fixture.cache, 1 << 20);
  random_seed(&fixture.random, 3);
  for (int i = 0; i < 20000; i++) {
    const uint64_t dice = random_below(&fixture.random, 100);
    struct group *group =
        row_cache_group(&fixture.cache, TABLE_EDGES, random_below(&fixture.random, GROUPS), dice < 30);
    if (dice < 80)
      change_one(&fixture);
    else if (dice < 90 && group)
      group_sort(group);
    else if (dice < 95 && group)
      row_cache_drop_group(&fixture.cache, group);
    else if (dice > 97)
      row_cache_evict(&fixture.cache, random_below(&fixture.random, 20000));
    if (i % 100 == 0)
      cr_assert_eq(fixture.cache.memory, counted(&fixture.cache), "step %d", i);
  }
  while (fixture.cache.memory > 0) {
    const size_t before = fixture.cache.memory;
    row_cache_evict(&fixture.cache, before);
    cr_assert_lt(fixture.cache.memory, before);
  }
  cr_assert_eq(counted(&fixture.cache), 0);
  cr_assert_eq(fixture.cache.count, 0);
  row_cache_free(&fixture.cache);
}

static void evict_all(struct fixture *fixture) {
  for (int i = 0; i < 4; i++)
    row_cache_evict(&fixture->cache, SIZE_MAX / 2);
}

Test(row_cache, pin_holds_what_is_used_from_then_on) {
  struct fixture fixture;
  row_cache_init(&fixture.cache, 1 << 20);
  const struct row_key before = key_of(1, 1), during = key_of(1, 2), later = key_of(2, 3),
                       used = key_of(2, 4);
  struct pin none, first, second;
  insert(&fixture, &before, 10);
  insert(&fixture, &used, 10);
  row_cache_pin(&fixture.cache,
                &none); /* what was used since the last pin counts as used in this one's time */
  row_cache_pin(&fixture.cache, &first);
  row_cache_unpin(&fixture.cache, &none);
  insert(&fixture, &during, 10);
  find(&fixture, &used)->stamp = fixture.cache.epoch;
  row_cache_pin(&fixture.cache, &second);
  insert(&fixture, &later, 10);
  evict_all(&fixture);
  cr_assert_null(find(&fixture, &before));
  cr_assert(find(&fixture, &during) && find(&fixture, &later) && find(&fixture, &used));
  row_cache_unpin(&fixture.cache, &second); /* the older one holds everything still */
  evict_all(&fixture);
  cr_assert(find(&fixture, &during) && find(&fixture, &later) && find(&fixture, &used));
  row_cache_unpin(&fixture.cache, &first);
  evict_all(&fixture);
  cr_assert_eq(fixture.cache.memory, 0);
  row_cache_free(&fixture.cache);
}

/* A complete group in use is held whole: what is not in it does not exist. */
Test(row_cache, pin_holds_what_a_group_knows) {
  struct fixture fixture;
  row_cache_init(&fixture.cache, 1 << 20);
  const struct row_key old = key_of(1, 1);
  insert(&fixture, &old, 10);
  struct group *whole = row_cache_group(&fixture.cache, TABLE_EDGES, 1, true);
  struct group *empty = row_cache_group(&fixture.cache, TABLE_EDGES, 2, true);
  whole->complete = empty->complete = true;
  struct pin none, pin;
  row_cache_pin(&fixture.cache, &none);
  row_cache_pin(&fixture.cache, &pin);
  row_cache_unpin(&fixture.cache, &none);
  whole->stamp = empty->stamp = fixture.cache.epoch;
  evict_all(&fixture);
  cr_assert(find(&fixture, &old));
  cr_assert(row_cache_group(&fixture.cache, TABLE_EDGES, 1, false)->complete);
  cr_assert(row_cache_group(&fixture.cache, TABLE_EDGES, 2, false));
  row_cache_unpin(&fixture.cache, &pin);
  evict_all(&fixture);
  cr_assert_eq(fixture.cache.memory, 0);
  row_cache_free(&fixture.cache);
}
