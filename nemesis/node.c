/* node.c: see node.h.
 *
 * uv_spawn() cannot join a namespace between fork and exec, so this does its own. Between the two only
 * async-signal-safe functions are called: the caller may have threads. */
#include "nemesis/node.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum start_step { STEP_NETWORK, STEP_OUTPUT, STEP_DIRECTORY, STEP_RUN };

struct start_failure {
  enum start_step step;
  int number; /* errno */
};

struct start {
  const struct process_options *options;
  char **environment; /* whole */
  int log, failures;
  pid_t parent;
};

__attribute__((noreturn)) static void child_fail(const struct start *start, enum start_step step) {
  const struct start_failure failure = {step, errno};
  const ssize_t written = write(start->failures, &failure, sizeof failure);
  _exit(written == sizeof failure ? 127 : 126);
}

/* As much as a core may be here, and not more than we want to keep. */
static void allow_core(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_CORE, &limit) != 0)
    return;
  limit.rlim_cur = limit.rlim_max < CORE_BYTES_MAX ? limit.rlim_max : CORE_BYTES_MAX;
  setrlimit(RLIMIT_CORE, &limit);
}

/* Runs between fork and exec, with all signals blocked. */
__attribute__((noreturn)) static void child_main(const struct start *start) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != start->parent)
    _exit(126); /* the parent died before its death was watched */
  setsid();
  const struct process_options *options = start->options;
  if (options->network >= 0 && setns(options->network, CLONE_NEWNET) != 0)
    child_fail(start, STEP_NETWORK);
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(start->log, STDOUT_FILENO) < 0 ||
      dup2(start->log, STDERR_FILENO) < 0)
    child_fail(start, STEP_OUTPUT);
  if (chdir(options->directory) != 0)
    child_fail(start, STEP_DIRECTORY);
  allow_core();
  for (int number = 1; number < SIGRTMIN; number++)
    if (number != SIGKILL && number != SIGSTOP)
      signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  /* Whatever else this process has open is none of the node's business. */
  syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
  execve(options->argv[0], options->argv, start->environment);
  child_fail(start, STEP_RUN);
}

static int explain(const struct start_failure *failure, const struct start *start, struct error *error) {
  errno = failure->number;
  switch (failure->step) {
  case STEP_NETWORK:
    return error_set_errno(error, ERR_IO, "cannot join a node's network namespace");
  case STEP_OUTPUT:
    return error_set_errno(error, ERR_IO, "cannot redirect a node's input and output");
  case STEP_DIRECTORY:
    return error_set_errno(error, ERR_IO, "cannot work in %s", start->options->directory);
  case STEP_RUN:
    return error_set_errno(error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot run %s",
                           start->options->argv[0]);
  }
  return ERR_IO;
}

