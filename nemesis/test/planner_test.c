/* Everything that is planned, on a virtual cluster and virtual time, over many seeds. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis/schedule.h"

#define SEEDS 400

enum state { RUNS, IS_PAUSED, IS_DOWN };

struct world {
  size_t nodes; /* and one that may join, if there is room */
  struct random random;
  int64_t now_ns, primary_known_ns;
  enum state states[CLUSTER_NODES_MAX];
  bool hears[CLUSTER_NODES_MAX * CLUSTER_NODES_MAX];
  bool cut;
  unsigned touched[CLUSTER_NODES_MAX]; /* enum touches, by faults of other families */
  const char *no_links;
};

struct tally {
  size_t installed, skipped, overlapped, stalled, acts;
  size_t by_family[FAMILIES_MAX];
  char kinds[4096]; /* names installed, each with a comma */
  size_t kind_counts[FAULTS_MAX];
};

static const char *const family_names[] = {"partition", "pause", "kill"};
#define OTHER_FAMILY ARRAY_SIZE(family_names)

static size_t family_index(const struct fault *fault) {
  size_t i = 0;
  while (i < OTHER_FAMILY && strcmp(fault->description.family, family_names[i]) != 0)
    i++;
  return i;
}

static struct facts facts_of(const struct world *world) {
  const bool spare = world->nodes < CLUSTER_NODES_MAX;
  struct facts facts = {.nodes = world->nodes + spare,
                        .founders = world->nodes,
                        .primary = -1,
                        .old_primary = -1,
                        .lacks = {[CAN_FILTER] = world->no_links,
                                  [CAN_SPARE] = spare ? NULL : "the cluster has as many nodes as it can"}};
  if (spare)
    facts.outside[world->nodes] = true;
  for (size_t i = 0; i < world->nodes; i++) {
    facts.free[i] = world->states[i] == RUNS;
    if (facts.free[i] && world->now_ns >= world->primary_known_ns)
      facts.primary = (int)i;
  }
  return facts;
}

/* Of a fault that leaves its targets running: it hits somebody, and nobody who is hit in that way already. */
static void touch(struct world *world, const struct fault *fault, const struct aim *aim, enum turn turn) {
  size_t count = 0;
  for (size_t i = 0; i < CLUSTER_NODES_MAX; i++) {
    if (!aim->targets[i])
      continue;
    cr_assert(i < world->nodes || (fault->touches & TOUCHES_MEMBERS), "%s of one that is no member",
              fault->description.name);
    count++;
    cr_assert_eq(world->touched[i] & fault->touches, turn == TURN_INSTALL ? 0 : fault->touches);
    if (turn != TURN_ACT)
      world->touched[i] ^= fault->touches;
  }
  cr_assert_gt(count, 0, "%s hits nobody", fault->description.name);
}

/* Does to the world what a fault does to a cluster; every step that may not be is a failure. */
static void apply(struct world *world, const struct fault *fault, const struct aim *aim, enum turn turn) {
  const size_t family = family_index(fault), n = world->nodes;
  const bool install = turn == TURN_INSTALL;
  if (family == OTHER_FAMILY) {
    touch(world, fault, aim, turn);
    return;
  }
  cr_assert_eq(aim->cuts, family == 0);
  if (family == 0) {
    cr_assert_eq(world->cut, !install, "two partitions at once, or none to heal");
    world->cut = turn != TURN_HEAL;
    for (size_t i = 0; fault->act && i < n; i++)
      if (aim->targets[i]) {
        cr_assert(!install || world->states[i] == RUNS);
        world->states[i] = install ? IS_PAUSED : RUNS;
      }
    return;
  }
  const enum state hurt = family == 1 ? IS_PAUSED : IS_DOWN;
  size_t count = 0;
  for (size_t i = 0; i < n; i++) {
    if (!aim->targets[i])
      continue;
    count++;
    cr_assert_eq(world->states[i], install ? RUNS : hurt, "%s of node %zu in state %d",
                 fault->description.name, i, (int)world->states[i]);
    world->states[i] = install ? hurt : RUNS;
  }
  cr_assert_gt(count, 0);
}

