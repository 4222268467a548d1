/* intern.h: dense numbers for texts and for 64-bit keys, so that the search compares integers. */
#ifndef ASSAY_CHECKER_INTERN_H
#define ASSAY_CHECKER_INTERN_H

#include <stdint.h>

#include "histories/histories.h"

/* "No such thing" for every dense number of the checker. */
#define NONE UINT32_MAX

/* Texts to 0, 1, 2, … in the order they came. The texts themselves stay their owner's. */
struct text_table {
  struct text *texts;
  uint32_t count, capacity;
  uint32_t *slots; /* open addressing, NONE is free */
  uint32_t slot_count;
};

uint32_t text_table_add(struct text_table *table, struct text text);
uint32_t text_table_find(const struct text_table *table, struct text text);
void text_table_free(struct text_table *table);

/* Any 64-bit key to a 32-bit value. */
struct key_slot {
  uint64_t key;
  uint32_t value; /* NONE is free */
};

struct key_table {
  struct key_slot *slots;
  uint32_t count, slot_count;
};

/* Where the value of `key` stands; it is NONE when the key is new, and the caller fills it before the next
 * call. */
uint32_t *key_table_place(struct key_table *table, uint64_t key);
uint32_t key_table_find(const struct key_table *table, uint64_t key);
void key_table_free(struct key_table *table);

#endif
