/* diagnose.h: what is kept of a run that did not end well, beside what its processes said themselves:
 *
 *   nodes/<name>/core…   cores of masters that crashed; CORE_BYTES_MAX each (nemesis/node.h)
 *   logs/stacks-….txt    where processes were that hung (harness/stacks.h)
 *   kernel.log           what the kernel said while the run went on
 *   diagnostics.txt      what there is of these, how to look at it, and why the rest is missing
 *
 * None of it is a finding: a verdict rests on histories and on liveness alone. */
#ifndef ASSAY_HARNESS_DIAGNOSE_H
#define ASSAY_HARNESS_DIAGNOSE_H

#include "base/base.h"

struct diagnosis {
  const char *program;  /* the master, for whoever opens a core */
  int kernel;           /* messages that come from now on; -1: cannot be read */
  struct error refused; /* why */
};

/* Before the run. */
void diagnose_begin(struct diagnosis *diagnosis, const char *program);

/* After it: writes kernel.log and diagnostics.txt. What cannot be had is said there; only a file that cannot
 * be written is logged. */
void diagnose_write(struct diagnosis *diagnosis, const char *run);

/* After a run that ended well: takes cores and stacks away. */
void diagnose_discard(struct diagnosis *diagnosis, const char *run);

/* Of /proc/sys/kernel/core_pattern: NULL when a core lands in the working directory, else why it does not.
 * Text in `out`. */
const char *diagnose_core_pattern(const char *pattern, char *out, size_t size);

#endif
