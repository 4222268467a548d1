#include "master/tables.h"

#include <assert.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "master/tables_internal.h"

#define WRITE_SIZE_DEFAULT (16u << 20)
#define DIRTY_LIMIT_DEFAULT (64u << 20)
#define GROUP_LOAD_MISSES 4 /* lookups in the store after which that is tried */

void tables_fail(struct tables *tables, const struct error *error) {
  if (tables->failed)
    return;
  tables->failed = true;
  tables->failure = *error;
}

const struct error *tables_failed(const struct tables *tables) {
  return tables->failed ? &tables->failure : NULL;
}

const struct applied_record *tables_applied(const struct tables *tables) {
  return &tables->applied;
}

void tables_durable(const struct tables *tables, uint64_t *index, uint64_t *term) {
  *index = tables->durable_index;
  *term = tables->durable_term;
}

size_t tables_memory(const struct tables *tables) {
  return tables->cache.memory;
}

struct tables_statistics tables_statistics(const struct tables *tables) {
  return (struct tables_statistics){.hits = tables->hits,
                                    .misses = tables->misses,
                                    .evictions = tables->cache.evicted,
                                    .writes = tables->writes,
                                    .written_rows = tables->written_rows,
                                    .durable_index = tables->durable_index,
                                    .memory_bytes = tables->cache.memory,
                                    .dirty_bytes = tables->dirty_bytes,
                                    .frozen_bytes = tables->frozen_bytes};
}

static struct slice key_slice(const struct row_key *key) {
  return (struct slice){(const char *)key->bytes, key->size};
}

static struct slice bytes_slice(const struct bytes *bytes) {
  return (struct slice){(const char *)bytes->data, bytes->size};
}

/* -- opening -- */

/* The state before the first entry: the root. */
static void begin_empty(struct tables *tables) {
  tables->applied =
      (struct applied_record){.counters = {.next_inode = ROOT_INODE + 1, .next_client = 1, .inodes = 1}};
  struct bytes row = {0};
  inode_encode(&row, &(struct inode_record){.version = 1});
  const struct row_key key = inode_key(ROOT_INODE);
  tables_put(tables, TABLE_INODES, key_slice(&key), bytes_slice(&row), false);
  bytes_free(&row);
}

static bool note_answer(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                        size_t value_size) {
  (void)key_size;
  (void)value;
  (void)value_size;
  if ((uint32_t)be64_load(key) != 0)
    bytes_append_le64(context, be64_load(key));
  return true;
}

/* The defect dedupe-not-in-snapshot: what a node starts from holds no first answers of operations. */
static int forget_answers(struct tables *tables, struct error *error) {
  struct bytes op_ids = {0};
  const int status = tables->store->functions->scan(tables->store, TABLE_OPERATIONS, NULL, 0, NULL, 0,
                                                    note_answer, &op_ids, error);
  for (size_t at = 0; at < op_ids.size; at += 8) {
    const struct row_key key = operation_key(le64_load(op_ids.data + at));
    tables_delete(tables, TABLE_OPERATIONS, key_slice(&key));
  }
  bytes_free(&op_ids);
  return status;
}

static int load_applied(struct tables *tables, struct error *error) {
  struct bytes row = {0};
  const char key = APPLIED_PREFIX;
  int status = tables->store->functions->get(tables->store, TABLE_META, &key, 1, &row, error);
  if (status == ERR_NOT_FOUND) {
    begin_empty(tables);
    status = 0;
  } else if (status == 0 && !applied_decode(bytes_slice(&row), &tables->applied)) {
    status = error_set(error, ERR_CORRUPT,
                       "the tables' record of the applied index cannot be read: remove this node's data "
                       "directory and let it catch up from the others");
  }
  bytes_free(&row);
  tables->durable_index = tables->applied.index;
  tables->durable_term = tables->applied.term;
  if (bug_active(BUG_DEDUPE_NOT_IN_SNAPSHOT) && status == 0)
    status = forget_answers(tables, error);
  return status;
}

int tables_open(const struct tables_options *options, struct tables **result, struct error *error) {
  struct tables *tables = xcalloc(1, sizeof *tables);
  tables->options = *options;
  tables->store = options->store;
  loads_init(&tables->loads);
  if (tables->options.write_size == 0)
    tables->options.write_size = WRITE_SIZE_DEFAULT;
  if (tables->options.dirty_limit == 0)
    tables->options.dirty_limit = DIRTY_LIMIT_DEFAULT;
  row_cache_init(&tables->cache, tables->options.cache_size + 2 * tables->options.write_size);
  const int status = load_applied(tables, error);
  if (status != 0) {
    tables_close(tables);
    return status;
  }
  *result = tables;
  return 0;
}

