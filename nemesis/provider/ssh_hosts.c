#include "nemesis/provider/ssh_hosts.h"

#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#define DIRECTORY "/var/lib/assay"

/* Root where the login is not: without a password, for there is nobody to type one. */
#define AGENT "s=; [ \"$(id -u)\" = 0 ] || s='sudo -n'; exec $s assay agent"

static int explain(const char *text, const char *what, struct error *error) {
  return error_set(error, ERR_BAD_INPUT,
                   "--host %s: %s; it is written NODE=[USER@]HOST[:PORT][,ADDRESS], as n1=root@192.0.2.1",
                   text, what);
}

/* The part of `text` up to the first of `ends`, if it fits. */
static bool copy_until(const char *text, const char *ends, char *out, size_t size) {
  const size_t length = strcspn(text, ends);
  if (length == 0 || length >= size)
    return false;
  snprintf(out, size, "%.*s", (int)length, text);
  return true;
}

/* Peers are told numbers, not names: a name server must not take part in a test. */
static int find_address(const char *text, const char *given, struct ssh_host *host, struct error *error) {
  const char *at = strrchr(host->login, '@');
  const char *name = given ? given : at ? at + 1 : host->login;
  const struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
  struct addrinfo *found = NULL;
  if (getaddrinfo(name, NULL, &wanted, &found) != 0)
    return explain(
        text, "HOST has no IPv4 address that is known here, so ADDRESS is needed, where the nodes reach it",
        error);
  const struct sockaddr_in *address = (const struct sockaddr_in *)(const void *)found->ai_addr;
  inet_ntop(AF_INET, &address->sin_addr, host->address, sizeof host->address);
  freeaddrinfo(found);
  return 0;
}

static int parse(const char *text, struct ssh_host *host, struct error *error) {
  const char *login = strchr(text, '=') + 1, *rest = login + strcspn(login, ":,");
  *host = (struct ssh_host){.port = ""};
  if (!copy_until(login, ":,", host->login, sizeof host->login))
    return explain(text, "there is no HOST", error);
  if (host->login[0] == '-' || strpbrk(host->login, " \t'\"\\$`"))
    return explain(text, "that is no HOST", error);
  if (*rest == ':') {
    if (!copy_until(rest + 1, ",", host->port, sizeof host->port) ||
        strspn(host->port, "0123456789") != strlen(host->port) || atoi(host->port) < 1 ||
        atoi(host->port) > UINT16_MAX)
      return explain(text, "that is no PORT", error);
    rest += 1 + strlen(host->port);
  }
  return find_address(text, *rest == ',' ? rest + 1 : NULL, host, error);
}

int ssh_host_find(const struct cluster_hosts *hosts, const char *node, struct ssh_host *host,
                  struct error *error) {
  const char *found = NULL;
  const size_t length = strlen(node);
  for (size_t i = 0; hosts->hosts && hosts->hosts[i]; i++) {
    const char *text = hosts->hosts[i];
    if (!strchr(text, '='))
      return explain(text, "there is no NODE", error);
    if (strncmp(text, node, length) != 0 || text[length] != '=')
      continue;
    if (found)
      return explain(text, "the node has one already", error);
    found = text;
  }
  if (!found)
    return error_set(error, ERR_BAD_INPUT,
                     "node %s has no host: give --host %s=[USER@]HOST[:PORT][,ADDRESS], one for each node",
                     node, node);
  return parse(found, host, error);
}

int cluster_check_hosts(const struct cluster_hosts *hosts, size_t nodes, struct error *error) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
  const char *directory = hosts->directory ? hosts->directory : DIRECTORY;
  if (directory[0] != '/' || strspn(directory, plain) != strlen(directory))
    return error_set(error, ERR_BAD_INPUT,
                     "--remote-directory %s: an absolute path of letters, digits, '/', '.', '_' and '-'",
                     directory);
  for (size_t i = 0; i < nodes; i++) {
    char node[24];
    struct ssh_host host;
    snprintf(node, sizeof node, "n%zu", i + 1);
    const int status = ssh_host_find(hosts, node, &host, error);
    if (status != 0)
      return status;
  }
  return 0;
}

bool cluster_has_host(const struct cluster_hosts *hosts, size_t node) {
  char name[24];
  struct ssh_host host;
  snprintf(name, sizeof name, "n%zu", node + 1);
  return ssh_host_find(hosts, name, &host, NULL) == 0;
}

char *ssh_host_directory(const struct cluster_hosts *hosts, const char *cluster_id, const char *node) {
  struct bytes path = {0};
  bytes_append_format(&path, "%s/%s-%s", hosts->directory ? hosts->directory : DIRECTORY, cluster_id, node);
  return (char *)path.data;
}

/* ---- Command lines ---- */

char **ssh_argv(const struct cluster_hosts *hosts, const struct ssh_host *host, const char *arguments) {
  /* Nobody is there to answer questions; and a host that is gone must not be waited for without end. */
  static const char *const fixed[] = {"-T", "-oBatchMode=yes", "-oConnectTimeout=20",
                                      "-oServerAliveInterval=5", "-oServerAliveCountMax=6"};
  char **argv = xcalloc(ARRAY_SIZE(fixed) + 8, sizeof *argv);
  size_t count = 0;
  argv[count++] = xstrdup(hosts->ssh ? hosts->ssh : "ssh");
  if (hosts->config) {
    argv[count++] = xstrdup("-F");
    argv[count++] = xstrdup(hosts->config);
  }
  for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
    argv[count++] = xstrdup(fixed[i]);
  if (host->port[0] != '\0') {
    argv[count++] = xstrdup("-p");
    argv[count++] = xstrdup(host->port);
  }
  struct bytes command = {0};
  bytes_append_format(&command, "%s%s%s", hosts->agent ? hosts->agent : AGENT, arguments[0] ? " " : "",
                      arguments);
  argv[count++] = xstrdup(host->login);
  argv[count++] = (char *)command.data;
  assert(count < ARRAY_SIZE(fixed) + 8);
  return argv;
}

void cluster_command_free(char **argv) {
  for (char **item = argv; *item; item++)
    free(*item);
  free((void *)argv);
}

char **cluster_leftovers_command(const struct cluster_hosts *hosts, uint64_t cluster_id, size_t node,
                                 bool remove, struct error *error) {
  char id[24], name[24];
  struct ssh_host host;
  snprintf(id, sizeof id, "%" PRIu64, cluster_id);
  snprintf(name, sizeof name, "n%zu", node + 1);
  if (ssh_host_find(hosts, name, &host, error) != 0)
    return NULL;
  char *directory = ssh_host_directory(hosts, id, name);
  struct bytes arguments = {0};
  bytes_append_format(&arguments, "--%s %s", remove ? "remove" : "pack", directory);
  char **argv = ssh_argv(hosts, &host, (const char *)arguments.data);
  bytes_free(&arguments);
  free(directory);
  return argv;
}
