#include "master/data_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int take_lock(const char *path, struct error *error, int *lock) {
  char *name = path_join(path, "lock");
  int status = 0;
  *lock = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (*lock < 0) {
    status = error_set_errno(error, ERR_IO, "cannot write to %s: give a --data directory of your own", path);
  } else if (flock(*lock, LOCK_EX | LOCK_NB) != 0) {
    char holder[32] = "";
    const ssize_t size = pread(*lock, holder, sizeof holder - 1, 0);
    holder[size > 0 ? strcspn(holder, "\n") : 0] = '\0';
    status = errno == EWOULDBLOCK
                 ? error_set(error, ERR_OVERLOADED,
                             "%s is in use by another assay-master (process %s): stop that one, or give this "
                             "one another --data directory",
                             path, holder)
                 : error_set_errno(error, ERR_IO, "cannot lock %s", name);
  } else if (ftruncate(*lock, 0) != 0 || dprintf(*lock, "%d\n", (int)getpid()) < 0) {
    status = error_set_errno(error, ERR_IO, "cannot write %s", name);
  }
  if (status != 0 && *lock >= 0)
    close(*lock);
  free(name);
  return status;
}

static int check_identity(const char *path, uint64_t cluster, uint64_t node, struct error *error) {
  char *name = path_join(path, "identity");
  struct bytes content = {0};
  uint64_t found_cluster, found_node;
  int status;
  if (!file_exists(name)) {
    bytes_append_format(&content, "cluster %" PRIu64 " node %" PRIu64 "\n", cluster, node);
    status = file_replace(name, content.data, content.size, error);
  } else {
    status = file_read(name, &content, error);
    bytes_append_u8(&content, 0);
    if (status == 0 && sscanf((const char *)content.data, "cluster %" SCNu64 " node %" SCNu64, &found_cluster,
                              &found_node) != 2)
      status = error_set(error, ERR_CORRUPT,
                         "%s is not what an assay-master wrote there: restore it, or remove %s to lose this "
                         "node's data and let the others bring it up again",
                         name, path);
    else if (status == 0 && (found_cluster != cluster || found_node != node))
      status = error_set(error, ERR_BAD_INPUT,
                         "%s holds the data of node %" PRIu64 " of cluster %" PRIu64 ", not of node %" PRIu64
                         " of cluster %" PRIu64 ": give --id and --cluster-id of the data, or another --data "
                         "directory",
                         path, found_node, found_cluster, node, cluster);
  }
  bytes_free(&content);
  free(name);
  return status;
}

/* A log whose files are synced is lost all the same when the name of its directory is. */
static int sync_names(const char *path, struct error *error) {
  char *copy = xstrdup(path);
  int status = directory_sync(path, error);
  if (status == 0)
    status = directory_sync(dirname(copy), error);
  free(copy);
  return status;
}

int data_directory_open(const char *path, uint64_t cluster, uint64_t node, struct data_directory *directory,
                        struct error *error) {
  *directory = (struct data_directory){.lock = -1};
  int status = directory_make(path, error);
  if (status != 0)
    return status;
  status = take_lock(path, error, &directory->lock);
  if (status != 0) {
    directory->lock = -1;
    return status;
  }
  status = check_identity(path, cluster, node, error);
  directory->journal = path_join(path, "journal");
  directory->tables = path_join(path, "tables");
  if (status == 0)
    status = directory_make(directory->journal, error);
  if (status == 0)
    status = directory_make(directory->tables, error);
  if (status == 0)
    status = sync_names(path, error);
  if (status != 0)
    data_directory_close(directory);
  return status;
}

void data_directory_close(struct data_directory *directory) {
  free(directory->journal);
  free(directory->tables);
  if (directory->lock >= 0)
    close(directory->lock);
  *directory = (struct data_directory){.lock = -1};
}
