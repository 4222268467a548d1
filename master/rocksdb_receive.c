/* rocksdb_receive.c: a checkpoint of another store on its way in.
 *
 *   <path>/incoming           what is being received: index, generation, and the files with sizes and
 * checksums <path>/rows-4/7.sst       a file that is whole, verified and durable <path>/rows-4/9.sst.part the
 * one that is being received
 *
 * Everything but the installation happens on the carrier's thread. What is there when a reception begins is
 * kept where the new list of files asks for it: whole table files, and a beginning of one, by name, size and
 * checksum; and of the live database whatever has the size and the checksum, by a hard link. Files that are
 * not tables are few and small, opening the database changes them, and they are received again. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/rocksdb_store.h"

#define PART_SUFFIX ".part"

struct receive_job {
  struct job job;
  snapshot_receive_done *done;
  void *owner;
  uint64_t index;
  struct snapshot_file *files; /* to begin with: become the incoming's */
  size_t file_count;
  uint64_t file, offset;
  unsigned char *data;
  size_t size;
  struct snapshot_range missing;
};

/* -- lists of files, on disk -- */

int rocksdb_list_write(const char *path, uint64_t generation, uint64_t index,
                       const struct snapshot_file *files, size_t count, struct error *error) {
  struct bytes list = {0};
  bytes_append_le64(&list, generation);
  bytes_append_le64(&list, index);
  bytes_append_varint(&list, count);
  for (size_t i = 0; i < count; i++) {
    bytes_append_string(&list, files[i].name, strlen(files[i].name));
    bytes_append_le64(&list, files[i].size);
    bytes_append_le64(&list, files[i].checksum);
  }
  bytes_append_le64(&list, checksum(list.data, list.size));
  const int status = file_replace(path, list.data, list.size, error);
  bytes_free(&list);
  return status;
}

static bool read_list(const struct bytes *content, uint64_t *generation, uint64_t *index,
                      struct snapshot_file **files, size_t *count) {
  if (content->size < 8)
    return false;
  struct reader reader = reader_make(content->data, content->size - 8);
  *generation = reader_le64(&reader);
  *index = reader_le64(&reader);
  *count = (size_t)reader_varint(&reader);
  if (reader.failed || *count > content->size ||
      le64_load(content->data + content->size - 8) != checksum(content->data, content->size - 8))
    return false;
  *files = xcalloc(*count + 1, sizeof **files);
  for (size_t i = 0; i < *count && !reader.failed; i++) {
    size_t size;
    const unsigned char *name = reader_string(&reader, &size);
    if (!name || size >= sizeof(*files)->name)
      break;
    memcpy((*files)[i].name, name, size);
    (*files)[i].size = reader_le64(&reader);
    (*files)[i].checksum = reader_le64(&reader);
  }
  if (!reader.failed && reader_left(&reader) == 0)
    return true;
  free(*files);
  return false;
}

bool rocksdb_list_read(const char *path, uint64_t generation, uint64_t *index, struct snapshot_file **files,
                       size_t *count) {
  struct bytes content = {0};
  uint64_t of;
  bool found = file_read(path, &content, NULL) == 0 && read_list(&content, &of, index, files, count);
  bytes_free(&content);
  if (found && of != generation) {
    free(*files);
    found = false;
  }
  return found;
}

/* -- the place -- */

static char *list_path(const struct rocksdb_store *store) {
  return path_join(store->path, "incoming");
}

static char *place_path(const struct rocksdb_store *store) {
  return rocksdb_store_path(store, "rows", store->generation + 1);
}

static char *file_path(const struct rocksdb_store *store, const char *name, bool part) {
  char text[sizeof(struct snapshot_file) + sizeof PART_SUFFIX];
  snprintf(text, sizeof text, "%s%s", name, part ? PART_SUFFIX : "");
  char *place = place_path(store), *path = path_join(place, text);
  free(place);
  return path;
}

static void free_incoming(struct incoming *incoming) {
  if (incoming->fd >= 0)
    close(incoming->fd);
  if (incoming->database)
    rocksdb_close(incoming->database);
  free(incoming->files);
  free(incoming->whole);
  bytes_free(&incoming->chunk);
  *incoming = (struct incoming){.fd = -1};
}

