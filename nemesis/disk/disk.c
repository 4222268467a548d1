/* disk.c: a disk as its owner sees it: a process that is asked, and started anew after every power loss.
 *
 * The process holds what is un-synced, so its life is the life of a machine's memory. The owner waits for an
 * answer, but never longer than ANSWER_TIMEOUT_MS. */
#include "nemesis/disk/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nemesis/disk/control.h"
#include "nemesis/disk/rot.h"

#define ANSWER_TIMEOUT_MS 5000

struct disk {
  char *name, *data, *hidden;
  pid_t pid;                 /* -1: there is none */
  int control;               /* -1: there is none */
  struct disk_counters past; /* of the lives before this one */
};

int disk_supported(struct error *error) {
  const int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd >= 0) {
    close(fd);
    return 0;
  }
  const char *cure = errno == ENOENT   ? "modprobe fuse, or start the container with --device /dev/fuse"
                     : errno == EACCES ? "chmod 0666 /dev/fuse, as udev does, or run as root"
                                       : "run as root, or allow the device in this container";
  return error_set_errno(error, ERR_UNSUPPORTED, "/dev/fuse cannot be opened (%s)", cure);
}

/* ---- The process ---- */

/* Takes the process and its mount away, whatever state they are in. */
static void end_life(struct disk *disk) {
  if (disk->control >= 0)
    close(disk->control);
  if (disk->pid > 0) {
    kill(disk->pid, SIGKILL); /* not reaped yet, so the number is still its own */
    while (waitpid(disk->pid, NULL, 0) < 0 && errno == EINTR)
      continue;
  }
  umount2(disk->data, MNT_DETACH);
  disk->control = -1;
  disk->pid = -1;
}

/* Runs in the child. Everything that is open here is none of the disk's business; what is not closed would
 * keep sockets of other disks alive beyond their owner. */
__attribute__((noreturn)) static void child_main(const struct disk *disk, int control) {
  char name[32];
  snprintf(name, sizeof name, "assay-disk-%s", disk->name);
  prctl(PR_SET_NAME, name);
  for (int number = 1; number < SIGRTMIN; number++)
    if (number != SIGKILL && number != SIGSTOP)
      signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  const int null = open("/dev/null", O_RDWR);
  dup2(null, STDIN_FILENO);
  dup2(null, STDOUT_FILENO);
  dup2(control, STDERR_FILENO + 1);
  syscall(SYS_close_range, (unsigned)STDERR_FILENO + 2, ~0u, 0u);
  daemon_run(STDERR_FILENO + 1, disk->data, disk->hidden);
}

static int lost_contact(struct disk *disk, struct error *error, enum error_code code, const char *how) {
  return error_set(error, code,
                   "the disk of node %s (process %d) %s: see its messages in the run's log; end this run, "
                   "nothing of it stays mounted, and start it again",
                   disk->name, (int)disk->pid, how);
}

static int await_answer(struct disk *disk, struct disk_answer *answer, struct error *error) {
  const int64_t end_ns = time_monotonic_ns() + ANSWER_TIMEOUT_MS * NS_PER_MS;
  struct pollfd polls = {.fd = disk->control, .events = POLLIN};
  for (int ready = 0; ready == 0 || (ready < 0 && errno == EINTR);) {
    const int64_t left_ms = (end_ns - time_monotonic_ns()) / NS_PER_MS;
    if (left_ms <= 0)
      return lost_contact(disk, error, ERR_TIMEOUT, "does not answer");
    ready = poll(&polls, 1, (int)left_ms);
  }
  if (recv(disk->control, answer, sizeof *answer, MSG_DONTWAIT) != sizeof *answer)
    return lost_contact(disk, error, ERR_IO, "has ended");
  if (answer->number == 0)
    return 0;
  errno = answer->number;
  return error_set_errno(error, answer->number == ENOSPC ? ERR_NO_SPACE : ERR_IO,
                         "the disk of node %s cannot %s", disk->name, answer->what);
}

