#include "nemesis/test/disk_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static char *directory, *mount_point, *hidden;

void disk_setup(void) {
  directory = scratch_make();
  mount_point = path_join(directory, "data");
  hidden = path_join(directory, "hidden");
}

void disk_teardown(void) {
  scratch_remove(directory);
  free(mount_point);
  free(hidden);
}

/* A device of the same numbers, open to all, over /dev/fuse, in a mount namespace that nobody else sees. */
static void open_fuse_to_all(void) {
  char *device = path_join(directory, "fuse");
  CHECK(unshare(CLONE_NEWNS) == 0, "%s", strerror(errno));
  CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "%s", strerror(errno));
  CHECK(mknod(device, S_IFCHR | 0666, makedev(10, 229)) == 0 && chmod(device, 0666) == 0, "%s",
        strerror(errno));
  CHECK(mount(device, "/dev/fuse", NULL, MS_BIND, NULL) == 0, "%s", strerror(errno));
  free(device);
}

int run_with_fuse(int (*body)(void *context), void *context) {
  fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0) {
    if (geteuid() == 0)
      open_fuse_to_all();
    _exit(run_inside(USER_ORDINARY, body, context));
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct disk *disk_make(void) {
  struct disk *disk;
  struct error error = {0};
  CHECK(directory_remove(mount_point, &error) == 0, "%s", error.message);
  CHECK(disk_open("n1", mount_point, hidden, &disk, &error) == 0, "%s", error.message);
  return disk;
}

void disk_unmake(struct disk *disk) {
  struct error error = {0};
  disk_close(disk);
  CHECK(directory_remove(mount_point, &error) == 0, "the mount is still there: %s", error.message);
  CHECK(!file_exists(hidden), "%s is still there", hidden);
}

const char *disk_mount_point(void) {
  return mount_point;
}

int must_open(const char *path, int flags) {
  const int fd = open(path, flags | O_CLOEXEC, 0644);
  CHECK(fd >= 0, "%s: %s", path, strerror(errno));
  return fd;
}

const char *on_disk(const char *name) {
  static char paths[4][512];
  static size_t next;
  char *path = paths[next++ % ARRAY_SIZE(paths)];
  snprintf(path, sizeof paths[0], "%s/%s", mount_point, name);
  return path;
}

char *content_of(const char *name) {
  struct bytes content = {0};
  if (file_read(on_disk(name), &content, NULL) != 0) {
    bytes_free(&content);
    return NULL;
  }
  bytes_append_u8(&content, '\0');
  return (char *)content.data;
}

void write_content(const char *name, const char *text, bool synced) {
  const int fd = must_open(on_disk(name), O_CREAT | O_TRUNC | O_WRONLY);
  CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", strerror(errno));
  CHECK(!synced || fsync(fd) == 0, "%s", strerror(errno));
  close(fd);
}
