/* host.c: nodes as plain processes on the loopback, for machines that allow no namespaces. Processes can be
 * hurt here, and their clocks; links cannot.
 *
 * Each port is held by a socket of ours that is bound and never listens, with SO_REUSEADDR: a node, which
 * sets that too, can bind and listen beside it, again after every restart, while the kernel hands the port to
 * nobody else as long as the cluster exists. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nemesis/provider/local.h"

struct ports {
  int sockets[2 * CLUSTER_NODES_MAX];
  size_t count;
};

static void release(struct ports *ports) {
  for (size_t i = 0; i < ports->count; i++)
    close(ports->sockets[i]);
  free(ports);
}

static int reserve(struct ports *ports, int *port, struct error *error) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  const int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return error_set_errno(error, ERR_IO, "cannot make a socket");
  ports->sockets[ports->count++] = fd;
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
      bind(fd, (struct sockaddr *)&address, size) != 0 ||
      getsockname(fd, (struct sockaddr *)&address, &size) != 0)
    return error_set_errno(error, ERR_IO, "cannot reserve a port on 127.0.0.1");
  *port = ntohs(address.sin_port);
  return 0;
}

static int host_open(struct cluster *cluster, const struct cluster_options *options, struct error *error) {
  struct ports *ports = xcalloc(1, sizeof *ports);
  int status = 0;
  for (size_t i = 0; i < cluster->size && status == 0; i++) {
    struct cluster_node *node = &cluster->nodes[i];
    snprintf(node->host, sizeof node->host, "127.0.0.1");
    status = reserve(ports, &node->peer_port, error);
    if (status == 0)
      status = reserve(ports, &node->client_port, error);
  }
  if (status != 0)
    release(ports);
  else
    cluster->provider = ports;
  if (status == 0)
    local_prepare(cluster, options);
  return status;
}

static void host_close(struct cluster *cluster) {
  local_release(cluster);
  release(cluster->provider);
}

static const char *host_lacks(const struct cluster *cluster, enum capability capability) {
  static const char *const reasons[CAPABILITIES] = {
      [CAN_FILTER] = "provider host cannot cut links",
      [CAN_SHAPE] = "provider host cannot shape links",
  };
  if (capability == CAN_DISK)
    return local_disks_lack(local_disks(cluster));
  return capability == CAN_CLOCK ? local_lacks_clock(cluster) : reasons[capability];
}

const struct provider_functions provider_host = {.name = "host",
                                                 .open = host_open,
                                                 .close = host_close,
                                                 .lacks = host_lacks,
                                                 LOCAL_PROCESSES,
                                                 LOCAL_DISKS};
