/* faults.c: carries out the schedule.
 *
 * Faults overlap, and each is undone by itself. So nothing is switched back and forth: there is a list of the
 * faults that are present, and after each change what they ask for together is worked out anew: a link is up
 * when none of them cuts it, a disk is as slow as all of them make it.
 *
 * What they may take: a node's disk (wipe, rot) only while everybody else holds all that was on it, for that
 * is what the protocol survives. What they excuse: a node that ends because its disk failed or is full, and
 * one that will not start from a rotten log; that one is wiped when it may be, as its message asks for. */
#include "simulator/faults.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "simulator/plan.h"

/* How often nodes are looked after that are down and should not be. */
#define CARE_NS (200 * NS_PER_MS)
/* A write that a disk delays may fail so long after the cause is gone. */
#define EXCUSE_NS (5 * NS_PER_S)
#define SLOWEST 1000.0

struct act {
  struct sim_faults *faults;
  const struct planned_fault *planned;
  struct random random;
  bool awaits_election, present;
  bool targets[SIMULATOR_NODES_MAX];
  bool cuts[SIMULATOR_NODES_MAX][SIMULATOR_NODES_MAX]; /* from, to */
};

struct fault_node {
  struct sim_faults *faults;
  size_t number;
  int64_t down_until_ns, paused_until_ns;
  bool sync_broken; /* a sync will fail or has failed: the node must end; a crash forgets it */
  bool rotten;      /* its log may be refused */
  bool full;
};

struct sim_faults {
  struct sim_world *world;
  struct sim_cluster *cluster;
  const struct plan *plan;
  struct fault_node nodes[SIMULATOR_NODES_MAX];
  struct act *acts;               /* one for each planned fault */
  bool last[SIMULATOR_NODES_MAX]; /* whom the latest one hit */
  bool caring, healed;
  uint64_t counts[SIMULATED_FAULTS];
};

/* ---- What the faults that are present ask for together ---- */

static bool asked(const struct sim_faults *faults, enum simulated_fault fault, size_t node) {
  for (size_t i = 0; i < faults->plan->fault_count; i++)
    if (faults->acts[i].present && faults->acts[i].planned->fault == fault && faults->acts[i].targets[node])
      return true;
  return false;
}

static void apply_links(struct sim_faults *faults) {
  const size_t nodes = faults->plan->nodes;
  for (size_t from = 0; from < nodes; from++)
    for (size_t to = 0; to < nodes; to++) {
      bool cut = false;
      for (size_t i = 0; i < faults->plan->fault_count && !cut; i++)
        cut = faults->acts[i].present && faults->acts[i].cuts[from][to];
      if (from != to)
        sim_link(faults->world, from, to, !cut);
    }
}

static double either(double a, double b) {
  return 1 - (1 - a) * (1 - b);
}

static void apply_weather(struct sim_faults *faults) {
  struct weather weather = faults->healed ? plan_calm_weather() : faults->plan->weather;
  for (size_t i = 0; i < faults->plan->fault_count; i++) {
    const struct act *act = &faults->acts[i];
    if (!act->present || act->planned->fault != SIMULATED_STORM)
      continue;
    weather.loss = either(weather.loss, act->planned->strength);
    weather.duplication = either(weather.duplication, act->planned->strength);
    weather.slow_frame = either(weather.slow_frame, act->planned->strength);
  }
  sim_set_weather(faults->world, &weather);
}

/* The product of 1 + strength, or of strength, over the faults of a kind. */
static double product(const struct sim_faults *faults, enum simulated_fault fault, size_t node, double plus) {
  double all = 1;
  for (size_t i = 0; i < faults->plan->fault_count; i++) {
    const struct act *act = &faults->acts[i];
    if (act->present && act->planned->fault == fault && act->targets[node])
      all *= plus + act->planned->strength;
  }
  return all;
}

static void apply_drift(struct sim_faults *faults, size_t node) {
  const double own = faults->healed ? 0 : faults->plan->weather.clock_drift[node];
  const double rate = (1 + own) * product(faults, SIMULATED_CLOCK_DRIFT, node, 1);
  sim_drift_clock(faults->world, node, fmin(fmax(rate, 0.05), 20) - 1);
}

