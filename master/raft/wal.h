/* wal.h: the write-ahead log of one node: its entries, term and vote, in segments on the world's disk.
 *
 * One write is in flight at a time; all that comes up meanwhile (entries, a term, a vote) leaves with the
 * next one, and one sync covers it (group commit). Entries are indexed in memory; their payloads are cached
 * up to a bound and fetched from the segments beyond it.
 *
 *     base      first                 persisted        written            last
 *      │ ┌────────┬───────────────────────┬───────────────┬─────────────────┐
 *      │ │  entries on disk, cached or not│ write in flight│ waits for next  │
 *      │ └────────┴───────────────────────┴───────────────┴─────────────────┘
 *
 * Fault model: that of world.h. A torn end is cut off at start-up and said; damage before the end refuses to
 * start. What cannot be told apart by any log alone: rot in the very last frame looks like a torn write. If
 * the state above holds more than is left then, start-up refuses as well. */
#ifndef ASSAY_MASTER_RAFT_WAL_H
#define ASSAY_MASTER_RAFT_WAL_H

#include "base/base.h"
#include "master/raft/batch.h"
#include "master/world.h"

struct wal;
struct wal_segment;

struct wal_entry {
  uint64_t term;
  uint64_t checksum;   /* of the payload */
  uint32_t size;       /* of the payload */
  uint8_t type;        /* enum raft_entry_type */
  struct batch *batch; /* holds the payload, NULL when it is not in memory */
  const unsigned char *data;
  void *token; /* the driver's */
  /* where it stands on disk, NULL before it was handed to the disk; the log's */
  struct wal_segment *segment;
  uint64_t offset;
};

/* Called from the loop, never from inside a call to the log. */
struct wal_observer {
  void *owner;
  void (*persisted)(void *owner, uint64_t index); /* entries up to `index` are durable */
  void (*term_durable)(void *owner);              /* term and vote are, the latest of them */
  /* The log cannot go on: nothing is written any more. A failed sync is never tried again, because the kernel
   * may have dropped the dirty pages and call the next one a success. */
  void (*failed)(void *owner, const struct error *error);
};

struct wal_options {
  const struct world *world;
  uint64_t cluster;
  uint64_t node;
  uint64_t segment_size; /* bytes set aside for a segment */
  size_t cache_size;     /* bytes of payloads kept in memory */
  struct wal_observer observer;
  /* What the state above has in stable storage. */
  uint64_t durable_index;
  uint64_t durable_term;
};

/* Recovers the log. Refuses (ERR_CORRUPT) one that is damaged before its end, that belongs to another cluster
 * or node, or that does not fit the durable index; the message names the file, the offset and the cure. */
int wal_open(const struct wal_options *options, struct wal **wal, struct error *error);

/* Ends what is in flight, then frees and calls `done` from the loop. Observers are not called any more. */
void wal_close(struct wal *wal, void (*done)(void *owner), void *owner);

/* No entry, no base: a node that has never been in a cluster. */
bool wal_is_empty(const struct wal *wal);
uint64_t wal_term(const struct wal *wal);
uint64_t wal_vote(const struct wal *wal);
uint64_t wal_base_index(const struct wal *wal);
uint64_t wal_last_index(const struct wal *wal);
uint64_t wal_persisted_index(const struct wal *wal);
/* The entry at `index`, NULL outside (base, last]. Valid until the log changes. */
struct wal_entry *wal_entry(struct wal *wal, uint64_t index);
/* The term at `index`, 0 when the log does not tell (the base counts as known). */
uint64_t wal_term_at(const struct wal *wal, uint64_t index);
/* The membership in force at `index` >= base: the last change entry up to it. NULL when there is none. */
const struct bytes *wal_configuration_at(const struct wal *wal, uint64_t index,
                                         uint64_t *configuration_index);
/* Goes up with each membership that is noted or dropped. */
uint64_t wal_configuration_changes(const struct wal *wal);
/* Bytes of the segments on disk. */
uint64_t wal_disk_size(const struct wal *wal);
/* The lowest index >= `from` such that the payloads behind it up to last are at most `limit` bytes. */
uint64_t wal_index_within(const struct wal *wal, uint64_t from, uint64_t limit);

/* Notes a new term or vote; it leaves with the next write. */
void wal_set_term(struct wal *wal, uint64_t term, uint64_t vote);
bool wal_term_is_durable(const struct wal *wal);

/* Appends entries at `index`, first dropping those from there on. Takes references to the batches, copies no
 * payload. Terms, types, sizes, checksums, data and batches must be set (batch NULL only when size is 0). */
void wal_append(struct wal *wal, uint64_t index, const struct wal_entry *entries, size_t count);

/* Starts a write when something waits and none is in flight. */
void wal_flush(struct wal *wal);

/* False when the disk was found full and `size` more bytes have no place set aside. Tries again by itself. */
bool wal_has_room(const struct wal *wal, uint64_t size);

/* Brings payloads from `first` on into memory, `limit` bytes at most but at least one entry, then calls
 * `done` from the loop; they may be evicted again after that. */
void wal_fetch(struct wal *wal, uint64_t first, size_t limit, void (*done)(void *owner), void *owner);

/* Removes whole segments that hold nothing above `index`. */
void wal_compact(struct wal *wal, uint64_t index);

/* Prepares to replace the log by an empty one after (`index`, `term`): durable, but void until accepted.
 * `ready` must call wal_reset_accept or wal_reset_abandon before it returns; nothing is written in between.
 * After a crash the reset counts when the state is found to hold `index` and the old log does not lead there.
 */
void wal_reset(struct wal *wal, uint64_t index, uint64_t term, uint64_t configuration_index,
               const struct bytes *configuration, void (*ready)(void *owner), void *owner);
void wal_reset_accept(struct wal *wal);
void wal_reset_abandon(struct wal *wal);

#endif
