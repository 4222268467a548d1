/* Compiling operations into steps: texts to numbers, answers to expectations. What steps depend on is in
 * footprint.c, what is known of their surroundings in facts.c. */
#include "checker/step.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "checker/facts.h"
#include "checker/footprint.h"
#include "checker/hash.h"
#include "checker/region.h"
#include "checker/tree.h"

#define PATH_BYTES_MAX 4096
#define NAME_BYTES_MAX 255

bool operation_matters(const struct operation *operation) {
  switch (operation->outcome) {
  case OUTCOME_OK:
    return true;
  case OUTCOME_FAIL:
    return answer_is_observation(operation->answer.code);
  case OUTCOME_INFO:
    return operation_is_mutation(operation->arguments.kind);
  }
  return false;
}

uint32_t path_child(const struct problem *problem, uint32_t parent, uint32_t name) {
  return key_table_find(&problem->path_table, (uint64_t)parent << 32 | name);
}

static uint32_t path_child_add(struct problem *problem, uint32_t parent, uint32_t name) {
  uint32_t *place = key_table_place(&problem->path_table, (uint64_t)parent << 32 | name);
  if (*place != NONE) {
    return *place;
  }
  if (problem->path_count == problem->path_capacity) {
    problem->path_capacity = problem->path_capacity == 0 ? 64 : 2 * problem->path_capacity;
    problem->paths = xrealloc(problem->paths, problem->path_capacity * sizeof *problem->paths);
  }
  uint32_t depth = parent == NONE ? 0 : problem->paths[parent].depth + 1;
  problem->paths[problem->path_count] = (struct path){.parent = parent, .name = name, .depth = depth};
  *place = problem->path_count;
  return problem->path_count++;
}

/* NONE when the text is not a valid path (spec.md, "Paths"). */
static uint32_t path_add(struct problem *problem, struct text text) {
  if (text.data == NULL || text.size == 0 || text.size > PATH_BYTES_MAX || text.data[0] != '/' ||
      memchr(text.data, 0, text.size) != NULL) {
    return NONE;
  }
  uint32_t path = PATH_ROOT;
  const char *end = text.data + text.size;
  for (const char *at = text.data + 1; text.size > 1; at++) {
    const char *slash = memchr(at, '/', (size_t)(end - at));
    size_t size = (size_t)((slash == NULL ? end : slash) - at);
    bool dots = (size == 1 && at[0] == '.') || (size == 2 && at[0] == '.' && at[1] == '.');
    if (size == 0 || size > NAME_BYTES_MAX || dots) {
      return NONE;
    }
    struct text name = {at, size};
    path = path_child_add(problem, path, text_table_add(&problem->names, name));
    if (slash == NULL) {
      break;
    }
    at = slash;
  }
  return path;
}

static uint32_t creator_add(struct problem *problem, uint64_t op_id) {
  uint32_t *place = key_table_place(&problem->creator_table, op_id);
  if (*place == NONE) {
    *place = problem->creator_count++;
  }
  return *place;
}

static uint32_t block_add(struct problem *problem, uint64_t block) {
  uint32_t *place = key_table_place(&problem->block_table, block);
  if (*place == NONE) {
    *place = problem->block_count++;
  }
  return *place;
}

static void compile_entries(struct problem *problem, uint32_t directory, const struct answer *answer,
                            struct expectation *expected) {
  expected->entry_count = (uint32_t)answer->entry_count;
  expected->entries = region_take(problem->region, answer->entry_count * sizeof *expected->entries);
  expected->entries_complete = true;
  for (size_t i = 0; i < answer->entry_count; i++) {
    const struct list_entry *seen = &answer->entries[i];
    struct entry *entry = &expected->entries[i];
    entry->name = text_table_add(&problem->names, seen->name);
    entry->path = directory == NONE ? NONE : path_child_add(problem, directory, entry->name);
    entry->has_kind = seen->has_kind;
    entry->has_creator = seen->has_creator;
    entry->kind = (uint8_t)seen->kind;
    entry->creator = seen->has_creator ? creator_add(problem, seen->creator) : NONE;
    if (!seen->has_kind || !seen->has_creator) {
      expected->entries_complete = false;
    } else {
      expected->entries_hash += entry_hash(entry->name, (enum inode_kind)entry->kind, entry->creator);
    }
    if (i > 0) {
      struct text before = answer->entries[i - 1].name;
      size_t shorter = before.size < seen->name.size ? before.size : seen->name.size;
      int order = memcmp(before.data, seen->name.data, shorter);
      if (order > 0 || (order == 0 && before.size >= seen->name.size)) {
        expected->impossible = true; /* not in byte order, or a name twice */
      }
    }
  }
}