/* Works out anew whatever faults of this kind have a part in. */
static void apply(struct sim_faults *faults, enum simulated_fault fault) {
  for (size_t node = 0; node < faults->plan->nodes; node++) {
    if (fault == SIMULATED_CLOG)
      sim_clog(faults->world, node, asked(faults, fault, node));
    else if (fault == SIMULATED_CUT_CLIENTS)
      sim_client_link(faults->world, node, !asked(faults, fault, node));
    else if (fault == SIMULATED_FULL_DISK)
      sim_fill_disk(faults->world, node, faults->nodes[node].full = asked(faults, fault, node));
    else if (fault == SIMULATED_SLOW_DISK)
      sim_slow_disk(faults->world, node, fmin(product(faults, fault, node, 0), SLOWEST));
    else if (fault == SIMULATED_CLOCK_DRIFT)
      apply_drift(faults, node);
  }
  if (fault == SIMULATED_PARTITION || fault == SIMULATED_ONE_WAY || fault == SIMULATED_BRIDGE ||
      fault == SIMULATED_STALLED_PARTITION)
    apply_links(faults);
  if (fault == SIMULATED_STORM)
    apply_weather(faults);
}

/* ---- Nodes that are down ---- */

static void wipe_node(struct sim_faults *faults, size_t node) {
  sim_tell(faults->world, "fault", (int)node, -1, 0, "its disk is replaced by an empty one");
  sim_wipe(faults->world, node);
  sim_cluster_wiped(faults->cluster, node);
  faults->nodes[node].rotten = false;
}

static void excuse_sync(struct fault_node *node) {
  struct sim_faults *faults = node->faults;
  sim_cluster_excuse(faults->cluster, node->number, sim_now_ns(faults->world) + 2 * CARE_NS);
}

static void start_node(struct fault_node *node) {
  struct sim_faults *faults = node->faults;
  const bool excused = node->rotten || node->full || node->sync_broken;
  if (sim_cluster_start(faults->cluster, node->number, excused) == 0)
    node->rotten = false;
  node->sync_broken = false;
}

/* Only while something is amiss: the world need not turn for it. */
static bool needs_care(const struct fault_node *node) {
  return node->sync_broken || !sim_cluster_up(node->faults->cluster, node->number);
}

static void care(void *owner, bool happens);

static void care_soon(struct sim_faults *faults) {
  if (faults->caring)
    return;
  faults->caring = true;
  sim_at(faults->world, sim_now_ns(faults->world) + CARE_NS, care, faults);
}

/* A node that ended by itself, or would not start, is started when nothing speaks against it. */
static void care_for(struct fault_node *node) {
  struct sim_faults *faults = node->faults;
  const int64_t now_ns = sim_now_ns(faults->world);
  if (node->sync_broken)
    excuse_sync(node);
  if (sim_cluster_up(faults->cluster, node->number) || now_ns < node->down_until_ns)
    return;
  if (node->rotten && sim_cluster_may_wipe(faults->cluster, node->number))
    wipe_node(faults, node->number);
  start_node(node);
}

static void care(void *owner, bool happens) {
  if (!happens)
    return;
  struct sim_faults *faults = owner;
  bool again = faults->healed;
  faults->caring = false;
  for (size_t i = 0; i < faults->plan->nodes; i++) {
    care_for(&faults->nodes[i]);
    again |= needs_care(&faults->nodes[i]);
  }
  if (again)
    care_soon(faults);
}

/* Its time to be down is over, unless another fault has prolonged it. */
static void revive(void *owner, bool happens) {
  if (!happens)
    return;
  struct fault_node *node = owner;
  struct sim_faults *faults = node->faults;
  if (faults->healed || sim_now_ns(faults->world) < node->down_until_ns ||
      sim_cluster_up(faults->cluster, node->number))
    return;
  start_node(node);
  if (needs_care(node))
    care_soon(faults);
}

