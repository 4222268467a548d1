#include "checker/model.h"

#include <assert.h>
#include <string.h>

#include "checker/facts.h"

/* What an action would do in the present state; nothing is changed yet. */
struct effect {
  enum answer_code code;
  uint32_t node;      /* what it is about: the inode resolved, or standing in the way */
  uint32_t parent;    /* directory that gets or loses the name */
  uint32_t missing;   /* mkdir, create with parents: the first path that has to be made */
  uint32_t creator;   /* of the directory or file now there */
  uint64_t version;   /* set, complete: afterwards; version-mismatch: now */
  struct guard guard; /* what the error is about: for steps that expect something else */
  bool changes;
};

static struct guard guard_at(enum guard_kind kind, uint32_t path) {
  return (struct guard){kind, path, NONE};
}

static void fail(struct effect *effect, enum answer_code code, enum guard_kind kind, uint32_t path) {
  effect->code = code;
  effect->guard = guard_at(kind, path);
}

/* A path that does not resolve: not-found, or not-directory for a file in the way. */
static void fail_walk(struct effect *effect, struct walk walk) {
  fail(effect, walk.blocked ? ANSWER_NOT_DIRECTORY : ANSWER_NOT_FOUND,
       walk.blocked ? GUARD_PLACE : GUARD_PRESENT, walk.stop);
}

/* Resolves the action's path to a node, or fails. */
static bool resolve(const struct tree *tree, uint32_t path, struct effect *effect) {
  if (path == NONE) {
    fail(effect, ANSWER_INVALID, GUARD_NEVER, NONE);
    return false;
  }
  struct walk walk = tree_walk(tree, path);
  effect->node = walk.node;
  if (walk.node == NONE) {
    fail_walk(effect, walk);
  }
  return walk.node != NONE;
}

static void plan_make(const struct tree *tree, const struct step *step, const struct action *action,
                      struct effect *effect) {
  bool directory = action->kind == OPERATION_MKDIR;
  if (action->path == NONE) {
    fail(effect, ANSWER_INVALID, GUARD_NEVER, NONE);
    return;
  }
  struct walk walk = tree_walk(tree, action->path);
  effect->node = walk.node;
  if (walk.node != NONE) {
    const struct node *there = &tree->nodes[walk.node];
    effect->creator = there->creator;
    if (there->kind == INODE_DIRECTORY) {
      if (!directory) {
        fail(effect, ANSWER_IS_DIRECTORY, GUARD_PLACE, action->path);
      } else if (!action->exist_ok) {
        fail(effect, ANSWER_EXISTS, GUARD_ABSENT, action->path);
      }
      return;
    }
    if (directory || !action->overwrite) {
      fail(effect, ANSWER_EXISTS, GUARD_PLACE, action->path);
      return;
    }
    effect->parent = there->parent;
  } else if (walk.blocked || (walk.stop != action->path && !action->parents)) {
    fail_walk(effect, walk);
    return;
  }
  effect->missing = walk.stop;
  effect->creator = step->creator;
  effect->changes = true;
}

static void plan_file(const struct tree *tree, const struct action *action, struct effect *effect) {
  if (!resolve(tree, action->path, effect)) {
    return;
  }
  const struct node *node = &tree->nodes[effect->node];
  const struct inode *inode = &node->inode;
  effect->version = inode->version + 1;
  if (node->kind == INODE_DIRECTORY) {
    fail(effect, ANSWER_IS_DIRECTORY, GUARD_PLACE, action->path);
  } else if (action->kind == OPERATION_BLOCKS) {
    return;
  } else if (inode->completed) {
    fail(effect, ANSWER_ALREADY_COMPLETED, GUARD_PLACE, action->path);
  } else if (action->kind == OPERATION_COMPLETE && inode->open_blocks > 0) {
    fail(effect, ANSWER_BLOCK_UNCOMMITTED, GUARD_INODE, action->path);
  } else if (action->kind == OPERATION_COMPLETE && inode->block_count > 0 &&
             inode->block_length != action->length) {
    fail(effect, ANSWER_INVALID, GUARD_INODE, action->path);
  } else {
    effect->changes = true;
  }
}

