/* tables.h: the committed state of a master: rows in memory above a row store.
 *
 *   apply ─▶ dirty rows ─ freeze ─▶ frozen rows ─ written ─▶ clean rows, evicted when there are too many
 *   (committed batches)               │                         ▲
 *                                     ▼                         │ cold reads
 *                                 row store  ───────────────────┘
 *
 * Committed batches change rows in memory only. When enough has gathered, all dirty rows freeze and go to the
 * store in one step, together with the index up to which they are complete; until that is done the journal
 * keeps what it would need to do them again. A crash loses the dirty rows and nothing else.
 *
 * Reads see the newest committed row wherever it is. A row that is not in memory is fetched from the store;
 * what is used stays in memory within the cache's size, absent rows too. Outside of a try that blocks. Inside
 * of one (tables_try) nothing blocks: what is missing is noted and fetched by a thread of the store, and
 * whoever tries does so again when it is there; tables_load.c.
 *
 * A store that fails leaves the tables failed (tables_failed): nothing read since may be believed. */
#ifndef ASSAY_MASTER_TABLES_H
#define ASSAY_MASTER_TABLES_H

#include "master/batch.h"
#include "master/statistics.h"
#include "master/store.h"

struct tables;

struct tables_options {
  struct row_store *store; /* not owned; outlives the tables */
  size_t cache_size;       /* bytes of clean rows above which some are evicted, down to 7/8 of it; 0: all */
  size_t write_size;       /* bytes of dirty rows at which they are written; 0: the default */
  size_t dirty_limit;      /* bytes of dirty rows above which the tables are full; 0: the default */
  void (*durable_moved)(void *context); /* after a write; may be NULL */
  void *context;
};

#define TABLES_CACHE_SIZE_DEFAULT (128u << 20)

int tables_open(const struct tables_options *options, struct tables **tables, struct error *error);
/* Waits for the write under way; what is dirty is forgotten. */
void tables_close(struct tables *tables);

/* -- reading -- */

/* The value of a row; false when there is none or the store failed. The value stays valid until the next
 * apply, trim or install. */
bool tables_get(struct tables *tables, enum table table, const struct row_key *key, struct slice *value);

/* Reports the rows whose key begins with `prefix` and is `from` or greater (`from_size` 0: all), in key
 * order; the prefix covers at least what groups the table's rows. The tables must not be changed from inside.
 * False when the store failed. */
bool tables_scan(struct tables *tables, enum table table, const void *prefix, size_t prefix_size,
                 const void *from, size_t from_size, store_row_found *found, void *context);

/* -- reading without blocking -- */

struct tables_wait;

/* Begins a try: until tables_tried() a read that would have to block finds nothing, and notes what it missed.
 * Nothing that was found from the first miss on may be believed, and nothing done about it may stay; going on
 * serves to find what else is missing. `wait`: what the last try of the same work returned, else NULL. The
 * tables are not to be changed before tables_tried(). */
void tables_try(struct tables *tables, struct tables_wait *wait);
bool tables_trying(const struct tables *tables);
/* How much the try missed so far; 0 outside of tries. */
size_t tables_missed(const struct tables *tables);
/* In a try: where the path goes on from the edges asked for next, so that more of it is fetched with one that
 * is missing; `lists`: the directory at its end will be listed. The path stays the caller's. */
void tables_look_ahead(struct tables *tables, struct slice path, bool lists);
/* Ends a try. NULL: nothing was missed. Else what was is being fetched; `ready` is called, from the loop and
 * never from inside, when the work should be tried again. What the tries found, and what is fetched for them,
 * stays in memory until then. */
struct tables_wait *tables_tried(struct tables *tables, void (*ready)(void *context), void *context);
/* The work will not be tried again: `ready` is not called any more. */
void tables_give_up(struct tables *tables, struct tables_wait *wait);

/* What was applied last: index, term, and the counters of the last batch. */
const struct applied_record *tables_applied(const struct tables *tables);

/* Up to where the store is complete. */
void tables_durable(const struct tables *tables, uint64_t *index, uint64_t *term);

/* A hash of all rows and counters, whatever is in memory and whatever is not. Reads everything, blocking. */
uint64_t tables_hash(struct tables *tables);

/* Bytes of memory that rows take. */
size_t tables_memory(const struct tables *tables);

/* Counted since tables_open, and as it is now. */
struct tables_statistics tables_statistics(const struct tables *tables);

/* NULL, or why the store cannot go on. */
const struct error *tables_failed(const struct tables *tables);

/* Marks the tables failed: a row that somebody read is not what was written. The first failure is kept. */
void tables_fail(struct tables *tables, const struct error *error);

/* True while writing lags so far behind that no new work should be taken on. */
bool tables_behind(const struct tables *tables);
/* True while it lags so far that nothing more should be applied; durable_moved comes when that is over. */
bool tables_full(const struct tables *tables);

/* -- changing -- */

/* Applies one committed batch; size 0: an entry without effects. ERR_CORRUPT for bytes that are no batch. */
int tables_apply(struct tables *tables, uint64_t index, uint64_t term, const void *batch, size_t size,
                 struct error *error);

/* Brings the memory for clean rows down, some way at least, when it is above the cache's size. Ends the
 * validity of everything read. */
void tables_trim(struct tables *tables);

/* -- snapshots -- */

/* Writes everything applied so far, then takes a checkpoint: `done` gets it with the index and term it is
 * complete up to, or NULL and an error. */
typedef void tables_checkpoint_done(void *context, struct store_checkpoint *checkpoint, uint64_t index,
                                    uint64_t term, const struct error *error);
void tables_checkpoint(struct tables *tables, tables_checkpoint_done *done, void *context);

/* Writes everything applied so far, soon; durable_moved tells of it. */
void tables_make_durable(struct tables *tables);

/* The defect snapshot-back: every row becomes again what the last write left, while index and counters stay.
 */
int tables_go_back(struct tables *tables, struct error *error);

/* Installs what the store received and starts over from it: every row in memory is forgotten. */
int tables_install(struct tables *tables, struct error *error);

#endif