/* Of the file with that name: whether it is there with its whole size. */
static bool is_whole(const struct rocksdb_store *store, const struct snapshot_file *file) {
  struct stat info;
  char *path = file_path(store, file->name, false);
  const bool whole = stat(path, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size == file->size;
  free(path);
  return whole;
}

void rocksdb_incoming_load(struct rocksdb_store *store) {
  struct incoming *incoming = &store->incoming;
  char *path = list_path(store);
  incoming->is_there =
      rocksdb_list_read(path, store->generation + 1, &incoming->index, &incoming->files, &incoming->count);
  free(path);
  if (!incoming->is_there)
    return;
  incoming->whole = xcalloc(incoming->count + 1, sizeof *incoming->whole);
  for (size_t i = 0; i < incoming->count; i++)
    incoming->whole[i] = is_whole(store, &incoming->files[i]);
}

void rocksdb_incoming_close(struct rocksdb_store *store) {
  free_incoming(&store->incoming);
}

static void drop(struct rocksdb_store *store) {
  char *list = list_path(store), *place = place_path(store);
  struct error error;
  free_incoming(&store->incoming);
  unlink(list);
  if (directory_remove(place, &error) != 0)
    log_warn("%s; it is removed when the store is opened next", error.message);
  free(list);
  free(place);
}

/* -- beginning -- */

static const struct snapshot_file *find_by_name(const struct snapshot_file *files, size_t count,
                                                const char *name, size_t name_size) {
  for (size_t i = 0; i < count; i++)
    if (strlen(files[i].name) == name_size && memcmp(files[i].name, name, name_size) == 0)
      return &files[i];
  return NULL;
}

/* Which of the files that are there stay: whole ones are marked so. */
static bool stays(struct incoming *next, const struct incoming *old, const char *name) {
  size_t size = strlen(name);
  const size_t suffix = sizeof PART_SUFFIX - 1;
  const bool part = size > suffix && strcmp(name + size - suffix, PART_SUFFIX) == 0;
  if (part)
    size -= suffix;
  const struct snapshot_file *was = find_by_name(old->files, old->count, name, size);
  const struct snapshot_file *now = find_by_name(next->files, next->count, name, size);
  if (!was || !now || !rocksdb_is_table_file(now) || was->size != now->size || was->checksum != now->checksum)
    return false;
  if (!part && !old->whole[was - old->files])
    return false;
  next->whole[now - next->files] = next->whole[now - next->files] || !part;
  return true;
}

static int clear_place(const struct rocksdb_store *store, struct incoming *next, struct error *error) {
  char *place = place_path(store);
  int status = directory_make(place, error);
  DIR *directory = status == 0 ? opendir(place) : NULL;
  if (status == 0 && !directory)
    status = error_set_errno(error, ERR_IO, "cannot open %s", place);
  for (struct dirent *entry; directory && status == 0 && (entry = readdir(directory));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        stays(next, &store->incoming, entry->d_name))
      continue;
    char *path = path_join(place, entry->d_name);
    status = directory_remove(path, error);
    free(path);
  }
  if (directory)
    closedir(directory);
  free(place);
  return status;
}

/* A file of the live database that is the same. False: there is none, or it went just now. */
static bool link_live(struct rocksdb_store *store, const struct snapshot_file *file) {
  char name[sizeof file->name];
  if (!rocksdb_is_table_file(file) || !rocksdb_known_name(store, file, name))
    return false;
  char *rows = rocksdb_store_path(store, "rows", store->generation), *from = path_join(rows, name),
       *to = file_path(store, file->name, false);
  const bool linked = link(from, to) == 0;
  free(rows);
  free(from);
  free(to);
  return linked;
}

static int make_empty(const struct rocksdb_store *store, const struct snapshot_file *file,
                      struct error *error) {
  char *path = file_path(store, file->name, false);
  const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  const int status = fd < 0 ? error_set_errno(error, ERR_IO, "cannot create %s", path) : 0;
  if (fd >= 0)
    close(fd);
  free(path);
  return status;
}

