/* moves.c: directories that wander, and chains of them.
 *
 * Four homes stay where they are; six directories, each with a file in it, are renamed from home to home and
 * into each other. Two moves that cross may not make a cycle, lose a directory or show one twice.
 *
 *   /w0-0-0/h0/m3/m1/f     m1 lives in m3, which lives in home h0
 *
 * Where a directory lives is believed from the answers; a belief that others have outdated makes for the
 * errors of this workload. */
#include <assert.h>
#include <string.h>

#include "workloads/generator.h"

#define HOMES 4
#define WANDERERS 6
#define DEPTH_MAX 4 /* of wanderers in each other, as far as paths follow them */

static const struct setup_step setup[] = {
    {OPERATION_CREATE, "h0/m0/f"}, {OPERATION_CREATE, "h1/m1/f"}, {OPERATION_CREATE, "h2/m2/f"},
    {OPERATION_CREATE, "h3/m3/f"}, {OPERATION_CREATE, "h0/m4/f"}, {OPERATION_CREATE, "h1/m5/f"},
};
_Static_assert(ARRAY_SIZE(setup) == WANDERERS, "every wanderer is made");

static const struct weight weights[] = {
    {OPERATION_RENAME, 45},
    {OPERATION_LIST, 22},
    {OPERATION_STAT, 20},
    {OPERATION_EXISTS, 13},
};

/* Places are numbered: homes from 0, wanderers behind them. */
static int wanderer(size_t number) {
  return HOMES + (int)number;
}

static void begin_moves(struct working_set *set) {
  for (size_t i = 0; i < WANDERERS; i++)
    set->parents[wanderer(i)] = (int)(i % HOMES);
}

/* "h1/m2/m5": the believed path of a place; where beliefs go too deep or in circles, some home stands. */
static char *append_place(const struct working_set *set, int place, int depth, char *at) {
  if (depth == DEPTH_MAX)
    place %= HOMES;
  if (place >= HOMES) {
    at = append_place(set, set->parents[place], depth + 1, at);
    *at++ = '/';
  }
  *at++ = place < HOMES ? 'h' : 'm';
  *at++ = (char)('0' + (place < HOMES ? place : place - HOMES));
  *at = '\0';
  return at;
}

static int any_wanderer(struct draw *draw) {
  return wanderer(random_below(draw->random, WANDERERS));
}

/* A home mostly, else a wanderer other than `not_this`. */
static int any_target(struct draw *draw, int not_this) {
  const int target = any_wanderer(draw);
  if (random_chance(draw->random, 0.6) || (target == not_this && random_chance(draw->random, 0.8)))
    return (int)random_below(draw->random, HOMES);
  return target;
}

static void draw_move(struct draw *draw, char *path) {
  const int moved = draw->note->object, target = any_target(draw, moved);
  draw->note->other = target;
  append_place(draw->set, moved, 0, path);
  draw_path(draw, path);
  char *end = append_place(draw->set, target, 0, path);
  *end++ = '/';
  *end++ = 'm';
  *end++ = (char)('0' + moved - HOMES);
  *end = '\0';
  draw_destination(draw, path);
}

static void draw_moves(struct draw *draw) {
  char path[PATH_ROOM / 2];
  struct arguments *arguments = draw->arguments;
  arguments->kind = draw_kind(draw->random, weights, ARRAY_SIZE(weights));
  draw->note->object = any_wanderer(draw);
  if (arguments->kind == OPERATION_RENAME) {
    draw_move(draw, path);
    return;
  }
  if (arguments->kind == OPERATION_LIST && random_chance(draw->random, 0.7))
    draw->note->object = (int)random_below(draw->random, HOMES);
  char *end = append_place(draw->set, draw->note->object, 0, path);
  if (arguments->kind != OPERATION_LIST && random_chance(draw->random, 0.3)) {
    memcpy(end, "/f", 3);
    draw->note->object = -1;
  }
  draw_path(draw, path);
}

static void learn_moves(struct working_set *set, const struct note *note, const struct arguments *arguments,
                        enum outcome outcome, const struct answer *answer) {
  if (note->object < 0)
    return;
  if (arguments->kind == OPERATION_RENAME && outcome == OUTCOME_OK)
    set->parents[note->object] = note->other;
  if (arguments->kind != OPERATION_LIST || outcome != OUTCOME_OK)
    return;
  for (size_t i = 0; i < answer->entry_count; i++) {
    const struct text name = answer->entries[i].name;
    if (name.size == 2 && name.data[0] == 'm' && name.data[1] >= '0' && name.data[1] < '0' + WANDERERS)
      set->parents[wanderer((size_t)(name.data[1] - '0'))] = note->object;
  }
}

const struct workload workload_moves = {
    .description = {"moves", "chains of directories renamed between directories, with list, stat and exists"},
    .setup = setup,
    .setup_count = ARRAY_SIZE(setup),
    .begin = begin_moves,
    .draw = draw_moves,
    .learn = learn_moves,
};
