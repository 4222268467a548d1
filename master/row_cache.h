/* row_cache.h: rows in memory, found by key or by group; no knowledge of stores or writing.
 *
 *   buckets ─▶ row ─▶ row          a hash of all rows by (table, key); it grows to a size given at first
 *               │
 *               ▼ slot
 *   groups ─▶ group: [ row row row · row | row row ]     rows of one directory, or of one client
 *                      sorted, with holes  new ones
 *
 * A group that is `complete` has every row of its prefix in memory: what is not in it does not exist, and a
 * listing needs no store. A tombstone (content.deleted) says that a row does not exist.
 *
 * Rows are dirty while they are newer than the store (tables.c keeps the list), frozen while they are being
 * written, and clean afterwards. The state is not stored in the row: its generation, compared with the
 * cache's, tells it, so that freezing all dirty rows costs nothing. Clean rows are evicted by a clock hand
 * over the buckets.
 *
 * A pin keeps in memory whatever is used, comes in or is written while it lasts: rows and groups are stamped
 * with the epoch in which that happened last, a pin begins a new one, and what has the stamp of the oldest
 * pin's epoch or a later one is not evicted. So a pin costs nothing for each row that it holds. */
#ifndef ASSAY_MASTER_ROW_CACHE_H
#define ASSAY_MASTER_ROW_CACHE_H

#include "master/operation.h"
#include "master/store.h"

struct group {
  struct group *next; /* in its bucket */
  uint64_t prefix;
  uint8_t table;
  bool complete, referenced;
  uint32_t stamp;  /* the epoch in which it was used last */
  bool large;      /* too large to be completed from the store */
  uint8_t misses;  /* lookups that had to go to the store because it is not complete */
  uint32_t count;  /* slots in use, holes included */
  uint32_t holes;  /* slots of removed rows: NULL */
  uint32_t sorted; /* the first slots that are in key order */
  uint32_t capacity;
  struct row **rows;
};

struct row {
  struct row *next; /* in its bucket */
  struct group *group;
  uint32_t hash;
  uint32_t slot;       /* in the group's rows */
  uint32_t dirty_slot; /* in the list of dirty rows */
  uint32_t capacity;   /* bytes for key and value */
  uint32_t generation;
  uint32_t stamp;  /* the epoch in which it was used, changed or written last */
  bool unstored;   /* while dirty: the store has no row of this key */
  bool referenced; /* since the hand last passed */
  bool detached;   /* replaced or removed while frozen: only the writer still knows it */
  struct store_row content;
};

struct pin {
  struct pin *previous, *next; /* older, newer */
  uint32_t epoch;
};

struct row_cache {
  struct row **buckets;
  struct group **groups;
  size_t mask, group_mask;
  size_t full_mask; /* what the mask grows to */
  size_t count;     /* rows */
  size_t hand, group_hand;
  size_t memory; /* bytes of all rows and groups */
  uint32_t generation;
  uint32_t epoch;
  struct pin *oldest_pin, *newest_pin; /* not owned */
  bool frozen;                         /* rows of the generation before this one are being written */
  /* A hand that went all around and left too much will find nothing before rows are clean or new. */
  struct {
    bool in_vain, frozen;
    uint32_t generation;
    const struct pin *oldest_pin;
    uint64_t inserted;
  } round;
  uint64_t inserted; /* rows, ever */
  uint64_t evicted;  /* … */
};

/* Begins small; grows to a size for about `expected_bytes` of rows. */
void row_cache_init(struct row_cache *cache, size_t expected_bytes);
/* Frees every row and group; the cache stays usable. */
void row_cache_clear(struct row_cache *cache);
void row_cache_free(struct row_cache *cache);

static inline bool row_is_dirty(const struct row_cache *cache, const struct row *row) {
  return row->generation == cache->generation;
}
static inline bool row_is_frozen(const struct row_cache *cache, const struct row *row) {
  return cache->frozen && row->generation == cache->generation - 1;
}
/* Whether what has that stamp must stay. */
static inline bool stamp_is_pinned(const struct row_cache *cache, uint32_t stamp) {
  return cache->oldest_pin && (int32_t)(stamp - cache->oldest_pin->epoch) >= 0;
}
static inline size_t row_memory(const struct row *row) {
  return sizeof *row + row->capacity;
}
static inline struct slice row_key_of(const struct row *row) {
  return (struct slice){(const char *)row->content.bytes, row->content.key_size};
}
static inline struct slice row_value_of(const struct row *row) {
  return (struct slice){(const char *)row->content.bytes + row->content.key_size, row->content.value_size};
}

uint32_t row_hash(enum table table, struct slice key);
/* What a row_cache_find of that hash will look at first, and then: both go ahead without waiting for it. */
static inline void row_cache_prefetch(const struct row_cache *cache, uint32_t hash) {
  __builtin_prefetch(&cache->buckets[hash & cache->mask]);
}
static inline void row_cache_prefetch_row(const struct row_cache *cache, uint32_t hash) {
  __builtin_prefetch(cache->buckets[hash & cache->mask]);
}
struct row *row_cache_find(const struct row_cache *cache, enum table table, struct slice key, uint32_t hash);
/* Adds a clean row of a key that is not there. */
struct row *row_cache_insert(struct row_cache *cache, enum table table, struct slice key, uint32_t hash,
                             struct slice value, bool deleted);
/* Puts a new row of the same key in the place of `old`, with a new value. `old` is no longer found and is the
 * caller's to free. */
struct row *row_cache_replace(struct row_cache *cache, struct row *old, struct slice value, bool deleted);
/* The row is no longer found, and is the caller's to free. */
void row_cache_remove(struct row_cache *cache, struct row *row);

/* Begins: what was used since the last pin began is held too. The pin is the caller's, in no cache before. */
void row_cache_pin(struct row_cache *cache, struct pin *pin);
void row_cache_unpin(struct row_cache *cache, struct pin *pin);

/* Bytes at the front of a key that name its group; 0: the table's rows are not grouped. */
size_t group_prefix_size(enum table table);
uint64_t group_prefix(enum table table, const void *key);
/* The group of that prefix, made when it is missing and `make` is given; else NULL. */
struct group *row_cache_group(struct row_cache *cache, enum table table, uint64_t prefix, bool make);
/* Frees the group if nothing is in it and it is not pinned. */
void row_cache_drop_group(struct row_cache *cache, struct group *group);
/* Brings the rows of a group into key order, without holes. */
void group_sort(struct group *group);

/* Evicts clean rows that are not pinned and were not used lately until `bytes` are free, or enough was looked
 * at for once. Rows of a complete group in use are spared until the hand over the groups has passed that
 * group. */
void row_cache_evict(struct row_cache *cache, size_t bytes);

#endif
