/* fs_batch.h: the operations of `assay fs batch`, read from a file. */
#ifndef ASSAY_HARNESS_FS_BATCH_H
#define ASSAY_HARNESS_FS_BATCH_H

#include "base/base.h"
#include "master/client/client.h"

struct history;

struct fs_batch {
  struct master_request *requests; /* point into `history` */
  size_t count;
  struct history *history;
};

/* Reads one operation a line, as an item of a history's batch: {"f": …, "value": {…}}; "-" is standard input.
 * ERR_BAD_INPUT names file and line. */
int fs_batch_read(const char *path, struct fs_batch *batch, struct error *error);
void fs_batch_free(struct fs_batch *batch);

#endif
