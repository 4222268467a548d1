/* netns.c: every node in a network namespace of its own, joined by the links of netns_links.h.
 *
 * A node's namespace is held by a file descriptor of this process, so it outlives the node's restarts, and
 * goes, with its interface and its rules, when the cluster is freed or this process dies. */
#include <stdlib.h>
#include <unistd.h>

#include "nemesis/cluster.h"
#include "nemesis/firewall.h"
#include "nemesis/link/network.h"
#include "nemesis/provider/local.h"
#include "nemesis/provider/netns_links.h"
#include "nemesis/sandbox.h"

#define PEER_PORT 7300
#define CLIENT_PORT 7400

struct netns {
  int home; /* the sandbox's own network namespace */
  struct netns_links *links;
};

static int open_node(const struct netns *netns, struct cluster_node *node, struct error *error) {
  netns_links_host(node->index, node->host, sizeof node->host);
  node->peer_port = PEER_PORT;
  node->client_port = CLIENT_PORT;
  const int network = network_make(netns->home, error);
  if (network < 0)
    return network;
  node->network = network;
  return 0;
}

static int open_links(struct cluster *cluster, const struct cluster_options *options, struct error *error) {
  struct netns *netns = cluster->provider;
  int networks[CLUSTER_NODES_MAX];
  for (size_t i = 0; i < cluster->size; i++)
    networks[i] = cluster->nodes[i].network;
  const struct netns_links_options wanted = {.kind = options->link,
                                             .shapes = options->needs & CAPABILITY_BIT(CAN_SHAPE),
                                             .nodes = cluster->size,
                                             .home = netns->home,
                                             .networks = networks,
                                             .seed = options->seed,
                                             .pcap = options->pcap};
  return netns_links_open(&wanted, &netns->links, error);
}

static void netns_close(struct cluster *cluster) {
  struct netns *netns = cluster->provider;
  netns_links_close(netns->links);
  for (size_t i = 0; i < cluster->size; i++)
    if (cluster->nodes[i].network >= 0)
      close(cluster->nodes[i].network);
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
  const int home = network_open_own(error);
  if (home < 0)
    return home;
  struct netns *netns = xcalloc(1, sizeof *netns);
  netns->home = home;
  cluster->provider = netns;
  local_prepare(cluster, options);
  int status = 0;
  for (size_t i = 0; i < cluster->size && status == 0; i++)
    status = open_node(netns, &cluster->nodes[i], error);
  if (status == 0)
    status = open_links(cluster, options, error);
  if (status != 0)
    netns_close(cluster);
  return status;
}

static const char *netns_lacks(const struct cluster *cluster, enum capability capability) {
  const struct netns *netns = cluster->provider;
  switch (capability) {
  case CAN_FILTER:
  case CAN_LIMIT:
    return NULL;
  case CAN_SHAPE:
    return netns_links_lack_shapes(netns->links);
  case CAN_CLOCK:
    return local_lacks_clock(cluster);
  case CAN_DISK:
    return local_disks_lack(local_disks(cluster));
  default:
    return "provider netns cannot do that yet";
  }
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

static const char *netns_link_kind(const struct cluster *cluster) {
  const struct netns *netns = cluster->provider;
  return netns_links_kind(netns->links);
}

static int netns_shape_links(struct cluster *cluster, const struct link_shape *shape, const bool *shaped,
                             struct error *error) {
  struct netns *netns = cluster->provider;
  return netns_links_shape(netns->links, shape, shaped, error);
}

static int netns_count_shapes(struct cluster *cluster, size_t *shaped, struct link_counters *counters,
                              struct error *error) {
  struct netns *netns = cluster->provider;
  return netns_links_count(netns->links, shaped, counters, error);
}

const struct provider_functions provider_netns = {.name = "netns",
                                                  .open = netns_open,
                                                  .close = netns_close,
                                                  .lacks = netns_lacks,
                                                  LOCAL_PROCESSES,
                                                  LOCAL_DISKS,
                                                  .set_links = netns_set_links,
                                                  .count_rules = netns_count_rules,
                                                  .link_kind = netns_link_kind,
                                                  .shape_links = netns_shape_links,
                                                  .count_shapes = netns_count_shapes};