static void check_present(const struct schedule *schedule) {
  cr_assert_leq(schedule->present_count, OVERLAP_MAX);
  if (schedule->present_count < 2)
    return;
  const struct fault *a = schedule->present[0].plan.fault, *b = schedule->present[1].plan.fault;
  cr_assert_eq(a->touches & b->touches, 0);
  cr_assert(!a->alone && !b->alone);
}

static void install(struct world *world, struct schedule *schedule, struct tally *tally) {
  struct aim aim;
  struct error error = {0};
  const struct facts facts = facts_of(world);
  const struct plan *plan = schedule_plan(schedule, WHICH_DRAWN);
  const int status = schedule_aim(schedule, WHICH_DRAWN, &facts, &aim, &error);
  if (status != 0) {
    cr_assert_gt(strlen(error.message), 0);
    tally->skipped++;
    cr_assert(!schedule_skipped(schedule, WHICH_DRAWN, status == ERR_UNAVAILABLE, world->now_ns));
    return;
  }
  const struct fault *fault = plan->fault;
  apply(world, fault, &aim, TURN_INSTALL);
  world->now_ns += (int64_t)random_below(&world->random, 50 * NS_PER_MS);
  tally->installed++;
  tally->by_family[family_index(fault)]++;
  tally->stalled += fault->act && fault->act_every_ns == 0;
  if (!strstr(tally->kinds, fault->description.name)) {
    const size_t length = strlen(tally->kinds);
    snprintf(tally->kinds + length, sizeof tally->kinds - length, "%s,", fault->description.name);
  }
  schedule_installed(schedule, WHICH_DRAWN, &aim, world->now_ns);
  tally->overlapped += schedule->present_count == 2;
  check_present(schedule);
  /* An election, or nobody who could win one. */
  world->primary_known_ns = world->now_ns + (int64_t)random_below(&world->random, 1500 * NS_PER_MS);
}

static void act(struct world *world, struct schedule *schedule, struct tally *tally, size_t which) {
  const struct present *present = &schedule->present[which];
  apply(world, present->plan.fault, &present->aim, TURN_ACT);
  tally->acts += present->plan.fault->act_every_ns == 0;
  schedule_act_done(schedule, which, false, world->now_ns);
}

static void heal(struct world *world, struct schedule *schedule, size_t which) {
  const struct present present = schedule->present[which];
  apply(world, present.plan.fault, &present.aim, TURN_HEAL);
  world->now_ns += (int64_t)random_below(&world->random, 50 * NS_PER_MS);
  schedule_healed(schedule, which, world->now_ns);
  world->primary_known_ns = world->now_ns + (int64_t)random_below(&world->random, 700 * NS_PER_MS);
}

static bool turn(struct world *world, struct schedule *schedule, struct tally *tally, int64_t until_ns) {
  size_t which = 0;
  const int64_t when_ns = schedule_when(schedule);
  if (when_ns > until_ns)
    return false;
  if (when_ns > world->now_ns)
    world->now_ns = when_ns;
  const enum turn due = schedule_turn(schedule, world->now_ns, &which);
  cr_assert_neq(due, TURN_NONE, "nothing is due at the time when something is");
  if (due == TURN_INSTALL)
    install(world, schedule, tally);
  else if (due == TURN_HEAL)
    heal(world, schedule, which);
  else
    act(world, schedule, tally, which);
  return true;
}

static struct world world_new(uint64_t seed, size_t nodes) {
  struct world world = {.nodes = nodes};
  random_seed(&world.random, seed * 31 + 7);
  return world;
}

static struct schedule schedule_new(const char *families, uint64_t seed, const struct world *world) {
  const struct fault *faults[FAULTS_MAX];
  size_t count;
  struct error error = {0};
  struct schedule schedule = {0};
  cr_assert_eq(catalogue_select(families, faults, &count, &error), 0, "%s", error.message);
  const struct facts facts = facts_of(world);
  planner_init(&schedule.planner, seed, faults, count, &facts, 0, 0);
  return schedule;
}

