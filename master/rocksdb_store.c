/* rocksdb_store.c: a row store in RocksDB.
 *
 *   <path>/lock             held while the store is open
 *   <path>/current          names the database that counts: "rows-3"
 *   <path>/rows-3/          the database
 *   <path>/rows-4/          a snapshot being received: nothing until `current` names it
 *   <path>/incoming         what that one is to hold (rocksdb_receive.c)
 *   <path>/checkpoint-7/    a snapshot being sent: hard links
 *   <path>/sums             checksums of table files, known from snapshots
 *
 * A write is sorted into one table file, and the file is ingested: no log, no memtable (the tables above are
 * both), and one step because it is one file. That costs a quarter of the processor time of writing through
 * the memtable and flushing it. All tables share one column family, told apart by the first byte of the key,
 * because RocksDB's C interface can neither ingest into nor flush several families in one step.
 *
 * Threads: the writer does writes and takes checkpoints, in order; the summer computes the checksums of
 * checkpoints' files, which may take long; the carrier reads checkpoints for sending, and stores what is
 * received; the readers fetch what is not in memory. */
#include "master/rocksdb_store.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define BLOCK_CACHE_SIZE (32u << 20)
#define LEVEL0_LIMIT 32       /* files that wait for compaction at which the writer waits too */
#define RETRY_INTERVAL_MS 200 /* while the disk is full, or compaction behind */
#define BLOOM_BITS_PER_KEY 10
#define ROCKSDB_LOG_HEADER 5 /* InfoLogLevel's HEADER_LEVEL */

struct rocksdb_store *rocksdb_store_of(struct row_store *store) {
  return CONTAINER_OF(store, struct rocksdb_store, store);
}

char *rocksdb_store_path(const struct rocksdb_store *store, const char *kind, uint64_t number) {
  char name[64];
  snprintf(name, sizeof name, "%s-%llu", kind, (unsigned long long)number);
  return path_join(store->path, name);
}

int rocksdb_take_error(char *text, struct error *error, const char *what, const char *path) {
  const bool full = strstr(text, "No space left") != NULL;
  error_set(error, full ? ERR_NO_SPACE : ERR_IO, "cannot %s %s: %s", what, path, text);
  rocksdb_free(text);
  return full ? ERR_NO_SPACE : ERR_IO;
}

/* -- workers -- */

void worker_give(struct worker *worker, struct job *job) {
  struct rocksdb_store *store = worker->store;
  pthread_mutex_lock(&store->mutex);
  job->next = NULL;
  *worker->jobs_end = job;
  worker->jobs_end = &job->next;
  pthread_cond_signal(&worker->wanted);
  pthread_mutex_unlock(&store->mutex);
}

void rocksdb_store_begin(struct rocksdb_store *store, struct worker *worker, struct job *job) {
  pthread_mutex_lock(&store->mutex);
  store->unfinished[job->kind]++;
  pthread_mutex_unlock(&store->mutex);
  worker_give(worker, job);
}

void rocksdb_store_carry(struct rocksdb_store *store, struct job *job) {
  assert(job->kind == JOB_CARRY);
  rocksdb_store_begin(store, &store->carrier, job);
}

void rocksdb_store_linked(struct rocksdb_store *store, struct job *job) {
  pthread_mutex_lock(&store->mutex);
  assert(job->kind == JOB_WRITE);
  job->kind = JOB_CHECKPOINT;
  store->unfinished[JOB_WRITE]--;
  store->unfinished[JOB_CHECKPOINT]++;
  pthread_cond_broadcast(&store->changed);
  pthread_mutex_unlock(&store->mutex);
}

void rocksdb_store_finished(struct rocksdb_store *store, struct job *job) {
  pthread_mutex_lock(&store->mutex);
  job->next = NULL;
  *store->finished_end = job;
  store->finished_end = &job->next;
  store->unfinished[job->kind]--;
  pthread_cond_broadcast(&store->changed);
  pthread_mutex_unlock(&store->mutex);
  store->wake.wake(store->wake.context);
}

