/* primary.h: the pipeline of a master: evaluate, journal, apply, answer; and linearizable reads.
 *
 *   submit ─▶ evaluate on tables + uncommitted overlay ─▶ answer + effects ─▶ one batch a loop turn ─▶
 * journal │ committed answer ◀─ after the entry it depends on is committed ◀─ apply effects to tables ◀┘
 *
 * Nothing uncommitted is ever visible: an answer found against uncommitted changes (an error too) leaves when
 * those have committed. Reads: note, confirm leadership with a majority, wait until applied, read the
 * committed tables. Knows no socket, file or clock: see world.h. */
#ifndef ASSAY_MASTER_PRIMARY_H
#define ASSAY_MASTER_PRIMARY_H

#include "base/base.h"
#include "master/journal.h"
#include "master/operation.h"
#include "master/statistics.h"
#include "master/worker_registry.h"
#include "master/world.h"

struct row_store;   /* tables' storage, master/store.h: RocksDB, or memory in tests and the simulator */
struct under_store; /* where mounted directories are, master/under_store.h */
struct primary;

enum primary_role {
  ROLE_STANDBY,
  ROLE_CATCHING_UP, /* leads, but an entry of its own term is not applied yet */
  ROLE_PRIMARY,
  ROLE_STEPPING_DOWN, /* answers stop, what is in flight ends as unavailable, overlay and caches are dropped
                       */
};

struct primary_options {
  const struct world *world;
  struct row_store *store; /* not owned */
  struct under_store
      *under_store;   /* not owned; NULL: nothing can be mounted, and no mounted directory be read */
  size_t queue_limit; /* requests waiting or in flight beyond which submit answers overloaded; 0: default */
  size_t cache_size;  /* bytes of rows kept in memory that are in the store too; 0: default, 1: none */
  size_t write_size;  /* bytes of changed rows at which the store is written; 0: default */
  size_t dirty_limit; /* bytes of changed rows above which nothing more is applied; 0: default */
  int64_t worker_lease_ns; /* a worker that was silent for longer is not told of; 0: default */
};

int primary_new(const struct primary_options *options, struct primary **primary, struct error *error);

/* The journal is made with primary_state_machine() and then handed in; it must outlive the primary's use of
 * it. */
const struct state_machine *primary_state_machine(struct primary *primary);
void primary_attach(struct primary *primary, struct journal *journal);

/* What was attached, for questions that the primary has no part in. */
struct journal *primary_journal(const struct primary *primary);

/* Told when the journal or the store cannot go on; the process must end with the message. */
void primary_on_fatal(struct primary *primary, void (*fatal)(void *context, const struct error *error),
                      void *context);

typedef void primary_callback(void *context, const struct answer *answer);

/* The callback comes exactly once, from the loop (never from inside this call). The request is copied as far
 * as it must be. */
void primary_submit(struct primary *primary, const struct request *request, primary_callback *callback,
                    void *context);

struct primary_status {
  enum primary_role role;
  struct journal_status journal;
  uint64_t applied_index;
  uint64_t inodes; /* number of rows in the inode table, the root included */
  uint64_t blocks; /* … and in the block table */
};

/* Counted since primary_new; valid until primary_free. */
const struct primary_statistics *primary_statistics(const struct primary *primary);
struct tables_statistics primary_tables_statistics(const struct primary *primary);
/* What it has heard of workers since it is primary. */
struct worker_registry_statistics primary_worker_statistics(const struct primary *primary);

struct primary_status primary_status(const struct primary *primary);

/* Takes a snapshot of what is applied, and with `cut` lets the journal forget what is before it. `done` comes
 * once, from the loop or from primary_free, with the snapshot (to be closed by the state machine's
 * snapshot_close) and its index, or with an error. */
void primary_checkpoint(struct primary *primary, bool cut,
                        void (*done)(void *context, struct snapshot *snapshot, uint64_t index,
                                     const struct error *error),
                        void *context);

/* A hash of all committed tables at the applied index: equal on all replicas at equal indexes. Walks
 * everything. */
uint64_t primary_state_hash(struct primary *primary);

/* Whether the committed tables are a tree: every inode has one name or waits to be reclaimed, every name an
 * inode, no directory is its own ancestor, counts are right. ERR_CORRUPT with what is wrong. Reads all. */
int primary_audit(struct primary *primary, struct error *error);

/* Ends every request in flight as unavailable and frees; the journal must be closed before. */
void primary_free(struct primary *primary);

#endif
