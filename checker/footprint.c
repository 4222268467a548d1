#include "checker/footprint.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "checker/hash.h"

static void add_access(struct problem *problem, uint32_t path, enum aspect aspect, bool write,
                       uint32_t if_missing) {
  if (path == NONE) {
    return;
  }
  if (problem->access_count == problem->access_capacity) {
    problem->access_capacity = problem->access_capacity == 0 ? 256 : 2 * problem->access_capacity;
    problem->accesses = xrealloc(problem->accesses, problem->access_capacity * sizeof *problem->accesses);
  }
  problem->accesses[problem->access_count++] = (struct access){path, if_missing, (uint8_t)aspect, write};
}

static void add_read(struct problem *problem, uint32_t path, enum aspect aspect) {
  add_access(problem, path, aspect, false, NONE);
}

static void add_write(struct problem *problem, uint32_t path, enum aspect aspect) {
  add_access(problem, path, aspect, true, NONE);
}

/* A name that appears or goes: existence, and the members of the directory. */
static void add_name_write(struct problem *problem, uint32_t path) {
  if (path != NONE && path != PATH_ROOT) {
    add_write(problem, path, ASPECT_EXISTENCE);
    add_write(problem, problem->paths[path].parent, ASPECT_MEMBERS);
  }
}

static void add_observation(struct problem *problem, const struct action *action, bool failed) {
  add_read(problem, action->path, ASPECT_EXISTENCE);
  add_read(problem, action->destination, ASPECT_EXISTENCE);
  unsigned seen = action->expected.seen;
  const unsigned of_inode =
      SEEN_VERSION | SEEN_VALUE | SEEN_COMPLETED | SEEN_LENGTH | SEEN_BLOCK_COUNT | SEEN_BLOCKS;
  bool names_only = failed && (action->kind == OPERATION_MKDIR || action->kind == OPERATION_CREATE ||
                               action->kind == OPERATION_RENAME || !operation_is_mutation(action->kind));
  if (names_only) {
    return;
  }
  if (failed || (seen & of_inode)) {
    add_read(problem, action->path, ASPECT_ATTRIBUTES);
  }
  if (failed || (seen & (SEEN_VERSION | SEEN_CHILD_COUNT | SEEN_ENTRIES))) {
    add_read(problem, action->path, ASPECT_MEMBERS);
  }
}

static void add_mutation(struct problem *problem, const struct action *action) {
  uint32_t path = action->path;
  if (action->kind == OPERATION_COMMIT_BLOCK || path == NONE) {
    return; /* dynamic, or never possible */
  }
  add_read(problem, path, ASPECT_EXISTENCE);
  switch (action->kind) {
  case OPERATION_MKDIR:
  case OPERATION_CREATE:
    add_name_write(problem, path);
    if (action->parents && path != PATH_ROOT) {
      for (uint32_t at = problem->paths[path].parent; at != PATH_ROOT; at = problem->paths[at].parent) {
        add_access(problem, at, ASPECT_EXISTENCE, true, at);
        add_access(problem, problem->paths[at].parent, ASPECT_MEMBERS, true, at);
      }
    }
    break;
  case OPERATION_DELETE:
    add_name_write(problem, path);
    if (!action->recursive) {
      add_read(problem, path, ASPECT_MEMBERS);
    }
    break;
  case OPERATION_RENAME:
    add_read(problem, action->destination, ASPECT_EXISTENCE);
    add_name_write(problem, path);
    add_name_write(problem, action->destination);
    break;
  case OPERATION_SET:
    add_read(problem, path, ASPECT_ATTRIBUTES);
    add_write(problem, path, ASPECT_ATTRIBUTES);
    if (action->has_if_version || (action->expects && (action->expected.seen & SEEN_VERSION))) {
      add_read(problem, path, ASPECT_MEMBERS);
    }
    break;
  case OPERATION_COMPLETE:
  case OPERATION_ADD_BLOCK:
    add_read(problem, path, ASPECT_ATTRIBUTES);
    add_write(problem, path, ASPECT_ATTRIBUTES);
    break;
  default:
    break;
  }
}

/* Bits given out so far. */
struct bits {
  struct key_table table;
  uint32_t next;
};

static mask bit_of(struct bits *bits, uint32_t path, enum aspect aspect) {
  uint32_t *place = key_table_place(&bits->table, (uint64_t)path << 2 | aspect);
  if (*place == NONE) {
    *place = bits->next++ % 128;
  }
  return (mask)1 << *place;
}

