/* minimise.h: from a history that is not linearizable to the few operations that show it. */
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

/* Fills the result's counterexample and explanation. Not `thorough`: the component as it stands. */
void minimise(const struct failure *failure, bool thorough, struct budget *budget,
              struct check_result *result);

#endif
