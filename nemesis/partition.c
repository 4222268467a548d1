/* partition.c: faults of links between nodes. The link to the clients is never touched.
 *
 * A shape is a grudge, after Jepsen: for each node the set of those whose packets it drops. It is kept the
 * other way round, as whom each node hears. */
#include <assert.h>
#include <string.h>

#include "nemesis/cluster.h"
#include "nemesis/fault.h"

static bool *hears(struct aim *aim, const struct facts *facts, size_t node, size_t other) {
  assert(node < facts->nodes && other < facts->nodes);
  return &aim->hears[node * facts->nodes + other];
}

static void begin(struct aim *aim) {
  aim->cuts = true;
  memset(aim->hears, true, sizeof aim->hears);
}

static void cut_both_ways(struct aim *aim, const struct facts *facts, size_t a, size_t b) {
  *hears(aim, facts, a, b) = false;
  *hears(aim, facts, b, a) = false;
}

static void isolate(struct aim *aim, const struct facts *facts, size_t node) {
  aim->targets[node] = true;
  for (size_t other = 0; other < facts->nodes; other++)
    if (other != node)
      cut_both_ways(aim, facts, node, other);
}

static void shuffled(const struct facts *facts, struct random *random, size_t *order) {
  for (size_t i = 0; i < facts->nodes; i++)
    order[i] = i;
  random_shuffle(random, order, facts->nodes, sizeof *order);
}

/* ---- Shapes ---- */

static int aim_primary(const struct fault *fault, const struct facts *facts, struct random *random,
                       struct aim *aim, struct error *error) {
  (void)fault;
  (void)random;
  (void)error;
  begin(aim);
  isolate(aim, facts, (size_t)facts_primary(facts));
  return 0;
}

static int aim_one(const struct fault *fault, const struct facts *facts, struct random *random,
                   struct aim *aim, struct error *error) {
  (void)fault;
  size_t node;
  begin(aim);
  if (!facts_pick(facts, random, 1, &node))
    return error_set(error, ERR_UNAVAILABLE, "no node is running");
  isolate(aim, facts, node);
  return 0;
}

/* The smaller half, the targets, hears only itself, and so does the greater. */
static int aim_halves(const struct fault *fault, const struct facts *facts, struct random *random,
                      struct aim *aim, struct error *error) {
  (void)fault;
  (void)error;
  size_t order[CLUSTER_NODES_MAX];
  const size_t half = facts->nodes / 2;
  begin(aim);
  shuffled(facts, random, order);
  for (size_t i = 0; i < half; i++) {
    aim->targets[order[i]] = true;
    for (size_t k = half; k < facts->nodes; k++)
      cut_both_ways(aim, facts, order[i], order[k]);
  }
  return 0;
}

/* On a random circle every node hears the window of a majority's size around itself: everybody hears a
 * majority, and no two the same one. With an even size the window leans back, so that links become one-way.
 */
static int aim_ring(const struct fault *fault, const struct facts *facts, struct random *random,
                    struct aim *aim, struct error *error) {
  (void)fault;
  (void)error;
  size_t order[CLUSTER_NODES_MAX];
  const size_t n = facts->nodes, majority = n / 2 + 1, before = majority / 2;
  begin(aim);
  shuffled(facts, random, order);
  for (size_t i = 0; i < n; i++) {
    aim->targets[order[i]] = true;
    for (size_t outside = majority; outside < n; outside++)
      *hears(aim, facts, order[i], order[(i + n - before + outside) % n]) = false;
  }
  return 0;
}

/* Two halves that do not hear each other, and one node, the target, that hears and is heard by both. */
static int aim_bridge(const struct fault *fault, const struct facts *facts, struct random *random,
                      struct aim *aim, struct error *error) {
  (void)fault;
  (void)error;
  size_t order[CLUSTER_NODES_MAX];
  const size_t half = (facts->nodes - 1) / 2;
  begin(aim);
  shuffled(facts, random, order);
  aim->targets[order[0]] = true;
  for (size_t i = 1; i <= half; i++)
    for (size_t k = half + 1; k < facts->nodes; k++)
      cut_both_ways(aim, facts, order[i], order[k]);
  return 0;
}

/* Packets pass in one direction only: somebody, mostly the primary, hears nobody, or is heard by nobody, or
 * does not hear, or is not heard by, one other. */
