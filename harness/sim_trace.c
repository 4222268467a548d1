/* sim_trace.c: a trace in a file, also when what is traced kills the process. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/sim.h"

#define BUFFER_SIZE (256 * 1024)

struct trace_file {
  int handle;
  bool failed;
  char *path;
  size_t used;
  char buffer[BUFFER_SIZE];
};

static const int deadly[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static struct trace_file *current;

static bool write_out(struct trace_file *file) {
  size_t done = 0;
  while (done < file->used) {
    const ssize_t written = write(file->handle, file->buffer + done, file->used - done);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return false;
    done += (size_t)written;
  }
  file->used = 0;
  return true;
}

/* Only what is allowed in a signal's handler: write(2), then the signal's own doing. */
static void on_death(int number) {
  if (current)
    write_out(current);
  signal(number, SIG_DFL);
  raise(number);
}

int trace_file_open(const char *path, struct trace_file **file, struct error *error) {
  const bool standard = strcmp(path, "-") == 0;
  const int handle =
      standard ? dup(STDOUT_FILENO) : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (handle < 0)
    return error_set_errno(error, ERR_IO, "cannot write %s", path);
  struct trace_file *made = xcalloc(1, sizeof *made);
  made->handle = handle;
  made->path = xstrdup(path);
  current = made;
  for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
    signal(deadly[i], on_death);
  *file = made;
  return 0;
}

void trace_file_add(struct trace_file *file, const struct transition *transition) {
  if (file->used + TRANSITION_TEXT_SIZE + 1 > BUFFER_SIZE && !write_out(file)) {
    file->failed = true;
    file->used = 0;
  }
  char line[TRANSITION_TEXT_SIZE];
  transition_print(transition, line);
  const size_t length = strlen(line);
  memcpy(file->buffer + file->used, line, length);
  file->used += length;
  file->buffer[file->used++] = '\n';
}

int trace_file_close(struct trace_file *file, struct error *error) {
  int status = 0;
  if (!write_out(file) || file->failed)
    status = error_set_errno(error, ERR_IO, "%s cannot be written whole", file->path);
  for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
    signal(deadly[i], SIG_DFL);
  current = NULL;
  close(file->handle);
  free(file->path);
  free(file);
  return status;
}
