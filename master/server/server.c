#include "master/server/server.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/server/internal.h"

#define SESSION_LIMIT_DEFAULT 16384u
#define BACKLOG 1024
#define SWEEP_EVERY_MS 1000
#define COMPLAIN_EVERY_NS (10 * NS_PER_S)

/* An idle handle runs once before the loop waits again, wherever in the turn it was started. */
static void on_flush(uv_idle_t *flush) {
  struct server *server = flush->data;
  struct list ready;
  list_init(&ready);
  while (!list_is_empty(&server->dirty)) {
    struct list *first = server->dirty.next;
    list_remove(first);
    list_append(&ready, first);
  }
  uv_idle_stop(flush);
  while (!list_is_empty(&ready))
    session_flush(CONTAINER_OF(ready.next, struct session, dirty));
}

void server_flush_soon(struct server *server) {
  if (!uv_is_active((const uv_handle_t *)&server->flush))
    uv_idle_start(&server->flush, on_flush);
}

void server_complain(struct server *server, const char *client, const char *why) {
  const int64_t now_ns = (int64_t)uv_hrtime();
  if (now_ns - server->complained_ns < COMPLAIN_EVERY_NS)
    return;
  server->complained_ns = now_ns;
  log_warn("%s was turned away: %s", client, why);
}

bool server_is_full(const struct server *server) {
  return server->session_count >= server->session_limit ||
         (server->is_full && server->is_full(server->full_context));
}

static void on_connection(uv_stream_t *stream, int status) {
  struct server *server = stream->data;
  if (status < 0) {
    server->turned_away++;
    char why[160];
    snprintf(why, sizeof why, "%s; raise the limit of open files (ulimit -n)", uv_strerror(status));
    server_complain(server, "a client", why);
    return;
  }
  if (server_is_full(server))
    server_complain(
        server, "a client",
        "too many sessions or files; use fewer connections or raise the limit of open files (ulimit -n)");
  session_accept(server);
}

static void on_sweep(uv_timer_t *timer) {
  struct server *server = timer->data;
  const int64_t now_ns = (int64_t)uv_hrtime();
  struct list *next;
  for (struct list *at = server->sessions.next; at != &server->sessions; at = next) {
    next = at->next;
    session_sweep(CONTAINER_OF(at, struct session, link), now_ns);
  }
}

static int listen_on(struct server *server, const char *address, struct error *error) {
  struct sockaddr_storage parsed;
  int status = rpc_parse_address(address, &parsed, error);
  if (status != 0)
    return status;
  status = uv_tcp_bind(&server->tcp, (const struct sockaddr *)&parsed, 0);
  if (status == 0)
    status = uv_listen((uv_stream_t *)&server->tcp, BACKLOG, on_connection);
  if (status == 0)
    return 0;
  return error_set(error, ERR_IO, "cannot listen for clients on %s: %s; %s", address, uv_strerror(status),
                   status == UV_EADDRINUSE      ? "stop what uses the port, or give this node another one"
                   : status == UV_EADDRNOTAVAIL ? "give an address that this machine has"
                                                : "check address and port of this node");
}

static void server_free_when_closed(void *context) {
  server_free(context);
}

static void on_handle_closed(uv_handle_t *handle) {
  server_release(handle->data);
}

int server_open(const struct server_options *options, struct server **opened, struct error *error) {
  struct server *server = xcalloc(1, sizeof *server);
  server->loop = options->loop;
  server->primary = options->primary;
  server->tls = options->tls;
  server->cluster = options->cluster;
  server->id = options->id;
  server->session_limit = options->session_limit ? options->session_limit : SESSION_LIMIT_DEFAULT;
  server->is_full = options->is_full;
  server->full_context = options->full_context;
  server->report = options->report;
  server->report_context = options->report_context;
  server->started_ns = (int64_t)uv_hrtime();
  server->complained_ns = INT64_MIN / 2;
  server->member_count = options->member_count;
  server->members = xcalloc(options->member_count, sizeof *server->members);
  for (size_t i = 0; i < options->member_count; i++) {
    server->members[i].id = options->members[i].id;
    server->members[i].client_address = xstrdup(options->members[i].client_address);
  }
  list_init(&server->sessions);
  list_init(&server->dirty);
  rpc_arena_init(&server->arena);
  uv_tcp_init(server->loop, &server->tcp);
  uv_idle_init(server->loop, &server->flush);
  uv_timer_init(server->loop, &server->sweep);
  server->tcp.data = server->flush.data = server->sweep.data = server;
  server->handles = 3;
  const int status = listen_on(server, options->address, error);
  if (status != 0) {
    server_close(server, server_free_when_closed, server);
    return status;
  }
  uv_timer_start(&server->sweep, on_sweep, SWEEP_EVERY_MS, SWEEP_EVERY_MS);
  *opened = server;
  return 0;
}

unsigned server_port(const struct server *server) {
  struct sockaddr_storage address;
  int size = sizeof address;
  if (uv_tcp_getsockname(&server->tcp, (struct sockaddr *)&address, &size) < 0)
    return 0;
  return ntohs(((const struct sockaddr_in *)&address)->sin_port); /* at the same place for IPv6 */
}

struct server_statistics server_statistics(const struct server *server) {
  return (struct server_statistics){.sessions = server->session_count,
                                    .accepted = server->accepted,
                                    .turned_away = server->turned_away,
                                    .dropped = server->dropped};
}

void server_release(struct server *server) {
  assert(server->handles > 0);
  if (--server->handles == 0 && server->closed)
    server->closed(server->closed_context);
}

void server_close(struct server *server, void (*closed)(void *context), void *context) {
  server->closed = closed;
  server->closed_context = context;
  while (!list_is_empty(&server->sessions))
    session_close(CONTAINER_OF(server->sessions.next, struct session, link));
  uv_close((uv_handle_t *)&server->tcp, on_handle_closed);
  uv_close((uv_handle_t *)&server->flush, on_handle_closed);
  uv_close((uv_handle_t *)&server->sweep, on_handle_closed);
}

void server_free(struct server *server) {
  assert(server->handles == 0 && server->tickets == 0);
  while (server->spare) {
    struct ticket *ticket = server->spare;
    server->spare = ticket->next;
    free(ticket);
  }
  for (size_t i = 0; i < server->member_count; i++)
    free(server->members[i].client_address);
  free(server->members);
  rpc_arena_free(&server->arena);
  bytes_free(&server->entries);
  bytes_free(&server->plain);
  free(server);
}
