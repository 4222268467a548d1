#include "harness/bench/grpc.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#define STREAM_WINDOW (1 << 20)
#define CONNECTION_WINDOW (16 << 20)
#define ANSWER_MAX (16u << 20)

struct call {
  struct bytes request;
  size_t sent;
  struct bytes answer;
  int status;
  grpc_done *done;
  void *context;
  bool under_way;
  struct call *next;      /* of all */
  struct call *next_free; /* of those that are not under way */
};

struct grpc {
  nghttp2_session *session;
  const char *authority;
  struct call *all, *free;
};

static struct call *take_call(struct grpc *grpc) {
  struct call *call = grpc->free;
  if (call) {
    grpc->free = call->next_free;
  } else {
    call = xcalloc(1, sizeof *call);
    call->next = grpc->all;
    grpc->all = call;
  }
  call->under_way = true;
  return call;
}

static void end_call(struct grpc *grpc, struct call *call, int status) {
  const bool fine = status == 0;
  call->done(call->context, status, fine ? call->answer.data + GRPC_PREFIX : NULL,
             fine ? call->answer.size - GRPC_PREFIX : 0);
  bytes_free(&call->request);
  bytes_clear(&call->answer);
  call->under_way = false;
  call->next_free = grpc->free;
  grpc->free = call;
}

static ssize_t on_body(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t size,
                       uint32_t *flags, nghttp2_data_source *source, void *user) {
  struct call *call = source->ptr;
  (void)session;
  (void)stream;
  (void)user;
  const size_t left = call->request.size - call->sent, now = left < size ? left : size;
  memcpy(buffer, call->request.data + call->sent, now);
  call->sent += now;
  if (now == left)
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  return (ssize_t)now;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags, void *user) {
  static const char wanted[] = "grpc-status";
  struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
  (void)flags;
  (void)user;
  if (!call || name_size != sizeof wanted - 1 || memcmp(name, wanted, name_size) != 0)
    return 0;
  call->status = 0;
  for (size_t i = 0; i < value_size && i < 4; i++)
    call->status = 10 * call->status + (value[i] - '0');
  return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t size,
                    void *user) {
  struct call *call = nghttp2_session_get_stream_user_data(session, stream);
  (void)flags;
  (void)user;
  if (!call)
    return 0;
  if (call->answer.size + size > ANSWER_MAX)
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  bytes_append(&call->answer, data, size);
  return 0;
}

/* The message of an answer: a byte for "compressed", which nobody asked for, a length, the bytes. */
static bool whole(const struct bytes *answer) {
  uint32_t big;
  if (answer->size < GRPC_PREFIX || answer->data[0] != 0)
    return false;
  memcpy(&big, answer->data + 1, sizeof big);
  return be32toh(big) == answer->size - GRPC_PREFIX;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user) {
  struct grpc *grpc = user;
  struct call *call = nghttp2_session_get_stream_user_data(session, stream);
  if (!call)
    return 0;
  const bool torn = code != NGHTTP2_NO_ERROR || (call->status == 0 && !whole(&call->answer));
  end_call(grpc, call, torn ? -1 : call->status);
  return 0;
}

struct grpc *grpc_new(const char *authority) {
  struct grpc *grpc = xcalloc(1, sizeof *grpc);
  grpc->authority = authority;
  nghttp2_session_callbacks *callbacks;
  if (nghttp2_session_callbacks_new(&callbacks) != 0)
    abort(); /* as xmalloc: no memory */
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_chunk);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
  if (nghttp2_session_client_new(&grpc->session, callbacks, grpc) != 0)
    abort();
  nghttp2_session_callbacks_del(callbacks);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW}};
  nghttp2_submit_settings(grpc->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
  nghttp2_session_set_local_window_size(grpc->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
  return grpc;
}

void grpc_free(struct grpc *grpc) {
  if (!grpc)
    return;
  nghttp2_session_del(grpc->session);
  while (grpc->all) {
    struct call *call = grpc->all;
    grpc->all = call->next;
    if (call->under_way)
      end_call(grpc, call, -1);
    bytes_free(&call->answer);
    free(call);
  }
  free(grpc);
}

static nghttp2_nv header(const char *name, const char *value) {
  return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
                      NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

void grpc_call(struct grpc *grpc, const char *method, struct bytes *request, grpc_done *done, void *context) {
  assert(request->size >= GRPC_PREFIX);
  struct call *call = take_call(grpc);
  call->request = *request;
  *request = (struct bytes){0};
  call->sent = 0;
  call->status = -1;
  call->done = done;
  call->context = context;
  const uint32_t big = htobe32((uint32_t)(call->request.size - GRPC_PREFIX));
  call->request.data[0] = 0; /* not compressed */
  memcpy(call->request.data + 1, &big, sizeof big);
  const nghttp2_nv headers[] = {
      header(":method", "POST"),
      header(":scheme", "http"),
      header(":path", method),
      header(":authority", grpc->authority),
      header("te", "trailers"),
      header("content-type", "application/grpc"),
      header("user-agent", "assay-bench"),
  };
  const nghttp2_data_provider body = {.source.ptr = call, .read_callback = on_body};
  /* Refused only without memory, or after 2^30 calls. */
  const int32_t stream =
      nghttp2_submit_request(grpc->session, NULL, headers, ARRAY_SIZE(headers), &body, call);
  assert(stream > 0);
}

const char *grpc_receive(struct grpc *grpc, const void *data, size_t size) {
  const ssize_t taken = nghttp2_session_mem_recv(grpc->session, data, size);
  if (taken < 0)
    return nghttp2_strerror((int)taken);
  if (!nghttp2_session_want_read(grpc->session))
    return "the server says good-bye";
  return NULL;
}

void grpc_gather(struct grpc *grpc, struct bytes *out) {
  const uint8_t *data;
  ssize_t size;
  while ((size = nghttp2_session_mem_send(grpc->session, &data)) > 0)
    bytes_append(out, data, (size_t)size);
}

const char *grpc_status_name(int status) {
  static const char *const status_names[] = {
      NULL,        "cancelled",        "unknown",       "invalid-argument", "deadline-exceeded",
      "not-found", "already-exists",   "denied",        "exhausted",        "failed-precondition",
      "aborted",   "out-of-range",     "unimplemented", "internal",         "unavailable",
      "data-loss", "not-authenticated"};
  if (status < 0)
    return "no-status";
  return status < (int)ARRAY_SIZE(status_names) ? status_names[status] : "unknown";
}
