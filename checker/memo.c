#include "checker/memo.h"

#include <stdlib.h>

#include "base/base.h"

static struct hash *slot_of(const struct memo *memo, struct hash key) {
  uint64_t mask = memo->slot_count - 1;
  uint64_t slot = key.a & mask;
  while ((memo->slots[slot].a | memo->slots[slot].b) != 0 && !hash_equal(memo->slots[slot], key)) {
    slot = (slot + 1) & mask;
  }
  return &memo->slots[slot];
}

bool memo_has(const struct memo *memo, struct hash key) {
  if (memo->slot_count == 0) {
    return false;
  }
  struct hash *slot = slot_of(memo, key);
  return (slot->a | slot->b) != 0;
}

void memo_add(struct memo *memo, struct hash key) {
  if (2 * (memo->count + 1) > memo->slot_count) {
    struct memo old = *memo;
    memo->slot_count = old.slot_count == 0 ? 256 : 2 * old.slot_count;
    memo->slots = xcalloc(memo->slot_count, sizeof *memo->slots);
    for (uint64_t i = 0; i < old.slot_count; i++) {
      if ((old.slots[i].a | old.slots[i].b) != 0) {
        *slot_of(memo, old.slots[i]) = old.slots[i];
      }
    }
    free(old.slots);
  }
  struct hash *slot = slot_of(memo, key);
  memo->count += (slot->a | slot->b) == 0;
  *slot = key;
}

uint64_t memo_bytes(const struct memo *memo) {
  return memo->slot_count * sizeof *memo->slots;
}

void memo_free(struct memo *memo) {
  free(memo->slots);
  *memo = (struct memo){0};
}
