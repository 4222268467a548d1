/* netns.c: every node in a network namespace of its own, all on one bridge.
 *
 *   sandbox's network namespace                 node's network namespaces
 *   assay0 (bridge) 10.23.0.254/24 ──┬── n1 ═════ eth0 10.23.0.1/24
 *   clients use this address         ├── n2 ═════ eth0 10.23.0.2/24
 *                                    └── …
 *
 * A node's namespace is held by a file descriptor of this process, so it outlives the node's restarts, and
 * goes, with its end of the veth pair and its rules, when the cluster is freed or this process dies. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/link/veth.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "nemesis/cluster.h"
#include "nemesis/firewall.h"
#include "nemesis/provider/local.h"
#include "nemesis/sandbox.h"

#define BRIDGE "assay0"
#define PEER_PORT 7300
#define CLIENT_PORT 7400
#define CLIENTS_HOST 254

struct netns {
  int home; /* the sandbox's own network namespace */
};

static int refused(struct error *error, const char *what, int nl_status) {
  return error_set(error, ERR_IO, "cannot %s: %s; does the kernel have bridge, veth and nf_tables?", what,
                   nl_geterror(nl_status));
}

/* ---- Namespaces ---- */

/* Only the calling thread changes its network; its process's other threads stay where they are. */
static void enter(int network) {
  const int status = setns(network, CLONE_NEWNET);
  assert(status == 0); /* a namespace that is held open can be joined */
}

static int open_own(struct error *error) {
  const int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    error_set_errno(error, ERR_IO, "cannot open /proc/thread-self/ns/net");
  return fd;
}

static int make_namespace(int home, struct error *error) {
  if (unshare(CLONE_NEWNET) != 0) {
    sandbox_explain(error, errno, "cannot make a network namespace for a node");
    return -1;
  }
  const int fd = open_own(error);
  enter(home);
  return fd;
}

/* ---- Links and addresses ---- */

static int socket_open(struct nl_sock **socket, struct error *error) {
  *socket = nl_socket_alloc();
  const int status = *socket ? nl_connect(*socket, NETLINK_ROUTE) : -NLE_NOMEM;
  if (status == 0)
    return 0;
  nl_socket_free(*socket);
  return refused(error, "open a netlink socket", status);
}

/* Locally administered and fixed, so that no neighbour table ever holds a stale one. */
static void set_mac(struct rtnl_link *link, unsigned char last) {
  const unsigned char mac[6] = {0x02, 0x17, 0, 0, 0, last};
  struct nl_addr *address = nl_addr_build(AF_LLC, mac, sizeof mac);
  assert(address);
  rtnl_link_set_addr(link, address);
  nl_addr_put(address);
}

static int add_address(struct nl_sock *socket, const char *interface, unsigned host, struct error *error) {
  char text[ADDRESS_SIZE];
  struct nl_addr *local = NULL;
  snprintf(text, sizeof text, "10.23.0.%u/24", host);
  struct rtnl_addr *address = rtnl_addr_alloc();
  int status = nl_addr_parse(text, AF_INET, &local);
  if (status == 0) {
    rtnl_addr_set_ifindex(address, (int)if_nametoindex(interface));
    status = rtnl_addr_set_local(address, local);
  }
  if (status == 0)
    status = rtnl_addr_add(socket, address, NLM_F_EXCL);
  nl_addr_put(local);
  rtnl_addr_put(address);
  return status == 0 ? 0 : refused(error, "give a node its address", status);
}

static int set_up(struct nl_sock *socket, const char *interface, struct error *error) {
  struct rtnl_link *link = rtnl_link_alloc(), *change = rtnl_link_alloc();
  rtnl_link_set_ifindex(link, (int)if_nametoindex(interface));
  rtnl_link_set_flags(change, IFF_UP);
  const int status = rtnl_link_change(socket, link, change, 0);
  rtnl_link_put(change);
  rtnl_link_put(link);
  return status == 0 ? 0 : refused(error, "bring an interface up", status);
}

static int make_bridge(struct nl_sock *socket, struct error *error) {
  struct rtnl_link *bridge = rtnl_link_bridge_alloc();
  rtnl_link_set_name(bridge, BRIDGE);
  rtnl_link_set_flags(bridge, IFF_UP);
  set_mac(bridge, CLIENTS_HOST);
  int status = rtnl_link_add(socket, bridge, NLM_F_CREATE | NLM_F_EXCL);
  rtnl_link_put(bridge);
  if (status == -NLE_EXIST)
    return error_set(error, ERR_UNSUPPORTED, "this sandbox has a cluster already: start another sandbox");
  if (status != 0)
    return refused(error, "make a bridge", status);
  return add_address(socket, BRIDGE, CLIENTS_HOST, error);
}

/* A veth pair: one end, named as the node, on the bridge; the other, eth0, in the node's namespace. */
static int make_pair(struct nl_sock *socket, const char *name, unsigned host, int network,
                     struct error *error) {
  struct rtnl_link *near = rtnl_link_veth_alloc();
  struct rtnl_link *far = rtnl_link_veth_get_peer(near);
  rtnl_link_set_name(near, name);
  rtnl_link_set_flags(near, IFF_UP);
  rtnl_link_set_master(near, (int)if_nametoindex(BRIDGE));
  rtnl_link_set_name(far, "eth0");
  set_mac(far, (unsigned char)host);
  rtnl_link_set_ns_fd(far, network);
  const int status = rtnl_link_add(socket, near, NLM_F_CREATE | NLM_F_EXCL);
  rtnl_link_put(far);
  rtnl_link_veth_release(near);
  return status == 0 ? 0 : refused(error, "make a pair of veth interfaces", status);
}

