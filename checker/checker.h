/* checker.h: the door of checker/: is this history linearizable?
 *
 * A history is linearizable (Herlihy and Wing, 1990) when every operation can be given one point between its
 * invocation and its completion such that, taken in the order of those points, all answers are those of the
 * sequential specification. Operations of unknown outcome may take a point anywhere after their invocation,
 * or none. */
#ifndef ASSAY_CHECKER_H
#define ASSAY_CHECKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "histories/histories.h"

enum verdict { VERDICT_VALID, VERDICT_INVALID, VERDICT_UNKNOWN, VERDICT_VACUOUS };

const char *verdict_name(enum verdict verdict); /* "valid" … */
int verdict_exit_code(enum verdict verdict);    /* EXIT_VALID … */

struct check_options {
  int64_t time_budget_ns;   /* 0: the default, 60 s */
  uint64_t memory_budget;   /* bytes; 0: the default, half of the machine's memory */
  bool minimise;            /* when invalid, find a minimal counterexample and explain it */
  int64_t minimise_time_ns; /* for each way it knows; 0: the default, by the history's length, 0.3 to 4 s */
};

struct check_counters {
  uint64_t states;   /* configurations entered by the search */
  uint64_t branches; /* of those, with more than one alternative */
  uint64_t absorbed; /* reads placed without a branch */
  uint64_t memo_hits;
  uint64_t components;       /* parts that were searched apart */
  uint64_t unknown_dropped;  /* unknown operations proved irrelevant before the search */
  uint64_t unknown_promoted; /* unknown operations proved to have happened */
};

struct check_result {
  enum verdict verdict; /* never VERDICT_VACUOUS: that is the harness's to say */
  const char *method;   /* what decided: "search", … ; static */
  double seconds;       /* of deciding, minimisation not included */
  double minimise_seconds;
  uint64_t peak_bytes; /* what the checker allocated at most */
  struct check_counters counters;
  /* valid: positions in history->operations in linearization order. */
  uint32_t *linearization;
  size_t linearization_count;
  /* invalid: operations of the history that are not linearizable either, as few as were found when
   * options.minimise (docs/checker.md); else all of the part that failed. Their answers are as they were, or
   * without versions (and sets without if_version) when the contradiction needs none: a member that is left
   * out constrains nothing. NULL otherwise. */
  struct history *counterexample;
  /* For people: why not (invalid), or how far it came and what holds up to there (unknown). Owned. */
  char *explanation;
  size_t proved_events; /* unknown: the history's first so many client events are linearizable */
};

/* Decides. The history is not changed and must outlive nothing of the result. Returns 0 whatever the verdict;
 * an error only when the history cannot be checked at all (a model that is not known). */
int check_history(const struct history *history, const struct check_options *options,
                  struct check_result *result, struct error *error);
void check_result_free(struct check_result *result);

/* Writes the certificate of a valid result: the `index` of one invocation a line. */
int certificate_write(const struct history *history, const struct check_result *result, const char *path,
                      struct error *error);

#endif
