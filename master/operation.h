/* operation.h: a request to the namespace and its answer, as the master's core sees them. No I/O, no
 * protobuf. */
#ifndef ASSAY_MASTER_OPERATION_H
#define ASSAY_MASTER_OPERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum operation_code {
  OP_MKDIR = 1,
  OP_CREATE,
  OP_COMPLETE,
  OP_DELETE,
  OP_RENAME,
  OP_SET,
  OP_STAT,
  OP_LIST,
  OP_EXISTS,
  OP_RESERVE_CLIENTS, /* allocates client numbers; a mutation without an op id */
  OP_ADD_BLOCK,
  OP_COMMIT_BLOCK,
  OP_BLOCKS,
  OP_BATCH,
  OP_REGISTER_WORKER, /* makes a worker known; a mutation without an op id, told apart by its nonce */
  OP_WORKER_REPORT,   /* what a worker has; answers which of its blocks do not exist (any more) */
  OP_LOCATE,          /* as OP_BLOCKS, and where the blocks are */
  OP_WORKERS,
  OP_MOUNT = 20, /* a directory of the under-store, as a directory of the namespace */
  OP_UNMOUNT,
  OP_MOUNTS,    /* reads the mount table */
  OP_PERSISTED, /* a file's content is in the under-store too */
  OP_CODES
};

/* Numbers between those above are reserved. */
static inline bool op_is_known(unsigned code) {
  return (code >= OP_MKDIR && code <= OP_WORKERS) || (code >= OP_MOUNT && code < OP_CODES);
}

/* Reads of the tables alone, which every node has; what is known of workers, the primary has alone. */
static inline bool op_is_of_tables(enum operation_code code) {
  return code == OP_STAT || code == OP_LIST || code == OP_EXISTS || code == OP_BLOCKS || code == OP_MOUNTS;
}

static inline bool op_is_read(enum operation_code code) {
  return op_is_of_tables(code) || code == OP_WORKER_REPORT || code == OP_LOCATE || code == OP_WORKERS;
}

/* What may stand in a batch. */
static inline bool op_is_batchable(enum operation_code code) {
  return (code >= OP_MKDIR && code <= OP_SET) || code == OP_COMMIT_BLOCK;
}

#define BATCH_ITEMS_LIMIT 1024    /* a batch of more is invalid */
#define REPORT_LIMIT 512          /* blocks of one report, held and removed ones each; more is invalid */
#define WORKER_ADDRESS_LIMIT 255u /* bytes */

/* Bytes owned by somebody else, not NUL-terminated. */
struct slice {
  const char *data;
  size_t size;
};

struct request {
  enum operation_code code;
  uint64_t op_id;           /* mutations: client number << 32 | sequence */
  uint64_t retry_floor;     /* lowest op id this client may still retry: what is below may be forgotten */
  struct slice path;        /* rename: src */
  struct slice destination; /* mount: the directory; persisted: where the content is, in the under-store */
  struct slice value;
  bool parents, exist_ok, overwrite, recursive, has_if_version;
  bool any; /* op_is_of_tables(): a node that is not the primary may answer, as linearizably */
  uint64_t if_version;
  uint64_t length;  /* complete, commit-block */
  uint64_t block;   /* commit-block; no path then */
  uint64_t worker;  /* commit-block, register-worker, worker-report */
  uint64_t creator; /* persisted: of the file whose content it is */
  uint32_t count;   /* reserve clients */
  /* batch: mutations in order, without op ids of their own, and none that is not op_is_batchable() */
  const struct request *items;
  size_t item_count;
  /* register-worker: `worker` is a client number that it reserved, so no retry makes two of one */
  struct slice address; /* where clients reach it, "host:port" */
  uint64_t capacity;    /* bytes it may hold */
  uint64_t nonce;       /* of this run of it: with the same one again, nothing changes */
  /* worker-report */
  uint64_t epoch; /* that its registration answered */
  uint64_t free_bytes, stored_bytes;
  const uint64_t *held, *removed; /* block ids: some that it has, and some that it has no more */
  size_t held_count, removed_count;
};

enum answer_status {
  STATUS_OK,
  STATUS_INVALID, /* up to version mismatch: observations of the state, docs/specification.md */
  STATUS_NOT_FOUND,
  STATUS_NOT_DIRECTORY,
  STATUS_IS_DIRECTORY,
  STATUS_EXISTS,
  STATUS_NOT_EMPTY,
  STATUS_ALREADY_COMPLETED,
  STATUS_BLOCK_UNCOMMITTED,
  STATUS_VERSION_MISMATCH, /* with `version` */
  STATUS_NOT_PRIMARY,      /* took no effect, says nothing; `leader` is a hint */
  STATUS_OVERLOADED,       /* the same */
  STATUS_UNAVAILABLE,      /* unknown outcome */
};

struct answer_entry {
  struct slice name;
  bool is_file;
  uint64_t creator;
};

struct answer_block {
  uint64_t block;
  uint64_t length;
  bool committed; /* false: it has no length */
};

/* Of locate: a live worker that has the block, by their places in the answer's blocks and workers. */
struct answer_place {
  uint32_t block, worker;
};

struct answer_worker {
  uint64_t id, epoch;
  struct slice address;
  uint64_t capacity;
  /* -- as the primary heard of it since it is that; else 0 -- */
  bool live;        /* within its lease */
  int64_t heard_ns; /* since it was heard of; -1: never */
  uint64_t free_bytes, stored_bytes, blocks;
};

struct answer_mount {
  struct slice path, directory;
  uint64_t creator; /* the op id of the mount, and of everything that was loaded below it */
};

/* What it points to is valid until the function that got it returns. */
struct answer {
  enum answer_status status;
  uint64_t term, commit; /* the index whose state this answer reflects: a hint for the checker */
  uint64_t leader;       /* node id, 0 when unknown */
  uint64_t creator, version;
  bool is_file, completed, exists;
  uint64_t length, block_count, child_count;
  struct slice value;
  const struct answer_entry *entries;
  size_t entry_count;
  uint32_t first_client; /* reserve clients */
  uint64_t block;        /* add-block */
  const struct answer_block *blocks;
  size_t block_entry_count;
  uint32_t at;             /* a batch that failed: the item that did, from 0 */
  const uint64_t *numbers; /* a batch that succeeded: what each item answers, creator or version, else 0 */
  size_t number_count;
  /* -- workers; the epoch of a registration is its version -- */
  bool registered;      /* of a report: the primary knows the worker; else it is to register again */
  int64_t lease_ns;     /* of a registration and a report */
  const uint64_t *gone; /* of a report: which of the held blocks do not exist */
  size_t gone_count;
  const struct answer_worker *workers;
  size_t worker_count;
  const struct answer_place *places; /* in order of blocks */
  size_t place_count;
  /* stat: where the under-store has the file; size 0: nowhere that is known */
  struct slice source;
  const struct answer_mount *mounts; /* mounts: in the order they were made */
  size_t mount_count;
  const char *message; /* static: more than the status says, for people; NULL: nothing */
};

#endif
