#include "master/client/data.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/client/connection.h"
#include "master/rpc/block_sum.h"

#define SILENCE_DEFAULT_NS (30 * NS_PER_S)

_Static_assert((int)DATA_FAILED == RPC__DATA_STATUS__DATA_STATUS_FAILED, "wire and door agree");

struct data_stream {
  struct connection *connection; /* NULL: closed */
  uv_timer_t silence;
  uint64_t silence_ms;
  char *address;
  char *path; /* in the under-store; NULL: a block */
  uint64_t block, offset, length;
  void (*ready)(void *context);                                /* of a write */
  bool (*piece)(void *context, const void *data, size_t size); /* of a read */
  data_ended *ended;
  void *context;
  struct block_sum *sum; /* of a write */
  struct rpc_arena arena;
  char fault[520]; /* what was complained about last */
  bool over;       /* no event follows */
  bool finishing;  /* END waits for the write before it, or was sent */
  bool end_sent;
  unsigned handles;
};

const char *data_status_name(enum data_status status) {
  static const char *const names[] = {"done",    "not-found", "corrupt",    "no-room",
                                      "refused", "failed",    "unreachable"};
  return names[status];
}

/* ---- the end ---- */

static void release(struct data_stream *stream) {
  if (--stream->handles > 0)
    return;
  rpc_arena_free(&stream->arena);
  free(stream->sum);
  free(stream->address);
  free(stream->path);
  free(stream);
}

static void on_timer_closed(uv_handle_t *handle) {
  release(handle->data);
}

static void shut(struct data_stream *stream) {
  stream->over = true;
  if (stream->connection)
    connection_close(stream->connection);
  stream->connection = NULL;
  uv_close((uv_handle_t *)&stream->silence, on_timer_closed);
}

void data_cancel(struct data_stream *stream) {
  assert(!stream->over);
  shut(stream);
}

static void end(struct data_stream *stream, enum data_status status, const char *message) {
  if (stream->over)
    return;
  struct bytes text = {0};
  bytes_append_format(&text, "worker %s: %s", stream->address, message);
  bytes_append_u8(&text, 0);
  data_ended *const ended = stream->ended;
  void *const context = stream->context;
  shut(stream);
  ended(context, status, (const char *)text.data);
  bytes_free(&text);
}

static void on_silence(uv_timer_t *timer) {
  end(timer->data, DATA_UNREACHABLE, "it is silent");
}

static void moved(struct data_stream *stream) {
  uv_timer_start(&stream->silence, on_silence, stream->silence_ms, 0);
}

/* ---- sending ---- */

static void send_request(struct data_stream *stream, Rpc__DataKind kind, const void *data, size_t size) {
  Rpc__DataRequest request = RPC__DATA_REQUEST__INIT;
  request.id = 1;
  request.kind = kind;
  request.block = stream->block;
  request.offset = stream->offset;
  request.length = stream->length;
  if (stream->path && kind >= RPC__DATA_KIND__DATA_KIND_UNDER_READ)
    request.path = (ProtobufCBinaryData){.data = (uint8_t *)stream->path, .len = strlen(stream->path)};
  request.data = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)data, .len = size};
  if (kind == RPC__DATA_KIND__DATA_KIND_WRITE_END) {
    request.length = stream->sum->length;
    request.checksum = stream->sum->whole;
  }
  rpc_append(connection_output(stream->connection), RPC_DATA_REQUEST, &request.base);
}

bool data_write_piece(struct data_stream *stream, const void *data, size_t size) {
  assert(!stream->over && !stream->finishing && stream->sum && !connection_is_blocked(stream->connection));
  const unsigned char *at = data;
  block_sum_add(stream->sum, data, size, NULL, NULL);
  while (size > 0) {
    const size_t piece = size < RPC_DATA_PIECE ? size : RPC_DATA_PIECE;
    send_request(stream, RPC__DATA_KIND__DATA_KIND_WRITE_PIECE, at, piece);
    at += piece;
    size -= piece;
  }
  connection_flush(stream->connection);
  return !connection_is_blocked(stream->connection);
}

void data_write_finish(struct data_stream *stream) {
  assert(!stream->over && !stream->finishing && stream->sum);
  stream->finishing = true;
  block_sum_end(stream->sum, NULL, NULL);
  if (connection_is_blocked(stream->connection))
    return;
  stream->end_sent = true;
  send_request(stream, RPC__DATA_KIND__DATA_KIND_WRITE_END, NULL, 0);
  connection_flush(stream->connection);
}

/* ---- receiving ---- */

static void on_greeted(void *context, const Rpc__Hello *hello) {
  struct data_stream *stream = context;
  (void)hello;
  moved(stream);
  if (stream->path)
    send_request(stream,
                 stream->sum ? RPC__DATA_KIND__DATA_KIND_UNDER_WRITE_BEGIN
                             : RPC__DATA_KIND__DATA_KIND_UNDER_READ,
                 NULL, 0);
  else
    send_request(stream, stream->sum ? RPC__DATA_KIND__DATA_KIND_WRITE_BEGIN : RPC__DATA_KIND__DATA_KIND_READ,
                 NULL, 0);
  connection_flush(stream->connection);
  if (stream->sum && !connection_is_blocked(stream->connection))
    stream->ready(stream->context);
}

static void take_piece(struct data_stream *stream, const Rpc__DataResponse *response) {
  const bool last = response->status == RPC__DATA_STATUS__DATA_STATUS_DONE;
  if (checksum(response->data.data, response->data.len) != response->checksum) {
    end(stream, DATA_UNREACHABLE, "what it sent was damaged on the way");
    return;
  }
  if (response->data.len > 0 && !stream->piece(stream->context, response->data.data, response->data.len)) {
    if (!stream->over)
      shut(stream);
    return;
  }
  if (last)
    end(stream, DATA_DONE, "done");
}

