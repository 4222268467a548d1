/* frame_print.c: frames between journals on libraft 0.15 in words, for whoever looks on. */
#include <inttypes.h>
#include <raft.h>
#include <stdio.h>

#include "simulator/canonical/canonical_journal.h"

#define HEADER 40 /* checksum, cluster, sender, life, number */

static void print_append(struct reader *reader, char *out, size_t size) {
  const uint64_t term = reader_le64(reader), index = reader_le64(reader), index_term = reader_le64(reader);
  const uint64_t commit = reader_le64(reader);
  const uint32_t count = reader_le32(reader);
  if (count == 0) {
    snprintf(out, size, "append, term %" PRIu64 ": nothing after %" PRIu64 "/%" PRIu64 ", committed %" PRIu64,
             term, index, index_term, commit);
    return;
  }
  uint64_t first_term = 0, last_term = 0;
  for (uint32_t i = 0; i < count && !reader->failed; i++) {
    size_t ignored;
    last_term = reader_le64(reader);
    first_term = i == 0 ? last_term : first_term;
    (void)reader_u8(reader);
    (void)reader_string(reader, &ignored);
  }
  snprintf(out, size,
           "append, term %" PRIu64 ": entries %" PRIu64 "/%" PRIu64 " to %" PRIu64 "/%" PRIu64
           " after %" PRIu64 "/%" PRIu64 ", committed %" PRIu64,
           term, index + 1, first_term, index + count, last_term, index, index_term, commit);
}

static void print_append_result(struct reader *reader, char *out, size_t size) {
  const uint64_t term = reader_le64(reader), rejected = reader_le64(reader), last = reader_le64(reader);
  if (rejected > 0)
    snprintf(out, size, "appended, term %" PRIu64 ": no, not after %" PRIu64 ", my log ends at %" PRIu64,
             term, rejected, last);
  else
    snprintf(out, size, "appended, term %" PRIu64 ": yes, up to %" PRIu64, term, last);
}

static void print_vote(struct reader *reader, char *out, size_t size) {
  const uint64_t term = reader_le64(reader), candidate = reader_le64(reader);
  const uint64_t index = reader_le64(reader), index_term = reader_le64(reader);
  const bool pre_vote = reader_u8(reader) & 2;
  snprintf(out, size, "%s, term %" PRIu64 ": for n%" PRIu64 ", whose log ends at %" PRIu64 "/%" PRIu64,
           pre_vote ? "pre-vote" : "vote", term, candidate, index, index_term);
}

static void print_vote_result(struct reader *reader, char *out, size_t size) {
  const uint64_t term = reader_le64(reader);
  const bool granted = reader_u8(reader);
  const bool pre_vote = reader_u8(reader) == raft_tribool_true;
  snprintf(out, size, "%s, term %" PRIu64 ": %s", pre_vote ? "pre-voted" : "voted", term,
           granted ? "yes" : "no");
}

void canonical_frame_print(const void *frame, size_t frame_size, char *out, size_t size) {
  struct reader reader = reader_make(frame, frame_size);
  (void)reader_bytes(&reader, HEADER);
  const uint8_t type = reader_u8(&reader);
  out[0] = '\0';
  switch (type) {
  case RAFT_IO_APPEND_ENTRIES:
    print_append(&reader, out, size);
    break;
  case RAFT_IO_APPEND_ENTRIES_RESULT:
    print_append_result(&reader, out, size);
    break;
  case RAFT_IO_REQUEST_VOTE:
    print_vote(&reader, out, size);
    break;
  case RAFT_IO_REQUEST_VOTE_RESULT:
    print_vote_result(&reader, out, size);
    break;
  case RAFT_IO_INSTALL_SNAPSHOT: {
    const uint64_t term = reader_le64(&reader), index = reader_le64(&reader);
    snprintf(out, size, "snapshot, term %" PRIu64 ": up to %" PRIu64 "/%" PRIu64, term, index,
             reader_le64(&reader));
    break;
  }
  case RAFT_IO_TIMEOUT_NOW:
    snprintf(out, size, "stand for election, term %" PRIu64, reader_le64(&reader));
    break;
  }
  if (reader.failed)
    snprintf(out, size, "not one of ours");
}
