/* world.h: everything the master's core is handed from outside: time, timers, randomness, disk, peers.
 *
 * The core (namespace, tables, primary, the raft driver and its log) does no I/O, reads no clock and draws no
 * randomness of its own; it is given one `struct world`. master/uv_world.c implements it on libuv, threads
 * and real files; the simulator implements it on virtual time. Single-threaded: all callbacks come from the
 * loop, never from inside the call that asked for them.
 *
 * Fault model of the disk: a write that was not synced may be lost whole, as a prefix, or torn; after a
 * failed sync nothing is known of what the sync covered, and it is never retried. */
#ifndef ASSAY_MASTER_WORLD_H
#define ASSAY_MASTER_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/base.h"

struct timer;     /* one shot */
struct disk_file; /* an open file */

struct world {
  void *context;

  /* -- time and chance -- */
  int64_t (*now_ns)(void *context);  /* monotonic */
  int64_t (*wall_ns)(void *context); /* since the epoch; may jump, never trusted for safety */
  uint64_t (*random)(void *context);
  struct timer *(*timer_new)(void *context, void (*fired)(void *owner), void *owner);
  void (*timer_set)(struct timer *timer, int64_t at_ns); /* replaces an earlier setting */
  void (*timer_clear)(struct timer *timer);
  void (*timer_free)(struct timer *timer);
  /* Calls `run` once from the loop, after the events that are ready now: group commit waits for it. */
  void (*defer)(void *context, void (*run)(void *owner), void *owner);

  /* -- disk: files of one flat directory, named by the caller -- */
  /* Blocking; for start-up and compaction only. */
  int (*disk_list)(void *context, char ***names, size_t *count,
                   struct error *error); /* names and array to free() */
  int (*disk_read)(void *context, const char *name, struct bytes *content, struct error *error);
  int (*disk_create)(
      void *context, const char *name, uint64_t reserve, struct disk_file **file,
      struct error *error); /* empty; fails if it exists; room for `reserve` bytes is set aside */
  int (*disk_open)(void *context, const char *name, struct disk_file **file, struct error *error);
  int (*disk_truncate)(struct disk_file *file, uint64_t size, struct error *error);
  int (*disk_remove)(void *context, const char *name, struct error *error);
  void (*disk_close)(struct disk_file *file);
  /* Writes the vectors at `offset`, then makes them durable (the file's name too), then calls `done` from the
   * loop. Requests of one world end in the order they were made. `vectors` is copied, what it points to must
   * stay until `done`. `status` is 0, ERR_NO_SPACE (nothing is durable, the file may be truncated back and
   * used again) or ERR_IO (nothing is known). */
  void (*disk_write)(struct disk_file *file, uint64_t offset, const struct iovec *vectors,
                     size_t vector_count, void (*done)(void *owner, int status), void *owner);

  /* -- peers: frames between nodes; may be lost, delayed, duplicated or reordered, never altered -- */
  /* Sends one frame; `vectors` and what it points to are copied or sent before the call returns. Frames to a
   * peer that cannot be reached, or that is too far behind, are dropped silently. */
  void (*send)(void *context, uint64_t peer, const struct iovec *vectors, size_t vector_count);
  /* True when the last frames to this peer were not dropped: a hint for pacing. */
  bool (*peer_ready)(void *context, uint64_t peer);
  /* Frames from peers go to the one receiver; `frame` is valid during the call only. */
  void (*receive)(void *context,
                  void (*frame_received)(void *owner, uint64_t peer, const void *frame, size_t size),
                  void *owner);
};

#endif
