/* restore.c: see restore.h.
 *
 * The log comes first and says that it begins behind the backup's index; the tables come last. A master
 * refuses a log that begins behind its state, so what a crash broke off cannot be mistaken for a node that is
 * empty. */
#include "master/restore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/data_directory.h"
#include "master/raft/raft_journal.h"
#include "master/rpc/backup_manifest.h"
#include "master/store.h"
#include "master/tables.h"

static int read_manifest(const char *backup, struct backup_manifest *manifest, struct error *error) {
  char *path = path_join(backup, BACKUP_MANIFEST_NAME);
  struct bytes text = {0};
  struct error cause = {0};
  int status;
  if (!file_exists(path)) {
    status = error_set(error, ERR_BAD_INPUT,
                       "%s is no backup, or one that was broken off: there is no file %s in it", backup,
                       BACKUP_MANIFEST_NAME);
  } else {
    status = file_read(path, &text, &cause);
    if (status == 0)
      status = backup_manifest_read(text.data, text.size, manifest, &cause);
    if (status != 0)
      error_set(error, cause.code, "the backup %s cannot be used: %.400s", backup, cause.message);
  }
  bytes_free(&text);
  free(path);
  return status;
}

static int check_target(const struct node_options *options, const struct backup_manifest *manifest,
                        struct error *error) {
  if (options->cluster == manifest->cluster && !options->same_cluster)
    return error_set(error, ERR_BAD_INPUT,
                     "the backup is of cluster %" PRIu64
                     " itself: give another --cluster-id, so that no node of "
                     "the old cluster can ever meet the new ones, or --same-cluster if none will run again",
                     manifest->cluster);
  if (options->join)
    return error_set(
        error, ERR_BAD_INPUT,
        "--restore and --join cannot be had together: a node that joins is given the state by others");
  DIR *directory = opendir(options->data);
  if (!directory)
    return errno == ENOENT ? 0 : error_set_errno(error, ERR_IO, "cannot open %s", options->data);
  bool empty = true;
  for (const struct dirent *entry; (entry = readdir(directory));)
    empty &= strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
  closedir(directory);
  if (empty)
    return 0;
  return error_set(
      error, ERR_BAD_INPUT,
      "%s is not empty, and nothing is overwritten: give a --data directory that does not exist yet",
      options->data);
}

static int write_log(const struct node_options *options, const struct backup_manifest *manifest,
                     const char *directory, struct error *error) {
  uint64_t members[MEMBERS_MAX];
  const char *addresses[MEMBERS_MAX];
  for (size_t i = 0; i < options->member_count; i++) {
    members[i] = options->members[i].id;
    addresses[i] = options->members[i].text;
  }
  const struct raft_journal_options journal = {.id = options->id,
                                               .members = members,
                                               .addresses = addresses,
                                               .member_count = options->member_count,
                                               .cluster = options->cluster};
  struct bytes segment = {0};
  raft_journal_encode_beginning(&journal, manifest->index, manifest->term, &segment);
  char *path = path_join(directory, RAFT_JOURNAL_FIRST_FILE);
  const int status = file_replace(path, segment.data, segment.size, error);
  free(path);
  bytes_free(&segment);
  return status;
}

/* The bytes of a file from `offset` on, as many as one piece has. */
static int read_piece(const char *backup, const struct snapshot_file *file, uint64_t offset,
                      unsigned char *piece, size_t size, struct error *error) {
  char *path = path_join(backup, file->name);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  int status = fd < 0 ? error_set_errno(error, ERR_IO, "the backup's file %s cannot be opened", path) : 0;
  if (status == 0) {
    const ssize_t got = pread(fd, piece, size, (off_t)offset);
    if (got < 0)
      status = error_set_errno(error, ERR_IO, "the backup's file %s cannot be read", path);
    else if ((size_t)got != size)
      status = error_set(error, ERR_CORRUPT, "the backup's file %s is shorter than its manifest says", path);
  }
  if (fd >= 0)
    close(fd);
  free(path);
  return status;
}

struct received {
  int status;
  struct snapshot_range missing;
  struct error error;
};

