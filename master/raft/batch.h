/* batch.h: memory that holds the payloads of entries, shared by the log's cache, a write in flight and raft.
 *
 * Counted references, one thread (the disk only reads). The memory is one raft_malloc() block that begins
 * with the batch itself, because raft releases the batch of entries it does not want with raft_free(). */
#ifndef ASSAY_MASTER_RAFT_BATCH_H
#define ASSAY_MASTER_RAFT_BATCH_H

#include <assert.h>
#include <raft.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"

struct batch {
  size_t references;
  size_t size; /* bytes of data */
  unsigned char data[];
};

/* With one reference, which is the caller's. */
static inline struct batch *batch_new(size_t size) {
  struct batch *batch = raft_malloc(sizeof *batch + size);
  if (!batch) {
    log_error("out of memory: %zu bytes for log entries could not be had", size);
    _exit(EXIT_HARNESS);
  }
  batch->references = 1;
  batch->size = size;
  return batch;
}

static inline struct batch *batch_keep(struct batch *batch) {
  assert(batch->references > 0);
  batch->references++;
  return batch;
}

static inline void batch_drop(struct batch *batch) {
  assert(batch->references > 0);
  if (--batch->references == 0)
    raft_free(batch);
}

#endif