static void plan_delete(const struct tree *tree, const struct action *action, struct effect *effect) {
  if (action->path == PATH_ROOT) {
    fail(effect, ANSWER_INVALID, GUARD_NEVER, NONE);
  } else if (resolve(tree, action->path, effect)) {
    if (tree->nodes[effect->node].inode.child_count > 0 && !action->recursive) {
      fail(effect, ANSWER_NOT_EMPTY, GUARD_INODE, action->path);
    }
    effect->changes = effect->code == ANSWER_OK;
  }
}

static void plan_rename(const struct tree *tree, const struct action *action, struct effect *effect) {
  const struct problem *problem = tree->problem;
  uint32_t source = action->path, destination = action->destination;
  if (source == NONE || destination == NONE) {
    fail(effect, ANSWER_INVALID, GUARD_NEVER, NONE);
    return;
  }
  if (!resolve(tree, source, effect) || source == destination) {
    return;
  }
  if (source == PATH_ROOT || destination == PATH_ROOT) {
    fail(effect, source == PATH_ROOT ? ANSWER_INVALID : ANSWER_EXISTS, GUARD_FOOTPRINT, NONE);
    return;
  }
  if (path_covers(problem, source, destination)) {
    fail(effect, ANSWER_INVALID, GUARD_FOOTPRINT, NONE);
    return;
  }
  struct walk walk = tree_walk(tree, problem->paths[destination].parent);
  if (walk.node != NONE && tree->nodes[walk.node].kind == INODE_FILE) {
    walk = (struct walk){NONE, problem->paths[destination].parent, true};
  }
  if (walk.node == NONE) {
    fail_walk(effect, walk);
  } else if (tree_child(tree, walk.node, problem->paths[destination].name) != NONE) {
    fail(effect, ANSWER_EXISTS, GUARD_ABSENT, destination);
  } else {
    effect->parent = walk.node;
    effect->changes = true;
  }
}

static void plan_commit_block(const struct tree *tree, const struct action *action, struct effect *effect) {
  const struct block *block = &tree->blocks[action->block];
  uint32_t maker = tree->problem->block_step[action->block];
  if (!block->exists || !tree_is_attached(tree, block->node)) {
    fail(effect, ANSWER_NOT_FOUND, maker == NONE || block->exists ? GUARD_NEVER : GUARD_PLACED, NONE);
    effect->guard.step = maker;
  } else if (block->committed && block->length != action->length) {
    fail(effect, ANSWER_INVALID, GUARD_NEVER, NONE);
  } else {
    effect->changes = !block->committed;
  }
}

static struct effect plan(const struct tree *tree, const struct step *step, const struct action *action) {
  struct effect effect = {.code = ANSWER_OK, .node = NONE, .parent = NONE, .missing = NONE, .creator = NONE};
  switch (action->kind) {
  case OPERATION_MKDIR:
  case OPERATION_CREATE:
    plan_make(tree, step, action, &effect);
    break;
  case OPERATION_DELETE:
    plan_delete(tree, action, &effect);
    break;
  case OPERATION_RENAME:
    plan_rename(tree, action, &effect);
    break;
  case OPERATION_SET:
    if (resolve(tree, action->path, &effect)) {
      uint64_t version = tree->nodes[effect.node].inode.version;
      effect.changes = !action->has_if_version || action->if_version == version;
      effect.version = effect.changes ? version + 1 : version;
      if (!effect.changes) {
        fail(&effect, ANSWER_VERSION_MISMATCH, GUARD_INODE, action->path);
      }
    }
    break;
  case OPERATION_COMPLETE:
  case OPERATION_ADD_BLOCK:
  case OPERATION_BLOCKS:
    plan_file(tree, action, &effect);
    break;
  case OPERATION_COMMIT_BLOCK:
    plan_commit_block(tree, action, &effect);
    break;
  case OPERATION_STAT:
    resolve(tree, action->path, &effect);
    break;
  case OPERATION_LIST:
    if (resolve(tree, action->path, &effect) && tree->nodes[effect.node].kind == INODE_FILE) {
      fail(&effect, ANSWER_NOT_DIRECTORY, GUARD_PLACE, action->path);
    }
    break;
  case OPERATION_EXISTS:
    if (action->path == NONE) {
      fail(&effect, ANSWER_INVALID, GUARD_NEVER, NONE);
    } else {
      struct walk walk = tree_walk(tree, action->path);
      effect.node = walk.node;
      effect.guard = guard_at(walk.blocked ? GUARD_PLACE : GUARD_PRESENT, walk.stop);
    }
    break;
  case OPERATION_BATCH:
  case OPERATION_KINDS:
    assert(false);
  }
  return effect;
}

