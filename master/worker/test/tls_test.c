/* Blocks through TLS: a data server and its clients on one loop, with certificates of every role. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/client/data.h"
#include "master/rpc/test/test_certificates.h"
#include "master/worker/data_server.h"

#define BLOCK UINT64_C(7)
#define SIZE (3u << 20)

struct bench {
  char directory[64];
  uv_loop_t loop;
  struct block_store *store;
  struct data_server *server;
  struct tls_context *worker;
  char address[32];
};

struct outcome {
  bool ended;
  enum data_status status;
  char message[600];
  struct data_stream *stream;
  struct bytes read;
  bool write;
};

static bool may_write(void *context, char *why, size_t size) {
  (void)context;
  if (size > 0)
    why[0] = '\0';
  return true;
}

static void on_block(void *context, uint64_t block) {
  (void)context, (void)block;
}

static struct tls_context *certificate(const struct bench *bench, enum tls_role role) {
  return test_tls_context(bench->directory, "tls", role);
}

/* `role`: of the server's certificate; 0: it has none. */
static void open_bench(struct bench *bench, unsigned role) {
  struct error error = {0};
  log_open("test", LOG_LEVEL_ERROR);
  *bench = (struct bench){.directory = "/tmp/assay-worker-tls-XXXXXX"};
  cr_assert(mkdtemp(bench->directory));
  uv_loop_init(&bench->loop);
  char *data = path_join(bench->directory, "data");
  cr_assert_eq(block_store_open(data, 0, &bench->store, &error), 0, "%s", error.message);
  free(data);
  bench->worker = role ? certificate(bench, (enum tls_role)role) : NULL;
  const struct data_server_options options = {.loop = &bench->loop,
                                              .address = "127.0.0.1:0",
                                              .store = bench->store,
                                              .tls = bench->worker,
                                              .may_write = may_write,
                                              .stored = on_block,
                                              .lost = on_block};
  cr_assert_eq(data_server_open(&options, &bench->server, &error), 0, "%s", error.message);
  snprintf(bench->address, sizeof bench->address, "127.0.0.1:%u", data_server_port(bench->server));
}

static void close_bench(struct bench *bench) {
  data_server_close(bench->server, NULL, NULL);
  uv_run(&bench->loop, UV_RUN_DEFAULT);
  cr_assert_eq(uv_loop_close(&bench->loop), 0, "a handle is left open");
  block_store_close(bench->store);
  tls_context_free(bench->worker);
  directory_remove(bench->directory, NULL);
}

static unsigned char byte_at(size_t place) {
  return (unsigned char)(place * 2654435761u >> 13);
}

static void on_ended(void *context, enum data_status status, const char *message) {
  struct outcome *outcome = context;
  outcome->ended = true;
  outcome->status = status;
  snprintf(outcome->message, sizeof outcome->message, "%s", message);
}

static void on_ready(void *context) {
  struct outcome *outcome = context;
  if (outcome->write)
    return;
  outcome->write = true;
  unsigned char *data = xmalloc(SIZE);
  for (size_t i = 0; i < SIZE; i++)
    data[i] = byte_at(i);
  data_write_piece(outcome->stream, data, SIZE);
  data_write_finish(outcome->stream);
  free(data);
}

static bool on_piece(void *context, const void *data, size_t size) {
  struct outcome *outcome = context;
  bytes_append(&outcome->read, data, size);
  return true;
}

static void await(struct bench *bench, const struct outcome *outcome) {
  while (!outcome->ended)
    uv_run(&bench->loop, UV_RUN_ONCE);
}

static struct outcome write_block(struct bench *bench, struct tls_context *tls) {
  struct outcome outcome = {0};
  const struct data_target target = {.loop = &bench->loop, .address = bench->address, .tls = tls};
  cr_assert_eq(data_write_begin(&target, BLOCK, on_ready, on_ended, &outcome, &outcome.stream, NULL), 0);
  await(bench, &outcome);
  return outcome;
}

Test(worker_tls, a_block_goes_there_and_comes_back) {
  struct bench bench;
  open_bench(&bench, TLS_WORKER);
  static const enum tls_role roles[] = {TLS_CLIENT, TLS_MASTER, TLS_WORKER};
  for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
    struct tls_context *client = certificate(&bench, roles[i]);
    const struct outcome written = write_block(&bench, client);
    cr_assert_eq(written.status, DATA_DONE, "%s", written.message);
    struct outcome read = {0};
    const struct data_target target = {.loop = &bench.loop, .address = bench.address, .tls = client};
    cr_assert_eq(data_read_begin(&target, BLOCK, 0, 0, on_piece, on_ended, &read, &read.stream, NULL), 0);
    await(&bench, &read);
    cr_assert_eq(read.status, DATA_DONE, "%s", read.message);
    cr_assert_eq(read.read.size, SIZE);
    for (size_t k = 0; k < SIZE; k++)
      cr_assert_eq(read.read.data[k], byte_at(k));
    bytes_free(&read.read);
    uv_run(&bench.loop, UV_RUN_NOWAIT);
    tls_context_free(client);
  }
  close_bench(&bench);
}

static void expect_refusal(unsigned server, unsigned client_role, const char *why) {
  struct bench bench;
  open_bench(&bench, server);
  struct tls_context *client = client_role ? certificate(&bench, (enum tls_role)client_role) : NULL;
  const struct outcome outcome = write_block(&bench, client);
  cr_assert_eq(outcome.status, DATA_UNREACHABLE);
  cr_assert(strstr(outcome.message, why), "'%s' does not say '%s'", outcome.message, why);
  cr_assert(!outcome.write, "something was sent");
  cr_assert_eq(block_store_count(bench.store), 0);
  close_bench(&bench);
  tls_context_free(client);
}

Test(worker_tls, who_is_no_worker_gets_no_blocks) {
  expect_refusal(TLS_CLIENT, TLS_CLIENT,
                 "of another role: its subject alternative names must hold DNS:assay-worker");
  expect_refusal(TLS_MASTER, TLS_CLIENT, "DNS:assay-worker");
}

Test(worker_tls, with_and_without_do_not_meet) {
  expect_refusal(TLS_WORKER, 0, "it does not speak TLS, without which nobody may connect here");
  expect_refusal(0, TLS_CLIENT, "does not speak TLS: start it with --tls-certificate");
}