static void *work(void *argument) {
  struct worker *worker = argument;
  struct rocksdb_store *store = worker->store;
  pthread_mutex_lock(&store->mutex);
  for (;;) {
    struct job *job = worker->jobs;
    if (job) {
      worker->jobs = job->next;
      if (!worker->jobs)
        worker->jobs_end = &worker->jobs;
      pthread_mutex_unlock(&store->mutex);
      job->run(store, job);
      pthread_mutex_lock(&store->mutex);
    } else if (worker->stop) {
      break;
    } else {
      pthread_cond_wait(&worker->wanted, &store->mutex);
    }
  }
  pthread_mutex_unlock(&store->mutex);
  return NULL;
}

static int worker_start(struct worker *worker, struct rocksdb_store *store, struct error *error) {
  worker->store = store;
  worker->jobs_end = &worker->jobs;
  pthread_cond_init(&worker->wanted, NULL);
  const int status = pthread_create(&worker->thread, NULL, work, worker);
  if (status == 0)
    return 0;
  errno = status;
  worker->store = NULL;
  return error_set_errno(error, ERR_NO_MEMORY, "cannot start a thread for %s", store->path);
}

/* Its jobs are done before. */
static void worker_stop(struct worker *worker) {
  if (!worker->store)
    return;
  pthread_mutex_lock(&worker->store->mutex);
  worker->stop = true;
  pthread_cond_broadcast(&worker->wanted);
  pthread_mutex_unlock(&worker->store->mutex);
  pthread_join(worker->thread, NULL);
  pthread_cond_destroy(&worker->wanted);
}

/* Waits a moment on the writer's thread. False when there is no time left for that. */
static bool pause_writer(struct rocksdb_store *store) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += (long)(RETRY_INTERVAL_MS * NS_PER_MS);
  if (until.tv_nsec >= NS_PER_S) {
    until.tv_nsec -= (long)NS_PER_S;
    until.tv_sec++;
  }
  pthread_mutex_lock(&store->mutex);
  if (!store->ending)
    pthread_cond_timedwait(&store->changed, &store->mutex, &until);
  const bool go_on = !store->ending;
  pthread_mutex_unlock(&store->mutex);
  return go_on;
}

static void store_poll(struct row_store *base) {
  struct rocksdb_store *store = rocksdb_store_of(base);
  pthread_mutex_lock(&store->mutex);
  struct job *due = store->finished;
  store->finished = NULL;
  store->finished_end = &store->finished;
  pthread_mutex_unlock(&store->mutex);
  while (due) {
    struct job *job = due;
    due = job->next;
    job->finish(store, job);
  }
}

static bool is_busy(const struct rocksdb_store *store, bool with_all) {
  size_t jobs = store->unfinished[JOB_WRITE];
  for (size_t kind = 0; with_all && kind < JOB_KINDS; kind++)
    jobs += store->unfinished[kind];
  return jobs > 0;
}

void rocksdb_store_drain(struct row_store *base, bool ending) {
  struct rocksdb_store *store = rocksdb_store_of(base);
  for (;;) {
    pthread_mutex_lock(&store->mutex);
    if (ending) {
      store->ending = true;
      pthread_cond_broadcast(&store->changed);
    }
    while (!store->finished && is_busy(store, ending))
      pthread_cond_wait(&store->changed, &store->mutex);
    const bool done = !store->finished;
    pthread_mutex_unlock(&store->mutex);
    if (done)
      return;
    store_poll(base);
  }
}

/* A callback may ask for more. */
void rocksdb_store_finish_reads(struct rocksdb_store *store) {
  for (;;) {
    pthread_mutex_lock(&store->mutex);
    while (store->unfinished[JOB_READ] > 0 && !store->finished)
      pthread_cond_wait(&store->changed, &store->mutex);
    const bool done = store->unfinished[JOB_READ] == 0 && !store->finished;
    pthread_mutex_unlock(&store->mutex);
    if (done)
      return;
    store_poll(&store->store);
  }
}

/* -- writing -- */

struct write_job {
  struct job job;
  const struct store_row **rows;
  size_t count;
  store_write_done *done;
  void *context;
};

static int row_order(const void *left, const void *right) {
  const struct store_row *a = *(const struct store_row *const *)left;
  const struct store_row *b = *(const struct store_row *const *)right;
  if (a->table != b->table)
    return a->table < b->table ? -1 : 1;
  const int order = memcmp(a->bytes, b->bytes, a->key_size < b->key_size ? a->key_size : b->key_size);
  return order ? order : (a->key_size > b->key_size) - (a->key_size < b->key_size);
}

