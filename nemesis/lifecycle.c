/* lifecycle.c: what else happens to processes in their lives: they are stopped as an operator stops them,
 * restarted in turn, killed whenever they are up, started with an older program, and asleep for very long. */
#include "nemesis/cluster.h"
#include "nemesis/fault.h"

/* A rolling restart: a node is down for so long, and up for so long before the next one is. */
#define ROLLING_NS (400 * NS_PER_MS)
/* How soon a node that answers again is killed again. */
#define LOOP_NS (100 * NS_PER_MS)

/* Longer than every election time-out, lease and request's time that anybody has here by default. */
#define LONG_NS (6 * NS_PER_S)

/* ---- What they share ---- */

/* Starts every target that does not run; goes on after a failure and reports the first. */
static int start_targets(struct cluster *cluster, const struct aim *aim, struct error *error) {
  int first = 0;
  for (size_t i = 0; i < cluster_size(cluster); i++) {
    const enum node_state state = cluster_node_state(cluster, i);
    if (!aim->targets[i] || (state != NODE_STOPPED && state != NODE_DIED))
      continue;
    const int status = cluster_start(cluster, i, first == 0 ? error : NULL);
    first = first == 0 ? status : first;
  }
  return first;
}

static int stop_targets(struct cluster *cluster, const struct aim *aim, struct error *error) {
  int status = 0;
  for (size_t i = 0; i < cluster_size(cluster) && status == 0; i++)
    if (aim->targets[i] && cluster_node_state(cluster, i) == NODE_RUNNING)
      status = cluster_stop(cluster, i, error);
  return status;
}

static int aim_primary_or_one(const struct fault *fault, const struct facts *facts, struct random *random,
                              struct aim *aim, struct error *error) {
  const int primary = facts_primary(facts);
  if (primary < 0 || random_chance(random, 0.5))
    return aim_at_one(fault, facts, random, aim, error);
  aim->targets[primary] = true;
  return 0;
}

/* ---- Rolling restart ---- */

static int aim_rolling(const struct fault *fault, const struct facts *facts, struct random *random,
                       struct aim *aim, struct error *error) {
  aim_set(aim, "first_node", (double)(1 + random_below(random, facts->nodes)));
  return aim_at_all(fault, facts, random, aim, error);
}

/* The node whose turn is the `turn`-th. */
static size_t rolling_node(const struct cluster *cluster, const struct aim *aim, size_t turn) {
  return ((size_t)aim_get(aim, "first_node") - 1 + turn) % cluster_size(cluster);
}

static int install_rolling(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return cluster_kill(cluster, rolling_node(cluster, aim, 0), error);
}

/* Even steps start what the step before killed, odd ones kill the next. */
static int act_rolling(struct cluster *cluster, const struct facts *facts, const struct aim *aim, size_t step,
                       struct error *error) {
  (void)facts;
  const size_t turn = (step + 1) / 2, node = rolling_node(cluster, aim, turn);
  if (step % 2 == 1)
    return cluster_node_state(cluster, node) == NODE_RUNNING ? cluster_kill(cluster, node, error) : ACT_QUIET;
  const enum node_state state = cluster_node_state(cluster, node);
  const int status = state == NODE_STOPPED || state == NODE_DIED ? cluster_start(cluster, node, error) : 0;
  return status == 0 && turn + 1 == cluster_size(cluster) ? ACT_OVER : status;
}

/* ---- Crash loop ---- */

static int install_kill(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return cluster_kill_many(cluster, aim->targets, error);
}

/* A node that answers is killed; one that is down is started. */
static int act_loop(struct cluster *cluster, const struct facts *facts, const struct aim *aim, size_t step,
                    struct error *error) {
  (void)step;
  for (size_t i = 0; i < facts->nodes; i++) {
    if (!aim->targets[i])
      continue;
    const enum node_state state = cluster_node_state(cluster, i);
    if (state == NODE_RUNNING && facts->node[i].known)
      return cluster_kill(cluster, i, error);
    const int status = state == NODE_STOPPED || state == NODE_DIED ? cluster_start(cluster, i, error) : 0;
    if (status != 0)
      return status;
  }
  return ACT_QUIET;
}

/* ---- Another build ---- */

/* Stops the targets that run and starts them again with one of the two programs. */
static int change_build(struct cluster *cluster, const struct aim *aim, bool old, struct error *error) {
  const int status = stop_targets(cluster, aim, error);
  for (size_t i = 0; i < cluster_size(cluster); i++)
    if (aim->targets[i])
      cluster_use_old_build(cluster, i, old);
  return status != 0 ? status : start_targets(cluster, aim, error);
}

static int install_old(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return change_build(cluster, aim, true, error);
}

static int heal_old(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return change_build(cluster, aim, false, error);
}

/* ---- A long pause ---- */

static int install_pause(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return cluster_pause_many(cluster, aim->targets, error);
}

static int heal_pause(struct cluster *cluster, const struct aim *aim, struct error *error) {
  int status = 0;
  for (size_t i = 0; i < cluster_size(cluster) && status == 0; i++)
    if (aim->targets[i] && cluster_node_state(cluster, i) == NODE_PAUSED)
      status = cluster_resume(cluster, i, error);
  return status;
}

#define LIFECYCLE(name, words)                                                                               \
  .description = {name, "lifecycle", words}, .touches = TOUCHES_PROCESSES, .nodes_min = 1

static const struct fault faults[] = {
    {LIFECYCLE("stop-primary", "the primary is told to end (SIGTERM), then started again"),
     .at_primary = true, .aim = aim_at_primary, .install = stop_targets, .heal = start_targets},
    {LIFECYCLE("stop-one", "a random node is told to end, then started again"), .aim = aim_at_one,
     .install = stop_targets, .heal = start_targets},
    {LIFECYCLE("pause-long", "the primary is stopped for longer than every time-out, then continued"),
     .at_primary = true, .duration_min_ns = LONG_NS, .aim = aim_at_primary, .install = install_pause,
     .heal = heal_pause},
    {LIFECYCLE("kill-rolling", "one node after the other is killed and started again"), .alone = true,
     .duration_min_ns = 10 * ROLLING_NS, .aim = aim_rolling, .install = install_rolling, .act = act_rolling,
     .act_after_ns = ROLLING_NS, .act_every_ns = ROLLING_NS, .heal = start_targets},
    {LIFECYCLE("kill-loop", "a node is killed again and again, whenever it is up"), .aim = aim_primary_or_one,
     .install = install_kill, .act = act_loop, .act_after_ns = LOOP_NS, .act_every_ns = LOOP_NS,
     .heal = start_targets},
    {LIFECYCLE("old-build", "a node is stopped and works with an older program for a while"),
     .needs = CAPABILITY_BIT(CAN_OLD_BUILD),
     .excuses_end = true, /* it may refuse what a newer one has written */
     .aim = aim_primary_or_one, .install = install_old, .heal = heal_old},
};
const struct fault_table lifecycle_faults = {faults, ARRAY_SIZE(faults)};
