#include "harness/stacks.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/program.h"

#define ALL_PATIENCE_NS (20 * NS_PER_S)
#define ONE_PATIENCE_NS (5 * NS_PER_S)
#define THREADS_MAX 200

struct stacks stacks_begin(const char *run, const char *why) {
  struct stacks stacks = {.why = why, .deadline_ns = time_monotonic_ns() + ALL_PATIENCE_NS};
  if (!realpath(run, stacks.run))
    snprintf(stacks.run, sizeof stacks.run, "%s", run);
  return stacks;
}

/* ---- What /proc tells ---- */

/* The whole of a small file below /proc, on one line, or why it cannot be read; into `out`. */
static void read_line(const char *directory, const char *file, char *out, size_t size) {
  char *path = path_join(directory, file);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? -1 : read(fd, out, size - 1);
  if (got < 0)
    snprintf(out, size, "(%s)", strerror(errno));
  else
    out[got] = '\0';
  if (fd >= 0)
    close(fd);
  out[strcspn(out, "\n")] = '\0';
  free(path);
}

/* The line of /proc/…/status that begins with `member`. */
static void read_member(const char *directory, const char *member, char *out, size_t size) {
  struct bytes content = {0};
  char *path = path_join(directory, "status");
  snprintf(out, size, "?");
  const bool read = file_read(path, &content, NULL) == 0;
  bytes_append_u8(&content, 0);
  const char *at = read ? strstr((const char *)content.data, member) : NULL;
  if (at) {
    at += strlen(member);
    at += strspn(at, "\t ");
    snprintf(out, size, "%.*s", (int)strcspn(at, "\n"), at);
  }
  bytes_free(&content);
  free(path);
}

/* Its stack in the kernel, for those whom the kernel lets see it. */
static void print_kernel_stack(FILE *out, const char *directory) {
  struct bytes content = {0};
  char *path = path_join(directory, "stack");
  if (file_read(path, &content, NULL) == 0) {
    bytes_append_u8(&content, 0);
    char *rest = (char *)content.data;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
      if (line[0] != '\0')
        fprintf(out, "    kernel %s\n", line);
  }
  bytes_free(&content);
  free(path);
}

static void print_thread(FILE *out, const char *directory, const char *number) {
  char name[64], state[64], channel[128], call[256];
  read_line(directory, "comm", name, sizeof name);
  read_member(directory, "State:", state, sizeof state);
  read_line(directory, "wchan", channel, sizeof channel);
  read_line(directory, "syscall", call, sizeof call);
  fprintf(out, "  thread %s %s: %s, waits in %s, system call %s\n", number, name, state,
          strcmp(channel, "0") == 0 ? "nothing" : channel, call);
  print_kernel_stack(out, directory);
}

static int is_number(const struct dirent *entry) {
  return isdigit((unsigned char)entry->d_name[0]);
}

static void print_threads(FILE *out, pid_t pid) {
  char path[64];
  struct dirent **threads;
  snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
  const int count = scandir(path, &threads, is_number, versionsort);
  if (count < 0) {
    fprintf(out, "  it is gone: cannot read %s: %s\n", path, strerror(errno));
    return;
  }
  for (int i = 0; i < count; i++) {
    if (i < THREADS_MAX) {
      char *directory = path_join(path, threads[i]->d_name);
      print_thread(out, directory, threads[i]->d_name);
      free(directory);
    }
    free(threads[i]);
  }
  free(threads);
  if (count > THREADS_MAX)
    fprintf(out, "  and %d threads more\n", count - THREADS_MAX);
}

/* ---- Call stacks ---- */

static void print_call_stacks(FILE *out, const struct stacks *stacks, pid_t pid) {
  const int64_t left_ns = stacks->deadline_ns - time_monotonic_ns();
  if (left_ns <= 0) {
    fprintf(out, "no call stacks: looking at the others has taken %d s\n", (int)(ALL_PATIENCE_NS / NS_PER_S));
    return;
  }
  char number[16], program[] = "eu-stack", flags[] = "-s", of[] = "-p";
  char *argv[] = {program, flags, of, number, NULL};
  struct error error = {0};
  int wait_status = 0;
  snprintf(number, sizeof number, "%d", (int)pid);
  /* It would ask servers for what a local file lacks. */
  unsetenv("DEBUGINFOD_URLS");
  fflush(out);
  const int64_t patience_ns = left_ns < ONE_PATIENCE_NS ? left_ns : ONE_PATIENCE_NS;
  const int status = program_run(argv, NULL, fileno(out), fileno(out), patience_ns, &wait_status, &error);
  if (status == ERR_NOT_FOUND)
    fprintf(out, "no call stacks: %s; install elfutils\n", error.message);
  else if (status != 0)
    fprintf(out, "no more of the call stacks: %s\n", error.message);
  else if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) > 1)
    fprintf(out,
            "eu-stack could not read them all: root may look at every process, others at their children\n");
}

/* ---- Processes ---- */

static FILE *open_file(const struct stacks *stacks, const char *name) {
  struct error error = {0};
  struct bytes path = {0};
  bytes_append_format(&path, "%s/logs", stacks->run);
  FILE *out = NULL;
  if (directory_make((const char *)path.data, &error) == 0) {
    bytes_append_format(&path, "/stacks-%s.txt", name);
    out = fopen((const char *)path.data, "ae");
    if (!out)
      error_set_errno(&error, ERR_IO, "cannot open %s", (const char *)path.data);
  }
  if (!out)
    log_warn("no stacks of %s: %s", name, error.message);
  bytes_free(&path);
  return out;
}

void stacks_write(const struct stacks *stacks, const char *name, pid_t pid) {
  char stamp[32];
  FILE *out = open_file(stacks, name);
  if (!out)
    return;
  const time_t now = time(NULL);
  struct tm utc;
  gmtime_r(&now, &utc);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
  fprintf(out, "=== %s  %s, process %d: %s\n", stamp, name, (int)pid, stacks->why);
  print_threads(out, pid);
  print_call_stacks(out, stacks, pid);
  fputc('\n', out);
  if (fclose(out) != 0)
    log_warn("cannot write the stacks of %s: %s", name, strerror(errno));
}

/* The name of the node in whose directory the process works; NULL: it is no master of this run. */
static const char *master_name(const struct stacks *stacks, const char *pid, char *where, size_t size) {
  char link[300];
  const size_t run_length = strlen(stacks->run);
  static const char room[] = "/nodes/";
  snprintf(link, sizeof link, "/proc/%s/cwd", pid);
  const ssize_t length = readlink(link, where, size - 1);
  if (length <= 0)
    return NULL;
  where[length] = '\0';
  if (strncmp(where, stacks->run, run_length) != 0 || strncmp(where + run_length, room, sizeof room - 1) != 0)
    return NULL;
  const char *name = where + run_length + sizeof room - 1;
  return strchr(name, '/') ? NULL : name;
}

void stacks_write_masters(const struct stacks *stacks, const char *wanted) {
  struct dirent **processes;
  const int count = scandir("/proc", &processes, is_number, versionsort);
  for (int i = 0; i < count; i++) {
    char where[PATH_MAX];
    const char *name = master_name(stacks, processes[i]->d_name, where, sizeof where);
    if (name && (!wanted || strcmp(name, wanted) == 0))
      stacks_write(stacks, name, (pid_t)atoi(processes[i]->d_name));
    free(processes[i]);
  }
  if (count >= 0)
    free(processes);
}
