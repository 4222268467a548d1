/* block_store.h: which blocks this worker has, and where they are on its disk.
 *
 *   DIR/identity              which cluster, which worker
 *   DIR/lock
 *   DIR/blocks/3f/ID          256 directories by the id's last byte (block_file.h tells what is in a file)
 *   DIR/writing/ID.N          being written; removed at the start
 *   DIR/corrupt/ID            found not to be what was written: for a person to look at and remove
 *
 * The list of blocks is in memory, some 20 to 40 bytes a block, read from the directories at the start. Not
 * for several threads; what takes long (block_file.h) works on paths that are handed out here. */
#ifndef ASSAY_WORKER_BLOCK_STORE_H
#define ASSAY_WORKER_BLOCK_STORE_H

#include "base/base.h"

struct block_store;

/* `capacity`: bytes of files it may hold; 0: what the disk has. Makes what is missing, removes what a crash
 * left half-done, counts what is there. ERR_OVERLOADED when another process has the directory. */
int block_store_open(const char *directory, uint64_t capacity, struct block_store **store,
                     struct error *error);
void block_store_close(struct block_store *store);

/* -- who this is -- */

/* 0, 0 until it was set. */
void block_store_identity(const struct block_store *store, uint64_t *cluster, uint64_t *worker);
int block_store_set_identity(struct block_store *store, uint64_t cluster, uint64_t worker,
                             struct error *error);

/* -- what is there -- */

bool block_store_has(const struct block_store *store, uint64_t block);
void block_store_added(struct block_store *store, uint64_t block, uint64_t length);
/* False when it was not there. */
bool block_store_removed(struct block_store *store, uint64_t block);
size_t block_store_count(const struct block_store *store);
uint64_t block_store_capacity(const struct block_store *store);
/* Bytes of its files; bytes that there is room for. */
uint64_t block_store_stored(const struct block_store *store);
uint64_t block_store_free(const struct block_store *store);

/* Some of the blocks, in an order of its own: those from place `*at` on, which moves behind them. Less than
 * `room` are the last ones; then `*at` is 0 again. Blocks that come or go between two calls may be passed
 * over until the next round. */
size_t block_store_some(const struct block_store *store, size_t *at, uint64_t *blocks, size_t room);

/* Sets room aside for what is being written. False: there is none. */
bool block_store_reserve(struct block_store *store, uint64_t size);
void block_store_unreserve(struct block_store *store, uint64_t size);

/* -- paths, to free() -- */
char *block_store_path(const struct block_store *store, uint64_t block);
char *block_store_directory(const struct block_store *store, uint64_t block);
char *block_store_temporary(struct block_store *store, uint64_t block);
char *block_store_corrupt(const struct block_store *store, uint64_t block);
/* The name of a block's file; `name` has room for 24. */
void block_store_name(uint64_t block, char *name);

#endif
