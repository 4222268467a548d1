/* fake_server.h: a server that follows a script, for tests of the client library. It shares the loop with the
 * client and answers to the letter what the test tells it to, wrong or not. */
#ifndef ASSAY_MASTER_FAKE_SERVER_H
#define ASSAY_MASTER_FAKE_SERVER_H

#include <uv.h>

#include "master/rpc/list.h"
#include "master/rpc/rpc.h"

struct fake_server;

struct fake_session {
  uv_tcp_t tcp;
  struct fake_server *server;
  struct list link;
  struct bytes input;
  bool greeted, closing;
};

struct fake_server {
  uv_tcp_t tcp;
  uv_loop_t *loop;
  char address[32];
  uint64_t id;
  struct list sessions;
  unsigned accepted; /* sessions ever */
  unsigned requests; /* requests ever read */
  bool silent_hello; /* accepts, says nothing */
  bool close_at_once;
  Rpc__Hello hello; /* what it says of itself */
  /* Called for each request; may answer now, later or never. */
  void (*request)(struct fake_server *server, struct fake_session *session, const Rpc__Request *request);
  void *context;
  struct rpc_arena arena;
};

/* Listens on a free port of 127.0.0.1, greets as primary `id`, and answers nothing. */
void fake_server_open(struct fake_server *server, uv_loop_t *loop, uint64_t id);
/* Drops every session and listens no more; the port refuses from now on. Needs the loop to run. */
void fake_server_close(struct fake_server *server);

void fake_send(struct fake_session *session, const void *data, size_t size);
void fake_answer(struct fake_session *session, uint64_t request_id, Rpc__Status status);
void fake_respond(struct fake_session *session, const Rpc__Response *response);
void fake_hang_up(struct fake_session *session);

#endif
