/* Masters and clients that speak TLS: real processes, and in the middle one that listens. */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/base.h"
#include "master/client/client.h"
#include "master/rpc/rpc.h"
#include "master/rpc/test/test_certificates.h"
#include "master/server/test/nodes.h"

#define SECRET "/the-name-that-nobody-else-may-read"

static uv_loop_t loop;
static char said[8192];

static void keep_line(void *context, enum log_level level, const char *line) {
  (void)context, (void)level;
  snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", line);
}
static const struct log_sink sink = {.write = keep_line};

/* ---- certificates ---- */

/* Those of an authority of that name, in the nodes' directory. */
static void paths_of(const char *name, enum tls_role role, struct certificate_paths *paths) {
  test_certificate_paths(nodes_directory(), name, role, paths);
}

static struct tls_context *context_of(const char *name, enum tls_role role) {
  return test_tls_context(nodes_directory(), name, role);
}

/* The flags of masters with these certificates, until the next call. */
static const char *const *flags_of(const char *name) {
  static struct certificate_paths paths;
  static const char *flags[7];
  paths_of(name, TLS_MASTER, &paths);
  const char *const all[] = {"--tls-certificate", paths.certificate, "--tls-key", paths.key,
                             "--tls-authority",   paths.authority,   NULL};
  memcpy((void *)flags, (const void *)all, sizeof all);
  return flags;
}

static void start(size_t count, bool tls) {
  nodes_make(count);
  if (tls)
    nodes_flags(flags_of("good"));
  for (size_t node = 0; node < count; node++)
    nodes_start(node);
  uv_loop_init(&loop);
  said[0] = '\0';
  log_divert(&sink);
}

static void finish(void) {
  log_divert(NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  cr_assert_eq(uv_loop_close(&loop), 0);
  nodes_unmake();
}

/* ---- asking ---- */

struct reply {
  bool came;
  enum master_outcome outcome;
  enum master_error error;
};

static void keep(void *context, const struct master_answer *answer) {
  *(struct reply *)context = (struct reply){true, answer->outcome, answer->error};
}

static struct master_client *open_client(const char *const *addresses, size_t count, struct tls_context *tls,
                                         int64_t timeout_ns) {
  struct master_client *client;
  struct error error;
  const struct master_client_options options = {.addresses = addresses,
                                                .address_count = count,
                                                .request_timeout_ns = timeout_ns,
                                                .connect_timeout_ns = 5 * NS_PER_S,
                                                .only_given = true,
                                                .retry = true,
                                                .tls = tls};
  cr_assert_eq(master_client_open(&loop, &options, &client, &error), 0, "%s", error.message);
  return client;
}

/* Whether there is SECRET, of which any answer will do. */
static struct reply look(struct master_client *client) {
  const struct master_request request = {.operation = MASTER_EXISTS, .path = SECRET};
  struct reply reply = {0};
  master_client_submit(client, &request, keep, &reply);
  while (!reply.came)
    uv_run(&loop, UV_RUN_ONCE);
  return reply;
}

static void set_true(void *context) {
  *(bool *)context = true;
}

static void close_client(struct master_client *client) {
  bool closed = false;
  master_client_close(client, set_true, &closed);
  while (!closed)
    uv_run(&loop, UV_RUN_ONCE);
}

static struct reply ask_once(const char *const *addresses, size_t count, struct tls_context *tls,
                             int64_t timeout_ns) {
  struct master_client *client = open_client(addresses, count, tls, timeout_ns);
  const struct reply reply = look(client);
  close_client(client);
  return reply;
}

static void assert_served(struct tls_context *tls, size_t count) {
  const struct reply reply = ask_once(nodes_addresses(), count, tls, 60 * NS_PER_S);
  cr_assert_eq(reply.outcome, MASTER_OK, "%s: %s", master_error_name(reply.error), said);
}

/* Nothing was sent, which is certain; and the log tells why. */
static void assert_refused(struct tls_context *tls, const char *why) {
  said[0] = '\0';
  const struct reply reply = ask_once(nodes_addresses(), 1, tls, 3 * NS_PER_S);
  cr_assert(reply.outcome == MASTER_UNCHECKED && reply.error == MASTER_ERROR_REFUSED, "%d %s",
            (int)reply.outcome, master_error_name(reply.error));
  cr_assert(strstr(said, why), "'%s' was not said, but: %s", why, said);
}

/* Until the first node answers anything at all. */
static void await_first(struct tls_context *tls) {
  assert_served(tls, 1);
}

/* What the first node has written to its log, which may take a moment. */
static void assert_node_said(const char *text) {
  char path[128];
  struct bytes log = {0};
  snprintf(path, sizeof path, "%s/n1.log", nodes_directory());
  const int64_t until_ns = time_monotonic_ns() + 30 * NS_PER_S;
  do {
    bytes_clear(&log);
    cr_assert_eq(file_read(path, &log, NULL), 0);
    bytes_append_u8(&log, 0);
    if (strstr((const char *)log.data, text))
      break;
    usleep(10000);
  } while (time_monotonic_ns() < until_ns);
  cr_assert(strstr((const char *)log.data, text), "'%s' is not in: %s", text, (const char *)log.data);
  bytes_free(&log);
}

/* ---- a proxy that keeps all bytes ---- */

struct half {
  uv_tcp_t tcp;
  uv_connect_t connect;
  struct half *other;
  bool closing;
};

static struct {
  uv_tcp_t listener;
  struct sockaddr_in master;
  char address[32];
  struct bytes seen; /* both ways */
} proxy;

static void on_half_closed(uv_handle_t *handle) {
  free(handle->data);
}

static void close_half(struct half *half) {
  if (half->closing)
    return;
  half->closing = true;
  if (half->other) {
    half->other->other = NULL;
    close_half(half->other);
  }
  uv_close((uv_handle_t *)&half->tcp, on_half_closed);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)handle;
  *buffer = uv_buf_init(xmalloc(suggested), (unsigned)suggested);
}

