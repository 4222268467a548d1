/* Faults on a real modelled world, and a cluster that only remembers who is up. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>

#include "simulator/faults.h"
#include "simulator/plan.h"

#define NODES 5
#define STEP_NS (5 * NS_PER_MS)

/* ---- The cluster ---- */

struct sim_cluster {
  struct sim_world *world;
  bool up[NODES], may_wipe, refuses[NODES];
  int primary, members[NODES]; /* 0: none, 1: standby, 2: voter */
  size_t starts[NODES], wipes[NODES];
  int64_t excused_until_ns[NODES];
  void (*elected)(void *owner);
  void *elected_owner;
};

void sim_cluster_crash(struct sim_cluster *cluster, size_t node, bool orderly) {
  if (cluster->up[node])
    sim_crash(cluster->world, node, orderly);
  cluster->up[node] = false;
}

int sim_cluster_start(struct sim_cluster *cluster, size_t node, bool excused) {
  cr_assert(!cluster->up[node]);
  cluster->starts[node]++;
  if (cluster->refuses[node]) {
    cr_assert(excused, "node %zu is started though nothing excuses that it does not", node);
    return ERR_CORRUPT;
  }
  sim_revive(cluster->world, node);
  cluster->up[node] = true;
  return 0;
}

void sim_cluster_excuse(struct sim_cluster *cluster, size_t node, int64_t until_ns) {
  if (until_ns > cluster->excused_until_ns[node])
    cluster->excused_until_ns[node] = until_ns;
}

bool sim_cluster_up(const struct sim_cluster *cluster, size_t node) {
  return cluster->up[node];
}

int sim_cluster_primary(const struct sim_cluster *cluster) {
  return cluster->primary >= 0 && cluster->up[cluster->primary] ? cluster->primary : -1;
}

void sim_cluster_on_election(struct sim_cluster *cluster, void (*elected)(void *owner), void *owner) {
  cluster->elected = elected;
  cluster->elected_owner = owner;
}

bool sim_cluster_is_member(const struct sim_cluster *cluster, size_t node) {
  return cluster->members[node] > 0;
}

bool sim_cluster_votes(const struct sim_cluster *cluster, size_t node) {
  return cluster->members[node] > 1;
}

const char *sim_cluster_change(struct sim_cluster *cluster, enum journal_change_kind kind, size_t node) {
  cluster->members[node] = kind == CHANGE_REMOVE ? 0 : kind == CHANGE_PROMOTE ? 2 : 1;
  return NULL;
}

const char *sim_cluster_transfer(struct sim_cluster *cluster, size_t node) {
  cluster->primary = (int)node;
  return NULL;
}

bool sim_cluster_may_wipe(const struct sim_cluster *cluster, size_t node) {
  (void)node;
  return cluster->may_wipe;
}

void sim_cluster_wiped(struct sim_cluster *cluster, size_t node) {
  cluster->wipes[node]++;
  cluster->refuses[node] = false;
}

/* ---- Helpers ---- */

struct fixture {
  struct plan plan;
  struct sim_cluster cluster;
  struct sim_world *world;
  struct sim_faults *faults;
};

static void open_fixture(struct fixture *fixture, const struct planned_fault *faults, size_t count) {
  *fixture = (struct fixture){.cluster = {.primary = 0}};
  struct plan *plan = &fixture->plan;
  *plan = (struct plan){.nodes = NODES, .duration_ns = 100 * NS_PER_S, .weather = plan_calm_weather()};
  plan->faults = xcalloc(count, sizeof *faults);
  plan->fault_count = count;
  memcpy(plan->faults, faults, count * sizeof *faults);
  plan_sort_faults(plan);
  const struct sim_world_options options = {.seed = 1, .nodes = NODES, .weather = plan->weather};
  fixture->world = fixture->cluster.world = sim_world_new(&options);
  for (size_t i = 0; i < NODES; i++)
    fixture->cluster.up[i] = true;
  fixture->faults = sim_faults_new(fixture->world, &fixture->cluster, plan);
}

static void close_fixture(struct fixture *fixture) {
  sim_faults_free(fixture->faults);
  sim_world_free(fixture->world);
  plan_free(&fixture->plan);
}

static uint64_t times(const struct fixture *fixture, enum simulated_fault fault) {
  struct simulation_result result = {0};
  sim_faults_report(fixture->faults, &result);
  return result.faults[fault];
}

static bool link_is_up(const struct fixture *fixture, size_t from, size_t to) {
  const struct world *door = sim_door(fixture->world, from);
  return door->peer_ready(door->context, to + 1);
}

/* ---- Overlapping faults ---- */

static struct planned_fault draw_fault(struct random *random) {
  static const enum simulated_fault kinds[] = {SIMULATED_PARTITION, SIMULATED_CRASH, SIMULATED_RESTART,
                                               SIMULATED_PAUSE, SIMULATED_STALLED_PARTITION};
  return (struct planned_fault){.fault = kinds[random_below(random, ARRAY_SIZE(kinds))],
                                .target = TARGET_NODE,
                                .node = (size_t)random_below(random, NODES),
                                .at_ns = random_between(random, 1, 400) * STEP_NS,
                                .for_ns = random_between(random, 1, 100) * STEP_NS};
}

