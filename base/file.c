#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int file_read(const char *path, struct bytes *content, struct error *error) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return error_set_errno(error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s", path);
  for (;;) {
    unsigned char *at = bytes_reserve(content, 1 << 16);
    const ssize_t got = read(fd, at, 1 << 16);
    if (got < 0) {
      error_set_errno(error, ERR_IO, "cannot read %s", path);
      close(fd);
      return ERR_IO;
    }
    if (got == 0)
      break;
    content->size += (size_t)got;
  }
  close(fd);
  return 0;
}

static int write_all(int fd, const unsigned char *data, size_t size) {
  while (size > 0) {
    const ssize_t done = write(fd, data, size);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return -1;
    data += done;
    size -= (size_t)done;
  }
  return 0;
}

int directory_sync(const char *path, struct error *error) {
  const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int status =
      fd < 0 || fsync(fd) != 0 ? error_set_errno(error, ERR_IO, "cannot make %s durable", path) : 0;
  if (fd >= 0)
    close(fd);
  return status;
}

static int sync_directory_of(const char *path, struct error *error) {
  char *copy = xstrdup(path);
  const int status = directory_sync(dirname(copy), error);
  free(copy);
  return status;
}

int file_replace(const char *path, const void *data, size_t size, struct error *error) {
  struct bytes temporary = {0};
  bytes_append_format(&temporary, "%s.tmp%d", path, (int)getpid());
  const char *name = (const char *)temporary.data;
  const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  int status = 0;
  if (fd < 0)
    status = error_set_errno(error, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, "cannot create %s", name);
  if (status == 0 && (write_all(fd, data, size) != 0 || fsync(fd) != 0))
    status = error_set_errno(error, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, "cannot write %s", name);
  if (fd >= 0)
    close(fd);
  if (status == 0 && rename(name, path) != 0)
    status = error_set_errno(error, ERR_IO, "cannot rename %s to %s", name, path);
  if (status == 0)
    status = sync_directory_of(path, error);
  if (status != 0 && fd >= 0)
    unlink(name);
  bytes_free(&temporary);
  return status;
}

int directory_make(const char *path, struct error *error) {
  char *copy = xstrdup(path);
  int status = 0;
  for (char *slash = copy + 1; status == 0; slash++) {
    if (*slash != '/' && *slash != '\0')
      continue;
    const char kept = *slash;
    *slash = '\0';
    struct stat info;
    if (mkdir(copy, 0755) != 0 && !(errno == EEXIST && stat(copy, &info) == 0 && S_ISDIR(info.st_mode)))
      status =
          error_set_errno(error, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, "cannot make directory %s", copy);
    *slash = kept;
    if (kept == '\0')
      break;
  }
  free(copy);
  return status;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where) {
  (void)info;
  (void)kind;
  (void)where;
  return remove(path);
}

int directory_remove(const char *path, struct error *error) {
  if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
    return error_set_errno(error, ERR_IO, "cannot remove %s", path);
  return 0;
}

static int remove_inside(const char *path, const struct stat *info, int kind, struct FTW *where) {
  (void)info;
  (void)kind;
  return where->level == 0 ? 0 : remove(path);
}

int directory_clear(const char *path, struct error *error) {
  if (nftw(path, remove_inside, 32, FTW_DEPTH | FTW_PHYS) != 0)
    return error_set_errno(error, ERR_IO, "cannot remove what is in %s", path);
  return 0;
}

bool file_exists(const char *path) {
  return access(path, F_OK) == 0;
}

char *path_join(const char *first, const char *second) {
  const size_t a = strlen(first), b = strlen(second);
  char *joined = xmalloc(a + b + 2);
  memcpy(joined, first, a);
  joined[a] = '/';
  memcpy(joined + a + 1, second, b + 1);
  return joined;
}

char *path_absolute(const char *path) {
  char here[PATH_MAX];
  return path[0] == '/' || !getcwd(here, sizeof here) ? xstrdup(path) : path_join(here, path);
}

/* Read once: in a chroot, a process that has gone into new namespaces is told another path, from the root of
 * the machine, which leads nowhere there. */
char *program_directory(void) {
  static char path[PATH_MAX];
  if (path[0] == '\0') {
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(path, '/');
    if (slash)
      *slash = '\0';
  }
  return path[0] != '\0' ? xstrdup(path) : NULL;
}
