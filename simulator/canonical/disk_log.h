/* disk_log.h: the log of one node on disk, as libraft 0.15 asks for it: terms, votes, entries, truncations.
 *
 *   "canonical-log": frames, appended; a frame is what one write makes durable, all or nothing
 *   ┌──────────┬──────────┬──────┬─────────┬─────────────────────────────────────────────────┐
 *   │ checksum │ sequence │ size │ records │ record: type, entry type, size, index, term     │ …
 *   └──────────┴──────────┴──────┴─────────┴─────────────────────────────────────────────────┘
 *        8          8        4        4                  1      1      2+4    8      8
 *
 * One write is under way at a time, and what is asked for meanwhile goes into the next: so the log on disk is
 * always a beginning of what was asked for. A broken frame at the end is the torn last write, which nobody
 * was told of, and is dropped; a broken frame with a sound one behind it has rotted, and the log is refused.
 * The file only grows: simulated lives are short. */
#ifndef ASSAY_SIMULATOR_CANONICAL_DISK_LOG_H
#define ASSAY_SIMULATOR_CANONICAL_DISK_LOG_H

#include "master/world.h"

struct disk_log;

struct logged_entry {
  uint64_t term;
  uint8_t type;  /* libraft's */
  size_t offset; /* of the payload, in logged.payloads */
  size_t size;
};

/* What stands for the log up to `index`: the state machine holds that much. */
struct logged_snapshot {
  uint64_t index, term; /* index 0: none */
  uint64_t configuration_index;
  struct bytes configuration; /* as the caller encoded it */
};

/* What the file held when it was opened. */
struct logged {
  uint64_t term, vote;
  struct logged_snapshot snapshot;
  struct logged_snapshot offered; /* one whose installation was begun and neither finished nor abandoned */
  uint64_t base;                  /* entries[0] has index base + 1 */
  struct logged_entry *entries;
  size_t count, capacity;
  struct bytes payloads;
};

void logged_free(struct logged *logged);
/* The offered snapshot is the log's only content now. */
void logged_take_offered(struct logged *logged);

struct disk_log_observer {
  void *owner;
  /* More of what was asked for is durable; from the loop. */
  void (*written)(void *owner);
  /* Nothing is known of the last write: the log is at its end. */
  void (*failed)(void *owner, const struct error *error);
};

typedef void disk_log_done(void *owner, int status);

/* Reads the log or, where there is none, begins to make one. ERR_CORRUPT when it cannot be trusted or is
 * another cluster's or node's. What is asked of a log that is still being made waits for that. */
int disk_log_open(const struct world *world, uint64_t cluster, uint64_t node,
                  const struct disk_log_observer *observer, struct disk_log **log, struct logged *logged,
                  struct error *error);
/* Frees once nothing is under way. What was asked for and is not durable yet may never be; its `done` is
 * not called any more. */
void disk_log_close(struct disk_log *log, void (*closed)(void *owner), void *owner);

/* Each of these is durable after what was asked for before it. They wait for room on a full disk. */
void disk_log_set_term(struct disk_log *log, uint64_t term); /* takes the vote back, too */
void disk_log_set_vote(struct disk_log *log, uint64_t node);
void disk_log_truncate(struct disk_log *log, uint64_t index); /* this entry and all behind it */
/* The state machine holds everything up to snapshot->index for good: entries up to `base` are void. */
void disk_log_compact(struct disk_log *log, const struct logged_snapshot *snapshot, uint64_t base,
                      disk_log_done *done, void *owner);
/* A snapshot is about to be installed, has been (then no entry is left), or will not be. Between the first
 * and one of the others only terms and votes are written; all else waits. */
void disk_log_offer(struct disk_log *log, const struct logged_snapshot *snapshot, disk_log_done *done,
                    void *owner);
void disk_log_installed(struct disk_log *log, disk_log_done *done, void *owner);
void disk_log_abandon(struct disk_log *log);

struct new_entry {
  uint64_t term;
  uint8_t type;
  const void *data;
  size_t size;
};
/* Appends entries from `index` on; the payloads are copied. With `done`, a full disk refuses: `done` is told
 * ERR_NO_SPACE, and so is that of every append asked for after it and not durable yet. Without `done` it
 * waits for room. */
void disk_log_append(struct disk_log *log, uint64_t index, const struct new_entry *entries, size_t count,
                     disk_log_done *done, void *owner);

/* Whether a term or a vote is not durable yet: nothing may be sent then. */
bool disk_log_ballot_pending(const struct disk_log *log);
/* Whether all that was asked for is durable. */
bool disk_log_idle(const struct disk_log *log);

#endif
