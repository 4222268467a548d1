/* backup_manifest.h: what a backup directory holds, in a file "manifest" of lines:
 *
 *   assay-backup 1
 *   cluster 7
 *   index 1234              the state is that after this journal entry,
 *   term 5                  and of this term
 *   file CURRENT 16 9f0c…   name, bytes, checksum_fold over SNAPSHOT_CHUNK pieces (hexadecimal)
 *   …
 *   sum 53aa…               checksum of all lines before this one
 *
 * It is written last: a directory without it is no backup. */
#ifndef ASSAY_MASTER_BACKUP_MANIFEST_H
#define ASSAY_MASTER_BACKUP_MANIFEST_H

#include "base/base.h"
#include "master/journal.h"

#define BACKUP_MANIFEST_NAME "manifest"

struct backup_manifest {
  uint64_t cluster, index, term;
  struct snapshot_file *files; /* owned */
  size_t file_count;
};

void backup_manifest_write(struct bytes *text, const struct backup_manifest *manifest);

/* Reads what was written; ERR_CORRUPT or ERR_BAD_INPUT (another format) with the line and the reason for
 * anything else, names that lead out of the directory included. */
int backup_manifest_read(const void *text, size_t size, struct backup_manifest *manifest,
                         struct error *error);

void backup_manifest_free(struct backup_manifest *manifest);

#endif
