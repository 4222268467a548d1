/* uv_disk.c: the files of one directory, written by one thread in the order they were asked.
 *
 * A write is durable when it is answered: pwritev, then fdatasync. A name is durable when its creation is
 * answered: the directory is synced then. After a sync that failed the kernel may have thrown the dirty pages
 * away, so nothing here ever tries one again; the answer is ERR_IO and the caller's affair. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/uv_world_internal.h"

struct disk_file {
  struct uv_world *world;
  int descriptor;
  char *name;
};

#define SLICE_SIZE (128u << 10)

enum disk_operation { DISK_CREATE, DISK_WRITE, DISK_FETCH, DISK_REMOVE, DISK_CLOSE };

struct disk_request {
  struct disk_request *next;
  enum disk_operation operation;
  struct disk_file *file;
  char *name; /* CREATE, REMOVE */
  uint64_t offset, size;
  struct iovec *vectors; /* own copy */
  size_t vector_count;
  void *buffer;
  int status;
  int64_t sync_ns; /* WRITE: what its sync took */
  void (*done)(void *owner, int status);
  void (*created)(void *owner, int status, struct disk_file *file);
  void *owner;
};

/* -- on the thread -------------------------------------------------------------------------------------- */

static bool is_full(int error_number) {
  return error_number == ENOSPC || error_number == EDQUOT;
}

static int io_status(const char *what, const char *name) {
  const int error_number = errno;
  if (is_full(error_number))
    return ERR_NO_SPACE;
  log_error("%s %s failed: %s", what, name, strerror(error_number));
  return ERR_IO;
}

static int sync_directory(const struct disk *disk) {
  return fsync(disk->directory) == 0 ? 0 : io_status("syncing the directory of", "the log");
}

