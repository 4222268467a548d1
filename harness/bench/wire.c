#include "harness/bench/wire.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>

#define RECEIVE_SIZE 65536u
#define CONNECTING_MAX 32u /* at a time: servers let only so many wait at their door */

struct wire {
  struct wires *wires;
  size_t index;
  uv_tcp_t tcp;
  uv_connect_t connect;
  struct bytes out;
  bool connected, touched;
  bool writing; /* a rest that the socket did not take at once: what comes now waits for it */
};

struct rest {
  uv_write_t request;
  struct wire *wire;
  struct bytes data;
};

struct wires {
  uv_loop_t *loop;
  struct sockaddr_in address;
  const struct wire_handler *handler;
  void *context;
  uv_prepare_t prepare; /* just before the loop waits: all of a turn is there */
  struct wire *items;
  size_t count;
  size_t begun;    /* connections, the first ones */
  size_t *touched; /* indexes */
  size_t touched_count;
  size_t handles;
  bool closing;
  char received[RECEIVE_SIZE];
};

static void lose(struct wires *wires, const char *why) {
  if (!wires->closing)
    wires->handler->lost(wires->context, why);
}

static void touch(struct wire *wire) {
  if (wire->touched)
    return;
  wire->touched = true;
  wire->wires->touched[wire->wires->touched_count++] = wire->index;
}

static void on_rest_written(uv_write_t *request, int status) {
  struct rest *rest = CONTAINER_OF(request, struct rest, request);
  struct wire *wire = rest->wire;
  bytes_free(&rest->data);
  free(rest);
  wire->writing = false;
  if (status != 0)
    lose(wire->wires, uv_strerror(status));
  else if (wire->out.size > 0)
    touch(wire);
}

static void write_rest(struct wire *wire) {
  struct rest *rest = xcalloc(1, sizeof *rest);
  rest->wire = wire;
  rest->data = wire->out;
  wire->out = (struct bytes){0};
  const uv_buf_t buffer = uv_buf_init((char *)rest->data.data, (unsigned)rest->data.size);
  wire->writing = true;
  const int status = uv_write(&rest->request, (uv_stream_t *)&wire->tcp, &buffer, 1, on_rest_written);
  if (status != 0)
    on_rest_written(&rest->request, status);
}

static void flush(struct wire *wire) {
  struct wires *wires = wire->wires;
  if (!wire->connected)
    return;
  if (wires->handler->gather)
    wires->handler->gather(wires->context, wire->index, &wire->out);
  if (wire->writing || wire->out.size == 0)
    return;
  const uv_buf_t buffer = uv_buf_init((char *)wire->out.data, (unsigned)wire->out.size);
  const int written = uv_try_write((uv_stream_t *)&wire->tcp, &buffer, 1);
  if (written < 0 && written != UV_EAGAIN) {
    lose(wires, uv_strerror(written));
    return;
  }
  bytes_consume(&wire->out, written > 0 ? (size_t)written : 0);
  if (wire->out.size > 0)
    write_rest(wire);
}

static void on_prepare(uv_prepare_t *prepare) {
  struct wires *wires = prepare->data;
  for (size_t i = 0; i < wires->touched_count; i++) {
    struct wire *wire = &wires->items[wires->touched[i]];
    wire->touched = false;
    flush(wire);
  }
  wires->touched_count = 0;
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  struct wire *wire = handle->data;
  (void)suggested;
  *buffer = uv_buf_init(wire->wires->received, RECEIVE_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  struct wire *wire = stream->data;
  struct wires *wires = wire->wires;
  if (wires->closing || size == 0)
    return;
  const char *why = size < 0
                        ? uv_strerror((int)size)
                        : wires->handler->received(wires->context, wire->index, buffer->base, (size_t)size);
  if (why) {
    uv_read_stop(stream);
    lose(wires, why);
  }
}

static void connect_next(struct wires *wires);

static void on_connect(uv_connect_t *request, int status) {
  struct wire *wire = request->data;
  if (status != 0) {
    lose(wire->wires, uv_strerror(status));
    return;
  }
  connect_next(wire->wires);
  wire->connected = true;
  uv_tcp_nodelay(&wire->tcp, 1);
  uv_read_start((uv_stream_t *)&wire->tcp, on_allocate, on_read);
  if (!wire->wires->closing)
    wire->wires->handler->connected(wire->wires->context, wire->index);
  touch(wire);
}

static void connect_next(struct wires *wires) {
  if (wires->closing || wires->begun == wires->count)
    return;
  struct wire *wire = &wires->items[wires->begun++];
  const int status =
      uv_tcp_connect(&wire->connect, &wire->tcp, (struct sockaddr *)&wires->address, on_connect);
  if (status != 0)
    lose(wires, uv_strerror(status));
}

struct wires *wires_open(uv_loop_t *loop, int port, size_t count, const struct wire_handler *handler,
                         void *context) {
  struct wires *wires = xcalloc(1, sizeof *wires);
  wires->address = (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  wires->loop = loop;
  wires->handler = handler;
  wires->context = context;
  wires->count = count;
  wires->handles = count + 1;
  wires->items = xcalloc(count, sizeof *wires->items);
  wires->touched = xcalloc(count, sizeof *wires->touched);
  uv_prepare_init(loop, &wires->prepare);
  wires->prepare.data = wires;
  uv_prepare_start(&wires->prepare, on_prepare);
  for (size_t i = 0; i < count; i++) {
    struct wire *wire = &wires->items[i];
    wire->wires = wires;
    wire->index = i;
    uv_tcp_init(loop, &wire->tcp);
    wire->tcp.data = wire->connect.data = wire;
  }
  for (size_t i = 0; i < CONNECTING_MAX; i++)
    connect_next(wires);
  return wires;
}

struct bytes *wire_output(struct wires *wires, size_t index) {
  assert(index < wires->count);
  touch(&wires->items[index]);
  return &wires->items[index].out;
}

static void on_closed(uv_handle_t *handle) {
  struct wires *wires = handle->type == UV_TCP ? ((struct wire *)handle->data)->wires : handle->data;
  wires->handles--;
}

void wires_close(struct wires *wires) {
  if (!wires)
    return;
  wires->closing = true;
  uv_close((uv_handle_t *)&wires->prepare, on_closed);
  for (size_t i = 0; i < wires->count; i++)
    uv_close((uv_handle_t *)&wires->items[i].tcp, on_closed);
  while (wires->handles > 0)
    uv_run(wires->loop, UV_RUN_ONCE);
  for (size_t i = 0; i < wires->count; i++)
    bytes_free(&wires->items[i].out);
  free(wires->items);
  free(wires->touched);
  free(wires);
}