struct forward {
  uv_write_t write;
  char *data;
};

static void on_forwarded(uv_write_t *write, int status) {
  (void)status;
  struct forward *forward = CONTAINER_OF(write, struct forward, write);
  free(forward->data);
  free(forward);
}

static void on_half_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  struct half *half = stream->data;
  if (size <= 0 || !half->other) {
    free(buffer->base);
    if (size < 0)
      close_half(half);
    return;
  }
  bytes_append(&proxy.seen, buffer->base, (size_t)size);
  struct forward *forward = xcalloc(1, sizeof *forward);
  forward->data = buffer->base;
  uv_buf_t whole = uv_buf_init(buffer->base, (unsigned)size);
  uv_write(&forward->write, (uv_stream_t *)&half->other->tcp, &whole, 1, on_forwarded);
}

static void on_reached(uv_connect_t *connect, int status) {
  struct half *half = connect->data;
  if (status < 0) {
    close_half(half);
    return;
  }
  uv_read_start((uv_stream_t *)&half->tcp, on_allocate, on_half_read);
  uv_read_start((uv_stream_t *)&half->other->tcp, on_allocate, on_half_read);
}

static void on_caller(uv_stream_t *listener, int status) {
  cr_assert_eq(status, 0);
  struct half *near = xcalloc(1, sizeof *near), *far = xcalloc(1, sizeof *far);
  near->other = far;
  far->other = near;
  near->tcp.data = near;
  far->tcp.data = far->connect.data = far;
  uv_tcp_init(&loop, &near->tcp);
  uv_tcp_init(&loop, &far->tcp);
  cr_assert_eq(uv_accept(listener, (uv_stream_t *)&near->tcp), 0);
  uv_tcp_connect(&far->connect, &far->tcp, (const struct sockaddr *)&proxy.master, on_reached);
}

