#include "master/raft/wal_format.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { OPENING_RESET = 1 };

void wal_encode_record(unsigned char at[WAL_RECORD_HEADER], const struct wal_record *record) {
  memset(at, 0, WAL_RECORD_HEADER);
  at[0] = record->type;
  at[1] = record->entry_type;
  le32_store(at + 4, record->size);
  le64_store(at + 8, record->index);
  le64_store(at + 16, record->term);
  le64_store(at + 24, record->checksum);
}

void wal_encode_frame(unsigned char at[WAL_FRAME_HEADER], const struct wal_frame *frame,
                      uint64_t body_checksum) {
  assert(frame->size >= WAL_FRAME_HEADER && frame->size % 8 == 0);
  le64_store(at + 8, frame->segment);
  le32_store(at + 16, frame->number);
  le32_store(at + 20, frame->record_count);
  le64_store(at + 24, frame->size);
  le64_store(at + 32, body_checksum);
  le64_store(at, checksum(at + 8, WAL_FRAME_HEADER - 8));
}

void wal_encode_opening(struct bytes *to, const struct wal_opening *opening) {
  bytes_append_le32(to, WAL_FORMAT);
  bytes_append_le32(to, opening->reset ? OPENING_RESET : 0);
  bytes_append_le64(to, opening->cluster);
  bytes_append_le64(to, opening->node);
  bytes_append_le64(to, opening->reserve);
  bytes_append_le64(to, opening->base_index);
  bytes_append_le64(to, opening->base_term);
  bytes_append_le64(to, opening->term);
  bytes_append_le64(to, opening->vote);
  bytes_append_le64(to, opening->configuration_index);
  bytes_append(to, opening->configuration, opening->configuration_size);
}

int wal_decode_opening(const void *data, size_t size, struct wal_opening *opening) {
  struct reader reader = reader_make(data, size);
  const uint32_t format = reader_le32(&reader);
  const uint32_t flags = reader_le32(&reader);
  opening->reset = flags & OPENING_RESET;
  opening->cluster = reader_le64(&reader);
  opening->node = reader_le64(&reader);
  opening->reserve = reader_le64(&reader);
  opening->base_index = reader_le64(&reader);
  opening->base_term = reader_le64(&reader);
  opening->term = reader_le64(&reader);
  opening->vote = reader_le64(&reader);
  opening->configuration_index = reader_le64(&reader);
  opening->configuration_size = reader_left(&reader);
  opening->configuration = reader.at;
  if (reader.failed || format != WAL_FORMAT || flags > OPENING_RESET)
    return ERR_CORRUPT;
  return 0;
}

/* Whether the header at `offset` is one of ours; fills the frame. Its body is not looked at. */
static bool read_frame_header(const struct bytes *content, uint64_t offset, uint64_t segment,
                              struct wal_frame *frame) {
  if (offset > content->size || content->size - offset < WAL_FRAME_HEADER)
    return false;
  const unsigned char *at = content->data + offset;
  if (le64_load(at + 8) != segment || le64_load(at) != checksum(at + 8, WAL_FRAME_HEADER - 8))
    return false;
  *frame = (struct wal_frame){.segment = segment,
                              .number = le32_load(at + 16),
                              .record_count = le32_load(at + 20),
                              .size = le64_load(at + 24)};
  return true;
}

/* Each byte is the one before it, and the first is zero: as fast as memory is read. */
static bool all_zero(const unsigned char *at, uint64_t size) {
  return size == 0 || (at[0] == 0 && memcmp(at, at + 1, (size_t)size - 1) == 0);
}

bool wal_read_frame(const struct bytes *content, uint64_t offset, uint64_t segment, struct wal_frame *frame) {
  if (!read_frame_header(content, offset, segment, frame) || frame->size % 8 != 0 ||
      frame->size < WAL_FRAME_HEADER || frame->size > content->size - offset)
    return false;
  const uint64_t end = offset + frame->size;
  uint64_t at = offset + WAL_FRAME_HEADER;
  uint64_t body = 0;
  for (uint32_t i = 0; i < frame->record_count; i++) {
    if (end - at < WAL_RECORD_HEADER)
      return false;
    const unsigned char *header = content->data + at;
    const uint32_t size = le32_load(header + 4);
    if (end - at < wal_record_size(size))
      return false;
    const unsigned char *payload = header + WAL_RECORD_HEADER;
    if (checksum(payload, size) != le64_load(header + 24) || !all_zero(payload + size, wal_padding(size)))
      return false;
    body = checksum_fold(body, header, WAL_RECORD_HEADER);
    at += wal_record_size(size);
  }
  return at == end && body == le64_load(content->data + offset + 32);
}

struct wal_record wal_read_record(const struct bytes *content, uint64_t *offset) {
  assert(content->size - *offset >= WAL_RECORD_HEADER);
  const unsigned char *at = content->data + *offset;
  const struct wal_record record = {.type = at[0],
                                    .entry_type = at[1],
                                    .size = le32_load(at + 4),
                                    .index = le64_load(at + 8),
                                    .term = le64_load(at + 16),
                                    .checksum = le64_load(at + 24),
                                    .payload = at + WAL_RECORD_HEADER,
                                    .offset = *offset + WAL_RECORD_HEADER};
  *offset += wal_record_size(record.size);
  assert(*offset <= content->size);
  return record;
}

enum wal_end wal_judge_end(const struct bytes *content, uint64_t offset, uint64_t segment, uint32_t number,
                           uint64_t *behind) {
  if (offset >= content->size || all_zero(content->data + offset, content->size - offset))
    return WAL_END_CLEAN;
  /* A sound header tells how far its broken body reaches; payloads, which clients choose, are not searched.
   */
  struct wal_frame frame;
  uint64_t at = offset + 8;
  if (read_frame_header(content, offset, segment, &frame) && frame.number == number && frame.size % 8 == 0 &&
      frame.size >= WAL_FRAME_HEADER)
    at = frame.size > content->size - offset ? content->size : offset + frame.size;
  for (; at + WAL_FRAME_HEADER <= content->size; at += 8) {
    if (wal_read_frame(content, at, segment, &frame) && frame.number > number) {
      *behind = at;
      return WAL_END_ROT;
    }
  }
  return WAL_END_TORN;
}

void wal_segment_name(uint64_t number, char name[WAL_NAME_SIZE]) {
  snprintf(name, WAL_NAME_SIZE, "log-%016" PRIx64, number);
}

bool wal_parse_name(const char *name, uint64_t *number) {
  char again[WAL_NAME_SIZE];
  if (strncmp(name, "log-", 4) != 0 || strlen(name) != 20)
    return false;
  *number = strtoull(name + 4, NULL, 16);
  wal_segment_name(*number, again);
  return strcmp(name, again) == 0;
}