static void set_masks(struct problem *problem, struct bits *bits, struct step *step) {
  if (step->dynamic) {
    step->read_mask = step->write_mask = step->doom_mask = MASK_ALL;
    return;
  }
  for (uint32_t i = 0; i < step->access_count; i++) {
    const struct access *access = &problem->accesses[step->access_first + i];
    if (access->write) {
      step->write_mask |= bit_of(bits, access->path, (enum aspect)access->aspect);
      step->doom_mask |=
          bit_of(bits, access->path, ASPECT_ATTRIBUTES) | bit_of(bits, access->path, ASPECT_MEMBERS);
    } else if (access->aspect != ASPECT_EXISTENCE) {
      step->read_mask |= bit_of(bits, access->path, (enum aspect)access->aspect);
    } else {
      for (uint32_t at = access->path; at != NONE; at = problem->paths[at].parent) {
        step->read_mask |= bit_of(bits, at, ASPECT_EXISTENCE);
      }
    }
  }
}

static void collect_accesses(struct problem *problem, struct step *step) {
  step->access_first = problem->access_count;
  for (uint32_t i = 0; i < step->action_count; i++) {
    const struct action *action = &step->actions[i];
    if (step->role != ROLE_OBSERVATION) {
      add_mutation(problem, action);
      if (step->batch && action->expects) {
        add_observation(problem, action, false);
      }
    } else if (step->batch) {
      add_observation(problem, action, false);
      add_read(problem, action->path, ASPECT_ATTRIBUTES);
      add_read(problem, action->path, ASPECT_MEMBERS);
    } else if (action->kind != OPERATION_COMMIT_BLOCK) {
      add_observation(problem, action, action->expected.code != ANSWER_OK);
    }
  }
  step->access_count = problem->access_count - step->access_first;
}

/* ---- Classes ---- */

/* Steps of a class have the same effect under the same condition, so that either can stand for the other. A
 * step whose creator somebody saw is like no other; so is a batch. */
static uint32_t class_of(struct problem *problem, struct key_table *classes, const struct step *step) {
  const struct action *action = step->actions;
  bool makes = action->kind == OPERATION_MKDIR || action->kind == OPERATION_CREATE;
  bool unique = step->role == ROLE_OBSERVATION || step->batch || action->kind == OPERATION_ADD_BLOCK ||
                (makes && problem->creator_public[step->creator]);
  unsigned seen = action->expects ? action->expected.seen : 0;
  if (unique || (action->kind == OPERATION_MKDIR && action->exist_ok && action->expects)) {
    return problem->class_count++;
  }
  bool value_matters = action->kind == OPERATION_SET && problem->value_public[action->value];
  uint64_t flags = (uint64_t)action->kind | (uint64_t)action->parents << 8 | (uint64_t)action->exist_ok << 9 |
                   (uint64_t)action->overwrite << 10 | (uint64_t)action->recursive << 11 |
                   (uint64_t)action->has_if_version << 12 | (uint64_t)((seen & SEEN_VERSION) != 0) << 13;
  struct hash hash = hash_pair(flags, (uint64_t)action->path << 32 | action->destination);
  hash = hash_with(hash, value_matters ? action->value + UINT64_C(1) : 0);
  hash = hash_with(hash, action->has_if_version ? action->if_version : 0);
  hash = hash_with(hash, seen & SEEN_VERSION ? action->expected.version : 0);
  hash = hash_with(hash, action->length);
  hash = hash_with(hash, action->block);
  uint32_t *place = key_table_place(classes, hash.a);
  if (*place == NONE) {
    *place = problem->class_count++;
  }
  return *place;
}

void footprint_compile(struct problem *problem) {
  struct key_table classes = {0};
  struct bits bits = {0};
  for (uint32_t i = 0; i < problem->step_count; i++) {
    struct step *step = &problem->steps[i];
    collect_accesses(problem, step);
    set_masks(problem, &bits, step);
    step->class = class_of(problem, &classes, step);
    step->key = hash_pair(i + HASH_B, step->operation + HASH_A);
  }
  key_table_free(&classes);
  key_table_free(&bits.table);
}

/* ---- Asking ---- */

static bool applies(const struct tree *tree, const struct access *access) {
  return access->if_missing == NONE || tree_walk(tree, access->if_missing).node == NONE;
}

static bool access_conflict(const struct problem *problem, const struct tree *tree,
                            const struct access *write, const struct access *other) {
  if (write->aspect == ASPECT_EXISTENCE) {
    if (other->aspect != ASPECT_EXISTENCE || other->write ||
        !path_covers(problem, write->path, other->path)) {
      return false;
    }
  } else if (write->aspect != other->aspect || write->path != other->path ||
             (write->aspect == ASPECT_MEMBERS && other->write)) {
    return false;
  }
  return applies(tree, write) && applies(tree, other);
}

