#include "master/row_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#define BYTES_PER_BUCKET 128      /* what a row takes, about */
#define EVICT_BUCKETS (16u << 10) /* passed in one go, at most: it must not stall the loop */
#define FIRST_BUCKETS 256u
#define LAST_STEP (16u << 10) /* buckets; then the full size is made at once: few rows are moved */

#define HUGE_PAGE (2u << 20)

/* Many buckets are looked at in no order: on large pages the processor finds them without walking through
 * page tables first, which takes as long again. */
static void *new_buckets(size_t count) {
  const size_t size = count * sizeof(void *);
  if (size < HUGE_PAGE)
    return xcalloc(count, sizeof(void *));
  void *buckets = aligned_alloc(HUGE_PAGE, size);
  if (!buckets)
    return xcalloc(count, sizeof(void *));
  madvise(buckets, size, MADV_HUGEPAGE); /* a wish */
  return memset(buckets, 0, size);
}

static size_t power_of_two_above(size_t value) {
  size_t power = 64;
  while (power < value)
    power *= 2;
  return power;
}

void row_cache_init(struct row_cache *cache, size_t expected_bytes) {
  const size_t full = power_of_two_above(expected_bytes / BYTES_PER_BUCKET);
  const size_t buckets = full < FIRST_BUCKETS ? full : FIRST_BUCKETS;
  *cache = (struct row_cache){
      .mask = buckets - 1, .group_mask = buckets / 4 - 1, .full_mask = full - 1, .generation = 2};
  cache->buckets = xcalloc(buckets, sizeof(struct row *));
  cache->groups = xcalloc(buckets / 4, sizeof(struct group *));
}

void row_cache_clear(struct row_cache *cache) {
  assert(!cache->frozen);
  for (size_t i = 0; i <= cache->mask; i++) {
    for (struct row *row = cache->buckets[i], *next; row; row = next) {
      next = row->next;
      free(row);
    }
    cache->buckets[i] = NULL;
  }
  for (size_t i = 0; i <= cache->group_mask; i++) {
    for (struct group *group = cache->groups[i], *next; group; group = next) {
      next = group->next;
      free(group->rows);
      free(group);
    }
    cache->groups[i] = NULL;
  }
  cache->memory = 0;
  cache->count = 0;
}

void row_cache_free(struct row_cache *cache) {
  row_cache_clear(cache);
  free(cache->buckets);
  free(cache->groups);
}

/* -- groups -- */

size_t group_prefix_size(enum table table) {
  switch (table) {
  case TABLE_META:
  case TABLE_WORKERS:
    return 1;
  case TABLE_EDGES:
    return 8;
  case TABLE_OPERATIONS:
    return 4;
  default:
    return 0;
  }
}

uint64_t group_prefix(enum table table, const void *key) {
  unsigned char bytes[8] = {0};
  memcpy(bytes, key, group_prefix_size(table));
  return be64_load(bytes);
}

static struct group **group_bucket(const struct row_cache *cache, enum table table, uint64_t prefix) {
  uint64_t mixed = (prefix + (uint64_t)table) * UINT64_C(0x9e3779b97f4a7c15);
  mixed ^= mixed >> 32;
  return &cache->groups[mixed & cache->group_mask];
}

struct group *row_cache_group(struct row_cache *cache, enum table table, uint64_t prefix, bool make) {
  struct group **bucket = group_bucket(cache, table, prefix);
  for (struct group *group = *bucket; group; group = group->next)
    if (group->prefix == prefix && group->table == table)
      return group;
  if (!make)
    return NULL;
  struct group *group = xcalloc(1, sizeof *group);
  group->prefix = prefix;
  group->table = (uint8_t)table;
  group->stamp = cache->epoch;
  group->next = *bucket;
  *bucket = group;
  cache->memory += sizeof *group;
  return group;
}

static size_t group_memory(const struct group *group) {
  return sizeof *group + group->capacity * sizeof(struct row *);
}

void row_cache_drop_group(struct row_cache *cache, struct group *group) {
  if (group->count > group->holes || stamp_is_pinned(cache, group->stamp))
    return;
  struct group **at = group_bucket(cache, (enum table)group->table, group->prefix);
  while (*at != group)
    at = &(*at)->next;
  *at = group->next;
  cache->memory -= group_memory(group);
  free(group->rows);
  free(group);
}

static void group_add(struct row_cache *cache, struct group *group, struct row *row) {
  if (group->count == group->capacity) {
    const uint32_t capacity = group->capacity ? 2 * group->capacity : 4;
    cache->memory += (capacity - group->capacity) * sizeof(struct row *);
    group->rows = xrealloc(group->rows, capacity * sizeof(struct row *));
    group->capacity = capacity;
  }
  row->group = group;
  row->slot = group->count;
  group->rows[group->count++] = row;
}

