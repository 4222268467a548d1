#include "master/client/connection.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define READ_SIZE (16u << 10)

struct connection {
  uv_tcp_t tcp;
  uv_connect_t connect;
  uv_write_t write;
  const struct connection_events *events;
  void *context;
  struct tls_context *tls_context; /* NULL: without TLS */
  struct tls_channel *tls;         /* since it is connected */
  unsigned roles;                  /* that the other side may have */
  uint64_t cluster;
  bool greeted;
  bool closed;  /* by the owner or by its end: no event but `released` follows */
  bool writing; /* libuv holds `leaving` */
  struct bytes input, output, leaving;
  struct rpc_arena arena; /* of the hello */
};

static void on_released(uv_handle_t *handle) {
  struct connection *connection = handle->data;
  if (!connection->closed) { /* the system refused to dial: told only now, from the loop */
    connection->closed = true;
    connection->events->ended(connection->context, CONNECTION_REFUSED);
  }
  connection->events->released(connection->context);
  bytes_free(&connection->input);
  bytes_free(&connection->output);
  bytes_free(&connection->leaving);
  tls_channel_free(connection->tls);
  rpc_arena_free(&connection->arena);
  free(connection);
}

void connection_close(struct connection *connection) {
  assert(!connection->closed);
  connection->closed = true;
  if (!uv_is_closing((uv_handle_t *)&connection->tcp))
    uv_close((uv_handle_t *)&connection->tcp, on_released);
}

static void end(struct connection *connection) {
  if (connection->closed)
    return;
  connection_close(connection);
  connection->events->ended(connection->context,
                            connection->greeted ? CONNECTION_BROKEN : CONNECTION_REFUSED);
}

/* ---- writing ---- */

static void on_written(uv_write_t *write, int status) {
  struct connection *connection = write->data;
  connection->writing = false;
  bytes_clear(&connection->leaving);
  if (connection->closed)
    return;
  if (status < 0) {
    end(connection);
    return;
  }
  if (connection->tls)
    connection_flush(connection); /* what TLS had to say meanwhile */
  if (!connection->writing)
    connection->events->unblocked(connection->context);
}

struct bytes *connection_output(struct connection *connection) {
  return &connection->output;
}

bool connection_is_blocked(const struct connection *connection) {
  return connection->writing;
}

/* A failed write is not reported from here: the same failure ends the connection from the loop, as an end of
 * the stream or as the status of the write that is queued for it. */
void connection_flush(struct connection *connection) {
  assert(!connection->writing && !connection->closed);
  struct bytes *output = tls_outgoing(connection->tls, &connection->output);
  if (output->size == 0)
    return;
  uv_buf_t buffer = uv_buf_init((char *)output->data, (unsigned)output->size);
  const int written = uv_try_write((uv_stream_t *)&connection->tcp, &buffer, 1);
  if (written > 0)
    bytes_consume(output, (size_t)written);
  if (output->size == 0)
    return;
  const struct bytes swapped = connection->leaving;
  connection->leaving = *output;
  *output = swapped;
  buffer = uv_buf_init((char *)connection->leaving.data, (unsigned)connection->leaving.size);
  connection->write.data = connection;
  connection->writing =
      uv_write(&connection->write, (uv_stream_t *)&connection->tcp, &buffer, 1, on_written) == 0;
  if (!connection->writing)
    bytes_clear(&connection->leaving);
}

/* ---- reading ---- */

/* Why the hello will not do, or false. */
static bool find_fault(const struct connection *connection, const Rpc__Hello *hello, struct bytes *fault) {
  if (!hello || hello->magic != RPC_MAGIC)
    bytes_append_format(fault,
                        "does not speak the master's protocol: is this the client port of an assay-master?");
  else if (hello->version != RPC_VERSION)
    bytes_append_format(
        fault, "speaks protocol version %" PRIu32 ", this program version %u: use programs of one release",
        hello->version, RPC_VERSION);
  else if (hello->error[0] != '\0')
    bytes_append_format(fault, "refuses us: %s", hello->error);
  else if (connection->cluster != 0 && hello->cluster != connection->cluster)
    bytes_append_format(fault,
                        "belongs to cluster %" PRIu64 ", the other nodes to cluster %" PRIu64
                        ": give the addresses of one cluster",
                        hello->cluster, connection->cluster);
  return fault->size > 0;
}

