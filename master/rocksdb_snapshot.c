/* rocksdb_snapshot.c: checkpoints of the RocksDB store: hard links made by the writer, in order with the
 * writes; checksums by the summer, once for each table file, because those do not change; reading and
 * removing by the carrier. What checksums are known is kept in <path>/sums: a large database is not read
 * again after a restart, and damage that came about since is found by whoever receives the file, not handed
 * on. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/rocksdb_store.h"

/* -- taking one -- */

struct rocksdb_checkpoint {
  struct store_checkpoint checkpoint;
  struct snapshot_file *files;
  char *path;
  int fd; /* of the file read last; -1: none; the carrier's */
  size_t fd_file;
  struct job closing;
};

struct checkpoint_job {
  struct job job;
  store_checkpoint_done *done;
  void *context;
  uint64_t generation;
  struct rocksdb_checkpoint *taken;
};

static void run_sums(struct rocksdb_store *store, struct job *job);

static int order_of_files(const void *a, const void *b) {
  return strcmp(((const struct snapshot_file *)a)->name, ((const struct snapshot_file *)b)->name);
}

static int list_files(struct rocksdb_checkpoint *taken, struct error *error) {
  DIR *directory = opendir(taken->path);
  if (!directory)
    return error_set_errno(error, ERR_IO, "cannot open %s", taken->path);
  size_t count = 0, capacity = 0;
  int status = 0;
  for (struct dirent *entry; status == 0 && (entry = readdir(directory));) {
    struct stat info;
    if (fstatat(dirfd(directory), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
      status = error_set_errno(error, ERR_IO, "cannot look at %s/%s", taken->path, entry->d_name);
    else if (!S_ISREG(info.st_mode))
      continue;
    else if (strlen(entry->d_name) >= sizeof taken->files->name)
      status = error_set(error, ERR_UNSUPPORTED, "the name %s is too long", entry->d_name);
    if (status != 0)
      break;
    if (count == capacity) {
      capacity = capacity ? 2 * capacity : 16;
      taken->files = xrealloc(taken->files, capacity * sizeof *taken->files);
    }
    struct snapshot_file *file = &taken->files[count++];
    *file = (struct snapshot_file){.size = (uint64_t)info.st_size};
    memcpy(file->name, entry->d_name, strlen(entry->d_name) + 1);
  }
  closedir(directory);
  if (count > 0)
    qsort(taken->files, count, sizeof *taken->files, order_of_files);
  taken->checkpoint = (struct store_checkpoint){.files = taken->files, .file_count = count};
  return status;
}

/* On the writer's thread: the hard links, in order with the writes. */
static void run_checkpoint(struct rocksdb_store *store, struct job *job) {
  struct checkpoint_job *asked = CONTAINER_OF(job, struct checkpoint_job, job);
  struct rocksdb_checkpoint *taken = xcalloc(1, sizeof *taken);
  asked->taken = taken;
  asked->generation = store->generation;
  taken->fd = -1;
  taken->path = rocksdb_store_path(store, "checkpoint", ++store->next_checkpoint);
  char *text = NULL;
  rocksdb_checkpoint_t *maker = rocksdb_checkpoint_object_create(store->database, &text);
  if (!text)
    rocksdb_checkpoint_create(maker, taken->path, 0, &text);
  if (maker)
    rocksdb_checkpoint_object_destroy(maker);
  job->status =
      text ? rocksdb_take_error(text, &job->error, "make", taken->path) : list_files(taken, &job->error);
  if (job->status != 0) {
    rocksdb_store_finished(store, job);
    return;
  }
  job->run = run_sums;
  rocksdb_store_linked(store, job);
  worker_give(&store->summer, job);
}

/* -- checksums that are known; guarded by the mutex -- */

bool rocksdb_is_table_file(const struct snapshot_file *file) {
  const size_t size = strlen(file->name), suffix = strlen(TABLE_FILE_SUFFIX);
  return size > suffix && strcmp(file->name + size - suffix, TABLE_FILE_SUFFIX) == 0;
}

static bool find_known(struct rocksdb_store *store, uint64_t generation, struct snapshot_file *file) {
  bool found = false;
  pthread_mutex_lock(&store->mutex);
  for (size_t i = 0; i < store->known_count && !found && store->known_generation == generation; i++) {
    const struct snapshot_file *known = &store->known[i];
    found = known->size == file->size && strcmp(known->name, file->name) == 0;
    if (found)
      file->checksum = known->checksum;
  }
  pthread_mutex_unlock(&store->mutex);
  return found;
}

bool rocksdb_known_name(struct rocksdb_store *store, const struct snapshot_file *file, char *name) {
  bool found = false;
  pthread_mutex_lock(&store->mutex);
  for (size_t i = 0; i < store->known_count && !found && store->known_generation == store->generation; i++) {
    const struct snapshot_file *known = &store->known[i];
    found = known->size == file->size && known->checksum == file->checksum;
    if (found)
      memcpy(name, known->name, sizeof known->name);
  }
  pthread_mutex_unlock(&store->mutex);
  return found;
}

void rocksdb_known_replace(struct rocksdb_store *store, uint64_t generation,
                           const struct snapshot_file *files, size_t count) {
  struct snapshot_file *known = xcalloc(count + 1, sizeof *known);
  size_t known_count = 0;
  for (size_t i = 0; i < count; i++)
    if (rocksdb_is_table_file(&files[i]))
      known[known_count++] = files[i];
  pthread_mutex_lock(&store->mutex);
  /* Else the database has been replaced meanwhile. */
  if (generation >= store->known_generation) {
    free(store->known);
    store->known = known;
    store->known_count = known_count;
    store->known_generation = generation;
    known = NULL;
  }
  pthread_mutex_unlock(&store->mutex);
  free(known);
}

static char *sums_path(const struct rocksdb_store *store) {
  return path_join(store->path, "sums");
}

void rocksdb_known_write(struct rocksdb_store *store) {
  pthread_mutex_lock(&store->mutex);
  const size_t count = store->known_count;
  const uint64_t generation = store->known_generation;
  struct snapshot_file *known = xcalloc(count + 1, sizeof *known);
  if (count)
    memcpy(known, store->known, count * sizeof *known);
  pthread_mutex_unlock(&store->mutex);
  char *path = sums_path(store);
  struct error error;
  if (rocksdb_list_write(path, generation, 0, known, count, &error) != 0)
    log_warn("%s; checksums are computed again after a restart", error.message);
  free(path);
  free(known);
}

void rocksdb_known_load(struct rocksdb_store *store) {
  char *path = sums_path(store);
  uint64_t index;
  if (rocksdb_list_read(path, store->generation, &index, &store->known, &store->known_count))
    store->known_generation = store->generation;
  free(path);
}

static int sum_file(const char *directory, struct snapshot_file *file, struct error *error) {
  char *path = path_join(directory, file->name);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  int status = fd < 0 ? error_set_errno(error, ERR_IO, "cannot open %s", path) : 0;
  unsigned char *chunk = xmalloc(SNAPSHOT_CHUNK);
  for (uint64_t at = 0; status == 0 && at < file->size;) {
    const size_t size = file->size - at < SNAPSHOT_CHUNK ? (size_t)(file->size - at) : SNAPSHOT_CHUNK;
    if (pread(fd, chunk, size, (off_t)at) != (ssize_t)size)
      status = error_set_errno(error, ERR_IO, "cannot read %s", path);
    file->checksum = checksum_fold(file->checksum, chunk, size);
    at += size;
  }
  free(chunk);
  if (fd >= 0)
    close(fd);
  free(path);
  return status;
}

/* On the summer's thread. What is known and not part of this checkpoint has been compacted away. */
static void run_sums(struct rocksdb_store *store, struct job *job) {
  struct checkpoint_job *asked = CONTAINER_OF(job, struct checkpoint_job, job);
  const struct rocksdb_checkpoint *taken = asked->taken;
  size_t computed = 0;
  for (size_t i = 0; i < taken->checkpoint.file_count && job->status == 0; i++) {
    struct snapshot_file *file = &taken->files[i];
    const bool is_table = rocksdb_is_table_file(file);
    if (is_table && find_known(store, asked->generation, file))
      continue;
    job->status = sum_file(taken->path, file, &job->error);
    computed += is_table;
  }
  if (job->status == 0 && computed > 0) {
    rocksdb_known_replace(store, asked->generation, taken->files, taken->checkpoint.file_count);
    rocksdb_known_write(store);
  }
  rocksdb_store_finished(store, job);
}

/* On the carrier's thread: removing large files may take a while. */
static void run_close(struct rocksdb_store *store, struct job *job) {
  const struct rocksdb_checkpoint *taken = CONTAINER_OF(job, struct rocksdb_checkpoint, closing);
  struct error error;
  if (taken->fd >= 0)
    close(taken->fd);
  if (directory_remove(taken->path, &error) != 0)
    log_warn("%s; it is removed when the store is opened next", error.message);
  rocksdb_store_finished(store, job);
}

static void finish_close(struct rocksdb_store *store, struct job *job) {
  (void)store;
  struct rocksdb_checkpoint *taken = CONTAINER_OF(job, struct rocksdb_checkpoint, closing);
  free(taken->files);
  free(taken->path);
  free(taken);
}

void rocksdb_checkpoint_close(struct row_store *base, struct store_checkpoint *checkpoint) {
  struct rocksdb_checkpoint *taken = CONTAINER_OF(checkpoint, struct rocksdb_checkpoint, checkpoint);
  taken->closing = (struct job){.kind = JOB_CARRY, .run = run_close, .finish = finish_close};
  rocksdb_store_carry(rocksdb_store_of(base), &taken->closing);
}

static void finish_checkpoint(struct rocksdb_store *store, struct job *job) {
  struct checkpoint_job *asked = CONTAINER_OF(job, struct checkpoint_job, job);
  if (job->status == 0) {
    asked->done(asked->context, &asked->taken->checkpoint, NULL);
  } else {
    rocksdb_checkpoint_close(&store->store, &asked->taken->checkpoint);
    asked->done(asked->context, NULL, &job->error);
  }
  free(asked);
}

void rocksdb_checkpoint(struct row_store *base, store_checkpoint_done *done, void *context) {
  struct rocksdb_store *store = rocksdb_store_of(base);
  struct checkpoint_job *asked = xcalloc(1, sizeof *asked);
  asked->job = (struct job){.run = run_checkpoint, .finish = finish_checkpoint, .kind = JOB_WRITE};
  asked->done = done;
  asked->context = context;
  rocksdb_store_begin(store, &store->writer, &asked->job);
}

/* -- reading -- */

struct read_job {
  struct job job;
  struct rocksdb_checkpoint *taken;
  size_t file;
  uint64_t offset;
  void *buffer;
  size_t size;
  snapshot_read_done *done;
  void *owner;
};

static int read_piece(struct rocksdb_checkpoint *taken, const struct read_job *asked, struct error *error) {
  const size_t file = asked->file;
  if (file >= taken->checkpoint.file_count || asked->offset > taken->files[file].size ||
      asked->size > taken->files[file].size - asked->offset)
    return error_set(error, ERR_BAD_INPUT, "a read behind the end of a snapshot's file");
  if (taken->fd < 0 || taken->fd_file != file) {
    if (taken->fd >= 0)
      close(taken->fd);
    char *path = path_join(taken->path, taken->files[file].name);
    taken->fd = open(path, O_RDONLY | O_CLOEXEC);
    taken->fd_file = file;
    const int status = taken->fd < 0 ? error_set_errno(error, ERR_IO, "cannot open %s", path) : 0;
    free(path);
    if (status != 0)
      return status;
    posix_fadvise(taken->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  if (pread(taken->fd, asked->buffer, asked->size, (off_t)asked->offset) != (ssize_t)asked->size)
    return error_set_errno(error, ERR_IO, "cannot read %s/%s", taken->path, taken->files[file].name);
  return 0;
}

static void run_read(struct rocksdb_store *store, struct job *job) {
  const struct read_job *asked = CONTAINER_OF(job, struct read_job, job);
  job->status = read_piece(asked->taken, asked, &job->error);
  rocksdb_store_finished(store, job);
}

static void finish_read(struct rocksdb_store *store, struct job *job) {
  (void)store;
  struct read_job *asked = CONTAINER_OF(job, struct read_job, job);
  asked->done(asked->owner, job->status, job->status ? &job->error : NULL);
  free(asked);
}

void rocksdb_checkpoint_read(struct row_store *base, struct store_checkpoint *checkpoint, size_t file,
                             uint64_t offset, void *buffer, size_t size, snapshot_read_done *done,
                             void *owner) {
  struct read_job *asked = xcalloc(1, sizeof *asked);
  *asked = (struct read_job){.job = {.kind = JOB_CARRY, .run = run_read, .finish = finish_read},
                             .taken = CONTAINER_OF(checkpoint, struct rocksdb_checkpoint, checkpoint),
                             .file = file,
                             .offset = offset,
                             .buffer = buffer,
                             .size = size,
                             .done = done,
                             .owner = owner};
  rocksdb_store_carry(rocksdb_store_of(base), &asked->job);
}
