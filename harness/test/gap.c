/* gap.c: how long nobody is answered: clients that work all the time, and the longest time between two ok.
 *
 *   gap HOST:PORT…     for each line on standard input: prints the longest gap since the line before, in ms
 *
 * For ci/acceptance failover, which hurts the cluster between two lines. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/base.h"
#include "master/client/client.h"

#define CLIENTS 16
#define NODES_MAX 16

struct gap;

struct worker {
  struct gap *gap;
  struct master_client *client;
  uint32_t number, sequence;
};

struct gap {
  uv_loop_t loop;
  uv_pipe_t lines;
  struct worker workers[CLIENTS];
  int64_t last_ok_ns, longest_ns;
  uint64_t answered;
  char input[256];
};

static void work(struct worker *worker);

static void note_ok(struct gap *gap) {
  const int64_t now_ns = time_monotonic_ns();
  if (now_ns - gap->last_ok_ns > gap->longest_ns)
    gap->longest_ns = now_ns - gap->last_ok_ns;
  gap->last_ok_ns = now_ns;
  gap->answered++;
}

static void on_answer(void *context, const struct master_answer *answer) {
  struct worker *worker = context;
  if (answer->outcome == MASTER_OK)
    note_ok(worker->gap);
  work(worker);
}

static void work(struct worker *worker) {
  char path[64];
  worker->sequence++;
  snprintf(path, sizeof path, "/gap-%" PRIu32 "-%" PRIu32, worker->number, worker->sequence);
  const struct master_request request = {
      .operation = MASTER_MKDIR, .op_id = (uint64_t)worker->number << 32 | worker->sequence, .path = path};
  master_client_submit(worker->client, &request, on_answer, worker);
}

static void on_number(void *context, uint32_t first, const struct master_answer *answer) {
  struct worker *worker = context;
  if (answer->outcome != MASTER_OK) {
    master_client_reserve(worker->client, 1, on_number, worker);
    return;
  }
  worker->number = first;
  work(worker);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  struct gap *gap = handle->data;
  (void)suggested;
  *buffer = uv_buf_init(gap->input, sizeof gap->input);
}

static void on_line(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  struct gap *gap = stream->data;
  (void)buffer;
  if (size < 0)
    _exit(0);
  for (ssize_t i = 0; i < size; i++) {
    if (gap->input[i] != '\n')
      continue;
    const int64_t open_ns = time_monotonic_ns() - gap->last_ok_ns;
    printf("%.1f\n", (double)(open_ns > gap->longest_ns ? open_ns : gap->longest_ns) / 1e6);
    fflush(stdout);
    gap->longest_ns = 0;
  }
}

int main(int argc, char **argv) {
  static struct gap gap;
  log_open("gap", LOG_LEVEL_ERROR);
  if (argc < 2 || argc > NODES_MAX) {
    fprintf(stderr, "usage: gap HOST:PORT…\n");
    return EXIT_USAGE;
  }
  uv_loop_init(&gap.loop);
  gap.last_ok_ns = time_monotonic_ns();
  for (size_t i = 0; i < CLIENTS; i++) {
    const struct master_client_options options = {.addresses = (const char *const *)argv + 1,
                                                  .address_count = (size_t)argc - 1,
                                                  .preferred = i % ((size_t)argc - 1),
                                                  .retry = true};
    struct error error;
    gap.workers[i].gap = &gap;
    if (master_client_open(&gap.loop, &options, &gap.workers[i].client, &error) != 0) {
      fprintf(stderr, "gap: %s\n", error.message);
      return EXIT_HARNESS;
    }
    master_client_reserve(gap.workers[i].client, 1, on_number, &gap.workers[i]);
  }
  uv_pipe_init(&gap.loop, &gap.lines, 0);
  gap.lines.data = &gap;
  uv_pipe_open(&gap.lines, STDIN_FILENO);
  uv_read_start((uv_stream_t *)&gap.lines, on_allocate, on_line);
  return uv_run(&gap.loop, UV_RUN_DEFAULT);
}
