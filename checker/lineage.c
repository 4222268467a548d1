#include "checker/lineage.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "checker/model.h"
#include "checker/tree.h"

struct tie {
  uint32_t step, inode;
};

struct tracer {
  struct tree tree;
  struct tie *ties;
  uint32_t count, capacity;
};

/* The inode and all above it, but for the root, to which everything belongs. */
static void tie(struct tracer *tracer, uint32_t step, uint32_t node) {
  for (; node != NONE && node != TREE_ROOT; node = tracer->tree.nodes[node].parent) {
    if (tracer->count == tracer->capacity) {
      tracer->capacity = tracer->capacity == 0 ? 256 : 2 * tracer->capacity;
      tracer->ties = xrealloc(tracer->ties, tracer->capacity * sizeof *tracer->ties);
    }
    tracer->ties[tracer->count++] = (struct tie){step, node};
  }
}

/* What stands at the path, or as much of the way to it as there is. */
static void tie_path(struct tracer *tracer, uint32_t step, uint32_t path) {
  while (path != NONE) {
    const struct walk walk = tree_walk(&tracer->tree, path);
    if (walk.node != NONE) {
      tie(tracer, step, walk.node);
      return;
    }
    path = tracer->tree.problem->paths[path].parent;
  }
}

static bool makes(const struct action *action) {
  return action->kind == OPERATION_CREATE || action->kind == OPERATION_MKDIR;
}

static void tie_before(struct tracer *tracer, uint32_t index, const struct step *step) {
  for (uint32_t i = 0; i < step->action_count; i++) {
    const struct action *action = &step->actions[i];
    if (action->kind == OPERATION_COMMIT_BLOCK) {
      const struct block *block = action->block == NONE ? NULL : &tracer->tree.blocks[action->block];
      tie(tracer, index, block != NULL && block->exists ? block->node : NONE);
    } else if (!makes(action)) {
      tie_path(tracer, index, action->path);
    }
  }
}

/* What a create overwrote is not among what it leaves behind. */
static void tie_after(struct tracer *tracer, uint32_t index, const struct step *step) {
  for (uint32_t i = 0; i < step->action_count; i++) {
    const struct action *action = &step->actions[i];
    if (makes(action)) {
      tie_path(tracer, index, action->path);
    } else if (action->kind == OPERATION_RENAME) {
      tie_path(tracer, index, action->destination);
    }
  }
}

static void replay(struct tracer *tracer, const struct problem *problem, const struct search_result *found) {
  bool *placed = xcalloc(problem->step_count + (size_t)1, sizeof *placed);
  for (uint32_t i = 0; i < found->order_count; i++) {
    const uint32_t index = found->order[i];
    const struct step *step = &problem->steps[index];
    struct guard guard;
    tie_before(tracer, index, step);
    const enum fit fit = model_try(&tracer->tree, step, placed, &guard);
    assert(fit != FIT_NO);
    placed[index] = true;
    if (fit == FIT_CHANGE) {
      model_apply(&tracer->tree, step, placed);
    }
    tie_after(tracer, index, step);
  }
  free(placed);
}

static int compare_ties(const void *x, const void *y) {
  const struct tie *a = x, *b = y;
  return a->step != b->step ? (a->step < b->step ? -1 : 1) : (a->inode > b->inode) - (a->inode < b->inode);
}

void lineage_trace(struct lineage *lineage, const struct problem *problem, const struct search_result *found,
                   const uint32_t *positions, uint32_t count) {
  assert(found->end == SEARCH_LINEARIZABLE);
  struct tracer tracer = {0};
  tree_init(&tracer.tree, problem);
  replay(&tracer, problem, found);
  if (tracer.count > 0) {
    qsort(tracer.ties, tracer.count, sizeof *tracer.ties, compare_ties);
  }
  *lineage = (struct lineage){.inode_count = tracer.tree.node_count};
  lineage->first = xcalloc(count + (size_t)1, sizeof *lineage->first);
  lineage->inodes = xmalloc((tracer.count + (size_t)1) * sizeof *lineage->inodes);
  uint32_t at = 0, kept = 0;
  for (uint32_t i = 0; i < count; i++) { /* steps are in the order of their operations */
    lineage->first[i] = kept;
    while (at < tracer.count && problem->steps[tracer.ties[at].step].operation <= positions[i]) {
      if (at == 0 || compare_ties(&tracer.ties[at - 1], &tracer.ties[at]) != 0) {
        lineage->inodes[kept++] = tracer.ties[at].inode;
      }
      at++;
    }
  }
  lineage->first[count] = kept;
  tree_free(&tracer.tree);
  free(tracer.ties);
}

void lineage_free(struct lineage *lineage) {
  free(lineage->first);
  free(lineage->inodes);
}

bool lineage_belongs(const struct lineage *lineage, uint32_t i, const bool *chosen) {
  for (uint32_t j = lineage->first[i]; j < lineage->first[i + 1]; j++) {
    if (chosen[lineage->inodes[j]]) {
      return true;
    }
  }
  return false;
}
