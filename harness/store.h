/* store.h: where runs are kept: STORE/<test>/<UTC time>/, and what each holds.
 *
 *   test.json            every parameter, seed, versions, kernel, command line; written before anything runs
 *   parts/               what each process recorded; gone once history.jsonl holds all of it
 *   history.jsonl        the merged history
 *   events.jsonl         what the conductor, the nemesis and the clients said while it ran
 *   schedule.json        the faults that really happened, and when
 *   result.json          the verdict and everything that was counted
 *   certificate          valid: an order that explains every answer
 *   counterexample.jsonl invalid: a smallest history that is not linearizable either
 *   report.html          all of it as one page
 *   nodes/<name>/        log of a master; its data and cores when the run did not end well
 *   logs/                standard error of the nemesis and the clients; stacks of what hung
 *   kernel.log, diagnostics.txt   not ended well: see harness/diagnose.h
 *
 * STORE/latest is a symbolic link to the newest run. */
#ifndef ASSAY_HARNESS_STORE_H
#define ASSAY_HARNESS_STORE_H

#include <jansson.h>

#include "base/base.h"

/* True for a test's name that makes a good directory: letters, digits, '.', '_', '-'; not "latest" or
 * "cluster", no dot first. */
bool store_name_valid(const char *name);

/* Makes the directory of a new run (absolute, nobody else's even when two start in the same second) with
 * parts/, logs/ and nodes/ in it, and points STORE/latest at it. *run is the caller's to free(). */
int store_run_new(const char *store, const char *test, char **run, struct error *error);

/* The directory that a person means by `argument`: a run's directory, or "latest", or TEST/TIME below the
 * store. *run is the caller's to free(). */
int store_run_find(const char *store, const char *argument, char **run, struct error *error);

/* One run as `assay list` shows it. `result` is NULL when the run never got that far. */
struct store_run {
  char *directory;
  char *test, *time;
  json_t *parameters; /* test.json */
  json_t *result;     /* result.json */
};

/* All runs of a store, oldest first; directories without a test.json are not runs. */
int store_list(const char *store, struct store_run **runs, size_t *count, struct error *error);
void store_list_free(struct store_run *runs, size_t count);

/* The last `lines` lines of a file, each after `indent`, as text to free(); "" when there is none. */
char *file_tail(const char *path, size_t lines, const char *indent);

#endif
