/* healing.c: what must hold in the end. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "master/primary.h"
#include "simulator/cluster_internal.h"

void sim_cluster_healed(struct sim_cluster *cluster) {
  sessions_healed(cluster->sessions);
}

void sim_cluster_stop_clients(struct sim_cluster *cluster) {
  sessions_stop(cluster->sessions);
}

static bool all_up(const struct sim_cluster *cluster) {
  for (size_t i = 0; i < cluster->plan->nodes; i++)
    if (!cluster->nodes[i].up || cluster->nodes[i].ending)
      return false;
  return true;
}

/* Those that are no members are sent nothing. */
static bool all_equal(const struct sim_cluster *cluster) {
  const uint64_t highest = invariants_highest(cluster->invariants);
  for (size_t i = 0; i < cluster->plan->nodes; i++)
    if (sim_cluster_is_member(cluster, i) && invariants_applied(cluster->invariants, i) != highest)
      return false;
  return true;
}

bool sim_cluster_live(const struct sim_cluster *cluster) {
  return all_up(cluster) && sim_cluster_primary(cluster) >= 0 && all_equal(cluster) &&
         sessions_waiting(cluster->sessions, NULL, 0) == 0;
}

void sim_cluster_say_missing(const struct sim_cluster *cluster, char *text, size_t size) {
  char names[128];
  size_t length = 0;
  const size_t waiting = sessions_waiting(cluster->sessions, names, sizeof names);
  if (waiting > 0)
    length += (size_t)snprintf(text, size, "nobody answers clients %s; ", names);
  for (size_t i = 0; i < cluster->plan->nodes && length < size; i++) {
    const struct sim_node *node = &cluster->nodes[i];
    const char *end = i + 1 < cluster->plan->nodes ? "; " : "";
    if (!node->up) {
      length += (size_t)snprintf(text + length, size - length, "node %zu is down%s", i + 1, end);
      continue;
    }
    const struct journal_status status = node->journal->functions->status(node->journal);
    length += (size_t)snprintf(
        text + length, size - length,
        "node %zu %s term %" PRIu64 ", log to %" PRIu64 ", committed %" PRIu64 ", applied %" PRIu64 "%s",
        i + 1, status.role == JOURNAL_LEADER ? "leads" : "follows in", status.term, status.last_index,
        status.commit_index, invariants_applied(cluster->invariants, i), end);
  }
}

/* Everybody is up, and all members have applied the same. */
void cluster_check_end(struct sim_cluster *cluster) {
  const int primary = sim_cluster_primary(cluster);
  assert(primary >= 0);
  invariants_settled(cluster->invariants, invariants_applied(cluster->invariants, (size_t)primary));
  for (size_t i = 0; i < cluster->plan->nodes && !cluster->violated; i++) {
    if (!sim_cluster_is_member(cluster, i))
      continue;
    struct sim_node *node = &cluster->nodes[i];
    struct error error;
    const uint64_t hash = primary_state_hash(node->primary);
    sim_fold(cluster->world, hash);
    invariants_state(cluster->invariants, i, hash);
    if (primary_audit(node->primary, &error) != 0)
      cluster_violate(cluster, EVIDENCE_INVARIANT, "tree", "node %zu: %s", i + 1, error.message);
  }
}

const bool *sim_cluster_violated(const struct sim_cluster *cluster) {
  return &cluster->violated;
}

void sim_cluster_report(struct sim_cluster *cluster, struct simulation_result *result) {
  result->evidence = cluster->evidence;
  snprintf(result->invariant, sizeof result->invariant, "%s", cluster->invariant);
  snprintf(result->text, sizeof result->text, "%s", cluster->text);
  result->at = cluster->violated_at;
  result->at_ns = cluster->violated_ns;
  result->elections = invariants_elections(cluster->invariants);
  result->snapshots_sent = cluster->snapshots_installed;
  result->crashes = cluster->crashes;
  sessions_report(cluster->sessions, result);
}