static void forget_dirty(struct tables *tables) {
  assert(!tables->writing);
  tables->dirty_count = 0;
  tables->dirty_bytes = 0;
  tables->applied_bytes = 0;
  loads_forget(tables);
  tables->write_wanted = false;
  row_cache_clear(&tables->cache);
}

void tables_close(struct tables *tables) {
  tables->options.durable_moved = NULL;
  tables->installing = true;
  tables->loads.closing = true;
  if (tables->writing || tables->checkpoints_open > 0 || tables->loads.reads_open > 0)
    tables->store->functions->drain(tables->store, true);
  struct error error;
  error_set(&error, ERR_UNAVAILABLE, "the tables were closed");
  tables_refuse_checkpoints(tables, &error);
  loads_free(tables);
  forget_dirty(tables);
  row_cache_free(&tables->cache);
  free(tables->dirty);
  free(tables->frozen);
  free(tables);
}

#ifdef ASSAY_BUGS
int tables_go_back(struct tables *tables, struct error *error) {
  const struct applied_record applied = tables->applied;
  tables->installing = true;
  tables->store->functions->drain(tables->store, false);
  tables->installing = false;
  forget_dirty(tables);
  const int status = load_applied(tables, error);
  tables->applied = applied;
  if (status == 0 && tables->checkpoints)
    tables_freeze(tables);
  return status;
}
#endif

int tables_install(struct tables *tables, struct error *error) {
  tables->installing = true;
  int status = tables->store->functions->receive_install(tables->store, error);
  tables->installing = false;
  if (status != 0)
    return status;
  forget_dirty(tables);
  status = load_applied(tables, error);
  if (status == 0 && tables->checkpoints)
    tables_freeze(tables);
  return status;
}

/* -- changing -- */

void tables_mark_dirty(struct tables *tables, struct row *row) {
  if (tables->dirty_count == tables->dirty_capacity) {
    tables->dirty_capacity = tables->dirty_capacity ? 2 * tables->dirty_capacity : 1024;
    tables->dirty = xrealloc(tables->dirty, tables->dirty_capacity * sizeof(struct row *));
  }
  row->generation = tables->cache.generation;
  row->dirty_slot = (uint32_t)tables->dirty_count;
  tables->dirty[tables->dirty_count++] = row;
  tables->dirty_bytes += row_memory(row);
}

static void overwrite(struct row *row, struct slice value, bool deleted) {
  row->content.deleted = deleted;
  row->content.value_size = (uint32_t)value.size;
  if (value.size)
    memcpy(row->content.bytes + row->content.key_size, value.data, value.size);
}

/* A new row object in the place of one that is frozen or too small. */
static void supersede(struct tables *tables, struct row *old, struct slice value, bool deleted) {
  struct row_cache *cache = &tables->cache;
  struct row *row = row_cache_replace(cache, old, value, deleted);
  if (row_is_dirty(cache, old)) {
    row->generation = old->generation;
    row->unstored = old->unstored;
    row->dirty_slot = old->dirty_slot;
    tables->dirty[row->dirty_slot] = row;
    tables->dirty_bytes += row_memory(row);
    tables->dirty_bytes -= row_memory(old);
    free(old);
    return;
  }
  tables_mark_dirty(tables, row);
  if (row_is_frozen(cache, old)) {
    tables->frozen_bytes -= row_memory(old);
    old->detached = true;
  } else {
    free(old);
  }
}

static void change(struct tables *tables, struct row *row, struct slice value, bool deleted) {
  struct row_cache *cache = &tables->cache;
  if (row_is_frozen(cache, row) || row->content.key_size + value.size > row->capacity) {
    supersede(tables, row, value, deleted);
    return;
  }
  overwrite(row, value, deleted);
  if (!row_is_dirty(cache, row)) {
    row->unstored = false;
    tables_mark_dirty(tables, row);
  }
}

static void put(struct tables *tables, enum table table, struct slice key, uint32_t hash, struct slice value,
                bool fresh) {
  struct row_cache *cache = &tables->cache;
  struct row *row = row_cache_find(cache, table, key, hash);
  if (row) {
    assert(bug_any_active() || !fresh || row->content.deleted);
    change(tables, row, value, false);
    return;
  }
  row = row_cache_insert(cache, table, key, hash, value, false);
  row->unstored = fresh;
  tables_mark_dirty(tables, row);
}

void tables_put(struct tables *tables, enum table table, struct slice key, struct slice value, bool fresh) {
  put(tables, table, key, row_hash(table, key), value, fresh);
}

