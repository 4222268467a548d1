#include "harness/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Longest line that a process of ours prints: the status of nine nodes is far below. */
#define LINE_LIMIT (1u << 20)

/* The process's end, the end of its output, and our own end of its input come in any order: the owner hears
 * of one end, after the last of them. */
static void handle_closed(uv_handle_t *handle) {
  struct child *child = handle->data;
  if (--child->handles_open > 0)
    return;
  bytes_free(&child->pending);
  child->running = false;
  child->ended(child);
}

void child_close_input(struct child *child) {
  if (!child->input_open)
    return;
  child->input_open = false;
  uv_close((uv_handle_t *)&child->input, handle_closed);
}

static void on_process_exit(uv_process_t *process, int64_t exit_status, int term_signal) {
  struct child *child = process->data;
  child->exit_status = exit_status;
  child->term_signal = term_signal;
  uv_close((uv_handle_t *)process, handle_closed);
  child_close_input(child);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  struct child *child = handle->data;
  buffer->base = (char *)bytes_reserve(&child->pending, suggested);
  buffer->len = suggested;
}

static void on_output(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  struct child *child = stream->data;
  (void)buffer;
  if (size < 0) {
    uv_close((uv_handle_t *)stream, handle_closed);
    return;
  }
  child->pending.size += (size_t)size;
  size_t used = 0;
  for (;;) {
    char *start = (char *)child->pending.data + used;
    char *end = memchr(start, '\n', child->pending.size - used);
    if (!end)
      break;
    *end = '\0';
    used += (size_t)(end - start) + 1;
    child->line(child, start);
  }
  bytes_consume(&child->pending, used);
  if (child->pending.size > LINE_LIMIT) {
    child->killed_for_noise = true;
    bytes_clear(&child->pending);
    child_signal(child, SIGKILL);
  }
}

int child_start(uv_loop_t *loop, struct child *child, char **arguments, const char *error_log,
                struct error *error) {
  assert(!child->running && child->line && child->ended);
  const int log = open(error_log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0)
    return error_set_errno(error, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, "cannot create %s", error_log);
  uv_pipe_init(loop, &child->input, 0);
  uv_pipe_init(loop, &child->output, 0);
  child->input.data = child->output.data = child->process.data = child;
  uv_stdio_container_t stdio[3] = {
      {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&child->input},
      {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&child->output},
      {.flags = UV_INHERIT_FD, .data.fd = log},
  };
  const uv_process_options_t options = {
      .file = arguments[0],
      .args = arguments,
      .exit_cb = on_process_exit,
      .flags = UV_PROCESS_DETACHED,
      .stdio_count = 3,
      .stdio = stdio,
  };
  const int status = uv_spawn(loop, &child->process, &options);
  close(log);
  child->handles_open = 3;
  child->input_open = true;
  child->running = true;
  if (status != 0) {
    /* The owner hears of the end as of any other, once the handles are closed. */
    child->exit_status = 127;
    uv_close((uv_handle_t *)&child->process, handle_closed);
    uv_close((uv_handle_t *)&child->output, handle_closed);
    child_close_input(child);
    return error_set(error, ERR_IO, "cannot start %s: %s", arguments[0], uv_strerror(status));
  }
  uv_read_start((uv_stream_t *)&child->output, on_allocate, on_output);
  return 0;
}

struct told {
  uv_write_t request;
  char text[];
};

static void on_told(uv_write_t *request, int status) {
  (void)status;
  free(CONTAINER_OF(request, struct told, request));
}

void child_tell(struct child *child, const char *text) {
  if (!child->input_open)
    return;
  const size_t size = strlen(text);
  struct told *told = xmalloc(sizeof *told + size + 1);
  memcpy(told->text, text, size + 1);
  const uv_buf_t buffer = uv_buf_init(told->text, (unsigned)size);
  if (uv_write(&told->request, (uv_stream_t *)&child->input, &buffer, 1, on_told) != 0)
    free(told);
}

void child_signal(struct child *child, int signal) {
  if (child->running && !uv_is_closing((uv_handle_t *)&child->process))
    uv_process_kill(&child->process, signal);
}

const char *child_ending(const struct child *child, char *out, size_t size) {
  if (child->killed_for_noise)
    snprintf(out, size, "it printed a line of more than 1 MiB and was killed");
  else if (child->term_signal != 0)
    snprintf(out, size, "signal %d (%s)", child->term_signal, strsignal(child->term_signal));
  else
    snprintf(out, size, "exit code %d", (int)child->exit_status);
  return out;
}
