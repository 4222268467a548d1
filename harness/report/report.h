/* report.h: a run as one web page that needs nothing but itself. */
#ifndef ASSAY_HARNESS_REPORT_H
#define ASSAY_HARNESS_REPORT_H

#include "histories/histories.h"

/* Writes RUN/report.html from what the run's directory holds. `history` may be NULL: then RUN/history.jsonl
 * is read; a run without one gets a page without its charts. */
int report_write(const char *run, const struct history *history, struct error *error);

#endif
