#include "checker/memo.h"

#include <stdlib.h>

#include "base/base.h"

static bool is_free(const struct memo_slot *slot) {
  return (slot->key.a | slot->key.b) == 0;
}

static struct memo_slot *slot_of(const struct memo *memo, struct hash key) {
  uint64_t last = memo->slot_count - 1;
  uint64_t slot = key.a & last;
  while (!is_free(&memo->slots[slot]) && !hash_equal(memo->slots[slot].key, key)) {
    slot = (slot + 1) & last;
  }
  return &memo->slots[slot];
}

const struct reason *memo_find(const struct memo *memo, struct hash key) {
  if (memo->slot_count == 0) {
    return NULL;
  }
  const struct memo_slot *slot = slot_of(memo, key);
  return is_free(slot) ? NULL : &slot->reason;
}

void memo_add(struct memo *memo, struct hash key, struct reason reason) {
  if (2 * (memo->count + 1) > memo->slot_count) {
    struct memo old = *memo;
    memo->slot_count = old.slot_count == 0 ? 256 : 2 * old.slot_count;
    memo->slots = xcalloc(memo->slot_count, sizeof *memo->slots);
    for (uint64_t i = 0; i < old.slot_count; i++) {
      if (!is_free(&old.slots[i])) {
        *slot_of(memo, old.slots[i].key) = old.slots[i];
      }
    }
    free(old.slots);
  }
  struct memo_slot *slot = slot_of(memo, key);
  memo->count += is_free(slot);
  *slot = (struct memo_slot){key, reason};
}

uint64_t memo_bytes(const struct memo *memo) {
  return memo->slot_count * sizeof *memo->slots;
}

void memo_free(struct memo *memo) {
  free(memo->slots);
  *memo = (struct memo){0};
}
