/* observe.h: what the operating system tells of this process and of its disk. */
#ifndef ASSAY_MASTER_OBSERVE_H
#define ASSAY_MASTER_OBSERVE_H

#include "master/http/observation.h"

/* Fills in the members of the process, but for descriptors_short, and those of the file system that
 * `directory` is in. What the system does not tell stays 0. */
void observe_process(struct observation *observation, const char *directory);

#endif