/* The beginning of a file that was received before counts: it is read once more for its checksum. */
static int read_part(struct incoming *incoming, const char *path, uint64_t size, struct error *error) {
  unsigned char *chunk = xmalloc(SNAPSHOT_CHUNK);
  const uint64_t kept = size - size % SNAPSHOT_CHUNK;
  bool readable = true;
  while (readable && incoming->offset < kept) {
    readable = pread(incoming->fd, chunk, SNAPSHOT_CHUNK, (off_t)incoming->offset) == SNAPSHOT_CHUNK;
    if (!readable)
      break;
    incoming->checksum = checksum_fold(incoming->checksum, chunk, SNAPSHOT_CHUNK);
    incoming->offset += SNAPSHOT_CHUNK;
  }
  free(chunk);
  return ftruncate(incoming->fd, (off_t)incoming->offset) == 0
             ? 0
             : error_set_errno(error, ERR_IO, "cannot shorten %s", path);
}

/* Opens the first file that is not whole, if there is one. */
static int open_missing(const struct rocksdb_store *store, struct incoming *incoming, struct error *error) {
  incoming->offset = incoming->checksum = 0;
  bytes_clear(&incoming->chunk);
  while (incoming->file < incoming->count && incoming->whole[incoming->file])
    incoming->file++;
  if (incoming->file == incoming->count)
    return 0;
  struct stat info;
  const struct snapshot_file *file = &incoming->files[incoming->file];
  char *path = file_path(store, file->name, true);
  incoming->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  int status = 0;
  if (incoming->fd < 0 || fstat(incoming->fd, &info) != 0)
    status = error_set_errno(error, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, "cannot create %s", path);
  else
    status = read_part(incoming, path,
                       (uint64_t)info.st_size < file->size ? (uint64_t)info.st_size : file->size, error);
  free(path);
  return status;
}

static struct snapshot_range missing_of(const struct incoming *incoming) {
  struct snapshot_range missing = {incoming->file, incoming->offset, incoming->file};
  while (missing.end_file < incoming->count && !incoming->whole[missing.end_file])
    missing.end_file++;
  return missing;
}

static int check_names(const struct receive_job *asked, struct error *error) {
  for (size_t i = 0; i < asked->file_count; i++) {
    const char *name = asked->files[i].name;
    if (!memchr(name, '\0', sizeof asked->files[i].name) || name[0] == '\0' || name[0] == '.' ||
        strchr(name, '/'))
      return error_set(error, ERR_BAD_INPUT, "a snapshot was offered with a file that has no proper name");
  }
  return 0;
}

static int begin(struct rocksdb_store *store, struct receive_job *asked, struct error *error) {
  struct incoming *incoming = &store->incoming;
  struct incoming next = {.is_there = true,
                          .index = asked->index,
                          .files = asked->files,
                          .count = asked->file_count,
                          .whole = xcalloc(asked->file_count + 1, sizeof *next.whole),
                          .fd = -1};
  asked->files = NULL;
  if (incoming->fd >= 0)
    close(incoming->fd);
  incoming->fd = -1;
  if (incoming->database)
    rocksdb_close(incoming->database);
  incoming->database = NULL;
  char *list = list_path(store);
  int status = clear_place(store, &next, error);
  if (status == 0)
    status = rocksdb_list_write(list, store->generation + 1, next.index, next.files, next.count, error);
  free(list);
  free_incoming(incoming);
  *incoming = next;
  for (size_t i = 0; status == 0 && i < next.count; i++) {
    if (next.whole[i])
      continue;
    if (next.files[i].size == 0)
      status = make_empty(store, &next.files[i], error);
    next.whole[i] = next.files[i].size == 0 || link_live(store, &next.files[i]);
  }
  return status == 0 ? open_missing(store, incoming, error) : status;
}

static void finish_receiving(struct rocksdb_store *store, struct job *job, int status) {
  struct receive_job *asked = CONTAINER_OF(job, struct receive_job, job);
  job->status = status;
  asked->missing = missing_of(&store->incoming);
  rocksdb_store_finished(store, job);
}

static void run_begin(struct rocksdb_store *store, struct job *job) {
  struct receive_job *asked = CONTAINER_OF(job, struct receive_job, job);
  int status = check_names(asked, &job->error);
  if (status == 0)
    status = begin(store, asked, &job->error);
  finish_receiving(store, job, status);
}

