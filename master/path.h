/* path.h: the syntax of paths (docs/specification.md, "State"): absolute, "/"-separated, no empty, "." or
 * ".." component, components of 1 to 255 bytes of UTF-8, 4096 bytes in all. */
#ifndef ASSAY_MASTER_PATH_H
#define ASSAY_MASTER_PATH_H

#include <stdbool.h>

#include "master/operation.h"

#define PATH_SIZE_LIMIT 4096
#define NAME_SIZE_LIMIT 255

bool path_valid(struct slice path);

/* Takes the first component off a valid path ("/a/b" → "a", leaving "/b"; "/a" leaves ""). False when there
 * is none: at "/" and "". */
bool path_next(struct slice *path, struct slice *name);

static inline bool path_is_root(struct slice path) {
  return path.size == 1;
}

/* True when valid `path` names something below valid `ancestor`, which is not the root. */
bool path_lies_under(struct slice path, struct slice ancestor);

#endif