static struct tally run(struct world *world, const char *families, uint64_t seed, int64_t seconds) {
  struct schedule schedule = schedule_new(families, seed, world);
  struct tally tally = {0};
  schedule_begin(&schedule, 0);
  while (turn(world, &schedule, &tally, seconds * NS_PER_S))
    ;
  schedule_end(&schedule, world->now_ns);
  while (turn(world, &schedule, &tally, NEVER - 1))
    ;
  cr_assert_eq(schedule.present_count, 0);
  cr_assert(!world->cut, "links are still cut");
  cr_assert(tally.acts == tally.stalled || tally.acts + 1 == tally.stalled,
            "%zu second acts of %zu; the last may be cut short", tally.acts, tally.stalled);
  for (size_t i = 0; i < world->nodes; i++)
    cr_assert_eq(world->states[i], RUNS, "node %zu is still hurt", i);
  return tally;
}

Test(planner, three_families_have_three_faults_each_in_a_minute) {
  size_t overlapped = 0;
  for (uint64_t seed = 0; seed < SEEDS; seed++)
    for (size_t nodes = 3; nodes <= 5; nodes += 2) {
      struct world world = world_new(seed, nodes);
      const struct tally tally = run(&world, "partition,pause,kill", seed, 60);
      for (size_t i = 0; i < ARRAY_SIZE(family_names); i++)
        cr_assert_geq(tally.by_family[i], 3, "seed %d, %zu nodes: %s came %zu times", (int)seed, nodes,
                      family_names[i], tally.by_family[i]);
      overlapped += tally.overlapped;
    }
  cr_assert(overlapped > SEEDS && overlapped < 8 * SEEDS, "%zu overlaps", overlapped);
}

Test(planner, worst_draws_still_leave_time_for_nine_faults) {
  /* The bound that the defaults were chosen by, without any luck. */
  const int64_t cycle_ns = INTERVAL_DEFAULT_NS * 3 / 2 + DURATION_DEFAULT_NS * 3 / 2;
  cr_assert_lt(NS_PER_S + 8 * cycle_ns + 9 * (250 * NS_PER_MS), 60 * NS_PER_S);
}

Test(planner, primary_is_isolated_early_and_often) {
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    struct world world = world_new(seed, 3);
    struct schedule schedule = schedule_new("partition,kill", seed, &world);
    struct plan plan;
    size_t at_primary = 0, partitions = 0, stalled = 0;
    for (int i = 0; i < 12; i++) {
      cr_assert(planner_next(&schedule.planner, &plan));
      if (family_index(plan.fault) != 0)
        continue;
      partitions++;
      at_primary += plan.fault->at_primary;
      stalled += plan.fault->act != NULL;
      cr_assert(partitions != 1 || plan.fault->at_primary);
    }
    cr_assert(partitions == 6 && at_primary == 3 && stalled == 2);
  }
}

Test(planner, every_fault_has_its_turn) {
  for (size_t nodes = 1; nodes <= CLUSTER_NODES_MAX; nodes++) {
    struct world world = world_new(nodes, nodes);
    const struct tally tally = run(&world, "all", 5, 1200);
    for (const struct fault_description *fault = fault_list(); fault->name; fault++) {
      const struct fault *faults[FAULTS_MAX];
      size_t count;
      catalogue_select(fault->name, faults, &count, NULL);
      const struct facts facts = facts_of(&world);
      cr_assert_eq(strstr(tally.kinds, fault->name) != NULL, !fault_unsuitable(faults[0], &facts, NULL),
                   "%s with %zu nodes", fault->name, nodes);
    }
  }
}

Test(planner, unsuitable_families_are_skipped_and_the_others_go_on) {
  struct world world = world_new(1, 3);
  world.no_links = "provider host cannot cut links";
  const struct tally tally = run(&world, "partition,kill", 1, 60);
  cr_assert(tally.skipped >= 3 && tally.skipped < 20 && tally.by_family[0] == 0 && tally.by_family[2] >= 3,
            "%zu skipped", tally.skipped);
  struct world lonely = world_new(2, 3);
  lonely.no_links = world.no_links;
  const struct tally nothing = run(&lonely, "partition", 2, 60);
  cr_assert(nothing.installed == 0 && nothing.skipped >= 10 && nothing.skipped < 100);
}

Test(planner, none_plans_nothing) {
  struct world world = world_new(1, 3);
  struct schedule schedule = schedule_new("none", 1, &world);
  schedule_begin(&schedule, 0);
  cr_assert_eq(schedule_when(&schedule), NEVER);
}