static int create_file(const struct disk *disk, const struct disk_request *request) {
  struct disk_file *file = request->file;
  file->descriptor = openat(disk->directory, file->name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
  if (file->descriptor < 0)
    return io_status("creating", file->name);
  if (request->size == 0 || fallocate(file->descriptor, 0, 0, (off_t)request->size) == 0 ||
      errno == EOPNOTSUPP || errno == ENOSYS)
    return 0;
  return io_status("setting room aside for", file->name);
}

/* Writes the next zeros of a new file. */
static int fill_slice(struct disk_request *request) {
  static const char zeros[SLICE_SIZE];
  const uint64_t left = request->size - request->offset;
  const ssize_t written = pwrite(request->file->descriptor, zeros,
                                 left < SLICE_SIZE ? (size_t)left : SLICE_SIZE, (off_t)request->offset);
  if (written < 0)
    return errno == EINTR ? 0 : io_status("filling", request->file->name);
  /* Begins to write back, so that the sync at the end is short. */
  sync_file_range(request->file->descriptor, (off_t)request->offset, written, SYNC_FILE_RANGE_WRITE);
  request->offset += (uint64_t)written;
  return 0;
}

/* The end of a creation: durable with its name, or nothing of it left. */
static int finish_file(const struct disk *disk, const struct disk_request *request, int status) {
  struct disk_file *file = request->file;
  if (status == 0 && fsync(file->descriptor) != 0)
    status = io_status("syncing", file->name);
  if (status == 0)
    status = sync_directory(disk);
  if (status != 0 && file->descriptor >= 0) {
    unlinkat(disk->directory, file->name, 0);
    close(file->descriptor);
    file->descriptor = -1;
  }
  return status;
}

static int write_vectors(struct disk_request *request) {
  struct iovec *vectors = request->vectors;
  size_t count = request->vector_count;
  off_t offset = (off_t)request->offset;
  while (count > 0) {
    const ssize_t written =
        pwritev(request->file->descriptor, vectors, count < IOV_MAX ? (int)count : IOV_MAX, offset);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return io_status("writing", request->file->name);
    offset += written;
    size_t left = (size_t)written;
    while (count > 0 && left >= vectors->iov_len) {
      left -= vectors->iov_len;
      vectors++;
      count--;
    }
    if (left > 0) {
      vectors->iov_base = (char *)vectors->iov_base + left;
      vectors->iov_len -= left;
    }
  }
  const int64_t began_ns = time_monotonic_ns();
  const int synced = fdatasync(request->file->descriptor);
  request->sync_ns = time_monotonic_ns() - began_ns;
  if (synced == 0)
    return 0;
  log_error("syncing %s failed: %s", request->file->name, strerror(errno));
  return ERR_IO;
}

static int fetch_bytes(const struct disk_request *request) {
  size_t done = 0;
  while (done < request->size) {
    const ssize_t got = pread(request->file->descriptor, (char *)request->buffer + done,
                              (size_t)request->size - done, (off_t)(request->offset + done));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return io_status("reading", request->file->name);
    if (got == 0) {
      log_error("%s ends before offset %" PRIu64, request->file->name, request->offset + request->size);
      return ERR_IO;
    }
    done += (size_t)got;
  }
  return 0;
}

static void remove_file(const struct disk *disk, const char *name) {
  if (unlinkat(disk->directory, name, 0) != 0)
    log_warn("removing %s failed: %s", name, strerror(errno));
  else
    sync_directory(disk);
}

static void post_answer(struct disk *disk, struct disk_request *request) {
  pthread_mutex_lock(&disk->mutex);
  request->next = NULL;
  *disk->answered_end = request;
  disk->answered_end = &request->next;
  pthread_mutex_unlock(&disk->mutex);
  uv_async_send(&disk->answer);
}

/* One more slice of the file being filled; the last one ends its creation. */
static void go_on_filling(struct disk *disk) {
  struct disk_request *request = disk->filling;
  const int status = request->offset < request->size ? fill_slice(request) : 0;
  if (status == 0 && request->offset < request->size)
    return;
  disk->filling = NULL;
  request->status = finish_file(disk, request, status);
  post_answer(disk, request);
}

static void begin_creation(struct disk *disk, struct disk_request *request) {
  while (disk->filling)
    go_on_filling(disk);
  request->offset = 0;
  const int status = create_file(disk, request);
  if (status == 0) {
    disk->filling = request;
    return;
  }
  request->status = finish_file(disk, request, status);
  post_answer(disk, request);
}

static void carry_out(struct disk *disk, struct disk_request *request) {
  switch (request->operation) {
  case DISK_CREATE:
    begin_creation(disk, request);
    return;
  case DISK_WRITE:
    request->status = write_vectors(request);
    break;
  case DISK_FETCH:
    request->status = fetch_bytes(request);
    break;
  case DISK_REMOVE:
    remove_file(disk, request->name);
    break;
  case DISK_CLOSE:
    if (close(request->file->descriptor) != 0)
      log_warn("closing %s failed: %s", request->file->name, strerror(errno));
    break;
  }
  post_answer(disk, request);
}

/* The next request; NULL when there is none now. `*stop` when there will be none. */
static struct disk_request *next_request(struct disk *disk, bool *stop) {
  pthread_mutex_lock(&disk->mutex);
  while (!disk->asked && !disk->filling && !disk->stopping)
    pthread_cond_wait(&disk->wake, &disk->mutex);
  struct disk_request *request = disk->asked;
  if (request) {
    disk->asked = request->next;
    if (!disk->asked)
      disk->asked_end = &disk->asked;
  }
  *stop = disk->stopping && !request && !disk->filling;
  pthread_mutex_unlock(&disk->mutex);
  return request;
}

static void *disk_thread(void *argument) {
  struct disk *disk = argument;
  for (bool stop = false; !stop;) {
    struct disk_request *request = next_request(disk, &stop);
    if (request)
      carry_out(disk, request);
    else if (disk->filling)
      go_on_filling(disk);
  }
  return NULL;
}

/* -- on the loop ---------------------------------------------------------------------------------------- */

static void free_file(struct disk_file *file) {
  free(file->name);
  free(file);
}

static void count(struct disk_statistics *statistics, const struct disk_request *request) {
  statistics->full += request->status == ERR_NO_SPACE;
  statistics->failures += request->status != 0 && request->status != ERR_NO_SPACE;
  if (request->operation != DISK_WRITE || request->status != 0)
    return;
  statistics->writes++;
  statistics->bytes += request->size;
  durations_add(&statistics->syncs, request->sync_ns);
}

static void answer(struct disk_request *request) {
  switch (request->operation) {
  case DISK_CREATE:
    if (request->status != 0)
      free_file(request->file);
    request->created(request->owner, request->status, request->status == 0 ? request->file : NULL);
    break;
  case DISK_WRITE:
  case DISK_FETCH:
    request->done(request->owner, request->status);
    break;
  case DISK_REMOVE:
    break;
  case DISK_CLOSE:
    free_file(request->file);
    break;
  }
  free(request->vectors);
  free(request->name);
  free(request);
}

static void deliver(struct disk *disk) {
  pthread_mutex_lock(&disk->mutex);
  struct disk_request *request = disk->answered;
  disk->answered = NULL;
  disk->answered_end = &disk->answered;
  pthread_mutex_unlock(&disk->mutex);
  while (request) {
    struct disk_request *next = request->next;
    count(&disk->statistics, request);
    answer(request);
    request = next;
  }
}

static void answered(uv_async_t *handle) {
  struct uv_world *world = handle->data;
  deliver(&world->disk);
}

static void ask(struct uv_world *world, const struct disk_request *request) {
  struct disk *disk = &world->disk;
  struct disk_request *queued = xmalloc(sizeof *queued);
  *queued = *request;
  pthread_mutex_lock(&disk->mutex);
  const bool idle = !disk->asked;
  *disk->asked_end = queued;
  disk->asked_end = &queued->next;
  pthread_mutex_unlock(&disk->mutex);
  if (idle)
    pthread_cond_signal(&disk->wake);
}

static struct disk_file *new_file(struct uv_world *world, const char *name, int descriptor) {
  struct disk_file *file = xcalloc(1, sizeof *file);
  *file = (struct disk_file){.world = world, .descriptor = descriptor, .name = xstrdup(name)};
  return file;
}

static void disk_create(void *context, const char *name, uint64_t reserve,
                        void (*done)(void *owner, int status, struct disk_file *file), void *owner) {
  struct uv_world *world = context;
  ask(world, &(struct disk_request){.operation = DISK_CREATE,
                                    .file = new_file(world, name, -1),
                                    .size = reserve,
                                    .created = done,
                                    .owner = owner});
}

static void disk_write(struct disk_file *file, uint64_t offset, const struct iovec *vectors,
                       size_t vector_count, void (*done)(void *owner, int status), void *owner) {
  struct iovec *copy = xmalloc(vector_count * sizeof *copy);
  memcpy(copy, vectors, vector_count * sizeof *copy);
  uint64_t size = 0;
  for (size_t i = 0; i < vector_count; i++)
    size += vectors[i].iov_len;
  ask(file->world, &(struct disk_request){.operation = DISK_WRITE,
                                          .file = file,
                                          .offset = offset,
                                          .size = size,
                                          .vectors = copy,
                                          .vector_count = vector_count,
                                          .done = done,
                                          .owner = owner});
}

static void disk_fetch(struct disk_file *file, uint64_t offset, void *buffer, size_t size,
                       void (*done)(void *owner, int status), void *owner) {
  ask(file->world, &(struct disk_request){.operation = DISK_FETCH,
                                          .file = file,
                                          .offset = offset,
                                          .buffer = buffer,
                                          .size = size,
                                          .done = done,
                                          .owner = owner});
}

static void disk_remove(void *context, const char *name) {
  ask(context, &(struct disk_request){.operation = DISK_REMOVE, .name = xstrdup(name)});
}

static void disk_close(struct disk_file *file) {
  ask(file->world, &(struct disk_request){.operation = DISK_CLOSE, .file = file});
}

/* -- at start-up ---------------------------------------------------------------------------------------- */

static int disk_list(void *context, char ***names, size_t *count, struct error *error) {
  const struct uv_world *world = context;
  DIR *directory = opendir(world->path);
  if (!directory)
    return error_set_errno(error, ERR_IO, "the data directory %s cannot be listed", world->path);
  size_t capacity = 0;
  *names = NULL;
  *count = 0;
  errno = 0;
  for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory)) {
    if (entry->d_name[0] == '.')
      continue;
    if (*count == capacity) {
      capacity = capacity ? capacity * 2 : 16;
      *names = xrealloc(*names, capacity * sizeof(char *));
    }
    (*names)[(*count)++] = xstrdup(entry->d_name);
  }
  closedir(directory);
  return 0;
}