#define DYNAMIC_MAX 64

/* The accesses of a step in this state: those compiled, and for blocks the file they are in now. */
static uint32_t present_accesses(const struct tree *tree, const struct step *step, struct access *room,
                                 bool *everything) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < step->action_count; i++) {
    const struct action *action = &step->actions[i];
    if (action->kind != OPERATION_COMMIT_BLOCK) {
      continue;
    }
    const struct block *block = &tree->blocks[action->block];
    if (!block->exists || !tree_is_attached(tree, block->node)) {
      continue;
    }
    uint32_t path = tree_path(tree, block->node);
    if (path == NONE || count + 2 > DYNAMIC_MAX) {
      *everything = true;
      return 0;
    }
    bool writes = step->role != ROLE_OBSERVATION;
    room[count++] = (struct access){path, NONE, ASPECT_EXISTENCE, false};
    room[count++] = (struct access){path, NONE, ASPECT_ATTRIBUTES, writes};
  }
  return count;
}

static bool lists_conflict(const struct tree *tree, const struct access *x, uint32_t x_count,
                           const struct access *y, uint32_t y_count) {
  for (uint32_t i = 0; i < x_count; i++) {
    for (uint32_t j = 0; j < y_count; j++) {
      if ((x[i].write && access_conflict(tree->problem, tree, &x[i], &y[j])) ||
          (y[j].write && access_conflict(tree->problem, tree, &y[j], &x[i]))) {
        return true;
      }
    }
  }
  return false;
}

/* While a block is not there yet nobody knows its path, but who adds it is known. */
static bool commits_block_of(const struct step *committer, const struct step *adder) {
  for (uint32_t i = 0; i < committer->action_count && committer->dynamic && adder->made_block != NONE; i++) {
    if (committer->actions[i].block == adder->made_block) {
      return true;
    }
  }
  return false;
}

bool footprint_conflict(const struct tree *tree, const struct step *x, const struct step *y) {
  if (!(x->write_mask & (y->read_mask | y->write_mask)) && !(y->write_mask & x->read_mask)) {
    return false;
  }
  if (commits_block_of(x, y) || commits_block_of(y, x)) {
    return true;
  }
  const struct access *accesses = tree->problem->accesses;
  const struct access *fixed_x = accesses + x->access_first, *fixed_y = accesses + y->access_first;
  if (lists_conflict(tree, fixed_x, x->access_count, fixed_y, y->access_count)) {
    return true;
  }
  if (!x->dynamic && !y->dynamic) {
    return false;
  }
  struct access room_x[DYNAMIC_MAX], room_y[DYNAMIC_MAX];
  bool everything = false;
  uint32_t count_x = x->dynamic ? present_accesses(tree, x, room_x, &everything) : 0;
  uint32_t count_y = y->dynamic ? present_accesses(tree, y, room_y, &everything) : 0;
  return everything || lists_conflict(tree, room_x, count_x, fixed_y, y->access_count) ||
         lists_conflict(tree, fixed_x, x->access_count, room_y, count_y) ||
         lists_conflict(tree, room_x, count_x, room_y, count_y);
}

static bool counts_for(const struct step *step, struct write_query query, uint32_t written) {
  if (query.removes == query.makes || step->batch) {
    return true;
  }
  switch (step->actions[0].kind) {
  case OPERATION_MKDIR:
  case OPERATION_CREATE:
    return query.makes && written == query.path; /* what is made above the path does not make the path */
  case OPERATION_DELETE:
    return query.removes;
  default:
    return true;
  }
}

bool footprint_writes(const struct tree *tree, const struct step *step, struct write_query query) {
  const struct problem *problem = tree->problem;
  const struct access *accesses = problem->accesses + step->access_first;
  for (uint32_t i = 0; i < step->access_count; i++) {
    const struct access *access = &accesses[i];
    if (!access->write) {
      continue;
    }
    if (access->aspect == ASPECT_EXISTENCE) {
      if (path_covers(problem, access->path, query.path) && counts_for(step, query, access->path)) {
        return true;
      }
    } else if (query.inode && access->path == query.path) {
      return true;
    }
  }
  if (!query.inode || !step->dynamic) {
    return false;
  }
  struct access room[DYNAMIC_MAX];
  bool everything = false;
  uint32_t count = present_accesses(tree, step, room, &everything);
  for (uint32_t i = 0; i < count; i++) {
    if (room[i].write && room[i].path == query.path) {
      return true;
    }
  }
  return everything;
}
