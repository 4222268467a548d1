#include "harness/vagrant.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOSTS_FILE "/etc/assay/hosts"

bool vagrant_is_control(void) {
  return file_exists(HOSTS_FILE);
}

/* "10.24.0.1 n1": as root, for on the nodes there is nobody else to be. */
int vagrant_hosts(struct host_flags *flags, struct error *error) {
  static char lines[CLUSTER_NODES_MAX][64];
  char address[32], node[16];
  FILE *file = fopen(HOSTS_FILE, "re");
  if (!file)
    return error_set_errno(error, ERR_UNSUPPORTED,
                           "cannot open " HOSTS_FILE ", which control has: vagrant ssh control");
  size_t count = 0;
  while (count < CLUSTER_NODES_MAX && fscanf(file, "%31s %15s", address, node) == 2) {
    snprintf(lines[count], sizeof lines[count], "%s=%s,%s", node, node, address);
    flags->hosts.items[count] = lines[count];
    count++;
  }
  fclose(file);
  flags->hosts.count = count;
  flags->clocks = "own";
  return count > 0 ? 0 : error_set(error, ERR_CORRUPT, HOSTS_FILE " names no node");
}

/* Where it will be, if it is not there yet; to free(). */
static char *absolute(const char *path) {
  directory_make(path, NULL);
  char *found = realpath(path, NULL);
  return found ? found : path_absolute(path);
}

int vagrant_delegate(const struct settings *settings, int argc, char **argv, struct error *error) {
  char *script = path_join(settings->vagrant_directory, "delegate"), *programs = program_directory();
  char *store = absolute(settings->store),
       *schedule = settings->schedule ? realpath(settings->schedule, NULL) : NULL;
  char nothing[] = "", command[] = "assay", store_flag[] = "--store", schedule_flag[] = "--schedule";
  char **words = xcalloc((size_t)argc + 10, sizeof *words);
  size_t count = 0;
  words[count++] = script;
  words[count++] = programs;
  words[count++] = store;
  words[count++] = schedule ? schedule : nothing;
  words[count++] = command;
  for (int i = 0; i < argc; i++)
    words[count++] = argv[i];
  /* What is given twice holds as given last. */
  words[count++] = store_flag;
  words[count++] = store;
  if (schedule) {
    words[count++] = schedule_flag;
    words[count++] = schedule;
  }
  fflush(NULL);
  execv(script, words);
  error_set_errno(error, ERR_NOT_FOUND,
                  "cannot run %s: be where Assay's folder vagrant is, or name it with --vagrant-directory",
                  script);
  free((void *)words);
  free(script);
  free(programs);
  free(store);
  free(schedule);
  return ERR_NOT_FOUND;
}
