/* The client process, against a cluster that is not there (fake_master_client.c). */
#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workloads/test/fake_master_client.h"
#include "workloads/workloads.h"

static const char *const addresses[] = {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"};

/* A client process that runs, as its parent sees it. */
struct run {
  pid_t pid;
  int standard_input; /* our end; -1: closed */
  FILE *events;
  char history[120];
  json_t *last; /* event */
  int exit_code;
};

static struct client_options options_of(const struct run *run) {
  return (struct client_options){.addresses = addresses,
                                 .address_count = 3,
                                 .workload = "mixed",
                                 .history = run->history,
                                 .clients = 16,
                                 .shard_count = 1,
                                 .seed = 1};
}

static void prepare(struct run *run) {
  const char *directory = getenv("TMPDIR");
  *run = (struct run){.standard_input = -1};
  snprintf(run->history, sizeof run->history, "%s/assay-client-%ld.jsonl", directory ? directory : "/tmp",
           (long)getpid());
}

static void start(struct run *run, const struct client_options *options, rlim_t file_size) {
  int input[2], output[2];
  cr_assert_eq(pipe(input), 0);
  cr_assert_eq(pipe(output), 0);
  run->pid = fork();
  if (run->pid == 0) {
    dup2(input[0], STDIN_FILENO);
    dup2(output[1], STDOUT_FILENO);
    close(input[0]);
    close(input[1]);
    close(output[0]);
    close(output[1]);
    if (file_size > 0) {
      const struct rlimit limit = {file_size, file_size};
      signal(SIGXFSZ, SIG_IGN);
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    _exit(client_run(options));
  }
  close(input[0]);
  close(output[1]);
  run->standard_input = input[1];
  run->events = fdopen(output[0], "r");
}

/* Reads the next event; false at the end. */
static bool next_event(struct run *run) {
  char line[1000];
  if (!fgets(line, sizeof line, run->events))
    return false;
  if (run->last)
    json_decref(run->last);
  run->last = json_loads(line, 0, NULL);
  cr_assert_not_null(run->last, "%s", line);
  return true;
}

static bool last_is(const struct run *run, const char *event) {
  return run->last && strcmp(json_string_value(json_object_get(run->last, "event")), event) == 0;
}

static void await_event(struct run *run, const char *event) {
  while (next_event(run) && !last_is(run, event))
    ;
  cr_assert(last_is(run, event), "no event %s", event);
}

static uint64_t last_number(const struct run *run, const char *name) {
  return (uint64_t)json_integer_value(json_object_get(run->last, name));
}

/* Waits for the end; the last event stays. */
static void finish(struct run *run) {
  int status;
  while (next_event(run))
    ;
  cr_assert_eq(waitpid(run->pid, &status, 0), run->pid);
  cr_assert(WIFEXITED(status), "it died of signal %d", WTERMSIG(status));
  run->exit_code = WEXITSTATUS(status);
  fclose(run->events);
  if (run->standard_input >= 0)
    close(run->standard_input);
}

static struct history *read_history(const struct run *run) {
  struct history *history;
  struct error error;
  cr_assert_eq(history_read(run->history, &history, NULL, &error), 0, "%s", error.message);
  unlink(run->history);
  return history;
}

/* What every history of a client process keeps, beyond what the reader checks. */
static void assert_well_recorded(const struct history *history) {
  int64_t last_ns = INT64_MIN;
  for (size_t i = 0; i < history->count; i++) {
    const struct operation *operation = &history->operations[i];
    cr_assert_gt(operation->invoke_time_ns, last_ns);
    last_ns = operation->invoke_time_ns;
    cr_assert_geq(operation->process, 100);
    if (!operation_is_mutation(operation->arguments.kind)) {
      cr_assert_eq(operation->op_id, 0);
      continue;
    }
    cr_assert_eq(operation->op_id >> 32, operation->process);
    uint64_t sequence = 1;
    for (size_t j = 0; j < i; j++)
      sequence += history->operations[j].process == operation->process &&
                  operation_is_mutation(history->operations[j].arguments.kind);
    cr_assert_eq(operation->op_id & UINT32_MAX, sequence);
  }
}

static size_t count(const struct history *history, enum outcome outcome) {
  size_t found = 0;
  for (size_t i = 0; i < history->count; i++)
    found += history->operations[i].outcome == outcome;
  return found;
}

Test(client, everything_is_recorded_and_counted) {
  struct run run;
  prepare(&run);
  struct client_options options = options_of(&run);
  options.operations = 3000;
  fake_cluster = (struct fake_cluster){.unknown = 0.03, .unchecked = 0.02, .refusals = 2};
  start(&run, &options, 0);
  await_event(&run, "ready");
  finish(&run);
  cr_assert_eq(run.exit_code, EXIT_VALID);
  cr_assert(last_is(&run, "done"));
  struct history *history = read_history(&run);
  cr_assert_eq(history->count, 3000);
  cr_assert_eq(last_number(&run, "operations"), 3000);
  cr_assert_eq(last_number(&run, "ok"), count(history, OUTCOME_OK));
  cr_assert_eq(last_number(&run, "fail"), count(history, OUTCOME_FAIL));
  cr_assert_eq(last_number(&run, "info"), count(history, OUTCOME_INFO));
  cr_assert_gt(count(history, OUTCOME_INFO), 20);
  assert_well_recorded(history);
  bool answered = false;
  for (size_t i = 0; i < history->count; i++) {
    const struct operation *operation = &history->operations[i];
    cr_assert_neq(operation->complete_event, NO_EVENT);
    if (operation->outcome == OUTCOME_OK && operation->arguments.kind == OPERATION_LIST) {
      answered |= operation->answer.entry_count > 0;
      cr_assert(operation->node == 2 && operation->term == 3 && operation->commit == 4);
    }
  }
  cr_assert(answered, "no list saw anything");
  history_free(history);
}

Test(client, reads_go_to_any_node_and_changes_to_the_primary) {
  struct run run;
  prepare(&run);
  struct client_options options = options_of(&run);
  options.operations = 1000;
  options.reads_any = true;
  fake_cluster = (struct fake_cluster){0};
  start(&run, &options, 0);
  finish(&run);
  cr_assert_eq(run.exit_code, EXIT_VALID);
  struct history *history = read_history(&run);
  assert_well_recorded(history);
  size_t reads = 0;
  for (size_t i = 0; i < history->count; i++) {
    const bool read = !operation_is_mutation(history->operations[i].arguments.kind);
    cr_assert_eq(history->operations[i].node, read ? 1 : 2);
    reads += read;
  }
  cr_assert(reads > 100 && reads < history->count - 100);
  history_free(history);
}

Test(client, the_end_of_standard_input_stops_it) {
  struct run run;
  prepare(&run);
  struct client_options options = options_of(&run);
  fake_cluster = (struct fake_cluster){0};
  start(&run, &options, 0);
  await_event(&run, "stats");
  close(run.standard_input);
  run.standard_input = -1;
  finish(&run);
  cr_assert_eq(run.exit_code, EXIT_VALID);
  cr_assert(last_is(&run, "done"));
  struct history *history = read_history(&run);
  cr_assert_eq(count(history, OUTCOME_INFO), 0, "what was outstanding was not waited for");
  cr_assert_eq(last_number(&run, "operations"), history->count);
  history_free(history);
}

Test(client, sigterm_stops_it) {
  struct run run;
  prepare(&run);
  struct client_options options = options_of(&run);
  fake_cluster = (struct fake_cluster){0};
  start(&run, &options, 0);
  await_event(&run, "ready");
  kill(run.pid, SIGTERM);
  finish(&run);
  cr_assert_eq(run.exit_code, EXIT_VALID);
  cr_assert(last_is(&run, "done"));
  history_free(read_history(&run));
}

Test(client, it_does_not_wait_for_ever) {
  struct run run;
  prepare(&run);
  struct client_options options = options_of(&run);
  options.time_ns = 50 * NS_PER_MS;
  options.request_timeout_ns = 50 * NS_PER_MS;
  fake_cluster = (struct fake_cluster){.silent = true};
  start(&run, &options, 0);
  finish(&run);
  cr_assert_eq(run.exit_code, EXIT_VALID);
  cr_assert_eq(last_number(&run, "outstanding"), 16);
  struct history *history = read_history(&run);
  cr_assert_eq(history->count, 16);
  for (size_t i = 0; i < history->count; i++)
    cr_assert_eq(history->operations[i].complete_event, NO_EVENT);
  history_free(history);
}

Test(client, a_cluster_that_grants_no_numbers_makes_an_empty_history) {
  struct run run;
  prepare(&run);
  struct client_options options = options_of(&run);
  options.time_ns = 150 * NS_PER_MS;
  fake_cluster = (struct fake_cluster){.no_numbers = true};
  start(&run, &options, 0);
  finish(&run);
  cr_assert_eq(run.exit_code, EXIT_VALID);
  struct history *history = read_history(&run);
  cr_assert_eq(history->count, 0);
  history_free(history);
}

Test(client, the_rate_is_not_exceeded) {
  struct run run;
  prepare(&run);
  struct client_options options = options_of(&run);
  options.rate = 500;
  options.time_ns = 400 * NS_PER_MS;
  fake_cluster = (struct fake_cluster){0};
  const int64_t start_ns = time_monotonic_ns();
  start(&run, &options, 0);
  finish(&run);
  const double seconds = (double)(time_monotonic_ns() - start_ns) / NS_PER_S;
  struct history *history = read_history(&run);
  cr_assert_gt(history->count, 0);
  cr_assert_leq((double)history->count, options.rate * seconds + 1);
  history_free(history);
}

Test(client, a_full_disk_ends_it_and_what_was_written_is_kept) {
  struct run run;
  prepare(&run);
  struct client_options options = options_of(&run);
  fake_cluster = (struct fake_cluster){0};
  start(&run, &options, 50001);
  finish(&run);
  cr_assert_eq(run.exit_code, EXIT_HARNESS);
  struct history *history;
  struct error error;
  cr_assert_eq(history_read(run.history, &history, NULL, &error), 0, "%s", error.message);
  cr_assert_gt(history->count, 100);
  history_free(history);
  unlink(run.history);
}

Test(client, errors_are_events) {
  struct run run;
  prepare(&run);
  struct client_options options = options_of(&run);
  options.history = "/no/such/directory/history.jsonl";
  start(&run, &options, 0);
  finish(&run);
  cr_assert_eq(run.exit_code, EXIT_HARNESS);
  cr_assert(last_is(&run, "error"));
  cr_assert(strstr(json_string_value(json_object_get(run.last, "message")), "/no/such/directory"));
  options.workload = "none";
  start(&run, &options, 0);
  finish(&run);
  cr_assert_eq(run.exit_code, EXIT_USAGE);
}
