#include "master/client/floors.h"

#include <assert.h>
#include <stdlib.h>

#include "base/base.h"

#define BUCKETS_INITIAL 16u

struct floor {
  struct floor *next; /* in the bucket */
  uint32_t number;
  struct list items; /* struct floor_item, op ids ascending */
};

/* Fibonacci hashing (Knuth 6.4): numbers are dense, the high bits of the product are not. */
static struct floor **bucket_of(const struct floors *floors, uint32_t number) {
  const uint64_t mixed = number * UINT64_C(0x9e3779b97f4a7c15);
  return &floors->buckets[(mixed >> 32) & (floors->bucket_count - 1)];
}

static void grow(struct floors *floors) {
  const struct floors old = *floors;
  floors->bucket_count = old.bucket_count ? 2 * old.bucket_count : BUCKETS_INITIAL;
  floors->buckets = xcalloc(floors->bucket_count, sizeof(struct floor *));
  for (size_t i = 0; i < old.bucket_count; i++) {
    struct floor *floor = old.buckets[i];
    while (floor) {
      struct floor *next = floor->next;
      struct floor **bucket = bucket_of(floors, floor->number);
      floor->next = *bucket;
      *bucket = floor;
      floor = next;
    }
  }
  free(old.buckets);
}

static struct floor *floor_of(struct floors *floors, uint32_t number) {
  if (floors->count == floors->bucket_count)
    grow(floors);
  struct floor **bucket = bucket_of(floors, number);
  struct floor *floor = *bucket;
  while (floor && floor->number != number)
    floor = floor->next;
  if (!floor) {
    floor = xmalloc(sizeof *floor);
    floor->number = number;
    floor->next = *bucket;
    list_init(&floor->items);
    *bucket = floor;
    floors->count++;
  }
  return floor;
}

void floors_add(struct floors *floors, struct floor_item *item, uint64_t op_id) {
  item->op_id = op_id;
  item->floor = floor_of(floors, (uint32_t)(op_id >> 32));
  /* Ascending as they come, so the place is nearly always the end. */
  struct list *before = item->floor->items.previous;
  while (before != &item->floor->items && CONTAINER_OF(before, struct floor_item, link)->op_id > op_id)
    before = before->previous;
  list_prepend(before, &item->link);
}

void floors_remove(struct floors *floors, struct floor_item *item) {
  struct floor *floor = item->floor;
  assert(floor);
  list_remove(&item->link);
  item->floor = NULL;
  if (!list_is_empty(&floor->items))
    return;
  struct floor **at = bucket_of(floors, floor->number);
  while (*at != floor)
    at = &(*at)->next;
  *at = floor->next;
  floors->count--;
  free(floor);
}

uint64_t floors_lowest(const struct floor_item *item) {
  return CONTAINER_OF(item->floor->items.next, struct floor_item, link)->op_id;
}

void floors_free(struct floors *floors) {
  assert(floors->count == 0);
  free(floors->buckets);
  *floors = (struct floors){0};
}
