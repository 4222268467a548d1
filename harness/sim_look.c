/* sim_look.c: one run, in this process: traced, drawn, ended early, stopped in a debugger. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/bugs.h"
#include "harness/document.h"
#include "harness/sim.h"
#include "histories/histories.h"

struct look {
  const struct sim_settings *settings;
  struct trace_file *trace;
  struct sequence *sequence;
};

static void on_transition(void *context, const struct transition *t) {
  const struct look *look = context;
  const struct sim_settings *s = look->settings;
  if (look->trace && t->number >= s->from && (s->to == 0 || t->number <= s->to) && t->time_ns >= s->from_ns &&
      (s->to_ns == 0 || t->time_ns <= s->to_ns))
    trace_file_add(look->trace, t);
  if (look->sequence)
    sequence_add(look->sequence, t);
}

static int open_look(struct look *look, const struct plan *plan, struct error *error) {
  const struct sim_settings *s = look->settings;
  if (s->trace && trace_file_open(s->trace_path, &look->trace, error) != 0)
    return error->code;
  if (s->sequence_path)
    look->sequence = sequence_new(&(struct sequence_options){.nodes = plan->nodes,
                                                             .clients = plan->clients,
                                                             .from_ns = s->from_ns,
                                                             .to_ns = s->to_ns,
                                                             .from = s->from,
                                                             .to = s->to});
  return 0;
}

static int close_look(struct look *look, const struct seed_record *record, struct error *error) {
  int status = 0;
  if (look->trace)
    status = trace_file_close(look->trace, error);
  if (look->sequence) {
    char title[800];
    snprintf(title, sizeof title, "seed %" PRIu64 ": %s%s%s", record->seed,
             record->evidence == EVIDENCE_INVARIANT ? record->invariant : seed_kind(record),
             record->text[0] ? ": " : "", record->text);
    const int written = sequence_write(look->sequence, title, look->settings->sequence_path, error);
    status = status != 0 ? status : written;
    sequence_free(look->sequence);
  }
  return status;
}

static void print_text(FILE *out, const struct sim_settings *settings, const struct seed_record *record,
                       const struct simulation_result *result) {
  char command[SIM_AGAIN_SIZE], explanation[4000];
  if (seed_failed(record))
    fprintf(out, "seed %" PRIu64 ": %s%s%s at transition %" PRIu64 ", %.6f s: %s\n\n", record->seed,
            seed_kind(record), record->invariant[0] ? " " : "", record->invariant, record->at,
            (double)record->at_ns / 1e9, record->text);
  else
    fprintf(out, "seed %" PRIu64 ": %s\n\n", record->seed,
            settings->until != 0                   ? "ended where it was told to"
            : record->evidence == EVIDENCE_UNKNOWN ? "the history could not be decided"
                                                   : "no violation");
  sim_explain(result, explanation, sizeof explanation);
  fputs(explanation, out);
  fprintf(out,
          "%" PRIu64 " transitions, %.3f simulated seconds, %" PRIu64 " operations: ok %" PRIu64
          ", fail %" PRIu64 ", info %" PRIu64 "; elections %" PRIu64 ", crashes %" PRIu64 "\n",
          record->transitions, (double)record->simulated_ns / 1e9, record->operations, record->ok,
          record->fail, record->info, record->elections, record->crashes);
  fprintf(out, "digest   %016" PRIx64 "\nagain    %s\n", record->digest,
          sim_again(settings, record->seed, command));
}

static int exit_code_of(const struct sim_settings *settings, const struct seed_record *record) {
  if (seed_failed(record))
    return EXIT_INVALID;
  if (settings->until != 0)
    return EXIT_VALID;
  return record->evidence == EVIDENCE_UNKNOWN || record->ok == 0 ? EXIT_UNKNOWN : EXIT_VALID;
}

static int run(struct look *look, const struct plan *plan, struct error *error) {
  const struct sim_settings *settings = look->settings;
  struct simulation_options options = sim_run_options(settings);
  options.minimise = true;
  if (settings->trace || settings->sequence_path) {
    options.trace = on_transition;
    options.trace_context = look;
  }
  struct simulation_result result = {0};
  simulate(plan, &options, &result);
  const struct seed_record record = seed_record_of(plan->seed, &result, 0);
  const int status = close_look(look, &record, error);
  const bool quiet_output = settings->json || (settings->trace && strcmp(settings->trace_path, "-") == 0);
  if (settings->digest)
    printf("%016" PRIx64 "\n", record.digest);
  else
    print_text(quiet_output ? stderr : stdout, settings, &record, &result);
  if (settings->json) {
    json_t *object = sim_record_json(settings, &record, NULL, NULL);
    document_print_line(object);
    json_decref(object);
  }
  fflush(NULL);
  simulation_result_free(&result);
  return status != 0 ? status : exit_code_of(settings, &record);
}

int sim_look(struct sim_settings *settings) {
  struct look look = {.settings = settings};
  struct plan plan = {0};
  struct error error = {0};
  int status = sim_plan_of(settings, settings->first, &plan, &error);
  if (status == 0) {
    if (settings->bug)
      bugs_enable(settings->bug);
    log_open("sim", LOG_LEVEL_ERROR);
    status = open_look(&look, &plan, &error);
    if (status == 0)
      status = run(&look, &plan, &error);
    plan_free(&plan);
  }
  if (status >= 0)
    return status;
  fprintf(stderr, "%s: %s\n", settings->design->program, error.message);
  return EXIT_HARNESS;
}
