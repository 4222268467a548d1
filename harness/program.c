#include "harness/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

static int start(char *const *argv, const char *where, int output, int errors, pid_t *pid,
                 struct error *error) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  if (where)
    posix_spawn_file_actions_addchdir_np(&actions, where);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  errno = posix_spawnp(pid, argv[0], &actions, &attributes, argv, environ);
  const int status =
      errno == 0 ? 0
                 : error_set_errno(error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot run %s", argv[0]);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return status;
}

/* False when it was still running after the time. A Ctrl-C in the terminal reaches it as it reaches us. */
static bool await_end(pid_t pid, int64_t patience_ns) {
  const int handle = pidfd_open(pid, 0);
  if (handle < 0)
    return true; /* waited for without a limit, then */
  const int64_t deadline_ns = time_monotonic_ns() + patience_ns;
  struct pollfd ended = {.fd = handle, .events = POLLIN};
  int count;
  do {
    const int64_t left_ms = (deadline_ns - time_monotonic_ns() + NS_PER_MS - 1) / NS_PER_MS;
    count = poll(&ended, 1, left_ms < 0 ? 0 : left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
  } while (count < 0 && errno == EINTR);
  close(handle);
  return count != 0;
}

int program_run(char *const *argv, const char *where, int output, int errors, int64_t patience_ns,
                int *wait_status, struct error *error) {
  pid_t pid;
  const int status = start(argv, where, output, errors, &pid, error);
  if (status != 0)
    return status;
  const bool in_time = await_end(pid, patience_ns);
  if (!in_time)
    kill(pid, SIGKILL); /* not reaped yet, so the number is still its own */
  while (waitpid(pid, wait_status, 0) < 0 && errno == EINTR)
    continue;
  return in_time ? 0
                 : error_set(error, ERR_TIMEOUT, "%s did not end within %lld s and was killed", argv[0],
                             (long long)((patience_ns + NS_PER_S - 1) / NS_PER_S));
}
