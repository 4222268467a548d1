/* bugs_processes.c: how long it takes to find a defect on a real cluster: `assay run`, again and again, each
 * time with another seed. */
#ifdef ASSAY_BUGS

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/bugs.h"
#include "harness/document.h"
#include "harness/rerun.h"

/* Beyond the load: start, heal, check, report. */
#define OVERHEAD_NS (180 * NS_PER_S)
#define ARGUMENTS_MAX 32

#define SHORT_SNAPSHOTS "--master-flag=--snapshot-threshold=400", "--master-flag=--snapshot-trailing=40"

/* A clock that jumps back prolongs a lease; the primary must be cut off while it is held. */
#define BACK_WHILE_CUT_OFF                                                                                   \
  "--fault-every=clock-jump-back=3s", "--fault-every=partition-primary=6s", "--fault-duration=3s"

/* One disk after the other fails before all nodes are started again. */
#define ALL_ADRIFT "--fault-interval=300ms", "--fault-duration=1s", "--fault-every=kill-all=12s"

/* Elections within the two seconds that a vote waits to be saved. */
#define RUSHED "--fault-interval=200ms", "--fault-duration=400ms"

#define OFTEN "--fault-interval=500ms", "--fault-duration=2s"

struct recipe {
  const char *bug;
  const char *nemesis;
  const char *arguments[6]; /* further ones; NULL-terminated */
  const char *reason;       /* why it cannot show on processes; NULL: it can */
};

/* Which faults bring a defect out, and what makes them hit more often. */
static const struct recipe recipes[] = {
    {"local-reads", "partition,kill", {NULL}, NULL},
    {"dirty-reads", "partition,kill", {NULL}, NULL},
    {"step-down-late", "partition-primary,partition-stalled,pause-primary", {OFTEN, NULL}, NULL},
    {"lease-clock", "clock-jump-back,partition-primary", {BACK_WHILE_CUT_OFF, NULL}, NULL},
    {"follower-local-reads", "partition,kill", {"--reads=any", NULL}, NULL},
    {"read-index-early", "kill-primary", {"--reads=any", OFTEN, NULL}, NULL},
    {"read-unapplied", "partition,kill", {"--reads=any", NULL}, NULL},
    {"stale-worker-report", NULL, {NULL}, "no history tells what workers are told"},
    {"listing-cache", "partition,kill", {NULL}, NULL},
    {"reset-cache", "partition-primary,partition-stalled", {OFTEN, NULL}, NULL},
    {"retry-twice", "partition,kill", {NULL}, NULL},
    {"dedupe-not-in-snapshot", "partition,kill", {SHORT_SNAPSHOTS, NULL}, NULL},
    {"partial-batch", "kill,partition", {NULL}, NULL},
    {"rename-early-free", "partition,kill", {"--workload=moves", NULL}, NULL},
    {"no-parent-lock", "kill", {"--workload=names", NULL}, NULL},
    {"delete-not-atomic", "kill,partition", {NULL}, NULL},
    {"rename-cycle", "kill", {"--workload=moves", NULL}, NULL},
    {"id-reuse", "kill,partition", {NULL}, NULL},
    {"early-ack", "partition,kill", {NULL}, NULL},
    {"entry-reorder", "partition,kill", {NULL}, NULL},
    {"snapshot-ahead", "kill,partition", {SHORT_SNAPSHOTS, NULL}, NULL},
    {"snapshot-back", "partition,pause,kill", {SHORT_SNAPSHOTS, NULL}, NULL},
    {"replay-twice", "kill,partition", {SHORT_SNAPSHOTS, NULL}, NULL},
    {"no-fsync", "disk-power-loss-all,disk-power-loss-minority", {OFTEN, NULL}, NULL},
    {"unpersisted-vote", "kill-primary,kill-minority,partition-primary", {RUSHED, NULL}, NULL},
    {"disk-error-continue", "disk-error-sync,disk-error-write,kill-all", {ALL_ADRIFT, NULL}, NULL},
    {"commit-old-term", NULL, {NULL}, "needs three changes of leader around one entry that is in flight"},
    {"old-primary-writes", "partition,pause", {NULL}, NULL},
    {"config-rollback", "membership-cut", {NULL}, NULL},
    {"info-as-fail", "partition,kill", {NULL}, NULL},
};

