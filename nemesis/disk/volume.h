/* volume.h: what the process of a disk is made of. */
#ifndef ASSAY_NEMESIS_DISK_VOLUME_H
#define ASSAY_NEMESIS_DISK_VOLUME_H

#define FUSE_USE_VERSION 312

#include <fuse3/fuse_lowlevel.h>

#include "nemesis/disk/disk.h"
#include "nemesis/disk/names.h"

/* The faults that are set, and whoever waits in a sync that is slow. */
struct fault_switch {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct disk_fault fault;
  uint64_t setting; /* counts the settings */
  struct random random;
};

struct tally {
  _Atomic uint64_t bytes_written, bytes_synced, syncs, syncs_delayed;
  _Atomic uint64_t read_errors, write_errors, sync_errors, no_space;
};

struct volume {
  struct orders orders;
  struct inodes inodes;
  struct names names;
  struct inode *root;
  struct fault_switch faults;
  struct tally tally;
  uint64_t bytes_lost, names_lost;
};

/* ---- switch.c: what a call shall answer instead of being carried out: 0 or an errno ---- */

void switch_init(struct fault_switch *faults);
void switch_set(struct volume *volume, const struct disk_fault *fault);
int switch_read(struct volume *volume);
int switch_write(struct volume *volume, struct file *file, uint64_t offset, size_t size);
/* Of what makes a name or sets room aside. */
int switch_grow(struct volume *volume);
int switch_sync(struct volume *volume);
bool switch_is_full(struct volume *volume);

/* ---- loss.c ---- */

/* Leaves in the tree what a power loss leaves. -errno. No request may be under way. */
int volume_lose(struct volume *volume, const struct disk_loss *loss);

/* ---- requests.c ---- */

extern const struct fuse_lowlevel_ops volume_requests;

#endif