static int aim_one_way(const struct fault *fault, const struct facts *facts, struct random *random,
                       struct aim *aim, struct error *error) {
  (void)fault;
  size_t picked;
  const bool wants_primary = random_chance(random, 2.0 / 3), deaf = random_chance(random, 0.5),
             to_all = random_chance(random, 2.0 / 3);
  const size_t offset = 1 + (size_t)random_below(random, facts->nodes - 1);
  begin(aim);
  if (!facts_pick(facts, random, 1, &picked))
    return error_set(error, ERR_UNAVAILABLE, "no node is running");
  const size_t node = wants_primary && facts_primary(facts) >= 0 ? (size_t)facts_primary(facts) : picked;
  aim->targets[node] = true;
  for (size_t other = 0; other < facts->nodes; other++)
    if (other != node && (to_all || other == (node + offset) % facts->nodes))
      *(deaf ? hears(aim, facts, node, other) : hears(aim, facts, other, node)) = false;
  return 0;
}

/* ---- Doing it ---- */

static int install(struct cluster *cluster, const struct aim *aim, struct error *error) {
  assert(aim->cuts);
  return cluster_set_links(cluster, aim->hears, error);
}

static int heal(struct cluster *cluster, const struct aim *aim, struct error *error) {
  (void)aim;
  const int status = cluster_open_links(cluster, error);
  if (status != 0)
    return status;
  return cluster_links_clear(cluster, error) ? 0 : ERR_IO;
}

size_t partition_measure(struct cluster *cluster, const struct aim *aim,
                         struct aim_number evidence[AIM_NUMBERS_MAX]) {
  size_t rules;
  uint64_t dropped;
  (void)aim;
  if (cluster_count_rules(cluster, &rules, &dropped, NULL) != 0)
    return 0;
  evidence[0] = (struct aim_number){"packets_dropped", (double)dropped};
  return 1;
}

/* ---- The stalled primary ----
 *
 * Stopped and cut off in the same moment, it is continued when its peers have had time to elect another, and
 * stays cut off: it wakes into a cluster that has moved on, believes for a while that it leads, and can be
 * told by nobody but its clients. A long collection of garbage together with a failing switch does that in
 * production. */

#define STALL_NS (800 * NS_PER_MS) /* longer than an election takes, shorter than a client's patience */

/* Stopped first: what its peers answer until the cut waits in its sockets, so it wakes up sure of its
 * majority and goes on leading until an election time-out has passed. */
static int stall_install(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const int status = cluster_pause_many(cluster, aim->targets, error);
  return status != 0 ? status : install(cluster, aim, error);
}

static int resume_targets(struct cluster *cluster, const struct aim *aim, struct error *error) {
  for (size_t i = 0; i < cluster_size(cluster); i++)
    if (aim->targets[i] && cluster_node_state(cluster, i) == NODE_PAUSED) {
      const int status = cluster_resume(cluster, i, error);
      if (status != 0)
        return status;
    }
  return 0;
}

static int stall_act(struct cluster *cluster, const struct facts *facts, const struct aim *aim, size_t step,
                     struct error *error) {
  (void)facts;
  (void)step;
  return resume_targets(cluster, aim, error);
}

static int stall_heal(struct cluster *cluster, const struct aim *aim, struct error *error) {
  const int status = resume_targets(cluster, aim, error);
  return status != 0 ? status : heal(cluster, aim, error);
}

#define PARTITION(shape, words)                                                                              \
  .description = {"partition-" shape, "partition", words}, .needs = CAPABILITY_BIT(CAN_FILTER),              \
  .touches = TOUCHES_LINKS, .install = install, .measure = partition_measure, .heal = heal

static const struct fault faults[] = {
    {PARTITION("primary", "the primary hears and is heard by no other node; its clients still reach it"),
     .nodes_min = 2, .at_primary = true, .aim = aim_primary},
    {.description = {"partition-stalled", "partition",
                     "the primary is stopped and cut off, and continued 0.8 s later, still cut off"},
     .needs = CAPABILITY_BIT(CAN_FILTER),
     .touches = TOUCHES_LINKS | TOUCHES_PROCESSES,
     .nodes_min = 3,
     .at_primary = true,
     .alone = true,
     .cards = 2,
     .aim = aim_primary,
     .install = stall_install,
     .act = stall_act,
     .act_after_ns = STALL_NS,
     .measure = partition_measure,
     .heal = stall_heal},
    {PARTITION("halves", "two halves that do not hear each other"), .nodes_min = 2, .aim = aim_halves},
    {PARTITION("one", "one random node against all others"), .nodes_min = 2, .aim = aim_one},
    {PARTITION("ring", "every node hears a majority, no two the same one"), .nodes_min = 3, .aim = aim_ring},
    {PARTITION("bridge", "two halves that hear each other through one node only"), .nodes_min = 3,
     .aim = aim_bridge},
    {PARTITION("one-way", "packets pass in one direction only: a node, mostly the primary, is deaf or mute"),
     .nodes_min = 2, .aim = aim_one_way},
};
const struct fault_table partition_faults = {faults, ARRAY_SIZE(faults)};
