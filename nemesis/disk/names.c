#include "nemesis/disk/names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"

/* More than this many are not kept in suspense: a file system's log gets full, too. */
#define CHANGES_LIMIT 4096

struct hidden_name {
  char text[24];
};

static struct hidden_name hidden_name(uint64_t hidden) {
  struct hidden_name name;
  snprintf(name.text, sizeof name.text, "%" PRIu64, hidden);
  return name;
}

void names_init(struct names *names, struct orders *orders, struct inodes *inodes, int hidden_fd) {
  *names = (struct names){.orders = orders, .inodes = inodes, .hidden_fd = hidden_fd};
  pthread_mutex_init(&names->mutex, NULL);
}

/* ---- The list of changes; with the mutex held ---- */

static void drop_hidden(struct names *names, const struct name_change *change) {
  if (change->hidden == 0)
    return;
  const struct hidden_name name = hidden_name(change->hidden);
  unlinkat(names->hidden_fd, name.text, change->inode->directory ? AT_REMOVEDIR : 0);
  pthread_mutex_lock(&names->inodes->mutex);
  change->inode->hidden--;
  pthread_mutex_unlock(&names->inodes->mutex);
}

static void forget_change(struct names *names, struct name_change *change) {
  *(change->before ? &change->before->after : &names->oldest) = change->after;
  *(change->after ? &change->after->before : &names->newest) = change->before;
  names->count--;
  struct inode *const pinned[] = {change->directory, change->to_directory, change->inode};
  for (size_t i = 0; i < ARRAY_SIZE(pinned); i++)
    if (pinned[i])
      inodes_unpin(names->inodes, pinned[i]);
  free(change->name);
  free(change->to_name);
  free(change);
}

static void make_durable(struct names *names, struct name_change *change) {
  drop_hidden(names, change);
  forget_change(names, change);
}

static void note(struct names *names, const struct name_change *noted) {
  struct name_change *change = xmalloc(sizeof *change);
  *change = *noted;
  change->order = atomic_fetch_add(&names->orders->next, 1);
  change->name = xstrdup(noted->name);
  change->to_name = noted->to_name ? xstrdup(noted->to_name) : NULL;
  struct inode *const pinned[] = {change->directory, change->to_directory, change->inode};
  for (size_t i = 0; i < ARRAY_SIZE(pinned); i++)
    if (pinned[i])
      inodes_pin(names->inodes, pinned[i]);
  change->before = names->newest;
  change->after = NULL;
  *(names->newest ? &names->newest->after : &names->oldest) = change;
  names->newest = change;
  if (++names->count > CHANGES_LIMIT)
    while (names->count > CHANGES_LIMIT / 2)
      make_durable(names, names->oldest);
}

/* ---- Doing ---- */

static int add(struct names *names, struct inode *directory, const char *name, int fd, struct inode **inode) {
  const int status = fd < 0 ? -errno : inodes_take(names->inodes, fd, inode);
  if (status == 0)
    note(names, &(struct name_change){
                    .kind = NAME_ADDED, .directory = directory, .name = (char *)name, .inode = *inode});
  return status;
}

int names_create(struct names *names, struct inode *directory, const char *name, mode_t mode,
                 struct inode **inode) {
  pthread_mutex_lock(&names->mutex);
  const int fd = openat(directory->fd, name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, mode);
  const int status = add(names, directory, name, fd, inode);
  pthread_mutex_unlock(&names->mutex);
  return status;
}

int names_make_directory(struct names *names, struct inode *directory, const char *name, mode_t mode,
                         struct inode **inode) {
  pthread_mutex_lock(&names->mutex);
  int status = mkdirat(directory->fd, name, mode) == 0 ? 0 : -errno;
  if (status == 0)
    status = add(names, directory, name,
                 openat(directory->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), inode);
  pthread_mutex_unlock(&names->mutex);
  return status;
}

