/* wire.h: frames between journals.
 *
 *   ┌──────────┬─────────┬────────┬─────────┬──────┬───┬───────────┬───────────────┬─────────────┐
 *   │ checksum │ cluster │ sender │ version │ type │ 0 │ head size │ rest of head  │ payloads    │
 *   └──────────┴─────────┴────────┴─────────┴──────┴───┴───────────┴───────────────┴─────────────┘
 *        8          8        8         1        1    2       4
 *
 * The checksum covers the head behind it; the head carries the checksums of the payloads, which are the ones
 * the log stores, so that a payload is summed once on each node. Little-endian. A frame that is not whole,
 * sound and of this cluster is refused; nothing in it is trusted before. */
#ifndef ASSAY_MASTER_RAFT_WIRE_H
#define ASSAY_MASTER_RAFT_WIRE_H

#include <raft.h>
#include <sys/uio.h>

#include "base/base.h"
#include "master/journal.h"
#include "master/raft/wal.h"

#define WIRE_VERSION 3
#define WIRE_HEADER 32

enum wire_type {
  WIRE_APPEND = 1,
  WIRE_APPEND_RESULT,
  WIRE_VOTE,
  WIRE_VOTE_RESULT,
  WIRE_TIMEOUT_NOW,
  WIRE_MANIFEST,   /* a snapshot is offered: raft's InstallSnapshot, with the names and sums of its files */
  WIRE_PIECES,     /* asks for pieces of an offered snapshot */
  WIRE_PIECE,      /* one of them */
  WIRE_TERM_QUERY, /* read index: what is your term? */
  WIRE_TERM_REPLY,
  WIRE_READ_QUERY, /* a follower's read index: what is committed, if you lead? */
  WIRE_READ_REPLY,
};

/* The most a frame may hold of each: what is above is refused by sender and receiver. */
#define WIRE_ENTRIES 1024
#define WIRE_FILES 65536
#define WIRE_CONFIGURATION (64u << 10)

struct wire_manifest {
  uint64_t transfer; /* names this offer; a sender never uses one twice */
  uint64_t term;     /* the leader's */
  uint64_t index, index_term;
  uint64_t configuration_index;
  const unsigned char *configuration;
  size_t configuration_size;
  struct snapshot_file *files; /* decoded: allocated, see wire_release */
  size_t file_count;
};

/* "I have all before this place, and the file `end_file`: you may send some pieces of what is between." */
struct wire_pieces {
  uint64_t transfer;
  uint64_t file; /* file_count: everything was received */
  uint64_t offset;
  uint64_t end_file;
  bool again; /* pieces got lost: begin there even if they were sent */
};

struct wire_piece {
  uint64_t transfer;
  uint64_t file;
  uint64_t offset;
  const unsigned char *data;
  size_t size;
};

struct wire_query {
  uint64_t round;
  uint64_t term; /* of the sender of the frame */
};

struct wire_read {
  uint64_t round;      /* the asker's own number; the reply carries it */
  uint64_t term;       /* of the sender of the frame */
  uint64_t index;      /* of a reply: the read index, 0: the node does not lead that term */
  uint64_t index_term; /* of the entry there */
};

struct wire_message {
  enum wire_type type;
  uint64_t sender;
  union {
    struct raft_message raft; /* APPEND … TIMEOUT_NOW */
    struct wire_manifest manifest;
    struct wire_pieces pieces;
    struct wire_piece piece;
    struct wire_query query; /* TERM_QUERY and TERM_REPLY */
    struct wire_read read;   /* READ_QUERY and READ_REPLY */
  };
  /* APPEND with entries: the same entries twice, for raft and for the log. The payloads are copied out of the
   * frame into one batch. raft_entries[0].batch and entries[i].batch are that batch, with one reference in
   * all. */
  struct raft_entry *raft_entries;
  struct wal_entry *entries;
};

/* Memory that decoding reuses; all zero is valid. */
struct wire_scratch {
  struct raft_entry *raft_entries;
  struct wal_entry *entries;
  size_t capacity;
};

void wire_scratch_free(struct wire_scratch *scratch);

/* Understands a frame. ERR_CORRUPT or ERR_BAD_INPUT when it is not one of ours; nothing is allocated then.
 * The message points into `frame` and `scratch`. */
int wire_decode(const void *frame, size_t size, uint64_t cluster, struct wire_scratch *scratch,
                struct wire_message *message);
/* Frees a manifest's files. Batches are not touched. */
void wire_release(struct wire_message *message);

/* Encodes the head of a message into `head`, which is cleared first. For APPEND `entries` are the
 * raft.append_entries.n_entries entries, whose payloads must follow the head in order; for PIECE the data
 * must. */
void wire_encode(struct bytes *head, uint64_t cluster, const struct wire_message *message,
                 struct wal_entry *const *entries);

/* Whether raft can decode the membership in a change entry; raft itself trusts it. */
bool wire_configuration_is_sound(const void *data, size_t size);

#endif
