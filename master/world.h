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
  /* Calls `run` once from the loop, after the events that are ready now: group commit waits for it. What is
   * deferred while deferred calls run waits for the next turn. */
  void (*defer)(void *context, void (*run)(void *owner), void *owner);

  /* -- disk: files of one flat directory, named by the caller -- */
  /* Blocking; for start-up only. */
  int (*disk_list)(void *context, char ***names, size_t *count,
                   struct error *error); /* names and array to free() */
  int (*disk_read)(void *context, const char *name, struct bytes *content, struct error *error);
  int (*disk_open)(void *context, const char *name, struct disk_file **file, struct error *error);
  /* Writes at `offset` (`data` NULL: zeros), durably: these bytes, all others of the file that were ever
   * written, and its name. */
  int (*disk_settle)(struct disk_file *file, uint64_t offset, const void *data, uint64_t size,
                     struct error *error);

  /* Not blocking. The requests of one world are carried out one after the other in the order they were made,
   * and their callbacks come in that order, from the loop; a creation may take its time and be overtaken. */
  /* A new empty file with room for `reserve` bytes set aside, which read as zeros. `status` is 0,
   * ERR_NO_SPACE or ERR_IO (the name exists, …); `file` is NULL unless 0. What a failed creation left behind
   * is removed. */
  void (*disk_create)(void *context, const char *name, uint64_t reserve,
                      void (*done)(void *owner, int status, struct disk_file *file), void *owner);
  /* Writes the vectors at `offset`, then makes them durable (the file's name too), then calls `done`.
   * `vectors` is copied, what it points to must stay until `done`. `status` is 0, ERR_NO_SPACE (nothing is
   * durable, the same place may be written again) or ERR_IO (nothing is known). */
  void (*disk_write)(struct disk_file *file, uint64_t offset, const struct iovec *vectors,
                     size_t vector_count, void (*done)(void *owner, int status), void *owner);
  /* Reads `size` bytes at `offset` into `buffer`, which must stay until `done`; fewer are ERR_IO. */
  void (*disk_fetch)(struct disk_file *file, uint64_t offset, void *buffer, size_t size,
                     void (*done)(void *owner, int status), void *owner);
  /* Removes a file by name, durably before any later write is. A failure is logged by the world and has no
   * other consequence. */
  void (*disk_remove)(void *context, const char *name);
  /* Closes after what was asked of the file before; the handle is gone at once. */
  void (*disk_close)(struct disk_file *file);

  /* -- peers: frames between nodes; may be lost, delayed, duplicated or reordered, never altered -- */
  /* Sends one frame; `vectors` and what it points to are copied or sent before the call returns. Frames to a
   * peer that cannot be reached, or that is too far behind, are dropped silently. */
  void (*send)(void *context, uint64_t peer, const struct iovec *vectors, size_t vector_count);
  /* Makes a peer known by its address (journal.h), or known no more (NULL): frames to a peer that nobody made
   * known, or whose address is not understood, are dropped. A peer that sends frames is known as well, for as
   * long as it does. */
  void (*meet)(void *context, uint64_t peer, const char *address);
  /* True when the last frames to this peer were not dropped: a hint for pacing. */
  bool (*peer_ready)(void *context, uint64_t peer);
  /* Frames from peers go to the one receiver (NULL: are dropped); `frame` is valid during the call only. */
  void (*receive)(void *context,
                  void (*frame_received)(void *owner, uint64_t peer, const void *frame, size_t size),
                  void *owner);
};

#endif
