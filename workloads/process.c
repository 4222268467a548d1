/* process.c: the client process: its loop, its beginning and its ends. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "workloads/process.h"

#define STATS_MS 250
#define PACE_MS 1
/* A request ends within its time-out; the loop gets this much longer to say so. */
#define GRACE_MS 500
#define REQUEST_TIMEOUT_DEFAULT_NS (2 * NS_PER_S)

static void close_everything(uv_timer_t *timer) {
  struct client_process *process = timer->data;
  sessions_close(process);
  uv_handle_t *handles[] = {(uv_handle_t *)&process->stats_timer, (uv_handle_t *)&process->pace_timer,
                            (uv_handle_t *)&process->end_timer,   (uv_handle_t *)&process->number_timer,
                            (uv_handle_t *)&process->terminate,   (uv_handle_t *)&process->interrupt};
  for (size_t i = 0; i < ARRAY_SIZE(handles); i++)
    uv_close(handles[i], NULL);
  if (process->polling)
    uv_close((uv_handle_t *)&process->standard_input, NULL);
}

/* Not at once: a session's connection may be in the middle of telling us an answer. */
static void close_soon(struct client_process *process) {
  if (process->closing)
    return;
  process->closing = process->stopping = true;
  uv_timer_start(&process->end_timer, close_everything, 0, 0);
}

void process_fail(struct client_process *process, int exit_code, const struct error *error) {
  if (process->exit_code == EXIT_VALID) {
    process->exit_code = exit_code;
    event_error(error->message);
  }
  close_soon(process);
}

void process_session_ended(struct client_process *process) {
  if (process->stopping && process->busy == 0)
    close_soon(process);
}

static void on_grace_over(uv_timer_t *timer) {
  close_soon(timer->data);
}

void process_stop(struct client_process *process) {
  if (process->stopping)
    return;
  process->stopping = true;
  if (process->busy == 0) {
    close_soon(process);
    return;
  }
  int64_t timeout_ns = process->options->request_timeout_ns;
  if (timeout_ns == 0)
    timeout_ns = REQUEST_TIMEOUT_DEFAULT_NS;
  uv_update_time(&process->loop);
  uv_timer_start(&process->end_timer, on_grace_over, (uint64_t)(timeout_ns / NS_PER_MS) + GRACE_MS, 0);
}

static void on_time_over(uv_timer_t *timer) {
  process_stop(timer->data);
}

static void on_signal(uv_signal_t *signal, int number) {
  (void)number;
  process_stop(signal->data);
}

static void on_stats(uv_timer_t *timer) {
  event_counts(timer->data, "stats");
}

static void on_pace(uv_timer_t *timer) {
  sessions_start_due(timer->data);
}

/* What comes on standard input means nothing; its end means stop. */
static void on_standard_input(uv_poll_t *poll, int status, int events) {
  (void)events;
  char ignored[256];
  const ssize_t got = status < 0 ? 0 : read(STDIN_FILENO, ignored, sizeof ignored);
  if (got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN)))
    return;
  uv_poll_stop(poll);
  process_stop(poll->data);
}

/* A pipe or a socket is somebody who may go away. A file or /dev/null is nobody. */
static void watch_standard_input(struct client_process *process) {
  const uv_handle_type type = uv_guess_handle(STDIN_FILENO);
  if (type != UV_NAMED_PIPE && type != UV_TCP)
    return;
  if (uv_poll_init(&process->loop, &process->standard_input, STDIN_FILENO) != 0)
    return;
  process->polling = true;
  process->standard_input.data = process;
  uv_poll_start(&process->standard_input, UV_READABLE | UV_DISCONNECT, on_standard_input);
}

static void start_timers(struct client_process *process) {
  uv_timer_t *timers[] = {&process->stats_timer, &process->pace_timer, &process->end_timer,
                          &process->number_timer};
  for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
    uv_timer_init(&process->loop, timers[i]);
    timers[i]->data = process;
  }
  uv_timer_start(&process->stats_timer, on_stats, STATS_MS, STATS_MS);
  if (process->options->rate > 0)
    uv_timer_start(&process->pace_timer, on_pace, PACE_MS, PACE_MS);
  if (process->options->time_ns > 0)
    uv_timer_start(&process->end_timer, on_time_over, (uint64_t)(process->options->time_ns / NS_PER_MS), 0);
  uv_signal_init(&process->loop, &process->terminate);
  uv_signal_init(&process->loop, &process->interrupt);
  process->terminate.data = process->interrupt.data = process;
  uv_signal_start(&process->terminate, on_signal, SIGTERM);
  uv_signal_start(&process->interrupt, on_signal, SIGINT);
  watch_standard_input(process);
}

static void run_loop(struct client_process *process) {
  struct error error;
  start_timers(process);
  process->start_ns = time_monotonic_ns();
  if (sessions_open(process, &error) != 0)
    process_fail(process, EXIT_HARNESS, &error);
  else
    numbers_provide(process);
  uv_run(&process->loop, UV_RUN_DEFAULT);
}

static int open_history(struct client_process *process, struct error *error) {
  const struct client_options *options = process->options;
  char header[256];
  snprintf(header, sizeof header, "{\"workload\":\"%s\",\"seed\":%llu,\"shard\":%lld,\"clients\":%lld}",
           options->workload, (unsigned long long)options->seed, (long long)options->shard,
           (long long)options->clients);
  return history_writer_open(options->history, "fs", header, &process->writer, error);
}

/* Returns an exit code. */
static int refuse(const struct error *error) {
  event_error(error->message);
  return error->code == ERR_BAD_INPUT ? EXIT_USAGE : EXIT_HARNESS;
}

int client_run(const struct client_options *options) {
  struct client_process process = {.options = options};
  struct error error;
  const struct generator_options generator_options = {
      .workload = options->workload,
      .seed = options->seed,
      .shard = (uint64_t)options->shard,
      .shard_count = (uint64_t)options->shard_count,
      .operations_per_set = (uint64_t)options->operations_per_set,
  };
  signal(SIGPIPE, SIG_IGN);
  if (generator_new(&generator_options, &process.generator, &error) != 0)
    return refuse(&error);
  if (open_history(&process, &error) != 0) {
    generator_free(process.generator);
    return refuse(&error);
  }
  uv_loop_init(&process.loop);
  run_loop(&process);
  uv_loop_close(&process.loop);
  const bool failed = process.exit_code != EXIT_VALID;
  if (history_writer_close(process.writer, &error) != 0 && !failed) {
    event_error(error.message);
    process.exit_code = EXIT_HARNESS;
  }
  event_counts(&process, "done");
  sessions_free(&process);
  generator_free(process.generator);
  return process.exit_code;
}
