#include "harness/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness/cluster_state.h"
#include "harness/document.h"

#define SOCKET_NAME "control"
#define REQUEST_LIMIT (64u << 10)
#define BACKLOG 8
/* Faults are installed and healed while it is waited for: a node may take its time to start. */
#define ANSWER_WITHIN_S 60

struct control {
  uv_pipe_t listener;
  struct nemesis *nemesis; /* NULL once it listens no more */
  int directory;
  size_t holders; /* itself, as long as it listens, and its callers */
};

/* How often it is looked whether what goes on is done. */
#define LOOK_MS 20

struct caller {
  uv_pipe_t pipe;
  uv_timer_t timer; /* while what was asked for goes on */
  uint64_t number;  /* of the fault that does */
  json_t *answered; /* the answer, if it ends well */
  struct control *control;
  struct bytes received;
  uv_write_t write;
  char *answer;
};

/* The name of a socket has at most 107 bytes; that of a store may have more. */
static void name_socket(int directory, char *out, size_t size) {
  snprintf(out, size, "/proc/self/fd/%d/" SOCKET_NAME, directory);
}

/* ---- Answers ---- */

static json_t *answer_start(struct nemesis *nemesis, const json_t *request, struct error *error) {
  uint64_t number = 0;
  char *entry = json_dumps(json_object_get(request, "entry"), JSON_COMPACT);
  const int status = entry ? nemesis_install(nemesis, entry, &number, error)
                           : error_set(error, ERR_BAD_INPUT, "a start needs an entry");
  free(entry);
  return status == 0 ? json_pack("{s:b, s:I}", "ok", true, "number", (json_int_t)number) : NULL;
}

static json_t *answer_status(const struct nemesis *nemesis) {
  char *text = nemesis_describe(nemesis);
  json_t *answer = json_loads(text, 0, NULL);
  json_object_set_new(answer, "ok", json_true());
  free(text);
  return answer;
}

static json_t *answer(struct nemesis *nemesis, const json_t *request) {
  const char *what = document_string(request, "do", "");
  struct error error = {0};
  json_t *answered = NULL;
  if (strcmp(what, "start") == 0)
    answered = answer_start(nemesis, request, &error);
  else if (strcmp(what, "heal") == 0) {
    if (nemesis_heal(nemesis, (uint64_t)document_integer(request, "number", 0), &error) == 0)
      answered = json_pack("{s:b}", "ok", true);
  } else if (strcmp(what, "status") == 0)
    answered = answer_status(nemesis);
  else
    error_set(&error, ERR_BAD_INPUT, "'%.40s' is none of start, heal, status", what);
  return answered ? answered : json_pack("{s:b, s:s}", "ok", false, "error", error.message);
}

/* ---- Listening ---- */

static void control_let_go(struct control *control) {
  if (--control->holders == 0)
    free(control);
}

static void timer_closed(uv_handle_t *handle) {
  struct caller *caller = handle->data;
  control_let_go(caller->control);
  json_decref(caller->answered);
  bytes_free(&caller->received);
  free(caller->answer);
  free(caller);
}

static void caller_closed(uv_handle_t *handle) {
  struct caller *caller = handle->data;
  uv_close((uv_handle_t *)&caller->timer, timer_closed);
}

static void caller_end(struct caller *caller) {
  if (!uv_is_closing((uv_handle_t *)&caller->pipe))
    uv_close((uv_handle_t *)&caller->pipe, caller_closed);
}

static void on_written(uv_write_t *write, int status) {
  (void)status;
  caller_end(write->handle->data);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  struct caller *caller = handle->data;
  buffer->base = (char *)bytes_reserve(&caller->received, suggested);
  buffer->len = suggested;
}

static void send_answer(struct caller *caller) {
  caller->answer = json_dumps(caller->answered, JSON_COMPACT);
  const uv_buf_t buffers[] = {uv_buf_init(caller->answer, (unsigned)strlen(caller->answer)),
                              uv_buf_init((char[]){'\n'}, 1)};
  if (uv_write(&caller->write, (uv_stream_t *)&caller->pipe, buffers, ARRAY_SIZE(buffers), on_written) != 0)
    caller_end(caller);
}

#define NOTHING_GOES_ON UINT64_MAX

/* Some faults take a while to be installed and to be healed. */
static void on_look(uv_timer_t *timer) {
  struct caller *caller = timer->data;
  struct error error = {0};
  struct nemesis *nemesis = caller->control->nemesis;
  int status = 0;
  if (!nemesis)
    status = error_set(&error, ERR_UNAVAILABLE, "the cluster ends");
  else if (caller->number != NOTHING_GOES_ON)
    status = nemesis_progress(nemesis, caller->number, &error);
  if (status > 0)
    return;
  uv_timer_stop(timer);
  if (status < 0) {
    json_decref(caller->answered);
    caller->answered = json_pack("{s:b, s:s}", "ok", false, "error", error.message);
  }
  send_answer(caller);
}

/* Of the fault that the answer waits for; 0: all. */
static uint64_t number_of(const json_t *request, const json_t *answered) {
  const char *what = document_string(request, "do", "");
  if (!document_boolean(answered, "ok", false))
    return NOTHING_GOES_ON;
  if (strcmp(what, "start") == 0)
    return (uint64_t)document_integer(answered, "number", 0);
  return strcmp(what, "heal") == 0 ? (uint64_t)document_integer(request, "number", 0) : NOTHING_GOES_ON;
}

