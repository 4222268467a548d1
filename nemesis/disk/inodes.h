/* inodes.h: the files and directories that the kernel, or something un-synced, still speaks of. */
#ifndef ASSAY_NEMESIS_DISK_INODES_H
#define ASSAY_NEMESIS_DISK_INODES_H

#include <sys/stat.h>

#include "nemesis/disk/file.h"

struct inode {
  struct inode *next; /* in its bucket */
  uint64_t number;    /* in the tree */
  bool directory;
  int fd;
  uint64_t lookups; /* that the kernel has not forgotten */
  uint32_t pins;    /* un-synced names that speak of it */
  uint32_t hidden;  /* its links that only a power loss would bring back */
  bool marked;      /* while names are synced or lost */
  struct file file; /* unless it is a directory */
};

struct inodes {
  pthread_mutex_t mutex;
  struct orders *orders;
  struct inode *buckets[1024];
};

void inodes_init(struct inodes *inodes, struct orders *orders);

/* The file or directory `name` in the directory `fd`, opened, with one lookup more: -errno. Symbolic links
 * and devices are none of a master's business: -ELOOP, -EINVAL. */
int inodes_open(struct inodes *inodes, int fd, const char *name, struct inode **inode);
/* The same for one that is open; takes `fd` over. */
int inodes_take(struct inodes *inodes, int fd, struct inode **inode);
void inodes_look_up(struct inodes *inodes, struct inode *inode);
void inodes_forget(struct inodes *inodes, struct inode *inode, uint64_t lookups);
void inodes_pin(struct inodes *inodes, struct inode *inode);
void inodes_unpin(struct inodes *inodes, struct inode *inode);
/* As fstat(), without the hidden links; -errno. */
int inode_stat(struct inodes *inodes, struct inode *inode, struct stat *info);

/* Calls `visit` for each, with the table locked. */
void inodes_visit(struct inodes *inodes, void (*visit)(void *context, struct inode *inode), void *context);

#endif
