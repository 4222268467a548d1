/* sim_save.c: what is kept of a seed that failed, so that nobody has to run it again to understand it. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/bugs.h"
#include "harness/document.h"
#include "harness/live.h"
#include "harness/sim.h"
#include "histories/histories.h"

/* Shrinking is bounded by its number of runs; this is for a run that does not end. */
#define PATIENCE_NS (15 * 60 * NS_PER_S)

/* Written by the process that makes the details, read by its parent whatever becomes of it. */
struct shared {
  struct sim_details details;
  struct shrink_progress progress;
  bool done;
};

struct saving {
  const struct sim_settings *settings;
  const struct seed_record *record;
  const char *directory;
  struct shared *shared;
  struct trace_file *trace;
  struct sequence *sequence;
};

/* ---- In a process of its own ---- */

static void note_failure(struct saving *saving, const struct error *error) {
  snprintf(saving->shared->details.note, sizeof saving->shared->details.note, "%s", error->message);
}

static void on_transition(void *context, const struct transition *transition) {
  const struct saving *saving = context;
  trace_file_add(saving->trace, transition);
  sequence_add(saving->sequence, transition);
}

static void on_shrink(void *context, const struct shrink_progress *progress) {
  struct saving *saving = context;
  saving->shared->progress = *progress;
}

static int save_history(const char *directory, const char *name, const struct history *history,
                        struct error *error) {
  if (!history)
    return 0;
  char *path = path_join(directory, name);
  const int status = history_save(history, path, error);
  free(path);
  return status;
}

static int save_text(const char *directory, const char *name, const char *text, struct error *error) {
  if (!text)
    return 0;
  char *path = path_join(directory, name);
  struct bytes content = {0};
  bytes_append_format(&content, "%s\n", text);
  const int status = file_replace(path, content.data, content.size, error);
  bytes_free(&content);
  free(path);
  return status;
}

static int save_picture(const struct saving *saving, const struct simulation_result *result,
                        struct error *error) {
  char title[800];
  snprintf(title, sizeof title, "seed %" PRIu64 "%s%s: %s %s", saving->record->seed,
           saving->settings->bug ? ", " : "", saving->settings->bug ? saving->settings->bug : "",
           result->invariant[0] ? result->invariant : evidence_name(result->evidence), result->text);
  char *path = path_join(saving->directory, "sequence.svg");
  const int status = sequence_write(saving->sequence, title, path, error);
  free(path);
  return status;
}

/* One run with everything on. */
static int trace_run(struct saving *saving, const struct plan *plan, const char *history,
                     struct error *error) {
  char *path = path_join(saving->directory, "trace.txt");
  int status = trace_file_open(path, &saving->trace, error);
  free(path);
  if (status != 0)
    return status;
  saving->sequence = sequence_new(&(struct sequence_options){.nodes = plan->nodes, .clients = plan->clients});
  struct simulation_options options = sim_run_options(saving->settings);
  options.minimise = true;
  options.keep_history = true;
  options.trace = on_transition;
  options.trace_context = saving;
  struct simulation_result result = {0};
  simulate(plan, &options, &result);
  struct sim_details *details = &saving->shared->details;
  details->counterexample = result.counterexample ? result.counterexample->count : 0;
  sim_explain(&result, details->explanation, sizeof details->explanation);
  status = trace_file_close(saving->trace, error);
  if (status == 0)
    status = save_history(saving->directory, history, result.history, error);
  if (status == 0)
    status = save_history(saving->directory, "counterexample.jsonl", result.counterexample, error);
  if (status == 0)
    status = save_text(saving->directory, "explanation.txt", result.explanation, error);
  if (status == 0)
    status = save_picture(saving, &result, error);
  sequence_free(saving->sequence);
  simulation_result_free(&result);
  return status;
}

