/* http.h: how a master is watched: metrics and health over HTTP, read only.
 *
 *   GET /metrics   Prometheus' text format
 *   GET /health    200 or 503, and why not, in JSON: can this node do its part?
 *   GET /ready     the same, and 503 as well while it has not caught up: for rolling restarts
 *   GET /primary   200 on the node that serves clients, else 503: for load balancers
 *
 * libmicrohttpd runs on the master's own loop (its epoll descriptor is polled), so no other thread ever reads
 * the master's state. */
#ifndef ASSAY_MASTER_HTTP_H
#define ASSAY_MASTER_HTTP_H

#include <uv.h>

#include "base/base.h"
#include "master/http/observation.h"

struct http;

struct http_options {
  uv_loop_t *loop;
  const struct sockaddr *address; /* to listen on; port 0: any free one */
  const char *address_text;       /* for people */
  /* Fills in what is served; called for each request. */
  void (*observe)(void *context, struct observation *observation);
  void *context;
};

/* Listens. ERR_IO when it cannot: the message names the address and what to do. */
int http_open(const struct http_options *options, struct http **http, struct error *error);

/* Ends connections and frees once the loop has let go of its handles. NULL is allowed. */
void http_close(struct http *http);

/* -- the pages, appended to `page` -- */
void metrics_write(struct bytes *page, const struct observation *observation);

enum health { HEALTH, HEALTH_READY, HEALTH_PRIMARY };
/* Returns whether the answer is yes. */
bool health_write(struct bytes *page, const struct observation *observation, enum health asked);

#endif
