/* under_store.h: the file system below a mount, as far as a master looks at it: names, and what they are.
 *
 * Two of them: uv_under_store.c, real directories on libuv's threads, and memory_under_store.c, for tests and
 * the simulator. The core reads directories through this door only, and only when a request needs what is in
 * one; contents of files are the workers' affair.
 *
 * Single-threaded: callbacks come from the loop, never from inside the call that asked for them. */
#ifndef ASSAY_MASTER_UNDER_STORE_H
#define ASSAY_MASTER_UNDER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "master/operation.h"

#define UNDER_STORE_PIECE 512 /* names of one piece, at most */

struct under_store_entry {
  struct slice name; /* whatever bytes the file system has */
  bool is_file;      /* else a directory; everything else is left out */
  uint64_t length;   /* of a file, bytes */
  int64_t mtime_ns;  /* since the epoch */
};

/* `status` 0: more names, in any order, each once; `last`: there are no more behind them. Otherwise the
 * directory cannot be read, and `error` says why, for people; no piece follows then. `entries` stay valid
 * until the next piece is asked for, or the listing is closed. */
typedef void under_store_piece(void *context, int status, const struct under_store_entry *entries,
                               size_t count, bool last, const struct error *error);

struct under_store_listing;

struct under_store {
  const struct under_store_functions *functions;
};

struct under_store_functions {
  /* Whether this directory, a valid path, may be mounted here: touches no file system. */
  bool (*allows)(const struct under_store *store, struct slice directory);
  /* Begins to list a directory; nothing is read before the first piece is asked for. */
  struct under_store_listing *(*list)(struct under_store *store, struct slice directory,
                                      under_store_piece *piece, void *context);
  /* Asks for the next piece: once after list(), then once after each piece that was not the last. */
  void (*next)(struct under_store_listing *listing);
  /* At any time: no callback comes any more. */
  void (*close)(struct under_store_listing *listing);
};

#endif
