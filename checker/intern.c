#include "checker/intern.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checker/hash.h"

static uint32_t text_slot(const struct text_table *table, struct text text) {
  uint32_t mask = table->slot_count - 1;
  uint32_t slot = (uint32_t)checksum(text.data, text.size) & mask;
  while (table->slots[slot] != NONE && !text_equal(table->texts[table->slots[slot]], text)) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

static void text_table_grow(struct text_table *table) {
  uint32_t slot_count = table->slot_count == 0 ? 64 : 2 * table->slot_count;
  table->capacity = slot_count / 2;
  table->texts = xrealloc(table->texts, table->capacity * sizeof *table->texts);
  table->slots = xrealloc(table->slots, slot_count * sizeof *table->slots);
  table->slot_count = slot_count;
  memset(table->slots, 0xff, slot_count * sizeof *table->slots);
  for (uint32_t i = 0; i < table->count; i++) {
    table->slots[text_slot(table, table->texts[i])] = i;
  }
}

uint32_t text_table_add(struct text_table *table, struct text text) {
  if (table->count == table->capacity) {
    text_table_grow(table);
  }
  uint32_t slot = text_slot(table, text);
  if (table->slots[slot] == NONE) {
    table->slots[slot] = table->count;
    table->texts[table->count++] = text;
  }
  return table->slots[slot];
}

uint32_t text_table_find(const struct text_table *table, struct text text) {
  return table->slot_count == 0 ? NONE : table->slots[text_slot(table, text)];
}

void text_table_free(struct text_table *table) {
  free(table->texts);
  free(table->slots);
  *table = (struct text_table){0};
}

static struct key_slot *key_slot_of(const struct key_table *table, uint64_t key) {
  uint32_t mask = table->slot_count - 1;
  uint32_t slot = (uint32_t)hash_mix(key, HASH_A) & mask;
  while (table->slots[slot].value != NONE && table->slots[slot].key != key) {
    slot = (slot + 1) & mask;
  }
  return &table->slots[slot];
}

static void key_table_grow(struct key_table *table) {
  struct key_table old = *table;
  table->slot_count = old.slot_count == 0 ? 64 : 2 * old.slot_count;
  table->slots = xmalloc(table->slot_count * sizeof *table->slots);
  memset(table->slots, 0xff, table->slot_count * sizeof *table->slots);
  for (uint32_t i = 0; i < old.slot_count; i++) {
    if (old.slots[i].value != NONE) {
      *key_slot_of(table, old.slots[i].key) = old.slots[i];
    }
  }
  free(old.slots);
}

uint32_t *key_table_place(struct key_table *table, uint64_t key) {
  if (2 * (table->count + 1) > table->slot_count) {
    key_table_grow(table);
  }
  struct key_slot *slot = key_slot_of(table, key);
  if (slot->value == NONE) {
    slot->key = key;
    table->count++;
  }
  return &slot->value;
}

uint32_t key_table_find(const struct key_table *table, uint64_t key) {
  return table->slot_count == 0 ? NONE : key_slot_of(table, key)->value;
}

void key_table_free(struct key_table *table) {
  free(table->slots);
  *table = (struct key_table){0};
}
