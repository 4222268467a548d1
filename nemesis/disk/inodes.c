#include "nemesis/disk/inodes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"

static struct inode **bucket_of(struct inodes *inodes, uint64_t number) {
  return &inodes->buckets[(number * UINT64_C(0x9e3779b97f4a7c15)) >> 54];
}

void inodes_init(struct inodes *inodes, struct orders *orders) {
  *inodes = (struct inodes){.orders = orders};
  pthread_mutex_init(&inodes->mutex, NULL);
}

int inodes_open(struct inodes *inodes, int fd, const char *name, struct inode **inode) {
  const int careful = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  int opened = openat(fd, name, O_RDWR | careful);
  if (opened < 0 && errno == EISDIR)
    opened = openat(fd, name, O_RDONLY | O_DIRECTORY | careful);
  return opened < 0 ? -errno : inodes_take(inodes, opened, inode);
}

int inodes_take(struct inodes *inodes, int fd, struct inode **inode) {
  struct stat info;
  int status = fstat(fd, &info) != 0 ? -errno : 0;
  if (status == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
    status = -EINVAL;
  if (status != 0) {
    close(fd);
    return status;
  }
  pthread_mutex_lock(&inodes->mutex);
  struct inode **bucket = bucket_of(inodes, info.st_ino), *found = *bucket;
  while (found && found->number != info.st_ino)
    found = found->next;
  if (found) {
    close(fd);
  } else {
    found = xcalloc(1, sizeof *found);
    *found =
        (struct inode){.next = *bucket, .number = info.st_ino, .directory = S_ISDIR(info.st_mode), .fd = fd};
    if (!found->directory)
      file_init(&found->file, inodes->orders, fd, (uint64_t)info.st_size);
    *bucket = found;
  }
  found->lookups++;
  pthread_mutex_unlock(&inodes->mutex);
  *inode = found;
  return 0;
}

/* With the table locked. Un-synced bytes are remembered as long as the file has a name. */
static void let_go(struct inodes *inodes, struct inode *inode) {
  struct stat info;
  if (inode->lookups > 0 || inode->pins > 0)
    return;
  if (!inode->directory && !file_is_clean(&inode->file) && fstat(inode->fd, &info) == 0 && info.st_nlink > 0)
    return;
  struct inode **link = bucket_of(inodes, inode->number);
  while (*link != inode)
    link = &(*link)->next;
  *link = inode->next;
  if (!inode->directory)
    file_free(&inode->file);
  close(inode->fd);
  free(inode);
}

void inodes_look_up(struct inodes *inodes, struct inode *inode) {
  pthread_mutex_lock(&inodes->mutex);
  inode->lookups++;
  pthread_mutex_unlock(&inodes->mutex);
}

void inodes_forget(struct inodes *inodes, struct inode *inode, uint64_t lookups) {
  pthread_mutex_lock(&inodes->mutex);
  inode->lookups -= lookups < inode->lookups ? lookups : inode->lookups;
  let_go(inodes, inode);
  pthread_mutex_unlock(&inodes->mutex);
}

void inodes_pin(struct inodes *inodes, struct inode *inode) {
  pthread_mutex_lock(&inodes->mutex);
  inode->pins++;
  pthread_mutex_unlock(&inodes->mutex);
}

void inodes_unpin(struct inodes *inodes, struct inode *inode) {
  pthread_mutex_lock(&inodes->mutex);
  inode->pins--;
  let_go(inodes, inode);
  pthread_mutex_unlock(&inodes->mutex);
}

int inode_stat(struct inodes *inodes, struct inode *inode, struct stat *info) {
  pthread_mutex_lock(&inodes->mutex);
  const int status = fstat(inode->fd, info) == 0 ? 0 : -errno;
  info->st_nlink -= inode->hidden;
  pthread_mutex_unlock(&inodes->mutex);
  return status;
}

void inodes_visit(struct inodes *inodes, void (*visit)(void *context, struct inode *inode), void *context) {
  pthread_mutex_lock(&inodes->mutex);
  for (size_t i = 0; i < ARRAY_SIZE(inodes->buckets); i++)
    for (struct inode *inode = inodes->buckets[i]; inode; inode = inode->next)
      visit(context, inode);
  pthread_mutex_unlock(&inodes->mutex);
}