/* The members that a successful operation of this kind can show; others in an answer are noise. */
static unsigned members_of(enum operation_kind kind) {
  switch (kind) {
  case OPERATION_MKDIR:
  case OPERATION_CREATE:
    return SEEN_CREATOR;
  case OPERATION_COMPLETE:
  case OPERATION_SET:
    return SEEN_VERSION;
  case OPERATION_ADD_BLOCK:
    return SEEN_BLOCK;
  case OPERATION_STAT:
    return SEEN_KIND | SEEN_CREATOR | SEEN_VERSION | SEEN_VALUE | SEEN_COMPLETED | SEEN_LENGTH |
           SEEN_BLOCK_COUNT | SEEN_CHILD_COUNT;
  case OPERATION_LIST:
    return SEEN_VERSION | SEEN_ENTRIES;
  case OPERATION_EXISTS:
    return SEEN_EXISTS;
  case OPERATION_BLOCKS:
    return SEEN_BLOCKS;
  case OPERATION_BATCH:
    return SEEN_ANSWERS;
  default:
    return 0;
  }
}

static void compile_expectation(struct problem *problem, struct action *action, enum outcome outcome,
                                const struct answer *answer) {
  struct expectation *expected = &action->expected;
  action->expects = true;
  unsigned ignored = problem->versions ? 0 : SEEN_VERSION;
  expected->code = outcome == OUTCOME_OK ? ANSWER_OK : answer->code;
  expected->at = answer->at;
  if (expected->code != ANSWER_OK) {
    expected->seen = answer->seen & (SEEN_VERSION | SEEN_AT) & ~ignored;
    expected->version = answer->version;
    return;
  }
  expected->seen = answer->seen & members_of(action->kind) & ~ignored;
  expected->creator = expected->seen & SEEN_CREATOR ? creator_add(problem, answer->creator) : NONE;
  expected->value = expected->seen & SEEN_VALUE ? text_table_add(&problem->values, answer->value) : NONE;
  expected->kind = answer->inode_kind;
  expected->completed = answer->completed;
  expected->exists = answer->exists;
  expected->version = answer->version;
  expected->length = answer->length;
  expected->block_count = answer->block_count;
  expected->child_count = answer->child_count;
  expected->block = expected->seen & SEEN_BLOCK ? block_add(problem, answer->block) : NONE;
  if (expected->seen & SEEN_ENTRIES) {
    compile_entries(problem, action->path, answer, expected);
  }
  if (expected->seen & SEEN_BLOCKS) {
    expected->blocks = answer->blocks;
    expected->block_entry_count = (uint32_t)answer->block_entry_count;
    expected->block_ids = region_take(problem->region, answer->block_entry_count * sizeof(uint32_t));
    for (size_t i = 0; i < answer->block_entry_count; i++) {
      expected->block_ids[i] = block_add(problem, answer->blocks[i].block);
    }
  }
}

static void compile_action(struct problem *problem, struct action *action, const struct arguments *asked) {
  action->kind = asked->kind;
  action->parents = asked->parents;
  action->exist_ok = asked->exist_ok;
  action->overwrite = asked->overwrite;
  action->recursive = asked->recursive;
  action->has_if_version = asked->has_if_version && problem->versions;
  action->if_version = asked->if_version;
  action->length = asked->length;
  bool by_block = asked->kind == OPERATION_COMMIT_BLOCK;
  action->path = by_block ? NONE : path_add(problem, asked->path);
  action->destination = asked->kind == OPERATION_RENAME ? path_add(problem, asked->destination) : NONE;
  action->value = asked->kind == OPERATION_SET ? text_table_add(&problem->values, asked->value) : NONE;
  action->block = by_block ? block_add(problem, asked->block) : NONE;
}