/* -- pieces -- */

static void fold(struct incoming *incoming, const unsigned char *data, size_t size) {
  while (size > 0) {
    const size_t room = SNAPSHOT_CHUNK - incoming->chunk.size;
    const size_t piece = size < room ? size : room;
    if (piece == SNAPSHOT_CHUNK) {
      incoming->checksum = checksum_fold(incoming->checksum, data, SNAPSHOT_CHUNK);
    } else {
      bytes_append(&incoming->chunk, data, piece);
      if (incoming->chunk.size == SNAPSHOT_CHUNK) {
        incoming->checksum = checksum_fold(incoming->checksum, incoming->chunk.data, SNAPSHOT_CHUNK);
        bytes_clear(&incoming->chunk);
      }
    }
    data += piece;
    size -= piece;
  }
}

/* The file is whole: it must be what was announced, and stay. */
static int end_file(struct rocksdb_store *store, struct incoming *incoming, struct error *error) {
  const struct snapshot_file *file = &incoming->files[incoming->file];
  if (incoming->chunk.size > 0)
    incoming->checksum = checksum_fold(incoming->checksum, incoming->chunk.data, incoming->chunk.size);
  if (incoming->checksum != file->checksum) {
    incoming->offset = incoming->checksum = 0;
    bytes_clear(&incoming->chunk);
    if (ftruncate(incoming->fd, 0) != 0)
      return error_set_errno(error, ERR_IO, "cannot shorten %s", file->name);
    return error_set(error, ERR_CORRUPT, "%s was received with a wrong checksum", file->name);
  }
  char *part = file_path(store, file->name, true), *path = file_path(store, file->name, false);
  int status = 0;
  if (fsync(incoming->fd) != 0)
    status = error_set_errno(error, ERR_IO, "cannot make %s durable", part);
  else if (rename(part, path) != 0)
    status = error_set_errno(error, ERR_IO, "cannot rename %s", part);
  free(part);
  free(path);
  if (status != 0)
    return status;
  close(incoming->fd);
  incoming->fd = -1;
  incoming->whole[incoming->file] = true;
  return open_missing(store, incoming, error);
}

static int store_piece(struct rocksdb_store *store, const struct receive_job *asked, struct error *error) {
  struct incoming *incoming = &store->incoming;
  if (!incoming->is_there || incoming->fd < 0 || asked->file != incoming->file ||
      asked->offset != incoming->offset || asked->size > incoming->files[incoming->file].size - asked->offset)
    return error_set(error, ERR_BAD_INPUT, "a piece of a snapshot out of its order");
  errno = 0;
  if (pwrite(incoming->fd, asked->data, asked->size, (off_t)asked->offset) != (ssize_t)asked->size)
    return error_set_errno(error, errno == 0 || errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, "cannot write %s",
                           incoming->files[incoming->file].name);
  fold(incoming, asked->data, asked->size);
  incoming->offset += asked->size;
  return incoming->offset == incoming->files[incoming->file].size ? end_file(store, incoming, error) : 0;
}

static void run_store(struct rocksdb_store *store, struct job *job) {
  const struct receive_job *asked = CONTAINER_OF(job, struct receive_job, job);
  finish_receiving(store, job, store_piece(store, asked, &job->error));
}

/* -- making ready, installing, forgetting -- */

static void run_prepare(struct rocksdb_store *store, struct job *job) {
  struct incoming *incoming = &store->incoming;
  char *place = place_path(store), *text = NULL;
  int status = 0;
  if (!incoming->is_there || incoming->file < incoming->count)
    status = error_set(&job->error, ERR_BAD_INPUT, "the snapshot to install is not whole");
  if (status == 0)
    status = directory_sync(place, &job->error);
  if (status == 0)
    status = directory_sync(store->path, &job->error);
  if (status == 0 && !incoming->database) {
    incoming->database = rocksdb_open(store->options, place, &text);
    status = text ? rocksdb_take_error(text, &job->error, "open", place) : 0;
  }
  free(place);
  finish_receiving(store, job, status);
}

struct retire_job {
  struct job job;
  rocksdb_t *database;
  char *path;
};

