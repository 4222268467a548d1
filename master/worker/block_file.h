/* block_file.h: one block in one file, and how it is known to be what was written.
 *
 *   ┌─────────────┬──────────────────────┬──────────────────────────────┐
 *   │ header, 64  │ the block's bytes    │ checksum of each chunk, le64 │
 *   └─────────────┴──────────────────────┴──────────────────────────────┘
 *   header: magic, version, block id, length, checksum of the checksums (the block's own, block_sum.h), 0 …,
 *   checksum of the header
 *
 * The file's size follows from the length. A read verifies the header, all checksums of chunks, and the
 * chunks that it touches: no byte of the file can differ without being noticed by whoever needs it.
 *
 * Written under a temporary name, made durable, renamed, and the name made durable: a file with its own name
 * is whole. Blocking; for any thread. Takes for granted that an fsync that failed is not to be believed
 * later: the file is given up. */
#ifndef ASSAY_WORKER_BLOCK_FILE_H
#define ASSAY_WORKER_BLOCK_FILE_H

#include "base/base.h"

/* -- writing -- */

struct block_writer;

/* `temporary`: where the file is made. ERR_NO_SPACE, ERR_IO. */
int block_writer_open(const char *temporary, uint64_t block, struct block_writer **writer,
                      struct error *error);
int block_writer_add(struct block_writer *writer, const void *data, size_t size, struct error *error);
/* Verifies length and checksum (ERR_BAD_INPUT), makes the file durable as `directory`/`name`, in the place of
 * what has that name. Frees, like abort; whatever was not finished is removed. */
int block_writer_finish(struct block_writer *writer, uint64_t length, uint64_t sum, const char *directory,
                        const char *name, struct error *error);
void block_writer_abort(struct block_writer *writer);
/* Bytes added. */
uint64_t block_writer_length(const struct block_writer *writer);

/* -- reading -- */

struct block_reader;

/* ERR_NOT_FOUND, ERR_CORRUPT (the message names the file), ERR_IO. */
int block_reader_open(const char *path, uint64_t block, struct block_reader **reader, struct error *error);
uint64_t block_reader_length(const struct block_reader *reader);
/* Appends bytes from `offset`, at most `size` and no more than there are. */
int block_reader_read(struct block_reader *reader, uint64_t offset, size_t size, struct bytes *data,
                      struct error *error);
void block_reader_close(struct block_reader *reader);

/* Length and checksum that the header of a file tells, verified as far as it and the file's size go: for a
 * first look at many. */
int block_file_look(const char *path, uint64_t block, uint64_t *length, uint64_t *sum, struct error *error);

/* Bytes that the file of a block takes. */
uint64_t block_file_size(uint64_t length);

#endif
