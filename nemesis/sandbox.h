/* sandbox.h: what the rooms of nemesis/ share about sandboxes. */
#ifndef ASSAY_NEMESIS_SANDBOX_H
#define ASSAY_NEMESIS_SANDBOX_H

#include <stdbool.h>

#include "base/error.h"

/* Exists in a sandbox and nowhere else: it lies on the sandbox's own tmpfs. */
#define SANDBOX_MARKER "/run/assay-sandbox"

/* True in a sandbox: what is done to the network here stays here. */
bool sandbox_inside(void);

/* Says in `error` why this machine refused `what` with errno `number`, and the cure. Returns ERR_UNSUPPORTED.
 */
int sandbox_explain(struct error *error, int number, const char *what);

#endif