static void on_request(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  struct caller *caller = stream->data;
  (void)buffer;
  if (size > 0)
    caller->received.size += (size_t)size;
  if (size < 0 || caller->received.size > REQUEST_LIMIT) {
    caller_end(caller);
    return;
  }
  const char *end = memchr(caller->received.data, '\n', caller->received.size);
  if (!end || caller->answered)
    return;
  if (!caller->control->nemesis) {
    caller_end(caller);
    return;
  }
  json_t *request = json_loadb((const char *)caller->received.data,
                               (size_t)(end - (const char *)caller->received.data), 0, NULL);
  caller->answered = answer(caller->control->nemesis, request);
  caller->number = number_of(request, caller->answered);
  json_decref(request);
  uv_read_stop(stream);
  uv_timer_start(&caller->timer, on_look, 0, LOOK_MS);
}

static void on_caller(uv_stream_t *listener, int status) {
  struct control *control = listener->data;
  if (status != 0)
    return;
  struct caller *caller = xcalloc(1, sizeof *caller);
  caller->control = control;
  control->holders++;
  uv_pipe_init(listener->loop, &caller->pipe, 0);
  caller->pipe.data = caller;
  uv_timer_init(listener->loop, &caller->timer);
  caller->timer.data = caller;
  if (uv_accept(listener, (uv_stream_t *)&caller->pipe) != 0 ||
      uv_read_start((uv_stream_t *)&caller->pipe, on_allocate, on_request) != 0)
    caller_end(caller);
}

static void control_closed(uv_handle_t *handle) {
  struct control *control = handle->data;
  close(control->directory);
  control_let_go(control);
}

int control_open(uv_loop_t *loop, const char *directory, struct nemesis *nemesis, struct control **made,
                 struct error *error) {
  struct control *control = xcalloc(1, sizeof *control);
  char name[64];
  control->nemesis = nemesis;
  control->holders = 1;
  control->directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (control->directory < 0) {
    free(control);
    return error_set_errno(error, ERR_IO, "cannot open %s", directory);
  }
  name_socket(control->directory, name, sizeof name);
  unlink(name); /* of one that was killed; the lock says that it is gone */
  uv_pipe_init(loop, &control->listener, 0);
  control->listener.data = control;
  int status = uv_pipe_bind(&control->listener, name);
  if (status == 0)
    status = uv_listen((uv_stream_t *)&control->listener, BACKLOG, on_caller);
  if (status != 0) {
    uv_close((uv_handle_t *)&control->listener, control_closed);
    return error_set(error, ERR_IO, "cannot listen in %s: %s", directory, uv_strerror(status));
  }
  *made = control;
  return 0;
}

void control_close(struct control *control) {
  if (!control)
    return;
  control->nemesis = NULL;
  uv_close((uv_handle_t *)&control->listener, control_closed);
}

/* ---- Asking ---- */

static int reach(const char *store, struct error *error) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const struct timeval patience = {.tv_sec = ANSWER_WITHIN_S};
  char *path = path_join(store, "cluster");
  const int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  name_socket(directory, address.sun_path, sizeof address.sun_path);
  int status = 0;
  if (directory < 0 || fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
      connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
    status = error_set_errno(error, ERR_IO, "cannot reach the nemesis of the cluster in %s", path);
  if (directory >= 0)
    close(directory);
  free(path);
  if (status != 0 && fd >= 0)
    close(fd);
  return status != 0 ? status : fd;
}

static json_t *talk(int fd, const json_t *request, struct error *error) {
  char *text = json_dumps(request, JSON_COMPACT);
  struct bytes line = {0}, answered = {0};
  bytes_append_format(&line, "%s\n", text);
  free(text);
  json_t *answer = NULL;
  ssize_t got = -1;
  if (send(fd, line.data, line.size, MSG_NOSIGNAL) == (ssize_t)line.size)
    while ((got = read(fd, bytes_reserve(&answered, 4096), 4096)) > 0 || (got < 0 && errno == EINTR))
      answered.size += got > 0 ? (size_t)got : 0;
  if (got < 0)
    error_set_errno(error, ERR_IO, "the nemesis did not answer");
  else if (!(answer = json_loadb((const char *)answered.data, answered.size, 0, NULL)))
    error_set(error, ERR_IO, "the nemesis ended before it had answered");
  bytes_free(&line);
  bytes_free(&answered);
  return answer;
}

json_t *control_ask(const char *store, json_t *request, struct error *error) {
  struct cluster_state state;
  json_t *answered = NULL;
  int fd = -1;
  if (cluster_state_load(store, &state, error) == 0)
    fd = reach(store, error);
  if (fd >= 0) {
    answered = talk(fd, request, error);
    close(fd);
  }
  json_decref(request);
  if (answered && !document_boolean(answered, "ok", false)) {
    error_set(error, ERR_UNAVAILABLE, "%s", document_string(answered, "error", "it gave no reason"));
    json_decref(answered);
    return NULL;
  }
  return answered;
}
