/* bugs.h: the named defects of this build, and how `assay bugs` looks for each. */
#ifndef ASSAY_HARNESS_BUGS_H
#define ASSAY_HARNESS_BUGS_H

#include "base/base.h"

/* 0 when this build has a defect of that name. Else ERR_BAD_INPUT: an unknown name, with the known ones, or a
 * build without defects, with the one to use instead. */
int bugs_find(const char *name, struct error *error);

/* Switches it on, for this process and those it forks; bugs_find() knows it. */
void bugs_enable(const char *name);

#endif
