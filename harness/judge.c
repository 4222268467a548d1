#include "harness/judge.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/document.h"
#include "harness/recorded_schedule.h"
#include "harness/report/report.h"
#include "harness/verdict.h"

/* Reading, merging, minimising and rendering may take that much longer than the search itself. */
#define ANALYSIS_GRACE_NS (300 * NS_PER_S)

/* ---- Merging ---- */

static int is_part(const struct dirent *entry) {
  const size_t size = strlen(entry->d_name);
  return size > 6 && strcmp(entry->d_name + size - 6, ".jsonl") == 0;
}

static char *merged_header(const struct settings *settings) {
  json_t *header = json_pack("{s:s, s:I, s:s, s:s, s:I}", "test", settings->name, "nodes",
                             (json_int_t)settings->nodes, "workload", settings->workload, "nemesis",
                             settings->nemesis, "seed", (json_int_t)settings->seed);
  char *text = json_dumps(header, JSON_COMPACT);
  json_decref(header);
  return text;
}

static int merge(const struct case_file *file, const char *history, struct error *error) {
  char *parts = path_join(file->run, "parts");
  struct dirent **entries = NULL;
  struct error cause = {0};
  char *paths[CLIENT_PROCESSES_MAX + 1];
  size_t path_count = 0;
  const int count = scandir(parts, &entries, is_part, alphasort);
  for (int i = 0; i < count; i++) {
    if (path_count < ARRAY_SIZE(paths))
      paths[path_count++] = path_join(parts, entries[i]->d_name);
    free(entries[i]);
  }
  free(entries);
  char *header = merged_header(file->settings);
  int status = 0;
  if (path_count == 0)
    status = error_set(error, ERR_NOT_FOUND, "nothing was recorded: %s holds no history", parts);
  else if ((status = history_merge((const char *const *)paths, path_count, history, header, &cause)) != 0) {
    /* Half a merged history would only mislead, and its room may be what is missing. */
    unlink(history);
    error_set(error, (enum error_code)status, "%.400s; what was recorded is kept in %s", cause.message,
              parts);
  } else if (directory_remove(parts, &cause) != 0)
    log_warn("%s", cause.message);
  free(header);
  for (size_t i = 0; i < path_count; i++)
    free(paths[i]);
  free(parts);
  return status;
}

/* ---- The analysis, in the process of its own ---- */

struct analysis {
  const struct case_file *file;
  struct evidence evidence;
  struct timeline timeline;
  struct statistics statistics;
  struct history *history;
  struct check_result check;
  struct error error;
};

static void read_history(struct analysis *analysis, const char *path) {
  struct error warning = {0};
  const int64_t began_ns = time_monotonic_ns();
  if (history_read(path, &analysis->history, &warning, &analysis->error) != 0)
    return;
  if (warning.code != 0)
    log_warn("%s", warning.message);
  analysis->evidence.parse_seconds = (double)(time_monotonic_ns() - began_ns) / 1e9;
  statistics_make(analysis->history, &analysis->timeline, &analysis->statistics);
  analysis->evidence.history = analysis->history;
  analysis->evidence.statistics = &analysis->statistics;
}

static void check(struct analysis *analysis) {
  const struct settings *settings = analysis->file->settings;
  const struct check_options options = {.time_budget_ns = settings->time_budget_ns,
                                        .memory_budget = (uint64_t)settings->memory_budget,
                                        .minimise = true};
  if (check_history(analysis->history, &options, &analysis->check, &analysis->error) == 0)
    analysis->evidence.check = &analysis->check;
}

static void write_proof(struct analysis *analysis) {
  const char *run = analysis->file->run;
  const struct check_result *check = &analysis->check;
  char *path = NULL;
  if (check->verdict == VERDICT_VALID) {
    path = path_join(run, "certificate");
    certificate_write(analysis->history, check, path, &analysis->error);
  } else if (check->counterexample) {
    path = path_join(run, "counterexample.jsonl");
    history_save(check->counterexample, path, &analysis->error);
  }
  free(path);
}