static void group_squeeze(struct group *group) {
  uint32_t kept = 0, sorted = 0;
  for (uint32_t i = 0; i < group->count; i++) {
    struct row *row = group->rows[i];
    if (!row)
      continue;
    row->slot = kept;
    group->rows[kept++] = row;
    if (i < group->sorted)
      sorted = kept;
  }
  group->count = kept;
  group->sorted = sorted;
  group->holes = 0;
}

static int row_order(const struct row *a, const struct row *b) {
  const size_t size_a = a->content.key_size, size_b = b->content.key_size;
  const int order = memcmp(a->content.bytes, b->content.bytes, size_a < size_b ? size_a : size_b);
  return order ? order : (size_a > size_b) - (size_a < size_b);
}

static int row_pointer_order(const void *a, const void *b) {
  return row_order(*(struct row *const *)a, *(struct row *const *)b);
}

void group_sort(struct group *group) {
  if (group->holes)
    group_squeeze(group);
  const uint32_t fresh = group->count - group->sorted;
  if (fresh == 0)
    return;
  qsort(group->rows + group->sorted, fresh, sizeof(struct row *), row_pointer_order);
  /* Merge from the end; the new rows move aside first. */
  struct row **tail = xmalloc(fresh * sizeof(struct row *));
  memcpy(tail, group->rows + group->sorted, fresh * sizeof(struct row *));
  uint32_t old = group->sorted, new = fresh, to = group->count;
  while (new > 0) {
    const bool take_old = old > 0 && row_order(group->rows[old - 1], tail[new - 1]) > 0;
    struct row *row = take_old ? group->rows[--old] : tail[--new];
    group->rows[--to] = row;
    row->slot = to;
  }
  free(tail);
  group->sorted = group->count;
}

/* -- rows -- */

uint32_t row_hash(enum table table, struct slice key) {
  return (uint32_t)checksum_fold(table, key.data, key.size);
}

struct row *row_cache_find(const struct row_cache *cache, enum table table, struct slice key, uint32_t hash) {
  for (struct row *row = cache->buckets[hash & cache->mask]; row; row = row->next)
    if (row->hash == hash && row->content.key_size == key.size && row->content.table == table &&
        memcmp(row->content.bytes, key.data, key.size) == 0)
      return row;
  return NULL;
}

static struct row *row_new(enum table table, struct slice key, uint32_t hash, struct slice value,
                           bool deleted) {
  assert(key.size <= STORE_KEY_LIMIT && value.size <= UINT32_MAX && !(deleted && value.size));
  const size_t capacity = (key.size + value.size + 7) & ~(size_t)7;
  struct row *row = xmalloc(sizeof *row + capacity);
  *row = (struct row){.hash = hash, .capacity = (uint32_t)capacity, .referenced = true};
  row->content.table = (uint8_t)table;
  row->content.deleted = deleted;
  row->content.key_size = (uint16_t)key.size;
  row->content.value_size = (uint32_t)value.size;
  memcpy(row->content.bytes, key.data, key.size);
  if (value.size)
    memcpy(row->content.bytes + key.size, value.data, value.size);
  return row;
}

static void move_rows(struct row_cache *cache, struct row **old, size_t old_count) {
  for (size_t i = 0; i < old_count; i++)
    for (struct row *row = old[i], *next; row; row = next) {
      struct row **bucket = &cache->buckets[row->hash & cache->mask];
      next = row->next;
      row->next = *bucket;
      *bucket = row;
    }
  free(old);
}

static void move_groups(struct row_cache *cache, struct group **old, size_t old_count) {
  for (size_t i = 0; i < old_count; i++)
    for (struct group *group = old[i], *next; group; group = next) {
      struct group **bucket = group_bucket(cache, (enum table)group->table, group->prefix);
      next = group->next;
      group->next = *bucket;
      *bucket = group;
    }
  free(old);
}

/* A cache of few rows has few buckets: the hand passes over all of them. */
static void grow(struct row_cache *cache) {
  struct row **rows = cache->buckets;
  struct group **groups = cache->groups;
  const size_t row_buckets = cache->mask + 1, group_buckets = cache->group_mask + 1;
  const size_t full = cache->full_mask + 1;
  const size_t buckets = row_buckets < LAST_STEP && row_buckets * 4 < full ? row_buckets * 4 : full;
  cache->mask = buckets - 1;
  cache->group_mask = buckets / 4 - 1;
  cache->hand = cache->group_hand = 0;
  cache->buckets = new_buckets(buckets);
  cache->groups = new_buckets(buckets / 4);
  move_rows(cache, rows, row_buckets);
  move_groups(cache, groups, group_buckets);
}

struct row *row_cache_insert(struct row_cache *cache, enum table table, struct slice key, uint32_t hash,
                             struct slice value, bool deleted) {
  cache->inserted++;
  if (++cache->count > cache->mask && cache->mask < cache->full_mask)
    grow(cache);
  struct row *row = row_new(table, key, hash, value, deleted);
  row->stamp = cache->epoch;
  struct row **bucket = &cache->buckets[hash & cache->mask];
  row->next = *bucket;
  *bucket = row;
  if (group_prefix_size(table) > 0)
    group_add(cache, row_cache_group(cache, table, group_prefix(table, key.data), true), row);
  cache->memory += row_memory(row);
  return row;
}

