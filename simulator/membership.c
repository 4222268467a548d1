/* membership.c: the members of the cluster: what they are, and what the primary is asked to make of them. */
#include <inttypes.h>
#include <stdio.h>

#include "simulator/cluster_internal.h"

static bool read_membership(const struct sim_cluster *cluster, size_t node,
                            struct journal_membership *membership) {
  const struct journal *journal = cluster->nodes[node].journal;
  if (cluster->options->members_fixed || !cluster->nodes[node].up || !journal)
    return false;
  journal->functions->membership(journal, membership);
  return true;
}

void cluster_observe_membership(struct sim_node *node) {
  struct sim_cluster *cluster = node->cluster;
  struct journal_membership membership;
  if (!read_membership(cluster, node->number, &membership))
    return;
  uint64_t hash = 0;
  for (size_t i = 0; i < membership.count; i++) {
    const uint64_t part = membership.members[i].id << 8 | (uint64_t)membership.members[i].role;
    hash = checksum_fold(hash, &part, sizeof part);
  }
  invariants_membership(cluster->invariants, node->number, membership.index, membership.term, hash);
}

bool cluster_is_settled(const struct sim_cluster *cluster, size_t as_of) {
  struct journal_membership membership;
  return !read_membership(cluster, as_of, &membership) || membership.committed;
}

bool cluster_is_member(const struct sim_cluster *cluster, size_t as_of, size_t node, bool voter) {
  struct journal_membership membership;
  if (!read_membership(cluster, as_of, &membership))
    return cluster->options->members_fixed;
  for (size_t i = 0; i < membership.count; i++)
    if (membership.members[i].id == node + 1)
      return !voter || membership.members[i].role == MEMBER_VOTER;
  return false;
}

bool sim_cluster_is_member(const struct sim_cluster *cluster, size_t node) {
  const int primary = sim_cluster_primary(cluster);
  return primary >= 0 && cluster_is_member(cluster, (size_t)primary, node, false);
}

bool sim_cluster_votes(const struct sim_cluster *cluster, size_t node) {
  const int primary = sim_cluster_primary(cluster);
  return primary >= 0 && cluster_is_member(cluster, (size_t)primary, node, true);
}

static void changed(void *context, int status, const struct error *error) {
  struct sim_cluster *cluster = context;
  cluster->changes_asked--;
  sim_fold(cluster->world, (uint64_t)(int64_t)status);
  if (sim_traced(cluster->world))
    sim_tell(cluster->world, "change", -1, -1, 0, "%s: %s", status == 0 ? "done" : error_name(error->code),
             error->message);
}

static struct journal *primary_of(struct sim_cluster *cluster) {
  const int primary = sim_cluster_primary(cluster);
  return primary < 0 || cluster->options->members_fixed ? NULL : cluster->nodes[primary].journal;
}

/* A voter that lost its disk and has not caught up gives no vote, and nobody can tell from outside: without
 * one of the others there may be no majority any more. No operator removes a node then. */
static bool lacks_voter(const struct sim_cluster *cluster) {
  for (size_t i = 0; i < cluster->plan->nodes; i++)
    if (sim_cluster_votes(cluster, i) &&
        invariants_applied(cluster->invariants, i) < cluster->nodes[i].lost_index)
      return true;
  return false;
}

const char *sim_cluster_change(struct sim_cluster *cluster, enum journal_change_kind kind, size_t node) {
  static _Thread_local struct error error;
  struct journal *journal = primary_of(cluster);
  char address[24];
  if (!journal)
    return cluster->options->members_fixed ? "this journal's members never change" : "nobody leads";
  if ((kind == CHANGE_REMOVE || kind == CHANGE_DEMOTE) && lacks_voter(cluster))
    return "a voter that lost its disk has not caught up";
  snprintf(address, sizeof address, "%zu", node + 1);
  const struct journal_change change = {
      .kind = kind, .id = node + 1, .address = kind == CHANGE_ADD ? address : NULL};
  if (journal->functions->change(journal, &change, changed, cluster, &error) != 0)
    return error.message;
  cluster->changed = true;
  cluster->changes_asked++;
  return NULL;
}

const char *sim_cluster_transfer(struct sim_cluster *cluster, size_t node) {
  static _Thread_local struct error error;
  struct journal *journal = primary_of(cluster);
  if (!journal)
    return cluster->options->members_fixed ? "this journal does not hand leadership over" : "nobody leads";
  if (journal->functions->transfer(journal, node + 1, changed, cluster, &error) != 0)
    return error.message;
  cluster->changes_asked++;
  return NULL;
}
