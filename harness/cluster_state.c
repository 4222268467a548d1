#include "harness/cluster_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "harness/document.h"
#include "harness/settings.h"

static char *file_of(const char *store, const char *name) {
  struct bytes path = {0};
  bytes_append_format(&path, "%s/cluster/%s", store, name);
  bytes_append_u8(&path, 0);
  return (char *)path.data;
}

int cluster_state_lock(const char *store, struct error *error) {
  char *directory = path_join(store, "cluster"), *path = file_of(store, "lock");
  int status = directory_make(directory, error);
  if (status == 0) {
    status = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (status < 0)
      status = error_set_errno(error, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, "cannot open %s", path);
    else if (flock(status, LOCK_EX | LOCK_NB) != 0) {
      const int kept = errno;
      close(status);
      errno = kept;
      status = kept == EWOULDBLOCK
                   ? error_set(error, ERR_OVERLOADED,
                               "a cluster is up in %s already; assay cluster down --store %s ends it", store,
                               store)
                   : error_set_errno(error, ERR_IO, "cannot lock %s", path);
    }
  }
  free(directory);
  free(path);
  return status;
}

void cluster_state_remove(const char *store) {
  char *path = file_of(store, "state.json");
  unlink(path);
  free(path);
}

int cluster_state_save(const char *store, const struct cluster_state *state, struct error *error) {
  json_t *nodes = json_array();
  for (size_t i = 0; i < state->count; i++)
    json_array_append_new(nodes,
                          json_pack("{s:s, s:s}", "node", state->names[i], "address", state->addresses[i]));
  json_t *document =
      json_pack("{s:s, s:I, s:I, s:I, s:s, s:o}", "provider", provider_name(state->provider), "supervisor",
                (json_int_t)state->supervisor, "sandbox", (json_int_t)state->sandbox, "cluster_id",
                (json_int_t)state->cluster_id, "certificates", state->certificates, "nodes", nodes);
  char *path = file_of(store, "state.json");
  const int status = document_write(path, document, error);
  free(path);
  json_decref(document);
  return status;
}

static void take_nodes(const json_t *nodes, struct cluster_state *state) {
  size_t i;
  const json_t *node;
  json_array_foreach(nodes, i, node) {
    if (i == CLUSTER_NODES_MAX)
      return;
    snprintf(state->names[i], sizeof state->names[i], "%s", document_string(node, "node", ""));
    snprintf(state->addresses[i], sizeof state->addresses[i], "%s", document_string(node, "address", ""));
    state->count = i + 1;
  }
}

int cluster_state_load(const char *store, struct cluster_state *state, struct error *error) {
  *state = (struct cluster_state){0};
  char *path = file_of(store, "state.json"), *lock = file_of(store, "lock");
  json_t *document = document_read(path, NULL);
  int status = 0;
  const int fd = open(lock, O_RDWR | O_CLOEXEC);
  const bool dead = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (dead && document)
    unlink(path);
  if (fd >= 0)
    close(fd);
  if (dead || !document) {
    status = error_set(error, ERR_NOT_FOUND,
                       "no cluster is up in %s; assay cluster up starts one (--store names another store, "
                       "--address the nodes of any other cluster)",
                       store);
  } else {
    const char *provider = document_string(document, "provider", "");
    state->provider = strcmp(provider, "netns") == 0 ? PROVIDER_NETNS
                      : strcmp(provider, "ssh") == 0 ? PROVIDER_SSH
                                                     : PROVIDER_HOST;
    state->supervisor = (pid_t)document_integer(document, "supervisor", 0);
    state->sandbox = (pid_t)document_integer(document, "sandbox", 0);
    state->cluster_id = (uint64_t)document_integer(document, "cluster_id", 0);
    snprintf(state->certificates, sizeof state->certificates, "%s",
             document_string(document, "certificates", ""));
    take_nodes(json_object_get(document, "nodes"), state);
    if (state->count == 0 || state->supervisor <= 0)
      status = error_set(error, ERR_CORRUPT,
                         "%s is not what assay cluster up wrote; end process %d and "
                         "remove it",
                         path, (int)state->supervisor);
  }
  json_decref(document);
  free(path);
  free(lock);
  return status;
}

int cluster_state_join(const struct cluster_state *state, struct error *error) {
  return state->sandbox == 0 ? 0 : sandbox_join(state->sandbox, error);
}