static void keep_down(struct fault_node *node, int64_t for_ns) {
  const int64_t until_ns = sim_now_ns(node->faults->world) + for_ns;
  if (until_ns > node->down_until_ns)
    node->down_until_ns = until_ns;
  sim_at(node->faults->world, until_ns, revive, node);
}

static void take_down(struct fault_node *node, bool orderly, int64_t for_ns) {
  struct sim_faults *faults = node->faults;
  if (sim_cluster_up(faults->cluster, node->number))
    sim_cluster_crash(faults->cluster, node->number, orderly);
  node->sync_broken = false;
  node->paused_until_ns = 0;
  keep_down(node, for_ns);
}

static void pause_node(struct fault_node *node, int64_t for_ns) {
  const int64_t until_ns = sim_now_ns(node->faults->world) + for_ns;
  if (!sim_cluster_up(node->faults->cluster, node->number) || until_ns <= node->paused_until_ns)
    return;
  node->paused_until_ns = until_ns;
  sim_pause(node->faults->world, node->number, until_ns);
}

/* ---- Whom a fault hits ---- */

/* A random node that is up and not `but`, or -1. */
static int pick_up(struct act *act, int but) {
  const struct sim_faults *faults = act->faults;
  int picked = -1;
  uint64_t seen = 0;
  for (size_t i = 0; i < faults->plan->nodes; i++)
    if ((int)i != but && sim_cluster_up(faults->cluster, i) && random_below(&act->random, ++seen) == 0)
      picked = (int)i;
  return picked;
}

static void pick_many(struct act *act, size_t count) {
  const size_t nodes = act->faults->plan->nodes;
  size_t order[SIMULATOR_NODES_MAX];
  for (size_t i = 0; i < nodes; i++)
    order[i] = i;
  random_shuffle(&act->random, order, nodes, sizeof *order);
  for (size_t i = 0; i < count; i++)
    act->targets[order[i]] = true;
}

static bool is_change(enum simulated_fault fault) {
  return fault >= SIMULATED_ADD && fault <= SIMULATED_TRANSFER;
}

/* A node to add, to promote, or to lead, whatever the target. */
static int pick_candidate(struct act *act) {
  const struct sim_faults *faults = act->faults;
  const enum simulated_fault fault = act->planned->fault;
  int picked = -1;
  uint64_t seen = 0;
  for (size_t i = 0; i < faults->plan->nodes; i++) {
    const bool member = sim_cluster_is_member(faults->cluster, i),
               votes = sim_cluster_votes(faults->cluster, i);
    const bool fits = fault == SIMULATED_ADD       ? !member
                      : fault == SIMULATED_PROMOTE ? member && !votes
                                                   : votes && (int)i != sim_cluster_primary(faults->cluster);
    if (fits && random_below(&act->random, ++seen) == 0)
      picked = (int)i;
  }
  return picked;
}

static bool some_log_is_rotten(const struct sim_faults *faults) {
  for (size_t i = 0; i < SIMULATOR_NODES_MAX; i++)
    if (faults->nodes[i].rotten)
      return true;
  return false;
}

/* Asks the primary; NULL, or why not. Whose log is refused gives no vote until it may be wiped: nobody takes
 * another one's vote away then. */
static const char *ask_for_change(struct act *act) {
  struct sim_cluster *cluster = act->faults->cluster;
  const enum simulated_fault fault = act->planned->fault;
  if ((fault == SIMULATED_REMOVE || fault == SIMULATED_DEMOTE) && some_log_is_rotten(act->faults))
    return "a node's log may be refused";
  size_t node = 0;
  while (!act->targets[node])
    node++;
  if (fault == SIMULATED_TRANSFER)
    return sim_cluster_transfer(cluster, node);
  return sim_cluster_change(cluster,
                            fault == SIMULATED_ADD       ? CHANGE_ADD
                            : fault == SIMULATED_PROMOTE ? CHANGE_PROMOTE
                            : fault == SIMULATED_DEMOTE  ? CHANGE_DEMOTE
                                                         : CHANGE_REMOVE,
                            node);
}

