/* snapshot_faults.c: nodes that are hurt in the middle of a snapshot: while they take one, send one, or
 * install one that another sends. These moments are short, so each of these faults watches and waits for its
 * own:
 *
 *   stage 0  a follower lags: it is down, or cut off, until the primary's log no longer holds what it needs
 *   stage 1  it is back, and gets a snapshot; as soon as that is seen, it is hit, or the primary is
 *   stage 2  done; the heal undoes the rest
 *
 * Nodes must take snapshots often for that (CAN_SNAPSHOT), every few hundred entries. */
#include "nemesis/cluster.h"
#include "nemesis/fault.h"

/* As often as what nodes do is looked at. */
#define LOOK_NS (10 * NS_PER_MS)
/* Time for a follower to lag, and for a snapshot of some size to arrive. */
#define STAY_NS (5 * NS_PER_S)

enum stage { STAGE_LAG, STAGE_WATCH, STAGE_DONE };

/* ---- Aiming ---- */

static int aim_taker(const struct fault *fault, const struct facts *facts, struct random *random,
                     struct aim *aim, struct error *error) {
  const int primary = facts_primary(facts);
  if (primary < 0 || random_chance(random, 0.5))
    return aim_at_one(fault, facts, random, aim, error);
  aim->targets[primary] = true;
  return 0;
}

static size_t lagging(const struct aim *aim) {
  return (size_t)aim_get(aim, "lagging_node") - 1;
}

/* A follower that shall lag. */
static int aim_lag(const struct fault *fault, const struct facts *facts, struct random *random,
                   struct aim *aim, struct error *error) {
  const int status = aim_at_follower(fault, facts, random, aim, error);
  for (size_t i = 0; i < facts->nodes; i++)
    if (aim->targets[i])
      aim_set(aim, "lagging_node", (double)(i + 1));
  return status;
}

/* And the primary, which will have to send it a snapshot. */
static int aim_sender(const struct fault *fault, const struct facts *facts, struct random *random,
                      struct aim *aim, struct error *error) {
  const int primary = facts_primary(facts);
  if (primary < 0)
    return error_set(error, ERR_UNAVAILABLE, "nobody is known to be primary");
  const int status = aim_lag(fault, facts, random, aim, error);
  aim->targets[primary] = true;
  return status;
}

static int aim_cut(const struct fault *fault, const struct facts *facts, struct random *random,
                   struct aim *aim, struct error *error) {
  const int status = aim_lag(fault, facts, random, aim, error);
  aim->cuts = status == 0;
  for (size_t a = 0; a < facts->nodes; a++)
    for (size_t b = 0; b < facts->nodes; b++)
      aim->hears[a * facts->nodes + b] = aim->targets[a] == aim->targets[b];
  return status;
}

/* ---- Lagging ---- */

static int open_links(struct cluster *cluster, struct error *error) {
  bool hears[CLUSTER_NODES_MAX * CLUSTER_NODES_MAX];
  memset(hears, true, sizeof hears);
  return cluster_set_links(cluster, hears, error);
}

static int install_down(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return cluster_kill(cluster, lagging(aim), error);
}

static int install_cut(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return cluster_set_links(cluster, aim->hears, error);
}

static int install_nothing(struct cluster *cluster, const struct aim *aim, struct error *error) {
  (void)cluster;
  (void)aim;
  (void)error;
  return 0;
}

/* What the follower lacks is gone from the primary's log. */
static bool lags_enough(const struct facts *facts, const struct aim *aim) {
  const size_t node = lagging(aim);
  return facts->primary >= 0 && (size_t)facts->primary != node &&
         facts->node[facts->primary].first_index > facts->node[node].last_index + 1;
}

static int bring_back(struct cluster *cluster, const struct aim *aim, struct error *error) {
  if (aim->cuts)
    return open_links(cluster, error);
  const enum node_state state = cluster_node_state(cluster, lagging(aim));
  return state == NODE_STOPPED || state == NODE_DIED ? cluster_start(cluster, lagging(aim), error) : 0;
}

/* Stage 0 of every fault that begins with a lag: ACT_QUIET as long as it is not over. */
static int act_lag(struct cluster *cluster, const struct facts *facts, const struct aim *aim,
                   struct error *error) {
  if (!lags_enough(facts, aim))
    return ACT_QUIET;
  const int status = bring_back(cluster, aim, error);
  if (status == 0)
    *facts->stage = STAGE_WATCH;
  return status;
}

/* ---- Hitting ---- */

static int act_taking(struct cluster *cluster, const struct facts *facts, const struct aim *aim, size_t step,
                      struct error *error) {
  (void)step;
  for (size_t i = 0; i < facts->nodes; i++)
    if (aim->targets[i] && facts->node[i].takes_snapshot && cluster_node_state(cluster, i) == NODE_RUNNING) {
      const int status = cluster_kill(cluster, i, error);
      return status == 0 ? ACT_OVER : status;
    }
  return ACT_QUIET;
}

