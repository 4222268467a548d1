/* records.h: what stands in the rows of the tables, and their keys.
 *
 *   inodes      be64 id                 → kind, creator, version, mtime, length or children, parent, the ends
 *                                         of the chain of its blocks, where it is in the under-store,
 *                                         value
 *   edges       be64 parent ++ name     → child id, kind, creator (so that a listing reads edges alone)
 *   blocks      be64 block id           → the file it belongs to, the next block of that file, length
 *   workers     "w" ++ be64 id          → epoch, nonce, capacity, address
 *   operations  be64 op id              → first answer
 *               be64 client << 32       → the client: lowest sequence not forgotten, when it was last seen
 *   meta        "a"                     → applied index and term, counters
 *               "d" ++ be64 id          → (empty) the root of a deleted subtree, or a deleted file with
 * blocks, that is still to be reclaimed
 *               "m"                     → the mount table
 *
 * Numbers in values are varints. Encoders append to `out`; decoders return false on bytes no encoder made. */
#ifndef ASSAY_MASTER_RECORDS_H
#define ASSAY_MASTER_RECORDS_H

#include "base/base.h"
#include "master/operation.h"
#include "master/store.h"

#define ROOT_INODE 1

/* A key being built. */
struct row_key {
  uint16_t size;
  unsigned char bytes[8 + 255];
};

struct row_key inode_key(uint64_t inode);
struct row_key edge_key(uint64_t parent, struct slice name);
struct row_key block_key(uint64_t block);
struct row_key operation_key(uint64_t op_id);
struct row_key client_key(uint32_t client);
struct row_key detached_key(uint64_t inode);
struct row_key worker_key(uint64_t worker);
struct row_key mounts_key(void);
#define DETACHED_PREFIX 'd'
#define APPLIED_PREFIX 'a'
#define WORKER_PREFIX 'w'

/* What is never allocated twice, and the clock of expiry. Part of every batch, so that it survives
 * failover. */
struct counters {
  uint64_t next_inode;
  uint64_t next_client; /* client numbers below have been handed out */
  uint64_t inodes;      /* rows in the inode table */
  uint64_t blocks;      /* rows in the block table */
  uint64_t clock_ns;    /* time during which there was a primary: clients idle by it are forgotten */
};

/* The blocks of a file: a chain through the block table, so that adding one costs the same however many there
 * are. All zero: none. */
struct block_chain {
  uint64_t first, last; /* block ids */
  uint64_t count, uncommitted;
  uint64_t length; /* of the committed ones together, bytes */
};

struct inode_record {
  bool is_file, completed;
  uint64_t creator, version;
  uint64_t length;           /* of a file, bytes */
  uint64_t child_count;      /* of a directory */
  int64_t mtime_ns;          /* since the epoch; never goes back for one inode */
  uint64_t parent;           /* the directory with its name; 0: the root, or detached */
  struct block_chain blocks; /* of a file */
  /* A directory of the under-store whose names are not all here: nothing below it may be looked at. It was
   * not changed since it was made, so it has no value. */
  bool unloaded;
  bool persisted;      /* a file: the under-store has its content */
  struct slice source; /* of both: the path in the under-store */
  struct slice value;
};

struct block_record {
  uint64_t inode;
  uint64_t next; /* block id, 0: the last of its file */
  bool committed;
  uint64_t length;
};

struct worker_record {
  uint64_t epoch; /* how often it was registered */
  uint64_t nonce; /* of the last time */
  uint64_t capacity;
  struct slice address;
};

struct edge_record {
  uint64_t child;
  bool is_file, has_blocks;
  bool unloaded; /* a directory that may be unloaded: its inode tells */
  uint64_t creator;
};

struct mount_record {
  struct slice path, directory;
  uint64_t creator;
};
#define MOUNTS_LIMIT 64 /* at one time */

struct operation_record {
  enum operation_code code;
  enum answer_status status;
  uint64_t number;         /* the answer's creator or version, whichever `code` and `status` have */
  uint32_t at;             /* of a batch that failed */
  const uint64_t *numbers; /* of a batch; decoding leaves it alone, see operation_decode_numbers() */
  size_t number_count;
};

struct client_record {
  uint32_t floor;  /* operations below this sequence are forgotten and refused */
  uint64_t seen_s; /* counters.clock_ns in seconds when it was last heard of, coarsely */
};

struct applied_record {
  uint64_t index, term;
  struct counters counters;
};

void inode_encode(struct bytes *out, const struct inode_record *inode);
/* `value` and `source` point into the row. */
bool inode_decode(struct slice row, struct inode_record *inode);
void edge_encode(struct bytes *out, const struct edge_record *edge);
bool edge_decode(struct slice row, struct edge_record *edge);
void block_encode(struct bytes *out, const struct block_record *block);
bool block_decode(struct slice row, struct block_record *block);
void worker_encode(struct bytes *out, const struct worker_record *worker);
bool worker_decode(struct slice row, struct worker_record *worker); /* `address` points into the row */
void mount_encode(struct bytes *out, const struct mount_record *mount);
/* The next mount of the table's row; false at its end, and on malformed bytes, which set reader->failed. */
bool mount_decode(struct reader *reader, struct mount_record *mount);
void operation_encode(struct bytes *out, const struct operation_record *operation);
bool operation_decode(struct slice row, struct operation_record *operation);
/* The numbers of a batch's row that was decoded: `numbers` has room for its number_count. */
void operation_decode_numbers(struct slice row, const struct operation_record *operation, uint64_t *numbers);
void client_encode(struct bytes *out, const struct client_record *client);
bool client_decode(struct slice row, struct client_record *client);
void applied_encode(struct bytes *out, const struct applied_record *applied);
bool applied_decode(struct slice row, struct applied_record *applied);
void counters_encode(struct bytes *out, const struct counters *counters);
void counters_decode(struct reader *reader, struct counters *counters);

#endif
