/* fake_cluster.h: primaries over one log that the test moves by hand: no network, no election, every step at
 * the test's command.
 *
 * There is one log for all nodes. The leader appends to its end; the test decides how much of it is
 * committed, when each node hears of that, when confirmations come back, who leads, and what becomes of
 * entries that were not committed when the leader changed. */
#ifndef ASSAY_MASTER_TEST_FAKE_CLUSTER_H
#define ASSAY_MASTER_TEST_FAKE_CLUSTER_H

#include "delayed_reads.h"
#include "master/memory_under_store.h"
#include "master/primary.h"
#include "master/store.h"

#define FAKE_NODES 3

struct fake_entry {
  uint64_t term;
  struct bytes data;
  void *token;
  size_t node;
};

struct fake_confirm {
  void (*done)(void *context, int status, uint64_t read_index);
  void *context;
  uint64_t term, read_index;
};

struct fake_deferred {
  void (*run)(void *owner);
  void *owner;
};

struct fake_cluster;

struct timer {
  struct timer *next;
  struct fake_node *node;
  void (*fired)(void *owner);
  void *owner;
  int64_t at_ns; /* INT64_MAX: not set */
};

struct fake_node {
  struct journal journal; /* first */
  struct fake_cluster *cluster;
  size_t number;
  char *directory; /* of the RocksDB store; NULL: a store in memory */
  struct row_store *store;
  struct delayed_reads delayed; /* of the store */
  struct primary *primary;
  const struct state_machine *machine;
  bool leads;
  bool unaware; /* another one leads meanwhile, and this node has not heard of it */
  uint64_t applied;
  struct fake_confirm confirms[64];
  size_t confirm_count;
  struct world world;
  struct fake_deferred deferred[64];
  size_t deferred_count;
  struct timer *timers;
  struct under_store *under_store;
  int append_status; /* what append() answers, if not 0 */
};

struct fake_cluster {
  struct fake_entry *entries; /* entry i + 1 */
  size_t count, capacity;
  uint64_t commit, term;
  size_t leader;
  int64_t now_ns;
  size_t cache_size, write_size; /* of the primaries */
  struct under_tree under;       /* of the under-stores: to be filled before something is mounted */
  double under_fails;            /* chance that a piece of a directory cannot be read */
  bool under_hangs;
  struct fake_node nodes[FAKE_NODES];
};

/* `directory`: where RocksDB stores go, NULL for stores in memory. */
struct fake_cluster *fake_cluster_new(const char *directory, size_t cache_size, size_t write_size);
void fake_cluster_free(struct fake_cluster *cluster);

/* Runs what is due on the node's loop, once or until nothing is. */
bool fake_run(struct fake_node *node);
void fake_settle(struct fake_cluster *cluster);

/* The next entry, if it is committed, reaches the node. */
bool fake_deliver(struct fake_node *node);
/* All confirmations asked for come back: with a read index at who leads, and at who follows a leader; where
 * the leader changed meanwhile, without. */
void fake_confirm(struct fake_node *node);
/* `node` leads from now on; of the entries not committed, the first `kept` stay in the log. Who led before
 * hears of it at once, or, if `silently`, by fake_tell() or with the next entry that reaches it. */
void fake_lead(struct fake_cluster *cluster, size_t node, size_t kept, bool silently);
void fake_tell(struct fake_node *node);
/* The leader hears that it leads no longer; nobody does. */
void fake_depose(struct fake_cluster *cluster);
/* Commits everything and tells everybody until nothing moves any more. */
void fake_quiesce(struct fake_cluster *cluster);
/* The node's process ends without warning and starts again. Everything in flight on it is reported first, as
 * unavailable. */
void fake_crash(struct fake_node *node);
/* Installs a snapshot of one node on another one. Piece sizes vary with `piece`. */
void fake_transfer(struct fake_node *from, struct fake_node *to, size_t piece);

#endif