Test(planner, one_seed_one_plan_whatever_happens) {
  const struct fault *faults[3][200] = {{0}};
  int64_t durations[3][200] = {{0}};
  for (int round = 0; round < 3; round++) {
    struct world world = world_new(7, 5);
    struct schedule schedule = schedule_new("all", 99, &world);
    for (int i = 0; i < 200; i++) {
      struct plan plan;
      struct aim aim;
      cr_assert(planner_next(&schedule.planner, &plan));
      faults[round][i] = plan.fault;
      durations[round][i] = plan.duration_ns;
      struct facts facts = facts_of(&world);
      facts.primary = round == 2 ? -1 : 0;
      /* In the last round nobody is ever primary, and there is nobody to ask for other members. */
      if (!(plan.fault->touches & TOUCHES_MEMBERS) &&
          fault_aim(plan.fault, &facts, &plan.aim, &aim, NULL) == ERR_UNAVAILABLE)
        cr_assert(planner_instead(&schedule.planner, &plan) && !plan.fault->at_primary);
      cr_assert(faults[round][i] == faults[0][i] && durations[round][i] == durations[0][i]);
    }
  }
}

Test(planner, another_seed_another_plan) {
  size_t same = 0;
  struct world world = world_new(7, 5);
  struct schedule a = schedule_new("all", 1, &world), b = schedule_new("all", 2, &world);
  for (int i = 0; i < 100; i++) {
    struct plan x, y;
    planner_next(&a.planner, &x);
    planner_next(&b.planner, &y);
    same += x.fault == y.fault;
  }
  cr_assert_lt(same, 50);
}

/* ---- Members ---- */

static struct facts facts_with(size_t nodes, size_t founders) {
  struct facts facts = {.nodes = nodes, .founders = founders, .primary = -1, .old_primary = -1};
  memset(facts.free, true, sizeof facts.free);
  return facts;
}

static bool aims(const char *name, const struct facts *facts, uint64_t seed, struct aim *aim) {
  struct random random;
  random_seed(&random, seed);
  return fault_aim(catalogue_find(name), facts, &random, aim, NULL) == 0;
}

static size_t count_in(const bool *nodes) {
  size_t count = 0;
  for (size_t i = 0; i < CLUSTER_NODES_MAX; i++)
    count += nodes[i];
  return count;
}

/* n1 was removed, n6 has joined: halves, majorities and numbers of nodes are those of n2 to n6. */
Test(members, others_are_never_hit_and_never_count) {
  struct facts facts = facts_with(6, 5);
  facts.outside[0] = true;
  for (uint64_t seed = 0; seed < 200; seed++) {
    struct aim aim;
    facts.primary = 1 + (int)(seed % 5);
    for (const struct fault_description *it = fault_list(); it->name; it++) {
      if (strcmp(it->family, "membership") == 0)
        continue;
      cr_assert(aims(it->name, &facts, seed, &aim), "%s", it->name);
      cr_assert(!aim.targets[0], "%s hits one that is no member", it->name);
      for (size_t i = 0; aim.cuts && i < 6; i++)
        cr_assert(aim.hears[i] && aim.hears[i * 6] && aim.hears[i * 6 + i], "%s", it->name);
    }
    cr_assert(aims("kill-majority", &facts, seed, &aim) && count_in(aim.targets) == 3);
    cr_assert(aims("kill-all", &facts, seed, &aim) && count_in(aim.targets) == 5);
    cr_assert(aims("partition-primary", &facts, seed, &aim) && aim.targets[facts.primary]);
    cr_assert(aims("snapshot-lag", &facts, seed, &aim));
    cr_assert(aim.targets[(size_t)aim_get(&aim, "lagging_node") - 1]);
  }
}

Test(members, a_standby_counts_for_no_majority) {
  struct facts facts = facts_with(5, 5);
  facts.standby[1] = facts.standby[4] = true;
  for (uint64_t seed = 0; seed < 200; seed++) {
    struct aim aim;
    cr_assert(aims("kill-majority", &facts, seed, &aim) && count_in(aim.targets) == 2);
    cr_assert(!aim.targets[1] && !aim.targets[4]);
    cr_assert(aims("pause-minority", &facts, seed, &aim) && count_in(aim.targets) == 1);
  }
  facts.standby[2] = true;
  struct aim aim;
  cr_assert(!aims("kill-minority", &facts, 1, &aim), "two voters have no minority");
}

