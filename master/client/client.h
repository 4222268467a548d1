/* client.h: the client door of the master: how a program asks a master cluster, on a libuv loop.
 *
 * A client finds the primary, pipelines, retries with the same op id while that is safe, and reports exactly
 * one of four outcomes per request (docs/specification.md, "What a client may conclude"). It holds one
 * connection at a time; whoever wants more independence opens more clients. */
#ifndef ASSAY_MASTER_CLIENT_H
#define ASSAY_MASTER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/base.h"

enum master_operation {
  MASTER_MKDIR,
  MASTER_CREATE,
  MASTER_COMPLETE,
  MASTER_DELETE,
  MASTER_RENAME,
  MASTER_SET,
  MASTER_STAT,
  MASTER_LIST,
  MASTER_EXISTS,
  MASTER_ADD_BLOCK,
  MASTER_COMMIT_BLOCK,
  MASTER_BLOCKS,
  MASTER_BATCH,
  MASTER_LOCATE,  /* as MASTER_BLOCKS, and which live workers have the blocks */
  MASTER_WORKERS, /* all workers there are; takes no path */
  MASTER_MOUNT,   /* a directory of the under-store (`destination`) at `path` */
  MASTER_UNMOUNT,
  MASTER_MOUNTS,    /* takes no path */
  MASTER_PERSISTED, /* the content of the file at `path` that `creator` made is in the under-store too */
};

static inline bool master_operation_is_read(enum master_operation operation) {
  return (operation >= MASTER_STAT && operation <= MASTER_EXISTS) || operation == MASTER_BLOCKS ||
         operation == MASTER_LOCATE || operation == MASTER_WORKERS || operation == MASTER_MOUNTS;
}

/* A batch of more operations, or of more than about 250 KB in all, is none. */
#define MASTER_BATCH_LIMIT 1024

/* Strings are NUL-terminated and belong to the caller until the call returns. */
struct master_request {
  enum master_operation operation;
  uint64_t op_id; /* of a mutation: client number << 32 | sequence, sequences of a client ascending from 1 */
  const char *path;
  const char *destination; /* rename; mount: the directory; persisted: where, in the under-store */
  const char *value;       /* set */
  bool parents, exist_ok, overwrite, recursive;
  bool has_if_version;
  uint64_t if_version;
  uint64_t length;  /* complete, commit-block: bytes */
  uint64_t block;   /* commit-block: its id; there is no path then */
  uint64_t creator; /* persisted */
  uint64_t worker;  /* commit-block: which worker has it, 0: not told */
  /* batch: mutations, none of them add-block or batch; their op ids are not looked at, they share the batch's
   */
  const struct master_request *items;
  size_t item_count;
};

enum master_outcome {
  MASTER_OK,
  MASTER_FAIL,      /* took no effect; the error is an observation of the state */
  MASTER_UNCHECKED, /* took no effect and says nothing of the state */
  MASTER_INFO,      /* unknown: may take effect at any later time, or never */
};

enum master_error {
  MASTER_ERROR_NONE,
  MASTER_ERROR_INVALID,
  MASTER_ERROR_NOT_FOUND,
  MASTER_ERROR_NOT_DIRECTORY,
  MASTER_ERROR_IS_DIRECTORY,
  MASTER_ERROR_EXISTS,
  MASTER_ERROR_NOT_EMPTY,
  MASTER_ERROR_ALREADY_COMPLETED,
  MASTER_ERROR_BLOCK_UNCOMMITTED,
  MASTER_ERROR_VERSION_MISMATCH,
  MASTER_ERROR_NOT_PRIMARY,
  MASTER_ERROR_OVERLOADED,
  MASTER_ERROR_REFUSED,
  MASTER_ERROR_TIMEOUT,
  MASTER_ERROR_CONNECTION_LOST,
  MASTER_ERROR_UNAVAILABLE,
  MASTER_ERROR_OTHER,
};

const char *master_error_name(enum master_error error); /* "not-found": as in a history */

struct master_entry {
  const char *name; /* NUL-terminated (names contain no NUL) */
  bool is_file;
  uint64_t creator;
};

struct master_block {
  uint64_t block;
  uint64_t length;
  bool committed; /* false: it has no length */
  /* locate: who has it, by place in the answer's workers */
  const uint32_t *workers;
  size_t worker_count;
};

/* What the primary has heard of a worker since it is that: hearsay, good for knowing where to look. */
struct master_worker {
  uint64_t id;
  const char *address; /* "host:port" for the data of files, see data.h */
  bool live;           /* heard of within its lease */
  int64_t heard_ns;    /* since then; -1: never */
  uint64_t capacity, free_bytes, stored_bytes;
  uint64_t blocks;
};

