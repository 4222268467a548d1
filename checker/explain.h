/* explain.h: a search that ended in no, in words. */
#ifndef ASSAY_CHECKER_EXPLAIN_H
#define ASSAY_CHECKER_EXPLAIN_H

#include "checker/search.h"

/* Names operations by the index of their invocation. `unknown` tells how many mutations of unknown outcome
 * could not help. To be freed. */
char *explain(const struct problem *problem, const struct search_result *result, size_t unknown);

#endif
