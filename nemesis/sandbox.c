/* sandbox.c: namespaces that nothing leaves.
 *
 *   caller ──clone──▶ init, pid 1 ──fork──▶ body ──▶ nemesis, clients, nodes …
 *     ▲                 │  ▲
 *     └── lifeline ─────┘  └─ orphans of everybody below are reaped here
 *
 * The caller keeps the terminal; init leads a session of its own, so that a Ctrl-C reaches the caller alone,
 * which passes it in exactly once. Init dies when the caller does: by PR_SET_PDEATHSIG, and by the lifeline,
 * a pipe whose other end only the caller holds, for a death before that was set. When pid 1 ends, the kernel
 * kills everything in its pid namespace and then takes the other namespaces back: no clean-up of ours has to
 * run for that.
 *
 * Taken for granted: Linux >= 5.8 (pidfds), and that the caller has one thread. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nemesis/nemesis.h"
#include "nemesis/sandbox.h"

/* A stop signal this soon after the first is the same request told twice: timeout(1) signals the process and
 * then its whole group, and terminals and wrappers do alike. */
#define FORCE_AFTER_NS NS_PER_S

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID)

/* What init is started with. Both pipes are closed on exec. */
struct start {
  int (*body)(void *context);
  void *context;
  sigset_t mask;   /* the caller's, for the body */
  int lifeline[2]; /* nothing is ever written; hangs up when the caller is gone */
  int report[2];   /* init writes one struct error: code 0 when the body was started */
  bool new_user;
  uid_t uid; /* the caller's, outside */
  gid_t gid;
};

static int write_text(const char *path, const char *text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  const ssize_t written = write(fd, text, strlen(text));
  const int kept = errno;
  close(fd);
  errno = kept;
  return written == (ssize_t)strlen(text) ? 0 : -1;
}

/* Makes the caller's user root in here, and nobody else. Needs no helper: a process may map itself. */
static int map_user(const struct start *start) {
  char uid_line[32], gid_line[32];
  snprintf(uid_line, sizeof uid_line, "0 %u 1", (unsigned)start->uid);
  snprintf(gid_line, sizeof gid_line, "0 %u 1", (unsigned)start->gid);
  if (write_text("/proc/self/uid_map", uid_line) != 0 || write_text("/proc/self/setgroups", "deny") != 0)
    return -1;
  return write_text("/proc/self/gid_map", gid_line);
}

/* Cuts the propagation of our mounts to the host. "/" can be the root of a chroot and then no mount point, so
 * this is done at the true root of the namespace: joining the mount namespace one is in leads there. */
static int make_mounts_private(void) {
  int status = -1;
  const int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
  const int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  const int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (self >= 0 && root >= 0 && setns(self, CLONE_NEWNS) == 0 &&
      mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && fchdir(root) == 0 && chroot(".") == 0)
    status = here < 0 ? chdir("/") : fchdir(here);
  const int kept = errno;
  for (size_t i = 0; i < 3; i++)
    if ((const int[]){self, root, here}[i] >= 0)
      close((const int[]){self, root, here}[i]);
  errno = kept;
  return status;
}

static int loopback_up(void) {
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int status = fd < 0 ? -1 : ioctl(fd, SIOCSIFFLAGS, &request);
  const int kept = errno;
  if (fd >= 0)
    close(fd);
  errno = kept;
  return status;
}

