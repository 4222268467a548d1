/* sim.c: `assay sim`: many seeds, or one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/document.h"
#include "harness/live.h"
#include "harness/sim.h"

/* Failures that are told one by one; all of them count. */
#define TOLD_MAX 20

struct batch {
  const struct sim_settings *settings;
  FILE *out; /* for people */
  struct live live;
  struct seed_record *failures; /* and those that could not be decided */
  size_t count, capacity;
};

static void tell(struct batch *batch, const struct seed_record *record) {
  char command[SIM_AGAIN_SIZE];
  if (batch->count > TOLD_MAX)
    return;
  if (batch->count == TOLD_MAX) {
    live_say(&batch->live, "… more is found; the totals count it");
    return;
  }
  live_say(&batch->live, "seed %" PRIu64 ": %s%s%s at %.3f s: %s\n  %s --trace", record->seed,
           seed_kind(record), record->invariant[0] ? " " : "", record->invariant, (double)record->at_ns / 1e9,
           record->text, sim_again(batch->settings, record->seed, command));
}

static void on_each(void *context, const struct seed_record *record) {
  struct batch *batch = context;
  if (!seed_failed(record) && record->evidence != EVIDENCE_UNKNOWN)
    return;
  tell(batch, record);
  if (batch->count == batch->capacity) {
    batch->capacity = batch->capacity ? 2 * batch->capacity : 16;
    batch->failures = xrealloc(batch->failures, batch->capacity * sizeof *batch->failures);
  }
  batch->failures[batch->count++] = *record;
}

static void on_tick(void *context, const struct pool_totals *totals) {
  struct batch *batch = context;
  char line[400];
  sim_progress_text(totals, batch->settings->last - batch->settings->first + 1, line, sizeof line);
  live_line(&batch->live, line);
}

static int run_batch(struct batch *batch, struct pool_totals *totals, struct error *error) {
  const struct sim_settings *s = batch->settings;
  const struct pool_options options = {.first = s->first,
                                       .last = s->last,
                                       .plan = s->plan_path ? &s->plan : NULL,
                                       .draw = sim_draw_options(s),
                                       .simulation = sim_run_options(s),
                                       .bug = s->bug,
                                       .jobs = (size_t)s->jobs,
                                       .time_budget_ns = s->time_budget_ns,
                                       .seed_budget_ns = s->seed_budget_ns,
                                       .stop_at_first = s->stop_at_first,
                                       .each = on_each,
                                       .tick = s->progress ? on_tick : NULL,
                                       .context = batch};
  const int status = pool_run(&options, totals, error);
  live_close(&batch->live);
  return status;
}

static void tell_saved(const struct batch *batch, const char *directory, const struct sim_details *details) {
  fprintf(batch->out, "%s", directory);
  if (details->shrunk)
    fprintf(batch->out, ": shrunk to %zu fault%s and %zu operation%s", details->faults,
            details->faults == 1 ? "" : "s", details->operations, details->operations == 1 ? "" : "s");
  if (details->counterexample > 0)
    fprintf(batch->out, ", counterexample of %zu", details->counterexample);
  fprintf(batch->out, "%s%s\n%s", details->note[0] ? "; " : "", details->note, details->explanation);
  fflush(batch->out);
}

/* Saves one failure and tells scripts about it. */
static int save(struct batch *batch, const struct seed_record *record, size_t number, struct error *error) {
  const struct sim_settings *s = batch->settings;
  char *directory = NULL;
  int status = sim_save(s, record, &directory, error);
  if (status != 0)
    return status;
  const bool detailed = number < (size_t)s->details && !record->stuck;
  struct sim_details details = {0};
  if (detailed) {
    sim_save_details(s, record, directory, !s->no_shrink && record->signal == 0 && seed_failed(record),
                     &details);
    tell_saved(batch, directory, &details);
  }
  json_t *object = sim_record_json(s, record, directory, detailed ? &details : NULL);
  char *path = path_join(directory, "result.json");
  status = document_write(path, object, error);
  if (s->json)
    document_print_line(object);
  json_decref(object);
  free(path);
  free(directory);
  return status;
}

static int run_seeds(struct sim_settings *settings) {
  struct batch batch = {.settings = settings, .out = settings->json ? stderr : stdout};
  struct pool_totals totals;
  struct error error = {0};
  live_open(&batch.live, settings->progress ? stderr : batch.out);
  int status = run_batch(&batch, &totals, &error);
  for (size_t i = 0; i < batch.count && status == 0; i++)
    status = save(&batch, &batch.failures[i], i, &error);
  free(batch.failures);
  if (status != 0) {
    fprintf(stderr, "%s: %s\n", settings->design->program, error.message);
    return EXIT_HARNESS;
  }
  sim_totals_print(batch.out, &totals);
  if (settings->json) {
    json_t *object = sim_totals_json(&totals, (size_t)settings->jobs);
    document_print_line(object);
    json_decref(object);
  }
  return sim_exit_code(&totals);
}

int sim_main(const struct sim_design *design, int argc, char **argv) {
  struct sim_settings settings;
  const int code = sim_settings_parse(&settings, design, argc, argv);
  if (code >= 0)
    return code;
  const int exit_code = sim_looks_at_one(&settings) ? sim_look(&settings) : run_seeds(&settings);
  sim_settings_free(&settings);
  return exit_code;
}