/* Whether a success of this action never changes anything. */
static bool action_is_quiet(const struct step *step, const struct action *action) {
  switch (action->kind) {
  case OPERATION_RENAME:
    return action->path == action->destination;
  case OPERATION_MKDIR:
    return action->path == PATH_ROOT ||
           (action->exist_ok && action->expects && (action->expected.seen & SEEN_CREATOR) &&
            action->expected.creator != step->creator);
  default:
    return !operation_is_mutation(action->kind);
  }
}

static enum role role_of(const struct step *step, const struct operation *operation) {
  if (operation->outcome == OUTCOME_FAIL) {
    return ROLE_OBSERVATION;
  }
  for (uint32_t i = 0; i < step->action_count; i++) {
    if (!action_is_quiet(step, &step->actions[i])) {
      return operation->outcome == OUTCOME_OK ? ROLE_MUTATION : ROLE_UNKNOWN;
    }
  }
  return ROLE_OBSERVATION;
}

static void compile_step(struct problem *problem, struct step *step, const struct operation *operation) {
  const struct arguments *asked = &operation->arguments;
  const struct answer *answer = &operation->answer;
  step->batch = asked->kind == OPERATION_BATCH;
  step->creator = creator_add(problem, operation_is_mutation(asked->kind) ? operation->op_id : 0);
  step->action_count = step->batch ? (uint32_t)asked->item_count : 1;
  step->actions = region_take(problem->region, (step->action_count + 1) * sizeof *step->actions);
  for (uint32_t i = 0; i < step->action_count; i++) {
    struct action *action = &step->actions[i];
    compile_action(problem, action, step->batch ? &asked->items[i] : asked);
    if (!step->batch && operation->outcome != OUTCOME_INFO) {
      compile_expectation(problem, action, operation->outcome, answer);
    } else if (operation->outcome == OUTCOME_OK && (answer->seen & SEEN_ANSWERS) && i < answer->item_count) {
      compile_expectation(problem, action, OUTCOME_OK, &answer->items[i]);
    }
    step->dynamic |= action->kind == OPERATION_COMMIT_BLOCK;
  }
  if (step->batch && operation->outcome != OUTCOME_INFO) {
    /* One action behind the items stands for the batch itself. */
    struct action *whole = &step->actions[step->action_count];
    whole->kind = OPERATION_BATCH;
    compile_expectation(problem, whole, operation->outcome, answer);
    whole->expected.impossible = operation->outcome == OUTCOME_OK && (answer->seen & SEEN_ANSWERS) &&
                                 answer->item_count != asked->item_count;
  }
  step->role = role_of(step, operation);
}

/* Preorder numbers: parents have smaller numbers than their children, so two sweeps do. */
static void number_paths(struct problem *problem) {
  uint32_t *sizes = xcalloc(problem->path_count, sizeof *sizes);
  uint32_t *next = xcalloc(problem->path_count, sizeof *next);
  for (uint32_t i = problem->path_count; i-- > 0;) {
    sizes[i]++;
    if (i > 0) {
      sizes[problem->paths[i].parent] += sizes[i];
    }
  }
  for (uint32_t i = 0; i < problem->path_count; i++) {
    struct path *path = &problem->paths[i];
    if (i > 0) {
      path->first = next[path->parent];
      next[path->parent] += sizes[i];
    }
    next[i] = path->first + 1;
    path->last = path->first + sizes[i] - 1;
  }
  free(sizes);
  free(next);
}

static int compare_keys(const void *x, const void *y) {
  uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
  return a < b ? -1 : a > b;
}

/* The events of the problem in order: invocations, and the moments at which steps are due. `due` has the
 * history's event of each step, NONE for never; steps that were promoted are due just before the completion
 * they share. */
static void order_events(struct problem *problem, const uint32_t *due) {
  uint64_t *keys = xmalloc((2 * (size_t)problem->step_count + 1) * sizeof *keys);
  uint32_t count = 0;
  for (uint32_t i = 0; i < problem->step_count; i++) {
    keys[count++] = ((uint64_t)problem->steps[i].invoked_at * 2 + 1) << 32 | i;
    if (due[i] != NONE) {
      uint64_t exact = problem->steps[i].role != ROLE_UNKNOWN;
      keys[count++] = ((uint64_t)due[i] * 2 + exact) << 32 | i;
    }
  }
  qsort(keys, count, sizeof *keys, compare_keys);
  problem->events = region_take(problem->region, (count + 1) * sizeof *problem->events);
  problem->event_count = count;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t index = (uint32_t)keys[i];
    struct step *step = &problem->steps[index];
    uint32_t original = (uint32_t)(keys[i] >> 33);
    bool invoke = original == step->invoked_at;
    problem->events[i] = (struct event){index, invoke ? EVENT_INVOKE : EVENT_DUE, original};
    if (invoke) {
      step->invoke = i;
    } else {
      step->deadline = i;
    }
  }
  free(keys);
}

