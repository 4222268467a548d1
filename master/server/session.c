/* session.c: one client's connection: bytes in, frames to dispatch, answers out in one write a turn. */
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/server/internal.h"

#define GREETING_WITHIN_NS (5 * NS_PER_S)
#define STALLED_AFTER_NS (10 * NS_PER_S)
#define HELLO_MAX 4096u
#define IN_FLIGHT_LIMIT 4096u
#define OUTPUT_PAUSE (4u << 20)  /* bytes not read by the client beyond which it is not read from */
#define OUTPUT_LIMIT (64u << 20) /* … and beyond which it is dropped */
#define OUTPUT_KEEP (256u << 10) /* capacity that an idle session keeps */
#define KEEPALIVE_S 60

static void describe(const struct session *session, char *text, size_t size) {
  struct sockaddr_storage address;
  int length = sizeof address;
  char host[64] = "a client";
  int port = 0;
  if (uv_tcp_getpeername(&session->tcp, (struct sockaddr *)&address, &length) == 0) {
    uv_ip_name((const struct sockaddr *)&address, host, sizeof host);
    port = ntohs(((const struct sockaddr_in *)&address)->sin_port); /* at the same place for IPv6 */
  }
  snprintf(text, size, "%s:%d", host, port);
}

/* ---- ends ---- */

static void on_closed(uv_handle_t *handle) {
  struct session *session = handle->data;
  struct server *server = session->server;
  bytes_free(&session->input);
  bytes_free(&session->output);
  bytes_free(&session->leaving);
  tls_channel_free(session->tls);
  session->gone = true;
  if (session->in_flight == 0)
    free(session);
  server_release(server);
}

void session_close(struct session *session) {
  if (session->closing)
    return;
  session->closing = true;
  backup_drop(session);
  list_remove(&session->link);
  list_remove(&session->dirty);
  session->server->session_count--;
  uv_close((uv_handle_t *)&session->tcp, on_closed);
}

static void drop(struct session *session, const char *why) {
  char name[96];
  describe(session, name, sizeof name);
  session->server->dropped++;
  log_warn("session of %s closed: %s", name, why);
  session_close(session);
}

/* Tells a client that is not met as it wants to be, and the log. */
static void refuse(struct session *session, const char *why) {
  char name[96];
  describe(session, name, sizeof name);
  server_complain(session->server, name, why);
  session->server->dropped++;
  dispatch_refusal(session, why);
}

/* ---- reading ---- */

static size_t unread(const struct session *session) {
  return session->output.size + uv_stream_get_write_queue_size((const uv_stream_t *)&session->tcp);
}

bool session_takes_answer(struct session *session) {
  session->overflowed = session->overflowed || unread(session) > OUTPUT_LIMIT;
  return !session->closing && !session->overflowed;
}

static bool is_full(const struct session *session) {
  return session->in_flight >= IN_FLIGHT_LIMIT || unread(session) >= OUTPUT_PAUSE;
}

static bool has_room(const struct session *session) {
  return session->in_flight <= IN_FLIGHT_LIMIT / 2 && unread(session) <= OUTPUT_PAUSE / 2;
}

/* Dispatches whole frames while there is room; returns the bytes that are done with. */
static size_t take_frames(struct session *session, const unsigned char *data, size_t size) {
  size_t taken = 0;
  while (!session->closing && !session->ending && !is_full(session)) {
    struct rpc_frame frame;
    const size_t limit = session->greeted ? RPC_REQUEST_MAX : HELLO_MAX;
    const enum rpc_parse parse = rpc_parse(data + taken, size - taken, limit, &frame);
    if (parse != RPC_WHOLE && !session->greeted && !session->tls && tls_is_spoken(data, size)) {
      refuse(session,
             "it speaks TLS, and this master has none: give this master --tls-certificate, --tls-key and "
             "--tls-authority, or the client none");
      return size;
    }
    if (parse == RPC_PARTIAL)
      break;
    if (parse == RPC_MALFORMED || !dispatch_frame(session, &frame)) {
      drop(session, session->greeted ? "a malformed frame" : "it does not speak the protocol of clients");
      break;
    }
    taken += frame.whole_size;
  }
  return taken;
}

static void take_input(struct session *session) {
  const size_t taken = take_frames(session, session->input.data, session->input.size);
  bytes_consume(&session->input, taken);
}

static void stop_if_full(struct session *session) {
  if (session->closing || session->stopped || !is_full(session))
    return;
  session->stopped = true;
  uv_read_stop((uv_stream_t *)&session->tcp);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)suggested;
  struct session *session = handle->data;
  *buffer = uv_buf_init(session->server->read_buffer, READ_BUFFER_SIZE);
}

/* What the client says, without TLS or with it taken off. */
static void take(struct session *session, const unsigned char *data, size_t size) {
  if (session->input.size == 0) {
    const size_t taken = take_frames(session, data, size);
    bytes_append(&session->input, data + taken, size - taken);
  } else {
    bytes_append(&session->input, data, size);
    take_input(session);
  }
  stop_if_full(session);
}

/* The client may have closed already: else it is told, and closes when it has heard. */
static void fail_tls(struct session *session) {
  if (tls_channel_fault(session->tls) == TLS_FAULT_NONE) {
    session_close(session);
    return;
  }
  session->deaf = true;
  session->ending = session->greeted;
  bytes_clear(&session->output);
  if (tls_channel_fault(session->tls) == TLS_FAULT_PLAIN) {
    char why[160];
    snprintf(why, sizeof why, "it %.150s", tls_channel_reason(session->tls));
    tls_channel_free(session->tls);
    session->tls = NULL;
    refuse(session, why);
    return;
  }
  char name[96];
  describe(session, name, sizeof name);
  server_complain(session->server, name, tls_channel_reason(session->tls));
  session->server->dropped++;
  session_touch(session);
}

