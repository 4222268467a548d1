/* rocksdb_snapshot.c: checkpoints of the RocksDB store, sent and received. */
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
  int fd; /* of the file read last; -1: none */
  size_t fd_file;
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
  worker_give(&store->summer, job);
}

static struct known_checksum *find_known(struct rocksdb_store *store, uint64_t generation,
                                         const struct snapshot_file *file) {
  for (size_t i = 0; i < store->known_count; i++) {
    struct known_checksum *known = &store->known[i];
    if (known->generation == generation && known->file.size == file->size &&
        strcmp(known->file.name, file->name) == 0)
      return known;
  }
  return NULL;
}

static bool is_table_file(const struct snapshot_file *file) {
  const size_t size = strlen(file->name), suffix = strlen(TABLE_FILE_SUFFIX);
  return size > suffix && strcmp(file->name + size - suffix, TABLE_FILE_SUFFIX) == 0;
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

/* What is known and not part of this checkpoint has been compacted away. */
static void remember_sums(struct rocksdb_store *store, uint64_t generation,
                          const struct rocksdb_checkpoint *taken) {
  store->known_count = 0;
  for (size_t i = 0; i < taken->checkpoint.file_count; i++) {
    if (!is_table_file(&taken->files[i]))
      continue;
    if (store->known_count == store->known_capacity) {
      store->known_capacity = store->known_capacity ? 2 * store->known_capacity : 16;
      store->known = xrealloc(store->known, store->known_capacity * sizeof *store->known);
    }
    store->known[store->known_count++] = (struct known_checksum){generation, taken->files[i]};
  }
}

/* On the summer's thread. */
static void run_sums(struct rocksdb_store *store, struct job *job) {
  struct checkpoint_job *asked = CONTAINER_OF(job, struct checkpoint_job, job);
  struct rocksdb_checkpoint *taken = asked->taken;
  for (size_t i = 0; i < taken->checkpoint.file_count && job->status == 0; i++) {
    const struct known_checksum *known =
        is_table_file(&taken->files[i]) ? find_known(store, asked->generation, &taken->files[i]) : NULL;
    if (known)
      taken->files[i].checksum = known->file.checksum;
    else
      job->status = sum_file(taken->path, &taken->files[i], &job->error);
  }
  if (job->status == 0)
    remember_sums(store, asked->generation, taken);
  rocksdb_store_finished(store, job);
}

void rocksdb_checkpoint_close(struct store_checkpoint *checkpoint) {
  struct rocksdb_checkpoint *taken = CONTAINER_OF(checkpoint, struct rocksdb_checkpoint, checkpoint);
  struct error error;
  if (taken->fd >= 0)
    close(taken->fd);
  if (directory_remove(taken->path, &error) != 0)
    log_warn("%s; it is removed when the store is opened next", error.message);
  free(taken->files);
  free(taken->path);
  free(taken);
}

static void finish_checkpoint(struct rocksdb_store *store, struct job *job) {
  (void)store;
  struct checkpoint_job *asked = CONTAINER_OF(job, struct checkpoint_job, job);
  if (job->status == 0) {
    asked->done(asked->context, &asked->taken->checkpoint, NULL);
  } else {
    rocksdb_checkpoint_close(&asked->taken->checkpoint);
    asked->done(asked->context, NULL, &job->error);
  }
  free(asked);
}

void rocksdb_checkpoint(struct row_store *base, store_checkpoint_done *done, void *context) {
  struct rocksdb_store *store = rocksdb_store_of(base);
  struct checkpoint_job *asked = xcalloc(1, sizeof *asked);
  asked->job = (struct job){.run = run_checkpoint, .finish = finish_checkpoint, .is_checkpoint = true};
  asked->done = done;
  asked->context = context;
  pthread_mutex_lock(&store->mutex);
  store->checkpoints++;
  pthread_mutex_unlock(&store->mutex);
  worker_give(&store->writer, &asked->job);
}

int rocksdb_checkpoint_read(struct store_checkpoint *checkpoint, size_t file, uint64_t offset, void *buffer,
                            size_t size, struct error *error) {
  struct rocksdb_checkpoint *taken = CONTAINER_OF(checkpoint, struct rocksdb_checkpoint, checkpoint);
  if (file >= checkpoint->file_count || offset > taken->files[file].size ||
      size > taken->files[file].size - offset)
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
  }
  if (pread(taken->fd, buffer, size, (off_t)offset) != (ssize_t)size)
    return error_set_errno(error, ERR_IO, "cannot read %s/%s", taken->path, taken->files[file].name);
  return 0;
}

/* -- receiving one -- */

static void forget_incoming(struct rocksdb_store *store) {
  struct incoming *incoming = &store->incoming;
  if (incoming->fd >= 0)
    close(incoming->fd);
  free(incoming->files);
  free(incoming->path);
  bytes_free(&incoming->chunk);
  *incoming = (struct incoming){.fd = -1};
}

void rocksdb_incoming_drop(struct rocksdb_store *store) {
  struct error error;
  if (store->incoming.path && directory_remove(store->incoming.path, &error) != 0)
    log_warn("%s; it is removed when the store is opened next", error.message);
  forget_incoming(store);
}

