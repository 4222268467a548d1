#include "nemesis/agent/leftovers.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "nemesis/firewall.h"

#define LOCK_NAME "assay-agent"
#define LOCK_PATIENCE_NS (20 * NS_PER_S)
#define LOCK_NAP_MS 20
#define END_PATIENCE_MS 10000

/* ---- The lock ---- */

/* The process that holds the lock; 0 when it is gone already. */
static pid_t holder(const struct sockaddr_un *name, socklen_t size) {
  struct ucred holder = {0};
  socklen_t holder_size = sizeof holder;
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0 && connect(fd, (const struct sockaddr *)name, size) == 0)
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &holder, &holder_size);
  if (fd >= 0)
    close(fd);
  return holder.pid;
}

int leftovers_lock(struct error *error) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  memcpy(name.sun_path + 1, LOCK_NAME, sizeof LOCK_NAME - 1);
  const socklen_t size = offsetof(struct sockaddr_un, sun_path) + sizeof LOCK_NAME;
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return error_set_errno(error, ERR_IO, "cannot make a socket");
  const int64_t deadline_ns = time_monotonic_ns() + LOCK_PATIENCE_NS;
  while (bind(fd, (struct sockaddr *)&name, size) != 0) {
    if (errno != EADDRINUSE || time_monotonic_ns() >= deadline_ns) {
      const int status =
          errno == EADDRINUSE
              ? error_set(error, ERR_OVERLOADED,
                          "another run uses this host: its agent is process %d here; wait for it, or end it",
                          (int)holder(&name, size))
              : error_set_errno(error, ERR_IO, "cannot take the agent's lock");
      close(fd);
      return status;
    }
    poll(NULL, 0, LOCK_NAP_MS);
  }
  listen(fd, 1); /* so that whoever waits can ask who holds it; open until the process ends */
  return 0;
}

/* ---- The note ---- */

static char *note_path(void) {
  struct stat namespace = {0};
  struct bytes path = {0};
  stat("/proc/self/ns/net", &namespace);
  bytes_append_format(&path, "/run/assay-agent-%llu.json", (unsigned long long)namespace.st_ino);
  return (char *)path.data;
}

int leftovers_save(const struct leftovers *left, struct error *error) {
  json_t *note = json_pack("{s:I, s:I, s:s?, s:b}", "pid", (json_int_t)left->pid, "begun",
                           (json_int_t)left->begun, "directory", left->directory, "keep", (int)left->keep);
  char *text = json_dumps(note, JSON_COMPACT), *path = note_path();
  const int status = file_replace(path, text, strlen(text), error);
  json_decref(note);
  free(text);
  free(path);
  return status;
}

int leftovers_load(struct leftovers *left, struct error *error) {
  *left = (struct leftovers){.pid = -1};
  struct bytes text = {0};
  char *path = note_path();
  struct error why = {0};
  int status = file_read(path, &text, &why);
  json_t *note = status == 0 ? json_loadb((const char *)text.data, text.size, 0, NULL) : NULL;
  if (note) {
    const char *directory = json_string_value(json_object_get(note, "directory"));
    left->pid = (pid_t)json_integer_value(json_object_get(note, "pid"));
    left->begun = (unsigned long long)json_integer_value(json_object_get(note, "begun"));
    left->directory = directory ? xstrdup(directory) : NULL;
    left->keep = json_is_true(json_object_get(note, "keep"));
  } else if (status == 0) {
    status = error_set(error, ERR_CORRUPT, "%s is not what an agent wrote; remove it", path);
  } else {
    status = status == ERR_NOT_FOUND ? 0 : error_set(error, (enum error_code)status, "%s", why.message);
  }
  json_decref(note);
  bytes_free(&text);
  free(path);
  return status;
}

/* ---- The process ---- */

/* In ticks since boot; 0 when there is no such process. */
static unsigned long long began(pid_t pid) {
  char path[64], line[1024] = "";
  unsigned long long ticks = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  FILE *file = fopen(path, "re");
  const char *read_line = file ? fgets(line, sizeof line, file) : NULL;
  if (file)
    fclose(file);
  /* Its name, the second field, stands in parentheses and may hold anything; the 22nd is wanted. */
  const char *rest = read_line ? strrchr(line, ')') : NULL;
  if (!rest ||
      sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
             &ticks) != 1)
    return 0;
  return ticks;
}

int leftovers_note_process(struct leftovers *left, pid_t pid, struct error *error) {
  left->pid = pid;
  left->begun = pid < 0 ? 0 : began(pid);
  return leftovers_save(left, error);
}

static int end_process(const struct leftovers *left, struct error *error) {
  const int handle = left->pid > 0 ? pidfd_open(left->pid, 0) : -1;
  int status = 0;
  /* Asked after the handle is there, so that it is the handle's process that is asked about. */
  if (handle >= 0 && left->begun != 0 && began(left->pid) == left->begun) {
    struct pollfd ended = {.fd = handle, .events = POLLIN};
    log_warn("ending process %d, which an earlier agent left", (int)left->pid);
    pidfd_send_signal(handle, SIGKILL, NULL, 0);
    if (poll(&ended, 1, END_PATIENCE_MS) != 1)
      status = error_set(error, ERR_TIMEOUT, "process %d, which an earlier agent left, does not end",
                         (int)left->pid);
  }
  if (handle >= 0)
    close(handle);
  return status;
}

/* ---- Taking away ---- */

int leftovers_clear(struct leftovers *left, int network, struct error *error) {
  struct firewall_job open = {.network = network, .name = "this host"};
  int status = end_process(left, error);
  if (status == 0)
    status = firewall_replace(&open, 1, error);
  if (status == 0 && left->pid >= 0)
    status = leftovers_note_process(left, -1, error);
  return status;
}

int leftovers_remove(struct leftovers *left, struct error *error) {
  const int status = left->directory ? directory_remove(left->directory, error) : 0;
  if (status != 0)
    return status;
  char *path = note_path();
  unlink(path);
  free(path);
  free(left->directory);
  *left = (struct leftovers){.pid = -1};
  return 0;
}
