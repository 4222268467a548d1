/* process.c: faults of the nodes' processes: paused and resumed, killed and started again. */
#include "nemesis/cluster.h"
#include "nemesis/fault.h"

/* ---- Doing it ---- */

static int pause_install(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return cluster_pause_many(cluster, aim->targets, error);
}

static int kill_install(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return cluster_kill_many(cluster, aim->targets, error);
}

/* Does `undo` to every target that is in one of two states; goes on after a failure and reports the first. */
static int undo(struct cluster *cluster, const struct aim *aim, enum node_state state,
                enum node_state or_state,
                int (*function)(struct cluster *cluster, size_t node, struct error *error),
                struct error *error) {
  int first = 0;
  for (size_t i = 0; i < cluster_size(cluster); i++) {
    const enum node_state now = cluster_node_state(cluster, i);
    if (!aim->targets[i] || (now != state && now != or_state))
      continue;
    const int status = function(cluster, i, first == 0 ? error : NULL);
    first = first == 0 ? status : first;
  }
  return first;
}

static int pause_heal(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return undo(cluster, aim, NODE_PAUSED, NODE_PAUSED, cluster_resume, error);
}

static int kill_heal(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return undo(cluster, aim, NODE_STOPPED, NODE_DIED, cluster_start, error);
}

#define PAUSE(whom, words)                                                                                   \
  .description = {"pause-" whom, "pause", words}, .touches = TOUCHES_PROCESSES, .install = pause_install,    \
  .heal = pause_heal
#define KILL(whom, words)                                                                                    \
  .description = {"kill-" whom, "kill", words}, .touches = TOUCHES_PROCESSES, .install = kill_install,       \
  .heal = kill_heal

static const struct fault faults[] = {
    {PAUSE("primary", "the primary is stopped (SIGSTOP), then continued"), .nodes_min = 1, .at_primary = true,
     .aim = aim_at_primary},
    {PAUSE("one", "a random node is stopped, then continued"), .nodes_min = 1, .aim = aim_at_one},
    {PAUSE("minority", "the greatest minority is stopped, then continued"), .nodes_min = 3,
     .aim = aim_at_minority},
    {PAUSE("majority", "the smallest majority is stopped, then continued"), .nodes_min = 2, .alone = true,
     .aim = aim_at_majority},
    {PAUSE("all", "all nodes are stopped, then continued"), .nodes_min = 1, .alone = true, .aim = aim_at_all},
    {KILL("primary", "the primary is killed (SIGKILL), then started again"), .nodes_min = 1,
     .at_primary = true, .aim = aim_at_primary},
    {KILL("one", "a random node is killed, then started again"), .nodes_min = 1, .aim = aim_at_one},
    {KILL("minority", "the greatest minority is killed, then started again"), .nodes_min = 3,
     .aim = aim_at_minority},
    {KILL("majority", "the smallest majority is killed, then started again"), .nodes_min = 2, .alone = true,
     .aim = aim_at_majority},
    {KILL("all", "all nodes are killed at once, then started again"), .nodes_min = 1, .alone = true,
     .aim = aim_at_all},
};
const struct fault_table process_faults = {faults, ARRAY_SIZE(faults)};