/* NULL, or why nobody can be hit now. */
static const char *aim(struct act *act) {
  const struct sim_faults *faults = act->faults;
  const size_t nodes = faults->plan->nodes;
  const int primary = sim_cluster_primary(faults->cluster);
  const enum simulated_fault fault = act->planned->fault;
  int node = -1;
  if (fault == SIMULATED_ADD || fault == SIMULATED_PROMOTE || fault == SIMULATED_TRANSFER) {
    node = pick_candidate(act);
    if (node < 0)
      return "there is no node for it";
    act->targets[node] = true;
    return NULL;
  }
  switch (act->planned->target) {
  case TARGET_MINORITY:
    pick_many(act, (nodes - 1) / 2);
    return NULL;
  case TARGET_MAJORITY:
    pick_many(act, nodes / 2 + 1);
    return NULL;
  case TARGET_ALL:
    pick_many(act, nodes);
    return NULL;
  case TARGET_LAST:
    memcpy(act->targets, faults->last, sizeof act->targets);
    for (size_t i = 0; i < nodes; i++)
      if (faults->last[i])
        return NULL;
    return "no fault came before it";
  case TARGET_PRIMARY:
    node = primary;
    break;
  case TARGET_FOLLOWER:
    node = pick_up(act, primary);
    break;
  default:
    node = (int)act->planned->node;
  }
  if (node < 0)
    return act->planned->target == TARGET_PRIMARY ? "nobody leads" : "no follower is up";
  act->targets[node] = true;
  return NULL;
}

static bool any_up(const struct act *act) {
  for (size_t i = 0; i < act->faults->plan->nodes; i++)
    if (act->targets[i] && sim_cluster_up(act->faults->cluster, i))
      return true;
  return false;
}

/* ---- Links ---- */

static void cut_between(struct act *act, const bool *ones, const bool *others, bool both_ways) {
  for (size_t i = 0; i < act->faults->plan->nodes; i++)
    for (size_t k = 0; k < act->faults->plan->nodes; k++)
      if (ones[i] && others[k]) {
        act->cuts[i][k] = true;
        act->cuts[k][i] |= both_ways;
      }
}

static void cut_off(struct act *act, bool both_ways) {
  bool rest[SIMULATOR_NODES_MAX] = {false};
  for (size_t i = 0; i < act->faults->plan->nodes; i++)
    rest[i] = !act->targets[i];
  if (both_ways || random_chance(&act->random, 0.5))
    cut_between(act, act->targets, rest, both_ways);
  else
    cut_between(act, rest, act->targets, false);
}

/* The first target stands between two halves of the others. */
static void cut_bridge(struct act *act) {
  const size_t nodes = act->faults->plan->nodes;
  size_t others[SIMULATOR_NODES_MAX], count = 0;
  bool bridge = false, left[SIMULATOR_NODES_MAX] = {false}, right[SIMULATOR_NODES_MAX] = {false};
  for (size_t i = 0; i < nodes; i++) {
    if (act->targets[i] && !bridge)
      bridge = true;
    else
      others[count++] = i;
  }
  random_shuffle(&act->random, others, count, sizeof *others);
  for (size_t i = 0; i < count; i++)
    (i < count / 2 ? left : right)[others[i]] = true;
  cut_between(act, left, right, true);
}

/* ---- Disks ---- */

static bool may_lose_disk(const struct act *act) {
  for (size_t i = 0; i < act->faults->plan->nodes; i++)
    if (act->targets[i] && !sim_cluster_may_wipe(act->faults->cluster, i))
      return false;
  return true;
}