struct master_mount {
  const char *path, *directory;
  uint64_t creator; /* of everything that was loaded below it */
};

/* The answer; valid during the callback only. Members beyond outcome, error and node are those of the
 * operation's answer in the specification. */
struct master_answer {
  enum master_outcome outcome;
  enum master_error error;
  uint64_t node; /* id of the node that answered, 0 when none did */
  uint64_t term, commit;
  uint64_t creator, version;
  bool is_file, completed, exists;
  uint64_t length, block_count, child_count;
  const char *value;
  const struct master_entry *entries;
  size_t entry_count;
  uint64_t block; /* add-block: the id */
  const struct master_block *blocks;
  size_t block_entry_count;
  size_t at; /* a batch that failed: the operation that did, from 0 */
  /* A batch that succeeded: what each of its operations answers: the creator (mkdir, create), the version
   * (complete, set), or 0. */
  const uint64_t *numbers;
  size_t number_count;
  const char *source;  /* stat: where the under-store has the file; NULL or empty: nowhere */
  const char *message; /* more than the error says, for people; NULL: nothing */
  const struct master_mount *mounts;
  size_t mount_count;
  const struct master_worker *workers; /* locate: those that its blocks name; workers: all */
  size_t worker_count;
};

struct master_client;
struct tls_context;

struct master_client_options {
  const char *const *addresses; /* "host:port" of every node's client port, in node order; numeric hosts */
  size_t address_count;
  size_t preferred;           /* index of the address to try first */
  int64_t request_timeout_ns; /* a request's whole time, retries included; 0: the default (2 s) */
  int64_t connect_timeout_ns; /* 0: the default (500 ms; with TLS 1 s) */
  int64_t attempt_timeout_ns; /* silence after which a connection is given up and the request retried
                                 elsewhere; 0: the default (1 s) */
  bool only_given;            /* nodes that the given ones name are not asked: not learnt of */
  uint64_t cluster;           /* the cluster that nodes must be of; 0: that of the first that answers */
  bool retry;                 /* false: a request is sent once, to whoever is connected */
  /* For reads alone: any node answers them, as linearizably as the primary. The client stays with the node
   * it is connected to, a standby too, and goes on to the next when that does not answer or says that it
   * cannot. */
  bool any_node;
  /* What to prove oneself with (master/rpc/tls.h); not owned, outlives the client. NULL: without TLS. */
  struct tls_context *tls;
};

int master_client_open(uv_loop_t *loop, const struct master_client_options *options,
                       struct master_client **client, struct error *error);

/* The cluster that the client has found; 0: none yet. */
uint64_t master_client_cluster(const struct master_client *client);

typedef void master_answer_callback(void *context, const struct master_answer *answer);

/* Sends a request; any number may be outstanding. The callback comes exactly once, from the loop, within the
 * request's time-out. Requests of one client that were submitted in one turn of the loop leave in one write.
 */
void master_client_submit(struct master_client *client, const struct master_request *request,
                          master_answer_callback *callback, void *context);

/* Asks the cluster for `count` client numbers nobody ever had (journalled); the callback gets the first, or 0
 * and an outcome other than MASTER_OK. */
void master_client_reserve(struct master_client *client, uint32_t count,
                           void (*callback)(void *context, uint32_t first,
                                            const struct master_answer *answer),
                           void *context);

enum node_role { NODE_UNREACHABLE, NODE_STANDBY, NODE_CATCHING_UP, NODE_PRIMARY, NODE_STEPPING_DOWN };
const char *node_role_name(enum node_role role);

struct node_status {
  uint64_t id;
  enum node_role role;
  uint64_t term, leader, commit_index, applied_index, first_index, last_index, snapshot_index;
  uint64_t
      state_hash; /* of the tables at applied_index, when asked for; equal on all replicas at equal indexes */
  uint64_t inodes;
  int64_t uptime_ns;
  int64_t wall_ns; /* the node's own clock, since the epoch */
  /* Snapshots of its journal: what goes on, and how often since the node started: begun, in all, and brought
   * to an end. */
  bool taking_snapshot, sending_snapshot, installing_snapshot;
  uint64_t snapshots_begun, snapshots_taken, snapshots_sent, snapshots_installed;
};

/* Asks the one node at addresses[which] (no search for the primary, no retry). The callback gets role
 * NODE_UNREACHABLE when it did not answer in time. `with_hash` makes the node compute its state hash. */
void master_client_status(struct master_client *client, size_t which, bool with_hash,
                          void (*callback)(void *context, const struct node_status *status), void *context);

/* -- administration -- */

