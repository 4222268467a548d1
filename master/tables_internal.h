/* tables_internal.h: what tables.c (reading, changing), tables_load.c (reading without blocking) and
 * write_behind.c (writing, checkpoints) share. */
#ifndef ASSAY_MASTER_TABLES_INTERNAL_H
#define ASSAY_MASTER_TABLES_INTERNAL_H

#include "master/row_cache.h"
#include "master/tables.h"

struct checkpoint_request {
  struct checkpoint_request *next;
  struct tables *tables;
  tables_checkpoint_done *done;
  void *context;
  uint64_t index, term;
};

#define GROUP_LOAD_LIMIT 4096 /* rows of a group that are fetched to complete it */
#define WANTED_BUCKETS 1024

struct wanted;
struct scan;

/* tables_load.c */
struct loads {
  bool trying, ahead_lists;
  struct tables_wait *current; /* of the try; NULL: it is the first */
  struct slice ahead;
  struct wanted **missed; /* by the try */
  size_t missed_count, missed_capacity;
  struct wanted *buckets[WANTED_BUCKETS]; /* what is wanted and has not come, scans aside */
  struct wanted *queued, **queued_end;    /* … and is not being read yet */
  size_t reads_open;
  uint64_t incarnation; /* of what the store holds: what is read of another one is of no use */
  bool closing;
};

struct tables {
  struct tables_options options;
  struct row_store *store;
  struct row_cache cache;
  struct applied_record applied;

  struct row **dirty; /* NULL where a row went again before it was written */
  size_t dirty_count, dirty_capacity;
  size_t dirty_bytes;
  uint64_t applied_bytes; /* of batches, since the last freeze */
  size_t newest_from;     /* the dirty rows from here on were not dirty before the newest batch */

  struct row **frozen;
  size_t frozen_count, frozen_capacity;
  size_t frozen_bytes;
  const struct store_row **frozen_rows; /* what the store was given */
  bool writing;
  bool write_wanted; /* another one, as soon as the one under way is done */
  uint64_t writing_index, writing_term;
  uint64_t durable_index, durable_term;

  struct checkpoint_request *checkpoints; /* waiting for the write under way */
  size_t checkpoints_open;                /* given to the store, not reported yet */

  uint64_t hits, misses, writes, written_rows;
  struct loads loads;
  bool evicting; /* memory was above the high watermark, and is not below the low one yet */
  bool failed, installing;
  struct error failure;
};

/* Puts a row, dirty. `fresh`: the key was never in the tables. */
void tables_put(struct tables *tables, enum table table, struct slice key, struct slice value, bool fresh);
void tables_delete(struct tables *tables, enum table table, struct slice key);

/* Adds a row that is not dirty to those that are. */
void tables_mark_dirty(struct tables *tables, struct row *row);

/* Fetches the rest of a group, unless it is large; NULL when the store failed. */
struct group *tables_complete_group(struct tables *tables, enum table table, const void *prefix);

/* Notes that the try missed a row; … all rows of a group, for get() or scan(). */
void tables_want_row(struct tables *tables, enum table table, struct slice key);
void tables_want_group(struct tables *tables, enum table table, const void *prefix);
/* Rows of a scan that earlier tries missed, in key order behind each other; NULL: there are none, they are
 * wanted now. */
struct scan *tables_scanned(struct tables *tables, enum table table, struct slice prefix, struct slice from);
/* The try needs more rows of the scan than there are. */
void tables_want_more(struct tables *tables, struct scan *scan);
/* Reports the rows; false when `found` ended it. */
bool scan_each(const struct scan *scan, store_row_found *found, void *context);
bool scan_is_whole(const struct scan *scan);

void loads_init(struct loads *loads);
/* What is being read is of no use any more. */
void loads_forget(struct tables *tables);
/* The store was drained, or holds none of these tables' reads. */
void loads_free(struct tables *tables);

/* Starts a write of all that is dirty, and the checkpoints that wait for it. None may be under way. */
void tables_freeze(struct tables *tables);

/* Answers the checkpoints that wait for a write that will not come. */
void tables_refuse_checkpoints(struct tables *tables, const struct error *error);

/* Starts a write if enough is dirty and none is under way; blocks when too much is. */
void tables_write_behind(struct tables *tables);

#endif