static void run_retire(struct rocksdb_store *store, struct job *job) {
  const struct retire_job *retired = CONTAINER_OF(job, struct retire_job, job);
  struct error error;
  rocksdb_close(retired->database);
  if (directory_remove(retired->path, &error) != 0)
    log_warn("%s; it is removed when the store is opened next", error.message);
  rocksdb_known_write(store);
  rocksdb_store_finished(store, job);
}

static void finish_retire(struct rocksdb_store *store, struct job *job) {
  (void)store;
  struct retire_job *retired = CONTAINER_OF(job, struct retire_job, job);
  free(retired->path);
  free(retired);
}

int rocksdb_receive_install(struct row_store *base, struct error *error) {
  struct rocksdb_store *store = rocksdb_store_of(base);
  struct incoming *incoming = &store->incoming;
  if (!incoming->database)
    return error_set(error, ERR_BAD_INPUT, "there is no received snapshot that could be installed");
  rocksdb_store_drain(base, false);
  rocksdb_store_finish_reads(store);
  /* The step: from here on a restart finds the new database. */
  const int status = rocksdb_store_point(store, store->generation + 1, error);
  if (status != 0)
    return status;
  struct retire_job *retired = xcalloc(1, sizeof *retired);
  retired->job = (struct job){.kind = JOB_CARRY, .run = run_retire, .finish = finish_retire};
  retired->database = store->database;
  retired->path = rocksdb_store_path(store, "rows", store->generation);
  char *list = list_path(store);
  unlink(list);
  free(list);
  store->database = incoming->database;
  incoming->database = NULL;
  store->generation++;
  rocksdb_known_replace(store, store->generation, incoming->files, incoming->count);
  free_incoming(incoming);
  rocksdb_store_carry(store, &retired->job);
  return 0;
}

static void run_forget(struct rocksdb_store *store, struct job *job) {
  const struct receive_job *asked = CONTAINER_OF(job, struct receive_job, job);
  if (store->incoming.is_there && store->incoming.index <= asked->index)
    drop(store);
  rocksdb_store_finished(store, job);
}

/* -- the door -- */

static void finish_job(struct rocksdb_store *store, struct job *job) {
  (void)store;
  struct receive_job *asked = CONTAINER_OF(job, struct receive_job, job);
  if (asked->done)
    asked->done(asked->owner, job->status, &asked->missing, job->status ? &job->error : NULL);
  free(asked->files);
  free(asked->data);
  free(asked);
}

static struct receive_job *new_job(void (*run)(struct rocksdb_store *store, struct job *job),
                                   snapshot_receive_done *done, void *owner) {
  struct receive_job *asked = xcalloc(1, sizeof *asked);
  asked->job = (struct job){.kind = JOB_CARRY, .run = run, .finish = finish_job};
  asked->done = done;
  asked->owner = owner;
  return asked;
}

void rocksdb_receive_begin(struct row_store *base, uint64_t index, const struct snapshot_file *files,
                           size_t file_count, snapshot_receive_done *done, void *owner) {
  struct receive_job *asked = new_job(run_begin, done, owner);
  asked->index = index;
  asked->files = xcalloc(file_count + 1, sizeof *files);
  if (file_count)
    memcpy(asked->files, files, file_count * sizeof *files);
  asked->file_count = file_count;
  rocksdb_store_carry(rocksdb_store_of(base), &asked->job);
}

void rocksdb_receive_write(struct row_store *base, uint64_t file, uint64_t offset, const void *data,
                           size_t size, snapshot_receive_done *done, void *owner) {
  struct receive_job *asked = new_job(run_store, done, owner);
  asked->file = file;
  asked->offset = offset;
  asked->data = memcpy(xmalloc(size), data, size);
  asked->size = size;
  rocksdb_store_carry(rocksdb_store_of(base), &asked->job);
}

void rocksdb_receive_prepare(struct row_store *base, snapshot_receive_done *done, void *owner) {
  rocksdb_store_carry(rocksdb_store_of(base), &new_job(run_prepare, done, owner)->job);
}

void rocksdb_receive_forget(struct row_store *base, uint64_t index) {
  struct receive_job *asked = new_job(run_forget, NULL, NULL);
  asked->index = index;
  rocksdb_store_carry(rocksdb_store_of(base), &asked->job);
}