static void remove_row(struct tables *tables, enum table table, struct slice key, uint32_t hash) {
  struct row_cache *cache = &tables->cache;
  struct row *row = row_cache_find(cache, table, key, hash);
  if (!row) {
    const struct group *group =
        group_prefix_size(table) ? row_cache_group(cache, table, group_prefix(table, key.data), false) : NULL;
    if (group && group->complete)
      return;
    tables_mark_dirty(tables, row_cache_insert(cache, table, key, hash, (struct slice){0}, true));
    return;
  }
  if (row->content.deleted)
    return;
  if (row_is_dirty(cache, row) && row->unstored) {
    tables->dirty[row->dirty_slot] = NULL;
    tables->dirty_bytes -= row_memory(row);
    row_cache_remove(cache, row);
    free(row);
    return;
  }
  change(tables, row, (struct slice){0}, true);
}

void tables_delete(struct tables *tables, enum table table, struct slice key) {
  remove_row(tables, table, key, row_hash(table, key));
}

/* The group that belongs to a row whose key is new: nothing can be in it yet. */
static void open_group(struct tables *tables, enum table table, struct slice key) {
  assert(table == TABLE_INODES || table == TABLE_OPERATIONS);
  const enum table of = table == TABLE_INODES ? TABLE_EDGES : TABLE_OPERATIONS;
  struct group *group = row_cache_group(&tables->cache, of, group_prefix(of, key.data), true);
  group->complete = true;
  group->referenced = true;
}

/* A directory went: so did what was known of its edges. */
static void close_group(struct tables *tables, struct slice key) {
  struct group *group =
      row_cache_group(&tables->cache, TABLE_EDGES, group_prefix(TABLE_EDGES, key.data), false);
  if (!group)
    return;
  group->complete = false;
  row_cache_drop_group(&tables->cache, group);
}

/* Of an operation; the defect retry-twice: replicas do not take them over. */
static bool is_first_answer(const struct batch_row *row) {
  return row->table == TABLE_OPERATIONS && (uint32_t)be64_load(row->key.data) != 0;
}

static void take_counters(struct tables *tables, const struct counters *counters) {
  struct counters *applied = &tables->applied.counters;
  const uint64_t next_inode = applied->next_inode;
  *applied = *counters;
  if (bug_active(BUG_ID_REUSE))
    applied->next_inode = next_inode; /* known to the primary that counts, and lost with it */
}

static void apply_row(struct tables *tables, const struct batch_row *row, uint32_t hash) {
  if (bug_active(BUG_RETRY_TWICE) && is_first_answer(row))
    return;
  if (row->change == ROW_DELETE) {
    remove_row(tables, row->table, row->key, hash);
    if (row->table == TABLE_INODES)
      close_group(tables, row->key);
    return;
  }
  if (row->change == ROW_PUT_OPENING)
    open_group(tables, row->table, row->key);
  put(tables, row->table, row->key, hash, row->value, row->change != ROW_PUT);
}

#define ROWS_AHEAD 16 /* looked up side by side: memory is fetched for all of them at once */

static void apply_rows(struct tables *tables, struct reader *reader) {
  struct batch_row rows[ROWS_AHEAD];
  uint32_t hashes[ROWS_AHEAD];
  size_t count;
  do {
    for (count = 0; count < ROWS_AHEAD && batch_next(reader, &rows[count]); count++) {
      hashes[count] = row_hash(rows[count].table, rows[count].key);
      row_cache_prefetch(&tables->cache, hashes[count]);
    }
    for (size_t i = 0; i < count; i++)
      row_cache_prefetch_row(&tables->cache, hashes[i]);
    for (size_t i = 0; i < count; i++)
      apply_row(tables, &rows[i], hashes[i]);
  } while (count == ROWS_AHEAD);
}

int tables_apply(struct tables *tables, uint64_t index, uint64_t term, const void *batch, size_t size,
                 struct error *error) {
  const bool again = bug_active(BUG_REPLAY_TWICE) && index <= tables->applied.index;
  assert(again || (index == tables->applied.index + 1 && (bug_any_active() || term >= tables->applied.term)));
  tables->newest_from = tables->dirty_count;
  if (size > 0) {
    struct reader reader = reader_make(batch, size);
    struct batch_header header;
    if (!batch_open(&reader, &header) || header.term != term)
      reader.failed = true;
    apply_rows(tables, &reader);
    if (reader.failed)
      return error_set(error, ERR_CORRUPT, "journal entry %llu is not a batch this version can read",
                       (unsigned long long)index);
    if (header.counters.next_inode != 0)
      take_counters(tables, &header.counters);
  }
  if (again)
    return 0;
  tables->applied.index = index;
  tables->applied.term = term;
  tables->applied_bytes += size;
  tables_write_behind(tables);
  tables_trim(tables);
  return 0;
}

