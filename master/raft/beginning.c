/* beginning.c: what a log begins with: the first membership, or a state that was made elsewhere. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/raft/driver.h"
#include "master/raft/wal_format.h"

/* The place of the member with the n-th lowest id. */
static size_t member_in_order(const struct raft_journal_options *options, size_t n) {
  for (size_t i = 0; i < options->member_count; i++) {
    size_t lower = 0;
    for (size_t k = 0; k < options->member_count; k++)
      lower += options->members[k] < options->members[i];
    if (lower == n)
      return i;
  }
  assert(false && "no id is there twice");
  return 0;
}

void driver_encode_members(const struct raft_journal_options *options, struct bytes *encoded) {
  struct raft_configuration configuration;
  raft_configuration_init(&configuration);
  for (size_t i = 0; i < options->member_count; i++) {
    const size_t at = member_in_order(options, i);
    char number[24];
    snprintf(number, sizeof number, "%" PRIu64, options->members[at]);
    const char *address = options->addresses ? options->addresses[at] : number;
    const int added = raft_configuration_add(&configuration, options->members[at], address, RAFT_VOTER);
    assert(added == 0);
  }
  struct raft_buffer buffer;
  const int status = raft_configuration_encode(&configuration, &buffer);
  assert(status == 0);
  bytes_append(encoded, buffer.base, buffer.len);
  raft_configuration_close(&configuration);
  raft_free(buffer.base);
}

/* The first segment, with nothing in it but its opening: what follows goes to the next one. */
void raft_journal_encode_beginning(const struct raft_journal_options *options, uint64_t index, uint64_t term,
                                   struct bytes *segment) {
  assert(index > 0 && term > 0 && segment->size == 0);
  struct bytes members = {0}, opening = {0};
  driver_encode_members(options, &members);
  const struct wal_opening begins = {.cluster = options->cluster,
                                     .node = options->id,
                                     .base_index = index,
                                     .base_term = term,
                                     .term = term,
                                     .configuration_index = index,
                                     .configuration = members.data,
                                     .configuration_size = members.size};
  wal_encode_opening(&opening, &begins);
  const struct wal_record record = {
      .type = WAL_SEGMENT, .size = (uint32_t)opening.size, .checksum = checksum(opening.data, opening.size)};
  const struct wal_frame frame = {
      .segment = 1, .record_count = 1, .size = WAL_FRAME_HEADER + wal_record_size(opening.size)};
  unsigned char *at = bytes_reserve(segment, (size_t)frame.size);
  memset(at, 0, (size_t)frame.size);
  wal_encode_record(at + WAL_FRAME_HEADER, &record);
  memcpy(at + WAL_FRAME_HEADER + WAL_RECORD_HEADER, opening.data, opening.size);
  wal_encode_frame(at, &frame, checksum_fold(0, at + WAL_FRAME_HEADER, WAL_RECORD_HEADER));
  segment->size += (size_t)frame.size;
  bytes_free(&members);
  bytes_free(&opening);
}