static char *add_rows(rocksdb_sstfilewriter_t *file, const struct write_job *write) {
  char key[1 + STORE_KEY_LIMIT], *text = NULL;
  for (size_t i = 0; i < write->count && !text; i++) {
    const struct store_row *row = write->rows[i];
    key[0] = (char)row->table;
    memcpy(key + 1, row->bytes, row->key_size);
    if (row->deleted)
      rocksdb_sstfilewriter_delete(file, key, row->key_size + 1u, &text);
    else
      rocksdb_sstfilewriter_put(file, key, row->key_size + 1u, (const char *)row->bytes + row->key_size,
                                row->value_size, &text);
  }
  return text;
}

static int write_table_file(struct rocksdb_store *store, const struct write_job *write, const char *path,
                            struct error *error) {
  rocksdb_envoptions_t *environment = rocksdb_envoptions_create();
  rocksdb_sstfilewriter_t *file = rocksdb_sstfilewriter_create(environment, store->file_options);
  char *text = NULL;
  rocksdb_sstfilewriter_open(file, path, &text);
  if (!text)
    text = add_rows(file, write);
  if (!text)
    rocksdb_sstfilewriter_finish(file, &text);
  rocksdb_sstfilewriter_destroy(file);
  rocksdb_envoptions_destroy(environment);
  return text ? rocksdb_take_error(text, error, "write", path) : 0;
}

static int ingest(struct rocksdb_store *store, const char *path, struct error *error) {
  rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
  rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
  char *text = NULL;
  rocksdb_ingest_external_file(store->database, &path, 1, options, &text);
  rocksdb_ingestexternalfileoptions_destroy(options);
  return text ? rocksdb_take_error(text, error, "take in", path) : 0;
}

static bool compaction_behind(struct rocksdb_store *store) {
  uint64_t files = 0;
  rocksdb_property_int(store->database, "rocksdb.num-files-at-level0", &files);
  return files > LEVEL0_LIMIT;
}

static void run_write(struct rocksdb_store *store, struct job *job) {
  struct write_job *write = CONTAINER_OF(job, struct write_job, job);
  qsort(write->rows, write->count, sizeof(struct store_row *), row_order);
  char *path = path_join(store->path, "write" TABLE_FILE_SUFFIX);
  /* A full disk is waited for: the tables keep the rows meanwhile. Where the database itself met it, while
   * taking the file in, it refuses with the same error until it has found room and has recovered by itself;
   * rows that it then has already are the same rows again. */
  for (bool told = false;; told = true) {
    unlink(path);
    job->status = write_table_file(store, write, path, &job->error);
    if (job->status == 0)
      job->status = ingest(store, path, &job->error);
    if (job->status != ERR_NO_SPACE)
      break;
    if (!told)
      log_warn("%s; trying again until there is room", job->error.message);
    if (!pause_writer(store))
      break;
  }
  free(path);
  while (job->status == 0 && compaction_behind(store) && pause_writer(store))
    continue;
  rocksdb_store_finished(store, job);
}

static void finish_write(struct rocksdb_store *store, struct job *job) {
  (void)store;
  struct write_job *write = CONTAINER_OF(job, struct write_job, job);
  write->done(write->context, job->status, job->status ? &job->error : NULL);
  free(write);
}

static void store_write(struct row_store *base, const struct store_row **rows, size_t count,
                        store_write_done *done, void *context) {
  struct rocksdb_store *store = rocksdb_store_of(base);
  struct write_job *write = xcalloc(1, sizeof *write);
  *write = (struct write_job){.job = {.kind = JOB_WRITE, .run = run_write, .finish = finish_write},
                              .rows = rows,
                              .count = count,
                              .done = done,
                              .context = context};
  assert(count > 0);
  rocksdb_store_begin(store, &store->writer, &write->job);
}

/* -- reading -- */

