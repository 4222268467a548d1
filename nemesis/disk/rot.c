#include "nemesis/disk/rot.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the content ends, and zeros that were set aside begin. */
static size_t end_of(const struct bytes *content) {
  size_t end = content->size;
  while (end > 0 && content->data[end - 1] == 0)
    end--;
  return end;
}

static int flip(int fd, const struct bytes *content, double share, struct random *random,
                struct disk_rotten *rotten) {
  const size_t end = (size_t)((double)end_of(content) * (share > 0 ? share : 1));
  rotten->offset = random_below(random, end > 0 ? end : 1);
  rotten->size = 1;
  rotten->healthy[0] = content->data[rotten->offset];
  rotten->ill = (unsigned char)(rotten->healthy[0] ^ (1u << random_below(random, 8)));
  return pwrite(fd, &rotten->ill, 1, (off_t)rotten->offset) == 1 ? 0 : -1;
}

static int cut(int fd, const struct bytes *content, struct random *random, struct disk_rotten *rotten) {
  const size_t most = content->size < DISK_ROT_MOST ? content->size : DISK_ROT_MOST;
  rotten->size = 1 + (size_t)random_below(random, most);
  rotten->offset = content->size - rotten->size;
  memcpy(rotten->healthy, content->data + rotten->offset, rotten->size);
  return ftruncate(fd, (off_t)rotten->offset);
}

static int rot_file(const char *path, const struct disk_rot *rot, struct random *random,
                    struct disk_rotten *rotten, struct error *error) {
  struct bytes content = {0};
  struct stat info;
  int status = file_read(path, &content, error);
  const int fd = status == 0 ? open(path, O_WRONLY | O_CLOEXEC) : -1;
  rotten->cut = rot->cut;
  if (fd >= 0 && fstat(fd, &info) == 0)
    rotten->inode = info.st_ino;
  if (status == 0 && (fd < 0 || (rot->cut ? cut(fd, &content, random, rotten)
                                          : flip(fd, &content, rot->share, random, rotten)) != 0))
    status = error_set_errno(error, ERR_IO, "cannot let %s rot", path);
  if (fd >= 0)
    close(fd);
  bytes_free(&content);
  return status;
}

static bool is_target(const char *path, size_t least) {
  struct bytes content = {0};
  const bool large = file_read(path, &content, NULL) == 0 && end_of(&content) >= (least > 0 ? least : 1);
  bytes_free(&content);
  return large;
}

/* The path of a random target, to free(); NULL when there is none. */
static char *find_target(const char *tree, const struct disk_rot *rot, struct random *random,
                         struct error *error) {
  char *pattern = path_join(tree, rot->pattern), *target = NULL;
  glob_t found = {0};
  const size_t matching = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
  size_t count = 0;
  for (size_t i = 0; i < matching; i++) {
    char *path = found.gl_pathv[i];
    if (!is_target(path, rot->least))
      continue;
    found.gl_pathv[i] = found.gl_pathv[count]; /* globfree() wants to see each of them */
    found.gl_pathv[count++] = path;
  }
  if (count > 0)
    target = xstrdup(found.gl_pathv[random_below(random, count)]);
  else
    error_set(error, ERR_UNAVAILABLE, "there is nothing of %s that could rot", rot->pattern);
  globfree(&found);
  free(pattern);
  return target;
}

int rot_tree(const char *tree, const struct disk_rot *rot, struct disk_rotten *rotten, struct error *error) {
  struct random random;
  random_seed(&random, rot->draw);
  char *path = find_target(tree, rot, &random, error);
  if (!path)
    return ERR_UNAVAILABLE;
  *rotten = (struct disk_rotten){0};
  snprintf(rotten->path, sizeof rotten->path, "%s", path + strlen(tree) + 1);
  const int status = rot_file(path, rot, &random, rotten, error);
  free(path);
  return status;
}

bool rot_possible(const char *tree, const struct disk_rot *rot, struct error *error) {
  struct random random;
  random_seed(&random, rot->draw);
  char *path = find_target(tree, rot, &random, error);
  free(path);
  return path != NULL;
}

static bool still_rotten(int fd, const struct disk_rotten *rotten) {
  struct stat info;
  unsigned char byte;
  if (fstat(fd, &info) != 0 || info.st_ino != rotten->inode)
    return false;
  if (rotten->cut)
    return (uint64_t)info.st_size == rotten->offset;
  return pread(fd, &byte, 1, (off_t)rotten->offset) == 1 && byte == rotten->ill;
}

int rot_restore(const char *tree, const struct disk_rotten *rotten, struct error *error) {
  char *path = path_join(tree, rotten->path);
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  int status = fd < 0 && errno != ENOENT ? error_set_errno(error, ERR_IO, "cannot open %s", path) : 0;
  if (fd >= 0 && still_rotten(fd, rotten) &&
      pwrite(fd, rotten->healthy, rotten->size, (off_t)rotten->offset) != (ssize_t)rotten->size)
    status = error_set_errno(error, ERR_IO, "cannot restore %s", path);
  if (fd >= 0)
    close(fd);
  free(path);
  return status;
}
