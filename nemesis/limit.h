/* limit.h: what a running process may have at most, lowered to little more than it has, and given back.
 *
 * By prlimit, and so everywhere alike and without any right: only the soft limit is moved, never above the
 * hard one. Memory is what the process can write to (RLIMIT_DATA): where a cgroup would reclaim, slow down,
 * and at last kill, here an allocation fails, at once and in the process's own hands. */
#ifndef ASSAY_NEMESIS_LIMIT_H
#define ASSAY_NEMESIS_LIMIT_H

#include <sys/types.h>

#include "base/base.h"

enum limit {
  LIMIT_DESCRIPTORS, /* how many more files and connections it may open */
  LIMIT_MEMORY,      /* how many more bytes it may have to write to */
  LIMITS,
};

/* What was lifted of one process, to be put back. */
struct limit_before {
  pid_t pid; /* 0: nothing is limited */
  uint64_t soft;
};

/* Lets the process have `more` than it has now. What stood before is kept in `before`, unless it holds that
 * of this process already. ERR_NOT_FOUND when the process has ended. */
int limit_lower(pid_t pid, enum limit limit, uint64_t more, struct limit_before *before, struct error *error);

/* Gives back what was taken. A process that has ended needs nothing. */
int limit_lift(enum limit limit, struct limit_before *before, struct error *error);

/* What it may have and has, as the kernel says: one more than its highest descriptor, or bytes. */
int limit_look(pid_t pid, enum limit limit, uint64_t *may_have, uint64_t *has, struct error *error);

#endif
