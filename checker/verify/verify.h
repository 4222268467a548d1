/* verify.h: the door of verify/: is this certificate a proof that this history is linearizable?
 *
 * A certificate names operations by the `index` of their invocations, in an order that is claimed to be a
 * linearization. It is one when
 *   - every operation that is certain to have happened (ok), or whose error observed the state (fail), is in
 * it, and none twice;
 *   - real time is kept: no operation stands before one that had completed before it was invoked;
 *   - executed one at a time in that order, the specification gives every answer that the history recorded.
 * Operations of unknown outcome may be in it (then they took effect there) or not. What took no effect for
 * certain and observed nothing (fail, unchecked) may be left out or not: it is not executed. */
#ifndef ASSAY_CHECKER_VERIFY_H
#define ASSAY_CHECKER_VERIFY_H

#include "histories/histories.h"

struct verification {
  bool accepted;
  uint64_t executed;  /* operations that were executed */
  uint64_t line;      /* refused: of the certificate, 0 when no line of it is at fault */
  uint64_t index;     /* refused: of the invocation that it is about */
  char message[1200]; /* refused: why, for people */
};

/* `name` is that of the certificate, for messages; `text` its whole content. Returns 0 whatever is decided,
 * or ERR_BAD_INPUT when the certificate is no list of indexes. */
int verify_certificate(const struct history *history, const char *name, struct text text,
                       struct verification *verification, struct error *error);

#endif
