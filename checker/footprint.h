/* footprint.h: what steps depend on and change, and so which of them may be exchanged. */
#ifndef ASSAY_CHECKER_FOOTPRINT_H
#define ASSAY_CHECKER_FOOTPRINT_H

#include "checker/step.h"
#include "checker/tree.h"

/* Fills accesses, masks, classes and set keys of all steps. */
void footprint_compile(struct problem *problem);

/* Whether placing the two in one order or the other may make a difference from the present state on. Two
 * steps without a conflict commute in every state that steps in conflict with neither can lead to. */
bool footprint_conflict(const struct tree *tree, const struct step *x, const struct step *y);

/* Whether the step changes the existence of, or the inode at, or the members of `path`: any write of the
 * given aspects there, existence also from above. `removes`, `makes`: whether that counts for steps that can
 * only do the one or the other. */
struct write_query {
  uint32_t path;
  bool inode;   /* attributes and members of `path` count too */
  bool removes; /* steps that take away what stands at or above the path count */
  bool makes;   /* steps that put something at the path, or move something above it, count */
};
bool footprint_writes(const struct tree *tree, const struct step *step, struct write_query query);

#endif
