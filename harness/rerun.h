/* rerun.h: `assay run` as a child, for whoever runs it again and again. */
#ifndef ASSAY_HARNESS_RERUN_H
#define ASSAY_HARNESS_RERUN_H

#include <jansson.h>

#include "base/base.h"

/* Runs the program of ours with these words ("assay", "run", …; NULL-terminated, --json among them), which
 * prints nothing here. Asked to end, and then made to, when it takes longer than `patience_ns`. Its result;
 * the caller json_decref()s. NULL and an error when there is none. */
json_t *rerun(char *const *words, int64_t patience_ns, struct error *error);

#endif
