#include "master/worker/block_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "master/worker/block_file.h"

#define DIRECTORIES 256
#define FIRST_SLOTS 256

struct place {
  uint64_t block; /* 0: free; no block has that id */
  uint64_t length;
};

struct block_store {
  char *path, *blocks, *writing, *corrupt;
  int lock;
  uint64_t cluster, worker;
  uint64_t capacity, stored, reserved;
  uint64_t writes; /* for temporary names */
  struct place *places;
  size_t mask, count;
};

/* ---- the list: an open table ---- */

static size_t home_of(const struct block_store *store, uint64_t block) {
  block ^= block >> 31;
  block *= UINT64_C(0x9e3779b97f4a7c15);
  return (size_t)(block ^ block >> 29) & store->mask;
}

static size_t seek(const struct block_store *store, uint64_t block) {
  size_t at = home_of(store, block);
  while (store->places[at].block != 0 && store->places[at].block != block)
    at = (at + 1) & store->mask;
  return at;
}

static void grow(struct block_store *store) {
  struct place *old = store->places;
  const size_t count = store->mask + 1;
  store->places = xcalloc(2 * count, sizeof *store->places);
  store->mask = 2 * count - 1;
  for (size_t i = 0; i < count; i++)
    if (old[i].block != 0)
      store->places[seek(store, old[i].block)] = old[i];
  free(old);
}

bool block_store_has(const struct block_store *store, uint64_t block) {
  return block != 0 && store->places[seek(store, block)].block != 0;
}

void block_store_added(struct block_store *store, uint64_t block, uint64_t length) {
  if (block == 0)
    return;
  block_store_removed(store, block);
  if ((store->count + 1) * 4 > (store->mask + 1) * 3)
    grow(store);
  store->places[seek(store, block)] = (struct place){block, length};
  store->count++;
  store->stored += block_file_size(length);
}

/* Those behind that could not have their own place move up (Knuth, vol. 3, 6.4, algorithm R). */
bool block_store_removed(struct block_store *store, uint64_t block) {
  if (!block_store_has(store, block))
    return false;
  size_t gap = seek(store, block);
  store->stored -= block_file_size(store->places[gap].length);
  store->count--;
  for (size_t at = (gap + 1) & store->mask; store->places[at].block != 0; at = (at + 1) & store->mask) {
    const size_t home = home_of(store, store->places[at].block);
    if (((at - home) & store->mask) < ((at - gap) & store->mask))
      continue;
    store->places[gap] = store->places[at];
    gap = at;
  }
  store->places[gap].block = 0;
  return true;
}

size_t block_store_some(const struct block_store *store, size_t *at, uint64_t *blocks, size_t room) {
  size_t count = 0;
  for (; *at <= store->mask; ++*at) {
    if (store->places[*at].block == 0)
      continue;
    if (count == room)
      return count;
    blocks[count++] = store->places[*at].block;
  }
  *at = 0;
  return count;
}

size_t block_store_count(const struct block_store *store) {
  return store->count;
}

/* ---- room ---- */

static uint64_t disk_free(const struct block_store *store) {
  struct statvfs disk;
  return statvfs(store->path, &disk) == 0 ? (uint64_t)disk.f_bavail * disk.f_frsize : 0;
}

uint64_t block_store_stored(const struct block_store *store) {
  return store->stored;
}

uint64_t block_store_capacity(const struct block_store *store) {
  return store->capacity ? store->capacity : store->stored + disk_free(store);
}

uint64_t block_store_free(const struct block_store *store) {
  const uint64_t disk = disk_free(store), used = store->stored + store->reserved;
  if (store->capacity == 0)
    return disk;
  const uint64_t allowed = used < store->capacity ? store->capacity - used : 0;
  return allowed < disk ? allowed : disk;
}

bool block_store_reserve(struct block_store *store, uint64_t size) {
  if (store->capacity > 0 && store->stored + store->reserved + size > store->capacity)
    return false;
  store->reserved += size;
  return true;
}

void block_store_unreserve(struct block_store *store, uint64_t size) {
  store->reserved -= size < store->reserved ? size : store->reserved;
}

/* ---- paths ---- */

void block_store_name(uint64_t block, char *name) {
  snprintf(name, 24, "%" PRIu64, block);
}

static char *join(const char *directory, const char *format, uint64_t a, uint64_t b) {
  struct bytes text = {0};
  bytes_append_format(&text, "%s/", directory);
  bytes_append_format(&text, format, a, b);
  bytes_append_u8(&text, 0);
  return (char *)text.data;
}

char *block_store_directory(const struct block_store *store, uint64_t block) {
  return join(store->blocks, "%02" PRIx64, block % DIRECTORIES, 0);
}

char *block_store_path(const struct block_store *store, uint64_t block) {
  return join(store->blocks, "%02" PRIx64 "/%" PRIu64, block % DIRECTORIES, block);
}

char *block_store_temporary(struct block_store *store, uint64_t block) {
  return join(store->writing, "%" PRIu64 ".%" PRIu64, block, ++store->writes);
}

char *block_store_corrupt(const struct block_store *store, uint64_t block) {
  return join(store->corrupt, "%" PRIu64, block, 0);
}

