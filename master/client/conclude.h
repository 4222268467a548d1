/* conclude.h: what the ends of a request's attempts let its client conclude (docs/specification.md, "What a
 * client may conclude"). Pure: the client library decides by it, and so do the simulator's clients.
 *
 *   refusal  an attempt that certainly took no effect (not-primary, overloaded, nobody connected)
 *   doubt    an attempt that may have taken effect (connection broken, silence, unavailable): from then on
 *            only a definite answer to a retry with the same op id settles the request; a refusal does not */
#ifndef ASSAY_MASTER_CLIENT_CONCLUDE_H
#define ASSAY_MASTER_CLIENT_CONCLUDE_H

#include "master/bugs.h"
#include "master/client/client.h"

struct attempts {
  enum master_error refusal; /* of the last attempt that was refused; REFUSED before any */
  enum master_error doubt;   /* NONE, or how the last attempt of unknown outcome ended */
  uint64_t refused_by;       /* node id, 0: nobody */
};

static inline struct attempts attempts_none(void) {
  return (struct attempts){.refusal = MASTER_ERROR_REFUSED};
}

static inline void attempt_refused(struct attempts *attempts, enum master_error refusal, uint64_t node) {
  attempts->refusal = refusal;
  attempts->refused_by = node;
}

static inline void attempt_lost(struct attempts *attempts, enum master_error how) {
  attempts->doubt = how;
}

/* The answer to a request that no attempt settled, when its time is up. */
static inline struct master_answer conclude_unanswered(const struct attempts *attempts) {
  const bool doubtful = attempts->doubt != MASTER_ERROR_NONE && !bug_active(BUG_INFO_AS_FAIL);
  return (struct master_answer){
      .outcome = doubtful ? MASTER_INFO : MASTER_UNCHECKED,
      .error = doubtful ? attempts->doubt : attempts->refusal,
      .node = doubtful ? 0 : attempts->refused_by,
      .value = "",
  };
}

/* What a response is to its attempt, by its status: those of the wire and of master/operation.h, which have
 * the same numbers. A status that is not known tells nothing. */
enum attempt_end { ATTEMPT_SETTLED, ATTEMPT_REFUSED, ATTEMPT_LOST };

static inline enum attempt_end conclude_status(unsigned status, enum master_error *error) {
  enum { NOT_PRIMARY = MASTER_ERROR_VERSION_MISMATCH + 1, OVERLOADED, UNAVAILABLE };
  switch (status) {
  case NOT_PRIMARY:
    *error = MASTER_ERROR_NOT_PRIMARY;
    return ATTEMPT_REFUSED;
  case OVERLOADED:
    *error = MASTER_ERROR_OVERLOADED;
    return ATTEMPT_REFUSED;
  case UNAVAILABLE:
    *error = MASTER_ERROR_UNAVAILABLE;
    return ATTEMPT_LOST;
  default:
    *error = status < NOT_PRIMARY ? (enum master_error)status : MASTER_ERROR_OTHER;
    return status < NOT_PRIMARY ? ATTEMPT_SETTLED : ATTEMPT_LOST;
  }
}

#endif
