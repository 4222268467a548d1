/* region.h: memory that is given back all at once. */
#ifndef ASSAY_CHECKER_REGION_H
#define ASSAY_CHECKER_REGION_H

#include <stddef.h>
#include <stdint.h>

struct region_chunk;

/* All zero is a valid empty one. */
struct region {
  struct region_chunk *chunks;
  size_t left; /* bytes free in the newest chunk */
  uint64_t bytes;
};

/* Zeroed, aligned for anything. Never NULL, also for size 0. */
void *region_take(struct region *region, size_t size);
void region_free(struct region *region);

#endif
