/* block_sum.h: the checksum of a block, which client and worker work out by themselves.
 *
 * A block is cut into chunks of 64 KiB, the last one as it comes; each has a checksum; the block's is that of
 * its chunks' checksums, in their order, eight bytes each. So one part of a block can be verified alone. */
#ifndef ASSAY_MASTER_BLOCK_SUM_H
#define ASSAY_MASTER_BLOCK_SUM_H

#include "base/base.h"

#define BLOCK_CHUNK (64u << 10)

struct block_sum {
  uint64_t whole, length; /* of the chunks that are done */
  size_t filled;
  unsigned char chunk[BLOCK_CHUNK];
};

/* Told of every chunk, in order; an error ends the work and is returned. */
typedef int block_sum_chunk(void *context, const void *data, size_t size, uint64_t checksum);

static inline uint64_t block_sum_fold(uint64_t whole, uint64_t checksum_of_chunk) {
  unsigned char bytes[8];
  le64_store(bytes, checksum_of_chunk);
  return checksum_fold(whole, bytes, sizeof bytes);
}

static inline int block_sum_take(struct block_sum *sum, const void *data, size_t size, block_sum_chunk *chunk,
                                 void *context) {
  const uint64_t of_chunk = checksum(data, size);
  sum->whole = block_sum_fold(sum->whole, of_chunk);
  sum->length += size;
  return chunk ? chunk(context, data, size, of_chunk) : 0;
}

/* `sum` begins all zero (its chunk need not be). */
static inline int block_sum_add(struct block_sum *sum, const void *data, size_t size, block_sum_chunk *chunk,
                                void *context) {
  const unsigned char *at = data;
  int status = 0;
  while (size > 0 && status == 0) {
    size_t taken = size < BLOCK_CHUNK - sum->filled ? size : BLOCK_CHUNK - sum->filled;
    if (taken == BLOCK_CHUNK) {
      status = block_sum_take(sum, at, taken, chunk, context);
    } else {
      memcpy(sum->chunk + sum->filled, at, taken);
      sum->filled += taken;
      if (sum->filled == BLOCK_CHUNK) {
        sum->filled = 0;
        status = block_sum_take(sum, sum->chunk, BLOCK_CHUNK, chunk, context);
      }
    }
    at += taken;
    size -= taken;
  }
  return status;
}

/* The chunk that is not full. */
static inline int block_sum_end(struct block_sum *sum, block_sum_chunk *chunk, void *context) {
  const size_t size = sum->filled;
  sum->filled = 0;
  return size > 0 ? block_sum_take(sum, sum->chunk, size, chunk, context) : 0;
}

#endif