/* ---- Placing ---- */

static void touch(struct tree *tree, uint32_t node) {
  tree_touch(tree, node);
}

static void do_make(struct tree *tree, const struct step *step, const struct action *action,
                    const struct effect *effect) {
  const struct path *paths = tree->problem->paths;
  enum inode_kind kind = action->kind == OPERATION_MKDIR ? INODE_DIRECTORY : INODE_FILE;
  uint32_t depth = paths[action->path].depth;
  uint32_t first = action->path, parent = effect->parent;
  if (effect->node != NONE) { /* create over a file */
    tree_remove(tree, effect->node);
  } else {
    first = effect->missing;
    parent = tree_walk(tree, paths[first].parent).node;
  }
  for (uint32_t made = paths[first].depth; made <= depth; made++) {
    uint32_t at = action->path;
    for (uint32_t up = depth; up > made; up--) {
      at = paths[at].parent;
    }
    uint32_t life = step->life == NONE ? NONE : step->life + (action->parents ? made - 1 : 0);
    uint32_t node = tree_new_node(tree, at == action->path ? kind : INODE_DIRECTORY, step->creator, life);
    touch(tree, parent);
    tree_attach(tree, node, parent, paths[at].name);
    parent = node;
  }
}

static void do_delete(struct tree *tree, const struct effect *effect) {
  uint32_t parent = tree->nodes[effect->node].parent;
  touch(tree, parent);
  tree_remove(tree, effect->node);
}

static void do_rename(struct tree *tree, const struct action *action, const struct effect *effect) {
  uint32_t from = tree->nodes[effect->node].parent;
  touch(tree, from);
  if (from != effect->parent) {
    touch(tree, effect->parent);
  }
  tree_detach(tree, effect->node);
  tree_attach(tree, effect->node, effect->parent, tree->problem->paths[action->destination].name);
}

static void perform(struct tree *tree, const struct step *step, const struct action *action,
                    const struct effect *effect) {
  switch (action->kind) {
  case OPERATION_MKDIR:
  case OPERATION_CREATE:
    do_make(tree, step, action, effect);
    return;
  case OPERATION_DELETE:
    do_delete(tree, effect);
    return;
  case OPERATION_RENAME:
    do_rename(tree, action, effect);
    return;
  case OPERATION_SET:
    tree_touch(tree, effect->node)->value = action->value;
    tree_changed(tree, effect->node);
    return;
  case OPERATION_COMPLETE: {
    struct inode *inode = tree_touch(tree, effect->node);
    inode->completed = true;
    inode->length = action->length;
    tree_changed(tree, effect->node);
    return;
  }
  case OPERATION_ADD_BLOCK:
    tree_add_block(tree, effect->node, step->made_block);
    return;
  case OPERATION_COMMIT_BLOCK:
    tree_commit_block(tree, action->block, action->length);
    return;
  default:
    assert(false);
  }
}

/* ---- Comparing with what was answered ---- */

