/* data_server.h: a worker's face to clients: blocks written and read over many connections.
 *
 * A connection has one request at a time; while its file is worked on, on a thread, or its client has not
 * taken what was sent, nothing more is read from it. So each holds some 500 KiB at most, and TCP tells fast
 * senders. Takes for granted that clients may be slow, many, gone or hostile. */
#ifndef ASSAY_WORKER_DATA_SERVER_H
#define ASSAY_WORKER_DATA_SERVER_H

#include <uv.h>

#include "base/base.h"
#include "master/under_roots.h"
#include "master/worker/block_store.h"

struct data_server;
struct tls_context;

struct data_server_options {
  uv_loop_t *loop;
  const char *address;       /* "host:port" to listen on, numeric; port 0: any free one */
  struct block_store *store; /* not owned */
  struct tls_context *tls;   /* what clients are met with; not owned. NULL: without TLS */
  size_t session_limit;      /* 0: 256 */
  struct under_roots roots;  /* files of the under-store that may be read and made */
  /* Whether new blocks are taken; if not, why, for people. */
  bool (*may_write)(void *context, char *why, size_t size);
  /* A block is durable. */
  void (*stored)(void *context, uint64_t block);
  /* A block that the store had is there no more. */
  void (*lost)(void *context, uint64_t block);
  void *context;
};

/* Listens. ERR_IO when it cannot: the message names the address and what to do. */
int data_server_open(const struct data_server_options *options, struct data_server **server,
                     struct error *error);
unsigned data_server_port(const struct data_server *server);
/* Listens no more, ends all sessions; `closed` is called when no thread works for them any more, and the
 * server is gone. */
void data_server_close(struct data_server *server, void (*closed)(void *context), void *context);

#endif
