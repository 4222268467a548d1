/* register.c: files used as compare-and-set registers: the version is what a set may depend on. */
#include "workloads/generator.h"

static const struct setup_step setup[] = {
    {OPERATION_CREATE, "r0"},
    {OPERATION_CREATE, "r1"},
    {OPERATION_CREATE, "r2"},
};

static void draw_register(struct draw *draw) {
  const int object = (int)random_below(draw->random, ARRAY_SIZE(setup));
  draw->note->object = object;
  draw_path(draw, setup[object].path);
  if (random_chance(draw->random, 0.5)) {
    draw->arguments->kind = OPERATION_STAT;
    return;
  }
  draw->arguments->kind = OPERATION_SET;
  draw_value(draw);
  draw_if_version(draw, 0.7, object);
}

static void learn_register(struct working_set *set, const struct note *note,
                           const struct arguments *arguments, enum outcome outcome,
                           const struct answer *answer) {
  const uint64_t version = seen_version(arguments, outcome, answer);
  if (version > set->versions[note->object])
    set->versions[note->object] = version;
}

const struct workload workload_register = {
    .description = {"register", "set with if_version and stat on a few files"},
    .setup = setup,
    .setup_count = ARRAY_SIZE(setup),
    .draw = draw_register,
    .learn = learn_register,
};
