/* operation_map.h: where each operation was committed: op id → index. Open addressing, linear probing; ids
 * and indexes are not 0. All zero is a valid empty one. */
#ifndef ASSAY_SIMULATOR_OPERATION_MAP_H
#define ASSAY_SIMULATOR_OPERATION_MAP_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/base.h"

struct operation_place {
  uint64_t op_id, index;
};

struct operation_map {
  struct operation_place *places;
  size_t capacity; /* a power of two, or 0 */
  size_t count;
};

static inline struct operation_place *operation_map_find(const struct operation_map *map, uint64_t op_id) {
  const size_t mask = map->capacity - 1;
  size_t at = (size_t)((op_id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & mask;
  while (map->places[at].op_id != 0 && map->places[at].op_id != op_id)
    at = (at + 1) & mask;
  return &map->places[at];
}

/* 0 when it is not there. */
static inline uint64_t operation_map_get(const struct operation_map *map, uint64_t op_id) {
  return map->capacity ? operation_map_find(map, op_id)->index : 0;
}

/* The index that the id has now: an earlier one stays. */
static inline uint64_t operation_map_put(struct operation_map *map, uint64_t op_id, uint64_t index) {
  if (2 * map->count >= map->capacity) {
    struct operation_map larger = {.capacity = map->capacity ? 2 * map->capacity : 256, .count = map->count};
    larger.places = xcalloc(larger.capacity, sizeof *larger.places);
    for (size_t i = 0; i < map->capacity; i++)
      if (map->places[i].op_id != 0)
        *operation_map_find(&larger, map->places[i].op_id) = map->places[i];
    free(map->places);
    *map = larger;
  }
  struct operation_place *place = operation_map_find(map, op_id);
  if (place->op_id == 0) {
    *place = (struct operation_place){op_id, index};
    map->count++;
  }
  return place->index;
}

static inline void operation_map_free(struct operation_map *map) {
  free(map->places);
  *map = (struct operation_map){0};
}

#endif
