/* blocks.c: a few files whose blocks many add, commit and count, while the files are completed, replaced,
 * moved and removed with them. */
#include <assert.h>

#include "workloads/generator.h"

static const struct setup_step setup[] = {
    {OPERATION_MKDIR, "a"},
    {OPERATION_CREATE, "a/f0"},
    {OPERATION_CREATE, "a/f1"},
    {OPERATION_CREATE, "f2"},
};

static const char *const files[] = {"a/f0", "a/f1", "f2", "f3"};

static const struct weight weights[] = {
    {OPERATION_ADD_BLOCK, 22}, {OPERATION_COMMIT_BLOCK, 22}, {OPERATION_BLOCKS, 18},
    {OPERATION_COMPLETE, 6},   {OPERATION_CREATE, 12},       {OPERATION_DELETE, 3},
    {OPERATION_RENAME, 5},     {OPERATION_STAT, 10},         {OPERATION_BATCH, 4},
};

static int any_file(struct draw *draw) {
  return (int)random_below(draw->random, ARRAY_SIZE(files));
}

static void take_file(struct draw *draw) {
  draw->note->object = any_file(draw);
  draw_path(draw, files[draw->note->object]);
}

/* Of a batch that commits several blocks at once, or a block and its file. */
static void draw_item(struct draw *draw, size_t index) {
  (void)index;
  if (random_chance(draw->random, 0.8) && draw_commit_block(draw))
    return;
  take_file(draw);
  draw_completion(draw, draw->note->object);
}

static void draw_blocks(struct draw *draw) {
  struct arguments *arguments = draw->arguments;
  arguments->kind = draw_kind(draw->random, weights, ARRAY_SIZE(weights));
  if (arguments->kind == OPERATION_BATCH) {
    draw_batch(draw, 1 + random_below(draw->random, 3), draw_item);
    return;
  }
  if (arguments->kind == OPERATION_COMMIT_BLOCK && draw_commit_block(draw))
    return;
  if (arguments->kind == OPERATION_COMMIT_BLOCK)
    arguments->kind = OPERATION_ADD_BLOCK;
  take_file(draw);
  if (arguments->kind == OPERATION_DELETE && random_chance(draw->random, 0.2)) {
    draw->note->object = -1;
    draw_path(draw, "a");
    arguments->recursive = true;
  } else if (arguments->kind == OPERATION_RENAME) {
    draw->note->other = any_file(draw);
    draw_destination(draw, files[draw->note->other]);
  } else if (arguments->kind == OPERATION_CREATE) {
    arguments->overwrite = random_chance(draw->random, 0.5);
    arguments->parents = true;
  } else if (arguments->kind == OPERATION_COMPLETE) {
    draw_completion(draw, draw->note->object);
  }
}

const struct workload workload_blocks = {
    .description = {"blocks", "blocks added to a few files and committed, while the files come and go"},
    .setup = setup,
    .setup_count = ARRAY_SIZE(setup),
    .draw = draw_blocks,
    .learn = learn_blocks,
};