/* What can be asked of a node; the numbers are those of AdminKind in rpc.proto, which tells what each takes
 * and answers. */
enum admin_kind {
  ADMIN_QUORUM_INFO = 1,
  ADMIN_QUORUM_ADD = 2,
  ADMIN_QUORUM_PROMOTE = 3,
  ADMIN_QUORUM_DEMOTE = 4,
  ADMIN_QUORUM_REMOVE = 5,
  ADMIN_QUORUM_ELECT = 6,
  ADMIN_LOG_LEVEL = 40,  /* text: the level to set, NULL: none; answers with the level in force */
  ADMIN_REPORT = 41,     /* answers with the report */
  ADMIN_CHECKPOINT = 42, /* answers with the index of the snapshot taken */
  ADMIN_BACKUP_BEGIN =
      43, /* answers with the backup, held until the end, the client's close or a minute unread */
  ADMIN_BACKUP_READ = 44, /* file, offset; answers with data */
  ADMIN_BACKUP_END = 45,
};

/* Strings belong to the caller until the call returns. */
struct admin_request {
  enum admin_kind kind;
  const char *text;
  uint64_t node;   /* the member that it is about */
  uint32_t file;   /* number in the backup's files */
  uint64_t offset; /* a multiple of the backup's chunk */
};

enum quorum_role { QUORUM_VOTER, QUORUM_STANDBY, QUORUM_SPARE };
const char *quorum_role_name(enum quorum_role role); /* "voter" … */

struct quorum_member {
  uint64_t id;
  const char *address; /* HOST:PEER_PORT:CLIENT_PORT */
  enum quorum_role role;
  /* when the leader is asked; else 0 and -1 */
  uint64_t match_index; /* the last entry it is known to have */
  int64_t heard_ns;     /* since its last frame; -1: never */
};

/* The members of the journal as one node has them. */
struct quorum {
  uint64_t leader;     /* 0: not known */
  uint64_t index;      /* of the entry that says so; 0: the node knows of none yet */
  bool committed;      /* else that entry may be taken back */
  uint64_t last_index; /* of the node's log */
  const struct quorum_member *members;
  size_t count;
};

struct node_report {
  const char *version, *log_level;
  uint64_t resident_bytes;                   /* memory of the process */
  uint64_t disk_size_bytes, disk_free_bytes; /* of the data directory's file system */
  uint64_t descriptors, descriptor_limit;    /* limit 0: none */
  uint64_t sessions;
  uint64_t durable_index; /* up to where the tables are on the disk */
  uint64_t write_behind_bytes, cache_bytes;
  bool disk_full; /* the log has no room */
};

struct backup_file {
  const char *name;
  uint64_t size;
  uint64_t checksum; /* checksum_fold over pieces of `chunk` bytes */
};

struct backup {
  uint64_t cluster, index, term;
  uint32_t chunk; /* bytes of one answer */
  const struct backup_file *files;
  size_t file_count;
};

enum admin_status {
  ADMIN_DONE,
  ADMIN_REFUSED,     /* nothing was done */
  ADMIN_FAILED,      /* what was begun did not end well */
  ADMIN_UNREACHABLE, /* no answer in time: nobody knows whether it was done */
};

/* Valid during the callback only; strings are never NULL. */
struct admin_answer {
  enum admin_status status;
  uint64_t node;       /* id of the node that answered, 0 when none did */
  const char *message; /* why not, for people */
  const char *text;
  struct quorum quorum; /* of ADMIN_QUORUM_INFO; its leader of a refusal too */
  struct node_report report;
  struct backup backup; /* of a checkpoint: index only */
  const void *data;
  size_t size;
};

/* Makes one more node known, for requests and for questions to it alone: its place among the addresses. The
 * same address keeps its place; SIZE_MAX when the text is no address, or there are too many. */
size_t master_client_add_node(struct master_client *client, const char *address);

typedef void master_admin_callback(void *context, const struct admin_answer *answer);

/* Asks the one node at addresses[which], once. The callback comes exactly once, from the loop, after
 * `timeout_ns` (0: the client's attempt_timeout_ns) at the latest. */
void master_client_admin(struct master_client *client, size_t which, const struct admin_request *request,
                         int64_t timeout_ns, master_admin_callback *callback, void *context);

/* The manifest of a backup directory, for its file of this name (master/rpc/backup_manifest.h). */
#define MASTER_BACKUP_MANIFEST "manifest"
void master_backup_manifest(struct bytes *text, const struct backup *backup);

/* Outstanding requests end as they would by time-out, at once; then the client is gone and `closed` (may be
 * NULL) is called. */
void master_client_close(struct master_client *client, void (*closed)(void *context), void *context);

#endif
