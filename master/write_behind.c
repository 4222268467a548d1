/* write_behind.c: dirty rows freeze, are written in one step with the index they are complete up to, and are
 * clean. One write at a time. */
#include <assert.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "master/tables_internal.h"

/* Batches applied since the last write are what a restart replays: a bound for rows that change over and
 * over. */
#define APPLIED_BYTES_LIMIT (16u << 20)

bool tables_behind(const struct tables *tables) {
  return tables->dirty_bytes > tables->options.dirty_limit / 2;
}

bool tables_full(const struct tables *tables) {
  return tables->writing && tables->dirty_bytes > tables->options.dirty_limit;
}

/* Frozen rows are in the store now: free what was replaced meanwhile, drop tombstones, keep the rest. While
 * there are pins nothing goes: whoever reads the store just now may have read what it held before. */
static void release_frozen(struct tables *tables) {
  struct row_cache *cache = &tables->cache;
  const bool pinned = cache->oldest_pin;
  for (size_t i = 0; i < tables->frozen_count; i++) {
    struct row *row = tables->frozen[i];
    if (pinned && !row->detached) {
      row->stamp = cache->epoch;
      continue;
    }
    if (row->content.deleted && !row->detached)
      row_cache_remove(cache, row);
    if (row->content.deleted || row->detached)
      free(row);
  }
  cache->frozen = false;
  tables->frozen_count = 0;
  tables->frozen_bytes = 0;
  free(tables->frozen_rows);
  tables->frozen_rows = NULL;
  tables->writing = false;
}

static void checkpoint_taken(void *context, struct store_checkpoint *checkpoint, const struct error *error) {
  struct checkpoint_request *request = context;
  request->tables->checkpoints_open--;
  request->done(request->context, checkpoint, request->index, request->term, error);
  free(request);
}

/* Everything applied is in the store or on its way there: checkpoints asked for now are complete up to it. */
static void start_checkpoints(struct tables *tables) {
  while (tables->checkpoints) {
    struct checkpoint_request *request = tables->checkpoints;
    tables->checkpoints = request->next;
    request->index = tables->applied.index;
    request->term = tables->applied.term;
    tables->checkpoints_open++;
    tables->store->functions->checkpoint(tables->store, checkpoint_taken, request);
  }
}

void tables_refuse_checkpoints(struct tables *tables, const struct error *error) {
  while (tables->checkpoints) {
    struct checkpoint_request *request = tables->checkpoints;
    tables->checkpoints = request->next;
    request->done(request->context, NULL, 0, 0, error);
    free(request);
  }
}

static void written(void *context, int status, const struct error *error) {
  struct tables *tables = context;
  assert(tables->writing);
  release_frozen(tables);
  if (status != 0) {
    tables_fail(tables, error);
    tables_refuse_checkpoints(tables, error);
  } else {
    tables->durable_index = tables->writing_index;
    tables->durable_term = tables->writing_term;
  }
  if (!tables->failed && !tables->installing) {
    if (tables->checkpoints || tables->write_wanted)
      tables_freeze(tables);
    else
      tables_write_behind(tables);
  }
  if (tables->options.durable_moved)
    tables->options.durable_moved(tables->options.context);
}

/* The defect snapshot-ahead: what the newest batch made dirty stays for the next write, although the index of
 * this one names that batch. Takes those rows out of the frozen ones. */
static void leave_newest(struct tables *tables, size_t from, size_t end) {
  size_t kept = 0;
  for (size_t i = 0; i < tables->frozen_count; i++) {
    struct row *row = tables->frozen[i];
    const bool newest = row->dirty_slot >= from && row->dirty_slot < end;
    if (!newest) {
      tables->frozen[kept] = row;
      tables->frozen_rows[kept++] = &row->content;
      continue;
    }
    tables->frozen_bytes -= row_memory(row);
    tables_mark_dirty(tables, row);
  }
  tables->frozen_count = kept;
  tables->newest_from = tables->dirty_count;
}

void tables_freeze(struct tables *tables) {
  assert(!tables->writing && tables->frozen_count == 0);
  const size_t newest_from = tables->newest_from, newest_end = tables->dirty_count;
  struct bytes applied = {0};
  applied_encode(&applied, &tables->applied);
  const char key = APPLIED_PREFIX;
  tables_put(tables, TABLE_META, (struct slice){&key, 1},
             (struct slice){(const char *)applied.data, applied.size}, false);
  bytes_free(&applied);

  const struct store_row **rows = xmalloc(tables->dirty_count * sizeof(struct store_row *));
  size_t count = 0;
  for (size_t i = 0; i < tables->dirty_count; i++) {
    if (!tables->dirty[i])
      continue;
    rows[count] = &tables->dirty[i]->content;
    tables->dirty[count++] = tables->dirty[i];
  }
  struct row **const spare = tables->frozen;
  const size_t spare_capacity = tables->frozen_capacity;
  tables->frozen = tables->dirty;
  tables->frozen_capacity = tables->dirty_capacity;
  tables->frozen_count = count;
  tables->frozen_rows = rows;
  tables->frozen_bytes = tables->dirty_bytes;
  tables->dirty = spare;
  tables->dirty_capacity = spare_capacity;
  tables->dirty_count = 0;
  tables->dirty_bytes = 0;
  tables->applied_bytes = 0;
  tables->cache.generation++;
  tables->cache.frozen = true;
  tables->writing = true;
  tables->writes++;
  tables->written_rows += count;
  tables->write_wanted = false;
  tables->writing_index = tables->applied.index;
  tables->writing_term = tables->applied.term;
  if (bug_active(BUG_SNAPSHOT_AHEAD))
    leave_newest(tables, newest_from, newest_end);
  tables->store->functions->write(tables->store, rows, tables->frozen_count, written, tables);
  start_checkpoints(tables);
}

void tables_write_behind(struct tables *tables) {
  if (tables->failed)
    return;
  if (!tables->writing && !tables->failed &&
      (tables->dirty_bytes >= tables->options.write_size || tables->applied_bytes >= APPLIED_BYTES_LIMIT))
    tables_freeze(tables);
}

void tables_make_durable(struct tables *tables) {
  if (tables->writing)
    tables->write_wanted = true;
  else if (!tables->failed && !tables->installing && tables->durable_index < tables->applied.index)
    tables_freeze(tables);
}

void tables_checkpoint(struct tables *tables, tables_checkpoint_done *done, void *context) {
  struct checkpoint_request *request = xcalloc(1, sizeof *request);
  request->tables = tables;
  request->done = done;
  request->context = context;
  struct checkpoint_request **at = &tables->checkpoints;
  while (*at)
    at = &(*at)->next;
  *at = request;
  if (!tables->writing)
    tables_freeze(tables);
}
