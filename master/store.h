/* store.h: where the tables' rows rest.
 *
 * A row store keeps rows (table, key) → value in stable storage and takes them in large steps: one write is
 * one step, durable and whole when it is reported, and after a crash the store shows exactly the writes that
 * had become durable, none of them in part. It knows nothing of what rows mean and of what is newer in
 * memory; tables.h does.
 *
 * Two of them: rocksdb_store.c, and memory_store.c for tests and the simulator (no thread, no file, and the
 * same order of callbacks every time).
 *
 * Everything is called on the loop's thread. A store that works on threads of its own calls `wake` from them;
 * the loop must then call row_store_poll() soon, and that is where every callback comes from. */
#ifndef ASSAY_MASTER_STORE_H
#define ASSAY_MASTER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "master/journal.h"

/* Keys begin with big-endian numbers, so that their byte order is the order of the numbers. Part of the
 * format on disk and in the journal. */
enum table {
  TABLE_META,       /* the applied index and term, the counters, subtrees waiting to be reclaimed */
  TABLE_INODES,     /* be64 id → record */
  TABLE_EDGES,      /* be64 parent ++ name → child */
  TABLE_BLOCKS,     /* be64 block id → record */
  TABLE_WORKERS,    /* "w" ++ be64 id → record */
  TABLE_OPERATIONS, /* be64 op id → first answer; sequence 0: the client itself */
  TABLES
};

#define STORE_KEY_LIMIT 512 /* bytes of a key, at most */

/* A row as it is handed to write(): key and value follow each other in `bytes`. */
struct store_row {
  uint32_t value_size;
  uint16_t key_size;
  uint8_t table;
  bool deleted; /* a tombstone: the row is to go; value_size is 0 */
  unsigned char bytes[];
};

/* A consistent copy of everything that was durable when it was taken. */
struct store_checkpoint {
  const struct snapshot_file *files;
  size_t file_count;
};

struct row_store {
  const struct row_store_functions *functions;
};

typedef void store_write_done(void *context, int status, const struct error *error);
typedef void store_checkpoint_done(void *context, struct store_checkpoint *checkpoint,
                                   const struct error *error);
typedef void store_read_run(void *context, struct row_store *store);
typedef void store_read_done(void *context);
/* A row found by scan(); false ends the scan. */
typedef bool store_row_found(void *context, const unsigned char *key, size_t key_size,
                             const unsigned char *value, size_t value_size);

struct row_store_functions {
  /* Writes rows of distinct keys, in any order, as one step. `rows` and what it points to stay unchanged
   * until `done`, but the store may reorder the array. Writes and checkpoints end in the order they were
   * asked for. A status other than 0 means that nothing is known of this step and that no later one will be
   * taken: the process must end. */
  void (*write)(struct row_store *store, const struct store_row **rows, size_t count, store_write_done *done,
                void *context);

  /* Blocks until every write asked for so far is done, calling the callbacks from inside: for a writer that
   * has run too far ahead. `ending`: everything else too, and a write that waits for room on the disk fails:
   * before the end. */
  void (*drain)(struct row_store *store, bool ending);

  /* Appends the value to `value`. 0, ERR_NOT_FOUND, or an error. Blocking. May or may not see a write that is
   * under way. */
  int (*get)(struct row_store *store, enum table table, const void *key, size_t key_size, struct bytes *value,
             struct error *error);

  /* Reports the rows whose key begins with `prefix` and is `from` or greater (`from_size` 0: all), in key
   * order. Blocking. May or may not see a write that is under way, but not a part of it. */
  int (*scan)(struct row_store *store, enum table table, const void *prefix, size_t prefix_size,
              const void *from, size_t from_size, store_row_found *found, void *context, struct error *error);

  /* Reads without blocking: calls `run`, on a thread of the store's own where it has one, and afterwards
   * `done`, from poll() or drain(). From inside `run` get() and scan() may be called, and nothing else; they
   * see every write that was reported before read() was called. Reads may run side by side and end in any
   * order; each ends. */
  void (*read)(struct row_store *store, store_read_run *run, store_read_done *done, void *context);

  /* Takes a checkpoint of what all writes asked for so far leave. Any number may be open. */
  void (*checkpoint)(struct row_store *store, store_checkpoint_done *done, void *context);
  /* Reads exactly [offset, offset + size) of a file; `buffer` must stay until `done`. */
  void (*checkpoint_read)(struct row_store *store, struct store_checkpoint *checkpoint, size_t file,
                          uint64_t offset, void *buffer, size_t size, snapshot_read_done *done, void *owner);
  void (*checkpoint_close)(struct row_store *store, struct store_checkpoint *checkpoint);

  /* Receives a checkpoint of another store into a place of its own: see the hooks of the same names in
   * journal.h. A reception outlives the store: the next one that is opened goes on with it. */
  void (*receive_begin)(struct row_store *store, uint64_t index, const struct snapshot_file *files,
                        size_t file_count, snapshot_receive_done *done, void *owner);
  void (*receive_write)(struct row_store *store, uint64_t file, uint64_t offset, const void *data,
                        size_t size, snapshot_receive_done *done, void *owner);
  void (*receive_prepare)(struct row_store *store, snapshot_receive_done *done, void *owner);
  /* Puts what was prepared in the place of the store's content, in one step that a crash leaves either not
   * done or done. Drains first. Only after success is the old content gone. */
  int (*receive_install)(struct row_store *store, struct error *error);
  void (*receive_forget)(struct row_store *store, uint64_t index);

  void (*poll)(struct row_store *store);
  /* Drains, then frees. Checkpoints that were handed out must have been closed. */
  void (*close)(struct row_store *store);
};

/* How a store tells the loop that it has callbacks to make; from any thread. */
struct store_wake {
  void (*wake)(void *context);
  void *context;
};

/* Makes the callbacks that are due. */
static inline void row_store_poll(struct row_store *store) {
  store->functions->poll(store);
}

static inline void row_store_close(struct row_store *store) {
  store->functions->close(store);
}

/* A store in the directory `path` (made if missing, one store at a time: a second open is refused). What was
 * left half-done by a crash is cleared away. */
int rocksdb_store_open(const char *path, const struct store_wake *wake, struct row_store **store,
                       struct error *error);

/* A store in memory. `wake` is called from inside the calls that have a callback. */
struct row_store *memory_store_new(const struct store_wake *wake);
/* For the simulator: a power loss. Of the file that is being received, an end may be lost, or damaged. */
void memory_store_lose_power(struct row_store *store, struct random *random);

#endif
