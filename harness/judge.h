/* judge.h: from the parts that a run's processes recorded to its history, verdict and report. */
#ifndef ASSAY_HARNESS_JUDGE_H
#define ASSAY_HARNESS_JUDGE_H

#include "harness/conductor.h"

struct case_file {
  const struct settings *settings;
  const char *run;
  const char *command; /* that repeats the run */
  const struct conduct_outcome *outcome;
};

/* Merges parts/ into history.jsonl, checks it, and writes schedule.json, certificate or counterexample.jsonl,
 * result.json and report.html. It works in a process of its own that is ended when it overstays the checker's
 * budget by far or is out of memory: nothing that was recorded is lost by it. Returns the result (the caller
 * json_decref()s), which says so itself when the analysis failed. */
json_t *judge(const struct case_file *file);

#endif
