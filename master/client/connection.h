/* connection.h: one TCP connection to a master's client port: dialled, greeted, cut into frames.
 *
 * Knows nothing of requests. Callbacks come from the loop, never from inside a call; after `ended`, and after
 * connection_close, the owner hears nothing more and must forget the pointer. */
#ifndef ASSAY_MASTER_CLIENT_CONNECTION_H
#define ASSAY_MASTER_CLIENT_CONNECTION_H

#include <uv.h>

#include "master/rpc/rpc.h"
#include "master/rpc/tls.h"

struct connection;

enum connection_end {
  CONNECTION_REFUSED, /* before the master's hello: nothing but our own hello was sent */
  CONNECTION_BROKEN,  /* after it: what was sent may have been read, or not */
};

struct connection_events {
  /* The master's hello, of our version. */
  void (*greeted)(void *context, const Rpc__Hello *hello);
  /* A frame after the hello, valid during the call. False: it is malformed, the connection ends as broken. */
  bool (*frame)(void *context, const struct rpc_frame *frame);
  void (*ended)(void *context, enum connection_end end);
  /* What a person should know about this master: a line without an end, valid during the call. */
  void (*complain)(void *context, const char *text);
  /* The write that blocked has left. */
  void (*unblocked)(void *context);
  /* After all else: the last handle is closed, the memory gone. */
  void (*released)(void *context);
};

/* Whom to dial. */
struct connection_target {
  const struct sockaddr *address;
  uint64_t cluster;        /* that it must belong to; 0: any */
  struct tls_context *tls; /* not owned; NULL: without */
  unsigned roles;          /* with TLS: it must have one of them */
};

struct connection *connection_dial(uv_loop_t *loop, const struct connection_target *target,
                                   const struct connection_events *events, void *context);

/* Where to append frames. What is there goes out with connection_flush, in one write. */
struct bytes *connection_output(struct connection *connection);

/* Must not be called while connection_is_blocked. */
void connection_flush(struct connection *connection);

/* An earlier write is not finished: append nothing until `unblocked` is called. */
bool connection_is_blocked(const struct connection *connection);

void connection_close(struct connection *connection);

#endif
