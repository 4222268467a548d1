/* wal_format.h: the bytes of the write-ahead log. Knows no file.
 *
 *   segment: a file "log-<number>", preallocated with zeros
 *   ┌───────────┬───────────┬───────────┬─ ─ ─ ─ ─
 *   │ frame 0   │ frame 1   │ frame 2   │ 0 0 0 …
 *   └───────────┴───────────┴───────────┴─ ─ ─ ─ ─
 *   frame: everything that one write made durable, all or nothing
 *   ┌──────────────┬───────────────┬─────────┬─────┬───────────────┬─────────┬─────┐
 *   │ frame header │ record header │ payload │ pad │ record header │ payload │ pad │ …
 *   └──────────────┴───────────────┴─────────┴─────┴───────────────┴─────────┴─────┘
 *
 * A frame is written only after the one before it is durable. So a broken frame with nothing sound behind it
 * is the torn end of the last write, which nobody was told of; a broken frame with a sound one behind it was
 * durable once and has rotted. Its header's checksum covers the header, its body's the record headers, and
 * those carry the checksums of the payloads: nothing is read that was not checked, and a payload is summed
 * once in its life. Everything is little-endian and aligned to 8 bytes. */
#ifndef ASSAY_MASTER_RAFT_WAL_FORMAT_H
#define ASSAY_MASTER_RAFT_WAL_FORMAT_H

#include "base/base.h"

#define WAL_FORMAT 1
#define WAL_FRAME_HEADER 40
#define WAL_RECORD_HEADER 32

enum wal_record_type {
  WAL_SEGMENT = 1, /* opens a segment: first record of frame 0, and nowhere else */
  WAL_TERM,        /* term, and in `index` the vote cast in it (0: none) */
  WAL_ENTRY,       /* a log entry; entries from its index on are void */
};

struct wal_record {
  uint8_t type;
  uint8_t entry_type; /* raft's */
  uint32_t size;      /* of the payload */
  uint64_t index;
  uint64_t term;
  uint64_t checksum; /* of the payload */
  const unsigned char *payload;
  uint64_t offset; /* of the payload in the segment */
};

struct wal_frame {
  uint64_t segment; /* number of the segment it was written to */
  uint32_t number;  /* counts from 0 in each segment */
  uint32_t record_count;
  uint64_t size; /* with header, bytes */
};

/* What the first record of a segment tells: all that is needed when older segments are gone. */
struct wal_opening {
  bool reset; /* the log before is void once the state holds `base_index`: a snapshot was installed */
  uint64_t cluster;
  uint64_t node;
  uint64_t reserve;    /* the file's size at its creation: a shorter one was cut */
  uint64_t base_index; /* the entry before the first of this segment, and its term */
  uint64_t base_term;
  uint64_t term;
  uint64_t vote;
  uint64_t configuration_index; /* the membership at base_index; 0 and empty before the first */
  const unsigned char *configuration;
  size_t configuration_size;
};

static inline uint64_t wal_padding(uint64_t size) {
  return -size & 7;
}

/* Bytes of a record in the log. */
static inline uint64_t wal_record_size(uint64_t payload_size) {
  return WAL_RECORD_HEADER + payload_size + wal_padding(payload_size);
}

void wal_encode_record(unsigned char at[WAL_RECORD_HEADER], const struct wal_record *record);

/* `body_checksum` folds the record headers in order, starting from 0. */
void wal_encode_frame(unsigned char at[WAL_FRAME_HEADER], const struct wal_frame *frame,
                      uint64_t body_checksum);

void wal_encode_opening(struct bytes *to, const struct wal_opening *opening);
/* `configuration` points into `data`. ERR_CORRUPT when it cannot be understood. */
int wal_decode_opening(const void *data, size_t size, struct wal_opening *opening);

/* Whether a whole and sound frame of that segment stands at `offset`. */
bool wal_read_frame(const struct bytes *content, uint64_t offset, uint64_t segment, struct wal_frame *frame);

/* The record that begins at `*offset` (of a frame that was read), and moves `*offset` behind it. */
struct wal_record wal_read_record(const struct bytes *content, uint64_t *offset);

enum wal_end {
  WAL_END_CLEAN, /* zeros or nothing */
  WAL_END_TORN,  /* the rest of a write that never was durable */
  WAL_END_ROT,   /* something durable is damaged: sound frames stand behind */
};

/* What stands from `offset` on, where no sound frame does. `number` is the frame number that was expected
 * there;
 * `*behind` is where the sound frame stands when the end is WAL_END_ROT. */
enum wal_end wal_judge_end(const struct bytes *content, uint64_t offset, uint64_t segment, uint32_t number,
                           uint64_t *behind);

/* "log-0000000000000001" for 1; false when a name is not of that form. */
#define WAL_NAME_SIZE 24
void wal_segment_name(uint64_t number, char name[WAL_NAME_SIZE]);
bool wal_parse_name(const char *name, uint64_t *number);

#endif
