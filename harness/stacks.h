/* stacks.h: where a process is that hangs, written down before anything is ended.
 *
 * For every thread what /proc tells: its state, what it waits for in the kernel, the system call it is in;
 * and its call stack, when eu-stack (Debian: elfutils) is there and the kernel lets it look. Each look is
 * appended to RUN/logs/stacks-<name>.txt with its time and reason. Blocks, for a bounded time: eu-stack stops
 * a process for as long as it reads it, and one that a dead disk holds in the kernel cannot be stopped at
 * all. */
#ifndef ASSAY_HARNESS_STACKS_H
#define ASSAY_HARNESS_STACKS_H

#include <limits.h>
#include <sys/types.h>

#include "base/base.h"

struct stacks {
  char run[PATH_MAX];  /* the run's directory, without symbolic links */
  const char *why;     /* "it did not end when told to" */
  int64_t deadline_ns; /* after which only /proc is looked at */
};

struct stacks stacks_begin(const char *run, const char *why);

/* One process. What cannot be found out is told in the file; a file that cannot be written is logged. */
void stacks_write(const struct stacks *stacks, const char *name, pid_t pid);

/* The master of this name, or all of them (NULL): those on this machine, for it is by the working directory
 * RUN/nodes/<name> that a process is known as one. */
void stacks_write_masters(const struct stacks *stacks, const char *name);

#endif