static void on_received(void *owner, int status, const struct snapshot_range *missing,
                        const struct error *error) {
  struct received *received = owner;
  *received = (struct received){.status = status, .missing = *missing};
  if (status != 0)
    received->error = *error;
}

/* All files, into the place beside the store's tables. */
static int copy_files(struct row_store *store, const char *backup, const struct backup_manifest *manifest,
                      struct error *error) {
  unsigned char *piece = xmalloc(SNAPSHOT_CHUNK);
  struct received received;
  int status = 0;
  store->functions->receive_begin(store, manifest->index, manifest->files, manifest->file_count, on_received,
                                  &received);
  store->functions->drain(store, true);
  while (status == 0 && received.status == 0 && received.missing.file < manifest->file_count) {
    const uint64_t file = received.missing.file, offset = received.missing.offset;
    const uint64_t left = manifest->files[file].size - offset;
    const size_t size = left < SNAPSHOT_CHUNK ? (size_t)left : SNAPSHOT_CHUNK;
    status = read_piece(backup, &manifest->files[file], offset, piece, size, error);
    if (status != 0)
      break;
    store->functions->receive_write(store, file, offset, piece, size, on_received, &received);
    store->functions->drain(store, true);
  }
  if (status == 0 && received.status == 0) {
    store->functions->receive_prepare(store, on_received, &received);
    store->functions->drain(store, true);
  }
  free(piece);
  if (status == 0 && received.status != 0) {
    *error = received.error;
    status = received.status;
  }
  return status;
}

/* The tables must be what the manifest says they are. */
static int check_tables(struct row_store *store, const struct backup_manifest *manifest,
                        struct error *error) {
  struct tables *tables;
  const int status = tables_open(&(struct tables_options){.store = store}, &tables, error);
  if (status != 0)
    return status;
  const struct applied_record applied = *tables_applied(tables);
  tables_close(tables);
  if (applied.index == manifest->index && applied.term == manifest->term)
    return 0;
  return error_set(error, ERR_CORRUPT,
                   "the backup's tables are those of index %" PRIu64 " of term %" PRIu64
                   ", not of index %" PRIu64 " of term %" PRIu64 " as its manifest says",
                   applied.index, applied.term, manifest->index, manifest->term);
}

static void wake(void *context) {
  (void)context; /* what is asked of the store here is done when its functions return */
}

static int write_tables(const char *backup, const struct backup_manifest *manifest, const char *directory,
                        struct error *error) {
  const struct store_wake nobody = {.wake = wake};
  struct row_store *store;
  int status = rocksdb_store_open(directory, &nobody, &store, error);
  if (status != 0)
    return status;
  status = copy_files(store, backup, manifest, error);
  if (status == 0)
    status = store->functions->receive_install(store, error);
  if (status == 0)
    status = check_tables(store, manifest, error);
  row_store_close(store);
  return status;
}

static int make_data(const struct node_options *options, const struct backup_manifest *manifest,
                     struct error *error) {
  struct data_directory directory;
  int status = data_directory_open(options->data, options->cluster, options->id, &directory, error);
  if (status != 0)
    return status;
  status = write_log(options, manifest, directory.journal, error);
  if (status == 0)
    status = write_tables(options->restore, manifest, directory.tables, error);
  data_directory_close(&directory);
  return status;
}

int restore_backup(const struct node_options *options, struct error *error) {
  struct backup_manifest manifest = {0};
  int status = read_manifest(options->restore, &manifest, error);
  if (status == 0)
    status = check_target(options, &manifest, error);
  if (status == 0) {
    status = make_data(options, &manifest, error);
    struct error leftover;
    if (status != 0 && directory_remove(options->data, &leftover) != 0)
      log_warn("%s", leftover.message);
  }
  if (status == 0)
    log_info("%s holds the state of cluster %" PRIu64 " at index %" PRIu64 " for node %" PRIu64
             " of cluster %" PRIu64
             "; restore every node from the same backup before the first one is started",
             options->data, manifest.cluster, manifest.index, options->id, options->cluster);
  backup_manifest_free(&manifest);
  return status;
}
