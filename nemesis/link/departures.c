/* departures.c: see departures.h. */
#include "nemesis/link/departures.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"

struct entry {
  int64_t at_ns;
  uint64_t order; /* of arrival: decides between equal times */
  uint32_t slot, size, tag;
};

struct departures {
  size_t capacity, count;
  uint64_t arrivals;
  struct entry *heap;
  uint32_t *vacant; /* the slots that hold no frame: a stack, so that few pages are ever used */
  unsigned char (*pool)[FRAME_BYTES_MAX];
  struct departure taken;
};

struct departures *departures_new(size_t capacity) {
  void *pool = mmap(NULL, capacity * FRAME_BYTES_MAX, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pool == MAP_FAILED)
    return NULL;
  struct departures *departures = xcalloc(1, sizeof *departures);
  departures->capacity = capacity;
  departures->pool = pool;
  departures->heap = xcalloc(capacity, sizeof *departures->heap);
  departures->vacant = xcalloc(capacity, sizeof *departures->vacant);
  for (size_t i = 0; i < capacity; i++)
    departures->vacant[i] = (uint32_t)(capacity - 1 - i);
  return departures;
}

void departures_free(struct departures *departures) {
  if (!departures)
    return;
  munmap(departures->pool, departures->capacity * FRAME_BYTES_MAX);
  free(departures->heap);
  free(departures->vacant);
  free(departures);
}

static bool before(const struct entry *a, const struct entry *b) {
  return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void rise(struct entry *heap, size_t at) {
  const struct entry entry = heap[at];
  while (at > 0 && before(&entry, &heap[(at - 1) / 2])) {
    heap[at] = heap[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  heap[at] = entry;
}

/* Puts `entry` where the root was. */
static void sink(struct entry *heap, size_t count, struct entry entry) {
  size_t at = 0;
  for (size_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && before(&heap[child + 1], &heap[child]))
      child++;
    if (!before(&heap[child], &entry))
      break;
    heap[at] = heap[child];
  }
  heap[at] = entry;
}

unsigned char *departures_add(struct departures *departures, int64_t at_ns, uint32_t tag, const void *frame,
                              size_t size) {
  assert(size <= FRAME_BYTES_MAX);
  if (departures->count == departures->capacity)
    return NULL;
  const uint32_t slot = departures->vacant[departures->capacity - departures->count - 1];
  departures->heap[departures->count] = (struct entry){
      .at_ns = at_ns, .order = departures->arrivals++, .slot = slot, .size = (uint32_t)size, .tag = tag};
  rise(departures->heap, departures->count++);
  memcpy(departures->pool[slot], frame, size);
  return departures->pool[slot];
}

int64_t departures_next_ns(const struct departures *departures) {
  return departures->count > 0 ? departures->heap[0].at_ns : INT64_MAX;
}

size_t departures_count(const struct departures *departures) {
  return departures->count;
}

const struct departure *departures_take(struct departures *departures, int64_t now_ns) {
  if (departures->count == 0 || departures->heap[0].at_ns > now_ns)
    return NULL;
  const struct entry first = departures->heap[0];
  departures->count--;
  sink(departures->heap, departures->count, departures->heap[departures->count]);
  departures->vacant[departures->capacity - departures->count - 1] = first.slot;
  departures->taken = (struct departure){
      .at_ns = first.at_ns, .tag = first.tag, .size = first.size, .frame = departures->pool[first.slot]};
  return &departures->taken;
}