static int save_shrunk(struct saving *saving, const struct plan *plan, struct error *error) {
  const struct simulation_options options = sim_run_options(saving->settings);
  struct plan smaller = {0};
  struct simulation_result result = {0};
  plan_shrink(plan, &options, (size_t)saving->settings->shrink_runs, on_shrink, saving, &smaller, &result);
  saving->shared->details.shrunk = true;
  saving->shared->details.faults = smaller.fault_count;
  saving->shared->details.operations = result.operations;
  simulation_result_free(&result);
  char *path = path_join(saving->directory, "shrunk.json");
  int status = plan_write(&smaller, path, error);
  if (status == 0)
    status = trace_run(saving, &smaller, "shrunk.jsonl", error);
  free(path);
  plan_free(&smaller);
  return status;
}

static void make_details(struct saving *saving, bool shrink) {
  struct error error = {0};
  struct plan plan = {0};
  if (saving->settings->bug)
    bugs_enable(saving->settings->bug);
  int status = sim_plan_of(saving->settings, saving->record->seed, &plan, &error);
  if (status == 0) {
    saving->shared->details.faults = plan.fault_count;
    saving->shared->details.operations = saving->record->operations;
    status = trace_run(saving, &plan, "history.jsonl", &error);
  }
  if (status == 0 && shrink)
    status = save_shrunk(saving, &plan, &error);
  if (status != 0)
    note_failure(saving, &error);
  plan_free(&plan);
  saving->shared->done = true;
}

/* ---- From outside ---- */

static void show(struct live *live, const struct saving *saving) {
  const struct shrink_progress *progress = &saving->shared->progress;
  char line[300];
  snprintf(line, sizeof line, "seed %" PRIu64 ": shrinking, run %zu: %zu faults, %zu operations",
           saving->record->seed, progress->runs, progress->faults, progress->operations);
  if (progress->runs > 0 && saving->settings->progress)
    live_line(live, line);
}

