/* memo.h: the configurations that were found to have no future. */
#ifndef ASSAY_CHECKER_MEMO_H
#define ASSAY_CHECKER_MEMO_H

#include <stdbool.h>
#include <stdint.h>

#include "checker/hash.h"

/* All zero is a valid empty one. */
struct memo {
  struct hash *slots; /* {0, 0} is free */
  uint64_t count, slot_count;
};

bool memo_has(const struct memo *memo, struct hash key);
void memo_add(struct memo *memo, struct hash key);
uint64_t memo_bytes(const struct memo *memo);
void memo_free(struct memo *memo);

#endif
