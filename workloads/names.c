/* names.c: who owns a name: creations, removals and renames race for a few names in two directories. */
#include <assert.h>

#include "workloads/generator.h"

static const struct setup_step setup[] = {
    {OPERATION_MKDIR, "a"},
    {OPERATION_MKDIR, "b"},
};

static const char *const names[] = {"a/n0", "a/n1", "a/n2", "a/n3", "b/n0", "b/n1", "b/n2", "b/n3"};

static const struct weight weights[] = {
    {OPERATION_CREATE, 28}, {OPERATION_DELETE, 16}, {OPERATION_RENAME, 18},
    {OPERATION_LIST, 20},   {OPERATION_STAT, 10},   {OPERATION_EXISTS, 8},
};

static const char *any_name(struct draw *draw) {
  return names[random_below(draw->random, ARRAY_SIZE(names))];
}

static void draw_names(struct draw *draw) {
  draw->arguments->kind = draw_kind(draw->random, weights, ARRAY_SIZE(weights));
  if (draw->arguments->kind == OPERATION_LIST) {
    draw_path(draw, setup[random_below(draw->random, ARRAY_SIZE(setup))].path);
    return;
  }
  draw_path(draw, any_name(draw));
  if (draw->arguments->kind == OPERATION_RENAME)
    draw_destination(draw, any_name(draw));
  if (draw->arguments->kind == OPERATION_CREATE)
    draw->arguments->overwrite = random_chance(draw->random, 0.2);
}

const struct workload workload_names = {
    .description = {"names", "create, delete and rename races for a few names, and list"},
    .setup = setup,
    .setup_count = ARRAY_SIZE(setup),
    .draw = draw_names,
};
