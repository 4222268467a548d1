/* batches.c: several changes at once: pairs of names that are made, set, moved and removed together, and are
 * to be seen together or not at all. */
#include <assert.h>

#include "workloads/generator.h"

static const struct setup_step setup[] = {
    {OPERATION_MKDIR, "a"},
    {OPERATION_MKDIR, "b"},
};

/* A pair are two neighbours. */
static const char *const names[] = {"a/n0", "b/n0", "a/n1", "b/n1", "a/n2", "a/m2"};
#define PAIRS (ARRAY_SIZE(names) / 2)

static const struct weight weights[] = {
    {OPERATION_BATCH, 45}, {OPERATION_LIST, 22},  {OPERATION_STAT, 14},
    {OPERATION_CREATE, 7}, {OPERATION_DELETE, 5}, {OPERATION_EXISTS, 7},
};

static const struct weight pair_weights[] = {
    {OPERATION_CREATE, 40}, {OPERATION_SET, 25}, {OPERATION_DELETE, 20}, {OPERATION_RENAME, 15}};

static void take_name(struct draw *draw, size_t name) {
  draw->note->object = (int)name;
  draw_path(draw, names[name]);
}

/* What becomes of the pair was drawn for the batch: the pair's number is its note's object, the kind of
 * operation `other`. The two halves, then perhaps something else. */
static void draw_part(struct draw *draw, size_t index) {
  struct arguments *arguments = draw->arguments;
  const size_t pair = (size_t)draw->note->object;
  arguments->kind = (enum operation_kind)draw->note->other;
  if (index > 1) {
    arguments->kind = OPERATION_CREATE;
    take_name(draw, random_below(draw->random, ARRAY_SIZE(names)));
  } else {
    take_name(draw, 2 * pair + index);
  }
  if (arguments->kind == OPERATION_CREATE)
    arguments->overwrite = random_chance(draw->random, 0.6);
  else if (arguments->kind == OPERATION_SET)
    draw_value(draw);
  else if (arguments->kind == OPERATION_RENAME)
    draw_destination(draw, names[2 * ((pair + 1) % PAIRS) + index]);
}

static void draw_batches(struct draw *draw) {
  struct arguments *arguments = draw->arguments;
  arguments->kind = draw_kind(draw->random, weights, ARRAY_SIZE(weights));
  if (arguments->kind == OPERATION_BATCH) {
    draw->note->object = (int)random_below(draw->random, PAIRS);
    draw->note->other = (int)draw_kind(draw->random, pair_weights, ARRAY_SIZE(pair_weights));
    draw_batch(draw, random_chance(draw->random, 0.2) ? 3 : 2, draw_part);
  } else if (arguments->kind == OPERATION_LIST) {
    draw_path(draw, setup[random_below(draw->random, ARRAY_SIZE(setup))].path);
  } else {
    take_name(draw, random_below(draw->random, ARRAY_SIZE(names)));
  }
}

const struct workload workload_batches = {
    .description = {"batches", "pairs of names made, set, moved and removed in one step, and list"},
    .setup = setup,
    .setup_count = ARRAY_SIZE(setup),
    .draw = draw_batches,
};
