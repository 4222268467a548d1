/* mixed.c: every operation that a master answers, on a handful of names, so that most of them meet. */
#include <assert.h>

#include "workloads/generator.h"

static const struct setup_step setup[] = {
    {OPERATION_MKDIR, "a"},
    {OPERATION_MKDIR, "b"},
    {OPERATION_MKDIR, "a/c"},
};

/* Files first, then directories; "a" stays, the other directories come and go. */
static const char *const objects[] = {"a/f0",   "a/f1",   "a/f2",   "b/f0", "b/f1", "b/f2", "a/c/f0",
                                      "a/c/f1", "b/c/f0", "b/c/f1", "a",    "b",    "a/c",  "b/c"};
#define FILES 10
#define DIRECTORIES (ARRAY_SIZE(objects) - FILES)
_Static_assert(ARRAY_SIZE(objects) <= OBJECTS_MAX, "a set has room for every object");

static const struct weight weights[] = {
    {OPERATION_CREATE, 16}, {OPERATION_MKDIR, 7}, {OPERATION_COMPLETE, 5},  {OPERATION_DELETE, 6},
    {OPERATION_RENAME, 8},  {OPERATION_SET, 11},  {OPERATION_ADD_BLOCK, 6}, {OPERATION_COMMIT_BLOCK, 5},
    {OPERATION_STAT, 15},   {OPERATION_LIST, 10}, {OPERATION_EXISTS, 5},    {OPERATION_BLOCKS, 4},
    {OPERATION_BATCH, 4},
};

static const struct weight item_weights[] = {
    {OPERATION_CREATE, 30}, {OPERATION_MKDIR, 15},   {OPERATION_SET, 30},         {OPERATION_DELETE, 8},
    {OPERATION_RENAME, 10}, {OPERATION_COMPLETE, 5}, {OPERATION_COMMIT_BLOCK, 8},
};

static int any_file(struct draw *draw) {
  return (int)random_below(draw->random, FILES);
}

static int any_directory(struct draw *draw) {
  return FILES + (int)random_below(draw->random, DIRECTORIES);
}

/* One of the directories that come and go; "b" less often, because so much is lost with it. */
static int passing_directory(struct draw *draw) {
  if (random_chance(draw->random, 0.1))
    return FILES + 1;
  return FILES + 2 + (int)random_below(draw->random, DIRECTORIES - 2);
}

static void take(struct draw *draw, int object) {
  draw->note->object = object;
  draw_path(draw, objects[object]);
}

static void draw_rename(struct draw *draw) {
  const bool directories = random_chance(draw->random, 0.25);
  take(draw, directories ? passing_directory(draw) : any_file(draw));
  draw->note->other = directories ? passing_directory(draw) : any_file(draw);
  draw_destination(draw, objects[draw->note->other]);
}

static void draw_delete(struct draw *draw) {
  const bool directory = random_chance(draw->random, 0.3);
  take(draw, directory ? passing_directory(draw) : any_file(draw));
  draw->arguments->recursive = directory && random_chance(draw->random, 0.8);
}

static void draw_creation(struct draw *draw) {
  struct arguments *arguments = draw->arguments;
  arguments->parents = random_chance(draw->random, 0.3);
  if (arguments->kind == OPERATION_MKDIR) {
    take(draw, random_chance(draw->random, 0.4) ? FILES + 1 : passing_directory(draw));
    arguments->exist_ok = random_chance(draw->random, 0.4);
  } else {
    take(draw, any_file(draw));
    arguments->overwrite = random_chance(draw->random, 0.25);
  }
}

static void draw_set(struct draw *draw) {
  const int object = random_chance(draw->random, 0.15) ? any_directory(draw) : any_file(draw);
  take(draw, object);
  draw_value(draw);
  draw_if_version(draw, 0.4, object);
}

static void draw_item(struct draw *draw, size_t index);

static void draw_of_kind(struct draw *draw, enum operation_kind kind) {
  struct arguments *arguments = draw->arguments;
  arguments->kind = kind;
  switch (kind) {
  case OPERATION_CREATE:
  case OPERATION_MKDIR:
    draw_creation(draw);
    break;
  case OPERATION_DELETE:
    draw_delete(draw);
    break;
  case OPERATION_RENAME:
    draw_rename(draw);
    break;
  case OPERATION_SET:
    draw_set(draw);
    break;
  case OPERATION_COMPLETE:
    draw_completion(draw, any_file(draw));
    take(draw, draw->note->object);
    break;
  case OPERATION_ADD_BLOCK:
  case OPERATION_BLOCKS:
    take(draw, any_file(draw));
    break;
  case OPERATION_COMMIT_BLOCK:
    if (!draw_commit_block(draw))
      draw_of_kind(draw, OPERATION_SET);
    break;
  case OPERATION_BATCH:
    draw_batch(draw, 2 + random_below(draw->random, 2), draw_item);
    break;
  case OPERATION_LIST:
    take(draw, random_chance(draw->random, 0.05) ? any_file(draw) : any_directory(draw));
    break;
  default:
    assert(arguments->kind == OPERATION_STAT || arguments->kind == OPERATION_EXISTS);
    take(draw, random_chance(draw->random, 0.2) ? any_directory(draw) : any_file(draw));
    break;
  }
}

/* Of a batch, which fails as a whole: it is made to succeed a little more often. */
static void draw_item(struct draw *draw, size_t index) {
  (void)index;
  draw_of_kind(draw, draw_kind(draw->random, item_weights, ARRAY_SIZE(item_weights)));
  struct arguments *arguments = draw->arguments;
  const bool kind_allows = random_chance(draw->random, 0.8);
  arguments->overwrite |= kind_allows && arguments->kind == OPERATION_CREATE;
  arguments->exist_ok |= kind_allows && arguments->kind == OPERATION_MKDIR;
  arguments->has_if_version &= !kind_allows;
}

static void draw_mixed(struct draw *draw) {
  draw_of_kind(draw, draw_kind(draw->random, weights, ARRAY_SIZE(weights)));
}

static void learn_mixed(struct working_set *set, const struct note *note, const struct arguments *arguments,
                        enum outcome outcome, const struct answer *answer) {
  learn_blocks(set, note, arguments, outcome, answer);
  const uint64_t version = note->object >= 0 ? seen_version(arguments, outcome, answer) : 0;
  if (version > 0)
    set->versions[note->object] = version;
}

const struct workload workload_mixed = {
    .description = {"mixed", "all operations over a few contended files and directories"},
    .setup = setup,
    .setup_count = ARRAY_SIZE(setup),
    .draw = draw_mixed,
    .learn = learn_mixed,
};
