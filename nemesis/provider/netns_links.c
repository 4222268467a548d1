/* netns_links.c: see netns_links.h. */
#include "nemesis/provider/netns_links.h"

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "nemesis/link/interfaces.h"
#include "nemesis/link/netem.h"
#include "nemesis/link/network.h"
#include "nemesis/link/tap_switch.h"

#define CLIENTS_INTERFACE "assay0"
#define CLIENTS_HOST 254
#define NODE_INTERFACE "eth0"

struct netns_links {
  bool tap, veth; /* what there is */
  size_t nodes;
  int home;
  int networks[CLUSTER_NODES_MAX];
  struct nl_sock *socket; /* in `home` */
  struct tap_switch *tap_switch;
  bool has_netem;                         /* then one for each node: */
  struct netem *netem[CLUSTER_NODES_MAX]; /* of its eth0 */
  struct error lack;                      /* why links cannot be shaped; code 0: they can */
};

/* Locally administered. */
static void mac_of(unsigned host, unsigned char mac[MAC_BYTES]) {
  memcpy(mac, (unsigned char[]){0x02, 0x17, 0, 0, 0, (unsigned char)host}, MAC_BYTES);
}

static unsigned host_of(size_t node) {
  return (unsigned)node + 1;
}

void netns_links_host(size_t node, char *out, size_t size) {
  snprintf(out, size, "10.23.0.%u", host_of(node));
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
  links->veth = true;
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

/* ---- netem ---- */

/* Tried on the loopback interface of the first node, which has no process yet. */
static void open_netem(struct netns_links *links) {
  int status = 0;
  for (size_t i = 0; i < links->nodes && status == 0; i++) {
    network_enter(links->networks[i]);
    if (i == 0)
      status = netem_supported(&links->lack);
    if (status == 0)
      status = netem_open(NODE_INTERFACE, &links->netem[i], &links->lack);
    network_enter(links->home);
  }
  links->has_netem = status == 0;
  if (status != 0) {
    const struct error found = links->lack;
    error_set(&links->lack, ERR_UNSUPPORTED, "%s; or join the nodes by TAP devices: --link tap",
              found.message);
  }
}

static int shape_netem(struct netns_links *links, const struct link_shape *shape, const bool *shaped,
                       struct error *error) {
  int status = 0;
  for (size_t from = 0; from < links->nodes && status == 0; from++) {
    struct in_addr hosts[CLUSTER_NODES_MAX];
    size_t count = 0;
    for (size_t to = 0; shape && to < links->nodes; to++) {
      char host[16];
      netns_links_host(to, host, sizeof host);
      if (to != from && shaped[to * links->nodes + from])
        inet_pton(AF_INET, host, &hosts[count++]);
    }
    status = count > 0 ? netem_set(links->netem[from], shape, hosts, count, error)
                       : netem_clear(links->netem[from], error);
  }
  return status;
}

static int count_netem(struct netns_links *links, size_t *shaped, struct link_counters *counters,
                       struct error *error) {
  int status = 0;
  for (size_t i = 0; i < links->nodes && status == 0; i++) {
    size_t count;
    struct link_counters of_node;
    status = netem_count(links->netem[i], &count, &of_node, error);
    *shaped += count;
    link_counters_add(counters, &of_node);
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

static int count_tap(struct netns_links *links, size_t *shaped, struct link_counters *counters,
                     struct error *error) {
  struct switch_report report;
  const int status = tap_switch_report(links->tap_switch, &report, error);
  if (status != 0)
    return status;
  *shaped = report.shaped;
  for (size_t i = 0; i < links->nodes * links->nodes; i++)
    link_counters_add(counters, &report.links[i]);
  return 0;
}

/* ---- Which of them ---- */

/* veth costs least, so that is what there is where it can do what is asked for. */
static int choose(struct netns_links *links, const struct netns_links_options *options, struct error *error) {
  struct error no_netem = {0}, no_tap = {0};
  const bool recorded = options->pcap != NULL;
  if (recorded && options->kind == LINK_VETH)
    return error_set(error, ERR_BAD_INPUT, "traffic is recorded on TAP links only, not on veth pairs");
  if (options->kind == LINK_TAP || recorded) {
    links->tap = true;
    return tap_supported(error);
  }
  if (options->kind == LINK_VETH || !options->shapes)
    return 0;
  network_enter(links->networks[0]);
  const bool netem = netem_supported(&no_netem) == 0;
  network_enter(links->home);
  links->tap = !netem && tap_supported(&no_tap) == 0;
  if (!netem && !links->tap)
    error_set(&links->lack, ERR_UNSUPPORTED, "links cannot be shaped here: %s, and %s", no_netem.message,
              no_tap.message);
  return 0;
}

static int open_chosen(struct netns_links *links, const struct netns_links_options *options,
                       struct error *error) {
  if (if_nametoindex(CLIENTS_INTERFACE) != 0)
    return error_set(error, ERR_UNSUPPORTED, "this sandbox has a cluster already: start another sandbox");
  int status = choose(links, options, error);
  if (status == 0)
    status = links->tap ? open_tap(links, options, error) : open_veth(links, error);
  if (status == 0)
    status = set_address(links->socket, CLIENTS_INTERFACE, CLIENTS_HOST, error);
  if (status == 0)
    status = interfaces_set_up(links->socket, CLIENTS_INTERFACE, error);
  for (size_t i = 0; i < links->nodes && status == 0; i++)
    status = furnish_node(links, i, error);
  if (status == 0 && !links->tap && links->lack.code == 0)
    open_netem(links);
  return status;
}

/* ---- The door ---- */

int netns_links_open(const struct netns_links_options *options, struct netns_links **links,
                     struct error *error) {
  struct netns_links *made = xcalloc(1, sizeof *made);
  *made = (struct netns_links){.nodes = options->nodes, .home = options->home};
  memcpy(made->networks, options->networks, options->nodes * sizeof *made->networks);
  int status = interfaces_open(&made->socket, error);
  if (status == 0)
    status = open_chosen(made, options, error);
  if (status != 0) {
    netns_links_close(made);
    return status;
  }
  *links = made;
  return 0;
}

/* By name, not left to the end of the namespaces: those are destroyed some time after their last holder let
 * go. */
static void remove_veth(struct netns_links *links) {
  for (size_t i = 0; i < links->nodes; i++) {
    char name[8];
    pair_name(i, name);
    interfaces_remove(links->socket, name);
  }
  interfaces_remove(links->socket, CLIENTS_INTERFACE);
}

void netns_links_close(struct netns_links *links) {
  if (!links)
    return;
  for (size_t i = 0; i < links->nodes; i++)
    netem_close(links->netem[i]);
  tap_switch_close(links->tap_switch);
  if (links->socket && links->veth)
    remove_veth(links);
  interfaces_close(links->socket);
  free(links);
}

const char *netns_links_kind(const struct netns_links *links) {
  return links->tap ? "tap" : links->has_netem ? "netem" : "veth";
}

const char *netns_links_lack_shapes(const struct netns_links *links) {
  return links->lack.code != 0 ? links->lack.message : NULL;
}

int netns_links_shape(struct netns_links *links, const struct link_shape *shape, const bool *shaped,
                      struct error *error) {
  assert(links->lack.code == 0);
  return links->tap ? tap_switch_shape(links->tap_switch, shape, shaped, error)
                    : shape_netem(links, shape, shaped, error);
}

int netns_links_count(struct netns_links *links, size_t *shaped, struct link_counters *counters,
                      struct error *error) {
  *shaped = 0;
  *counters = (struct link_counters){0};
  if (links->tap)
    return count_tap(links, shaped, counters, error);
  return links->has_netem ? count_netem(links, shaped, counters, error) : 0;
}
