#include "master/worker/under_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/path.h"
#include "master/rpc/block_sum.h"

struct under_writer {
  int directory, descriptor;
  char name[NAME_SIZE_LIMIT + 1];
  char temporary[32]; /* empty: the file has no name yet */
  struct block_sum sum;
};

static int failure(struct error *error, const char *what, const char *name) {
  const int number = errno;
  const int code = number == ENOSPC || number == EDQUOT ? ERR_NO_SPACE
                   : number == ENOENT                   ? ERR_NOT_FOUND
                   : number == EACCES || number == ELOOP || number == ENOTDIR || number == EISDIR
                       ? ERR_BAD_INPUT
                       : ERR_IO;
  return error_set(error, code, "%s %s in the under-store: %s", what, name, strerror(number));
}

/* The directory of a path below a root, and its last name. With `make` missing directories are made. */
static int open_parent(const struct under_roots *roots, struct slice path, bool make,
                       char name[NAME_SIZE_LIMIT + 1], struct error *error) {
  const char *root = under_roots_find(roots, path);
  if (!root || path.size == strlen(root)) {
    error_set(error, ERR_BAD_INPUT, "%.*s lies in no --mount-root of this worker", (int)path.size, path.data);
    return -1;
  }
  struct slice parent = path;
  while (parent.data[parent.size - 1] != '/')
    parent.size--;
  parent.size--;
  snprintf(name, NAME_SIZE_LIMIT + 1, "%.*s", (int)(path.size - parent.size - 1),
           path.data + parent.size + 1);
  int descriptor = under_roots_open(roots, parent);
  if (descriptor < 0 && errno == ENOENT && make) {
    char above[NAME_SIZE_LIMIT + 1];
    const int directory = open_parent(roots, parent, true, above, error);
    if (directory < 0)
      return -1;
    if (mkdirat(directory, above, 0755) == 0 || errno == EEXIST) {
      fsync(directory);
      descriptor = under_roots_open(roots, parent);
    }
    close(directory);
  }
  if (descriptor < 0)
    failure(error, "opening the directory of", name);
  return descriptor;
}

int under_file_open(const struct under_roots *roots, struct slice path, uint64_t *length, int *descriptor,
                    struct error *error) {
  char name[NAME_SIZE_LIMIT + 1];
  struct stat status;
  const int directory = open_parent(roots, path, false, name, error);
  if (directory < 0)
    return error->code;
  *descriptor = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  int code = *descriptor < 0 ? failure(error, "opening", name) : 0;
  close(directory);
  if (code == 0 && (fstat(*descriptor, &status) != 0 || !S_ISREG(status.st_mode)))
    code = error_set(error, ERR_BAD_INPUT, "%s is no file of the under-store", name);
  if (code != 0 && *descriptor >= 0)
    close(*descriptor);
  if (code == 0)
    *length = (uint64_t)status.st_size;
  else
    *descriptor = -1;
  return code;
}

int under_file_read(int descriptor, uint64_t offset, size_t size, struct bytes *data, struct error *error) {
  bytes_reserve(data, size);
  while (size > 0) {
    const ssize_t got = pread(descriptor, data->data + data->size, size, (off_t)offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return failure(error, "reading", "a file");
    if (got == 0)
      return error_set(error, ERR_IO, "a file of the under-store became shorter while it was read");
    data->size += (size_t)got;
    size -= (size_t)got;
    offset += (uint64_t)got;
  }
  return 0;
}

/* Without a name where the file system can do that: then nothing is left whenever it ends. */
static int make_file(struct under_writer *writer) {
  writer->descriptor = openat(writer->directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
  if (writer->descriptor >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
    return writer->descriptor;
  snprintf(writer->temporary, sizeof writer->temporary, ".assay-%016llx",
           (unsigned long long)random_seed_from_system());
  writer->descriptor =
      openat(writer->directory, writer->temporary, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
  return writer->descriptor;
}

int under_writer_open(const struct under_roots *roots, struct slice path, struct under_writer **result,
                      struct error *error) {
  struct under_writer *writer = xcalloc(1, sizeof *writer);
  writer->descriptor = -1;
  writer->directory = open_parent(roots, path, true, writer->name, error);
  int code = writer->directory < 0 ? error->code : 0;
  if (code == 0 && make_file(writer) < 0)
    code = failure(error, "making", writer->name);
  if (code == 0)
    *result = writer;
  else
    under_writer_abort(writer);
  return code;
}

int under_writer_add(struct under_writer *writer, const void *data, size_t size, struct error *error) {
  const unsigned char *at = data;
  block_sum_add(&writer->sum, data, size, NULL, NULL);
  while (size > 0) {
    const ssize_t done = write(writer->descriptor, at, size);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return failure(error, "writing", writer->name);
    at += done;
    size -= (size_t)done;
  }
  return 0;
}

/* Whether the file that has the name has this content. */
static bool is_there(const struct under_writer *writer, uint64_t length, uint64_t sum) {
  struct stat status;
  struct block_sum *found = xcalloc(1, sizeof *found);
  unsigned char *piece = xmalloc(BLOCK_CHUNK);
  const int descriptor =
      openat(writer->directory, writer->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  bool same = descriptor >= 0 && fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) &&
              (uint64_t)status.st_size == length;
  for (ssize_t got; same && (got = read(descriptor, piece, BLOCK_CHUNK)) != 0;) {
    same = got > 0;
    if (same)
      block_sum_add(found, piece, (size_t)got, NULL, NULL);
  }
  block_sum_end(found, NULL, NULL);
  same = same && found->length == length && found->whole == sum && fsync(descriptor) == 0;
  if (descriptor >= 0)
    close(descriptor);
  free(piece);
  free(found);
  return same;
}

static int name_file(struct under_writer *writer, uint64_t length, uint64_t sum, struct error *error) {
  char from[64];
  snprintf(from, sizeof from, "/proc/self/fd/%d", writer->descriptor);
  const int code = writer->temporary[0]
                       ? linkat(writer->directory, writer->temporary, writer->directory, writer->name, 0)
                       : linkat(AT_FDCWD, from, writer->directory, writer->name, AT_SYMLINK_FOLLOW);
  if (code == 0 || (errno == EEXIST && is_there(writer, length, sum)))
    return 0;
  if (errno == EEXIST || faccessat(writer->directory, writer->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    return error_set(
        error, ERR_BAD_INPUT,
        "%s is there already in the under-store with other content, and nothing there is replaced: "
        "rename one of the two",
        writer->name);
  return failure(error, "naming", writer->name);
}

int under_writer_finish(struct under_writer *writer, uint64_t length, uint64_t sum, struct error *error) {
  int code = 0;
  block_sum_end(&writer->sum, NULL, NULL);
  if (writer->sum.length != length || writer->sum.whole != sum)
    code = error_set(error, ERR_BAD_INPUT, "what came of %s is not what was sent", writer->name);
  if (code == 0 && fsync(writer->descriptor) != 0)
    code = failure(error, "syncing", writer->name);
  if (code == 0)
    code = name_file(writer, length, sum, error);
  if (code == 0 && fsync(writer->directory) != 0)
    code = failure(error, "syncing the directory of", writer->name);
  under_writer_abort(writer);
  return code;
}

void under_writer_abort(struct under_writer *writer) {
  if (writer->temporary[0] && writer->descriptor >= 0)
    unlinkat(writer->directory, writer->temporary, 0);
  if (writer->descriptor >= 0)
    close(writer->descriptor);
  if (writer->directory >= 0)
    close(writer->directory);
  free(writer);
}
