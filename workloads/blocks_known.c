/* blocks_known.c: what the clients of a set know of blocks, by their answers. Often enough it is outdated. */
#include "workloads/generator.h"

#define LENGTH_UNIT 1024
#define LENGTHS 3 /* different lengths of blocks */
#define WORKERS 4

static struct known_block *find(struct working_set *set, uint64_t block) {
  for (size_t i = 0; i < set->block_count; i++)
    if (set->blocks[i].block == block)
      return &set->blocks[i];
  return NULL;
}

static void forget(struct working_set *set, struct known_block *known) {
  *known = set->blocks[--set->block_count];
}

/* The oldest makes room. */
static struct known_block *remember(struct working_set *set, uint64_t block, int object) {
  struct known_block *known = find(set, block);
  if (!known && set->block_count == BLOCKS_KEPT) {
    memmove(set->blocks, set->blocks + 1, (BLOCKS_KEPT - 1) * sizeof *set->blocks);
    set->block_count--;
  }
  if (!known) {
    known = &set->blocks[set->block_count++];
    *known = (struct known_block){.block = block};
  }
  known->object = object;
  return known;
}

bool draw_commit_block(struct draw *draw) {
  const struct working_set *set = draw->set;
  if (set->block_count == 0)
    return false;
  const struct known_block *known = &set->blocks[random_below(draw->random, set->block_count)];
  for (int i = 0; i < 2 && known->length != 0; i++)
    known = &set->blocks[random_below(draw->random, set->block_count)];
  struct arguments *arguments = draw->arguments;
  arguments->kind = OPERATION_COMMIT_BLOCK;
  arguments->block = known->block;
  arguments->length = LENGTH_UNIT * (1 + random_below(draw->random, LENGTHS));
  if (known->length != 0 && random_chance(draw->random, 0.6))
    arguments->length = known->length;
  arguments->worker = 1 + random_below(draw->random, WORKERS);
  draw->note->object = known->object;
  return true;
}

void draw_completion(struct draw *draw, int object) {
  struct arguments *arguments = draw->arguments;
  arguments->kind = OPERATION_COMPLETE;
  draw->note->object = object;
  arguments->length = draw->set->lengths[object];
  if (random_chance(draw->random, 0.1))
    arguments->length = random_below(draw->random, 1 << 20);
}

static void learn_commit(struct working_set *set, const struct arguments *arguments, enum outcome outcome,
                         const struct answer *answer) {
  struct known_block *known = find(set, arguments->block);
  if (!known)
    return;
  if (outcome == OUTCOME_OK && known->length == 0) {
    known->length = arguments->length;
    set->lengths[known->object] += arguments->length;
  } else if (outcome == OUTCOME_FAIL && answer->code == ANSWER_NOT_FOUND) {
    forget(set, known);
  }
}

static void learn_list(struct working_set *set, int object, const struct answer *answer) {
  set->lengths[object] = 0;
  for (size_t i = 0; i < answer->block_entry_count; i++) {
    const struct block_entry *entry = &answer->blocks[i];
    remember(set, entry->block, object)->length = entry->committed ? entry->length : 0;
    set->lengths[object] += entry->committed ? entry->length : 0;
  }
}

static void learn_rename(struct working_set *set, int from, int to) {
  if (from == to)
    return;
  set->lengths[to] = set->lengths[from];
  set->lengths[from] = 0;
  for (size_t i = 0; i < set->block_count; i++)
    if (set->blocks[i].object == from)
      set->blocks[i].object = to;
}

void learn_blocks(struct working_set *set, const struct note *note, const struct arguments *arguments,
                  enum outcome outcome, const struct answer *answer) {
  if (arguments->kind == OPERATION_COMMIT_BLOCK)
    learn_commit(set, arguments, outcome, answer);
  if (outcome != OUTCOME_OK || note->object < 0)
    return;
  if (arguments->kind == OPERATION_ADD_BLOCK)
    remember(set, answer->block, note->object);
  else if (arguments->kind == OPERATION_BLOCKS)
    learn_list(set, note->object, answer);
  else if (arguments->kind == OPERATION_RENAME && note->other >= 0)
    learn_rename(set, note->object, note->other);
  else if (arguments->kind == OPERATION_CREATE || arguments->kind == OPERATION_DELETE)
    set->lengths[note->object] = 0;
}
