/* tables_scan.c: reading many rows: what is in memory goes before what is in the store. In a try, what the
 * store has was read by a thread of its own, some time ago: what changed meanwhile is in memory, pinned. */
#include <assert.h>

#include "master/tables_internal.h"

static int key_order(struct slice a, struct slice b) {
  const int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
  return order ? order : (a.size > b.size) - (a.size < b.size);
}

/* The merge of a group's rows in memory with the rows of the store. */
struct merge {
  const struct group *group; /* sorted */
  uint32_t next;
  struct slice prefix;
  store_row_found *found;
  void *context;
  bool stopped;
};

static void report(struct merge *merge, const struct row *row) {
  const struct slice key = row_key_of(row), value = row_value_of(row);
  if (row->content.deleted || key.size < merge->prefix.size ||
      memcmp(key.data, merge->prefix.data, merge->prefix.size) != 0)
    return;
  merge->stopped = !merge->found(merge->context, (const unsigned char *)key.data, key.size,
                                 (const unsigned char *)value.data, value.size);
}

/* Reports what is in memory below `key` (NULL: all the rest). True when the row of that key itself was in
 * memory. */
static bool report_below(struct merge *merge, const struct slice *key) {
  while (!merge->stopped && merge->next < merge->group->count) {
    const struct row *row = merge->group->rows[merge->next];
    const int order = key ? key_order(row_key_of(row), *key) : -1;
    if (order > 0)
      return false;
    merge->next++;
    report(merge, row);
    if (order == 0)
      return true;
  }
  return false;
}

static bool merge_row(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                      size_t value_size) {
  struct merge *merge = context;
  const struct slice key_of_row = {(const char *)key, key_size};
  const bool in_memory = report_below(merge, &key_of_row);
  if (!merge->stopped && !in_memory)
    merge->stopped = !merge->found(merge->context, key, key_size, value, value_size);
  return !merge->stopped;
}

static uint32_t lower_bound(const struct group *group, struct slice from) {
  uint32_t low = 0, high = group->count;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (key_order(row_key_of(group->rows[middle]), from) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* In a try: false when rows are missing. */
static bool try_scan(struct tables *tables, enum table table, struct slice from, struct merge *merge) {
  struct group *group = row_cache_group(&tables->cache, table, group_prefix(table, merge->prefix.data), true);
  group->referenced = true;
  group->stamp = tables->cache.epoch;
  struct scan *scan = NULL;
  if (!group->complete && !group->large && from.size == 0) {
    tables_want_group(tables, table, merge->prefix.data);
    return false;
  }
  if (!group->complete) {
    scan = tables_scanned(tables, table, merge->prefix, from);
    if (!scan)
      return false;
  }
  tables->hits += group->complete;
  group_sort(group);
  merge->group = group;
  if (from.size > 0)
    merge->next = lower_bound(group, from);
  if (scan && (!scan_each(scan, merge_row, merge) || merge->stopped))
    return true;
  if (scan && !scan_is_whole(scan)) {
    tables_want_more(tables, scan);
    return false;
  }
  report_below(merge, NULL);
  return true;
}

bool tables_scan(struct tables *tables, enum table table, const void *prefix, size_t prefix_size,
                 const void *from, size_t from_size, store_row_found *found, void *context) {
  assert(prefix_size > 0 && prefix_size >= group_prefix_size(table));
  if (tables->loads.trying) {
    struct merge merge = {.prefix = {prefix, prefix_size}, .found = found, .context = context};
    return try_scan(tables, table, (struct slice){from, from_size}, &merge);
  }
  struct group *group = tables_complete_group(tables, table, prefix);
  if (!group)
    return false;
  group_sort(group);
  struct merge merge = {.group = group, .prefix = {prefix, prefix_size}, .found = found, .context = context};
  if (from_size > 0)
    merge.next = lower_bound(group, (struct slice){from, from_size});
  if (!group->complete) {
    struct error error;
    if (tables->store->functions->scan(tables->store, table, prefix, prefix_size, from, from_size, merge_row,
                                       &merge, &error) != 0) {
      tables_fail(tables, &error);
      return false;
    }
  }
  report_below(&merge, NULL);
  return true;
}

/* -- the hash of everything: the sum of the rows' own hashes, so that their order does not matter -- */

struct sum {
  struct tables *tables;
  enum table table;
  uint64_t sum;
};

static uint64_t hash_of_row(enum table table, struct slice key, struct slice value) {
  const uint64_t hash = checksum_fold((uint64_t)table + 1, key.data, key.size);
  return checksum_fold(hash, value.data, value.size);
}

static bool sum_stored(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                       size_t value_size) {
  struct sum *sum = context;
  const struct slice key_of_row = {(const char *)key, key_size};
  if (sum->table == TABLE_META && key[0] == APPLIED_PREFIX)
    return true;
  if (!row_cache_find(&sum->tables->cache, sum->table, key_of_row, row_hash(sum->table, key_of_row)))
    sum->sum += hash_of_row(sum->table, key_of_row, (struct slice){(const char *)value, value_size});
  return true;
}

uint64_t tables_hash(struct tables *tables) {
  struct sum sum = {.tables = tables};
  for (sum.table = 0; sum.table < TABLES; sum.table++) {
    struct error error;
    if (tables->store->functions->scan(tables->store, sum.table, NULL, 0, NULL, 0, sum_stored, &sum,
                                       &error) != 0) {
      tables_fail(tables, &error);
      return 0;
    }
  }
  const struct row_cache *cache = &tables->cache;
  for (size_t i = 0; i <= cache->mask; i++)
    for (const struct row *row = cache->buckets[i]; row; row = row->next)
      if (!row->content.deleted &&
          !(row->content.table == TABLE_META && row->content.bytes[0] == APPLIED_PREFIX))
        sum.sum += hash_of_row((enum table)row->content.table, row_key_of(row), row_value_of(row));
  struct bytes counters = {0};
  counters_encode(&counters, &tables->applied.counters);
  const uint64_t hash = checksum_fold(sum.sum, counters.data, counters.size);
  bytes_free(&counters);
  return hash;
}