/* Whether the fault's node was down, or just about to start: then it cannot be crashed, stopped or paused,
 * and the fault was skipped. */
static bool down_before(const bool *installed, const struct plan *plan, size_t which) {
  const struct planned_fault *fault = &plan->faults[which];
  for (size_t i = 0; i < which; i++) {
    const struct planned_fault *other = &plan->faults[i];
    if ((other->fault == SIMULATED_CRASH || other->fault == SIMULATED_RESTART) && installed[i] &&
        other->node == fault->node && fault->at_ns <= other->at_ns + other->for_ns)
      return true;
  }
  return false;
}

static bool present(const struct planned_fault *fault, int64_t now_ns) {
  return fault->at_ns < now_ns && now_ns < fault->at_ns + fault->for_ns;
}

static void check_moment(const struct fixture *fixture, const bool *installed) {
  const struct plan *plan = &fixture->plan;
  const int64_t now_ns = sim_now_ns(fixture->world);
  bool cut[NODES] = {false}, down[NODES] = {false};
  for (size_t i = 0; i < plan->fault_count; i++) {
    const struct planned_fault *fault = &plan->faults[i];
    if (!installed[i] || !present(fault, now_ns))
      continue;
    cut[fault->node] |= fault->fault == SIMULATED_PARTITION || fault->fault == SIMULATED_STALLED_PARTITION;
    down[fault->node] |= fault->fault == SIMULATED_CRASH || fault->fault == SIMULATED_RESTART;
  }
  for (size_t from = 0; from < NODES; from++) {
    cr_assert(fixture->cluster.up[from] == !down[from], "node %zu at %" PRId64, from, now_ns);
    for (size_t to = 0; to < NODES; to++)
      cr_assert(from == to || link_is_up(fixture, from, to) == (!cut[from] && !cut[to]));
  }
}

Test(faults, overlapping_ones_are_present_until_the_last_of_them_is_over) {
  struct random random;
  random_seed(&random, 1);
  for (size_t round = 0; round < 300; round++) {
    struct planned_fault drawn[20];
    bool installed[20];
    struct fixture fixture;
    for (size_t i = 0; i < ARRAY_SIZE(drawn); i++)
      drawn[i] = draw_fault(&random);
    open_fixture(&fixture, drawn, ARRAY_SIZE(drawn));
    for (size_t i = 0; i < ARRAY_SIZE(drawn); i++)
      installed[i] =
          fixture.plan.faults[i].fault == SIMULATED_PARTITION || !down_before(installed, &fixture.plan, i);
    for (int64_t at_ns = STEP_NS / 2; at_ns < 3 * NS_PER_S; at_ns += STEP_NS) {
      cr_assert(sim_run(fixture.world, at_ns, NULL));
      check_moment(&fixture, installed);
    }
    close_fixture(&fixture);
  }
}

Test(faults, the_heal_undoes_all_and_nothing_comes_after) {
  struct random random;
  random_seed(&random, 2);
  for (size_t round = 0; round < 100; round++) {
    struct planned_fault drawn[20];
    struct fixture fixture;
    for (size_t i = 0; i < ARRAY_SIZE(drawn); i++)
      drawn[i] = draw_fault(&random);
    open_fixture(&fixture, drawn, ARRAY_SIZE(drawn));
    sim_run(fixture.world, random_between(&random, 0, 400) * STEP_NS, NULL);
    sim_faults_heal(fixture.faults);
    const bool nothing[20] = {false};
    for (size_t i = 0; i < 100; i++) {
      check_moment(&fixture, nothing);
      for (size_t node = 0; node < NODES; node++)
        cr_assert(i == 0 || !sim_paused(fixture.world, node));
      sim_run(fixture.world, sim_now_ns(fixture.world) + 4 * STEP_NS, NULL);
    }
    close_fixture(&fixture);
  }
}

/* ---- Whom, and when ---- */

Test(faults, one_that_finds_nobody_is_skipped) {
  const struct planned_fault planned[] = {
      {.fault = SIMULATED_CRASH, .target = TARGET_LAST, .at_ns = NS_PER_S, .for_ns = NS_PER_S},
      {.fault = SIMULATED_PAUSE, .target = TARGET_PRIMARY, .at_ns = NS_PER_S, .for_ns = NS_PER_S},
      {.fault = SIMULATED_WIPE, .target = TARGET_NODE, .node = 1, .at_ns = NS_PER_S, .for_ns = NS_PER_S},
      {.fault = SIMULATED_ROT, .target = TARGET_NODE, .node = 1, .at_ns = NS_PER_S, .for_ns = NS_PER_S}};
  struct fixture fixture;
  open_fixture(&fixture, planned, ARRAY_SIZE(planned));
  fixture.cluster.primary = -1;
  sim_run(fixture.world, 2 * NS_PER_S, NULL);
  for (size_t i = 0; i < ARRAY_SIZE(planned); i++)
    cr_assert(times(&fixture, planned[i].fault) == 0);
  close_fixture(&fixture);
}

