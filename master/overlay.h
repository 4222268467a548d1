/* overlay.h: what a primary has changed and not yet seen committed.
 *
 *   batch 5 (in flight)  ─▶ rows it was the last to touch
 *   batch 6 (in flight)  ─▶ …
 *   batch 7 (open)       ─▶ …        get() finds the newest value of a row, whichever batch it is in
 *
 * Operations are evaluated against the tables seen through the overlay. The open batch gathers the changes of
 * one loop turn, each row once, with its last value. Batches are sealed (encoded) and released (their entry
 * is committed and the tables have it) in order. Everything is dropped when leadership is lost. */
#ifndef ASSAY_MASTER_OVERLAY_H
#define ASSAY_MASTER_OVERLAY_H

#include "master/batch.h"

struct overlay;

struct overlay *overlay_new(void);
void overlay_free(struct overlay *overlay);

enum overlay_found { OVERLAY_UNKNOWN, OVERLAY_PRESENT, OVERLAY_ABSENT };

/* UNKNOWN: ask the tables. A value stays valid until the row is put or deleted again, or released. */
enum overlay_found overlay_get(const struct overlay *overlay, enum table table, const struct row_key *key,
                               struct slice *value);

/* Changes a row in the open batch. `change` as in batch.h, with ROW_DELETE taking no value. */
void overlay_put(struct overlay *overlay, enum table table, const struct row_key *key, enum row_change change,
                 struct slice value);

/* From here on changes may be taken back. Ends with overlay_keep() or overlay_take_back(), which leaves the
 * rows as they were found here. Tries may be nested: what an inner one keeps, an outer one may take back. No
 * batch is sealed or released meanwhile. */
void overlay_try(struct overlay *overlay);
void overlay_keep(struct overlay *overlay);
void overlay_take_back(struct overlay *overlay);

/* Calls `found` with every row, of any batch, whose key has the prefix; in no order. */
void overlay_each(const struct overlay *overlay, enum table table, const void *prefix, size_t prefix_size,
                  void (*found)(void *context, struct slice key, bool deleted), void *context);

/* Bytes that the rows of the open batch will take, about; 0 when it has none. */
size_t overlay_open_size(const struct overlay *overlay);

/* Appends the rows of the open batch to `batch`. `merging`: as the journal gets them, which makes a
 * difference with the defect entry-reorder only. */
void overlay_encode(const struct overlay *overlay, bool merging, struct bytes *batch);

/* Appends the rows of the open batch to `batch`, closes it, and opens the next. */
void overlay_seal(struct overlay *overlay, struct bytes *batch);

/* The oldest sealed batch is in the tables. */
void overlay_release(struct overlay *overlay);

/* Drops everything, the open batch too. */
void overlay_clear(struct overlay *overlay);

bool overlay_is_empty(const struct overlay *overlay);

#endif
