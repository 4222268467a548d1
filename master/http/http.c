#include "master/http/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 16
/* libmicrohttpd notices only by time that a client which sent half a request has gone: such visitors must not
 * keep others out for long. */
#define CONNECTIONS_LIMIT 256u
#define CONNECTION_TIMEOUT_S 3u
#define CONNECTION_MEMORY ((size_t)16 << 10)

struct http {
  struct MHD_Daemon *daemon;
  uv_poll_t poll;   /* the daemon's epoll descriptor */
  uv_timer_t timer; /* its time-outs */
  unsigned handles;
  void (*observe)(void *context, struct observation *observation);
  void *context;
};

/* -- answers -- */

static enum MHD_Result send_page(struct MHD_Connection *connection, unsigned status, const char *type,
                                 struct bytes *page) {
  struct MHD_Response *response =
      MHD_create_response_from_buffer(page->size, page->data, MHD_RESPMEM_MUST_FREE);
  if (!response) {
    bytes_free(page);
    return MHD_NO;
  }
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
  MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  const enum MHD_Result result = MHD_queue_response(connection, status, response);
  MHD_destroy_response(response);
  return result;
}

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status, const char *text) {
  struct bytes page = {0};
  bytes_append(&page, text, strlen(text));
  return send_page(connection, status, "text/plain; charset=utf-8", &page);
}

static enum MHD_Result send_health(struct MHD_Connection *connection, const struct observation *observation,
                                   enum health asked) {
  struct bytes page = {0};
  const bool yes = health_write(&page, observation, asked);
  return send_page(connection, yes ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, "application/json", &page);
}

static enum MHD_Result send_metrics(struct MHD_Connection *connection,
                                    const struct observation *observation) {
  struct bytes page = {0};
  metrics_write(&page, observation);
  return send_page(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &page);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state) {
  (void)version, (void)upload;
  static char seen;
  if (!*state) { /* the head; the answer is given when the body, if there is one, is read */
    *state = &seen;
    return MHD_YES;
  }
  if (*upload_size > 0) {
    *upload_size = 0;
    return MHD_YES;
  }
  if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
    return send_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "This can only be read: GET or HEAD.\n");
  const struct http *http = context;
  struct observation observation = {0};
  http->observe(http->context, &observation);
  if (strcmp(path, "/metrics") == 0)
    return send_metrics(connection, &observation);
  if (strcmp(path, "/health") == 0)
    return send_health(connection, &observation, HEALTH);
  if (strcmp(path, "/ready") == 0)
    return send_health(connection, &observation, HEALTH_READY);
  if (strcmp(path, "/primary") == 0)
    return send_health(connection, &observation, HEALTH_PRIMARY);
  return send_text(connection, MHD_HTTP_NOT_FOUND, "There is /metrics, /health, /ready and /primary.\n");
}

/* -- on the loop -- */

static void on_timer(uv_timer_t *timer);

static void run(struct http *http) {
  MHD_run(http->daemon);
  MHD_UNSIGNED_LONG_LONG timeout_ms;
  if (MHD_get_timeout(http->daemon, &timeout_ms) == MHD_YES)
    uv_timer_start(&http->timer, on_timer, timeout_ms, 0);
  else
    uv_timer_stop(&http->timer);
}

static void on_timer(uv_timer_t *timer) {
  run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)status, (void)events;
  run(poll->data);
}

/* -- opening and closing -- */

static void on_handle_closed(uv_handle_t *handle) {
  struct http *http = handle->data;
  if (--http->handles > 0)
    return;
  MHD_stop_daemon(http->daemon);
  free(http);
}

void http_close(struct http *http) {
  if (!http)
    return;
  uv_close((uv_handle_t *)&http->poll, on_handle_closed);
  uv_close((uv_handle_t *)&http->timer, on_handle_closed);
}

static int listen_on(const struct http_options *options, int *listener, struct error *error) {
  const struct sockaddr *address = options->address;
  const socklen_t size =
      address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
  const int yes = 1;
  *listener = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (*listener >= 0 && setsockopt(*listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
      bind(*listener, address, size) == 0 && listen(*listener, BACKLOG) == 0)
    return 0;
  const int cause = errno;
  if (*listener >= 0)
    close(*listener);
  return error_set(error, ERR_IO, "cannot listen for --http on %s: %s; %s", options->address_text,
                   strerror(cause),
                   cause == EADDRINUSE      ? "stop what uses the port, or give another one"
                   : cause == EADDRNOTAVAIL ? "give an address that this machine has"
                                            : "check the address");
}

static void complain(void *context, const char *format, va_list arguments) {
  (void)context;
  char text[400];
  vsnprintf(text, sizeof text, format, arguments);
  text[strcspn(text, "\n")] = '\0';
  log_debug("http: %s", text);
}

int http_open(const struct http_options *options, struct http **opened, struct error *error) {
  int listener;
  const int status = listen_on(options, &listener, error);
  if (status != 0)
    return status;
  struct http *http = xcalloc(1, sizeof *http);
  http->observe = options->observe;
  http->context = options->context;
  http->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, http,
                                  MHD_OPTION_EXTERNAL_LOGGER, complain, NULL, MHD_OPTION_LISTEN_SOCKET,
                                  listener, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_LIMIT,
                                  MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S,
                                  MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_END);
  const union MHD_DaemonInfo *info =
      http->daemon ? MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
  if (!info || uv_poll_init(options->loop, &http->poll, info->epoll_fd) != 0) {
    if (http->daemon)
      MHD_stop_daemon(http->daemon);
    else
      close(listener);
    free(http);
    return error_set(error, ERR_IO, "libmicrohttpd cannot serve --http on %s", options->address_text);
  }
  uv_timer_init(options->loop, &http->timer);
  http->poll.data = http->timer.data = http;
  http->handles = 2;
  uv_poll_start(&http->poll, UV_READABLE, on_readable);
  *opened = http;
  return 0;
}