static int disk_read(void *context, const char *name, struct bytes *content, struct error *error) {
  const struct uv_world *world = context;
  char *path = path_join(world->path, name);
  const int status = file_read(path, content, error);
  free(path);
  return status;
}

static int disk_open(void *context, const char *name, struct disk_file **file, struct error *error) {
  struct uv_world *world = context;
  const int descriptor = openat(world->disk.directory, name, O_RDWR | O_CLOEXEC);
  if (descriptor < 0)
    return error_set_errno(error, ERR_IO, "%s/%s cannot be opened for writing", world->path, name);
  *file = new_file(world, name, descriptor);
  return 0;
}

static int disk_settle(struct disk_file *file, uint64_t offset, const void *data, uint64_t size,
                       struct error *error) {
  static const char zeros[64 << 10];
  const char *from = data;
  while (size > 0) {
    const size_t part = from || size < sizeof zeros ? (size_t)size : sizeof zeros;
    const ssize_t written = pwrite(file->descriptor, from ? from : zeros, part, (off_t)offset);
    if (written < 0)
      return error_set_errno(error, ERR_IO, "%s/%s cannot be written", file->world->path, file->name);
    offset += (uint64_t)written;
    size -= (uint64_t)written;
    from = from ? from + written : NULL;
  }
  if (fsync(file->descriptor) != 0 || fsync(file->world->disk.directory) != 0)
    return error_set_errno(error, ERR_IO, "%s/%s cannot be synced", file->world->path, file->name);
  return 0;
}

