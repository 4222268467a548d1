/* verdict.h: from everything that is known of a run to its verdict, and to result.json.
 *
 * What weighs more comes first: a history that is proved bad is bad whatever else happened; a harness that
 * failed says nothing of the rest; replicas that diverged, nodes that disagree on who the members are, or a
 * cluster that did not become live again are findings though the history is good; a search that ran out of
 * its budget is unknown; a run that tested nothing is vacuous. Only what is left is valid. */
#ifndef ASSAY_HARNESS_VERDICT_H
#define ASSAY_HARNESS_VERDICT_H

#include <jansson.h>

#include "checker/checker.h"
#include "harness/conductor.h"
#include "harness/statistics.h"
#include "harness/timeline.h"

enum violation {
  VIOLATION_NONE,
  VIOLATION_HISTORY,
  VIOLATION_REPLICAS,
  VIOLATION_MEMBERS,
  VIOLATION_LIVENESS
};

struct evidence {
  const struct settings *settings;
  const char *run;
  const char *command;                   /* that repeats the run */
  const struct conduct_outcome *outcome; /* how the run phase ended */
  const struct timeline *timeline;
  const struct history *history;       /* NULL: there is none that could be read */
  const struct statistics *statistics; /* of it */
  const struct check_result *check;    /* NULL: it was not checked */
  double parse_seconds;
  const char *error; /* what failed after the run phase; NULL: nothing */
};

struct decision {
  bool decided; /* false: the harness failed, there is no verdict */
  enum verdict verdict;
  enum violation violation;
  char sentence[1500];
};

void verdict_decide(const struct evidence *evidence, struct decision *decision);

/* result.json: the contract's keys (docs/architecture.md) and more. The caller json_decref()s. */
json_t *verdict_result(const struct evidence *evidence);

/* A result without a verdict, for a run whose analysis could not even begin. */
json_t *verdict_failure(const char *run, const char *command, int64_t seed, const char *error);

/* The exit code that belongs to a result. */
int verdict_result_exit_code(const json_t *result);

#endif
