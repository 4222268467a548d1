/* rocksdb_store.h: what the files of the RocksDB store share; see rocksdb_store.c. */
#ifndef ASSAY_MASTER_ROCKSDB_STORE_H
#define ASSAY_MASTER_ROCKSDB_STORE_H

#include <pthread.h>
#include <rocksdb/c.h>

#include "master/store.h"

struct rocksdb_store;

enum job_kind {
  JOB_WRITE,      /* whatever the writer does: it needs the database */
  JOB_CHECKPOINT, /* linked, its checksums are being computed */
  JOB_CARRY,
  JOB_READ,
  JOB_KINDS
};

/* Something a worker does, and what the loop is told afterwards. */
struct job {
  struct job *next;
  void (*run)(struct rocksdb_store *store, struct job *job);    /* on a worker's thread */
  void (*finish)(struct rocksdb_store *store, struct job *job); /* on the loop's; frees the job */
  enum job_kind kind;
  int status;
  struct error error;
};

#define READERS 2 /* threads that read what is not in memory */

struct worker {
  struct rocksdb_store *store;
  pthread_t thread;
  pthread_cond_t wanted;
  struct job *jobs, **jobs_end;
  bool stop; /* when there are no more jobs */
};

/* A snapshot on its way in; the carrier's, but for its beginning, its end and its installation. */
struct incoming {
  bool is_there;
  uint64_t index;
  struct snapshot_file *files;
  bool *whole; /* of each file */
  size_t count;
  size_t file;               /* the first that is not whole, `count`: none */
  int fd;                    /* of that file; -1: none */
  uint64_t offset, checksum; /* what of it is there */
  struct bytes chunk;        /* of it, not folded into the checksum yet */
  rocksdb_t *database;       /* opened, to be installed; NULL: not yet */
};

struct rocksdb_store {
  struct row_store store;
  struct store_wake wake;
  char *path;
  int lock_fd;
  uint64_t generation; /* the database is in rows-<generation> */
  rocksdb_t *database;
  rocksdb_options_t *options, *file_options; /* of the database; of a file to be taken in */
  rocksdb_block_based_table_options_t *table_options;
  rocksdb_cache_t *block_cache;
  rocksdb_readoptions_t *read_options;

  pthread_mutex_t mutex; /* guards the lists of jobs, the counts and `ending` */
  pthread_cond_t changed;
  struct worker writer, summer, carrier, readers[READERS];
  size_t next_reader;
  struct job *finished, **finished_end;
  size_t unfinished[JOB_KINDS];
  bool ending; /* what cannot be done at once is given up */

  uint64_t next_checkpoint; /* writer's */
  /* Table files whose checksums are known, of the database of that generation; guarded by the mutex. */
  struct snapshot_file *known;
  size_t known_count;
  uint64_t known_generation;
  struct incoming incoming;
};

#define TABLE_FILE_SUFFIX ".sst"

struct rocksdb_store *rocksdb_store_of(struct row_store *store);

/* Puts an error of RocksDB's into `error` and frees its text. */
int rocksdb_take_error(char *text, struct error *error, const char *what, const char *path);

/* The path of a file or directory of the store's, to free(). */
char *rocksdb_store_path(const struct rocksdb_store *store, const char *kind, uint64_t number);

/* Opens the database of store->generation; an error leaves store->database as it is. */
int rocksdb_store_open_database(struct rocksdb_store *store, struct error *error);
void rocksdb_store_close_database(struct rocksdb_store *store);
/* Makes the database of that generation the store's, in one step. An error leaves the one before it; where
 * that cannot be made sure of, the process ends. */
int rocksdb_store_point(const struct rocksdb_store *store, uint64_t generation, struct error *error);

/* Gives a new job to a worker, from the loop's thread: it counts as unfinished, under its kind, until
 * rocksdb_store_finished(). */
void rocksdb_store_begin(struct rocksdb_store *store, struct worker *worker, struct job *job);
/* Gives a job that was begun to a worker, from any thread; the mutex is not held. */
void worker_give(struct worker *worker, struct job *job);
/* The job is done: its finish() is due on the loop. */
void rocksdb_store_finished(struct rocksdb_store *store, struct job *job);

void rocksdb_store_drain(struct row_store *store, bool ending);
/* Blocks until no reader is at work, calling the callbacks from inside. */
void rocksdb_store_finish_reads(struct rocksdb_store *store);

/* The writer has done its part of a checkpoint. */
void rocksdb_store_linked(struct rocksdb_store *store, struct job *job);
/* Begins a job of JOB_CARRY on the carrier. */
void rocksdb_store_carry(struct rocksdb_store *store, struct job *job);

/* -- rocksdb_snapshot.c -- */
void rocksdb_checkpoint(struct row_store *store, store_checkpoint_done *done, void *context);
void rocksdb_checkpoint_read(struct row_store *store, struct store_checkpoint *checkpoint, size_t file,
                             uint64_t offset, void *buffer, size_t size, snapshot_read_done *done,
                             void *owner);
void rocksdb_checkpoint_close(struct row_store *store, struct store_checkpoint *checkpoint);
bool rocksdb_is_table_file(const struct snapshot_file *file);
/* The name of a file of the live database with that size and checksum, if one is known. */
bool rocksdb_known_name(struct rocksdb_store *store, const struct snapshot_file *file, char *name);
void rocksdb_known_replace(struct rocksdb_store *store, uint64_t generation,
                           const struct snapshot_file *files, size_t count);
void rocksdb_known_write(struct rocksdb_store *store);
void rocksdb_known_load(struct rocksdb_store *store);

/* -- rocksdb_receive.c -- */
void rocksdb_receive_begin(struct row_store *store, uint64_t index, const struct snapshot_file *files,
                           size_t file_count, snapshot_receive_done *done, void *owner);
void rocksdb_receive_write(struct row_store *store, uint64_t file, uint64_t offset, const void *data,
                           size_t size, snapshot_receive_done *done, void *owner);
void rocksdb_receive_prepare(struct row_store *store, snapshot_receive_done *done, void *owner);
int rocksdb_receive_install(struct row_store *store, struct error *error);
void rocksdb_receive_forget(struct row_store *store, uint64_t index);
/* Before the workers start, and after they ended. */
void rocksdb_incoming_load(struct rocksdb_store *store);
void rocksdb_incoming_close(struct rocksdb_store *store);
/* A list of files on disk, with the generation it belongs to and an index. */
int rocksdb_list_write(const char *path, uint64_t generation, uint64_t index,
                       const struct snapshot_file *files, size_t count, struct error *error);
/* False when there is none of that generation; else `files` is the caller's to free(). */
bool rocksdb_list_read(const char *path, uint64_t generation, uint64_t *index, struct snapshot_file **files,
                       size_t *count);

#endif
