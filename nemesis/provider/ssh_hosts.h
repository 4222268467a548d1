/* ssh_hosts.h: the hosts of a cluster as a person names them, and the command lines that reach them. */
#ifndef ASSAY_NEMESIS_PROVIDER_SSH_HOSTS_H
#define ASSAY_NEMESIS_PROVIDER_SSH_HOSTS_H

#include "nemesis/cluster.h"

/* Where nodes listen; each has a host, so all may have the same. */
#define SSH_PEER_PORT 7300
#define SSH_CLIENT_PORT 7400

/* "n1=root@db1.example:2222,192.0.2.1" taken apart. */
struct ssh_host {
  char login[200];            /* "root@db1.example", as ssh takes it */
  char port[8];               /* "": ssh's own, or what its configuration says */
  char address[ADDRESS_SIZE]; /* at which peers and clients reach the node: numeric */
};

/* The host of that node. ERR_BAD_INPUT with what is wrong and how it is written. */
int ssh_host_find(const struct cluster_hosts *hosts, const char *node, struct ssh_host *host,
                  struct error *error);

/* The node's directory on its host, without a slash at the end; to free(). */
char *ssh_host_directory(const struct cluster_hosts *hosts, const char *cluster_id, const char *node);

/* A command line that runs the agent there, with `arguments`, may be "", for a shell; to be freed with
 * cluster_command_free. */
char **ssh_argv(const struct cluster_hosts *hosts, const struct ssh_host *host, const char *arguments);

#endif
