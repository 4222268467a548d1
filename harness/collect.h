/* collect.h: what a run has left on the hosts of its nodes (provider ssh). */
#ifndef ASSAY_HARNESS_COLLECT_H
#define ASSAY_HARNESS_COLLECT_H

#include "harness/settings.h"

/* Brings the nodes' directories, data and cores included, to RUN/nodes if `keep`, and removes them there.
 * What cannot be had is logged, and left where it is. */
void collect(const struct settings *settings, const char *run, bool keep);

#endif
