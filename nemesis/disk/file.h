/* file.h: one file of the disk: its bytes stand in the tree as its node sees them; this remembers how
 * to take back what was not synced.
 *
 *   durable size        size          cut behind (`cut_to`) and grown again, all without a sync:
 *        │               │            │
 *   ─────┴──■■■──────■■■─┘       ─────┴✕✕✕■■■✕✕✕─┘   the cut is one more thing that can be lost:
 *                                                     if it is, nothing else of the file stays
 *
 * What is left after a power loss: sectors that survive as they were written last, the others as they were
 * synced last; the file ends behind the last sector that survives, or where it durably ended. */
#ifndef ASSAY_NEMESIS_DISK_FILE_H
#define ASSAY_NEMESIS_DISK_FILE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "nemesis/disk/sectors.h"

/* Numbers what becomes un-synced, files and names alike: the order of writing. */
struct orders {
  _Atomic uint64_t next;
};

struct file {
  struct orders *orders;
  int fd; /* in the tree, open for both; not owned */
  pthread_mutex_t mutex;
  uint64_t size, durable_size;
  bool cut; /* since the last sync it was shorter than its durable size … */
  uint64_t cut_to, cut_order;
  bool cut_survives; /* while power is being lost */
  struct sectors sectors;
};

void file_init(struct file *file, struct orders *orders, int fd, uint64_t size);
void file_free(struct file *file);

/* As pwrite(), ftruncate(), fallocate() on it; -errno instead of -1. */
ssize_t file_write(struct file *file, const void *data, size_t size, uint64_t offset);
int file_resize(struct file *file, uint64_t size);
int file_allocate(struct file *file, int mode, uint64_t offset, uint64_t size);
/* True when that write changes the blocks that the file occupies. */
bool file_needs_room(struct file *file, uint64_t offset, size_t size);

/* Everything is durable but what is DOOMED. Tells how many bytes became so in `*synced`. */
int file_sync(struct file *file, uint64_t *synced);
/* A sync that failed: what it should have made durable is lost, though reads see it, until the power is. */
void file_doom(struct file *file);
bool file_is_clean(struct file *file);
uint64_t file_dirty_bytes(struct file *file);

/* What a power loss leaves, after `cut_survives` and, for every DIRTY extent, `survives` (NULL: nothing of
 * it) were decided. Adds how many bytes were taken back. -errno. */
int file_lose(struct file *file, uint64_t *lost);

#endif
