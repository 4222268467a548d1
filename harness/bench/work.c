#include "harness/bench/work.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "assay-bench-"

/* The lock of a directory, which its process keeps to its end; -1: another has it. */
static int lock_directory(const char *path, int flags) {
  const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0 && flock(fd, LOCK_EX | flags) == 0)
    return fd;
  if (fd >= 0)
    close(fd);
  return -1;
}

static void remove_if_left(const char *parent, const char *name) {
  char *path = path_join(parent, name);
  struct stat about;
  const int lock = lock_directory(path, LOCK_NB);
  if (lock >= 0 && fstat(lock, &about) == 0 && about.st_uid == geteuid())
    directory_remove(path, NULL);
  if (lock >= 0)
    close(lock);
  free(path);
}

static void remove_left(const char *parent) {
  DIR *directory = opendir(parent);
  for (struct dirent *entry; directory && (entry = readdir(directory));)
    if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0)
      remove_if_left(parent, entry->d_name);
  if (directory)
    closedir(directory);
}

int work_open(const char *parent, struct work *work, struct error *error) {
  *work = (struct work){.lock = -1};
  /* Between making and locking, nobody else may look. */
  const int gate = lock_directory(parent, 0);
  if (gate < 0)
    return error_set_errno(error, ERR_IO, "--directory: cannot use %s", parent);
  remove_left(parent);
  char *path = path_join(parent, PREFIX "XXXXXX");
  int status = 0;
  if (!mkdtemp(path)) {
    status = error_set_errno(error, ERR_IO, "--directory: cannot make a directory in %s", parent);
    free(path);
  } else {
    work->path = path;
    work->lock = lock_directory(path, LOCK_NB);
  }
  close(gate);
  return status;
}

void work_close(struct work *work) {
  if (!work->path)
    return;
  directory_remove(work->path, NULL);
  close(work->lock);
  free(work->path);
  *work = (struct work){.lock = -1};
}
