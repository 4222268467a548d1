/* minimise.h: from a history that is not linearizable to the few operations that show it.
 *
 * Two things only ever weaken a history: leaving out an operation that changed nothing, and taking away the
 * answer of a mutation, so that it may have happened at any later time or never. So if what is left after
 * weakening is still not linearizable, neither was the history.
 *
 *   definite       answers that are kept: the counterexample in the making
 *   weakened       all other mutations, as unknown ones: they may help to explain the definite answers
 *
 * The definite ones are made as few as can be. Then the unknown ones are left out of the counterexample: they
 * could only have helped, and did not. So it says: these answers contradict each other whichever of all the
 * other mutations took effect. */
#ifndef ASSAY_CHECKER_MINIMISE_H
#define ASSAY_CHECKER_MINIMISE_H

#include "checker/checker.h"
#include "checker/search.h"

struct failure {
  const struct history *history;
  const uint32_t *positions; /* of a component that is not linearizable */
  uint32_t count;
  uint32_t event; /* of the history: how far the search came */
};

/* Fills the result's counterexample and explanation. Unless options->minimise: the component as it stands. */
void minimise(const struct failure *failure, const struct check_options *options,
              struct check_result *result);

#endif
