#include "master/worker/data_server.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/worker/data_internal.h"

#define SESSION_LIMIT_DEFAULT 256u
#define BACKLOG 256
#define SWEEP_EVERY_MS 1000
#define GREETING_WITHIN_NS (5 * NS_PER_S)
#define IDLE_LIMIT_NS (60 * NS_PER_S)
#define HELLO_MAX 4096u
#define COMPLAIN_EVERY_NS (10 * NS_PER_S)

/* ---- ends ---- */

static void release(struct data_server *server) {
  if (--server->handles > 0)
    return;
  void (*const closed)(void *context) = server->closed;
  void *const context = server->closed_context;
  rpc_arena_free(&server->arena);
  free(server);
  if (closed)
    closed(context);
}

static void session_free(struct session *session) {
  struct data_server *server = session->server;
  session_clean(session);
  bytes_free(&session->input);
  bytes_free(&session->output);
  bytes_free(&session->leaving);
  bytes_free(&session->data);
  tls_channel_free(session->tls);
  free(session);
  release(server);
}

static void on_session_closed(uv_handle_t *handle) {
  struct session *session = handle->data;
  session->gone = true;
  if (session->job == JOB_NONE)
    session_free(session);
}

void session_close(struct session *session) {
  if (session->closing)
    return;
  session->closing = true;
  list_remove(&session->link);
  session->server->session_count--;
  uv_close((uv_handle_t *)&session->tcp, on_session_closed);
}

void session_drop(struct session *session, const char *why) {
  if (!session->closing)
    log_warn("a client's connection is closed: %s", why);
  session_close(session);
}

/* ---- writing ---- */

static void on_written(uv_write_t *write, int status) {
  struct session *session = write->data;
  session->sending = false;
  bytes_clear(&session->leaving);
  session->progress_ns = (int64_t)uv_hrtime();
  if (status < 0)
    session_close(session);
  session_go_on(session);
}

static void flush(struct session *session) {
  if (session->sending)
    return;
  struct bytes *output = tls_outgoing(session->tls, &session->output);
  if (output->size == 0)
    return;
  uv_buf_t buffer = uv_buf_init((char *)output->data, (unsigned)output->size);
  const int written = uv_try_write((uv_stream_t *)&session->tcp, &buffer, 1);
  if (written > 0) {
    bytes_consume(output, (size_t)written);
    session->progress_ns = (int64_t)uv_hrtime();
  }
  if (output->size == 0)
    return;
  const struct bytes swapped = session->leaving;
  session->leaving = *output;
  *output = swapped;
  buffer = uv_buf_init((char *)session->leaving.data, (unsigned)session->leaving.size);
  session->write.data = session;
  session->sending = true;
  if (uv_write(&session->write, (uv_stream_t *)&session->tcp, &buffer, 1, on_written) < 0) {
    session->sending = false;
    session_close(session);
  }
}

/* ---- who is not let in ---- */

static void complain(struct data_server *server, const char *why) {
  const int64_t now_ns = (int64_t)uv_hrtime();
  if (server->complained_ns != 0 && now_ns - server->complained_ns < COMPLAIN_EVERY_NS)
    return;
  server->complained_ns = now_ns;
  log_warn("a client was turned away: it %s", why);
}

/* The client may have closed already: else it is told, and closes when it has heard. */
static void fail_tls(struct session *session) {
  const enum tls_fault fault = tls_channel_fault(session->tls);
  if (fault == TLS_FAULT_NONE) {
    session_close(session);
    return;
  }
  char why[500];
  snprintf(why, sizeof why, "it %s", tls_channel_reason(session->tls));
  complain(session->server, why + sizeof "it " - 1);
  session->deaf = true;
  session->ending = session->greeted;
  bytes_clear(&session->output);
  if (fault != TLS_FAULT_PLAIN)
    return;
  tls_channel_free(session->tls);
  session->tls = NULL;
  session_refuse(session, why);
}

/* ---- reading ---- */

static bool is_busy(const struct session *session) {
  return session->job != JOB_NONE || session->giving || session->sending || session->ending;
}

static void take_frames(struct session *session) {
  size_t taken = 0;
  while (!session->closing && !is_busy(session)) {
    struct rpc_frame frame;
    const size_t limit = session->greeted ? RPC_REQUEST_MAX : HELLO_MAX;
    const enum rpc_parse parse =
        rpc_parse(session->input.data + taken, session->input.size - taken, limit, &frame);
    if (parse != RPC_WHOLE && !session->greeted && !session->tls &&
        tls_is_spoken(session->input.data, session->input.size)) {
      complain(session->server, "speaks TLS, and this worker has none");
      session_refuse(session,
                     "this worker has no TLS: give it --tls-certificate, --tls-key and --tls-authority, "
                     "or the client none");
      taken = session->input.size;
      break;
    }
    if (parse == RPC_PARTIAL)
      break;
    if (parse == RPC_MALFORMED || !session_dispatch(session, &frame)) {
      session_drop(session, session->greeted ? "it sent what is no request"
                                             : "it does not speak the protocol of clients");
      break;
    }
    taken += frame.whole_size;
  }
  bytes_consume(&session->input, taken);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)suggested;
  struct session *session = handle->data;
  *buffer = uv_buf_init(session->server->read_buffer, READ_BUFFER_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  struct session *session = stream->data;
  if (size < 0) {
    if (session->tls)
      tls_channel_cut(session->tls);
    session_close(session);
    return;
  }
  if (session->deaf)
    return;
  session->progress_ns = (int64_t)uv_hrtime();
  if (!session->tls)
    bytes_append(&session->input, buffer->base, (size_t)size);
  else if (!tls_channel_receive(session->tls, buffer->base, (size_t)size, &session->input))
    fail_tls(session);
  session_go_on(session);
}