static void write_schedule(const struct analysis *analysis) {
  char *path = path_join(analysis->file->run, "schedule.json");
  json_t *schedule = recorded_schedule(&analysis->timeline, analysis->file->settings);
  struct error error = {0};
  if (document_write(path, schedule, &error) != 0)
    log_warn("%s", error.message);
  json_decref(schedule);
  free(path);
}

static int write_result(struct analysis *analysis) {
  if (analysis->error.code != 0)
    analysis->evidence.error = analysis->error.message;
  json_t *result = verdict_result(&analysis->evidence);
  char *path = path_join(analysis->file->run, "result.json");
  struct error error = {0};
  const int status = document_write(path, result, &error);
  if (status != 0)
    log_error("%s", error.message);
  json_decref(result);
  free(path);
  return status;
}

static int analyse(const struct case_file *file) {
  struct analysis analysis = {.file = file};
  analysis.evidence = (struct evidence){.settings = file->settings,
                                        .run = file->run,
                                        .command = file->command,
                                        .outcome = file->outcome,
                                        .timeline = &analysis.timeline};
  char *events = path_join(file->run, "events.jsonl");
  char *history = path_join(file->run, "history.jsonl");
  struct error error = {0};
  if (timeline_read(events, &analysis.timeline, &error) != 0)
    log_warn("%s", error.message);
  write_schedule(&analysis);
  if (merge(file, history, &analysis.error) == 0)
    read_history(&analysis, history);
  if (analysis.history)
    check(&analysis);
  if (analysis.evidence.check)
    write_proof(&analysis);
  int status = write_result(&analysis);
  if (status == 0 && report_write(file->run, analysis.history, &error) != 0)
    log_warn("no report.html: %s (assay report %s tries again)", error.message, file->run);
  check_result_free(&analysis.check);
  statistics_free(&analysis.statistics);
  history_free(analysis.history);
  timeline_free(&analysis.timeline);
  free(events);
  free(history);
  return status == 0 ? 0 : EXIT_HARNESS;
}

/* ---- From outside ---- */

/* Waits for the process, bounded; ends it when it overstays. Returns its wait status. */
static int wait_for(pid_t pid, int64_t patience_ns, bool *overstayed) {
  const int handle = pidfd_open(pid, 0);
  if (handle >= 0) {
    struct pollfd waiting = {.fd = handle, .events = POLLIN};
    const int64_t patience_ms = patience_ns / NS_PER_MS;
    int ready;
    do
      ready = poll(&waiting, 1, patience_ms > INT32_MAX ? -1 : (int)patience_ms);
    while (ready < 0 && errno == EINTR);
    *overstayed = ready == 0;
    if (*overstayed)
      kill(pid, SIGKILL);
    close(handle);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    continue;
  return status;
}

static void explain_ending(int status, bool overstayed, const char *run, char *out, size_t size) {
  char how[100];
  if (overstayed)
    snprintf(how, sizeof how, "was ended, long after its budget of time");
  else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT)
    snprintf(how, sizeof how, "was interrupted");
  else if (WIFSIGNALED(status))
    snprintf(how, sizeof how, "died of signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  else
    snprintf(how, sizeof how, "ended with exit code %d", WEXITSTATUS(status));
  snprintf(out, size, "the analysis %s; the history is kept, assay check %s tries again", how, run);
}

json_t *judge(const struct case_file *file) {
  char *path = path_join(file->run, "result.json");
  fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0)
    _exit(analyse(file));
  json_t *result = NULL;
  char why[600] = "cannot start a process for the analysis";
  struct error error = {0};
  if (pid > 0) {
    /* A Ctrl-C now ends the analysis; what comes after it still has to be said. */
    void (*before)(int) = signal(SIGINT, SIG_IGN);
    bool overstayed = false;
    const int status = wait_for(pid, file->settings->time_budget_ns + ANALYSIS_GRACE_NS, &overstayed);
    signal(SIGINT, before);
    explain_ending(status, overstayed, file->run, why, sizeof why);
    result = document_read(path, &error);
  }
  if (!result) {
    result = verdict_failure(file->run, file->command, file->settings->seed, why);
    document_write(path, result, NULL);
  }
  free(path);
  return result;
}