static pid_t fork_child(struct start *start) {
  /* No handler of this process may run in the child: libuv's would write into our own signal pipe. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  start->parent = getpid();
  const pid_t pid = fork();
  if (pid == 0)
    child_main(start);
  const int kept = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = kept;
  return pid;
}

static int open_log(const char *directory, int *log, struct error *error) {
  char *path = path_join(directory, "log");
  *log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int status =
      *log < 0 ? error_set_errno(error, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, "cannot open %s", path) : 0;
  free(path);
  return status;
}

static bool is_replaced(const char *entry, char *const *by) {
  const size_t name_size = strcspn(entry, "=") + 1;
  for (; by && *by; by++)
    if (strncmp(entry, *by, name_size) == 0)
      return true;
  return false;
}

/* Made before the fork: between it and exec nothing may allocate. The entries are not copied. A master under
 * test may listen on whatever address its provider has given it. */
static char **environment_with(char *const *additions) {
  static char exposed[] = "ASSAY_LISTEN_INSECURE=1";
  size_t count = 0, kept = 0;
  while (environ[count])
    count++;
  for (size_t i = 0; additions && additions[i]; i++)
    count++;
  char **environment = xcalloc(count + 2, sizeof *environment); /* one more, and the end */
  environment[kept++] = exposed;
  for (char **entry = environ; *entry; entry++)
    if (!is_replaced(*entry, additions))
      environment[kept++] = *entry;
  for (size_t i = 0; additions && additions[i]; i++)
    environment[kept++] = additions[i];
  return environment;
}

int process_start(struct process *process, const struct process_options *options, struct error *error) {
  struct start start = {.options = options};
  int failures[2];
  *process = (struct process){.pid = -1, .pidfd = -1};
  int status = open_log(options->directory, &start.log, error);
  if (status != 0)
    return status;
  if (pipe2(failures, O_CLOEXEC) != 0) {
    error_set_errno(error, ERR_IO, "cannot make a pipe");
    close(start.log);
    return ERR_IO;
  }
  start.failures = failures[1];
  start.environment = environment_with(options->environment);
  const pid_t pid = fork_child(&start);
  status = pid < 0 ? error_set_errno(error, ERR_IO, "cannot start a process for %s", options->argv[0]) : 0;
  free((void *)start.environment);
  close(start.log);
  close(failures[1]);
  struct start_failure failure;
  ssize_t got = 0;
  while (pid > 0 && (got = read(failures[0], &failure, sizeof failure)) < 0 && errno == EINTR)
    ;
  close(failures[0]);
  if (pid > 0 && got == sizeof failure)
    status = explain(&failure, &start, error);
  if (pid > 0 && status == 0) {
    process->pid = pid;
    process->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (process->pidfd < 0)
      status =
          error_set_errno(error, ERR_UNSUPPORTED, "cannot watch process %d; Linux >= 5.8 is needed", pid);
  }
  if (pid > 0 && status != 0) {
    kill(pid, SIGKILL); /* not reaped yet, so the number is still its own */
    waitpid(pid, NULL, 0);
    process->pid = -1;
  }
  return status;
}

int process_signal(const struct process *process, int number, struct error *error) {
  if (syscall(SYS_pidfd_send_signal, process->pidfd, number, NULL, 0) == 0)
    return 0;
  return error_set_errno(error, errno == ESRCH ? ERR_NOT_FOUND : ERR_IO,
                         "cannot send signal %d to process %d", number, (int)process->pid);
}

int process_await_stopped(const struct process *process, int timeout_ms, struct error *error) {
  /* The kernel tells of stops by SIGCHLD only, which belongs to the loop: look, with a nap of 1 ms between.
   */
  const int64_t deadline_ns = time_monotonic_ns() + timeout_ms * NS_PER_MS;
  do {
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)process->pid, &info, WSTOPPED | WEXITED | WNOHANG | WNOWAIT) != 0)
      return error_set_errno(error, ERR_IO, "cannot wait for process %d", (int)process->pid);
    if (info.si_pid != 0 && info.si_code == CLD_STOPPED)
      return 0;
    if (info.si_pid != 0)
      return error_set(error, ERR_NOT_FOUND, "process %d ended before it was stopped", (int)process->pid);
    nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
  } while (time_monotonic_ns() < deadline_ns);
  return error_set(error, ERR_TIMEOUT, "process %d did not stop within %d ms", (int)process->pid, timeout_ms);
}

int process_await_end(const struct process *process, int timeout_ms, struct error *error) {
  const int64_t deadline_ns = time_monotonic_ns() + timeout_ms * NS_PER_MS;
  for (;;) {
    const int64_t left_ms = (deadline_ns - time_monotonic_ns()) / NS_PER_MS;
    struct pollfd ended = {.fd = process->pidfd, .events = POLLIN};
    const int count = poll(&ended, 1, left_ms > 0 ? (int)left_ms : 0);
    if (count > 0)
      return 0;
    if (count == 0)
      return error_set(error, ERR_TIMEOUT, "process %d did not end within %d ms", (int)process->pid,
                       timeout_ms);
    assert(errno == EINTR);
  }
}

int process_reap(struct process *process) {
  int wait_status = 0;
  while (waitpid(process->pid, &wait_status, 0) < 0)
    assert(errno == EINTR);
  close(process->pidfd);
  *process = (struct process){.pid = -1, .pidfd = -1};
  return wait_status;
}

void process_describe_end(int wait_status, char *out, size_t size) {
  if (WIFSIGNALED(wait_status))
    snprintf(out, size, "signal %d (%s)", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
  else
    snprintf(out, size, "exit status %d", WEXITSTATUS(wait_status));
}