/* Waits for the process; ends it when it overstays. */
static int await(const struct saving *saving, pid_t pid) {
  struct live live;
  live_open(&live, stderr);
  const int handle = pidfd_open(pid, 0);
  const int64_t end_ns = time_monotonic_ns() + PATIENCE_NS;
  struct pollfd waiting = {.fd = handle, .events = POLLIN};
  while (handle >= 0 && poll(&waiting, 1, 100) <= 0) {
    show(&live, saving);
    if (time_monotonic_ns() > end_ns)
      kill(pid, SIGKILL);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    continue;
  if (handle >= 0)
    close(handle);
  live_close(&live);
  return status;
}

static void explain_death(const struct saving *saving, int status, int words) {
  char said[300];
  pool_last_words(words, said, sizeof said);
  snprintf(
      saving->shared->details.note, sizeof saving->shared->details.note,
      "trace.txt ends where the process died (signal %d, %s)%s%s; a run that kills its process is not shrunk",
      WTERMSIG(status), strsignal(WTERMSIG(status)), said[0] ? ": " : "", said);
}

void sim_save_details(const struct sim_settings *settings, const struct seed_record *record,
                      const char *directory, bool shrink, struct sim_details *details) {
  struct shared *shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  *details = (struct sim_details){0};
  if (shared == MAP_FAILED) {
    snprintf(details->note, sizeof details->note, "no memory to share with a process");
    return;
  }
  struct saving saving = {.settings = settings, .record = record, .directory = directory, .shared = shared};
  const int words = memfd_create("words", MFD_CLOEXEC);
  fflush(NULL);
  const pid_t parent = getpid(), pid = fork();
  if (pid == 0) {
    pool_become_worker(words, parent);
    make_details(&saving, shrink);
    _exit(0);
  }
  const int status = pid > 0 ? await(&saving, pid) : 0;
  if (pid < 0)
    snprintf(shared->details.note, sizeof shared->details.note, "cannot start a process");
  else if (!shared->done && WIFSIGNALED(status))
    explain_death(&saving, status, words);
  *details = shared->details;
  close(words);
  munmap(shared, sizeof *shared);
}

static int write_plan(const struct sim_settings *settings, const struct seed_record *record,
                      const char *directory, struct error *error) {
  struct plan plan = {0};
  int status = sim_plan_of(settings, record->seed, &plan, error);
  if (status == 0) {
    char *path = path_join(directory, "plan.json");
    status = plan_write(&plan, path, error);
    free(path);
    plan_free(&plan);
  }
  return status;
}

/* Whether the plan that is run stands in the directory: it must not be emptied then. */
static bool holds_plan(const struct sim_settings *settings, const char *directory) {
  char *plan = settings->plan_path ? realpath(settings->plan_path, NULL) : NULL;
  char *place = realpath(directory, NULL);
  const size_t length = place ? strlen(place) : 0;
  const bool holds = plan && place && strncmp(plan, place, length) == 0 && plan[length] == '/';
  free(plan);
  free(place);
  return holds;
}

static char *directory_of(const struct sim_settings *settings, uint64_t seed) {
  struct bytes path = {0};
  bytes_append_format(&path, "%s/sim/%s%s%" PRIu64 "%s", settings->store, settings->bug ? settings->bug : "",
                      settings->bug ? "-" : "", seed, settings->plan_path ? "-plan" : "");
  bytes_append_u8(&path, 0);
  while (holds_plan(settings, (const char *)path.data)) {
    path.size--;
    bytes_append(&path, "-again", sizeof "-again");
  }
  return (char *)path.data;
}

int sim_save(const struct sim_settings *settings, const struct seed_record *record, char **directory,
             struct error *error) {
  char *made = directory_of(settings, record->seed);
  int status = directory_remove(made, error);
  if (status == 0)
    status = directory_make(made, error);
  if (status == 0)
    status = write_plan(settings, record, made, error);
  if (status == 0)
    *directory = made;
  else
    free(made);
  return status;
}

json_t *sim_record_json(const struct sim_settings *settings, const struct seed_record *record,
                        const char *directory, const struct sim_details *details) {
  char command[SIM_AGAIN_SIZE], digest[20];
  snprintf(digest, sizeof digest, "%016" PRIx64, record->digest);
  json_t *object = json_pack("{s:I, s:s}", "seed", (json_int_t)record->seed, "kind", seed_kind(record));
  if (record->evidence == EVIDENCE_INVARIANT)
    json_object_set_new(object, "invariant", json_string(record->invariant));
  else
    json_object_set_new(object, "verdict",
                        json_string(seed_failed(record)                    ? "invalid"
                                    : record->evidence == EVIDENCE_UNKNOWN ? "unknown"
                                                                           : "valid"));
  json_t *rest =
      json_pack("{s:s, s:s?, s:I, s:f, s:s, s:f, s:I, s:s}", "text", record->text, "bug", settings->bug,
                "transition", (json_int_t)record->at, "at_seconds", (double)record->at_ns / 1e9, "digest",
                digest, "simulated_seconds", (double)record->simulated_ns / 1e9, "operations",
                (json_int_t)record->operations, "command", sim_again(settings, record->seed, command));
  json_object_update(object, rest);
  json_decref(rest);
  if (directory) {
    json_object_set_new(object, "trace", json_string(directory));
    json_object_set_new(
        object, "plan",
        json_pack("s+", directory, details && details->shrunk ? "/shrunk.json" : "/plan.json"));
  }
  if (details) {
    json_object_set_new(object, "shrunk", json_boolean(details->shrunk));
    json_object_set_new(object, "plan_faults", json_integer((json_int_t)details->faults));
    json_object_set_new(object, "plan_operations", json_integer((json_int_t)details->operations));
    json_object_set_new(object, "counterexample_operations",
                        json_integer((json_int_t)details->counterexample));
    json_object_set_new(object, "note", json_string(details->note));
  }
  return object;
}