static void proxy_open(void) {
  struct sockaddr_storage master;
  struct sockaddr_in any;
  int size = sizeof any;
  cr_assert_eq(rpc_parse_address(nodes_addresses()[0], &master, NULL), 0);
  memcpy(&proxy.master, &master, sizeof proxy.master);
  uv_tcp_init(&loop, &proxy.listener);
  uv_ip4_addr("127.0.0.1", 0, &any);
  cr_assert_eq(uv_tcp_bind(&proxy.listener, (const struct sockaddr *)&any, 0), 0);
  cr_assert_eq(uv_listen((uv_stream_t *)&proxy.listener, 8, on_caller), 0);
  uv_tcp_getsockname(&proxy.listener, (struct sockaddr *)&any, &size);
  snprintf(proxy.address, sizeof proxy.address, "127.0.0.1:%d", ntohs(any.sin_port));
  bytes_clear(&proxy.seen);
}

/* True: who listens on the way reads the name. */
static bool is_overheard(struct tls_context *tls) {
  const char *const addresses[] = {proxy.address};
  struct master_client *client = open_client(addresses, 1, tls, 60 * NS_PER_S);
  const struct reply reply = look(client);
  cr_assert_eq(reply.outcome, MASTER_OK, "%s: %s", master_error_name(reply.error), said);
  master_client_close(client, NULL, NULL);
  uv_close((uv_handle_t *)&proxy.listener, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  cr_assert_gt(proxy.seen.size, strlen(SECRET), "the bytes went another way");
  const bool overheard = memmem(proxy.seen.data, proxy.seen.size, SECRET, strlen(SECRET)) != NULL;
  bytes_free(&proxy.seen);
  return overheard;
}

Test(master_tls, who_listens_on_the_way_reads_names_without_it) {
  start(1, false);
  proxy_open();
  cr_assert(is_overheard(NULL), "the proxy would notice");
  finish();
}

Test(master_tls, who_listens_on_the_way_reads_nothing) {
  start(1, true);
  struct tls_context *client = context_of("good", TLS_CLIENT);
  proxy_open();
  cr_assert(!is_overheard(client));
  tls_context_free(client);
  finish();
}

/* ---- who is let in ---- */

Test(master_tls, a_cluster_serves_whoever_has_a_certificate) {
  start(3, true);
  static const enum tls_role roles[] = {TLS_CLIENT, TLS_WORKER, TLS_MASTER};
  for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
    struct tls_context *client = context_of("good", roles[i]);
    assert_served(client, 3);
    tls_context_free(client);
  }
  finish();
}

Test(master_tls, who_has_none_or_a_wrong_one_is_refused_and_told) {
  start(1, true);
  struct tls_context *good = context_of("good", TLS_CLIENT), *other = context_of("other", TLS_CLIENT);
  await_first(good);
  assert_refused(NULL,
                 "it does not speak TLS, without which nobody may connect here: give it --tls-certificate");
  assert_node_said("it does not speak TLS, without which nobody may connect here");
  assert_refused(other, "does not vouch for");
  assert_served(good, 1);
  tls_context_free(good);
  tls_context_free(other);
  finish();
}

Test(master_tls, a_client_with_tls_and_a_master_without_do_not_meet) {
  start(1, false);
  nodes_kill(0);
  struct tls_context *client = context_of("good", TLS_CLIENT);
  nodes_start(0);
  await_first(NULL);
  assert_refused(client, "does not speak TLS: start it with --tls-certificate");
  assert_node_said("it speaks TLS, and this master has none: give this master --tls-certificate");
  assert_served(NULL, 1);
  tls_context_free(client);
  finish();
}