int rocksdb_receive_begin(struct row_store *base, const struct snapshot_file *files, size_t file_count,
                          struct error *error) {
  struct rocksdb_store *store = rocksdb_store_of(base);
  rocksdb_incoming_drop(store);
  for (size_t i = 0; i < file_count; i++) {
    const char *name = files[i].name;
    if (!memchr(name, '\0', sizeof files[i].name) || name[0] == '\0' || name[0] == '.' || strchr(name, '/'))
      return error_set(error, ERR_BAD_INPUT, "a snapshot was offered with a file that has no proper name");
  }
  struct incoming *incoming = &store->incoming;
  incoming->path = rocksdb_store_path(store, "rows", store->generation + 1);
  int status = directory_remove(incoming->path, error);
  if (status == 0)
    status = directory_make(incoming->path, error);
  if (status != 0) {
    forget_incoming(store);
    return status;
  }
  incoming->files = xmalloc(file_count * sizeof *files + 1);
  if (file_count)
    memcpy(incoming->files, files, file_count * sizeof *files);
  incoming->file_count = file_count;
  return 0;
}

static int open_file(struct incoming *incoming, struct error *error) {
  char *path = path_join(incoming->path, incoming->files[incoming->file].name);
  incoming->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  const int status = incoming->fd < 0 ? error_set_errno(error, ERR_IO, "cannot create %s", path) : 0;
  incoming->offset = incoming->checksum = 0;
  bytes_clear(&incoming->chunk);
  free(path);
  return status;
}

/* The file is whole: it must be what was announced, and stay. */
static int end_file(struct incoming *incoming, struct error *error) {
  const struct snapshot_file *file = &incoming->files[incoming->file];
  if (incoming->chunk.size > 0)
    incoming->checksum = checksum_fold(incoming->checksum, incoming->chunk.data, incoming->chunk.size);
  if (incoming->checksum != file->checksum)
    return error_set(error, ERR_CORRUPT, "%s/%s was received with a wrong checksum", incoming->path,
                     file->name);
  if (fsync(incoming->fd) != 0)
    return error_set_errno(error, ERR_IO, "cannot make %s/%s durable", incoming->path, file->name);
  close(incoming->fd);
  incoming->fd = -1;
  incoming->file++;
  return 0;
}

/* Ends the files that are whole, empty ones on the way too, and opens the next one that is not. */
static int step_files(struct incoming *incoming, struct error *error) {
  int status = 0;
  while (status == 0 && incoming->file < incoming->file_count) {
    if (incoming->fd < 0)
      status = open_file(incoming, error);
    else if (incoming->offset == incoming->files[incoming->file].size)
      status = end_file(incoming, error);
    else
      break;
  }
  return status;
}

static void fold(struct incoming *incoming, const unsigned char *data, size_t size) {
  while (size > 0) {
    const size_t room = SNAPSHOT_CHUNK - incoming->chunk.size;
    const size_t piece = size < room ? size : room;
    bytes_append(&incoming->chunk, data, piece);
    data += piece;
    size -= piece;
    if (incoming->chunk.size == SNAPSHOT_CHUNK) {
      incoming->checksum = checksum_fold(incoming->checksum, incoming->chunk.data, SNAPSHOT_CHUNK);
      bytes_clear(&incoming->chunk);
    }
  }
}

int rocksdb_receive_write(struct row_store *base, size_t file, uint64_t offset, const void *data, size_t size,
                          struct error *error) {
  struct incoming *incoming = &rocksdb_store_of(base)->incoming;
  if (!incoming->path)
    return error_set(error, ERR_BAD_INPUT, "a piece of a snapshot that was not announced");
  int status = size > 0 ? step_files(incoming, error) : 0;
  if (status != 0 || size == 0)
    return status;
  if (file != incoming->file || file >= incoming->file_count || offset != incoming->offset ||
      size > incoming->files[file].size - offset)
    return error_set(error, ERR_BAD_INPUT, "a piece of a snapshot out of its order");
  if (pwrite(incoming->fd, data, size, (off_t)offset) != (ssize_t)size)
    return error_set_errno(error, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, "cannot write %s/%s",
                           incoming->path, incoming->files[file].name);
  fold(incoming, data, size);
  incoming->offset += size;
  return 0;
}

int rocksdb_receive_install(struct row_store *base, struct error *error) {
  struct rocksdb_store *store = rocksdb_store_of(base);
  struct incoming *incoming = &store->incoming;
  if (!incoming->path)
    return error_set(error, ERR_BAD_INPUT, "there is no received snapshot to install");
  int status = step_files(incoming, error);
  if (status == 0 && incoming->file < incoming->file_count)
    status = error_set(error, ERR_BAD_INPUT, "the snapshot to install is not whole");
  if (status == 0)
    status = directory_sync(incoming->path, error);
  if (status != 0)
    return status;
  rocksdb_store_drain(base, false);
  rocksdb_store_finish_reads(store);
  rocksdb_t *old_database = store->database;
  store->generation++;
  status = rocksdb_store_open_database(store, error);
  /* The step: from here on a restart finds the new database. */
  if (status == 0)
    status = rocksdb_store_point(store, store->generation, error);
  if (status != 0) {
    if (store->database != old_database)
      rocksdb_store_close_database(store);
    store->database = old_database;
    store->generation--;
    return status;
  }
  rocksdb_close(old_database);
  char *old = rocksdb_store_path(store, "rows", store->generation - 1);
  forget_incoming(store);
  struct error leftover;
  if (directory_remove(old, &leftover) != 0)
    log_warn("%s; it is removed when the store is opened next", leftover.message);
  free(old);
  return 0;
}
