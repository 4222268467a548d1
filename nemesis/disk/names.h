/* names.h: names that were given, taken away and moved, and whose directory was not synced since.
 *
 *   order   what was done              directories it stands in
 *    11     add     journal/log-7      journal                  fsync(journal) makes 11 and 13 durable, and
 * 12, 12     move    a → b              tables                    because 13 stands in both and came after
 * it; 13     move    tables/b → journal tables, journal           14 stays un-synced 14     remove  tables/c
 * tables
 *
 * All of it is done in the tree at once; what is taken away lies hidden beside the tree until
 * that is durable. A power loss undoes what it takes backwards. Within a directory names are lost from the
 * newest on, never one before another that stays: any journal or log of a real file system holds that much.
 * A real one (ext4, XFS) has one log for all directories, and an fsync of a file writes it, too: a program
 * that lives on that, and not on POSIX, loses names here. */
#ifndef ASSAY_NEMESIS_DISK_NAMES_H
#define ASSAY_NEMESIS_DISK_NAMES_H

#include "nemesis/disk/inodes.h"

enum name_kind { NAME_ADDED, NAME_REMOVED, NAME_MOVED };

struct name_change {
  struct name_change *before, *after;
  enum name_kind kind;
  uint64_t order;
  struct inode *directory, *to_directory; /* the other one of a move; else NULL */
  struct inode *inode; /* what was added, removed, or replaced by a move; then NULL, if nothing */
  char *name, *to_name;
  uint64_t hidden; /* the name of `inode` among the hidden; 0: it is not there */
  bool lost;       /* while power is being lost */
};

struct names {
  pthread_mutex_t mutex;
  struct orders *orders;
  struct inodes *inodes;
  struct name_change *oldest, *newest;
  size_t count;
  int hidden_fd; /* the directory of the hidden */
  uint64_t next_hidden;
};

void names_init(struct names *names, struct orders *orders, struct inodes *inodes, int hidden_fd);

/* As open(O_CREAT | O_EXCL), mkdir, link, unlink and rmdir, renameat2; -errno. `*inode` has one lookup more.
 */
int names_create(struct names *names, struct inode *directory, const char *name, mode_t mode,
                 struct inode **inode);
int names_make_directory(struct names *names, struct inode *directory, const char *name, mode_t mode,
                         struct inode **inode);
int names_link(struct names *names, struct inode *inode, struct inode *directory, const char *name);
int names_remove(struct names *names, struct inode *directory, const char *name);
int names_move(struct names *names, struct inode *directory, const char *name, struct inode *to_directory,
               const char *to_name, unsigned flags);

/* Makes the names in a directory durable, and the others that these stand upon. */
void names_sync(struct names *names, struct inode *directory);
void names_sync_all(struct names *names);

/* Takes back what is `lost`, and what stands upon it; the others are durable. Adds how many were lost.
 * -errno. Nobody works on the tree meanwhile. */
int names_lose(struct names *names, uint64_t *lost);

#endif