static bool on_frame(void *context, const struct rpc_frame *frame) {
  struct data_stream *stream = context;
  rpc_arena_reset(&stream->arena);
  const Rpc__DataResponse *response = frame->kind == RPC_DATA_RESPONSE
                                          ? rpc_unpack(&stream->arena, &rpc__data_response__descriptor, frame)
                                          : NULL;
  if (!response)
    return false;
  moved(stream);
  const bool good = response->status == RPC__DATA_STATUS__DATA_STATUS_DONE ||
                    response->status == RPC__DATA_STATUS__DATA_STATUS_MORE;
  if (good && stream->piece)
    take_piece(stream, response);
  else if (good && !stream->end_sent)
    return false;
  else if (good)
    end(stream, DATA_DONE, "done");
  else
    end(stream,
        response->status <= RPC__DATA_STATUS__DATA_STATUS_FAILED ? (enum data_status)response->status
                                                                 : DATA_FAILED,
        response->message);
  return true;
}

static void on_ended(void *context, enum connection_end how) {
  struct data_stream *stream = context;
  stream->connection = NULL;
  end(stream, DATA_UNREACHABLE,
      stream->fault[0]            ? stream->fault
      : how == CONNECTION_REFUSED ? "it cannot be reached"
                                  : "the connection broke");
}

static void on_complain(void *context, const char *text) {
  struct data_stream *stream = context;
  snprintf(stream->fault, sizeof stream->fault, "it %s", text);
}

static void on_unblocked(void *context) {
  struct data_stream *stream = context;
  moved(stream);
  if (stream->finishing && !stream->end_sent) {
    stream->end_sent = true;
    send_request(stream, RPC__DATA_KIND__DATA_KIND_WRITE_END, NULL, 0);
    connection_flush(stream->connection);
  } else if (stream->sum && !stream->finishing) {
    stream->ready(stream->context);
  }
}

static void on_released(void *context) {
  release(context);
}

static const struct connection_events events = {on_greeted,  on_frame,     on_ended,
                                                on_complain, on_unblocked, on_released};

/* ---- the beginning ---- */

static int begin(const struct data_target *target, struct data_stream *stream, struct error *error) {
  struct sockaddr_storage address;
  const int status = rpc_parse_address(target->address, &address, error);
  if (status != 0) {
    free(stream->sum);
    free(stream->path);
    free(stream);
    return status;
  }
  stream->address = xstrdup(target->address);
  stream->silence_ms =
      (uint64_t)((target->timeout_ns > 0 ? target->timeout_ns : SILENCE_DEFAULT_NS) / NS_PER_MS) + 1;
  rpc_arena_init(&stream->arena);
  uv_timer_init(target->loop, &stream->silence);
  stream->silence.data = stream;
  stream->handles = 2;
  uv_update_time(target->loop);
  moved(stream);
  const struct connection_target worker = {.address = (const struct sockaddr *)&address,
                                           .cluster = target->cluster,
                                           .tls = target->tls,
                                           .roles = TLS_WORKER};
  stream->connection = connection_dial(target->loop, &worker, &events, stream);
  return 0;
}

static int begin_write(const struct data_target *target, uint64_t block, const char *path,
                       void (*ready)(void *context), data_ended *ended, void *context,
                       struct data_stream **result, struct error *error) {
  struct data_stream *stream = xcalloc(1, sizeof *stream);
  stream->block = block;
  stream->path = path ? xstrdup(path) : NULL;
  stream->ready = ready;
  stream->ended = ended;
  stream->context = context;
  stream->sum = xcalloc(1, sizeof *stream->sum);
  *result = stream;
  return begin(target, stream, error);
}

int data_write_begin(const struct data_target *target, uint64_t block, void (*ready)(void *context),
                     data_ended *ended, void *context, struct data_stream **stream, struct error *error) {
  return begin_write(target, block, NULL, ready, ended, context, stream, error);
}

int data_under_write_begin(const struct data_target *target, const char *path, void (*ready)(void *context),
                           data_ended *ended, void *context, struct data_stream **stream,
                           struct error *error) {
  return begin_write(target, 0, path, ready, ended, context, stream, error);
}

static int begin_read(const struct data_target *target, const struct data_stream *wanted,
                      struct data_stream **result, struct error *error) {
  struct data_stream *stream = xmalloc(sizeof *stream);
  *stream = *wanted;
  *result = stream;
  return begin(target, stream, error);
}

int data_read_begin(const struct data_target *target, uint64_t block, uint64_t offset, uint64_t length,
                    bool (*piece)(void *context, const void *data, size_t size), data_ended *ended,
                    void *context, struct data_stream **stream, struct error *error) {
  return begin_read(target,
                    &(struct data_stream){.block = block,
                                          .offset = offset,
                                          .length = length,
                                          .piece = piece,
                                          .ended = ended,
                                          .context = context},
                    stream, error);
}

int data_under_read_begin(const struct data_target *target, const char *path, uint64_t offset,
                          uint64_t length, bool (*piece)(void *context, const void *data, size_t size),
                          data_ended *ended, void *context, struct data_stream **stream,
                          struct error *error) {
  return begin_read(target,
                    &(struct data_stream){.path = xstrdup(path),
                                          .offset = offset,
                                          .length = length,
                                          .piece = piece,
                                          .ended = ended,
                                          .context = context},
                    stream, error);
}