static int store_get(struct row_store *base, enum table table, const void *key, size_t key_size,
                     struct bytes *value, struct error *error) {
  const struct rocksdb_store *store = rocksdb_store_of(base);
  char full[1 + STORE_KEY_LIMIT];
  assert(key_size <= STORE_KEY_LIMIT);
  full[0] = (char)table;
  memcpy(full + 1, key, key_size);
  char *text = NULL;
  rocksdb_pinnableslice_t *found =
      rocksdb_get_pinned(store->database, store->read_options, full, key_size + 1, &text);
  if (text)
    return rocksdb_take_error(text, error, "read", store->path);
  if (!found)
    return ERR_NOT_FOUND;
  size_t size;
  const char *data = rocksdb_pinnableslice_value(found, &size);
  bytes_append(value, data, size);
  rocksdb_pinnableslice_destroy(found);
  return 0;
}

struct read_job {
  struct job job;
  store_read_run *run;
  store_read_done *done;
  void *context;
};

static void run_read(struct rocksdb_store *store, struct job *job) {
  const struct read_job *read = CONTAINER_OF(job, struct read_job, job);
  read->run(read->context, &store->store);
  rocksdb_store_finished(store, job);
}

static void finish_read(struct rocksdb_store *store, struct job *job) {
  (void)store;
  struct read_job *read = CONTAINER_OF(job, struct read_job, job);
  read->done(read->context);
  free(read);
}

static void store_read(struct row_store *base, store_read_run *run, store_read_done *done, void *context) {
  struct rocksdb_store *store = rocksdb_store_of(base);
  struct read_job *read = xmalloc(sizeof *read);
  *read = (struct read_job){.job = {.run = run_read, .finish = finish_read, .kind = JOB_READ},
                            .run = run,
                            .done = done,
                            .context = context};
  rocksdb_store_begin(store, &store->readers[store->next_reader++ % READERS], &read->job);
}

/* Turns a prefix into the first key behind all keys that have it. */
static size_t behind_prefix(char *key, size_t size) {
  while (size > 0 && (unsigned char)key[size - 1] == 0xff)
    size--;
  assert(size > 0);
  key[size - 1]++;
  return size;
}

static int store_scan(struct row_store *base, enum table table, const void *prefix, size_t prefix_size,
                      const void *from, size_t from_size, store_row_found *found, void *context,
                      struct error *error) {
  const struct rocksdb_store *store = rocksdb_store_of(base);
  char first[1 + STORE_KEY_LIMIT], end[1 + STORE_KEY_LIMIT];
  assert(prefix_size <= STORE_KEY_LIMIT && from_size <= STORE_KEY_LIMIT);
  first[0] = end[0] = (char)table;
  if (prefix_size)
    memcpy(end + 1, prefix, prefix_size);
  const void *start = from_size ? from : prefix;
  const size_t start_size = from_size ? from_size : prefix_size;
  if (start_size)
    memcpy(first + 1, start, start_size);
  rocksdb_readoptions_t *options = rocksdb_readoptions_create();
  rocksdb_readoptions_set_iterate_upper_bound(options, end, behind_prefix(end, prefix_size + 1));
  rocksdb_iterator_t *at = rocksdb_create_iterator(store->database, options);
  bool more = true;
  for (rocksdb_iter_seek(at, first, start_size + 1); more && rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
    size_t key_size, value_size;
    const char *key = rocksdb_iter_key(at, &key_size), *value = rocksdb_iter_value(at, &value_size);
    more = found(context, (const unsigned char *)key + 1, key_size - 1, (const unsigned char *)value,
                 value_size);
  }
  char *text = NULL;
  rocksdb_iter_get_error(at, &text);
  rocksdb_iter_destroy(at);
  rocksdb_readoptions_destroy(options);
  return text ? rocksdb_take_error(text, error, "read", store->path) : 0;
}

/* -- opening, closing -- */

