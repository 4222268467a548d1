/* work.h: the directory that a benchmark works in: locked as long as its process lives, so that what a killed
 * one left is known, and removed by the next. */
#ifndef ASSAY_HARNESS_BENCH_WORK_H
#define ASSAY_HARNESS_BENCH_WORK_H

#include "base/base.h"

struct work {
  char *path; /* NULL: none */
  int lock;
};

/* Removes what earlier benchmarks of this user left in `parent`, then makes a directory of its own there. */
int work_open(const char *parent, struct work *work, struct error *error);

/* Removes it; nothing happens when there is none. */
void work_close(struct work *work);

#endif