static void break_disk(struct act *act, struct fault_node *node) {
  struct sim_faults *faults = act->faults;
  const struct planned_fault *planned = act->planned;
  if (planned->fault == SIMULATED_SYNC_ERROR) {
    /* The next write may be long in coming; its failure is excused until then. */
    node->sync_broken = true;
    excuse_sync(node);
    sim_break_sync(faults->world, node->number);
    keep_down(node, planned->for_ns);
    care_soon(faults);
    return;
  }
  take_down(node, false, planned->for_ns);
  if (planned->fault == SIMULATED_WIPE) {
    wipe_node(faults, node->number);
    return;
  }
  node->rotten = true;
  for (uint64_t flips = 1 + random_below(&act->random, 3); flips > 0; flips--)
    sim_rot(faults->world, node->number, &act->random);
}

/* ---- One fault ---- */

static void take_down_all(struct act *act) {
  const struct planned_fault *planned = act->planned;
  bool first = true;
  for (size_t i = 0; i < act->faults->plan->nodes; i++) {
    if (!act->targets[i])
      continue;
    /* Those that fall together rise one by one. */
    const double factor = first ? 1 : 0.5 + random_unit(&act->random);
    take_down(&act->faults->nodes[i], planned->fault == SIMULATED_RESTART,
              (int64_t)(factor * (double)planned->for_ns));
    first = false;
  }
}

static void hit_each(struct act *act) {
  struct sim_faults *faults = act->faults;
  const struct planned_fault *planned = act->planned;
  const int64_t end_ns = sim_now_ns(faults->world) + planned->for_ns;
  for (size_t i = 0; i < faults->plan->nodes; i++) {
    if (!act->targets[i])
      continue;
    struct fault_node *node = &faults->nodes[i];
    if (planned->fault == SIMULATED_PAUSE)
      pause_node(node, planned->for_ns);
    else if (planned->fault == SIMULATED_STALLED_PARTITION)
      pause_node(node, planned->for_ns / 2);
    else if (planned->fault == SIMULATED_FULL_DISK)
      sim_cluster_excuse(faults->cluster, i, end_ns + EXCUSE_NS);
    else if (planned->fault == SIMULATED_CLOCK_JUMP)
      sim_jump_clock(faults->world, i, (int64_t)(planned->strength * (double)NS_PER_S));
    else if (planned->fault == SIMULATED_SYNC_ERROR || planned->fault == SIMULATED_WIPE ||
             planned->fault == SIMULATED_ROT)
      break_disk(act, node);
  }
}

static void install(struct act *act) {
  const enum simulated_fault fault = act->planned->fault;
  act->present = true;
  if (fault == SIMULATED_CRASH || fault == SIMULATED_RESTART)
    take_down_all(act);
  else if (fault == SIMULATED_BRIDGE)
    cut_bridge(act);
  else if (fault == SIMULATED_PARTITION || fault == SIMULATED_STALLED_PARTITION || fault == SIMULATED_ONE_WAY)
    cut_off(act, fault != SIMULATED_ONE_WAY);
  hit_each(act);
  apply(act->faults, fault);
}

/* NULL, or why the fault cannot come now. */
static const char *obstacle(struct act *act) {
  const enum simulated_fault fault = act->planned->fault;
  const char *why = aim(act);
  if (why)
    return why;
  const bool of_process = fault == SIMULATED_CRASH || fault == SIMULATED_PAUSE ||
                          fault == SIMULATED_RESTART || fault == SIMULATED_SYNC_ERROR ||
                          fault == SIMULATED_STALLED_PARTITION;
  if (of_process && !any_up(act))
    return "its targets are down";
  if ((fault == SIMULATED_WIPE || fault == SIMULATED_ROT) && !may_lose_disk(act))
    return "the others do not hold all that would be lost";
  return is_change(fault) ? ask_for_change(act) : NULL;
}

static void list_targets(const struct act *act, char *text, size_t size) {
  size_t used = 0;
  text[0] = '\0';
  for (size_t i = 0; i < act->faults->plan->nodes; i++)
    if (act->targets[i])
      used += (size_t)snprintf(text + used, size - used, "%sn%zu", used > 0 ? ", " : "", i + 1);
}

