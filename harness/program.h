/* program.h: another program of the system, run to its end: no shell, no input, its time limited. */
#ifndef ASSAY_HARNESS_PROGRAM_H
#define ASSAY_HARNESS_PROGRAM_H

#include "base/base.h"

/* Runs argv[0], found along PATH, with standard output to `output` and standard error to `errors` (both stay
 * open here), in the directory `where` (NULL: ours). After `patience_ns` it is killed: ERR_TIMEOUT.
 * ERR_NOT_FOUND when there is no such program. Else *wait_status is its end, as wait() tells. */
int program_run(char *const *argv, const char *where, int output, int errors, int64_t patience_ns,
                int *wait_status, struct error *error);

#endif
