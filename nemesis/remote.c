#include "nemesis/remote.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nemesis/agent/protocol.h"

#define SEND_PATIENCE_MS 10000

/* ---- The child ---- */

__attribute__((noreturn)) static void child(char *const *argv, int input, int output, int log, pid_t parent) {
  sigset_t none;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent)
    _exit(126);
  setsid(); /* a Ctrl-C in the terminal is ours to hear */
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  if (dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0)
    execvp(argv[0], argv);
  dprintf(log, "cannot run %s: %s\n", argv[0], strerror(errno));
  _exit(127);
}

static int start_child(struct remote *remote, char *const *argv, struct error *error) {
  int input[2] = {-1, -1}, output[2] = {-1, -1};
  const int log = open(remote->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  int status = 0;
  if (log < 0)
    status = error_set_errno(error, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, "cannot open %s", remote->log);
  else if (pipe2(input, O_CLOEXEC) != 0 || pipe2(output, O_CLOEXEC) != 0)
    status = error_set_errno(error, ERR_IO, "cannot make a pipe");
  const pid_t parent = getpid();
  remote->pid = status == 0 ? fork() : -1;
  if (status == 0 && remote->pid == 0)
    child(argv, input[0], output[1], log, parent);
  if (status == 0 && remote->pid < 0)
    status = error_set_errno(error, ERR_IO, "cannot start a process for %s", argv[0]);
  const int unused[] = {log, input[0], output[1]};
  for (size_t i = 0; i < ARRAY_SIZE(unused); i++)
    if (unused[i] >= 0)
      close(unused[i]);
  remote->to = input[1];
  remote->from = output[0];
  return status;
}

int remote_open(struct remote *remote, const char *name, char *const *argv, const char *log,
                struct error *error) {
  *remote = (struct remote){.pid = -1, .to = -1, .from = -1, .log = xstrdup(log)};
  snprintf(remote->name, sizeof remote->name, "%s", name);
  remote->raised = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  remote->ready = epoll_create1(EPOLL_CLOEXEC);
  const int status = start_child(remote, argv, error);
  if (status != 0)
    return status;
  fcntl(remote->to, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN};
  if (epoll_ctl(remote->ready, EPOLL_CTL_ADD, remote->from, &event) != 0 ||
      epoll_ctl(remote->ready, EPOLL_CTL_ADD, remote->raised, &event) != 0)
    return error_set_errno(error, ERR_IO, "cannot watch the connection with %s", name);
  return 0;
}

/* ---- Failing ---- */

/* The last line that ssh said, for it knows best: "Permission denied (publickey)." */
static void append_last_line(const struct remote *remote, char *out, size_t size) {
  struct bytes log = {0};
  file_read(remote->log, &log, NULL);
  while (log.size > 0 && (log.data[log.size - 1] == '\n' || log.data[log.size - 1] == '\r'))
    log.size--;
  size_t start = log.size;
  while (start > 0 && log.data[start - 1] != '\n')
    start--;
  if (log.size > start)
    snprintf(out, size, ": %.*s", (int)(log.size - start), (const char *)log.data + start);
  bytes_free(&log);
}

__attribute__((format(printf, 2, 3))) static void fail(struct remote *remote, const char *format, ...) {
  if (remote->failed)
    return;
  char what[200], said[300] = "";
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  append_last_line(remote, said, sizeof said);
  remote->failed = true;
  error_set(&remote->why, ERR_UNAVAILABLE, "%s: %s%s", remote->name, what, said);
  const uint64_t one = 1;
  if (write(remote->raised, &one, sizeof one) != sizeof one)
    log_error("%s", remote->why.message);
}

static int refuse(const struct remote *remote, struct error *error) {
  return error_set(error, remote->why.code, "%s", remote->why.message);
}

/* ---- Sending ---- */

static void send_line(struct remote *remote, const char *what, json_t *object) {
  json_object_set_new(object, "do", json_string(what));
  char *text = json_dumps(object, JSON_COMPACT);
  json_decref(object);
  struct bytes line = {0};
  bytes_append_format(&line, "%s\n", text);
  free(text);
  const int64_t deadline_ns = time_monotonic_ns() + SEND_PATIENCE_MS * NS_PER_MS;
  for (size_t done = 0; done < line.size && !remote->failed;) {
    const ssize_t written = write(remote->to, line.data + done, line.size - done);
    struct pollfd room = {.fd = remote->to, .events = POLLOUT};
    if (written > 0)
      done += (size_t)written;
    else if (errno != EAGAIN && errno != EINTR)
      fail(remote, "the connection has ended");
    else if (time_monotonic_ns() > deadline_ns)
      fail(remote, "the connection took nothing for %d s", SEND_PATIENCE_MS / 1000);
    else
      poll(&room, 1, 100);
  }
  bytes_free(&line);
}

int64_t remote_begin(struct remote *remote, const char *what, json_t *arguments) {
  json_t *object = arguments ? arguments : json_object();
  const int64_t id = ++remote->last_id;
  json_object_set_new(object, "id", json_integer((json_int_t)id));
  send_line(remote, what, object);
  return id;
}

void remote_tell(struct remote *remote, const char *what, json_t *arguments) {
  send_line(remote, what, arguments ? arguments : json_object());
}

/* ---- Hearing ---- */

/* An end of an earlier process is old news. */
static void note_end(struct remote *remote, const json_t *event) {
  if (remote->ended || json_integer_value(json_object_get(event, "life")) != remote->life)
    return;
  remote->ended = true;
  remote->status = (int)json_integer_value(json_object_get(event, "status"));
  const uint64_t one = 1;
  const ssize_t written = write(remote->raised, &one, sizeof one);
  assert(written == sizeof one);
}

/* The next line, without its end and in place; NULL: it has not come. */
static char *next_line(struct remote *remote, size_t *size) {
  char *end = remote->heard.size > 0 ? memchr(remote->heard.data, '\n', remote->heard.size) : NULL;
  if (!end)
    return NULL;
  *end = '\0';
  *size = (size_t)(end + 1 - (char *)remote->heard.data);
  return (char *)remote->heard.data;
}

/* Takes what is there line by line: notes an end; hands out an answer. */
static json_t *take_answer(struct remote *remote) {
  size_t size;
  for (char *line; !remote->failed && (line = next_line(remote, &size)) != NULL;) {
    json_t *object = line[0] == '{' ? json_loads(line, 0, NULL) : NULL;
    if (!object && remote->greeted)
      fail(remote, "it said what is not of an agent: %.100s", line);
    bytes_consume(&remote->heard, size);
    if (json_object_get(object, "id"))
      return object;
    if (object)
      note_end(remote, object);
    json_decref(object);
  }
  return NULL;
}

/* Takes what was heard already, when nothing was asked. */
static void expect_no_answer(struct remote *remote) {
  json_t *unasked = take_answer(remote);
  if (unasked)
    fail(remote, "it answered what it was not asked");
  json_decref(unasked);
}

/* Waits until something has come; false: not until the deadline, or it never will. */
static bool read_more(struct remote *remote, int64_t deadline_ns) {
  while (!remote->failed) {
    const int64_t left_ns = deadline_ns - time_monotonic_ns();
    struct pollfd ready = {.fd = remote->from, .events = POLLIN};
    const int count = poll(&ready, 1, left_ns > 0 ? (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS) : 0);
    if (count == 0)
      return false;
    const ssize_t got = count > 0 ? read(remote->from, bytes_reserve(&remote->heard, 65536), 65536) : -1;
    if (got > 0) {
      remote->heard.size += (size_t)got;
      if (remote->heard.size > 2 * AGENT_LINE_MAX)
        fail(remote, "it says a line without an end");
      return !remote->failed;
    }
    if (got == 0 || errno != EINTR)
      fail(remote, "the connection has ended");
  }
  return false;
}

/* The agent's own words, behind the name of its host. */
static int take_error(const struct remote *remote, const json_t *answer, struct error *error) {
  const char *text = json_string_value(json_object_get(answer, "error"));
  const int code = (int)json_integer_value(json_object_get(answer, "code"));
  return error_set(error, code < 0 ? (enum error_code)code : ERR_IO, "%s: %s", remote->name,
                   text ? text : "refused without a reason");
}

int remote_finish(struct remote *remote, int64_t id, int timeout_ms, json_t **answer, struct error *error) {
  const int64_t deadline_ns = time_monotonic_ns() + timeout_ms * NS_PER_MS;
  json_t *heard;
  while ((heard = take_answer(remote)) == NULL)
    if (!read_more(remote, deadline_ns)) {
      fail(remote, "no answer within %d s", timeout_ms / 1000);
      return refuse(remote, error);
    }
  if (json_integer_value(json_object_get(heard, "id")) != id) {
    fail(remote, "it answered what it was not asked");
    json_decref(heard);
    return refuse(remote, error);
  }
  remote->greeted = true;
  const json_t *life = json_object_get(heard, "life");
  if (life)
    remote->life = json_integer_value(life);
  expect_no_answer(remote); /* an end may have come with it */
  const int status = json_is_true(json_object_get(heard, "ok")) ? 0 : take_error(remote, heard, error);
  if (answer && status == 0)
    *answer = heard;
  else
    json_decref(heard);
  return status;
}

/* ---- The end of the node's process ---- */

int remote_end_fd(const struct remote *remote) {
  return remote->ready;
}

int remote_await_end(struct remote *remote, int timeout_ms, struct error *error) {
  const int64_t deadline_ns = time_monotonic_ns() + timeout_ms * NS_PER_MS;
  expect_no_answer(remote);
  while (!remote->ended && read_more(remote, deadline_ns))
    expect_no_answer(remote);
  if (remote->ended)
    return 0;
  return remote->failed ? refuse(remote, error)
                        : error_set(error, ERR_TIMEOUT, "%s: the node did not end within %d ms", remote->name,
                                    timeout_ms);
}

int remote_take_end(struct remote *remote, int timeout_ms) {
  if (remote_await_end(remote, timeout_ms, NULL) == ERR_TIMEOUT)
    fail(remote, "the node's end was announced, and never told");
  uint64_t raised;
  if (!remote->failed && read(remote->raised, &raised, sizeof raised) < 0)
    log_warn("%s: %s", remote->name, strerror(errno));
  const int status = remote->ended ? remote->status : SIGKILL;
  remote->ended = false;
  remote->life = 0;
  return status;
}

/* ---- Closing ---- */

/* A stranger cannot have got its number: it is not reaped yet. */
static void end_child(struct remote *remote, int timeout_ms) {
  const int handle = pidfd_open(remote->pid, 0);
  struct pollfd ended = {.fd = handle, .events = POLLIN};
  if (handle < 0 || poll(&ended, 1, timeout_ms) != 1) {
    log_warn("%s: the connection does not end by itself, and is cut", remote->name);
    kill(remote->pid, SIGKILL);
  }
  while (waitpid(remote->pid, NULL, 0) < 0 && errno == EINTR)
    ;
  if (handle >= 0)
    close(handle);
}

void remote_hang_up(struct remote *remote) {
  if (remote->log && remote->to >= 0)
    close(remote->to);
  remote->to = -1;
  if (remote->log)
    fail(remote, "the connection was ended here");
}

void remote_close(struct remote *remote, int timeout_ms) {
  if (!remote->log)
    return;
  remote_hang_up(remote);
  if (remote->pid > 0)
    end_child(remote, timeout_ms);
  const int descriptors[] = {remote->from, remote->raised, remote->ready};
  for (size_t i = 0; i < ARRAY_SIZE(descriptors); i++)
    if (descriptors[i] >= 0)
      close(descriptors[i]);
  bytes_free(&remote->heard);
  free(remote->log);
  *remote = (struct remote){.pid = -1};
}
