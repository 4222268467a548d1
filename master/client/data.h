/* data.h: the data of files: blocks that are written to workers and read from them, on a libuv loop.
 *
 * One stream is one block, or a part of it, on a connection of its own. Where blocks are is asked of the
 * master (MASTER_LOCATE, MASTER_WORKERS). Events come from the loop, never from inside a call; after `ended`,
 * and after a stream was cancelled, nothing more comes and the stream is gone. */
#ifndef ASSAY_MASTER_CLIENT_DATA_H
#define ASSAY_MASTER_CLIENT_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/base.h"

enum data_status {
  DATA_DONE,
  DATA_NOT_FOUND, /* that worker has no such block */
  DATA_CORRUPT,   /* what it has is not what was written */
  DATA_NO_ROOM,
  DATA_REFUSED,     /* it makes no sense, or not now */
  DATA_FAILED,      /* the worker's disk failed */
  DATA_UNREACHABLE, /* no connection, or silence: nobody knows whether a block that was finished is there */
};

const char *data_status_name(enum data_status status); /* "no-room" */

struct tls_context;

struct data_target {
  uv_loop_t *loop;
  const char *address;     /* "host:port" of a worker; copied */
  uint64_t cluster;        /* that it must belong to; 0: any */
  int64_t timeout_ns;      /* of silence; 0: 30 s */
  struct tls_context *tls; /* as in master_client_options */
};

struct data_stream;

/* `message`: why not, for people; valid during the call. */
typedef void data_ended(void *context, enum data_status status, const char *message);

/* -- writing -- */

/* `ready`: pieces may be given. ERR_BAD_INPUT when the address is none. */
int data_write_begin(const struct data_target *target, uint64_t block, void (*ready)(void *context),
                     data_ended *ended, void *context, struct data_stream **stream, struct error *error);

/* Only when it is ready. True: it still is; else `ready` will say so. Any size; copied. */
bool data_write_piece(struct data_stream *stream, const void *data, size_t size);

/* Only when it is ready. `ended` says DATA_DONE when the block is durable. */
void data_write_finish(struct data_stream *stream);

/* -- reading -- */

/* `piece` gets the bytes in order, each piece verified; false: the reader wants no more, which ends the
 * stream as cancelled. `length` 0: to the block's end. A range that goes beyond it is DATA_REFUSED. */
int data_read_begin(const struct data_target *target, uint64_t block, uint64_t offset, uint64_t length,
                    bool (*piece)(void *context, const void *data, size_t size), data_ended *ended,
                    void *context, struct data_stream **stream, struct error *error);

/* -- files of the under-store, by their path there; below the worker's --mount-root -- */

/* As data_write_begin: the file gets its name when it is whole and durable; one that has it already, with
 * other content, is DATA_REFUSED. */
int data_under_write_begin(const struct data_target *target, const char *path, void (*ready)(void *context),
                           data_ended *ended, void *context, struct data_stream **stream,
                           struct error *error);

/* As data_read_begin. */
int data_under_read_begin(const struct data_target *target, const char *path, uint64_t offset,
                          uint64_t length, bool (*piece)(void *context, const void *data, size_t size),
                          data_ended *ended, void *context, struct data_stream **stream, struct error *error);

/* What was written and not finished is forgotten by the worker. */
void data_cancel(struct data_stream *stream);

#endif
