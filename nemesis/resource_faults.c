/* resource_faults.c: nodes that want for something: descriptors, memory, time of a processor.
 *
 * Descriptors and memory are limited to little more than what a node has at the moment, so that the very next
 * things it opens or allocates are refused; nodes that take snapshots often open and allocate often. The
 * processor is taken away as a scheduler's quota does it: the whole process runs for a part of every tenth of
 * a second and stands still for the rest. That is done by SIGSTOP and SIGCONT and needs no right to any
 * cgroup. */
#include <math.h>

#include "nemesis/cluster.h"
#include "nemesis/fault.h"

/* Long enough for a node to want for what it was denied. */
#define STAY_NS (4 * NS_PER_S)
#define TICK_NS (10 * NS_PER_MS)
#define TICKS 10 /* of a period */

/* ---- Aiming ---- */

static int aim_somewhere(const struct fault *fault, const struct facts *facts, struct random *random,
                         struct aim *aim, struct error *error) {
  const int primary = facts_primary(facts);
  if (primary < 0 || random_chance(random, 0.5))
    return random_chance(random, 0.3) && facts->nodes >= 3 ? aim_at_minority(fault, facts, random, aim, error)
                                                           : aim_at_one(fault, facts, random, aim, error);
  aim->targets[primary] = true;
  return 0;
}

static int aim_descriptors(const struct fault *fault, const struct facts *facts, struct random *random,
                           struct aim *aim, struct error *error) {
  aim_set(aim, "spare_descriptors", (double)random_below(random, 5));
  return aim_somewhere(fault, facts, random, aim, error);
}

static int aim_memory(const struct fault *fault, const struct facts *facts, struct random *random,
                      struct aim *aim, struct error *error) {
  aim_set(aim, "spare_kib", round(4 * exp(random_unit(random) * log(256))));
  return aim_somewhere(fault, facts, random, aim, error);
}

static int aim_processor(const struct fault *fault, const struct facts *facts, struct random *random,
                         struct aim *aim, struct error *error) {
  aim_set(aim, "share_percent", 100.0 / TICKS * (double)(1 + random_below(random, TICKS / 2)));
  return aim_somewhere(fault, facts, random, aim, error);
}

/* ---- Limits ---- */

static int limit_targets(struct cluster *cluster, const struct aim *aim, enum limit limit, double more,
                         struct error *error) {
  int first = 0;
  for (size_t i = 0; i < cluster_size(cluster); i++) {
    if (!aim->targets[i])
      continue;
    const int status = cluster_set_limit(cluster, i, limit, more, first == 0 ? error : NULL);
    first = first == 0 ? status : first;
  }
  return first;
}

static int install_descriptors(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return limit_targets(cluster, aim, LIMIT_DESCRIPTORS, aim_get(aim, "spare_descriptors"), error);
}

static int install_memory(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return limit_targets(cluster, aim, LIMIT_MEMORY, aim_get(aim, "spare_kib") * 1024, error);
}

/* A node that ended for want of something starts with all it needs. */
static int start_ended(struct cluster *cluster, const struct aim *aim, struct error *error) {
  int first = 0;
  for (size_t i = 0; i < cluster_size(cluster); i++) {
    if (!aim->targets[i] || cluster_node_state(cluster, i) != NODE_DIED)
      continue;
    const int status = cluster_start(cluster, i, first == 0 ? error : NULL);
    first = first == 0 ? status : first;
  }
  return first;
}

static int heal_limits(struct cluster *cluster, const struct aim *aim, enum limit limit,
                       struct error *error) {
  const int status = limit_targets(cluster, aim, limit, LIMIT_LIFTED, error);
  return status != 0 ? status : start_ended(cluster, aim, error);
}

static int heal_descriptors(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return heal_limits(cluster, aim, LIMIT_DESCRIPTORS, error);
}

static int heal_memory(struct cluster *cluster, const struct aim *aim, struct error *error) {
  return heal_limits(cluster, aim, LIMIT_MEMORY, error);
}

/* How many of the targets have ended for want of it. */
static size_t measure_ended(struct cluster *cluster, const struct aim *aim,
                            struct aim_number evidence[AIM_NUMBERS_MAX]) {
  size_t ended = 0;
  for (size_t i = 0; i < cluster_size(cluster); i++)
    ended += aim->targets[i] && cluster_node_state(cluster, i) == NODE_DIED;
  evidence[0] = (struct aim_number){"nodes_ended", (double)ended};
  return 1;
}

/* ---- The processor ---- */

static int pause_targets(struct cluster *cluster, const struct aim *aim, struct error *error) {
  bool running[CLUSTER_NODES_MAX] = {false};
  for (size_t i = 0; i < cluster_size(cluster); i++)
    running[i] = aim->targets[i] && cluster_node_state(cluster, i) == NODE_RUNNING;
  return cluster_pause_many(cluster, running, error);
}

static int resume_targets(struct cluster *cluster, const struct aim *aim, struct error *error) {
  int first = 0;
  for (size_t i = 0; i < cluster_size(cluster); i++) {
    if (!aim->targets[i] || cluster_node_state(cluster, i) != NODE_PAUSED)
      continue;
    const int status = cluster_resume(cluster, i, first == 0 ? error : NULL);
    first = first == 0 ? status : first;
  }
  return first;
}

/* It stands still at first; in the last ticks of each period it runs. */
static int act_processor(struct cluster *cluster, const struct facts *facts, const struct aim *aim,
                         size_t step, struct error *error) {
  (void)facts;
  const size_t running = (size_t)(aim_get(aim, "share_percent") * TICKS / 100);
  const size_t tick = (step + 1) % TICKS;
  const int status =
      tick < TICKS - running ? pause_targets(cluster, aim, error) : resume_targets(cluster, aim, error);
  return status != 0 ? status : ACT_QUIET;
}

#define LIMITED(name, words)                                                                                 \
  .description = {"resource-" name, "resource", words},                                                      \
  .needs = CAPABILITY_BIT(CAN_LIMIT) | CAPABILITY_BIT(CAN_SNAPSHOT), .touches = TOUCHES_LIMITS,              \
  .excuses_end = true, .nodes_min = 1, .duration_min_ns = STAY_NS, .measure = measure_ended

static const struct fault faults[] = {
    {LIMITED("descriptors", "a node can open no more than a few files and connections"),
     .aim = aim_descriptors, .install = install_descriptors, .heal = heal_descriptors},
    {LIMITED("memory", "a node can have no more than some memory"), .aim = aim_memory,
     .install = install_memory, .heal = heal_memory},
    {.description = {"resource-processor", "resource", "a node runs for a part of every tenth of a second"},
     .touches = TOUCHES_PROCESSES,
     .nodes_min = 1,
     .aim = aim_processor,
     .install = pause_targets,
     .act = act_processor,
     .act_after_ns = TICK_NS,
     .act_every_ns = TICK_NS,
     .heal = resume_targets},
};
const struct fault_table resource_faults = {faults, ARRAY_SIZE(faults)};