Test(master_tls, new_certificates_are_taken_up_while_it_goes_on) {
  start(1, true);
  struct tls_context *old = context_of("good", TLS_CLIENT);
  await_first(old);
  struct master_client *stays = open_client(nodes_addresses(), 1, old, 60 * NS_PER_S);
  cr_assert_eq(look(stays).outcome, MASTER_OK);
  char *directory = path_join(nodes_directory(), "good");
  cr_assert_eq(certificates_make(directory, 3600 * NS_PER_S, NULL), 0); /* of another authority */
  kill(nodes_pid(0), SIGHUP);
  assert_node_said("the certificate was read anew");
  struct tls_context *renewed = context_of("good", TLS_CLIENT);
  assert_served(renewed, 1);
  assert_refused(old, "does not vouch for");
  cr_assert_eq(look(stays).outcome, MASTER_OK, "who was there stays");
  close_client(stays);
  /* Files that will not do change nothing. */
  struct certificate_paths paths;
  paths_of("good", TLS_MASTER, &paths);
  cr_assert_eq(unlink(paths.key), 0);
  kill(nodes_pid(0), SIGHUP);
  assert_node_said("the certificate is used as it was: cannot read key");
  assert_served(renewed, 1);
  free(directory);
  tls_context_free(old);
  tls_context_free(renewed);
  finish();
}

/* ---- what it refuses to start with ---- */

static void assert_not_started(const char *const *flags, int code, const char *text) {
  char output[4096];
  nodes_flags(flags);
  cr_assert_eq(nodes_run(nodes_arguments(0), output, sizeof output), code, "%s", output);
  cr_assert(strstr(output, text), "'%s' is not in: %s", text, output);
}

Test(master_tls, files_that_will_not_do_are_named_at_the_start) {
  nodes_make(1);
  struct certificate_paths good, other, client;
  paths_of("good", TLS_MASTER, &good);
  paths_of("other", TLS_MASTER, &other);
  paths_of("good", TLS_CLIENT, &client);
  assert_not_started((const char *[]){"--tls-certificate", good.certificate, "--tls-key", good.key, NULL},
                     EXIT_USAGE, "--tls-authority is missing");
  assert_not_started((const char *[]){"--tls-certificate", good.certificate, "--tls-key", other.key,
                                      "--tls-authority", good.authority, NULL},
                     EXIT_HARNESS, "is not that of the certificate");
  assert_not_started((const char *[]){"--tls-certificate", "/nowhere/at-all", "--tls-key", good.key,
                                      "--tls-authority", good.authority, NULL},
                     EXIT_HARNESS, "cannot read certificate /nowhere/at-all: No such file");
  assert_not_started((const char *[]){"--tls-certificate", client.certificate, "--tls-key", client.key,
                                      "--tls-authority", client.authority, NULL},
                     EXIT_HARNESS, "must hold DNS:assay-master");
  nodes_unmake();
}

Test(master_tls, with_it_other_addresses_are_listened_on_but_not_for_metrics) {
  nodes_make(1);
  struct certificate_paths paths;
  paths_of("good", TLS_MASTER, &paths);
  char output[4096];
  const char *arguments[] = {"--id",
                             "1",
                             "--data",
                             "/proc/nowhere",
                             "--member",
                             "1=192.0.2.1:1:2",
                             "--cluster-id",
                             "5",
                             "--tls-certificate",
                             paths.certificate,
                             "--tls-key",
                             paths.key,
                             "--tls-authority",
                             paths.authority,
                             NULL,
                             NULL,
                             NULL};
  cr_assert_eq(nodes_run(arguments, output, sizeof output), EXIT_HARNESS, "%s", output);
  cr_assert(strstr(output, "/proc/nowhere"), "%s", output);
  arguments[14] = "--http";
  arguments[15] = "0.0.0.0:1";
  cr_assert_eq(nodes_run(arguments, output, sizeof output), EXIT_USAGE, "%s", output);
  cr_assert(strstr(output, "0.0.0.0:1 is not an address of this machine alone"), "%s", output);
  nodes_unmake();
}
