/* model.h: the sequential specification (docs/specification.md) on the tree, in the form the search needs:
 * may this step be placed here, and if not, what stands in its way? */
#ifndef ASSAY_CHECKER_MODEL_H
#define ASSAY_CHECKER_MODEL_H

#include "checker/step.h"
#include "checker/tree.h"

enum fit {
  FIT_NO,
  FIT_QUIET,  /* the answer fits and nothing changes */
  FIT_CHANGE, /* the answer fits and the state changes */
};

/* Why a step does not fit: a condition that is false now and must become true before the step can be placed.
 * Only the steps named here can make it true. */
enum guard_kind {
  GUARD_NEVER,     /* nothing can */
  GUARD_PLACED,    /* step `step` must be placed first */
  GUARD_PRESENT,   /* `path` must come into being: whatever makes it or moves something to it */
  GUARD_ABSENT,    /* `path` must cease to resolve: removals at or above it */
  GUARD_PLACE,     /* another inode must stand at `path`: any change of existence at or above it */
  GUARD_INODE,     /* the inode at `path` must change, or another one stand there */
  GUARD_FOOTPRINT, /* anything the step depends on */
};

struct guard {
  enum guard_kind kind;
  uint32_t path, step;
};

/* Looks only. A batch is tried on the tree and taken back. `placed` tells by step what is placed already.
 * `guard` is filled for FIT_NO. */
enum fit model_try(struct tree *tree, const struct step *step, const bool *placed, struct guard *guard);

/* Places a step for which model_try() answered FIT_CHANGE. */
void model_apply(struct tree *tree, const struct step *step, const bool *placed);

/* Whether an answer about the inode itself, wherever it stands, is what `node` shows now. */
bool model_node_fits(const struct tree *tree, uint32_t node, const struct action *action);

/* True when a fitting step that changes nothing now can never change anything later either. */
bool model_stays_quiet(const struct step *step);

#endif