static void take_sealed(struct session *session, const void *data, size_t size) {
  struct bytes *plain = &session->server->plain;
  bytes_clear(plain);
  const bool good = tls_channel_receive(session->tls, data, size, plain);
  if (plain->size > 0)
    take(session, plain->data, plain->size);
  if (session->closing)
    return;
  if (!good)
    fail_tls(session);
  else
    session_touch(session); /* a part of the handshake, perhaps */
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  struct session *session = stream->data;
  if (size < 0) {
    if (session->tls)
      tls_channel_cut(session->tls);
    session_close(session);
  } else if (session->tls && !session->deaf) {
    take_sealed(session, buffer->base, (size_t)size);
  } else if (!session->deaf) {
    take(session, (const unsigned char *)buffer->base, (size_t)size);
  }
}

static void resume(struct session *session) {
  take_input(session);
  if (session->closing || is_full(session))
    return;
  session->stopped = false;
  if (uv_read_start((uv_stream_t *)&session->tcp, on_allocate, on_read) < 0)
    session_close(session);
}

/* ---- writing ---- */

static void on_written(uv_write_t *write, int status) {
  struct session *session = write->data;
  session->writing = false;
  if (session->closing)
    return;
  bytes_clear(&session->leaving);
  if (session->leaving.capacity > OUTPUT_KEEP)
    bytes_free(&session->leaving);
  if (status < 0)
    session_close(session);
  else
    session_touch(session);
}

static void write_output(struct session *session, struct bytes *output) {
  uv_buf_t buffer = uv_buf_init((char *)output->data, (unsigned)output->size);
  const int written = uv_try_write((uv_stream_t *)&session->tcp, &buffer, 1);
  if (written == (int)output->size) {
    bytes_clear(output);
    return;
  }
  if (written < 0 && written != UV_EAGAIN) {
    session_close(session);
    return;
  }
  if (written > 0)
    bytes_consume(output, (size_t)written);
  const struct bytes swapped = session->leaving;
  session->leaving = *output;
  *output = swapped;
  buffer = uv_buf_init((char *)session->leaving.data, (unsigned)session->leaving.size);
  session->write.data = session;
  session->writing = true;
  session->progress_ns = (int64_t)uv_hrtime();
  session->unread_before = session->leaving.size;
  if (uv_write(&session->write, (uv_stream_t *)&session->tcp, &buffer, 1, on_written) < 0)
    session_close(session);
}

void session_flush(struct session *session) {
  list_remove(&session->dirty);
  if (!session->writing) {
    struct bytes *output = tls_outgoing(session->tls, &session->output);
    if (output->size > 0)
      write_output(session, output);
  }
  if (session->closing)
    return;
  if (session->ending && session->output.size == 0 && !session->writing)
    session_close(session);
  else if (session->overflowed)
    drop(session, "it does not read its answers");
  else if (session->stopped && has_room(session))
    resume(session);
}

void session_release(struct session *session) {
  session->in_flight--;
  if (!session->closing)
    session_touch(session);
  else if (session->gone && session->in_flight == 0)
    free(session);
}

void session_touch(struct session *session) {
  struct server *server = session->server;
  if (!list_is_empty(&session->dirty))
    return;
  server_flush_soon(server);
  list_append(&server->dirty, &session->dirty);
}

void session_sweep(struct session *session, int64_t now_ns) {
  if (!session->greeted && now_ns - session->progress_ns > GREETING_WITHIN_NS) {
    drop(session, "it did not greet");
    return;
  }
  backup_sweep(session, now_ns);
  if (!session->writing)
    return;
  const size_t left = uv_stream_get_write_queue_size((const uv_stream_t *)&session->tcp);
  if (left < session->unread_before)
    session->progress_ns = now_ns;
  session->unread_before = left;
  if (now_ns - session->progress_ns > STALLED_AFTER_NS)
    drop(session, "it does not read its answers");
}

/* ---- beginnings ---- */

static void on_unused(uv_handle_t *handle) {
  struct session *session = handle->data;
  server_release(session->server);
  free(session);
}

void session_accept(struct server *server) {
  struct session *session = xcalloc(1, sizeof *session);
  session->server = server;
  session->tcp.data = session;
  uv_tcp_init(server->loop, &session->tcp);
  server->handles++;
  if (uv_accept((uv_stream_t *)&server->tcp, (uv_stream_t *)&session->tcp) < 0 || server_is_full(server)) {
    server->turned_away++;
    uv_close((uv_handle_t *)&session->tcp, on_unused);
    return;
  }
  uv_tcp_nodelay(&session->tcp, 1);
  uv_tcp_keepalive(&session->tcp, 1, KEEPALIVE_S);
  session->progress_ns = (int64_t)uv_hrtime();
  if (server->tls)
    session->tls = tls_channel_new(server->tls, TLS_ACCEPTS, TLS_ANYONE);
  list_init(&session->dirty);
  list_append(&server->sessions, &session->link);
  server->session_count++;
  server->accepted++;
  if (uv_read_start((uv_stream_t *)&session->tcp, on_allocate, on_read) < 0)
    session_close(session);
}
