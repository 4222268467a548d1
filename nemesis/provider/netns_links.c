/* netns_links.c: see netns_links.h. */
#include "nemesis/provider/netns_links.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "nemesis/link/interfaces.h"
#include "nemesis/link/network.h"
#include "nemesis/link/tap_switch.h"

#define CLIENTS_INTERFACE "assay0"
#define CLIENTS_HOST 254
#define NODE_INTERFACE "eth0"

struct netns_links {
  bool tap;
  size_t nodes;
  int home;
  int networks[CLUSTER_NODES_MAX];
  struct nl_sock *socket; /* in `home` */
  struct tap_switch *tap_switch;
};

/* Locally administered. */
static void mac_of(unsigned host, unsigned char mac[MAC_BYTES]) {
  memcpy(mac, (unsigned char[]){0x02, 0x17, 0, 0, 0, (unsigned char)host}, MAC_BYTES);
}

static unsigned host_of(size_t node) {
  return (unsigned)node + 1;
}

static int set_address(struct nl_sock *socket, const char *interface, unsigned host, struct error *error) {
  char address[32];
  snprintf(address, sizeof address, "10.23.0.%u/24", host);
  return interfaces_set_address(socket, interface, address, error);
}

/* What a node finds in its namespace beside eth0's cable. */
static int furnish_node(const struct netns_links *links, size_t node, struct error *error) {
  struct nl_sock *socket;
  network_enter(links->networks[node]);
  int status = interfaces_open(&socket, error);
  if (status == 0)
    status = interfaces_set_up(socket, "lo", error);
  if (status == 0)
    status = set_address(socket, NODE_INTERFACE, host_of(node), error);
  if (status == 0)
    status = interfaces_set_up(socket, NODE_INTERFACE, error);
  interfaces_close(socket);
  network_enter(links->home);
  return status;
}

/* ---- veth ---- */

static void pair_name(size_t node, char name[8]) {
  snprintf(name, 8, "n%u", host_of(node));
}

/* Frames between the nodes need not pass the packet filter of the sandbox: there are no rules in it. Only a
 * saving, so a kernel without this switch is none the worse. */
static void bypass_bridge_filter(void) {
  const int fd = open("/proc/sys/net/bridge/bridge-nf-call-iptables", O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return;
  if (write(fd, "0", 1) != 1)
    log_debug("bridged frames pass the packet filter");
  close(fd);
}

static int open_veth(struct netns_links *links, struct error *error) {
  unsigned char mac[MAC_BYTES];
  mac_of(CLIENTS_HOST, mac);
  int status = interfaces_add_bridge(links->socket, CLIENTS_INTERFACE, mac, error);
  bypass_bridge_filter();
  for (size_t i = 0; i < links->nodes && status == 0; i++) {
    char name[8];
    pair_name(i, name);
    mac_of(host_of(i), mac);
    status = interfaces_add_pair(links->socket, name, CLIENTS_INTERFACE, NODE_INTERFACE, mac,
                                 links->networks[i], error);
  }
  return status;
}

/* ---- TAP ---- */

static int plug_in(int network, int home, const char *name, unsigned host, struct switch_port *port,
                   struct error *error) {
  mac_of(host, port->mac);
  network_enter(network);
  const int status = tap_open(name, port->mac, &port->cable, error);
  network_enter(home);
  return status;
}

static int open_tap(struct netns_links *links, const struct netns_links_options *options,
                    struct error *error) {
  struct tap_switch_options wanted = {.nodes = links->nodes, .seed = options->seed, .pcap = options->pcap};
  size_t made = 0;
  int status = 0;
  for (; made < links->nodes && status == 0; made += status == 0)
    status = plug_in(links->networks[made], links->home, NODE_INTERFACE, host_of(made), &wanted.ports[made],
                     error);
  if (status == 0)
    status = plug_in(links->home, links->home, CLIENTS_INTERFACE, CLIENTS_HOST, &wanted.ports[made], error);
  if (status == 0)
    return tap_switch_open(&wanted, &links->tap_switch, error);
  for (size_t i = 0; i < made; i++)
    close(wanted.ports[i].cable);
  return status;
}

/* ---- Both ---- */

int netns_links_open(const struct netns_links_options *options, struct netns_links **links,
                     struct error *error) {
  struct netns_links *made = xcalloc(1, sizeof *made);
  *made = (struct netns_links){.tap = options->tap, .nodes = options->nodes, .home = options->home};
  memcpy(made->networks, options->networks, options->nodes * sizeof *made->networks);
  int status = interfaces_open(&made->socket, error);
  if (status == 0)
    status = options->tap ? open_tap(made, options, error) : open_veth(made, error);
  if (status == 0)
    status = set_address(made->socket, CLIENTS_INTERFACE, CLIENTS_HOST, error);
  if (status == 0)
    status = interfaces_set_up(made->socket, CLIENTS_INTERFACE, error);
  for (size_t i = 0; i < made->nodes && status == 0; i++)
    status = furnish_node(made, i, error);
  if (status != 0) {
    netns_links_close(made);
    return status;
  }
  *links = made;
  return 0;
}

/* By name, not left to the end of the namespaces: those are destroyed some time after their last holder let
 * go. */
void netns_links_close(struct netns_links *links) {
  if (!links)
    return;
  tap_switch_close(links->tap_switch);
  for (size_t i = 0; i < links->nodes && links->socket && !links->tap; i++) {
    char name[8];
    pair_name(i, name);
    interfaces_remove(links->socket, name);
  }
  if (links->socket && !links->tap)
    interfaces_remove(links->socket, CLIENTS_INTERFACE);
  interfaces_close(links->socket);
  free(links);
}

const char *netns_links_kind(const struct netns_links *links) {
  return links->tap ? "tap" : "veth";
}

const char *netns_links_lack_shapes(const struct netns_links *links) {
  return links->tap ? NULL : "the kernel has no sch_netem and the links are no TAP devices";
}

int netns_links_shape(struct netns_links *links, const struct link_shape *shape, const bool *shaped,
                      struct error *error) {
  assert(links->tap);
  return tap_switch_shape(links->tap_switch, shape, shaped, error);
}

int netns_links_count(struct netns_links *links, struct link_counters *sum, struct error *error) {
  struct switch_report report;
  *sum = (struct link_counters){0};
  if (!links->tap)
    return 0;
  const int status = tap_switch_report(links->tap_switch, &report, error);
  for (size_t i = 0; i < links->nodes * links->nodes && status == 0; i++)
    link_counters_add(sum, &report.links[i]);
  return status;
}
