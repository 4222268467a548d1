#include "checker/explain.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define LINE_BYTES 400

static const struct operation *operation_of(const struct problem *problem, uint32_t step) {
  return &problem->history->operations[problem->steps[step].operation];
}

/* "list /d1 (index 42)" */
static void add_name(struct bytes *text, const struct problem *problem, uint32_t step) {
  char line[LINE_BYTES];
  const struct operation *operation = operation_of(problem, step);
  arguments_print(&operation->arguments, line, sizeof line);
  bytes_append_format(text, "%s (index %" PRIu64 ")", line, operation->invoke_index);
}

static void add_answer(struct bytes *text, const struct problem *problem, uint32_t step) {
  char line[LINE_BYTES];
  const struct operation *operation = operation_of(problem, step);
  answer_print(operation->arguments.kind, &operation->answer, line, sizeof line);
  bytes_append_format(text, "%s", line);
}

static void add_path(struct bytes *text, const struct problem *problem, uint32_t path) {
  uint32_t way[64];
  uint32_t depth = 0;
  for (; path != NONE && path != PATH_ROOT && depth < ARRAY_SIZE(way); path = problem->paths[path].parent) {
    way[depth++] = path;
  }
  if (depth == 0) {
    bytes_append_format(text, "/");
  }
  while (depth > 0) {
    struct text name = problem->names.texts[problem->paths[way[--depth]].name];
    bytes_append_format(text, "/%.*s", (int)name.size, name.data);
  }
}

static void add_maker(struct bytes *text, const struct problem *problem, uint32_t maker, uint32_t step) {
  if (maker == NONE) {
    return;
  }
  bytes_append_format(text, ", which ");
  add_name(text, problem, maker);
  const struct operation *made = operation_of(problem, maker), *seen = operation_of(problem, step);
  bool before = made->complete_event != NO_EVENT && made->outcome == OUTCOME_OK &&
                made->complete_event < seen->invoke_event;
  bytes_append_format(text, before ? " made and which returned before it began" : " made");
}

static bool is_child(const struct problem *problem, const struct step *list, uint32_t path) {
  return list->actions[0].kind == OPERATION_LIST && path != PATH_ROOT &&
         problem->paths[path].parent == list->actions[0].path;
}

static void add_need(struct bytes *text, const struct problem *problem, const struct obstacle *obstacle) {
  const struct step *step = &problem->steps[obstacle->step];
  const struct expectation *expected = &step->actions[0].expected;
  uint32_t path = obstacle->guard.path;
  switch (obstacle->guard.kind) {
  case GUARD_PRESENT:
    bytes_append_format(text, is_child(problem, step, path) ? "it shows " : "it needs ");
    add_path(text, problem, path);
    bytes_append_format(text, is_child(problem, step, path) ? ", which is not there"
                                                            : " to exist, and it does not");
    return;
  case GUARD_ABSENT:
    bytes_append_format(text, is_child(problem, step, path) ? "it lacks " : "it needs that there is no ");
    add_path(text, problem, path);
    add_maker(text, problem, obstacle->maker, obstacle->step);
    return;
  case GUARD_PLACE:
  case GUARD_INODE:
    if (!step->batch && (expected->seen & SEEN_VERSION) && obstacle->version > 0) {
      uint64_t before = operation_is_mutation(step->actions[0].kind) && expected->code == ANSWER_OK;
      bytes_append_format(text, "it needs ");
      add_path(text, problem, path);
      bytes_append_format(text, " at version %" PRIu64 ", which is at version %" PRIu64,
                          expected->version - before, obstacle->version);
      if (expected->version - before == obstacle->version) {
        bytes_append_format(text, " with other contents");
      }
      return;
    }
    bytes_append_format(text, "it needs ");
    add_path(text, problem, path);
    bytes_append_format(text, " to be as it is not");
    add_maker(text, problem, obstacle->maker, obstacle->step);
    return;
  case GUARD_PLACED:
    bytes_append_format(text, "it shows the effect of ");
    add_name(text, problem, obstacle->guard.step);
    bytes_append_format(text, ", which cannot take place before");
    return;
  case GUARD_NEVER:
    bytes_append_format(text, "no state that can still come gives that answer");
    return;
  case GUARD_FOOTPRINT:
    bytes_append_format(text, "no order of the others brings about the state it needs");
    return;
  }
}

static void add_objection(struct bytes *text, const struct problem *problem,
                          const struct obstacle *obstacle) {
  const struct objection *objection = &obstacle->objection;
  bytes_append_format(text, "placing ");
  add_name(text, problem, obstacle->step);
  switch (objection->kind) {
  case OBJECTION_LEAVES:
    bytes_append_format(text, " leaves version %" PRIu64 " behind, which ", objection->version);
    break;
  case OBJECTION_DIFFERS:
    bytes_append_format(text, " makes version %" PRIu64 " another than ", objection->version);
    break;
  case OBJECTION_ENDS:
    bytes_append_format(text, " takes away what ");
    break;
  }
  add_name(text, problem, objection->observer);
  bool later = operation_of(problem, objection->observer)->invoke_event >
               operation_of(problem, obstacle->step)->complete_event;
  bool mutation = problem->steps[objection->observer].role != ROLE_OBSERVATION;
  bytes_append_format(text, mutation ? " answered"
                            : later  ? ", which began after it returned, shows"
                                     : " shows");
}

static void add_impossible(struct bytes *text, const struct problem *problem, uint32_t step,
                           uint32_t witness) {
  add_name(text, problem, step);
  bytes_append_format(text, " answered ");
  add_answer(text, problem, step);
  if (witness == NONE) {
    bytes_append_format(text, ": no operation that began before it returned can have made what it shows");
    return;
  }
  const struct operation *x = operation_of(problem, step), *y = operation_of(problem, witness);
  bool before = y->complete_event < x->invoke_event, after = x->complete_event < y->invoke_event;
  bytes_append_format(text, ", but ");
  add_name(text, problem, witness);
  bytes_append_format(text, before  ? ", which returned before it began, had answered "
                            : after ? ", which began after it returned, answered "
                                    : " answered ");
  add_answer(text, problem, witness);
  bytes_append_format(text, ": each version of an inode is made once, looks one way, and does not come back");
}

char *explain(const struct problem *problem, const struct search_result *result, size_t unknown) {
  struct bytes text = {0};
  assert(result->stuck != NONE);
  if (problem->facts->impossible != NONE) {
    add_impossible(&text, problem, problem->facts->impossible, problem->facts->witness);
  } else {
    add_name(&text, problem, result->stuck);
    bytes_append_format(&text, " answered ");
    add_answer(&text, problem, result->stuck);
    bytes_append_format(&text, " and has no place in any order");
    for (uint32_t i = 0; i < result->obstacle_count; i++) {
      const struct obstacle *obstacle = &result->obstacles[i];
      bytes_append_format(&text, i == 0 ? ": " : "; or ");
      if (obstacle->doomed) {
        add_objection(&text, problem, obstacle);
      } else {
        add_need(&text, problem, obstacle);
      }
    }
  }
  if (unknown > 0) {
    bytes_append_format(&text, ". This holds whichever of the %zu other mutations took effect, and when",
                        unknown);
  }
  bytes_append_u8(&text, 0);
  return (char *)text.data;
}