static int ask(struct disk *disk, const struct disk_question *question, struct disk_answer *answer,
               struct error *error) {
  if (disk->control < 0)
    return error_set(error, ERR_IO, "the disk of node %s is gone", disk->name);
  if (send(disk->control, question, sizeof *question, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof *question)
    return lost_contact(disk, error, ERR_IO, "has ended");
  return await_answer(disk, answer, error);
}

static int begin_life(struct disk *disk, struct error *error) {
  int ends[2];
  struct disk_answer answer;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return error_set_errno(error, ERR_IO, "cannot make a socket for the disk of node %s", disk->name);
  /* No handler of this process may run in the child. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  fflush(NULL);
  disk->pid = fork();
  if (disk->pid == 0)
    child_main(disk, ends[1]);
  const int kept = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  close(ends[1]);
  disk->control = ends[0];
  errno = kept;
  int status = disk->pid < 0 ? error_set_errno(error, ERR_IO,
                                               "cannot start a process for the disk of node %s", disk->name)
                             : await_answer(disk, &answer, error);
  if (status != 0)
    end_life(disk);
  return status;
}

/* Ends this life as `question` says. What it has counted goes on. */
static int end_life_by(struct disk *disk, const struct disk_question *question, struct error *error) {
  struct disk_answer answer = {0};
  const int status = ask(disk, question, &answer, error);
  if (status == 0)
    disk->past = disk_counters_sum(&disk->past, &answer.counters);
  disk->past.bytes_dirty = 0;
  end_life(disk);
  return status;
}

/* ---- The door ---- */

int disk_open(const char *name, const char *data, const char *hidden, struct disk **disk,
              struct error *error) {
  int status = disk_supported(error);
  if (status != 0)
    return status;
  struct disk *made = xcalloc(1, sizeof *made);
  *made = (struct disk){
      .name = xstrdup(name), .data = xstrdup(data), .hidden = xstrdup(hidden), .pid = -1, .control = -1};
  status = begin_life(made, error);
  if (status != 0) {
    disk_close(made);
    return status;
  }
  *disk = made;
  return 0;
}

void disk_close(struct disk *disk) {
  if (!disk)
    return;
  end_life(disk);
  directory_remove(disk->hidden, NULL);
  free(disk->name);
  free(disk->data);
  free(disk->hidden);
  free(disk);
}

int disk_set(struct disk *disk, const struct disk_fault *fault, struct error *error) {
  struct disk_question question = {.command = COMMAND_SET};
  struct disk_answer answer;
  if (fault)
    question.fault = *fault;
  return ask(disk, &question, &answer, error);
}

int disk_read_counters(struct disk *disk, struct disk_counters *counters, struct error *error) {
  const struct disk_question question = {.command = COMMAND_COUNT};
  struct disk_answer answer = {0};
  const int status = ask(disk, &question, &answer, error);
  if (status == 0)
    *counters = disk_counters_sum(&disk->past, &answer.counters);
  return status;
}

int disk_lose_power(struct disk *disk, const struct disk_loss *loss, struct error *error) {
  const int status =
      end_life_by(disk, &(struct disk_question){.command = COMMAND_LOSE, .loss = *loss}, error);
  return status != 0 ? status : begin_life(disk, error);
}

/* Between two lives nobody has anything of the tree in memory. */
static int between_lives(struct disk *disk, const struct disk_rot *rot, struct disk_rotten *rotten,
                         struct error *error) {
  int status = end_life_by(disk, &(struct disk_question){.command = COMMAND_SETTLE}, error);
  if (status != 0)
    return status;
  status = rot ? rot_tree(disk->data, rot, rotten, error) : rot_restore(disk->data, rotten, error);
  if (status == 0)
    disk->past.bytes_rotten += rot ? rotten->size : -rotten->size;
  const int begun = begin_life(disk, status == 0 ? error : NULL);
  return status != 0 ? status : begun;
}

bool disk_can_rot(const struct disk *disk, const struct disk_rot *rot, struct error *error) {
  return rot_possible(disk->data, rot, error);
}

int disk_rot(struct disk *disk, const struct disk_rot *rot, struct disk_rotten *rotten, struct error *error) {
  return between_lives(disk, rot, rotten, error);
}

int disk_restore(struct disk *disk, struct disk_rotten *rotten, struct error *error) {
  return between_lives(disk, NULL, rotten, error);
}

pid_t disk_process(const struct disk *disk) {
  return disk->pid;
}
