/* disk.h: a disk of our own under a node's data directory: it fails when told to, and forgets at a power loss
 * what was not synced.
 *
 *   node ──▶ nodes/n1/data (FUSE) ──▶ kernel ──▶ the disk's process ──▶ what nodes/n1/data covers: the tree
 *                                                    │                  nodes/n1/hidden: taken away,
 * un-synced nemesis ──── set, lose power ─── socket ─────────┘
 *
 * Every write, name and cut goes to the tree at once; how to take it back is remembered in memory until it is
 * synced. So reads cost what they cost, and the end of the disk's process loses nothing: only
 * disk_lose_power() does.
 *
 * Fault model, exact for programs that follow POSIX:
 *
 *   - Bytes are durable after fsync() or fdatasync() of their file returned 0; names (created, linked,
 *     renamed, removed, made) after fsync() of their directory did. Nothing else makes anything durable: not
 *     close(), not sync_file_range(), not the fsync() of another file, as ext4's would. Too much that is
 *     un-synced (32 MB to be remembered of one file, 4096 names) is written back unasked, as kernels do.
 *   - At a power loss, of what is un-synced nothing survives, or what came first, or a random subset: sectors
 *     of 512 bytes each for itself (a write is torn inside a block), names never one before another of its
 *     directory (names.h), the cut of a file (file.h). What survives of a sector is what was written last.
 *   - After an fsync() that failed, what it should have made durable is lost unless it is written again:
 *     reads see it until the power is lost, and no later fsync() covers it, as on Linux, which marks such
 *     pages clean. Names are tried again by the next fsync() of their directory.
 *   - A full disk refuses what needs new room, or any write at all, as file systems do that write to a new
 *     place.
 *
 * Modes, owners and times of files, and extended attributes, are not part of the model. Symbolic links and
 * devices are refused.
 *
 * Taken for granted: one process uses the disk at a time, so the kernel's cache of it never lies; the mount
 * is made anew after every power loss. */
#ifndef ASSAY_NEMESIS_DISK_H
#define ASSAY_NEMESIS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/base.h"

struct disk;

/* 0 when disks of our own work here; else ERR_UNSUPPORTED with why and what to do. */
int disk_supported(struct error *error);

/* Covers the directory `data`, made if need be, whose content is taken as durable; `hidden`, beside it on the
 * same file system, is used until the end. `name` is the node's, for messages. Must be called inside a
 * sandbox: the mount goes with it. */
int disk_open(const char *name, const char *data, const char *hidden, struct disk **disk,
              struct error *error);
/* Uncovers it, whoever uses it; what is un-synced stays. NULL is fine. */
void disk_close(struct disk *disk);

/* What goes wrong while it is set. */
struct disk_fault {
  double read_error, write_error, sync_error; /* the chance that a call fails with EIO; 1: all do */
  bool full;                                  /* ENOSPC for whatever needs new room */
  bool full_for_all;                          /* … and for writing over what is there */
  int64_t sync_delay_ns;                      /* how long an fsync takes beyond its own time */
  uint64_t draw;                              /* seeds the chances */
};

/* NULL: nothing goes wrong any more; a sync that is being delayed ends at once. */
int disk_set(struct disk *disk, const struct disk_fault *fault, struct error *error);

enum disk_keeps { KEEPS_NOTHING, KEEPS_PREFIX, KEEPS_SUBSET };

struct disk_loss {
  enum disk_keeps keeps; /* of what is un-synced */
  uint64_t draw;         /* seeds which */
};

/* Called when no process uses the disk; it is mounted again, without faults, when this returns 0. */
int disk_lose_power(struct disk *disk, const struct disk_loss *loss, struct error *error);

/* Since disk_open. */
struct disk_counters {
  uint64_t bytes_written, bytes_synced;
  uint64_t bytes_dirty; /* now */
  uint64_t bytes_lost;  /* at power losses */
  uint64_t names_lost;
  uint64_t bytes_rotten; /* flipped or cut off, and not put right */
  uint64_t syncs, syncs_delayed;
  uint64_t read_errors, write_errors, sync_errors, no_space; /* answers of ours */
};
int disk_read_counters(struct disk *disk, struct disk_counters *counters, struct error *error);

/* `bytes_dirty` is no sum over time: it is the later one's in the difference. */
struct disk_counters disk_counters_sum(const struct disk_counters *a, const struct disk_counters *b);
struct disk_counters disk_counters_since(const struct disk_counters *earlier,
                                         const struct disk_counters *later);

/* ---- At rest ---- */

#define DISK_ROT_MOST 4096

/* What decays: a bit flips, or a file loses its end. */
struct disk_rot {
  const char *pattern; /* of files below the data, as in a shell: "journal/log-*" */
  size_t least;        /* files with less content, zeros at their end aside, are left alone; 0: 1 */
  double share;        /* a bit flips in this share of the content, from the beginning; 0: 1 */
  bool cut;
  uint64_t draw;
};

struct disk_rotten {
  char path[256]; /* below the data */
  uint64_t inode; /* which file it was */
  bool cut;       /* at `offset`; else a bit of the byte there flipped */
  uint64_t offset;
  size_t size; /* of `healthy`: what stood there */
  unsigned char healthy[DISK_ROT_MOST], ill;
};

/* Called when no process uses the disk; what is un-synced stays. Zeros at a file's end are no target: nobody
 * misses them. ERR_UNAVAILABLE when no file matches. */
int disk_rot(struct disk *disk, const struct disk_rot *rot, struct disk_rotten *rotten, struct error *error);
/* Whether disk_rot would find something; a process may use the disk meanwhile. */
bool disk_can_rot(const struct disk *disk, const struct disk_rot *rot, struct error *error);
/* Puts right what is still there and still rotten. Called as disk_rot. */
int disk_restore(struct disk *disk, struct disk_rotten *rotten, struct error *error);

/* The disk's process, for tests. */
pid_t disk_process(const struct disk *disk);

#endif