static struct row **row_link(struct row_cache *cache, const struct row *row) {
  struct row **at = &cache->buckets[row->hash & cache->mask];
  while (*at != row)
    at = &(*at)->next;
  return at;
}

struct row *row_cache_replace(struct row_cache *cache, struct row *old, struct slice value, bool deleted) {
  struct row *row = row_new((enum table)old->content.table, row_key_of(old), old->hash, value, deleted);
  row->stamp = cache->epoch;
  row->next = old->next;
  *row_link(cache, old) = row;
  if (old->group) {
    row->group = old->group;
    row->slot = old->slot;
    row->group->rows[row->slot] = row;
  }
  cache->memory += row_memory(row);
  cache->memory -= row_memory(old);
  return row;
}

void row_cache_remove(struct row_cache *cache, struct row *row) {
  *row_link(cache, row) = row->next;
  cache->count--;
  cache->memory -= row_memory(row);
  struct group *group = row->group;
  if (!group)
    return;
  assert(group->rows[row->slot] == row);
  group->rows[row->slot] = NULL;
  group->holes++;
  if (row->slot == group->count - 1) {
    group->count--;
    group->holes--;
    if (group->sorted > group->count)
      group->sorted = group->count;
  } else if (group->holes > 16 && group->holes > group->count / 2) {
    group_squeeze(group);
  }
  if (!group->complete)
    row_cache_drop_group(cache, group);
}

/* -- pins -- */

void row_cache_pin(struct row_cache *cache, struct pin *pin) {
  *pin = (struct pin){.previous = cache->newest_pin, .epoch = cache->epoch++};
  if (pin->previous)
    pin->previous->next = pin;
  else
    cache->oldest_pin = pin;
  cache->newest_pin = pin;
}

void row_cache_unpin(struct row_cache *cache, struct pin *pin) {
  if (pin->previous)
    pin->previous->next = pin->next;
  else
    cache->oldest_pin = pin->next;
  if (pin->next)
    pin->next->previous = pin->previous;
  else
    cache->newest_pin = pin->previous;
}

/* -- eviction -- */

static void evict_row(struct row_cache *cache, struct row *row) {
  if (row->group && !row->content.deleted)
    row->group->complete = false;
  cache->evicted++;
  row_cache_remove(cache, row);
  free(row);
}

static void pass_bucket(struct row_cache *cache, size_t bucket) {
  for (struct row *row = cache->buckets[bucket], *next; row; row = next) {
    next = row->next;
    if (row_is_dirty(cache, row) || row_is_frozen(cache, row))
      continue;
    const struct group *whole = row->group && row->group->complete ? row->group : NULL;
    if (stamp_is_pinned(cache, row->stamp) || (whole && stamp_is_pinned(cache, whole->stamp)))
      continue;
    const bool spared = whole && whole->referenced;
    if (row->referenced || spared)
      row->referenced = false;
    else
      evict_row(cache, row);
  }
}

static void pass_group_bucket(struct row_cache *cache, size_t bucket) {
  for (struct group *group = cache->groups[bucket], *next; group; group = next) {
    next = group->next;
    if (group->referenced)
      group->referenced = false;
    else
      row_cache_drop_group(cache, group);
  }
}

/* What is dirty cannot go, and passing it over and over would cost more than all else. */
static bool hopeless(const struct row_cache *cache) {
  return cache->round.in_vain && cache->round.generation == cache->generation &&
         cache->round.frozen == cache->frozen && cache->round.oldest_pin == cache->oldest_pin &&
         cache->inserted - cache->round.inserted < cache->count / 4;
}

void row_cache_evict(struct row_cache *cache, size_t bytes) {
  const size_t goal = cache->memory > bytes ? cache->memory - bytes : 0;
  /* Twice around: what is left then was used meanwhile, or cannot go. */
  const size_t around = 2 * (cache->mask + 1), most = around < EVICT_BUCKETS ? around : EVICT_BUCKETS;
  size_t passed = 0;
  if (hopeless(cache))
    return;
  for (; cache->memory > goal && passed < most; passed++) {
    pass_bucket(cache, cache->hand);
    cache->hand = (cache->hand + 1) & cache->mask;
    if (cache->hand % 4 == 0) {
      pass_group_bucket(cache, cache->group_hand);
      cache->group_hand = (cache->group_hand + 1) & cache->group_mask;
    }
  }
  cache->round.in_vain = cache->memory > goal && passed == around;
  cache->round.frozen = cache->frozen;
  cache->round.generation = cache->generation;
  cache->round.oldest_pin = cache->oldest_pin;
  cache->round.inserted = cache->inserted;
}
