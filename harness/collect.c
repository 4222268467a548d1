#include "harness/collect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/program.h"
#include "harness/store.h"

#define PACK_PATIENCE_NS (600 * NS_PER_S)
#define REMOVE_PATIENCE_NS (120 * NS_PER_S)
#define UNPACK_PATIENCE_NS (600 * NS_PER_S)

/* Runs it; anything but an exit status of 0 is an error that ends with the last words on `errors`. */
static int run(char *const *argv, int output, const char *errors, int64_t patience_ns, struct error *error) {
  const int log = open(errors, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0)
    return error_set_errno(error, ERR_IO, "cannot open %s", errors);
  int wait_status = 0;
  const int status =
      program_run(argv, NULL, output < 0 ? log : output, log, patience_ns, &wait_status, error);
  close(log);
  if (status != 0 || wait_status == 0)
    return status;
  char *words = file_tail(errors, 1, "");
  words[strcspn(words, "\n")] = '\0';
  error_set(error, ERR_IO, "%s", words[0] ? words : "it ended early");
  free(words);
  return ERR_IO;
}

/* By way of a file: a copy that breaks off is then no half of a directory. */
static int fetch(char *const *command, const char *directory, const char *errors, struct error *error) {
  char *packed = path_join(directory, "packed.tar"), tar[] = "tar", extract[] = "--extract",
       from[] = "--file", to[] = "--directory", *where = xstrdup(directory);
  char *unpack[] = {tar, extract, from, packed, to, where, NULL};
  const int file = open(packed, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  int status = file < 0 ? error_set_errno(error, ERR_IO, "cannot create %s", packed) : 0;
  if (status == 0)
    status = run(command, file, errors, PACK_PATIENCE_NS, error);
  if (file >= 0 && close(file) != 0 && status == 0)
    status = error_set_errno(error, ERR_IO, "cannot write %s", packed);
  if (status == 0)
    status = run(unpack, -1, errors, UNPACK_PATIENCE_NS, error);
  unlink(packed);
  free(packed);
  free(where);
  return status;
}

static int collect_node(const struct settings *settings, const char *run_directory, size_t node, bool keep,
                        struct error *error) {
  const struct cluster_hosts hosts = host_flags_hosts(&settings->hosts);
  struct bytes directory = {0}, errors = {0};
  bytes_append_format(&directory, "%s/nodes/n%zu", run_directory, node + 1);
  bytes_append_format(&errors, "%s/ssh.log", (const char *)directory.data);
  int status = 0;
  for (int remove = keep ? 0 : 1; remove < 2 && status == 0; remove++) {
    char **command =
        cluster_leftovers_command(&hosts, (uint64_t)settings->cluster_id, node, remove == 1, error);
    if (!command)
      status = ERR_BAD_INPUT;
    else if (remove == 0)
      status = fetch(command, (const char *)directory.data, (const char *)errors.data, error);
    else
      status = run(command, -1, (const char *)errors.data, REMOVE_PATIENCE_NS, error);
    if (command)
      cluster_command_free(command);
  }
  bytes_free(&directory);
  bytes_free(&errors);
  return status;
}

void collect(const struct settings *settings, const char *run_directory, bool keep) {
  const size_t nodes = (size_t)settings->nodes;
  const struct cluster_hosts hosts = host_flags_hosts(&settings->hosts);
  /* And of the node that may have joined later. */
  for (size_t i = 0; settings->provider == PROVIDER_SSH && i <= nodes; i++) {
    if (i == nodes && (nodes == CLUSTER_NODES_MAX || !cluster_has_host(&hosts, i)))
      return;
    struct error error = {0};
    if (collect_node(settings, run_directory, i, keep, &error) != 0)
      log_warn("what n%zu has left on its host could not be %s: %s", i + 1, keep ? "fetched" : "removed",
               error.message);
  }
}