static bool same_entries(const struct tree *tree, const struct node *node,
                         const struct expectation *expected) {
  if (node->inode.child_count != expected->entry_count ||
      (expected->entries_complete && node->entries_hash != expected->entries_hash)) {
    return false;
  }
  uint32_t index = (uint32_t)(node - tree->nodes);
  for (uint32_t i = 0; i < expected->entry_count; i++) {
    const struct entry *entry = &expected->entries[i];
    uint32_t child = tree_child(tree, index, entry->name);
    if (child == NONE || (entry->has_kind && tree->nodes[child].kind != (enum inode_kind)entry->kind) ||
        (entry->has_creator && tree->nodes[child].creator != entry->creator)) {
      return false;
    }
  }
  return true;
}

static bool same_blocks(const struct tree *tree, const struct node *node,
                        const struct expectation *expected) {
  if (node->inode.block_count != expected->block_entry_count) {
    return false;
  }
  uint32_t at = node->inode.first_block;
  for (uint32_t i = 0; i < expected->block_entry_count; i++, at = tree->blocks[at].next) {
    const struct block *block = &tree->blocks[at];
    if (at != expected->block_ids[i] || block->committed != expected->blocks[i].committed ||
        (block->committed && block->length != expected->blocks[i].length)) {
      return false;
    }
  }
  return true;
}

bool model_node_fits(const struct tree *tree, uint32_t index, const struct action *action) {
  const struct node *node = &tree->nodes[index];
  const struct expectation *expected = &action->expected;
  unsigned seen = expected->seen;
  bool directory = node->kind == INODE_DIRECTORY;
  return (!(seen & SEEN_KIND) || expected->kind == node->kind) &&
         (!(seen & SEEN_CREATOR) || expected->creator == node->creator) &&
         (!(seen & SEEN_VERSION) || expected->version == node->inode.version) &&
         (!(seen & SEEN_VALUE) || expected->value == node->inode.value) &&
         (!(seen & SEEN_COMPLETED) || expected->completed == node->inode.completed) &&
         (!(seen & SEEN_LENGTH) || expected->length == node->inode.length) &&
         (!(seen & SEEN_BLOCK_COUNT) || expected->block_count == node->inode.block_count) &&
         (!(seen & SEEN_CHILD_COUNT) || expected->child_count == node->inode.child_count) &&
         (!(seen & SEEN_ENTRIES) || (directory && same_entries(tree, node, expected))) &&
         (!(seen & SEEN_BLOCKS) || (!directory && same_blocks(tree, node, expected)));
}

/* An answer names a creator that does not stand at the path. */
static struct guard guard_creator(const struct tree *tree, const bool *placed, uint32_t creator,
                                  uint32_t path) {
  (void)tree;
  uint32_t maker = tree->problem->creator_step[creator];
  if (maker != NONE && !placed[maker]) {
    return (struct guard){GUARD_PLACED, path, maker};
  }
  return guard_at(GUARD_PLACE, path);
}

static struct guard guard_entries(const struct tree *tree, const bool *placed, const struct node *node,
                                  const struct action *action) {
  const struct expectation *expected = &action->expected;
  uint32_t index = (uint32_t)(node - tree->nodes);
  for (uint32_t i = 0; i < expected->entry_count; i++) {
    const struct entry *entry = &expected->entries[i];
    uint32_t child = tree_child(tree, index, entry->name);
    if (child == NONE || (entry->has_creator && tree->nodes[child].creator != entry->creator)) {
      if (entry->has_creator) {
        uint32_t maker = tree->problem->creator_step[entry->creator];
        if (maker != NONE && !placed[maker]) {
          return (struct guard){GUARD_PLACED, NONE, maker};
        }
      }
      return guard_at(child == NONE ? GUARD_PRESENT : GUARD_PLACE, entry->path);
    }
  }
  if (node->inode.child_count > expected->entry_count) {
    for (uint32_t child = node->first_child; child != NONE; child = tree->nodes[child].next_sibling) {
      uint32_t path = path_child(tree->problem, action->path, tree->nodes[child].name);
      bool listed = false;
      for (uint32_t i = 0; i < expected->entry_count && !listed; i++) {
        listed = expected->entries[i].name == tree->nodes[child].name;
      }
      if (!listed) {
        return path == NONE ? guard_at(GUARD_INODE, action->path) : guard_at(GUARD_ABSENT, path);
      }
    }
  }
  return guard_at(GUARD_INODE, action->path);
}

