/* counterexample.h: a counterexample as a picture: a row a process, a bar from invocation to completion. */
#ifndef ASSAY_HARNESS_REPORT_COUNTEREXAMPLE_H
#define ASSAY_HARNESS_REPORT_COUNTEREXAMPLE_H

#include "histories/histories.h"

/* Distances are of order, not of time: what matters is which completion comes before which invocation. The
 * numbers are those of the list that follows the picture, and of `assay check`. */
void counterexample_append(struct bytes *page, const struct history *history);

#endif
