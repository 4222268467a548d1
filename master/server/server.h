/* server.h: the master's face to its clients: sessions on libuv that carry requests to the primary pipeline
 * and its answers back.
 *
 * Takes for granted that clients may be slow, many, gone or hostile: frames are bounded, a session that does
 * not read its answers is read from no more and in the end dropped, and a session that sends what is no frame
 * is closed with a line in the log. */
#ifndef ASSAY_MASTER_SERVER_H
#define ASSAY_MASTER_SERVER_H

#include <uv.h>

#include "base/base.h"
#include "master/primary.h"
#include "master/rpc/tls.h"
#include "master/statistics.h"

struct server;

struct server_member {
  uint64_t id;
  const char *client_address; /* "host:port", told to clients that ask the wrong node; copied */
};

/* What an operator asks about the process: see NodeReport in rpc.proto. */
struct server_report {
  uint64_t resident_bytes, disk_size_bytes, disk_free_bytes;
  uint64_t descriptors, descriptor_limit;
  uint64_t durable_index, write_behind_bytes, cache_bytes;
};

struct server_options {
  uv_loop_t *loop;
  struct primary *primary; /* not owned; outlives the server's sessions, see server_close */
  uint64_t cluster, id;
  const char *address;     /* "host:port" to listen on, numeric; port 0: any free one */
  struct tls_context *tls; /* what clients are met with; not owned. NULL: without TLS */
  size_t session_limit;    /* sessions at one time; 0: 16384 */
  /* Asked at every new client: true turns it away. NULL: never. */
  bool (*is_full)(void *context);
  void *full_context;
  /* Asked for each report. NULL: all of it is 0. */
  void (*report)(void *context, struct server_report *report);
  void *report_context;
  const struct server_member *members;
  size_t member_count;
};

/* Listens. ERR_IO when it cannot: the message names the address and what to do. */
int server_open(const struct server_options *options, struct server **server, struct error *error);

/* The port it listens on. */
unsigned server_port(const struct server *server);

struct server_statistics server_statistics(const struct server *server);

/* Listens no more and closes all sessions; `closed` is called when their handles are gone. Requests that the
 * primary has not answered yet are still its own: free the server after the primary. */
void server_close(struct server *server, void (*closed)(void *context), void *context);

/* After server_close has reported and the primary has answered everything (primary_free does). */
void server_free(struct server *server);

#endif
