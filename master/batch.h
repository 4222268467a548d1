/* batch.h: the bytes of one journal entry: what the operations of one loop turn change, as rows.
 *
 *   version │ term │ primary's wall clock │ counters │ row, row, …
 *
 * Entries are deterministic instructions: whoever applies the same entries in the same order has the same
 * tables. An entry is applied whole or not at all. */
#ifndef ASSAY_MASTER_BATCH_H
#define ASSAY_MASTER_BATCH_H

#include "master/records.h"

enum row_change {
  ROW_PUT,
  ROW_PUT_FRESH,   /* the key was never in the tables: nothing has to be looked for beneath it */
  ROW_PUT_OPENING, /* as fresh, and the group that belongs to the row is new and empty: the edges of a
                      directory's inode, the operations of a client */
  ROW_DELETE,
  ROW_CHANGES
};

struct batch_header {
  uint64_t term; /* of the primary that made it */
  int64_t wall_ns;
  struct counters counters; /* after the batch; next_inode 0: as before it */
};

struct batch_row {
  enum row_change change;
  enum table table;
  struct slice key, value; /* in the batch's bytes */
};

void batch_begin(struct bytes *batch, const struct batch_header *header);
void batch_append(struct bytes *batch, const struct batch_row *row);

/* Reads the header and leaves `reader` at the first row. False for bytes that are no batch of this version.
 */
bool batch_open(struct reader *reader, struct batch_header *header);
/* The next row. False at the end, and on malformed bytes, which set reader->failed. */
bool batch_next(struct reader *reader, struct batch_row *row);

#endif
