#include "histories/processes.h"

#include <assert.h>
#include <stdlib.h>

#include "base/base.h"

/* Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): neighbours spread over the table. */
static inline size_t slot_of(uint64_t key, size_t capacity) {
  return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (capacity - 1);
}

static struct process_state *probe(struct process_state *slots, size_t capacity, int64_t process) {
  size_t at = slot_of((uint64_t)process, capacity);
  while (slots[at].phase != PROCESS_UNKNOWN && slots[at].process != process)
    at = (at + 1) & (capacity - 1);
  return &slots[at];
}

static void grow_processes(struct process_table *table) {
  const size_t capacity = table->capacity ? table->capacity * 2 : 256;
  struct process_state *slots = xcalloc(capacity, sizeof *slots);
  for (size_t i = 0; i < table->capacity; i++)
    if (table->slots[i].phase != PROCESS_UNKNOWN)
      *probe(slots, capacity, table->slots[i].process) = table->slots[i];
  free(table->slots);
  table->slots = slots;
  table->capacity = capacity;
}

struct process_state *process_find(struct process_table *table, int64_t process) {
  if (table->count * 2 >= table->capacity)
    grow_processes(table);
  struct process_state *state = probe(table->slots, table->capacity, process);
  if (state->phase == PROCESS_UNKNOWN) {
    *state = (struct process_state){.process = process, .phase = PROCESS_IDLE};
    table->count++;
  }
  return state;
}

void process_table_free(struct process_table *table) {
  free(table->slots);
  *table = (struct process_table){0};
}

static uint64_t *probe_id(uint64_t *slots, size_t capacity, uint64_t id) {
  size_t at = slot_of(id, capacity);
  while (slots[at] != 0 && slots[at] != id)
    at = (at + 1) & (capacity - 1);
  return &slots[at];
}

bool id_set_add(struct id_set *set, uint64_t id) {
  assert(id != 0);
  if (set->count * 2 >= set->capacity) {
    const size_t capacity = set->capacity ? set->capacity * 2 : 1024;
    uint64_t *slots = xcalloc(capacity, sizeof *slots);
    for (size_t i = 0; i < set->capacity; i++)
      if (set->slots[i])
        *probe_id(slots, capacity, set->slots[i]) = set->slots[i];
    free(set->slots);
    set->slots = slots;
    set->capacity = capacity;
  }
  uint64_t *slot = probe_id(set->slots, set->capacity, id);
  if (*slot == id)
    return false;
  *slot = id;
  set->count++;
  return true;
}

void id_set_free(struct id_set *set) {
  free(set->slots);
  *set = (struct id_set){0};
}