static void make_options(struct rocksdb_store *store) {
  store->options = rocksdb_options_create();
  rocksdb_options_set_create_if_missing(store->options, 1);
  rocksdb_options_set_compression(store->options, rocksdb_no_compression);
  /* Not LZ4: RocksDB 7.8 hands it memory that could not be had, and dies. Snappy asks for it as C++ does. */
  rocksdb_options_set_bottommost_compression(store->options, rocksdb_snappy_compression);
  rocksdb_options_set_max_background_jobs(store->options, 4);
  /* Rows are written once and mostly in places of their own: merging whole runs, late, rewrites them least.
   * What merging there is yields to everything that a client waits for. */
  rocksdb_options_set_compaction_style(store->options, rocksdb_universal_compaction);
  rocksdb_options_set_level0_file_num_compaction_trigger(store->options, 8);
  rocksdb_env_t *environment = rocksdb_create_default_env();
  rocksdb_env_lower_thread_pool_cpu_priority(environment);
  rocksdb_options_set_env(store->options, environment);
  rocksdb_env_destroy(environment);
  rocksdb_options_set_max_open_files(store->options, 512);
  /* RocksDB 7.8 asserts when it writes to its log again after a failure, as on a full disk: so it writes
   * nothing after opening. What matters comes back as an error. */
  rocksdb_options_set_info_log_level(store->options, ROCKSDB_LOG_HEADER);
  rocksdb_options_set_keep_log_file_num(store->options, 2);
  store->table_options = rocksdb_block_based_options_create();
  store->block_cache = rocksdb_cache_create_lru(BLOCK_CACHE_SIZE);
  rocksdb_block_based_options_set_block_cache(store->table_options, store->block_cache);
  rocksdb_block_based_options_set_filter_policy(store->table_options,
                                                rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS_PER_KEY));
  rocksdb_options_set_block_based_table_factory(store->options, store->table_options);
  store->read_options = rocksdb_readoptions_create();
  /* A file that is taken in is soon merged with others: compressing it would be work done twice. */
  store->file_options = rocksdb_options_create_copy(store->options);
  rocksdb_options_set_bottommost_compression(store->file_options, rocksdb_no_compression);
}

int rocksdb_store_open_database(struct rocksdb_store *store, struct error *error) {
  char *path = rocksdb_store_path(store, "rows", store->generation), *text = NULL;
  rocksdb_t *database = rocksdb_open(store->options, path, &text);
  const int status = text ? rocksdb_take_error(text, error, "open", path) : 0;
  if (status == 0)
    store->database = database;
  free(path);
  return status;
}

void rocksdb_store_close_database(struct rocksdb_store *store) {
  if (store->database)
    rocksdb_close(store->database);
  store->database = NULL;
}

static int point(const struct rocksdb_store *store, uint64_t generation, struct error *error) {
  char line[64];
  const int size = snprintf(line, sizeof line, "rows-%llu\n", (unsigned long long)generation);
  char *path = path_join(store->path, "current");
  const int status = file_replace(path, line, (size_t)size, error);
  free(path);
  return status;
}

int rocksdb_store_point(const struct rocksdb_store *store, uint64_t generation, struct error *error) {
  const int status = point(store, generation, error);
  struct error again;
  if (status != 0 && generation > 1 && point(store, generation - 1, &again) != 0) {
    log_error("%s, and which database a restart finds is unknown: %s", error->message, again.message);
    _exit(EXIT_HARNESS);
  }
  return status;
}

static int lock_store(struct rocksdb_store *store, struct error *error) {
  char *path = path_join(store->path, "lock");
  store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  int status = 0;
  if (store->lock_fd < 0)
    status = error_set_errno(error, ERR_IO, "cannot open %s", path);
  else if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0)
    status = error_set(error, ERR_IO, "%s is in use by another process: stop that one first", store->path);
  free(path);
  return status;
}

/* Which database counts; 0: none does yet. */
static int read_pointer(struct rocksdb_store *store, struct error *error) {
  char *path = path_join(store->path, "current");
  struct bytes content = {0};
  int status = file_read(path, &content, error);
  if (status == ERR_NOT_FOUND) {
    status = 0;
  } else if (status == 0) {
    bytes_append_u8(&content, '\0');
    char *end;
    if (strncmp((const char *)content.data, "rows-", 5) == 0)
      store->generation = strtoull((const char *)content.data + 5, &end, 10);
    if (store->generation == 0)
      status = error_set(error, ERR_CORRUPT,
                         "%s does not name a database: remove this node's data directory and let it catch up "
                         "from the others",
                         path);
  }
  bytes_free(&content);
  free(path);
  return status;
}

/* Clears away what a crash left: everything but what the pointer points at, and a reception that can be gone
 * on with. */