/* What has come is read from the socket only as far as it can be worked on, or little waits. */
static void mind_reading(struct session *session) {
  const bool stop = session->input.size >= READ_BUFFER_SIZE && is_busy(session);
  if (stop == session->stopped)
    return;
  session->stopped = stop;
  if (stop)
    uv_read_stop((uv_stream_t *)&session->tcp);
  else if (uv_read_start((uv_stream_t *)&session->tcp, on_allocate, on_read) < 0)
    session_close(session);
}

void session_go_on(struct session *session) {
  if (session->closing) {
    if (session->gone && session->job == JOB_NONE)
      session_free(session);
    return;
  }
  flush(session);
  if (!session->closing && !session->sending && session->job == JOB_NONE)
    session_drained(session);
  take_frames(session);
  if (session->closing)
    return;
  flush(session);
  if (session->closing)
    return;
  if (session->ending && !session->sending && session->output.size == 0)
    session_close(session);
  else
    mind_reading(session);
}

/* ---- beginnings ---- */

static void on_unused(uv_handle_t *handle) {
  struct session *session = handle->data;
  struct data_server *server = session->server;
  free(session);
  release(server);
}

static void on_connection(uv_stream_t *stream, int status) {
  struct data_server *server = stream->data;
  if (status < 0) {
    log_warn("a client cannot be let in: %s", uv_strerror(status));
    return;
  }
  struct session *session = xcalloc(1, sizeof *session);
  session->server = server;
  session->tcp.data = session;
  uv_tcp_init(server->options.loop, &session->tcp);
  server->handles++;
  if (uv_accept(stream, (uv_stream_t *)&session->tcp) < 0 ||
      server->session_count >= server->options.session_limit) {
    uv_close((uv_handle_t *)&session->tcp, on_unused);
    return;
  }
  uv_tcp_nodelay(&session->tcp, 1);
  session->progress_ns = (int64_t)uv_hrtime();
  if (server->options.tls)
    session->tls = tls_channel_new(server->options.tls, TLS_ACCEPTS, TLS_ANYONE);
  list_append(&server->sessions, &session->link);
  server->session_count++;
  if (uv_read_start((uv_stream_t *)&session->tcp, on_allocate, on_read) < 0)
    session_close(session);
}

static void on_sweep(uv_timer_t *timer) {
  struct data_server *server = timer->data;
  const int64_t now_ns = (int64_t)uv_hrtime();
  struct list *next;
  for (struct list *at = server->sessions.next; at != &server->sessions; at = next) {
    next = at->next;
    struct session *session = CONTAINER_OF(at, struct session, link);
    const int64_t quiet_ns = now_ns - session->progress_ns;
    if (session->job == JOB_NONE && quiet_ns > (session->greeted ? IDLE_LIMIT_NS : GREETING_WITHIN_NS))
      session_drop(session, "nothing came of it for long");
  }
}

static void on_handle_closed(uv_handle_t *handle) {
  release(handle->data);
}

void data_server_close(struct data_server *server, void (*closed)(void *context), void *context) {
  server->closed = closed;
  server->closed_context = context;
  while (!list_is_empty(&server->sessions))
    session_close(CONTAINER_OF(server->sessions.next, struct session, link));
  uv_close((uv_handle_t *)&server->tcp, on_handle_closed);
  uv_close((uv_handle_t *)&server->sweep, on_handle_closed);
}

static int listen_on(struct data_server *server, struct error *error) {
  struct sockaddr_storage address;
  int status = rpc_parse_address(server->options.address, &address, error);
  if (status != 0)
    return status;
  status = uv_tcp_bind(&server->tcp, (const struct sockaddr *)&address, 0);
  if (status == 0)
    status = uv_listen((uv_stream_t *)&server->tcp, BACKLOG, on_connection);
  if (status == 0)
    return 0;
  return error_set(error, ERR_IO, "cannot listen for clients on %s: %s; %s", server->options.address,
                   uv_strerror(status),
                   status == UV_EADDRINUSE      ? "stop what uses the port, or give another one"
                   : status == UV_EADDRNOTAVAIL ? "give an address that this machine has"
                                                : "check --listen");
}

int data_server_open(const struct data_server_options *options, struct data_server **result,
                     struct error *error) {
  struct data_server *server = xcalloc(1, sizeof *server);
  server->options = *options;
  if (server->options.session_limit == 0)
    server->options.session_limit = SESSION_LIMIT_DEFAULT;
  list_init(&server->sessions);
  rpc_arena_init(&server->arena);
  uv_tcp_init(options->loop, &server->tcp);
  uv_timer_init(options->loop, &server->sweep);
  server->tcp.data = server->sweep.data = server;
  server->handles = 2;
  const int status = listen_on(server, error);
  if (status != 0) {
    data_server_close(server, NULL, NULL);
    return status;
  }
  uv_timer_start(&server->sweep, on_sweep, SWEEP_EVERY_MS, SWEEP_EVERY_MS);
  *result = server;
  return 0;
}

unsigned data_server_port(const struct data_server *server) {
  struct sockaddr_storage address;
  int size = sizeof address;
  if (uv_tcp_getsockname(&server->tcp, (struct sockaddr *)&address, &size) < 0)
    return 0;
  return ntohs(((const struct sockaddr_in *)&address)->sin_port); /* at the same place for IPv6 */
}
