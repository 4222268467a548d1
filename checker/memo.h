/* memo.h: the configurations that were found to have no future. */
#ifndef ASSAY_CHECKER_MEMO_H
#define ASSAY_CHECKER_MEMO_H

#include <stdbool.h>
#include <stdint.h>

#include "checker/hash.h"
#include "checker/step.h"

/* What a proof that there is no future looked at: it holds as well with any step placed or not that neither
 * changes what was read, nor reads what would have been changed. */
struct reason {
  mask reads, writes;
};

struct memo_slot {
  struct hash key; /* {0, 0} is free */
  struct reason reason;
};

/* All zero is a valid empty one. */
struct memo {
  struct memo_slot *slots;
  uint64_t count, slot_count;
};

/* NULL when the configuration is not known. */
const struct reason *memo_find(const struct memo *memo, struct hash key);
void memo_add(struct memo *memo, struct hash key, struct reason reason);
uint64_t memo_bytes(const struct memo *memo);
void memo_free(struct memo *memo);

#endif
