/* wire.h: connections to one port, each a stream of bytes both ways; what was put into one during a turn of
 * the loop leaves in one write. For the peers' clients. */
#ifndef ASSAY_HARNESS_BENCH_WIRE_H
#define ASSAY_HARNESS_BENCH_WIRE_H

#include <uv.h>

#include "base/base.h"

struct wire_handler {
  void (*connected)(void *context, size_t index);
  /* NULL, or why the connection is of no use any more. */
  const char *(*received)(void *context, size_t index, const void *data, size_t size);
  /* Appends what is to be sent now; may be NULL. Only called for a connection that was touched. */
  void (*gather)(void *context, size_t index, struct bytes *out);
  void (*lost)(void *context, const char *why);
};

struct wires;

/* `handler` and `context` must stay as long as it does. */
struct wires *wires_open(uv_loop_t *loop, int port, size_t count, const struct wire_handler *handler,
                         void *context);

/* Where to put what is to be sent; good until the next turn of the loop. Touches the connection. */
struct bytes *wire_output(struct wires *wires, size_t index);

/* Runs the loop until all are closed; calls nobody any more. NULL: nothing happens. */
void wires_close(struct wires *wires);

#endif
