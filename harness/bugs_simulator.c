/* bugs_simulator.c: how many seeds it takes to find a defect in the simulator. */
#ifdef ASSAY_BUGS

#include <stdio.h>
#include <stdlib.h>

#include "harness/bugs.h"
#include "harness/sim.h"

#define SEED_BUDGET_NS (60 * NS_PER_S)
#define COUNTEREXAMPLES_MAX 3 /* made small, a bug: until one is small enough */
#define COUNTEREXAMPLE_SMALL 10

struct search {
  struct seed_record first;
  bool found;
};

static void on_each(void *context, const struct seed_record *record) {
  struct search *search = context;
  if (search->found || !seed_failed(record))
    return;
  search->found = true;
  search->first = *record;
}

static struct sim_settings settings_of(const struct bugs_settings *settings, const char *bug) {
  return (struct sim_settings){
      .design = &sim_raft, .bug = bug, .store = settings->store, .seed_budget_ns = SEED_BUDGET_NS};
}

static void save(const struct bugs_settings *settings, const char *bug, const struct seed_record *record,
                 struct detection *detection) {
  const struct sim_settings one = settings_of(settings, bug);
  struct sim_details details;
  struct error error = {0};
  char *directory = NULL;
  if (sim_save(&one, record, &directory, &error) != 0) {
    log_warn("%s", error.message);
    return;
  }
  sim_save_details(&one, record, directory, false, &details);
  detection->counterexample = details.counterexample;
  free(directory);
}

static int search_range(const struct bugs_settings *settings, const char *bug, uint64_t first,
                        struct detection *detection, struct search *search, struct error *error) {
  const struct sim_settings one = settings_of(settings, bug);
  const struct pool_options options = {.first = first,
                                       .last = first + (uint64_t)settings->seeds - 1,
                                       .draw = sim_draw_options(&one),
                                       .simulation = sim_run_options(&one),
                                       .bug = bug,
                                       .jobs = (size_t)settings->jobs,
                                       .time_budget_ns = settings->range_budget_ns,
                                       .seed_budget_ns = SEED_BUDGET_NS,
                                       .stop_at_first = true,
                                       .each = on_each,
                                       .context = search};
  struct pool_totals totals;
  const int status = pool_run(&options, &totals, error);
  if (status == 0 && totals.interrupted)
    return error_set(error, ERR_UNAVAILABLE, "interrupted");
  *detection = (struct detection){.found = search->found,
                                  .seeds = (int64_t)totals.seeds,
                                  .simulated_seconds = (double)totals.simulated_ns / 1e9,
                                  .wall_seconds = (double)totals.wall_ns / 1e9};
  if (search->found)
    snprintf(detection->evidence, sizeof detection->evidence, "%s%s%s", seed_kind(&search->first),
             search->first.invariant[0] ? " " : "", search->first.invariant);
  return status;
}

int bugs_simulate(const struct bugs_settings *settings, const char *bug, struct finding *finding,
                  struct error *error) {
  *finding = (struct finding){.bug = bug, .where = "simulator"};
  size_t saved = 0;
  for (int64_t range = 0; range < settings->ranges; range++) {
    struct search search = {0};
    struct detection *detection = &finding->detections[finding->count];
    const uint64_t first = 1 + (uint64_t)range * (uint64_t)settings->seeds;
    const int status = search_range(settings, bug, first, detection, &search, error);
    if (status != 0)
      return status;
    finding->count++;
    const size_t smallest = finding_counterexample(finding);
    const bool wanted = search.first.evidence == EVIDENCE_HISTORY
                            ? smallest == 0 || smallest > COUNTEREXAMPLE_SMALL
                            : saved == 0;
    if (search.found && wanted && saved++ < COUNTEREXAMPLES_MAX)
      save(settings, bug, &search.first, detection);
  }
  return 0;
}

#else
typedef int bugs_of_another_build;
#endif