int names_link(struct names *names, struct inode *inode, struct inode *directory, const char *name) {
  char open_file[32];
  snprintf(open_file, sizeof open_file, "/proc/self/fd/%d", inode->fd);
  pthread_mutex_lock(&names->mutex);
  const int status = linkat(AT_FDCWD, open_file, directory->fd, name, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
  if (status == 0)
    note(names, &(struct name_change){
                    .kind = NAME_ADDED, .directory = directory, .name = (char *)name, .inode = inode});
  pthread_mutex_unlock(&names->mutex);
  return status;
}

static bool is_empty(const struct inode *directory) {
  const int fd = openat(directory->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *stream = fd < 0 ? NULL : fdopendir(fd);
  size_t entries = 0;
  while (stream && entries < 3 && readdir(stream))
    entries++;
  if (stream)
    closedir(stream);
  return entries < 3; /* "." and ".." */
}

/* Moves `name`, if it exists, among the hidden: `change` gets `inode`, with one lookup more, and `hidden`. */
static int hide(struct names *names, struct inode *directory, const char *name, struct name_change *change) {
  int status = inodes_open(names->inodes, directory->fd, name, &change->inode);
  if (status != 0)
    return status;
  if (change->inode->directory && !is_empty(change->inode))
    status = -ENOTEMPTY;
  const struct hidden_name hidden = hidden_name(++names->next_hidden);
  if (status == 0 && renameat(directory->fd, name, names->hidden_fd, hidden.text) != 0)
    status = -errno;
  if (status != 0) {
    inodes_forget(names->inodes, change->inode, 1);
    return status;
  }
  change->hidden = names->next_hidden;
  pthread_mutex_lock(&names->inodes->mutex);
  change->inode->hidden++;
  pthread_mutex_unlock(&names->inodes->mutex);
  return 0;
}

/* Brings what hide() moved back under its name. */
static int unhide(struct names *names, struct inode *directory, const char *name,
                  const struct name_change *change) {
  const struct hidden_name hidden = hidden_name(change->hidden);
  if (renameat(names->hidden_fd, hidden.text, directory->fd, name) != 0)
    return -errno;
  pthread_mutex_lock(&names->inodes->mutex);
  change->inode->hidden--;
  pthread_mutex_unlock(&names->inodes->mutex);
  return 0;
}

int names_remove(struct names *names, struct inode *directory, const char *name) {
  struct name_change change = {.kind = NAME_REMOVED, .directory = directory, .name = (char *)name};
  pthread_mutex_lock(&names->mutex);
  const int status = hide(names, directory, name, &change);
  if (status == 0) {
    note(names, &change);
    inodes_forget(names->inodes, change.inode, 1);
  }
  pthread_mutex_unlock(&names->mutex);
  return status;
}

int names_move(struct names *names, struct inode *directory, const char *name, struct inode *to_directory,
               const char *to_name, unsigned flags) {
  struct name_change change = {.kind = NAME_MOVED,
                               .directory = directory,
                               .name = (char *)name,
                               .to_directory = to_directory,
                               .to_name = (char *)to_name};
  if ((flags & ~(unsigned)RENAME_NOREPLACE) != 0)
    return -EINVAL;
  pthread_mutex_lock(&names->mutex);
  int status = 0;
  if (flags == 0 && faccessat(to_directory->fd, to_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    status = hide(names, to_directory, to_name, &change);
  if (status == 0 && renameat2(directory->fd, name, to_directory->fd, to_name, flags) != 0) {
    status = -errno;
    if (change.inode)
      unhide(names, to_directory, to_name, &change);
  }
  if (status == 0)
    note(names, &change);
  if (change.hidden)
    inodes_forget(names->inodes, change.inode, 1);
  pthread_mutex_unlock(&names->mutex);
  return status;
}

/* ---- Durable or lost ---- */

/* A directory that was taken away needs what was done in it before; one that was added does not. */
static struct inode *directory_removed(const struct name_change *change) {
  return change->kind != NAME_ADDED && change->inode && change->inode->directory ? change->inode : NULL;
}

static bool stands_in_marked(const struct name_change *change) {
  const struct inode *removed = directory_removed(change);
  return change->directory->marked || (change->to_directory && change->to_directory->marked) ||
         (removed && removed->marked);
}

static void mark(const struct name_change *change, bool marked) {
  struct inode *removed = directory_removed(change);
  change->directory->marked = marked;
  if (change->to_directory)
    change->to_directory->marked = marked;
  if (removed)
    removed->marked = marked;
}

void names_sync(struct names *names, struct inode *directory) {
  pthread_mutex_lock(&names->mutex);
  for (struct name_change *change = names->newest; change; change = change->before)
    mark(change, false);
  directory->marked = true;
  for (struct name_change *change = names->newest, *before; change; change = before) {
    before = change->before;
    if (!stands_in_marked(change))
      continue;
    mark(change, true);
    make_durable(names, change);
  }
  pthread_mutex_unlock(&names->mutex);
}

void names_sync_all(struct names *names) {
  pthread_mutex_lock(&names->mutex);
  while (names->oldest)
    make_durable(names, names->oldest);
  pthread_mutex_unlock(&names->mutex);
}

/* Out of the tree, but not out of the world yet: what was lost in there may have to come back from it. */
static int take_away(struct names *names, const struct inode *directory, const char *name) {
  const struct hidden_name hidden = hidden_name(++names->next_hidden);
  return renameat(directory->fd, name, names->hidden_fd, hidden.text) == 0 ? 0 : -errno;
}

static int move_back(struct names *names, const struct name_change *change) {
  int status = 0;
  if (renameat(change->to_directory->fd, change->to_name, change->directory->fd, change->name) != 0)
    status = -errno;
  /* Of two moves of directories one is lost, and each would lie in the other: nobody finds either. */
  if (status == -EINVAL)
    status = take_away(names, change->to_directory, change->to_name);
  if (status == 0 && change->hidden)
    status = unhide(names, change->to_directory, change->to_name, change);
  return status;
}

static int undo(struct names *names, const struct name_change *change) {
  switch (change->kind) {
  case NAME_ADDED:
    return take_away(names, change->directory, change->name);
  case NAME_REMOVED:
    return unhide(names, change->directory, change->name, change);
  case NAME_MOVED:
    return move_back(names, change);
  }
  return -EINVAL;
}

/* Nothing stays that stands upon something lost: in the same directory, or in one that was never made. */
static void spread(const struct names *names) {
  for (struct name_change *change = names->oldest; change; change = change->after) {
    mark(change, false);
    if (change->inode)
      change->inode->marked = false;
  }
  for (struct name_change *change = names->oldest; change; change = change->after) {
    change->lost = change->lost || stands_in_marked(change);
    if (!change->lost)
      continue;
    mark(change, true);
    if (change->kind == NAME_ADDED && change->inode)
      change->inode->marked = true;
  }
}

int names_lose(struct names *names, uint64_t *lost) {
  int status = 0;
  pthread_mutex_lock(&names->mutex);
  spread(names);
  for (struct name_change *change = names->newest, *before; change && status == 0; change = before) {
    before = change->before;
    if (change->lost)
      status = undo(names, change);
    *lost += change->lost;
    forget_change(names, change);
  }
  pthread_mutex_unlock(&names->mutex);
  return status;
}