static int furnish(const struct start *start, struct error *error) {
  const unsigned long careful = MS_NOSUID | MS_NODEV;
  if (start->new_user && map_user(start) != 0)
    return sandbox_explain(error, errno, "cannot map the user in a new user namespace");
  if (make_mounts_private() != 0)
    return sandbox_explain(error, errno, "cannot make the mounts of a new namespace private");
  if (mount("proc", "/proc", "proc", careful | MS_NOEXEC, NULL) != 0)
    return sandbox_explain(error, errno, "cannot mount /proc in a new namespace");
  if (mount("tmpfs", "/run", "tmpfs", careful, "mode=0755,size=16m") != 0)
    return sandbox_explain(error, errno, "cannot mount a tmpfs on /run in a new namespace");
  const int marker = open(SANDBOX_MARKER, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
  if (marker < 0)
    return sandbox_explain(error, errno, "cannot create " SANDBOX_MARKER);
  close(marker);
  if (loopback_up() != 0)
    return sandbox_explain(error, errno, "cannot bring up the loopback of a new network namespace");
  return 0;
}

static int exit_code_of(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

/* Waits for `body`, reaps orphans meanwhile, hands stop signals down. Returns the exit code. */
static int init_wait(pid_t body, int signals, int lifeline) {
  for (;;) {
    struct pollfd polls[] = {{.fd = signals, .events = POLLIN}, {.fd = lifeline, .events = 0}};
    if (poll(polls, ARRAY_SIZE(polls), -1) < 0 && errno != EINTR)
      return EXIT_HARNESS;
    if (polls[1].revents != 0)
      return EXIT_HARNESS; /* the caller is gone, and so is everybody who could want an answer */
    struct signalfd_siginfo info;
    if (!(polls[0].revents & POLLIN) || read(signals, &info, sizeof info) != sizeof info)
      continue;
    if (info.ssi_signo != SIGCHLD) {
      kill(body, (int)info.ssi_signo);
      continue;
    }
    int wait_status;
    for (pid_t pid; (pid = waitpid(-1, &wait_status, WNOHANG)) > 0;)
      if (pid == body)
        return exit_code_of(wait_status);
  }
}

static int body_main(const struct start *start) {
  for (int number = 1; number < SIGRTMIN; number++)
    if (number != SIGKILL && number != SIGSTOP && number != SIGPIPE)
      signal(number, SIG_DFL);
  sigprocmask(SIG_SETMASK, &start->mask, NULL);
  const int status = start->body(start->context);
  fflush(NULL);
  return status;
}

__attribute__((noreturn)) static void init_main(struct start *start) {
  close(start->lifeline[1]);
  close(start->report[0]);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct pollfd caller = {.fd = start->lifeline[0]};
  if (poll(&caller, 1, 0) != 0)
    _exit(EXIT_HARNESS); /* it died before it could be watched */
  setsid();
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigaddset(&watched, SIGINT);
  sigaddset(&watched, SIGTERM);
  sigprocmask(SIG_BLOCK, &watched, NULL);
  struct error error = {0};
  int code = EXIT_HARNESS;
  const int signals = signalfd(-1, &watched, SFD_CLOEXEC);
  if (signals >= 0 && furnish(start, &error) == 0) {
    /* fork(), not the raw clone() that made init: libc keeps the thread's id and corrects it in here only. */
    const pid_t body = fork();
    if (body == 0) {
      close(start->lifeline[0]);
      close(start->report[1]);
      close(signals);
      _exit(body_main(start));
    }
    if (body < 0)
      error_set_errno(&error, ERR_IO, "cannot start a process in the sandbox");
    else if (write(start->report[1], &error, sizeof error) == sizeof error)
      _exit(init_wait(body, signals, start->lifeline[0]));
  } else if (error.code == 0) {
    error_set_errno(&error, ERR_IO, "cannot watch signals in the sandbox");
  }
  if (write(start->report[1], &error, sizeof error) != sizeof error)
    code = EXIT_HARNESS;
  _exit(code);
}

/* The kernel refuses a user namespace inside a chroot and needs none for root; root without CAP_SYS_ADMIN
 * (containers) needs one. So root tries without, then with. */
static pid_t clone_init(struct start *start, int *pidfd) {
  start->uid = geteuid();
  start->gid = getegid();
  fflush(NULL);
  for (int attempt = start->uid == 0 ? 0 : 1; attempt < 2; attempt++) {
    start->new_user = attempt == 1;
    const unsigned long flags = NAMESPACES | (start->new_user ? CLONE_NEWUSER : 0);
    const long pid = syscall(SYS_clone, flags | CLONE_PIDFD | SIGCHLD, NULL, pidfd, NULL, NULL);
    if (pid == 0)
      init_main(start);
    if (pid > 0 || errno != EPERM)
      return (pid_t)pid;
  }
  return -1;
}

/* Waits for init, passing stop signals in: the first as it is, a later one by ending everything at once. */
static int caller_wait(pid_t pid, int pidfd, int signals) {
  int64_t asked_ns = 0;
  for (bool ended = false; !ended;) {
    struct pollfd polls[] = {{.fd = signals, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
    if (poll(polls, ARRAY_SIZE(polls), -1) < 0)
      continue;
    ended = polls[1].revents != 0;
    struct signalfd_siginfo info;
    if (!(polls[0].revents & POLLIN) || read(signals, &info, sizeof info) != sizeof info)
      continue;
    if (asked_ns == 0) {
      asked_ns = time_monotonic_ns();
      kill(pid, info.ssi_signo == SIGHUP ? SIGTERM : (int)info.ssi_signo);
    } else if (time_monotonic_ns() - asked_ns >= FORCE_AFTER_NS) {
      kill(pid, SIGKILL);
    }
  }
  int wait_status;
  while (waitpid(pid, &wait_status, 0) < 0)
    assert(errno == EINTR);
  return exit_code_of(wait_status);
}

/* The stop signals that are not ignored (nohup, a shell's background job). */
static void stop_signals(sigset_t *set) {
  const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  sigemptyset(set);
  for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
    struct sigaction now;
    if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
      sigaddset(set, numbers[i]);
  }
}

static int run_started(struct start *start, int signals, void (*on_started)(void *context, pid_t pid),
                       int *status, struct error *error) {
  int pidfd = -1;
  const pid_t pid = clone_init(start, &pidfd);
  if (pid < 0)
    return sandbox_explain(error, errno, "cannot make new namespaces");
  close(start->report[1]);
  start->report[1] = -1;
  struct error report = {0};
  ssize_t got;
  do
    got = read(start->report[0], &report, sizeof report);
  while (got < 0 && errno == EINTR);
  if (got != sizeof report)
    error_set(&report, ERR_IO, "the sandbox's first process ended before it had started anything");
  if (report.code == 0 && on_started)
    on_started(start->context, pid);
  *status = caller_wait(pid, pidfd, signals);
  close(pidfd);
  return report.code == 0 ? 0 : error_set(error, report.code, "%s", report.message);
}

int sandbox_run(int (*body)(void *context), void *context, void (*on_started)(void *context, pid_t pid),
                int *status, struct error *error) {
  struct start start = {
      .body = body, .context = context, .lifeline = {-1, -1}, .report = {-1, -1}, .uid = 0, .gid = 0};
  if (pipe2(start.lifeline, O_CLOEXEC) != 0)
    return error_set_errno(error, ERR_IO, "cannot make a pipe");
  int result = ERR_IO;
  sigset_t stops;
  stop_signals(&stops);
  sigprocmask(SIG_BLOCK, &stops, &start.mask);
  struct sigaction children, defaults = {.sa_handler = SIG_DFL};
  sigaction(SIGCHLD, &defaults, &children);
  const int signals = signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0 || pipe2(start.report, O_CLOEXEC) != 0)
    error_set_errno(error, ERR_IO, "cannot prepare a sandbox");
  else
    result = run_started(&start, signals, on_started, status, error);
  /* What was asked while the sandbox ran was asked of it, and is done. */
  struct signalfd_siginfo info;
  while (signals >= 0 && read(signals, &info, sizeof info) == sizeof info)
    ;
  sigaction(SIGCHLD, &children, NULL);
  sigprocmask(SIG_SETMASK, &start.mask, NULL);
  const int fds[] = {start.lifeline[0], start.lifeline[1], start.report[0], start.report[1], signals};
  for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
    if (fds[i] >= 0)
      close(fds[i]);
  return result;
}

/* True when `pid` is in another user namespace than we are. */
static bool other_user_namespace(pid_t pid) {
  char path[64];
  struct stat theirs, ours;
  snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
  return stat(path, &theirs) == 0 && stat("/proc/self/ns/user", &ours) == 0 && theirs.st_ino != ours.st_ino;
}

int sandbox_join(pid_t pid, struct error *error) {
  char path[64], here[4096];
  snprintf(path, sizeof path, "/proc/%d/root", (int)pid);
  const bool know_here = getcwd(here, sizeof here) != NULL;
  const int flags = CLONE_NEWNET | CLONE_NEWNS | (other_user_namespace(pid) ? CLONE_NEWUSER : 0);
  const int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (pidfd < 0)
    return error_set_errno(error, ERR_NOT_FOUND, "the sandbox of process %d is gone; start it again",
                           (int)pid);
  int status = 0;
  const int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0 || setns(pidfd, flags) != 0 || fchdir(root) != 0 || chroot(".") != 0)
    status = error_set_errno(error, ERR_UNSUPPORTED,
                             "cannot join the sandbox of process %d; be the user who started it", (int)pid);
  else if (!know_here || chdir(here) != 0)
    status = chdir("/") == 0 ? 0 : error_set_errno(error, ERR_IO, "cannot enter the sandbox's /");
  if (root >= 0)
    close(root);
  close(pidfd);
  return status;
}

static int nothing(void *context) {
  (void)context;
  return 0;
}

int sandbox_supported(struct error *error) {
  int status = 0;
  return sandbox_run(nothing, NULL, NULL, &status, error);
}

bool sandbox_inside(void) {
  return access(SANDBOX_MARKER, F_OK) == 0;
}
