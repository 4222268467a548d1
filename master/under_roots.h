/* under_roots.h: the directories of this machine that a process may read and write for mounts (--mount-root).
 *
 * Whoever reaches a master may mount what he likes; so what lies outside of these roots does not exist for
 * mounts, whatever a path or a symbolic link says. */
#ifndef ASSAY_MASTER_UNDER_ROOTS_H
#define ASSAY_MASTER_UNDER_ROOTS_H

#include "base/base.h"
#include "master/operation.h"

#define UNDER_ROOTS_LIMIT 64

struct under_roots {
  const char *items[UNDER_ROOTS_LIMIT]; /* not owned */
  size_t count;
};

/* ERR_BAD_INPUT for one that is no absolute path as the namespace has them, or is "/". */
int under_roots_set(struct under_roots *roots, const char *const *items, size_t count, struct error *error);

/* The root that the path is, or lies below; NULL: it may not be touched. */
const char *under_roots_find(const struct under_roots *roots, struct slice path);

/* Opens a directory below one of the roots without following a symbolic link beyond the root; -1 with errno
 * (EACCES when it lies outside). Blocking. */
int under_roots_open(const struct under_roots *roots, struct slice directory);

#endif
