/* tap_switch.c: see tap_switch.h. */
#include "nemesis/link/tap_switch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nemesis/node.h"

#define ANSWER_TIMEOUT_MS 2000
#define END_TIMEOUT_MS 2000
#define PCAP_BYTES (UINT64_C(256) << 20)

struct tap_switch {
  struct process process;
  int control;
  size_t nodes;
  uint64_t commands; /* sent so far */
};

/* ---- In the child ---- */

static int by_value(const void *a, const void *b) {
  return *(const int *)a - *(const int *)b;
}

/* Closes what the owner has open for itself: a pipe of its must not stay open because of the switch. */
static void keep_only(const struct switch_setup *setup) {
  int kept[CLUSTER_NODES_MAX + 4] = {STDERR_FILENO, setup->control};
  size_t count = 2;
  for (size_t i = 0; i <= setup->nodes; i++)
    kept[count++] = setup->ports[i].cable;
  if (setup->pcap)
    kept[count++] = pcap_fd(setup->pcap);
  qsort(kept, count, sizeof *kept, by_value);
  unsigned from = 0;
  for (size_t i = 0; i < count; i++) {
    if (from < (unsigned)kept[i])
      syscall(SYS_close_range, from, (unsigned)kept[i] - 1, 0u);
    from = (unsigned)kept[i] + 1;
  }
  syscall(SYS_close_range, from, ~0u, 0u);
}

/* The kernel's own links are served before any process; so are these where we may. Elsewhere, frames are late
 * by as long as a busy machine lets the switch wait, some milliseconds. */
static void serve_first(void) {
  const struct sched_param lowest = {.sched_priority = sched_get_priority_min(SCHED_RR)};
  if (sched_setscheduler(0, SCHED_RR, &lowest) != 0)
    log_debug("the switch waits its turn with all other processes: %s", strerror(errno));
}

__attribute__((noreturn)) static void child_main(const struct switch_setup *setup, pid_t owner) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != owner)
    _exit(1);
  serve_first();
  setsid(); /* a Ctrl-C is a matter for the owner, who then heals and ends us */
  for (int number = 1; number < SIGRTMIN; number++)
    if (number != SIGKILL && number != SIGSTOP)
      signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  keep_only(setup);
  switch_run(setup);
  _exit(0);
}

/* ---- In the owner ---- */

static int start(struct tap_switch *tap_switch, const struct switch_setup *setup, struct error *error) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* no handler of the owner's runs in the child */
  const pid_t owner = getpid(), pid = fork();
  if (pid == 0)
    child_main(setup, owner);
  const int kept = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = kept;
  if (pid < 0)
    return error_set_errno(error, ERR_IO, "cannot start a process for the switch");
  tap_switch->process = (struct process){.pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0)};
  if (tap_switch->process.pidfd >= 0)
    return 0;
  error_set_errno(error, ERR_UNSUPPORTED, "cannot watch the switch; Linux >= 5.8 is needed");
  kill(pid, SIGKILL);
  process_reap(&tap_switch->process);
  return ERR_UNSUPPORTED;
}

int tap_switch_open(const struct tap_switch_options *options, struct tap_switch **tap_switch,
                    struct error *error) {
  struct tap_switch *made = xcalloc(1, sizeof *made);
  struct switch_setup setup = {.nodes = options->nodes, .seed = options->seed};
  int sockets[2] = {-1, -1}, status = 0;
  *made = (struct tap_switch){.process = {.pid = -1, .pidfd = -1}, .nodes = options->nodes};
  memcpy(setup.ports, options->ports, sizeof setup.ports);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
    status = error_set_errno(error, ERR_IO, "cannot make a socket for the switch");
  made->control = sockets[0];
  setup.control = sockets[1];
  if (status == 0 && options->pcap)
    status =
        pcap_open(options->pcap, options->pcap_bytes ? options->pcap_bytes : PCAP_BYTES, &setup.pcap, error);
  if (status == 0)
    status = start(made, &setup, error);
  pcap_close(setup.pcap);
  for (size_t i = 0; i <= options->nodes; i++)
    close(options->ports[i].cable);
  if (sockets[1] >= 0)
    close(sockets[1]);
  if (status != 0) {
    tap_switch_close(made);
    return status;
  }
  *tap_switch = made;
  return 0;
}

void tap_switch_close(struct tap_switch *tap_switch) {
  if (!tap_switch)
    return;
  if (tap_switch->control >= 0)
    close(tap_switch->control);
  if (tap_switch->process.pid >= 0) {
    if (process_await_end(&tap_switch->process, END_TIMEOUT_MS, NULL) != 0)
      process_signal(&tap_switch->process, SIGKILL, NULL);
    process_reap(&tap_switch->process);
  }
  free(tap_switch);
}

/* The answer to an earlier command, which nobody waited for any more, is passed over. */
static int exchange(struct tap_switch *tap_switch, struct switch_command *command,
                    struct switch_report *report, struct error *error) {
  const int64_t deadline_ns = time_monotonic_ns() + ANSWER_TIMEOUT_MS * NS_PER_MS;
  command->number = ++tap_switch->commands;
  report->answers = 0;
  ssize_t size = send(tap_switch->control, command, sizeof *command, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (size > 0 && report->answers != command->number) {
    struct pollfd answered = {.fd = tap_switch->control, .events = POLLIN};
    const int64_t left_ms = (deadline_ns - time_monotonic_ns()) / NS_PER_MS;
    const int ready = poll(&answered, 1, left_ms > 0 ? (int)left_ms : 0);
    if (ready == 0)
      return error_set(error, ERR_TIMEOUT, "the switch between the nodes did not answer within %d ms",
                       ANSWER_TIMEOUT_MS);
    if (ready > 0)
      size = recv(tap_switch->control, report, sizeof *report, 0);
  }
  if (size <= 0)
    return error_set(error, ERR_IO, "the switch between the nodes has ended: no frame passes any more");
  return 0;
}

int tap_switch_shape(struct tap_switch *tap_switch, const struct link_shape *shape, const bool *shaped,
                     struct error *error) {
  struct switch_command command = {.what = SWITCH_SHAPE};
  struct switch_report report;
  if (shape) {
    const int status = link_shape_check(shape, error);
    if (status != 0)
      return status;
    command.shape = *shape;
    memcpy(command.shaped, shaped, tap_switch->nodes * tap_switch->nodes * sizeof *shaped);
  }
  return exchange(tap_switch, &command, &report, error);
}

int tap_switch_report(struct tap_switch *tap_switch, struct switch_report *report, struct error *error) {
  struct switch_command command = {.what = SWITCH_REPORT};
  return exchange(tap_switch, &command, report, error);
}