/* Why stat, list or blocks of an inode that stands there shows something else. */
static struct guard guard_node(const struct tree *tree, const bool *placed, uint32_t index,
                               const struct action *action) {
  const struct node *node = &tree->nodes[index];
  const struct expectation *expected = &action->expected;
  if ((expected->seen & SEEN_CREATOR) && expected->creator != node->creator) {
    return guard_creator(tree, placed, expected->creator, action->path);
  }
  if (((expected->seen & SEEN_VERSION) && expected->version < node->inode.version) ||
      ((expected->seen & SEEN_KIND) && expected->kind != node->kind)) {
    return guard_at(GUARD_PLACE, action->path);
  }
  if ((expected->seen & SEEN_ENTRIES) && !same_entries(tree, node, expected)) {
    return guard_entries(tree, placed, node, action);
  }
  return guard_at(GUARD_INODE, action->path);
}

/* The step expects an answer and gets another code. */
static struct guard guard_code(const struct action *action, const struct effect *effect) {
  if (action->path == NONE && action->kind != OPERATION_COMMIT_BLOCK) {
    return guard_at(GUARD_NEVER, NONE); /* an invalid path stays one */
  }
  if (action->kind == OPERATION_COMMIT_BLOCK && effect->code == ANSWER_NOT_FOUND) {
    return effect->guard;
  }
  switch (action->expected.code) {
  case ANSWER_OK:
    return effect->guard;
  case ANSWER_NOT_FOUND:
    if (action->kind == OPERATION_RENAME || action->kind == OPERATION_COMMIT_BLOCK) {
      return guard_at(GUARD_FOOTPRINT, NONE); /* either of two paths may be what is not found */
    }
    return effect->code == ANSWER_NOT_DIRECTORY ? effect->guard : guard_at(GUARD_ABSENT, action->path);
  case ANSWER_EXISTS:
    if (action->kind != OPERATION_MKDIR && action->kind != OPERATION_CREATE &&
        action->kind != OPERATION_RENAME) {
      return guard_at(GUARD_NEVER, NONE);
    }
    if (action->kind == OPERATION_RENAME) {
      return effect->code == ANSWER_OK ? guard_at(GUARD_PRESENT, action->destination) : effect->guard;
    }
    return effect->code == ANSWER_OK && effect->missing != NONE ? guard_at(GUARD_PRESENT, effect->missing)
           : effect->code == ANSWER_OK                          ? guard_at(GUARD_PLACE, action->path)
                                                                : effect->guard;
  default:
    return guard_at(GUARD_FOOTPRINT, NONE);
  }
}