Test(faults, the_last_are_those_that_the_fault_before_hit) {
  const struct planned_fault planned[] = {
      {.fault = SIMULATED_PARTITION, .target = TARGET_PRIMARY, .at_ns = NS_PER_S, .for_ns = 3 * NS_PER_S},
      {.fault = SIMULATED_CRASH, .target = TARGET_LAST, .at_ns = 2 * NS_PER_S, .for_ns = NS_PER_S}};
  struct fixture fixture;
  open_fixture(&fixture, planned, ARRAY_SIZE(planned));
  fixture.cluster.primary = 3;
  sim_run(fixture.world, NS_PER_S + 1, NULL);
  fixture.cluster.primary = 4;
  sim_run(fixture.world, 2 * NS_PER_S + 1, NULL);
  for (size_t i = 0; i < NODES; i++)
    cr_assert(fixture.cluster.up[i] == (i != 3));
  close_fixture(&fixture);
}

Test(faults, an_election_brings_one_of_those_that_wait) {
  const struct planned_fault waits = {.fault = SIMULATED_PARTITION,
                                      .target = TARGET_PRIMARY,
                                      .at_ns = NS_PER_S,
                                      .for_ns = NS_PER_S,
                                      .at_election = true,
                                      .after_ns = 10 * NS_PER_MS};
  const struct planned_fault planned[] = {waits, waits};
  struct fixture fixture;
  open_fixture(&fixture, planned, ARRAY_SIZE(planned));
  fixture.cluster.elected(fixture.cluster.elected_owner);
  sim_run(fixture.world, 2 * NS_PER_S, NULL);
  cr_assert(times(&fixture, SIMULATED_PARTITION) == 0, "an election before its time brings nothing");
  for (uint64_t i = 1; i <= 3; i++) {
    const uint64_t before = times(&fixture, SIMULATED_PARTITION);
    fixture.cluster.elected(fixture.cluster.elected_owner);
    sim_run(fixture.world, sim_now_ns(fixture.world) + 9 * NS_PER_MS, NULL);
    cr_assert(times(&fixture, SIMULATED_PARTITION) == before);
    sim_run(fixture.world, sim_now_ns(fixture.world) + 2 * NS_PER_MS, NULL);
    cr_assert(times(&fixture, SIMULATED_PARTITION) == (i < 2 ? i : 2));
  }
  close_fixture(&fixture);
}

/* ---- Disks ---- */

Test(faults, a_log_that_rotted_is_wiped_when_that_can_be_survived) {
  const struct planned_fault planned[] = {
      {.fault = SIMULATED_ROT, .target = TARGET_NODE, .node = 2, .at_ns = NS_PER_S, .for_ns = NS_PER_S}};
  struct fixture fixture;
  open_fixture(&fixture, planned, ARRAY_SIZE(planned));
  fixture.cluster.may_wipe = true;
  sim_run(fixture.world, NS_PER_S + 1, NULL);
  cr_assert(!fixture.cluster.up[2] && times(&fixture, SIMULATED_ROT) == 1);
  fixture.cluster.refuses[2] = true;
  fixture.cluster.may_wipe = false;
  sim_run(fixture.world, 5 * NS_PER_S, NULL);
  cr_assert(!fixture.cluster.up[2] && fixture.cluster.wipes[2] == 0 && fixture.cluster.starts[2] > 1);
  sim_faults_heal(fixture.faults);
  fixture.cluster.may_wipe = true;
  sim_run(fixture.world, 6 * NS_PER_S, NULL);
  cr_assert(fixture.cluster.up[2] && fixture.cluster.wipes[2] == 1);
  close_fixture(&fixture);
}

Test(faults, a_node_that_ended_for_its_disk_is_excused_and_started_again) {
  const struct planned_fault planned[] = {{.fault = SIMULATED_SYNC_ERROR,
                                           .target = TARGET_NODE,
                                           .node = 2,
                                           .at_ns = NS_PER_S,
                                           .for_ns = NS_PER_S}};
  struct fixture fixture;
  open_fixture(&fixture, planned, ARRAY_SIZE(planned));
  sim_run(fixture.world, 30 * NS_PER_S, NULL);
  cr_assert(fixture.cluster.excused_until_ns[2] >= 30 * NS_PER_S, "the sync has not failed yet");
  sim_cluster_crash(&fixture.cluster, 2, false);
  sim_run(fixture.world, 31 * NS_PER_S, NULL);
  cr_assert(fixture.cluster.up[2]);
  sim_run(fixture.world, 60 * NS_PER_S, NULL);
  cr_assert(fixture.cluster.excused_until_ns[2] < 32 * NS_PER_S, "nothing excuses it any more");
  close_fixture(&fixture);
}
