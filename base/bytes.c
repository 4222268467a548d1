#include "base/bytes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/log.h"

static void *or_die(void *memory, size_t size) {
  if (!memory && size > 0) {
    log_error("out of memory: %zu bytes could not be had", size);
    _exit(EXIT_HARNESS);
  }
  return memory;
}

void *xmalloc(size_t size) {
  return or_die(malloc(size), size);
}

void *xcalloc(size_t count, size_t size) {
  return or_die(calloc(count, size), count * size);
}

void *xrealloc(void *memory, size_t size) {
  return or_die(realloc(memory, size), size);
}

char *xstrdup(const char *text) {
  return or_die(strdup(text), 1);
}

unsigned char *bytes_reserve(struct bytes *bytes, size_t more) {
  assert(more <= SIZE_MAX / 4 - bytes->size);
  if (bytes->capacity - bytes->size < more) {
    size_t capacity = bytes->capacity ? bytes->capacity : 64;
    while (capacity - bytes->size < more)
      capacity *= 2;
    bytes->data = xrealloc(bytes->data, capacity);
    bytes->capacity = capacity;
  }
  return bytes->data + bytes->size;
}

void bytes_append(struct bytes *bytes, const void *data, size_t size) {
  if (size == 0)
    return;
  memcpy(bytes_reserve(bytes, size), data, size);
  bytes->size += size;
}

void bytes_append_u8(struct bytes *bytes, uint8_t value) {
  bytes_append(bytes, &value, 1);
}

void bytes_append_le32(struct bytes *bytes, uint32_t value) {
  le32_store(bytes_reserve(bytes, 4), value);
  bytes->size += 4;
}

void bytes_append_le64(struct bytes *bytes, uint64_t value) {
  le64_store(bytes_reserve(bytes, 8), value);
  bytes->size += 8;
}

void bytes_append_varint(struct bytes *bytes, uint64_t value) {
  unsigned char *at = bytes_reserve(bytes, 10);
  size_t size = 0;
  while (value >= 0x80) {
    at[size++] = (unsigned char)(value | 0x80);
    value >>= 7;
  }
  at[size++] = (unsigned char)value;
  bytes->size += size;
}

void bytes_append_string(struct bytes *bytes, const void *data, size_t size) {
  bytes_append_varint(bytes, size);
  bytes_append(bytes, data, size);
}

void bytes_append_format(struct bytes *bytes, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  const int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  assert(length >= 0);
  unsigned char *at = bytes_reserve(bytes, (size_t)length + 1);
  vsnprintf((char *)at, (size_t)length + 1, format, again);
  va_end(again);
  bytes->size += (size_t)length;
}

void bytes_consume(struct bytes *bytes, size_t size) {
  assert(size <= bytes->size);
  bytes->size -= size;
  if (bytes->size > 0 && size > 0)
    memmove(bytes->data, bytes->data + size, bytes->size);
}

void bytes_clear(struct bytes *bytes) {
  bytes->size = 0;
}

void bytes_free(struct bytes *bytes) {
  free(bytes->data);
  *bytes = (struct bytes){0};
}

struct reader reader_make(const void *data, size_t size) {
  const unsigned char *at = data;
  return (struct reader){.at = at, .end = size ? at + size : at};
}

size_t reader_left(const struct reader *reader) {
  return (size_t)(reader->end - reader->at);
}

const unsigned char *reader_bytes(struct reader *reader, size_t size) {
  if (reader->failed || reader_left(reader) < size) {
    reader->failed = true;
    return NULL;
  }
  const unsigned char *at = reader->at;
  reader->at += size;
  return at;
}

uint8_t reader_u8(struct reader *reader) {
  const unsigned char *at = reader_bytes(reader, 1);
  return at ? *at : 0;
}

uint32_t reader_le32(struct reader *reader) {
  const unsigned char *at = reader_bytes(reader, 4);
  return at ? le32_load(at) : 0;
}

uint64_t reader_le64(struct reader *reader) {
  const unsigned char *at = reader_bytes(reader, 8);
  return at ? le64_load(at) : 0;
}

uint64_t reader_varint(struct reader *reader) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const uint8_t byte = reader_u8(reader);
    if (shift == 63 && byte > 1)
      break;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return reader->failed ? 0 : value;
  }
  reader->failed = true;
  return 0;
}

const unsigned char *reader_string(struct reader *reader, size_t *size) {
  const uint64_t length = reader_varint(reader);
  const unsigned char *at = length <= reader_left(reader) ? reader_bytes(reader, (size_t)length) : NULL;
  if (!at)
    reader->failed = true;
  *size = at ? (size_t)length : 0;
  return at;
}

uint64_t checksum(const void *data, size_t size) {
  return XXH3_64bits(data, size);
}

uint64_t checksum_fold(uint64_t so_far, const void *data, size_t size) {
  return XXH3_64bits_withSeed(data, size, so_far);
}