static int act_sending(struct cluster *cluster, const struct facts *facts, const struct aim *aim, size_t step,
                       struct error *error) {
  (void)step;
  if (*facts->stage == STAGE_LAG)
    return act_lag(cluster, facts, aim, error);
  for (size_t i = 0; i < facts->nodes; i++)
    if (aim->targets[i] && facts->node[i].sends_snapshot && cluster_node_state(cluster, i) == NODE_RUNNING) {
      const int status = cluster_kill(cluster, i, error);
      return status == 0 ? ACT_OVER : status;
    }
  return ACT_QUIET;
}

static int hit_installing(struct cluster *cluster, const struct facts *facts, const struct aim *aim,
                          int (*hit)(struct cluster *cluster, size_t node, struct error *error),
                          struct error *error) {
  const size_t node = lagging(aim);
  if (*facts->stage == STAGE_LAG)
    return act_lag(cluster, facts, aim, error);
  if (!facts->node[node].known || !facts->node[node].installs_snapshot ||
      cluster_node_state(cluster, node) != NODE_RUNNING)
    return ACT_QUIET;
  const int status = hit(cluster, node, error);
  return status == 0 ? ACT_OVER : status;
}

static int act_kill_installing(struct cluster *cluster, const struct facts *facts, const struct aim *aim,
                               size_t step, struct error *error) {
  (void)step;
  return hit_installing(cluster, facts, aim, cluster_kill, error);
}

static int act_pause_installing(struct cluster *cluster, const struct facts *facts, const struct aim *aim,
                                size_t step, struct error *error) {
  (void)step;
  return hit_installing(cluster, facts, aim, cluster_pause, error);
}

/* Nobody is hit: it is over when the follower has what the primary's log begins with. */
static int act_catching_up(struct cluster *cluster, const struct facts *facts, const struct aim *aim,
                           size_t step, struct error *error) {
  (void)step;
  if (*facts->stage == STAGE_LAG)
    return act_lag(cluster, facts, aim, error);
  return lags_enough(facts, aim) ? ACT_QUIET : ACT_OVER;
}

/* ---- Healing ---- */

static int heal(struct cluster *cluster, const struct aim *aim, struct error *error) {
  int status = aim->cuts ? open_links(cluster, error) : 0;
  for (size_t i = 0; i < cluster_size(cluster) && status == 0; i++) {
    const enum node_state state = cluster_node_state(cluster, i);
    if (aim->targets[i] && state == NODE_PAUSED)
      status = cluster_resume(cluster, i, error);
    else if (aim->targets[i] && state != NODE_RUNNING)
      status = cluster_start(cluster, i, error);
  }
  return status;
}

#define SNAPSHOT(name, words)                                                                                \
  .description = {"snapshot-" name, "snapshot", words}, .duration_min_ns = STAY_NS, .act_after_ns = LOOK_NS, \
  .act_every_ns = LOOK_NS, .heal = heal
#define WITH_KILL .needs = CAPABILITY_BIT(CAN_SNAPSHOT), .touches = TOUCHES_PROCESSES
#define WITH_CUT                                                                                             \
  .needs = CAPABILITY_BIT(CAN_SNAPSHOT) | CAPABILITY_BIT(CAN_FILTER),                                        \
  .touches = TOUCHES_PROCESSES | TOUCHES_LINKS

static const struct fault faults[] = {
    {SNAPSHOT("kill-taking", "a node is killed while it takes a snapshot"), WITH_KILL, .nodes_min = 1,
     .aim = aim_taker, .install = install_nothing, .act = act_taking},
    {SNAPSHOT("kill-sending", "the primary is killed while it sends a snapshot to a node that was down"),
     WITH_KILL, .nodes_min = 3, .at_primary = true, .alone = true, .aim = aim_sender, .install = install_down,
     .act = act_sending},
    {SNAPSHOT("kill-installing", "a node that was down is killed while it installs a snapshot"), WITH_KILL,
     .nodes_min = 3, .aim = aim_lag, .install = install_down, .act = act_kill_installing},
    {SNAPSHOT("pause-installing", "a node that was down is stopped while it installs a snapshot"), WITH_KILL,
     .nodes_min = 3, .aim = aim_lag, .install = install_down, .act = act_pause_installing},
    {SNAPSHOT("lag", "a follower is cut off until only a snapshot can bring it back"), WITH_CUT,
     .nodes_min = 3, .aim = aim_cut, .install = install_cut, .act = act_catching_up},
    {SNAPSHOT("lag-kill", "a follower is cut off until it needs a snapshot, and killed while it installs it"),
     WITH_CUT, .nodes_min = 3, .aim = aim_cut, .install = install_cut, .act = act_kill_installing},
};
const struct fault_table snapshot_faults = {faults, ARRAY_SIZE(faults)};
