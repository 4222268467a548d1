/* summary.h: a run's result, for people. */
#ifndef ASSAY_HARNESS_SUMMARY_H
#define ASSAY_HARNESS_SUMMARY_H

#include <jansson.h>
#include <stdio.h>

/* The verdict sentence, what disproves (if anything does), tables of operations and faults, where the run is
 * and how to repeat it. All of it comes from result.json. */
void summary_print(FILE *out, const json_t *result);

#endif
