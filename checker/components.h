/* components.h: parts of a history that can be searched apart.
 *
 * Operations whose paths begin with the same top-level name belong together, and so do all names that one
 * operation touches (rename, batch). Nothing else connects them: the root's own members and version do only
 * when somebody looks at the root itself. */
#ifndef ASSAY_CHECKER_COMPONENTS_H
#define ASSAY_CHECKER_COMPONENTS_H

#include <stdint.h>

#include "histories/histories.h"

struct components {
  uint32_t count;
  uint32_t *first;     /* count + 1 of them: component i has positions[first[i] … first[i + 1] - 1] */
  uint32_t *positions; /* in the history, ascending within a component */
};

/* Operations that say nothing (operation_matters()) belong to none. */
void components_find(const struct history *history, struct components *components);
void components_free(struct components *components);

#endif
