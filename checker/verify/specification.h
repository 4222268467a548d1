/* specification.h: docs/specification.md as a program, plainly: a tree in memory, one operation at a time.
 *
 * This is assay-verify's own reading of the specification. It shares nothing with the master's or the
 * checker's, so that a mistake in one of them does not pass unseen here; keep it so. */
#ifndef ASSAY_CHECKER_VERIFY_SPECIFICATION_H
#define ASSAY_CHECKER_VERIFY_SPECIFICATION_H

#include "histories/histories.h"

struct specification;

struct specification *specification_new(void); /* the root and nothing else */
void specification_free(struct specification *specification);

/* Executes one operation. `answer` becomes the whole answer, every member that the operation has seen; its
 * lists and texts are valid until the next call. An operation that fails changes nothing. */
void specification_execute(struct specification *specification, const struct arguments *arguments,
                           uint64_t op_id, struct answer *answer);

#endif