/* Never so few that those that run could not commit. */
Test(members, nobody_is_taken_whom_the_others_need) {
  static const char *const takers[] = {"membership-remove-one", "membership-remove-primary",
                                       "membership-replace", "membership-demote", "membership-wipe"};
  for (size_t nodes = 3; nodes <= 7; nodes++)
    for (uint64_t seed = 0; seed < 300; seed++) {
      struct random random;
      struct aim aim;
      struct facts facts = facts_with(nodes + 1, nodes);
      random_seed(&random, seed);
      facts.outside[nodes] = true;
      for (size_t i = 0; i < nodes; i++) {
        facts.free[i] = random_chance(&random, 0.7);
        facts.standby[i] = random_chance(&random, 0.2);
        if (facts.free[i] && !facts.standby[i])
          facts.primary = (int)i;
      }
      const char *name = takers[seed % ARRAY_SIZE(takers)];
      if (!aims(name, &facts, seed, &aim))
        continue;
      size_t others = 0, running = 0;
      cr_assert_eq(count_in(aim.targets), 1);
      for (size_t i = 0; i < nodes; i++)
        if (!aim.targets[i] && !facts.standby[i]) {
          others++;
          running += facts.free[i];
        }
      cr_assert(running > others / 2, "%s leaves %zu of %zu", name, running, others);
      cr_assert(facts.primary >= 0);
    }
}

Test(members, without_a_primary_there_is_nobody_to_ask) {
  struct facts facts = facts_with(4, 3);
  facts.outside[3] = true;
  for (const struct fault_description *it = fault_list(); it->name; it++) {
    struct aim aim;
    struct error error = {0};
    struct random random;
    if (strcmp(it->family, "membership") != 0)
      continue;
    random_seed(&random, 1);
    cr_assert_eq(fault_aim(catalogue_find(it->name), &facts, &random, &aim, &error), ERR_UNAVAILABLE);
    cr_assert_str_eq(error.message, "nobody is known to be primary", "%s: %s", it->name, error.message);
  }
}

/* ---- What takes a while ---- */

Test(planner, what_goes_on_is_asked_for_and_given_up) {
  struct world world = world_new(1, 3);
  struct schedule schedule = schedule_new("membership-add", 1, &world);
  struct aim aim;
  size_t which;
  const struct facts facts = facts_of(&world);
  struct error error = {0};
  schedule_begin(&schedule, 0);
  int64_t now_ns = schedule_when(&schedule);
  cr_assert_eq(schedule_turn(&schedule, now_ns, &which), TURN_INSTALL);
  cr_assert_eq(schedule_aim(&schedule, which, &facts, &aim, &error), 0, "%s", error.message);
  schedule_began(&schedule, which, &aim, &(struct sight){.primary = 0}, now_ns);
  for (int i = 0; i < 5; i++) {
    now_ns = schedule_when(&schedule);
    cr_assert_eq(schedule_turn(&schedule, now_ns, &which), TURN_ACT);
    cr_assert(schedule.present[which].begins);
    schedule_waits(&schedule, which, now_ns);
  }
  const int64_t duration_ns = schedule.present[0].plan.duration_ns;
  schedule_took_hold(&schedule, 0, now_ns);
  cr_assert_eq(schedule_when(&schedule), now_ns + duration_ns, "it stays from when it took hold");
  now_ns += duration_ns;
  cr_assert_eq(schedule_turn(&schedule, now_ns, &which), TURN_HEAL);
  schedule_ends(&schedule, which, now_ns);
  cr_assert_eq(schedule_turn(&schedule, now_ns, &which), TURN_NONE);
  now_ns = schedule_when(&schedule);
  cr_assert_eq(schedule_turn(&schedule, now_ns, &which), TURN_HEAL);
  schedule_healed(&schedule, which, now_ns);
  cr_assert_eq(schedule.present_count, 0);
  now_ns = schedule_when(&schedule);
  cr_assert_eq(schedule_turn(&schedule, now_ns, &which), TURN_INSTALL, "and the next one comes");
  cr_assert_eq(schedule_aim(&schedule, which, &facts, &aim, &error), 0);
  schedule_began(&schedule, which, &aim, &(struct sight){.primary = 0}, now_ns);
  error_set(&error, ERR_UNAVAILABLE, "nobody leads");
  schedule_failed(&schedule, 0, &error, now_ns);
  cr_assert_eq(schedule_turn(&schedule, now_ns, &which), TURN_HEAL, "what was done of it is undone at once");
}

