#include "nemesis/disk/rot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct candidates {
  char **names;
  size_t count;
};

static int by_name(const void *left, const void *right) {
  return strcmp(*(char *const *)left, *(char *const *)right);
}

static struct candidates list_candidates(const char *directory, const char *pattern) {
  struct candidates found = {0};
  DIR *stream = opendir(directory);
  for (const struct dirent *entry; stream && (entry = readdir(stream));) {
    if (entry->d_name[0] == '.' || fnmatch(pattern, entry->d_name, 0) != 0)
      continue;
    found.names = xrealloc(found.names, (found.count + 1) * sizeof *found.names);
    found.names[found.count++] = xstrdup(entry->d_name);
  }
  if (stream)
    closedir(stream);
  if (found.count > 0)
    qsort(found.names, found.count, sizeof *found.names, by_name);
  return found;
}

static void forget(struct candidates *found) {
  for (size_t i = 0; i < found->count; i++)
    free(found->names[i]);
  free(found->names);
}

/* Where the content ends, and zeros that were set aside begin. */
static size_t end_of(const struct bytes *content) {
  size_t end = content->size;
  while (end > 0 && content->data[end - 1] == 0)
    end--;
  return end;
}

static int flip(int fd, const struct bytes *content, struct random *random, struct disk_rotten *rotten) {
  rotten->offset = random_below(random, end_of(content));
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

static int rot_file(const char *path, bool cuts, struct random *random, struct disk_rotten *rotten,
                    struct error *error) {
  struct bytes content = {0};
  int status = file_read(path, &content, error);
  if (status == 0 && end_of(&content) == 0)
    status = error_set(error, ERR_UNAVAILABLE, "there is nothing in %s that could rot", path);
  const int fd = status == 0 ? open(path, O_WRONLY | O_CLOEXEC) : -1;
  struct stat info;
  if (fd >= 0 && fstat(fd, &info) == 0)
    rotten->inode = info.st_ino;
  rotten->cut = cuts;
  if (status == 0 && (fd < 0 || (cuts ? cut : flip)(fd, &content, random, rotten) != 0))
    status = error_set_errno(error, ERR_IO, "cannot let %s rot", path);
  if (fd >= 0)
    close(fd);
  bytes_free(&content);
  return status;
}

int rot_tree(const char *tree, const struct disk_rot *rot, struct disk_rotten *rotten, struct error *error) {
  struct random random;
  random_seed(&random, rot->draw);
  char *directory = path_join(tree, rot->directory);
  struct candidates found = list_candidates(directory, rot->pattern);
  int status;
  if (found.count <= rot->spared) {
    status = error_set(error, ERR_UNAVAILABLE, "%zu files %s/%s are too few: the last %zu are left alone",
                       found.count, rot->directory, rot->pattern, rot->spared);
  } else {
    const char *name = found.names[random_below(&random, found.count - rot->spared)];
    char *path = path_join(directory, name);
    snprintf(rotten->path, sizeof rotten->path, "%s/%s", rot->directory, name);
    status = rot_file(path, rot->cut, &random, rotten, error);
    free(path);
  }
  forget(&found);
  free(directory);
  return status;
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
