/* floors.h: per client number the lowest op id that is outstanding, so that a master may forget what lies
 * below. Op ids of one number come in ascending order, so the head of its list is the lowest. */
#ifndef ASSAY_MASTER_CLIENT_FLOORS_H
#define ASSAY_MASTER_CLIENT_FLOORS_H

#include <stddef.h>
#include <stdint.h>

#include "master/rpc/list.h"

struct floor; /* of one client number with something outstanding */

struct floor_item {
  struct list link;
  struct floor *floor;
  uint64_t op_id;
};

struct floors {
  struct floor **buckets; /* chained by hash of the number */
  size_t bucket_count;    /* a power of two, or 0 */
  size_t count;
};

void floors_add(struct floors *floors, struct floor_item *item, uint64_t op_id);
void floors_remove(struct floors *floors, struct floor_item *item);
/* Lowest outstanding op id of the item's client number. */
uint64_t floors_lowest(const struct floor_item *item);
/* Nothing may be outstanding. */
void floors_free(struct floors *floors);

#endif
