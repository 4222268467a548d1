#include "histories/lines.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE ((size_t)256 << 10)

int lines_open(struct line_source *source, const char *path, struct error *error) {
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return error_set_errno(error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s cannot be opened", path);
  *source = (struct line_source){.name = path, .descriptor = descriptor};
  return 0;
}

void lines_from_memory(struct line_source *source, const char *name, const char *data, size_t size) {
  *source = (struct line_source){.name = name, .descriptor = -1, .at = data, .left = size, .ended = true};
}

void lines_close(struct line_source *source) {
  if (source->descriptor >= 0)
    close(source->descriptor);
  bytes_free(&source->buffer);
  source->descriptor = -1;
}

/* Moves what is left to the front of the buffer and reads more behind it. */
static int refill(struct line_source *source, struct error *error) {
  struct bytes *buffer = &source->buffer;
  if (source->left > LINE_MAX_SIZE)
    return error_set(error, ERR_BAD_INPUT, "%s:%llu: the line is longer than %zu bytes: this is no history",
                     source->name, (unsigned long long)source->number + 1, LINE_MAX_SIZE);
  if (source->left > 0)
    memmove(buffer->data, source->at, source->left);
  buffer->size = source->left;
  unsigned char *end = bytes_reserve(buffer, READ_SIZE);
  ssize_t got;
  do
    got = read(source->descriptor, end, READ_SIZE);
  while (got < 0 && errno == EINTR);
  if (got < 0)
    return error_set_errno(error, ERR_IO, "%s cannot be read", source->name);
  source->ended = got == 0;
  buffer->size += (size_t)got;
  source->at = (const char *)buffer->data;
  source->left = buffer->size;
  return 0;
}

/* The last line, which lacks its newline: it gets one, in memory of ours. */
static int unfinished_line(struct line_source *source, struct line_text *line) {
  const size_t size = source->left;
  if (size == 0)
    return 0;
  if (source->descriptor < 0)
    bytes_append(&source->buffer, source->at, size);
  assert(source->buffer.size == size ||
         source->at + size == (char *)source->buffer.data + source->buffer.size);
  bytes_append(&source->buffer, "\n", 1);
  *line = (struct line_text){(char *)source->buffer.data + source->buffer.size - 1 - size, size, false};
  source->left = 0;
  source->number++;
  return 1;
}

int lines_next(struct line_source *source, struct line_text *line, struct error *error) {
  size_t searched = 0;
  for (;;) {
    const char *end =
        source->left > searched ? memchr(source->at + searched, '\n', source->left - searched) : NULL;
    if (end) {
      const size_t size = (size_t)(end - source->at);
      *line = (struct line_text){source->at, size, true};
      source->at = end + 1;
      source->left -= size + 1;
      source->number++;
      return 1;
    }
    if (source->ended)
      return unfinished_line(source, line);
    searched = source->left;
    const int result = refill(source, error);
    if (result != 0)
      return result;
  }
}

bool line_is_blank(const struct line_text *line) {
  size_t i = 0;
  while (i < line->size && (line->data[i] == ' ' || line->data[i] == '\t' || line->data[i] == '\r'))
    i++;
  return i == line->size;
}
