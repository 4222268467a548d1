#include "nemesis/disk/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

/* A kernel does not wait for a sync for ever: beyond this a file is written back though nobody asked. */
#define KEPT_LIMIT (32u << 20)
#define EXTENTS_LIMIT 8192

static uint64_t sector_of(uint64_t offset) {
  return offset / SECTOR_SIZE;
}

static uint64_t sectors_up_to(uint64_t offset) {
  return (offset + SECTOR_SIZE - 1) / SECTOR_SIZE;
}

static uint64_t least(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

void file_init(struct file *file, struct orders *orders, int fd, uint64_t size) {
  *file = (struct file){.orders = orders, .fd = fd, .size = size, .durable_size = size};
  pthread_mutex_init(&file->mutex, NULL);
}

void file_free(struct file *file) {
  sectors_free(&file->sectors);
  pthread_mutex_destroy(&file->mutex);
}

/* The bytes of clean sectors, which are durable; NULL for nothing but zeros. */
static unsigned char *durable_bytes(const struct file *file, uint64_t first, uint64_t count, int *status) {
  const uint64_t offset = first * SECTOR_SIZE, size = count * SECTOR_SIZE;
  if (offset >= file->durable_size)
    return NULL;
  unsigned char *bytes = xcalloc(1, size);
  const ssize_t got = pread(file->fd, bytes, size, (off_t)offset);
  if (got < 0)
    *status = -errno;
  if (got > 0 && (bytes[0] != 0 || memcmp(bytes, bytes + 1, size - 1) != 0))
    return bytes;
  free(bytes);
  return NULL;
}

/* Keeps what is durable of the clean sectors in [from, to), which then are `state`. */
static int keep(struct file *file, uint64_t from, uint64_t to, enum sector_state state, uint64_t order) {
  struct extent extent = {.state = state};
  int status = 0;
  for (uint64_t at = from;
       status == 0 && sectors_next_clean(&file->sectors, at, to, &extent.first, &extent.count);
       at = extent.first + extent.count) {
    extent.order = order + (extent.first - from);
    extent.kept = durable_bytes(file, extent.first, extent.count, &status);
    if (status == 0)
      sectors_add(&file->sectors, extent);
  }
  return status;
}

/* Bytes [offset, offset + size) are about to change. */
static int make_dirty(struct file *file, uint64_t offset, uint64_t size) {
  const uint64_t from = sector_of(offset), to = sectors_up_to(offset + size);
  const uint64_t order = atomic_fetch_add(&file->orders->next, to - from);
  sectors_revive(&file->sectors, from, to, order);
  return keep(file, from, to, SECTOR_DIRTY, order);
}

static uint64_t settle(struct file *file) {
  if (file->cut)
    sectors_blank(&file->sectors, file->cut_to); /* of what is DOOMED */
  file->durable_size = file->size;
  file->cut = false;
  sectors_clean(&file->sectors, SECTOR_CUT);
  return sectors_clean(&file->sectors, SECTOR_DIRTY) * SECTOR_SIZE;
}

static void write_back(struct file *file) {
  if (file->sectors.kept_bytes > KEPT_LIMIT || file->sectors.count > EXTENTS_LIMIT)
    settle(file);
}

ssize_t file_write(struct file *file, const void *data, size_t size, uint64_t offset) {
  pthread_mutex_lock(&file->mutex);
  ssize_t written = make_dirty(file, offset, size);
  if (written == 0) {
    written = pwrite(file->fd, data, size, (off_t)offset);
    if (written < 0)
      written = -errno;
    else if (offset + (uint64_t)written > file->size)
      file->size = offset + (uint64_t)written;
    write_back(file);
  }
  pthread_mutex_unlock(&file->mutex);
  return written;
}

/* Whatever lies behind `size`, a cut of the durable content included, is no longer what the disk has. */
static int cut_behind(struct file *file, uint64_t size) {
  const uint64_t durable = file->cut ? file->cut_to : file->durable_size;
  const uint64_t behind = sectors_up_to(size);
  if (size >= durable && !file->cut) {
    sectors_forget(&file->sectors, behind); /* grown and cut again: the disk never knew */
    return 0;
  }
  sectors_cut(&file->sectors, behind);
  if (size >= durable)
    return 0;
  const int status = keep(file, sector_of(size), sectors_up_to(durable), SECTOR_CUT, 0);
  if (status != 0)
    return status;
  if (!file->cut)
    file->cut_order = atomic_fetch_add(&file->orders->next, 1);
  file->cut = true;
  file->cut_to = size;
  return 0;
}

int file_resize(struct file *file, uint64_t size) {
  pthread_mutex_lock(&file->mutex);
  int status = size < file->size ? cut_behind(file, size) : 0;
  if (status == 0 && ftruncate(file->fd, (off_t)size) != 0)
    status = -errno;
  if (status == 0)
    file->size = size;
  write_back(file);
  pthread_mutex_unlock(&file->mutex);
  return status;
}

int file_allocate(struct file *file, int mode, uint64_t offset, uint64_t size) {
  const bool clears = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
  if ((mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0)
    return -EOPNOTSUPP;
  pthread_mutex_lock(&file->mutex);
  int status = 0;
  if (clears && offset < file->size)
    status = make_dirty(file, offset, least(size, file->size - offset));
  if (status == 0 && fallocate(file->fd, mode, (off_t)offset, (off_t)size) != 0)
    status = -errno;
  if (status == 0 && !(mode & FALLOC_FL_KEEP_SIZE) && offset + size > file->size)
    file->size = offset + size;
  pthread_mutex_unlock(&file->mutex);
  return status;
}

bool file_needs_room(struct file *file, uint64_t offset, size_t size) {
  pthread_mutex_lock(&file->mutex);
  const bool grows = offset + size > file->size;
  pthread_mutex_unlock(&file->mutex);
  if (grows)
    return true;
  const off_t hole = lseek(file->fd, (off_t)offset, SEEK_HOLE);
  return hole >= 0 && (uint64_t)hole < offset + size;
}

int file_sync(struct file *file, uint64_t *synced) {
  pthread_mutex_lock(&file->mutex);
  /* Writers wait meanwhile: what came in during the sync could not be told from what it covers. */
  const int status = fdatasync(file->fd) == 0 ? 0 : -errno;
  if (status == 0)
    *synced = settle(file);
  pthread_mutex_unlock(&file->mutex);
  return status;
}

void file_doom(struct file *file) {
  pthread_mutex_lock(&file->mutex);
  sectors_turn(&file->sectors, SECTOR_DIRTY, SECTOR_DOOMED);
  pthread_mutex_unlock(&file->mutex);
}

bool file_is_clean(struct file *file) {
  pthread_mutex_lock(&file->mutex);
  const bool clean = file->sectors.count == 0 && !file->cut && file->size == file->durable_size;
  pthread_mutex_unlock(&file->mutex);
  return clean;
}

uint64_t file_dirty_bytes(struct file *file) {
  pthread_mutex_lock(&file->mutex);
  const uint64_t count =
      sectors_count(&file->sectors, SECTOR_DIRTY) + sectors_count(&file->sectors, SECTOR_DOOMED);
  pthread_mutex_unlock(&file->mutex);
  return count * SECTOR_SIZE;
}

/* ---- The loss ---- */

/* One sector as it was durable, and no byte of it behind `end`. */
static int restore(const struct file *file, const struct extent *extent, uint64_t i, uint64_t end) {
  static const unsigned char zeros[SECTOR_SIZE];
  unsigned char bytes[SECTOR_SIZE];
  const uint64_t offset = (extent->first + i) * SECTOR_SIZE;
  memcpy(bytes, extent->kept ? extent->kept + i * SECTOR_SIZE : zeros, SECTOR_SIZE);
  if (end < offset + SECTOR_SIZE) {
    const uint64_t left = end > offset ? end - offset : 0;
    memset(bytes + left, 0, SECTOR_SIZE - left);
  }
  return pwrite(file->fd, bytes, SECTOR_SIZE, (off_t)offset) == SECTOR_SIZE ? 0 : -(errno ? errno : EIO);
}

int file_lose(struct file *file, uint64_t *lost) {
  const bool cut = file->cut && file->cut_survives, whole = !file->cut || cut;
  const uint64_t end = cut ? file->cut_to : UINT64_MAX;
  uint64_t size = cut ? file->cut_to : file->durable_size;
  int status = 0;
  for (size_t e = 0; e < file->sectors.count && status == 0; e++) {
    const struct extent *extent = &file->sectors.extents[e];
    for (uint64_t i = 0; i < extent->count && status == 0; i++) {
      const uint64_t behind = (extent->first + i + 1) * SECTOR_SIZE;
      if (whole && extent->state == SECTOR_DIRTY && extent->survives && extent->survives[i]) {
        if (least(behind, file->size) > size)
          size = least(behind, file->size);
        continue;
      }
      *lost += extent->state == SECTOR_CUT ? 0 : SECTOR_SIZE;
      if (extent->state != SECTOR_CUT || !cut)
        status = restore(file, extent, i, end);
    }
  }
  if (status == 0 && ftruncate(file->fd, (off_t)size) != 0)
    status = -errno;
  return status;
}