static const struct recipe *recipe_of(const char *bug) {
  static const struct recipe otherwise = {NULL, "partition,pause,kill", {NULL}, NULL};
  for (size_t i = 0; i < ARRAY_SIZE(recipes); i++)
    if (strcmp(recipes[i].bug, bug) == 0)
      return &recipes[i];
  return &otherwise;
}

/* ---- One run of `assay run` ---- */

struct arguments_list {
  char *items[ARGUMENTS_MAX + 1];
  size_t count;
};

static void add(struct arguments_list *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct arguments_list *list, const char *format, ...) {
  va_list values;
  va_start(values, format);
  if (list->count < ARGUMENTS_MAX && vasprintf(&list->items[list->count], format, values) >= 0)
    list->count++;
  va_end(values);
}

static struct arguments_list arguments_of(const struct bugs_settings *settings, const char *bug,
                                          const struct recipe *recipe, int64_t seed) {
  struct arguments_list list = {0};
  add(&list, "assay");
  add(&list, "run");
  add(&list, "--json");
  add(&list, "--bug=%s", bug);
  add(&list, "--name=bug-%s", bug);
  add(&list, "--seed=%" PRId64, seed);
  add(&list, "--nemesis=%s", recipe->nemesis);
  add(&list, "--time=%" PRId64 "ns", settings->time_ns);
  add(&list, "--store=%s", settings->store);
  for (size_t i = 0; recipe->arguments[i]; i++)
    add(&list, "%s", recipe->arguments[i]);
  return list;
}

/* NULL and an error when there is no result. */
static json_t *run_once(const struct bugs_settings *settings, const char *bug, const struct recipe *recipe,
                        int64_t seed, struct error *error) {
  struct arguments_list list = arguments_of(settings, bug, recipe, seed);
  json_t *result = rerun(list.items, settings->time_ns + OVERHEAD_NS, error);
  for (size_t i = 0; i < list.count; i++)
    free(list.items[i]);
  return result;
}

/* ---- Until it is found ---- */

static bool is_found(const json_t *result, struct detection *detection) {
  if (strcmp(document_string(result, "verdict", ""), "invalid") != 0)
    return false;
  snprintf(detection->evidence, sizeof detection->evidence, "%s",
           document_string(result, "violation", "history"));
  detection->counterexample = json_array_size(json_object_get(result, "counterexample"));
  return true;
}

int bugs_run(const struct bugs_settings *settings, const char *bug, struct finding *finding,
             struct error *error) {
  const struct recipe *recipe = recipe_of(bug);
  *finding = (struct finding){.bug = bug, .where = "processes", .reason = recipe->reason};
  const int64_t end_ns = time_monotonic_ns() + settings->minutes * 60 * NS_PER_S;
  int64_t seed = settings->first_seed;
  while (!recipe->reason && finding->count < (size_t)settings->tries &&
         (finding->count == 0 || time_monotonic_ns() < end_ns)) {
    struct detection *detection = &finding->detections[finding->count++];
    const int64_t began_ns = time_monotonic_ns();
    do {
      json_t *result = run_once(settings, bug, recipe, seed++, error);
      if (!result)
        return ERR_IO;
      detection->found = is_found(result, detection);
      detection->seeds++;
      detection->wall_seconds = (double)(time_monotonic_ns() - began_ns) / 1e9;
      json_decref(result);
    } while (!detection->found && time_monotonic_ns() < end_ns);
    /* Broken off by the clock, it says something only when nothing was found before. */
    if (!detection->found && finding->count > 1)
      finding->count--;
  }
  return 0;
}

#else
typedef int bugs_of_another_build;
#endif