static bool action_fits(const struct tree *tree, const struct step *step, const bool *placed,
                        const struct action *action, const struct effect *effect, struct guard *guard) {
  const struct expectation *expected = &action->expected;
  if (!action->expects) {
    *guard = effect->guard;
    return effect->code == ANSWER_OK;
  }
  if (expected->impossible) {
    *guard = guard_at(GUARD_NEVER, NONE);
    return false;
  }
  if (expected->code != effect->code) {
    *guard = guard_code(action, effect);
    return false;
  }
  switch (action->kind) {
  case OPERATION_MKDIR:
  case OPERATION_CREATE:
    *guard = guard_at(GUARD_PLACE, action->path);
    return expected->code != ANSWER_OK || !(expected->seen & SEEN_CREATOR) ||
           expected->creator == effect->creator;
  case OPERATION_SET:
  case OPERATION_COMPLETE:
    *guard = guard_at((expected->seen & SEEN_VERSION) && expected->version < effect->version ? GUARD_PLACE
                                                                                             : GUARD_INODE,
                      action->path);
    return !(expected->seen & SEEN_VERSION) || expected->version == effect->version ||
           (expected->code != ANSWER_OK && expected->code != ANSWER_VERSION_MISMATCH);
  case OPERATION_ADD_BLOCK:
    *guard = guard_at(GUARD_NEVER, NONE);
    return !(expected->seen & SEEN_BLOCK) || expected->block == step->made_block;
  case OPERATION_EXISTS:
    if (expected->code != ANSWER_OK || !(expected->seen & SEEN_EXISTS) ||
        expected->exists == (effect->node != NONE)) {
      return true;
    }
    *guard = expected->exists ? effect->guard : guard_at(GUARD_ABSENT, action->path);
    return false;
  case OPERATION_STAT:
  case OPERATION_LIST:
  case OPERATION_BLOCKS:
    if (expected->code != ANSWER_OK || model_node_fits(tree, effect->node, action)) {
      return true;
    }
    *guard = guard_node(tree, placed, effect->node, action);
    return false;
  default:
    return true;
  }
}

/* ---- Batches: done on the tree and taken back ---- */

static enum fit run_batch(struct tree *tree, const struct step *step, const bool *placed, struct guard *guard,
                          bool keep) {
  uint32_t mark = tree_mark(tree);
  const struct expectation *whole = &step->actions[step->action_count].expected;
  bool observed = step->actions[step->action_count].expects;
  bool fits = !observed || (whole->code == ANSWER_OK && !whole->impossible), changes = false;
  bool failed = false;
  *guard = guard_at(GUARD_FOOTPRINT, NONE);
  for (uint32_t i = 0; i < step->action_count && !failed; i++) {
    const struct action *action = &step->actions[i];
    struct effect effect = plan(tree, step, action);
    failed = effect.code != ANSWER_OK;
    struct guard item_guard;
    if (failed) {
      fits = observed && whole->code == effect.code && (!(whole->seen & SEEN_AT) || whole->at == i) &&
             (effect.code != ANSWER_VERSION_MISMATCH || !(whole->seen & SEEN_VERSION) ||
              whole->version == effect.version);
    } else {
      fits = fits && action_fits(tree, step, placed, action, &effect, &item_guard);
      if (effect.changes) {
        perform(tree, step, action, &effect);
        changes = true;
      }
    }
  }
  if (!keep || failed || !fits) {
    tree_undo(tree, mark);
  }
  return !fits ? FIT_NO : failed || !changes ? FIT_QUIET : FIT_CHANGE;
}

enum fit model_try(struct tree *tree, const struct step *step, const bool *placed, struct guard *guard) {
  if (step->batch) {
    return run_batch(tree, step, placed, guard, false);
  }
  struct effect effect = plan(tree, step, step->actions);
  if (!action_fits(tree, step, placed, step->actions, &effect, guard)) {
    return FIT_NO;
  }
  return effect.changes && effect.code == ANSWER_OK ? FIT_CHANGE : FIT_QUIET;
}

void model_apply(struct tree *tree, const struct step *step, const bool *placed) {
  tree_begin_step(tree);
  if (step->batch) {
    struct guard guard;
    enum fit fit = run_batch(tree, step, placed, &guard, true);
    assert(fit == FIT_CHANGE);
    return;
  }
  struct effect effect = plan(tree, step, step->actions);
  assert(effect.code == ANSWER_OK && effect.changes);
  perform(tree, step, step->actions, &effect);
}

bool model_stays_quiet(const struct step *step) {
  return step->role == ROLE_OBSERVATION || (!step->batch && step->actions[0].kind == OPERATION_COMMIT_BLOCK);
}
