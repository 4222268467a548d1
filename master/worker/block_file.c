#include "master/worker/block_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/rpc/block_sum.h"

#define HEADER_SIZE 64
#define MAGIC UINT64_C(0x314b4c4259415341) /* "ASAYBLK1" */
#define VERSION 1

static uint64_t chunk_count(uint64_t length) {
  return (length + BLOCK_CHUNK - 1) / BLOCK_CHUNK;
}

uint64_t block_file_size(uint64_t length) {
  return HEADER_SIZE + length + 8 * chunk_count(length);
}

static void encode_header(unsigned char header[HEADER_SIZE], uint64_t block, uint64_t length, uint64_t sum) {
  memset(header, 0, HEADER_SIZE);
  le64_store(header, MAGIC);
  le64_store(header + 8, VERSION);
  le64_store(header + 16, block);
  le64_store(header + 24, length);
  le64_store(header + 32, sum);
  le64_store(header + HEADER_SIZE - 8, checksum(header, HEADER_SIZE - 8));
}

static int io_error(struct error *error, const char *what, const char *path) {
  const enum error_code code = errno == ENOSPC || errno == EDQUOT ? ERR_NO_SPACE : ERR_IO;
  return error_set_errno(error, code, "cannot %s %s", what, path);
}

/* ---- writing ---- */

struct block_writer {
  int file;
  char *path;
  uint64_t block, written; /* bytes behind the header */
  struct bytes sums;
  struct block_sum sum;
};

static bool write_at(int file, const void *data, size_t size, uint64_t offset) {
  const unsigned char *at = data;
  while (size > 0) {
    const ssize_t done = pwrite(file, at, size, (off_t)offset);
    if (done < 0 && errno == EINTR)
      continue;
    if (done <= 0) {
      errno = done == 0 ? ENOSPC : errno;
      return false;
    }
    at += done;
    size -= (size_t)done;
    offset += (uint64_t)done;
  }
  return true;
}

int block_writer_open(const char *temporary, uint64_t block, struct block_writer **result,
                      struct error *error) {
  const int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0)
    return io_error(error, "make", temporary);
  struct block_writer *writer = xcalloc(1, sizeof *writer);
  writer->file = file;
  writer->path = xstrdup(temporary);
  writer->block = block;
  *result = writer;
  return 0;
}

struct adding {
  struct block_writer *writer;
  struct error *error;
};

static int add_chunk(void *context, const void *data, size_t size, uint64_t of_chunk) {
  struct adding *adding = context;
  struct block_writer *writer = adding->writer;
  bytes_append_le64(&writer->sums, of_chunk);
  if (!write_at(writer->file, data, size, HEADER_SIZE + writer->written))
    return io_error(adding->error, "write", writer->path);
  writer->written += size;
  return 0;
}

int block_writer_add(struct block_writer *writer, const void *data, size_t size, struct error *error) {
  struct adding adding = {writer, error};
  return block_sum_add(&writer->sum, data, size, add_chunk, &adding);
}

uint64_t block_writer_length(const struct block_writer *writer) {
  return writer->sum.length + writer->sum.filled;
}

static void writer_free(struct block_writer *writer) {
  if (writer->file >= 0)
    close(writer->file);
  bytes_free(&writer->sums);
  free(writer->path);
  free(writer);
}

void block_writer_abort(struct block_writer *writer) {
  unlink(writer->path);
  writer_free(writer);
}

/* Everything but the name. */
static int complete(struct block_writer *writer, uint64_t length, uint64_t sum, struct error *error) {
  struct adding adding = {writer, error};
  int status = block_sum_end(&writer->sum, add_chunk, &adding);
  if (status != 0)
    return status;
  if (writer->sum.length != length || writer->sum.whole != sum)
    return error_set(error, ERR_BAD_INPUT,
                     "what arrived of the block is not what was sent: %llu bytes of %llu, or a checksum that "
                     "differs; write it again",
                     (unsigned long long)writer->sum.length, (unsigned long long)length);
  unsigned char header[HEADER_SIZE];
  encode_header(header, writer->block, length, sum);
  if (!write_at(writer->file, writer->sums.data, writer->sums.size, HEADER_SIZE + length) ||
      !write_at(writer->file, header, sizeof header, 0))
    return io_error(error, "write", writer->path);
  if (fsync(writer->file) != 0)
    return io_error(error, "make durable", writer->path);
  return 0;
}

int block_writer_finish(struct block_writer *writer, uint64_t length, uint64_t sum, const char *directory,
                        const char *name, struct error *error) {
  int status = complete(writer, length, sum, error);
  char *path = path_join(directory, name);
  if (status == 0 && rename(writer->path, path) != 0)
    status = io_error(error, "rename", writer->path);
  else if (status == 0 && (status = directory_sync(directory, error)) != 0)
    unlink(path);
  free(path);
  if (status != 0)
    unlink(writer->path);
  writer_free(writer);
  return status;
}

