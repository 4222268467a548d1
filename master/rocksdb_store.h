/* rocksdb_store.h: what the files of the RocksDB store share; see rocksdb_store.c. */
#ifndef ASSAY_MASTER_ROCKSDB_STORE_H
#define ASSAY_MASTER_ROCKSDB_STORE_H

#include <pthread.h>
#include <rocksdb/c.h>

#include "master/store.h"

struct rocksdb_store;

/* Something a worker does, and what the loop is told afterwards. */
struct job {
  struct job *next;
  void (*run)(struct rocksdb_store *store, struct job *job);    /* on a worker's thread */
  void (*finish)(struct rocksdb_store *store, struct job *job); /* on the loop's; frees the job */
  bool is_checkpoint, is_read;                                  /* else a write */
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

/* A checksum that need not be computed again: table files do not change. */
struct known_checksum {
  uint64_t generation; /* of the database the file belongs to */
  struct snapshot_file file;
};

/* A snapshot on its way in. */
struct incoming {
  struct snapshot_file *files;
  size_t file_count, file;
  uint64_t offset, checksum;
  struct bytes chunk; /* of the file, not folded into the checksum yet */
  int fd;             /* of the file; -1: none */
  char *path;         /* NULL: nothing is being received */
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
  struct worker writer, summer, readers[READERS];
  size_t next_reader;
  struct job *finished, **finished_end;
  size_t writes, checkpoints, reads; /* not finished yet */
  bool ending;                       /* what cannot be done at once is given up */

  uint64_t next_checkpoint;     /* writer's */
  struct known_checksum *known; /* summer's */
  size_t known_count, known_capacity;
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

/* Gives a job to a worker, from any thread; the mutex is not held. */
void worker_give(struct worker *worker, struct job *job);
/* The job is done: its finish() is due on the loop. */
void rocksdb_store_finished(struct rocksdb_store *store, struct job *job);

void rocksdb_store_drain(struct row_store *store, bool ending);
/* Blocks until no reader is at work, calling the callbacks from inside. */
void rocksdb_store_finish_reads(struct rocksdb_store *store);

/* -- rocksdb_snapshot.c -- */
void rocksdb_checkpoint(struct row_store *store, store_checkpoint_done *done, void *context);
int rocksdb_checkpoint_read(struct store_checkpoint *checkpoint, size_t file, uint64_t offset, void *buffer,
                            size_t size, struct error *error);
void rocksdb_checkpoint_close(struct store_checkpoint *checkpoint);
int rocksdb_receive_begin(struct row_store *store, const struct snapshot_file *files, size_t file_count,
                          struct error *error);
int rocksdb_receive_write(struct row_store *store, size_t file, uint64_t offset, const void *data,
                          size_t size, struct error *error);
int rocksdb_receive_install(struct row_store *store, struct error *error);
void rocksdb_incoming_drop(struct rocksdb_store *store);

#endif
