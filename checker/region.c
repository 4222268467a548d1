#include "checker/region.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define REGION_CHUNK_BYTES ((size_t)64 * 1024)
#define REGION_ALIGN ((size_t)16)

struct region_chunk {
  struct region_chunk *next;
  size_t size; /* of what follows */
};

void *region_take(struct region *region, size_t size) {
  size = (size + REGION_ALIGN) & ~(REGION_ALIGN - 1);
  if (size > region->left) {
    size_t room = size > REGION_CHUNK_BYTES ? size : REGION_CHUNK_BYTES;
    struct region_chunk *chunk = xcalloc(1, sizeof *chunk + room);
    chunk->next = region->chunks;
    chunk->size = room;
    region->chunks = chunk;
    region->left = room;
    region->bytes += room;
  }
  struct region_chunk *chunk = region->chunks;
  void *memory = (char *)(chunk + 1) + (chunk->size - region->left);
  region->left -= size;
  return memory;
}

void region_free(struct region *region) {
  while (region->chunks != NULL) {
    struct region_chunk *next = region->chunks->next;
    free(region->chunks);
    region->chunks = next;
  }
  *region = (struct region){0};
}
