#include "nemesis/disk/sectors.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static uint64_t end_of(const struct extent *extent) {
  return extent->first + extent->count;
}

/* The index of the first extent that ends behind `sector`. */
static size_t find(const struct sectors *sectors, uint64_t sector) {
  size_t low = 0, high = sectors->count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (end_of(&sectors->extents[middle]) > sector)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

static void insert(struct sectors *sectors, size_t at, struct extent extent) {
  if (sectors->count == sectors->capacity) {
    sectors->capacity = sectors->capacity ? 2 * sectors->capacity : 8;
    sectors->extents = xrealloc(sectors->extents, sectors->capacity * sizeof *sectors->extents);
  }
  struct extent *place = &sectors->extents[at];
  memmove(place + 1, place, (sectors->count - at) * sizeof *place);
  *place = extent;
  sectors->count++;
}

/* Makes an extent begin at `sector` if one lies across it. Returns the index of the first at or behind it. */
static size_t split(struct sectors *sectors, uint64_t sector) {
  const size_t at = find(sectors, sector);
  if (at == sectors->count || sectors->extents[at].first >= sector)
    return at;
  struct extent *left = &sectors->extents[at], right = *left;
  const uint64_t count = sector - left->first;
  left->count = count;
  right.first = sector;
  right.count -= count;
  right.order += count;
  if (right.kept) {
    right.kept = xmalloc(right.count * SECTOR_SIZE);
    memcpy(right.kept, left->kept + count * SECTOR_SIZE, right.count * SECTOR_SIZE);
    left->kept = xrealloc(left->kept, count * SECTOR_SIZE);
  }
  insert(sectors, at + 1, right);
  return at + 1;
}

static void release(struct sectors *sectors, struct extent *extent) {
  if (extent->kept)
    sectors->kept_bytes -= extent->count * SECTOR_SIZE;
  free(extent->kept);
  free(extent->survives);
}

bool sectors_next_clean(const struct sectors *sectors, uint64_t from, uint64_t to, uint64_t *first,
                        uint64_t *count) {
  size_t at = find(sectors, from);
  while (at < sectors->count && sectors->extents[at].first <= from)
    from = end_of(&sectors->extents[at++]);
  if (from >= to)
    return false;
  const uint64_t end = at < sectors->count ? sectors->extents[at].first : to;
  *first = from;
  *count = (end < to ? end : to) - from;
  return true;
}

/* What appends write mostly: the extent before goes on. */
static bool goes_on(const struct extent *before, const struct extent *extent) {
  return end_of(before) == extent->first && before->state == extent->state &&
         before->order + before->count == extent->order && !before->kept && !extent->kept;
}

void sectors_add(struct sectors *sectors, struct extent extent) {
  const size_t at = find(sectors, extent.first);
  assert(at == sectors->count || sectors->extents[at].first >= end_of(&extent));
  if (at > 0 && goes_on(&sectors->extents[at - 1], &extent)) {
    sectors->extents[at - 1].count += extent.count;
    return;
  }
  if (extent.kept)
    sectors->kept_bytes += extent.count * SECTOR_SIZE;
  insert(sectors, at, extent);
}

void sectors_revive(struct sectors *sectors, uint64_t from, uint64_t to, uint64_t order) {
  const size_t end = split(sectors, to);
  const size_t behind = sectors->count - end;
  for (size_t i = split(sectors, from); i + behind < sectors->count; i++) {
    struct extent *extent = &sectors->extents[i];
    if (extent->state == SECTOR_DIRTY)
      continue;
    extent->state = SECTOR_DIRTY;
    extent->order = order + (extent->first - from);
  }
}

void sectors_cut(struct sectors *sectors, uint64_t from) {
  for (size_t i = split(sectors, from); i < sectors->count; i++)
    sectors->extents[i].state = SECTOR_CUT;
}

void sectors_forget(struct sectors *sectors, uint64_t from) {
  const size_t first = split(sectors, from);
  for (size_t i = first; i < sectors->count; i++)
    release(sectors, &sectors->extents[i]);
  sectors->count = first;
}

void sectors_turn(struct sectors *sectors, enum sector_state state, enum sector_state other) {
  for (size_t i = 0; i < sectors->count; i++)
    if (sectors->extents[i].state == state)
      sectors->extents[i].state = other;
}

uint64_t sectors_clean(struct sectors *sectors, enum sector_state state) {
  uint64_t cleaned = 0;
  size_t left = 0;
  for (size_t i = 0; i < sectors->count; i++) {
    struct extent *extent = &sectors->extents[i];
    if (extent->state == state) {
      cleaned += extent->count;
      release(sectors, extent);
    } else {
      sectors->extents[left++] = *extent;
    }
  }
  sectors->count = left;
  return cleaned;
}

uint64_t sectors_count(const struct sectors *sectors, enum sector_state state) {
  uint64_t count = 0;
  for (size_t i = 0; i < sectors->count; i++)
    if (sectors->extents[i].state == state)
      count += sectors->extents[i].count;
  return count;
}

void sectors_blank(struct sectors *sectors, uint64_t offset) {
  for (size_t i = 0; i < sectors->count; i++) {
    const struct extent *extent = &sectors->extents[i];
    const uint64_t begin = extent->first * SECTOR_SIZE, end = end_of(extent) * SECTOR_SIZE;
    const uint64_t from = offset > begin ? offset : begin;
    if (extent->kept && from < end)
      memset(extent->kept + (from - begin), 0, end - from);
  }
}

void sectors_free(struct sectors *sectors) {
  sectors_forget(sectors, 0);
  free(sectors->extents);
  *sectors = (struct sectors){0};
}