static void leave(void *owner, bool happens) {
  struct act *act = owner;
  if (!happens || !act->present)
    return;
  struct sim_faults *faults = act->faults;
  act->present = false;
  sim_tell(faults->world, "fault", -1, -1, 0, "%s is over", simulated_fault_name(act->planned->fault));
  apply(faults, act->planned->fault);
  if (act->planned->fault == SIMULATED_FULL_DISK)
    care_soon(faults);
}

static void strike(struct act *act) {
  struct sim_faults *faults = act->faults;
  const struct planned_fault *planned = act->planned;
  if (faults->healed)
    return;
  const char *why = obstacle(act);
  if (why) {
    sim_tell(faults->world, "fault", -1, -1, 0, "%s is skipped: %s", simulated_fault_name(planned->fault),
             why);
    return;
  }
  faults->counts[planned->fault]++;
  memcpy(faults->last, act->targets, sizeof faults->last);
  if (sim_traced(faults->world)) {
    char targets[4 * SIMULATOR_NODES_MAX];
    list_targets(act, targets, sizeof targets);
    sim_tell(faults->world, "fault", -1, -1, 0, "%s of %s for %.3f s, strength %g",
             simulated_fault_name(planned->fault), targets, (double)planned->for_ns / 1e9, planned->strength);
  }
  install(act);
  sim_at(faults->world, sim_now_ns(faults->world) + planned->for_ns, leave, act);
}

static void come_now(void *owner, bool happens) {
  if (happens)
    strike(owner);
}

static void come(void *owner, bool happens) {
  if (!happens)
    return;
  struct act *act = owner;
  if (act->planned->at_election)
    act->awaits_election = true;
  else
    strike(act);
}

static void elected(void *owner) {
  struct sim_faults *faults = owner;
  size_t i = 0;
  while (i < faults->plan->fault_count && !faults->acts[i].awaits_election)
    i++;
  if (i == faults->plan->fault_count)
    return;
  struct act *act = &faults->acts[i];
  act->awaits_election = false;
  sim_at(faults->world, sim_now_ns(faults->world) + act->planned->after_ns, come_now, act);
}

/* ---- All of them ---- */

struct sim_faults *sim_faults_new(struct sim_world *world, struct sim_cluster *cluster,
                                  const struct plan *plan) {
  struct sim_faults *faults = xcalloc(1, sizeof *faults);
  faults->world = world;
  faults->cluster = cluster;
  faults->plan = plan;
  faults->acts = xcalloc(plan->fault_count + 1, sizeof *faults->acts);
  for (size_t i = 0; i < plan->nodes; i++) {
    faults->nodes[i] = (struct fault_node){.faults = faults, .number = i};
    apply_drift(faults, i);
  }
  for (size_t i = 0; i < plan->fault_count; i++) {
    struct act *act = &faults->acts[i];
    act->faults = faults;
    act->planned = &plan->faults[i];
    random_seed(&act->random, plan->faults[i].draw);
    sim_at(world, plan->faults[i].at_ns, come, act);
  }
  sim_cluster_on_election(cluster, elected, faults);
  return faults;
}

void sim_faults_heal(struct sim_faults *faults) {
  const int64_t now_ns = sim_now_ns(faults->world);
  sim_tell(faults->world, "fault", -1, -1, 0, "everything heals");
  faults->healed = true;
  for (size_t i = 0; i < faults->plan->fault_count; i++)
    faults->acts[i].present = false;
  for (size_t fault = 0; fault < SIMULATED_FAULTS; fault++)
    apply(faults, (enum simulated_fault)fault);
  apply_weather(faults);
  for (size_t i = 0; i < faults->plan->nodes; i++) {
    struct fault_node *node = &faults->nodes[i];
    node->down_until_ns = 0;
    if (now_ns < node->paused_until_ns && sim_cluster_up(faults->cluster, i))
      sim_pause(faults->world, i, now_ns);
    care_for(node);
  }
  care_soon(faults);
}

void sim_faults_report(const struct sim_faults *faults, struct simulation_result *result) {
  memcpy(result->faults, faults->counts, sizeof result->faults);
}

void sim_faults_free(struct sim_faults *faults) {
  free(faults->acts);
  free(faults);
}