/* ---- Shapes ---- */

static struct aim shape(const char *name, size_t nodes, uint64_t seed, int primary) {
  const struct fault *faults[FAULTS_MAX];
  size_t count;
  struct facts facts = {.nodes = nodes, .primary = primary};
  struct aim aim;
  struct random random;
  struct error error = {0};
  random_seed(&random, seed);
  memset(facts.free, true, sizeof facts.free);
  cr_assert_eq(catalogue_select(name, faults, &count, NULL), 0);
  cr_assert_eq(count, 1);
  cr_assert_eq(fault_aim(faults[0], &facts, &random, &aim, &error), 0, "%s", error.message);
  for (size_t i = 0; aim.cuts && i < nodes; i++)
    cr_assert(aim.hears[i * nodes + i], "a node does not hear itself");
  return aim;
}

static size_t count_targets(const struct aim *aim) {
  size_t count = 0;
  for (size_t i = 0; i < CLUSTER_NODES_MAX; i++)
    count += aim->targets[i];
  return count;
}

#define EACH_CLUSTER(least)                                                                                  \
  for (size_t n = (least); n <= CLUSTER_NODES_MAX; n++)                                                      \
    for (uint64_t seed = 0; seed < 50; seed++)

/* Hears exactly those on its own side. */
static void check_sides(const struct aim *aim, size_t n) {
  for (size_t a = 0; a < n; a++)
    for (size_t b = 0; b < n; b++)
      cr_assert_eq(aim->hears[a * n + b], aim->targets[a] == aim->targets[b]);
}

Test(shapes, halves_one_and_primary_are_two_sides) {
  EACH_CLUSTER(2) {
    struct aim aim = shape("partition-halves", n, seed, -1);
    cr_assert_eq(count_targets(&aim), n / 2);
    check_sides(&aim, n);
    aim = shape("partition-one", n, seed, -1);
    cr_assert_eq(count_targets(&aim), 1);
    check_sides(&aim, n);
    const size_t primary = seed % n;
    aim = shape("partition-primary", n, seed, (int)primary);
    cr_assert(count_targets(&aim) == 1 && aim.targets[primary]);
    check_sides(&aim, n);
  }
}

Test(shapes, ring_gives_everybody_a_majority_of_its_own) {
  EACH_CLUSTER(3) {
    const struct aim aim = shape("partition-ring", n, seed, -1);
    for (size_t a = 0; a < n; a++) {
      size_t heard = 0;
      for (size_t b = 0; b < n; b++)
        heard += aim.hears[a * n + b];
      cr_assert_eq(heard, n / 2 + 1);
      /* A window of odd size has its owner in the middle, so hearing is mutual. */
      for (size_t b = 0; (n / 2 + 1) % 2 == 1 && b < n; b++)
        cr_assert_eq(aim.hears[a * n + b], aim.hears[b * n + a]);
      for (size_t b = 0; b < a; b++)
        cr_assert(memcmp(&aim.hears[a * n], &aim.hears[b * n], n) != 0, "two hear the same");
    }
  }
}

Test(shapes, bridge_connects_two_halves) {
  EACH_CLUSTER(3) {
    const struct aim aim = shape("partition-bridge", n, seed, -1);
    cr_assert_eq(count_targets(&aim), 1);
    size_t bridge = 0, smaller = n;
    while (!aim.targets[bridge])
      bridge++;
    for (size_t a = 0; a < n; a++) {
      size_t heard = 0;
      for (size_t b = 0; b < n; b++) {
        heard += aim.hears[a * n + b];
        cr_assert_eq(aim.hears[a * n + b], aim.hears[b * n + a]);
        /* Whoever hears a third node beside the bridge hears all that it hears. */
        if (a != bridge && b != bridge && aim.hears[a * n + b])
          cr_assert_eq(memcmp(&aim.hears[a * n], &aim.hears[b * n], n), 0);
      }
      cr_assert(a != bridge || heard == n);
      smaller = heard < smaller ? heard : smaller;
    }
    cr_assert_eq(smaller, (n - 1) / 2 + 1);
  }
}