/* Runs inside the node's namespace. */
static int furnish_node(unsigned host, struct error *error) {
  struct nl_sock *socket;
  int status = socket_open(&socket, error);
  if (status != 0)
    return status;
  status = set_up(socket, "lo", error);
  if (status == 0)
    status = add_address(socket, "eth0", host, error);
  if (status == 0)
    status = set_up(socket, "eth0", error);
  nl_socket_free(socket);
  return status;
}

static int open_node(struct netns *netns, struct cluster_node *node, struct nl_sock *socket,
                     struct error *error) {
  const unsigned host = (unsigned)node->index + 1;
  snprintf(node->host, sizeof node->host, "10.23.0.%u", host);
  node->peer_port = PEER_PORT;
  node->client_port = CLIENT_PORT;
  const int network = make_namespace(netns->home, error);
  if (network < 0)
    return ERR_UNSUPPORTED;
  node->network = network;
  int status = make_pair(socket, node->name, host, network, error);
  if (status != 0)
    return status;
  enter(network);
  status = furnish_node(host, error);
  enter(netns->home);
  return status;
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

/* ---- The provider ---- */

static void remove_bridge(void) {
  struct nl_sock *socket;
  if (socket_open(&socket, NULL) != 0)
    return;
  struct rtnl_link *bridge = rtnl_link_alloc();
  rtnl_link_set_name(bridge, BRIDGE);
  rtnl_link_delete(socket, bridge);
  rtnl_link_put(bridge);
  nl_socket_free(socket);
}

/* The pairs go first: a namespace is destroyed some time after its last holder let go. */
static void remove_pair(struct nl_sock *socket, const char *name) {
  struct rtnl_link *near = rtnl_link_alloc();
  rtnl_link_set_name(near, name);
  rtnl_link_delete(socket, near);
  rtnl_link_put(near);
}

static void netns_close(struct cluster *cluster) {
  struct netns *netns = cluster->provider;
  struct nl_sock *socket;
  if (socket_open(&socket, NULL) == 0) {
    for (size_t i = 0; i < cluster->size; i++)
      if (cluster->nodes[i].network >= 0)
        remove_pair(socket, cluster->nodes[i].name);
    nl_socket_free(socket);
  }
  for (size_t i = 0; i < cluster->size; i++)
    if (cluster->nodes[i].network >= 0)
      close(cluster->nodes[i].network);
  remove_bridge();
  local_release(cluster);
  close(netns->home);
  free(netns);
  cluster->provider = NULL;
}

static int netns_open(struct cluster *cluster, const struct cluster_options *options, struct error *error) {
  if (!sandbox_inside())
    return error_set(
        error, ERR_UNSUPPORTED,
        "provider netns works inside a sandbox only: start it through assay run or assay cluster");
  struct nl_sock *socket;
  int status = socket_open(&socket, error);
  if (status != 0)
    return status;
  const int home = open_own(error);
  status = home < 0 ? ERR_IO : make_bridge(socket, error);
  if (status != 0) {
    nl_socket_free(socket);
    if (home >= 0)
      close(home);
    return status;
  }
  struct netns *netns = xcalloc(1, sizeof *netns);
  netns->home = home;
  cluster->provider = netns;
  local_prepare(cluster, options);
  bypass_bridge_filter();
  for (size_t i = 0; i < cluster->size && status == 0; i++)
    status = open_node(netns, &cluster->nodes[i], socket, error);
  nl_socket_free(socket);
  if (status != 0)
    netns_close(cluster);
  return status;
}

static const char *netns_lacks(const struct cluster *cluster, enum capability capability) {
  if (capability == CAN_CLOCK)
    return local_lacks_clock(cluster);
  return capability == CAN_FILTER ? NULL : "provider netns cannot do that yet";
}

/* The hosts that `node` shall not hear. */
static void silence(const struct cluster *cluster, const bool *hears, size_t node, struct firewall_job *job) {
  *job = (struct firewall_job){.network = cluster->nodes[node].network, .name = cluster->nodes[node].name};
  for (size_t other = 0; other < cluster->size; other++)
    if (other != node && !hears[node * cluster->size + other])
      job->dropped_hosts[job->dropped_count++] = cluster->nodes[other].host;
}

static int netns_set_links(struct cluster *cluster, const bool *hears, struct error *error) {
  struct firewall_job jobs[CLUSTER_NODES_MAX];
  for (size_t i = 0; i < cluster->size; i++)
    silence(cluster, hears, i, &jobs[i]);
  return firewall_replace(jobs, cluster->size, error);
}

static int netns_count_rules(struct cluster *cluster, size_t *rules, uint64_t *dropped, struct error *error) {
  struct firewall_job jobs[CLUSTER_NODES_MAX];
  for (size_t i = 0; i < cluster->size; i++)
    jobs[i] = (struct firewall_job){.network = cluster->nodes[i].network, .name = cluster->nodes[i].name};
  const int status = firewall_list(jobs, cluster->size, error);
  for (size_t i = 0; i < cluster->size; i++) {
    *rules += jobs[i].rules_found;
    *dropped += jobs[i].packets_dropped;
  }
  return status;
}

const struct provider_functions provider_netns = {.name = "netns",
                                                  .open = netns_open,
                                                  .close = netns_close,
                                                  .lacks = netns_lacks,
                                                  LOCAL_PROCESSES,
                                                  .set_links = netns_set_links,
                                                  .count_rules = netns_count_rules};