/* ---- opening ---- */

static int take_lock(struct block_store *store, struct error *error) {
  char *name = path_join(store->path, "lock");
  store->lock = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  free(name);
  if (store->lock < 0)
    return error_set_errno(error, ERR_IO, "cannot write to %s: give a --data directory of your own",
                           store->path);
  if (flock(store->lock, LOCK_EX | LOCK_NB) == 0)
    return 0;
  return error_set(error, ERR_OVERLOADED,
                   "%s is in use by another assay-worker: stop that one, or give this one another --data "
                   "directory",
                   store->path);
}

static int read_identity(struct block_store *store, struct error *error) {
  char *name = path_join(store->path, "identity");
  struct bytes content = {0};
  int status = 0;
  if (file_exists(name)) {
    status = file_read(name, &content, error);
    bytes_append_u8(&content, 0);
    if (status == 0 && sscanf((const char *)content.data, "cluster %" SCNu64 " worker %" SCNu64,
                              &store->cluster, &store->worker) != 2)
      status =
          error_set(error, ERR_CORRUPT,
                    "%s is not what an assay-worker wrote there: restore it, or remove it, and the worker "
                    "gets a new number",
                    name);
  }
  bytes_free(&content);
  free(name);
  return status;
}

void block_store_identity(const struct block_store *store, uint64_t *cluster, uint64_t *worker) {
  *cluster = store->cluster;
  *worker = store->worker;
}

int block_store_set_identity(struct block_store *store, uint64_t cluster, uint64_t worker,
                             struct error *error) {
  char *name = path_join(store->path, "identity");
  struct bytes content = {0};
  bytes_append_format(&content, "cluster %" PRIu64 " worker %" PRIu64 "\n", cluster, worker);
  const int status = file_replace(name, content.data, content.size, error);
  if (status == 0) {
    store->cluster = cluster;
    store->worker = worker;
  }
  bytes_free(&content);
  free(name);
  return status;
}

static void set_aside(const struct block_store *store, uint64_t block, const char *path,
                      const struct error *why) {
  char *aside = block_store_corrupt(store, block);
  log_error("block %" PRIu64 " is not served any more: %s; %s", block, why->message,
            rename(path, aside) == 0 ? "it is in corrupt/ now" : "it cannot be set aside");
  free(aside);
}

static void take_file(struct block_store *store, const char *directory, const char *name) {
  char *end, *path = path_join(directory, name);
  struct error error;
  uint64_t length, sum;
  errno = 0;
  const uint64_t block = strtoull(name, &end, 10);
  if (errno != 0 || *end != '\0' || block == 0)
    log_warn("%s is no block: it is left alone", path);
  else if (block_file_look(path, block, &length, &sum, &error) == 0)
    block_store_added(store, block, length);
  else
    set_aside(store, block, path, &error);
  free(path);
}

static int take_directory(struct block_store *store, const char *path, struct error *error) {
  DIR *directory = opendir(path);
  if (!directory)
    return error_set_errno(error, ERR_IO, "cannot read %s", path);
  for (struct dirent *entry; (entry = readdir(directory));)
    if (entry->d_name[0] != '.')
      take_file(store, path, entry->d_name);
  closedir(directory);
  return 0;
}

static int take_blocks(struct block_store *store, struct error *error) {
  int status = 0;
  for (uint64_t i = 0; i < DIRECTORIES && status == 0; i++) {
    char *path = block_store_directory(store, i);
    status = directory_make(path, error);
    if (status == 0)
      status = take_directory(store, path, error);
    free(path);
  }
  return status == 0 ? directory_sync(store->blocks, error) : status;
}

static int make_directories(struct block_store *store, struct error *error) {
  int status = directory_remove(store->writing, error);
  if (status == 0)
    status = directory_make(store->writing, error);
  if (status == 0)
    status = directory_make(store->blocks, error);
  if (status == 0)
    status = directory_make(store->corrupt, error);
  return status == 0 ? directory_sync(store->path, error) : status;
}

int block_store_open(const char *directory, uint64_t capacity, struct block_store **result,
                     struct error *error) {
  int status = directory_make(directory, error);
  if (status != 0)
    return status;
  struct block_store *store = xcalloc(1, sizeof *store);
  store->lock = -1;
  store->path = xstrdup(directory);
  store->blocks = path_join(directory, "blocks");
  store->writing = path_join(directory, "writing");
  store->corrupt = path_join(directory, "corrupt");
  store->capacity = capacity;
  store->places = xcalloc(FIRST_SLOTS, sizeof *store->places);
  store->mask = FIRST_SLOTS - 1;
  status = take_lock(store, error);
  if (status == 0)
    status = read_identity(store, error);
  if (status == 0)
    status = make_directories(store, error);
  if (status == 0)
    status = take_blocks(store, error);
  if (status == 0)
    *result = store;
  else
    block_store_close(store);
  return status;
}

void block_store_close(struct block_store *store) {
  if (store->lock >= 0)
    close(store->lock);
  free(store->path);
  free(store->blocks);
  free(store->writing);
  free(store->corrupt);
  free(store->places);
  free(store);
}