static bool greet(struct connection *connection, const struct rpc_frame *frame) {
  const Rpc__Hello *hello =
      frame->kind == RPC_HELLO ? rpc_unpack(&connection->arena, &rpc__hello__descriptor, frame) : NULL;
  struct bytes fault = {0};
  if (find_fault(connection, hello, &fault)) {
    bytes_append_u8(&fault, 0);
    connection->events->complain(connection->context, (const char *)fault.data);
    bytes_free(&fault);
    return false;
  }
  connection->greeted = true;
  connection->events->greeted(connection->context, hello);
  return true;
}

/* Takes whole frames off the input. False: what is there is malformed. */
static bool take_frames(struct connection *connection) {
  size_t taken = 0;
  bool good = true;
  while (good && !connection->closed) {
    struct rpc_frame frame;
    const size_t limit = connection->greeted ? RPC_RESPONSE_MAX : RPC_REQUEST_MAX;
    const enum rpc_parse parse =
        rpc_parse(connection->input.data + taken, connection->input.size - taken, limit, &frame);
    if (parse == RPC_PARTIAL)
      break;
    if (parse == RPC_MALFORMED)
      connection->events->complain(connection->context, "sent a malformed frame");
    good = parse == RPC_WHOLE && (connection->greeted ? connection->events->frame(connection->context, &frame)
                                                      : greet(connection, &frame));
    taken += parse == RPC_WHOLE ? frame.whole_size : 0;
  }
  bytes_consume(&connection->input, taken);
  return good;
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)suggested;
  static _Thread_local char sealed[64u << 10]; /* of whichever connection is being read */
  struct connection *connection = handle->data;
  if (connection->tls) {
    *buffer = uv_buf_init(sealed, sizeof sealed);
    return;
  }
  bytes_reserve(&connection->input, READ_SIZE);
  *buffer = uv_buf_init((char *)connection->input.data + connection->input.size,
                        (unsigned)(connection->input.capacity - connection->input.size));
}

static bool take_sealed(struct connection *connection, const void *data, size_t size) {
  const bool good = tls_channel_receive(connection->tls, data, size, &connection->input);
  const bool taken = take_frames(connection);
  if (connection->closed)
    return true;
  if (!connection->writing)
    connection_flush(connection); /* a part of the handshake, or the reason of a refusal */
  if (!good && tls_channel_fault(connection->tls) != TLS_FAULT_NONE)
    connection->events->complain(connection->context, tls_channel_reason(connection->tls));
  return good && taken;
}

static void tell_cut(struct connection *connection) {
  tls_channel_cut(connection->tls);
  if (tls_channel_fault(connection->tls) != TLS_FAULT_NONE)
    connection->events->complain(connection->context, tls_channel_reason(connection->tls));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  struct connection *connection = stream->data;
  bool good = size >= 0;
  if (size > 0 && connection->tls)
    good = take_sealed(connection, buffer->base, (size_t)size);
  else if (size > 0) {
    connection->input.size += (size_t)size;
    good = take_frames(connection);
  } else if (size < 0 && connection->tls)
    tell_cut(connection);
  if (!good)
    end(connection);
}

/* ---- dialling ---- */

static void on_connected(uv_connect_t *connect, int status) {
  struct connection *connection = connect->data;
  if (connection->closed)
    return;
  if (status < 0 || uv_read_start((uv_stream_t *)&connection->tcp, on_allocate, on_read) < 0) {
    end(connection);
    return;
  }
  uv_tcp_nodelay(&connection->tcp, 1);
  if (connection->tls_context)
    connection->tls = tls_channel_new(connection->tls_context, TLS_DIALS, connection->roles);
  Rpc__Hello hello = RPC__HELLO__INIT;
  hello.magic = RPC_MAGIC;
  hello.version = RPC_VERSION;
  hello.cluster = connection->cluster;
  rpc_append(&connection->output, RPC_HELLO, &hello.base);
  connection_flush(connection);
}

struct connection *connection_dial(uv_loop_t *loop, const struct connection_target *target,
                                   const struct connection_events *events, void *context) {
  struct connection *connection = xcalloc(1, sizeof *connection);
  connection->events = events;
  connection->context = context;
  connection->tls_context = target->tls;
  connection->roles = target->roles;
  connection->cluster = target->cluster;
  rpc_arena_init(&connection->arena);
  const int status = uv_tcp_init(loop, &connection->tcp);
  assert(status == 0); /* makes no socket yet */
  connection->tcp.data = connection;
  connection->connect.data = connection;
  if (uv_tcp_connect(&connection->connect, &connection->tcp, target->address, on_connected) < 0)
    uv_close((uv_handle_t *)&connection->tcp, on_released);
  return connection;
}