static int clear_leftovers(const struct rocksdb_store *store, struct error *error) {
  char kept[64], incoming[64];
  snprintf(kept, sizeof kept, "rows-%llu", (unsigned long long)store->generation);
  snprintf(incoming, sizeof incoming, "rows-%llu", (unsigned long long)store->generation + 1);
  DIR *directory = opendir(store->path);
  if (!directory)
    return error_set_errno(error, ERR_IO, "cannot open %s", store->path);
  int status = 0;
  for (struct dirent *entry; status == 0 && (entry = readdir(directory));) {
    const char *name = entry->d_name;
    if (strcmp(name, kept) == 0 || (store->incoming.is_there && strcmp(name, incoming) == 0) ||
        (strncmp(name, "rows-", 5) != 0 && strncmp(name, "checkpoint-", 11) != 0))
      continue;
    char *path = path_join(store->path, name);
    status = directory_remove(path, error);
    free(path);
  }
  closedir(directory);
  return status;
}

static int open_content(struct rocksdb_store *store, struct error *error) {
  int status = directory_make(store->path, error);
  if (status == 0)
    status = lock_store(store, error);
  if (status == 0)
    status = read_pointer(store, error);
  /* What was read may be known to the kernel only, from a process that was killed before its fsync. */
  if (status == 0)
    status = directory_sync(store->path, error);
  const bool is_new = store->generation == 0;
  if (is_new)
    store->generation = 1;
  if (status == 0 && !is_new) {
    rocksdb_incoming_load(store);
    rocksdb_known_load(store);
  }
  if (status == 0)
    status = clear_leftovers(store, error);
  if (status != 0)
    return status;
  make_options(store);
  status = rocksdb_store_open_database(store, error);
  if (status == 0 && is_new)
    status = rocksdb_store_point(store, store->generation, error);
  return status;
}

static void store_close(struct row_store *base) {
  struct rocksdb_store *store = rocksdb_store_of(base);
  if (store->database)
    rocksdb_store_drain(base, true);
  worker_stop(&store->writer);
  worker_stop(&store->summer);
  for (size_t i = 0; i < READERS; i++)
    worker_stop(&store->readers[i]);
  worker_stop(&store->carrier);
  rocksdb_incoming_close(store);
  rocksdb_store_close_database(store);
  if (store->options) {
    rocksdb_options_destroy(store->options);
    rocksdb_options_destroy(store->file_options);
    rocksdb_block_based_options_destroy(store->table_options);
    rocksdb_cache_destroy(store->block_cache);
    rocksdb_readoptions_destroy(store->read_options);
  }
  if (store->lock_fd >= 0)
    close(store->lock_fd);
  pthread_cond_destroy(&store->changed);
  pthread_mutex_destroy(&store->mutex);
  free(store->known);
  free(store->path);
  free(store);
}

static const struct row_store_functions rocksdb_functions = {
    .write = store_write,
    .drain = rocksdb_store_drain,
    .get = store_get,
    .scan = store_scan,
    .read = store_read,
    .checkpoint = rocksdb_checkpoint,
    .checkpoint_read = rocksdb_checkpoint_read,
    .checkpoint_close = rocksdb_checkpoint_close,
    .receive_begin = rocksdb_receive_begin,
    .receive_write = rocksdb_receive_write,
    .receive_prepare = rocksdb_receive_prepare,
    .receive_install = rocksdb_receive_install,
    .receive_forget = rocksdb_receive_forget,
    .poll = store_poll,
    .close = store_close,
};

int rocksdb_store_open(const char *path, const struct store_wake *wake, struct row_store **result,
                       struct error *error) {
  struct rocksdb_store *store = xcalloc(1, sizeof *store);
  store->store.functions = &rocksdb_functions;
  store->wake = *wake;
  store->path = xstrdup(path);
  store->lock_fd = -1;
  store->incoming.fd = -1;
  store->finished_end = &store->finished;
  pthread_mutex_init(&store->mutex, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&store->changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
  int status = open_content(store, error);
  if (status == 0)
    status = worker_start(&store->writer, store, error);
  if (status == 0)
    status = worker_start(&store->summer, store, error);
  for (size_t i = 0; i < READERS && status == 0; i++)
    status = worker_start(&store->readers[i], store, error);
  if (status == 0)
    status = worker_start(&store->carrier, store, error);
  if (status != 0) {
    store_close(&store->store);
    return status;
  }
  *result = &store->store;
  return 0;
}
