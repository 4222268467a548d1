/* bytes.h: byte order, growable buffers, checksums. */
#ifndef ASSAY_BYTES_H
#define ASSAY_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Big-endian for keys (their byte order is their order), little-endian for everything else on disk and wire.
 */
static inline void be64_store(void *at, uint64_t value) {
  value = htobe64(value);
  memcpy(at, &value, sizeof value);
}
static inline uint64_t be64_load(const void *at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  return be64toh(value);
}
static inline void le64_store(void *at, uint64_t value) {
  value = htole64(value);
  memcpy(at, &value, sizeof value);
}
static inline uint64_t le64_load(const void *at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  return le64toh(value);
}
static inline void le32_store(void *at, uint32_t value) {
  value = htole32(value);
  memcpy(at, &value, sizeof value);
}
static inline uint32_t le32_load(const void *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return le32toh(value);
}

/* A growable run of bytes. All zero is a valid empty one. Memory that cannot be had ends the process:
 * everything that grows without bound is bounded where it is filled. */
struct bytes {
  unsigned char *data;
  size_t size;
  size_t capacity;
};

/* Makes room for `more` bytes behind the end and returns where they go; the size does not change. */
unsigned char *bytes_reserve(struct bytes *bytes, size_t more);
void bytes_append(struct bytes *bytes, const void *data, size_t size);
void bytes_append_u8(struct bytes *bytes, uint8_t value);
void bytes_append_le32(struct bytes *bytes, uint32_t value);
void bytes_append_le64(struct bytes *bytes, uint64_t value);
/* LEB128, 1 to 10 bytes. */
void bytes_append_varint(struct bytes *bytes, uint64_t value);
/* A varint length, then the bytes. */
void bytes_append_string(struct bytes *bytes, const void *data, size_t size);
void bytes_append_format(struct bytes *bytes, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first `size` bytes. */
void bytes_consume(struct bytes *bytes, size_t size);
/* Size becomes 0; the memory is kept. */
void bytes_clear(struct bytes *bytes);
void bytes_free(struct bytes *bytes);

/* Reads what bytes_append_… wrote. A read past the end or of a malformed varint sets `failed`, returns 0 or
 * NULL and stays there, so a decoder checks once, at its end. */
struct reader {
  const unsigned char *at;
  const unsigned char *end;
  bool failed;
};

struct reader reader_make(const void *data, size_t size);
uint8_t reader_u8(struct reader *reader);
uint32_t reader_le32(struct reader *reader);
uint64_t reader_le64(struct reader *reader);
uint64_t reader_varint(struct reader *reader);
/* The next `size` bytes, in place. */
const unsigned char *reader_bytes(struct reader *reader, size_t size);
/* A string written by bytes_append_string, in place. */
const unsigned char *reader_string(struct reader *reader, size_t *size);
size_t reader_left(const struct reader *reader);

/* XXH3, 64 bits: the checksum of everything Assay stores or sends. */
uint64_t checksum(const void *data, size_t size);
/* The checksum of more than one piece: fold the pieces in order, starting from 0. */
uint64_t checksum_fold(uint64_t so_far, const void *data, size_t size);

/* malloc, realloc and strdup that do not return NULL: without memory the process ends with EXIT_HARNESS. */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *memory, size_t size);
char *xstrdup(const char *text);

#endif
