/* lineage.h: which inodes each operation had to do with, in one order that explains them all.
 *
 * An operation belongs to the inode it speaks of or leaves behind, and to the directories above it at that
 * moment; rename to both parents. Without an inode, and all operations that belong to it, what is left can
 * often still be explained: so inodes are what a minimiser drops first. */
#ifndef ASSAY_CHECKER_LINEAGE_H
#define ASSAY_CHECKER_LINEAGE_H

#include "checker/search.h"
#include "checker/step.h"

struct lineage {
  uint32_t inode_count; /* numbered in the order in which they came into being */
  uint32_t *first;      /* by operation, one more than there are */
  uint32_t *inodes;     /* operation i: inodes[first[i] … first[i + 1] - 1] */
};

/* `found` linearizes `problem`, which was compiled from some of the `count` operations at `positions`
 * (ascending). Operations that were not placed belong to no inode. */
void lineage_trace(struct lineage *lineage, const struct problem *problem, const struct search_result *found,
                   const uint32_t *positions, uint32_t count);
void lineage_free(struct lineage *lineage);

/* Whether operation i belongs to one of the inodes in `chosen`. */
bool lineage_belongs(const struct lineage *lineage, uint32_t i, const bool *chosen);

#endif
