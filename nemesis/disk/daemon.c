/* daemon.c: the process of a disk: a few threads that serve the kernel, and one that listens to the owner.
 *
 * A slow fsync keeps a thread. The programs it is made for sync from three or four threads, so eight are
 * enough for reads to get through meanwhile. Whoever writes to the very file that is being synced waits: the
 * kernel lets FUSE do one or the other. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nemesis/disk/control.h"
#include "nemesis/disk/volume.h"

#define THREADS 8

struct daemon {
  const char *data;
  struct volume volume;
  struct fuse_session *session;
  bool mounted;
};

static void *serve(void *argument) {
  struct daemon *daemon = argument;
  struct fuse_buf request = {0};
  while (!fuse_session_exited(daemon->session)) {
    const int got = fuse_session_receive_buf(daemon->session, &request);
    if (got > 0)
      fuse_session_process_buf(daemon->session, &request);
    else if (got != -EINTR && got != -EAGAIN)
      break; /* the mount is gone */
  }
  free(request.mem);
  return NULL;
}

/* ---- Furnishing; each tells what it could not do in `answer` ---- */

static bool failed(struct disk_answer *answer, const char *what) {
  answer->number = errno;
  snprintf(answer->what, sizeof answer->what, "%s", what);
  return true;
}

/* The directory is opened before it is covered: so the tree is reached below its own mount. */
static bool open_volume(struct volume *volume, const char *data, const char *hidden,
                        struct disk_answer *answer) {
  if (directory_make(data, NULL) != 0 || directory_remove(hidden, NULL) != 0 ||
      directory_make(hidden, NULL) != 0)
    return failed(answer, "make its directories");
  const int hidden_fd = open(hidden, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  inodes_init(&volume->inodes, &volume->orders);
  const int status = hidden_fd < 0 ? -errno : inodes_open(&volume->inodes, AT_FDCWD, data, &volume->root);
  if (status != 0) {
    errno = -status;
    return failed(answer, "open its directories");
  }
  names_init(&volume->names, &volume->orders, &volume->inodes, hidden_fd);
  switch_init(&volume->faults);
  return false;
}

static bool mount_volume(struct daemon *daemon, struct disk_answer *answer) {
  char *arguments[] = {"assay-disk", NULL}, options[128], place[32];
  struct fuse_args args = FUSE_ARGS_INIT(1, arguments);
  daemon->session = fuse_session_new(&args, &volume_requests, sizeof volume_requests, &daemon->volume);
  const int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (!daemon->session || fd < 0)
    return failed(answer, "open /dev/fuse");
  snprintf(options, sizeof options, "fd=%d,rootmode=%o,user_id=%u,group_id=%u", fd, (unsigned)S_IFDIR,
           getuid(), getgid());
  if (mount("assay-disk", daemon->data, "fuse", MS_NOSUID | MS_NODEV, options) != 0)
    return failed(answer, "mount a file system of ours");
  daemon->mounted = true;
  snprintf(place, sizeof place, "/dev/fd/%d", fd);
  if (fuse_session_mount(daemon->session, place) != 0)
    return failed(answer, "serve a file system of ours");
  for (size_t i = 0; i < THREADS; i++) {
    pthread_t thread;
    errno = pthread_create(&thread, NULL, serve, daemon);
    if (errno != 0)
      return failed(answer, "start a thread");
  }
  return false;
}

/* ---- Answering ---- */

static void add_dirty(void *context, struct inode *inode) {
  if (!inode->directory)
    *(uint64_t *)context += file_dirty_bytes(&inode->file);
}

static void count(struct volume *volume, struct disk_counters *counters) {
  const struct tally *tally = &volume->tally;
  *counters = (struct disk_counters){.bytes_written = tally->bytes_written,
                                     .bytes_synced = tally->bytes_synced,
                                     .bytes_lost = volume->bytes_lost,
                                     .names_lost = volume->names_lost,
                                     .syncs = tally->syncs,
                                     .syncs_delayed = tally->syncs_delayed,
                                     .read_errors = tally->read_errors,
                                     .write_errors = tally->write_errors,
                                     .sync_errors = tally->sync_errors,
                                     .no_space = tally->no_space};
  inodes_visit(&volume->inodes, add_dirty, &counters->bytes_dirty);
}

static void drop_pages(void *context, struct inode *inode) {
  if (!inode->directory)
    fuse_lowlevel_notify_inval_inode(context, (fuse_ino_t)(uintptr_t)inode, 0, 0);
}

static struct disk_answer answer_to(struct daemon *daemon, const struct disk_question *question) {
  struct volume *volume = &daemon->volume;
  struct disk_answer answer = {0};
  switch (question->command) {
  case COMMAND_SET:
    switch_set(volume, &question->fault);
    /* What the kernel has in memory would be read without asking. */
    if (question->fault.read_error > 0)
      inodes_visit(&volume->inodes, drop_pages, daemon->session);
    break;
  case COMMAND_LOSE:
    answer.number = -volume_lose(volume, &question->loss);
    snprintf(answer.what, sizeof answer.what, "take back what was not synced");
    break;
  case COMMAND_SETTLE:
    names_sync_all(&volume->names);
    break;
  case COMMAND_COUNT:
  case COMMAND_NONE:
    break;
  }
  count(volume, &answer.counters);
  return answer;
}

/* The owner is gone, or wants nothing more: so is the mount, whoever looks at it. */
__attribute__((noreturn)) static void end(const struct daemon *daemon) {
  if (daemon->mounted)
    umount2(daemon->data, MNT_DETACH);
  _exit(0);
}

void daemon_run(int control, const char *data, const char *hidden) {
  struct daemon *daemon = xcalloc(1, sizeof *daemon);
  struct disk_answer answer = {0};
  struct disk_question question;
  struct rlimit files;
  daemon->data = data;
  umask(0);
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  const bool lacking = open_volume(&daemon->volume, data, hidden, &answer) || mount_volume(daemon, &answer);
  ssize_t said = send(control, &answer, sizeof answer, MSG_NOSIGNAL);
  while (!lacking && said == sizeof answer &&
         recv(control, &question, sizeof question, 0) == sizeof question) {
    answer = answer_to(daemon, &question);
    if (question.command == COMMAND_LOSE || question.command == COMMAND_SETTLE) {
      umount2(data, MNT_DETACH);
      daemon->mounted = false;
    }
    said = send(control, &answer, sizeof answer, MSG_NOSIGNAL);
    if (!daemon->mounted)
      break;
  }
  end(daemon);
}
