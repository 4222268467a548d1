/* cluster_members.c: nodes that may join later, and what their masters are asked. */
#include <assert.h>

#include "nemesis/membership.h"

size_t cluster_count_spares(const struct cluster_options *options) {
  if (!(options->needs & CAPABILITY_BIT(CAN_SPARE)) || options->nodes == CLUSTER_NODES_MAX)
    return 0;
  return options->provider != PROVIDER_SSH || cluster_has_host(&options->hosts, options->nodes) ? 1 : 0;
}

size_t cluster_founders(const struct cluster *cluster) {
  return cluster->founders;
}

void cluster_set_members_door(struct cluster *cluster, const struct members_door *door) {
  if (cluster->membership)
    membership_set_door(cluster->membership, door);
}

bool cluster_node_serves(const struct cluster *cluster, size_t node) {
  assert(node < cluster->size);
  return !cluster->nodes[node].off &&
         (!cluster->membership || membership_seat(cluster->membership, node) != SEAT_NONE);
}

static const char *lacks_members(const struct cluster *cluster) {
  if (!cluster->membership)
    return "the nodes were started to stay who they are: name a fault of membership at the start";
  return membership_has_door(cluster->membership) ? NULL : "nobody here can ask masters for it";
}

static const char *lacks_spare(const struct cluster *cluster) {
  if (cluster->size > cluster->founders)
    return NULL;
  if (!(cluster->needs & CAPABILITY_BIT(CAN_SPARE)))
    return "no further node was prepared: name a fault of membership at the start";
  return cluster->size == CLUSTER_NODES_MAX
             ? "the cluster has as many nodes as it can"
             : "there is no host for a further node: give one --host more than --nodes says";
}

const char *cluster_lacks_members(const struct cluster *cluster, enum capability capability) {
  return capability == CAN_MEMBERS ? lacks_members(cluster) : lacks_spare(cluster);
}

int cluster_wipe(struct cluster *cluster, size_t index, struct error *error) {
  struct cluster_node *node = &cluster->nodes[index];
  assert(index < cluster->size);
  if (node->pid >= 0)
    return error_set(error, ERR_NOT_FOUND, "cannot wipe the disk of %s: it runs", node->name);
  node->joins = true;
  return cluster->functions->wipe(cluster, index, error);
}