Test(shapes, one_way_cuts_no_link_in_both_directions) {
  size_t deaf_primary = 0, mute_primary = 0, single = 0;
  EACH_CLUSTER(2) {
    const size_t primary = seed % n;
    const struct aim aim = shape("partition-one-way", n, seed, (int)primary);
    size_t cut = 0, not_heard = 0, not_hearing = 0;
    for (size_t a = 0; a < n; a++)
      for (size_t b = 0; b < n; b++) {
        cr_assert(aim.hears[a * n + b] || aim.hears[b * n + a]);
        cut += !aim.hears[a * n + b];
        not_hearing += a == primary && !aim.hears[a * n + b];
        not_heard += b == primary && !aim.hears[a * n + b];
      }
    cr_assert(cut == 1 || cut == n - 1);
    deaf_primary += not_hearing == n - 1;
    mute_primary += not_heard == n - 1;
    single += cut == 1 && n > 2;
  }
  cr_assert(deaf_primary > 40 && mute_primary > 40 && single > 40, "%zu %zu %zu", deaf_primary, mute_primary,
            single);
}

Test(shapes, process_faults_hit_as_many_as_their_name_says) {
  EACH_CLUSTER(3) {
    const int primary = (int)(seed % n);
    const struct {
      const char *whom;
      size_t count;
    } expected[] = {
        {"one", 1}, {"minority", (n - 1) / 2}, {"majority", n / 2 + 1}, {"all", n}, {"primary", 1}};
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
      for (int kill = 0; kill < 2; kill++) {
        char name[32];
        snprintf(name, sizeof name, "%s-%s", kill ? "kill" : "pause", expected[i].whom);
        const struct aim aim = shape(name, n, seed, primary);
        cr_assert_eq(count_targets(&aim), expected[i].count);
        cr_assert(strcmp(expected[i].whom, "primary") != 0 || aim.targets[primary]);
      }
  }
}

Test(shapes, primary_that_is_down_is_no_target) {
  struct facts facts = {.nodes = 3, .primary = 1, .old_primary = -1, .free = {true, false, true}};
  cr_assert_eq(facts_primary(&facts), -1);
  struct error error = {0};
  struct aim aim;
  struct random random;
  random_seed(&random, 1);
  const struct fault *faults[FAULTS_MAX];
  size_t count;
  catalogue_select("kill-primary", faults, &count, NULL);
  cr_assert_eq(fault_aim(faults[0], &facts, &random, &aim, &error), ERR_UNAVAILABLE);
  cr_assert_str_eq(error.message, "nobody is known to be primary");
  catalogue_select("kill-all", faults, &count, NULL);
  cr_assert_eq(fault_aim(faults[0], &facts, &random, &aim, &error), ERR_UNAVAILABLE);
}

/* ---- Names ---- */

Test(catalogue, names_select) {
  struct error error = {0};
  const struct fault *faults[FAULTS_MAX];
  size_t count;
  cr_assert_eq(catalogue_select("kill, partition-ring,kill-all", faults, &count, &error), 0, "%s",
               error.message);
  cr_assert_eq(count, 6);
  cr_assert_str_eq(faults[0]->description.name, "partition-ring");
  cr_assert_eq(nemesis_check_families("all", &error), 0);
  cr_assert_eq(nemesis_check_families("none", &error), 0);
  const char *const wrong[] = {"", "partitions", "kill,", "kill,clocks", "Kill"};
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    cr_assert_eq(nemesis_check_families(wrong[i], &error), ERR_BAD_INPUT, "'%s'", wrong[i]);
    cr_assert(strstr(error.message, ", partition, pause, kill") &&
                  strstr(error.message, "assay nemesis list"),
              "%s", error.message);
  }
}