/* ---- reading ---- */

struct block_reader {
  int file;
  char *path;
  uint64_t length;
  struct bytes sums;
};

static int corrupt(struct error *error, const char *path, const char *what) {
  return error_set(error, ERR_CORRUPT, "%s is not what was written: %s", path, what);
}

/* False: an error, or the file ends before; errno tells, 0 the end. */
static bool read_at(int file, void *data, size_t size, uint64_t offset) {
  unsigned char *at = data;
  while (size > 0) {
    const ssize_t done = pread(file, at, size, (off_t)offset);
    if (done < 0 && errno == EINTR)
      continue;
    if (done <= 0) {
      errno = done == 0 ? 0 : errno;
      return false;
    }
    at += done;
    size -= (size_t)done;
    offset += (uint64_t)done;
  }
  return true;
}

static int read_error(struct error *error, const char *path) {
  return errno == 0 ? corrupt(error, path, "it is too short")
                    : error_set_errno(error, ERR_IO, "cannot read %s", path);
}

static int check_header(int file, const char *path, uint64_t block, uint64_t *length, uint64_t *sum,
                        struct error *error) {
  unsigned char header[HEADER_SIZE];
  struct stat info;
  if (!read_at(file, header, sizeof header, 0))
    return read_error(error, path);
  if (le64_load(header + HEADER_SIZE - 8) != checksum(header, HEADER_SIZE - 8) ||
      le64_load(header) != MAGIC || le64_load(header + 8) != VERSION)
    return corrupt(error, path, "its header");
  if (le64_load(header + 16) != block)
    return corrupt(error, path, "it is another block");
  *length = le64_load(header + 24);
  *sum = le64_load(header + 32);
  if (fstat(file, &info) != 0)
    return error_set_errno(error, ERR_IO, "cannot read %s", path);
  if ((uint64_t)info.st_size != block_file_size(*length))
    return corrupt(error, path, "its size");
  return 0;
}

static int open_file(const char *path, int *file, struct error *error) {
  *file = open(path, O_RDONLY | O_CLOEXEC);
  if (*file >= 0)
    return 0;
  return error_set_errno(error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s", path);
}

int block_file_look(const char *path, uint64_t block, uint64_t *length, uint64_t *sum, struct error *error) {
  int file, status = open_file(path, &file, error);
  if (status != 0)
    return status;
  status = check_header(file, path, block, length, sum, error);
  close(file);
  return status;
}

static int read_sums(struct block_reader *reader, uint64_t sum, struct error *error) {
  const size_t size = 8 * (size_t)chunk_count(reader->length);
  uint64_t whole = 0;
  bytes_reserve(&reader->sums, size + 1);
  if (!read_at(reader->file, reader->sums.data, size, HEADER_SIZE + reader->length))
    return read_error(error, reader->path);
  reader->sums.size = size;
  for (size_t at = 0; at < size; at += 8)
    whole = block_sum_fold(whole, le64_load(reader->sums.data + at));
  return whole == sum ? 0 : corrupt(error, reader->path, "its checksums");
}

int block_reader_open(const char *path, uint64_t block, struct block_reader **result, struct error *error) {
  uint64_t sum = 0;
  int file = -1, status = open_file(path, &file, error);
  if (status != 0)
    return status;
  struct block_reader *reader = xcalloc(1, sizeof *reader);
  reader->file = file;
  reader->path = xstrdup(path);
  status = check_header(file, path, block, &reader->length, &sum, error);
  if (status == 0)
    status = read_sums(reader, sum, error);
  if (status == 0)
    *result = reader;
  else
    block_reader_close(reader);
  return status;
}

uint64_t block_reader_length(const struct block_reader *reader) {
  return reader->length;
}

int block_reader_read(struct block_reader *reader, uint64_t offset, size_t size, struct bytes *data,
                      struct error *error) {
  while (size > 0 && offset < reader->length) {
    const uint64_t chunk = offset / BLOCK_CHUNK, start = chunk * BLOCK_CHUNK;
    const size_t in_chunk =
        (size_t)(reader->length - start < BLOCK_CHUNK ? reader->length - start : BLOCK_CHUNK);
    const size_t skipped = (size_t)(offset - start);
    const size_t taken = size < in_chunk - skipped ? size : in_chunk - skipped;
    unsigned char *room = bytes_reserve(data, BLOCK_CHUNK);
    if (!read_at(reader->file, room, in_chunk, HEADER_SIZE + start))
      return read_error(error, reader->path);
    if (checksum(room, in_chunk) != le64_load(reader->sums.data + 8 * chunk))
      return corrupt(error, reader->path, "the block's bytes");
    if (skipped > 0)
      memmove(room, room + skipped, taken);
    data->size += taken;
    offset += taken;
    size -= taken;
  }
  return 0;
}

void block_reader_close(struct block_reader *reader) {
  close(reader->file);
  bytes_free(&reader->sums);
  free(reader->path);
  free(reader);
}
