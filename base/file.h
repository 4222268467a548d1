/* file.h: whole files and directories; blocking. For data that must survive a crash see the journal instead.
 */
#ifndef ASSAY_FILE_H
#define ASSAY_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/error.h"

/* Appends the whole file to `content`. */
int file_read(const char *path, struct bytes *content, struct error *error);

/* Replaces the file in one step: temporary name, write, fsync, rename, fsync of the directory. */
int file_replace(const char *path, const void *data, size_t size, struct error *error);

/* mkdir -p, mode 0755. The new names are durable when directory_sync() of where they stand says so. */
int directory_make(const char *path, struct error *error);

/* Makes the names in a directory durable: POSIX promises nothing of them before. */
int directory_sync(const char *path, struct error *error);

/* rm -r; a path that does not exist is no error. Does not follow symbolic links. */
int directory_remove(const char *path, struct error *error);
/* Removes all that is in it. */
int directory_clear(const char *path, struct error *error);

bool file_exists(const char *path);

/* "a/b/c", in memory of the caller's to free(). */
char *path_join(const char *first, const char *second);

/* The path as it is when it begins with a slash, else with the working directory before it; to free(). */
char *path_absolute(const char *path);

/* The directory of the running program, without a slash at the end; to free(). NULL if the system does not
 * tell. A program that goes into new namespaces calls it before that once: it is remembered. */
char *program_directory(void);

#endif