void tables_trim(struct tables *tables) {
  const size_t unwritten = tables->dirty_bytes + tables->frozen_bytes;
  const size_t clean = tables->cache.memory > unwritten ? tables->cache.memory - unwritten : 0;
  const size_t high = tables->options.cache_size, low = high - high / 8;
  if (clean > high)
    tables->evicting = true;
  else if (clean <= low)
    tables->evicting = false;
  if (tables->evicting)
    row_cache_evict(&tables->cache, clean - low);
}

/* -- reading -- */

struct load {
  struct tables *tables;
  enum table table;
  size_t left;
};

static bool load_row(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                     size_t value_size) {
  struct load *load = context;
  if (load->left-- == 0)
    return false;
  const struct slice key_of_row = {(const char *)key, key_size};
  const uint32_t hash = row_hash(load->table, key_of_row);
  if (!row_cache_find(&load->tables->cache, load->table, key_of_row, hash))
    row_cache_insert(&load->tables->cache, load->table, key_of_row, hash,
                     (struct slice){(const char *)value, value_size}, false);
  return true;
}

struct group *tables_complete_group(struct tables *tables, enum table table, const void *prefix) {
  struct group *group = row_cache_group(&tables->cache, table, group_prefix(table, prefix), true);
  group->referenced = true;
  if (group->complete || group->large) {
    tables->hits += group->complete;
    return group;
  }
  group->misses = 0;
  tables->misses++;
  struct load load = {.tables = tables, .table = table, .left = GROUP_LOAD_LIMIT};
  struct error error;
  if (tables->store->functions->scan(tables->store, table, prefix, group_prefix_size(table), NULL, 0,
                                     load_row, &load, &error) != 0) {
    tables_fail(tables, &error);
    return NULL;
  }
  if (load.left == SIZE_MAX)
    group->large = true;
  else
    group->complete = true;
  return group;
}

/* What a try finds that has no row in memory: false, for sure or because it is missing. */
static bool get_without(struct tables *tables, enum table table, const struct row_key *key) {
  struct group *group = NULL;
  if (group_prefix_size(table) > 0)
    group = row_cache_group(&tables->cache, table, group_prefix(table, key->bytes), false);
  if (group && group->complete) {
    group->referenced = true;
    group->stamp = tables->cache.epoch;
    tables->hits++;
    return false;
  }
  const bool completed_at_once = table == TABLE_OPERATIONS && !(group && group->large);
  if (completed_at_once || (group && !group->large && ++group->misses >= GROUP_LOAD_MISSES))
    tables_want_group(tables, table, key->bytes);
  else
    tables_want_row(tables, table, key_slice(key));
  return false;
}

static struct row *fetch(struct tables *tables, enum table table, struct slice key, uint32_t hash) {
  struct bytes value = {0};
  struct error error;
  tables->misses++;
  const int status = tables->store->functions->get(tables->store, table, key.data, key.size, &value, &error);
  struct row *row = NULL;
  if (status == 0 || status == ERR_NOT_FOUND)
    row = row_cache_insert(&tables->cache, table, key, hash, bytes_slice(&value), status != 0);
  else
    tables_fail(tables, &error);
  bytes_free(&value);
  return row;
}

bool tables_get(struct tables *tables, enum table table, const struct row_key *key, struct slice *value) {
  const struct slice key_of_row = key_slice(key);
  const uint32_t hash = row_hash(table, key_of_row);
  struct row *row = row_cache_find(&tables->cache, table, key_of_row, hash);
  if (!row && tables->loads.trying)
    return get_without(tables, table, key);
  if (!row && group_prefix_size(table) > 0) {
    struct group *group = row_cache_group(&tables->cache, table, group_prefix(table, key->bytes), false);
    if (group && group->complete) {
      group->referenced = true;
      tables->hits++;
      return false;
    }
    if (table == TABLE_OPERATIONS || (group && !group->large && ++group->misses >= GROUP_LOAD_MISSES)) {
      group = tables_complete_group(tables, table, key->bytes);
      row = row_cache_find(&tables->cache, table, key_of_row, hash);
      if (!row && (!group || group->complete))
        return false;
    }
  }
  if (row)
    tables->hits++;
  else
    row = fetch(tables, table, key_of_row, hash);
  if (!row)
    return false;
  row->referenced = true;
  row->stamp = tables->cache.epoch;
  if (row->content.deleted)
    return false;
  *value = row_value_of(row);
  return true;
}
