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
#include "nemesis/link/netem.h"

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

static json_t *clock_json(const struct host_clock *clock) {
  return clock->calls ? json_pack("{s:I, s:I, s:I, s:I}", "wall_ns", (json_int_t)clock->wall_ns, "raw_ns",
                                  (json_int_t)clock->raw_ns, "tick", (json_int_t)clock->tick, "frequency",
                                  (json_int_t)clock->frequency)
                      : json_null();
}

int leftovers_save(const struct leftovers *left, struct error *error) {
  json_t *note = json_pack("{s:I, s:I, s:s?, s:s?, s:b, s:o}", "pid", (json_int_t)left->pid, "begun",
                           (json_int_t)left->begun, "directory", left->directory, "interface",
                           left->interface, "keep", (int)left->keep, "clock", clock_json(&left->clock));
  char *text = json_dumps(note, JSON_COMPACT), *path = note_path();
  const int status = file_replace(path, text, strlen(text), error);
  json_decref(note);
  free(text);
  free(path);
  return status;
}

static void load_clock(const json_t *note, struct host_clock *clock) {
  if (json_is_object(note))
    *clock = (struct host_clock){.calls = &host_clock_kernel,
                                 .wall_ns = json_integer_value(json_object_get(note, "wall_ns")),
                                 .raw_ns = json_integer_value(json_object_get(note, "raw_ns")),
                                 .tick = (long)json_integer_value(json_object_get(note, "tick")),
                                 .frequency = (long)json_integer_value(json_object_get(note, "frequency")),
                                 .rate = 1};
}

int leftovers_load(struct leftovers *left, struct error *error) {
  *left = (struct leftovers){.pid = -1};
  struct bytes text = {0};
  char *path = note_path();
  struct error why = {0};
  int status = file_read(path, &text, &why);
  json_t *note = status == 0 ? json_loadb((const char *)text.data, text.size, 0, NULL) : NULL;
  if (note) {
    const char *interface = json_string_value(json_object_get(note, "interface"));
    const char *directory = json_string_value(json_object_get(note, "directory"));
    left->pid = (pid_t)json_integer_value(json_object_get(note, "pid"));
    left->begun = (unsigned long long)json_integer_value(json_object_get(note, "begun"));
    left->directory = directory ? xstrdup(directory) : NULL;
    left->interface = interface ? xstrdup(interface) : NULL;
    load_clock(json_object_get(note, "clock"), &left->clock);
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

int leftovers_note_interface(struct leftovers *left, const char *interface, struct error *error) {
  left->interface = xstrdup(interface);
  return leftovers_save(left, error);
}

int leftovers_note_clock(struct leftovers *left, const struct host_clock *clock, struct error *error) {
  left->clock = *clock;
  return leftovers_save(left, error);
}

static int clear_shapes(struct leftovers *left, struct error *error) {
  struct netem *netem = NULL;
  int status = netem_open(left->interface, &netem, error);
  if (status == 0)
    status = netem_take_away(netem, error);
  netem_close(netem);
  if (status != 0)
    return status;
  free(left->interface);
  left->interface = NULL;
  return leftovers_save(left, error);
}

static int clear_clock(struct leftovers *left, struct error *error) {
  const int status = host_clock_set(&left->clock, &CLOCK_RIGHT, error);
  if (status != 0)
    return status;
  left->clock.calls = NULL;
  return leftovers_save(left, error);
}

int leftovers_clear(struct leftovers *left, int network, struct error *error) {
  struct firewall_job open = {.network = network, .name = "this host"};
  int status = end_process(left, error);
  if (status == 0)
    status = firewall_replace(&open, 1, error);
  if (status == 0 && left->interface)
    status = clear_shapes(left, error);
  if (status == 0 && left->clock.calls)
    status = clear_clock(left, error);
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
  leftovers_free(left);
  return 0;
}

void leftovers_free(struct leftovers *left) {
  free(left->directory);
  free(left->interface);
  *left = (struct leftovers){.pid = -1};
}