void uv_disk_functions(struct world *door) {
  door->disk_list = disk_list;
  door->disk_read = disk_read;
  door->disk_open = disk_open;
  door->disk_settle = disk_settle;
  door->disk_create = disk_create;
  door->disk_write = disk_write;
  door->disk_fetch = disk_fetch;
  door->disk_remove = disk_remove;
  door->disk_close = disk_close;
}

int uv_disk_open(struct uv_world *world, const char *directory, struct error *error) {
  struct disk *disk = &world->disk;
  disk->asked_end = &disk->asked;
  disk->answered_end = &disk->answered;
  disk->directory = -1;
  world->path = xstrdup(directory);
  const int status = directory_make(directory, error);
  if (status != 0)
    return status;
  disk->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (disk->directory < 0)
    return error_set_errno(error, ERR_IO, "the data directory %s cannot be opened", directory);
  if (flock(disk->directory, LOCK_EX | LOCK_NB) != 0) {
    close(disk->directory);
    disk->directory = -1;
    return error_set(error, ERR_IO, "the data directory %s is in use by another process: stop that one first",
                     directory);
  }
  pthread_mutex_init(&disk->mutex, NULL);
  pthread_cond_init(&disk->wake, NULL);
  uv_async_init(world->loop, &disk->answer, answered);
  disk->answer.data = world;
  world->handles++;
  const int created = pthread_create(&disk->thread, NULL, disk_thread, disk);
  assert(created == 0);
  return 0;
}

void uv_disk_close(struct uv_world *world) {
  struct disk *disk = &world->disk;
  if (disk->directory < 0)
    return;
  pthread_mutex_lock(&disk->mutex);
  disk->stopping = true;
  pthread_mutex_unlock(&disk->mutex);
  pthread_cond_signal(&disk->wake);
  pthread_join(disk->thread, NULL);
  deliver(disk);
  pthread_mutex_destroy(&disk->mutex);
  pthread_cond_destroy(&disk->wake);
  close(disk->directory);
  uv_world_close_handle(world, (uv_handle_t *)&disk->answer, NULL);
}
