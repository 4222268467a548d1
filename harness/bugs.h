/* bugs.h: the named defects of this build, and `assay bugs`, which looks for each.
 *
 * A detection is what it took from a fresh start to the first evidence: seeds in the simulator, one range of
 * seeds after the other; runs of `assay run` on processes, each with a seed of its own. */
#ifndef ASSAY_HARNESS_BUGS_H
#define ASSAY_HARNESS_BUGS_H

#include <jansson.h>

#include "base/base.h"

/* 0 when this build has a defect of that name. Else ERR_BAD_INPUT: an unknown name, with the known ones, or a
 * build without defects, with the one to use instead. */
int bugs_find(const char *name, struct error *error);

/* Switches it on, for this process and those it forks; bugs_find() knows it. */
void bugs_enable(const char *name);

#ifdef ASSAY_BUGS

#define DETECTIONS_MAX 20

struct bugs_settings {
  struct flag_list names;
  const char *names_text, *where, *store;
  bool simulator, processes;
  int64_t ranges, seeds, jobs, range_budget_ns; /* simulator */
  int64_t time_ns, tries, minutes, first_seed;  /* processes */
  bool progress, json, markdown;
};

struct detection {
  bool found;
  int64_t seeds;            /* simulator: until the first that failed, it included; processes: runs */
  double simulated_seconds; /* simulator */
  double wall_seconds;
  char evidence[64];     /* "invariant election-safety", "history", … */
  size_t counterexample; /* operations, 0: none was needed */
};

/* What looking for one defect in one place came to. */
struct finding {
  const char *bug;
  const char *where;  /* "simulator", "processes" */
  const char *reason; /* why it was not looked for there; NULL when it was */
  struct detection detections[DETECTIONS_MAX];
  size_t count;
};

size_t finding_found(const struct finding *finding);
/* Of the detections in order of what it took, those not found last: the median and the last. NULL: not found.
 */
const struct detection *finding_median(const struct finding *finding);
const struct detection *finding_worst(const struct finding *finding);
/* In four of five, at least. */
bool finding_holds(const struct finding *finding);
/* The smallest counterexample; 0: none was needed. */
size_t finding_counterexample(const struct finding *finding);
/* The evidence that was found most often; "" for none. */
const char *finding_evidence(const struct finding *finding);
json_t *finding_json(const struct finding *finding);

/* Both look until all is found or their bounds are reached. 0, or an error when looking itself failed. */
int bugs_simulate(const struct bugs_settings *settings, const char *bug, struct finding *finding,
                  struct error *error);
int bugs_run(const struct bugs_settings *settings, const char *bug, struct finding *finding,
             struct error *error);

#endif

#endif
