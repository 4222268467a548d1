/* under_file.h: files of the under-store, read and made by a worker: below the roots it was given
 * (master/under_roots.h), and nowhere else. Blocking; for any thread.
 *
 * A file that is made has its name when it is whole and durable, or not at all. Nothing that is there is
 * replaced; what is there with the same content counts as made. */
#ifndef ASSAY_WORKER_UNDER_FILE_H
#define ASSAY_WORKER_UNDER_FILE_H

#include "base/base.h"
#include "master/under_roots.h"

/* Opens a file to read; its length. A descriptor, or -1 and an error: ERR_NOT_FOUND, ERR_BAD_INPUT, ERR_IO.
 */
int under_file_open(const struct under_roots *roots, struct slice path, uint64_t *length, int *descriptor,
                    struct error *error);
/* Appends `size` bytes from `offset`; fewer are ERR_IO. */
int under_file_read(int descriptor, uint64_t offset, size_t size, struct bytes *data, struct error *error);

struct under_writer;

/* Makes missing directories below the root. ERR_BAD_INPUT when the path lies outside, or something is in the
 * way; ERR_NO_SPACE, ERR_IO. */
int under_writer_open(const struct under_roots *roots, struct slice path, struct under_writer **writer,
                      struct error *error);
int under_writer_add(struct under_writer *writer, const void *data, size_t size, struct error *error);
/* Verifies length and checksum (block_sum.h), gives the file its name, durably. Frees, like abort. */
int under_writer_finish(struct under_writer *writer, uint64_t length, uint64_t sum, struct error *error);
void under_writer_abort(struct under_writer *writer);

#endif