static void index_makers(struct problem *problem) {
  problem->creator_step = region_take(problem->region, problem->creator_count * sizeof(uint32_t));
  problem->block_step = region_take(problem->region, (problem->block_count + 1) * sizeof(uint32_t));
  memset(problem->creator_step, 0xff, problem->creator_count * sizeof(uint32_t));
  memset(problem->block_step, 0xff, problem->block_count * sizeof(uint32_t));
  for (uint32_t i = 0; i < problem->step_count; i++) {
    const struct step *step = &problem->steps[i];
    if (step->role == ROLE_OBSERVATION) {
      continue;
    }
    if (step->creator != ROOT_CREATOR) {
      problem->creator_step[step->creator] = i;
    }
    if (step->made_block != NONE) {
      problem->block_step[step->made_block] = i;
    }
  }
}

/* An operation of unknown outcome that cannot change anything says nothing. */
static void drop_idle_steps(struct problem *problem) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < problem->step_count; i++) {
    const struct step *step = &problem->steps[i];
    bool unknown = problem->history->operations[step->operation].outcome == OUTCOME_INFO;
    if (unknown && step->role == ROLE_OBSERVATION) {
      problem->dropped++;
    } else {
      problem->steps[kept++] = *step;
    }
  }
  problem->step_count = kept;
}

struct problem *problem_new(const struct history *history, const uint32_t *positions, uint32_t count,
                            const uint8_t *treatments, bool versions) {
  struct problem *problem = xcalloc(1, sizeof *problem);
  problem->history = history;
  problem->versions = versions;
  problem->region = xcalloc(1, sizeof *problem->region);
  path_child_add(problem, NONE, NONE);
  creator_add(problem, 0);
  text_table_add(&problem->values, text_of(""));
  problem->steps = region_take(problem->region, (count + 1) * sizeof *problem->steps);
  for (uint32_t i = 0; i < count; i++) {
    struct operation operation = history->operations[positions[i]];
    if (treatments != NULL && treatments[i] == TREAT_UNKNOWN) {
      operation.outcome = OUTCOME_INFO;
    }
    bool mismatch = operation.outcome == OUTCOME_FAIL && operation.answer.code == ANSWER_VERSION_MISMATCH;
    if ((treatments != NULL && treatments[i] == TREAT_DROP) || !operation_matters(&operation) ||
        (mismatch && !versions)) {
      continue;
    }
    struct step *step = &problem->steps[problem->step_count];
    step->operation = positions[i];
    bool anytime = treatments != NULL && treatments[i] == TREAT_ANYTIME;
    step->invoked_at = anytime ? 0 : operation.invoke_event;
    step->completed_at = anytime ? history->event_count : operation.complete_event;
    compile_step(problem, step, &operation);
    bool adds = operation.arguments.kind == OPERATION_ADD_BLOCK;
    step->made_block = adds ? block_add(problem, operation.op_id) : NONE;
    step->deadline = operation.outcome == OUTCOME_INFO ? NONE : step->completed_at;
    problem->step_count++;
  }
  drop_idle_steps(problem);
  number_paths(problem);
  index_makers(problem);
  uint32_t *due = region_take(problem->region, (problem->step_count + 1) * sizeof *due);
  facts_attribute(problem, due);
  order_events(problem, due);
  footprint_compile(problem);
  facts_compile(problem);
  problem->bytes = problem->region->bytes + problem->path_capacity * sizeof *problem->paths;
  return problem;
}

void problem_free(struct problem *problem) {
  if (problem == NULL) {
    return;
  }
  text_table_free(&problem->names);
  text_table_free(&problem->values);
  key_table_free(&problem->path_table);
  key_table_free(&problem->creator_table);
  key_table_free(&problem->block_table);
  free(problem->paths);
  free(problem->accesses);
  region_free(problem->region);
  free(problem->region);
  free(problem);
}
