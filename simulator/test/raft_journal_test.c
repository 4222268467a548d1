/* Journals under random schedules of faults; see replicas.h for what must hold. A seed that fails is run
 * again, with the journals' own words, by   ASSAY_SEED=<seed> test-master-raft-journal --filter '*' */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "simulator/test/replicas.h"

#define MS INT64_C(1000000)
#define S (1000 * MS)

static const struct replicas_options plain = {.seed = 1,
                                              .nodes = 3,
                                              .segment_size = 64 << 10,
                                              .snapshot_threshold = 1000,
                                              .snapshot_trailing = 100,
                                              .bulk = 1000};

static void quiet(void) {
  log_open("raft", getenv("ASSAY_SEED") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
}

Test(raft_journal, elects_appends_and_agrees) {
  quiet();
  for (size_t nodes = 1; nodes <= 5; nodes += 2) {
    struct replicas_options options = plain;
    options.nodes = nodes;
    struct replicas *all = replicas_new(&options);
    const size_t leader = replicas_wait_for_leader(all, 3 * S);
    for (int i = 0; i < 200; i++) {
      cr_assert_eq(replicas_append(all, leader, 100), 0);
      replicas_confirm(all, leader);
      replicas_run(all, 1 * MS);
    }
    replicas_settle(all, 3 * S);
    cr_assert_geq(replicas_acknowledged(all), 201);
    cr_assert_eq(replicas_confirmed(all), 200);
    replicas_free(all);
  }
}

Test(raft_journal, refuses_where_it_does_not_lead) {
  quiet();
  struct replicas *all = replicas_new(&plain);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  cr_assert_eq(replicas_append(all, (leader + 1) % 3, 8), ERR_NOT_PRIMARY);
  replicas_free(all);
}

Test(raft_journal, leader_cut_off_confirms_nothing) {
  quiet();
  struct replicas *all = replicas_new(&plain);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  for (size_t i = 0; i < 3; i++) {
    sim_link(replicas_world(all), leader, i, false);
    sim_link(replicas_world(all), i, leader, false);
  }
  replicas_confirm(all, leader);
  replicas_run(all, 5 * S);
  cr_assert_eq(replicas_confirmed(all), 0);
  cr_assert_neq(replicas_leader(all), (int)leader);
  replicas_settle(all, 5 * S);
  replicas_free(all);
}

Test(raft_journal, lagging_node_gets_a_snapshot) {
  quiet();
  struct replicas_options options = plain;
  options.segment_size = 4096;
  options.snapshot_threshold = 20;
  options.snapshot_trailing = 5;
  options.bulk = 3 * SNAPSHOT_CHUNK + 77;
  struct replicas *all = replicas_new(&options);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  const size_t lagging = (leader + 1) % 3;
  replicas_crash(all, lagging);
  for (int i = 0; i < 300; i++) {
    cr_assert_eq(replicas_append(all, leader, 100), 0);
    replicas_run(all, 10 * MS);
  }
  cr_assert_gt(replicas_status(all, leader).first_index, 200);
  replicas_settle(all, 5 * S);
  cr_assert_eq(replicas_installed(all), 1);
  cr_assert_gt(replicas_status(all, lagging).first_index, 200);
  const struct journal_snapshots sent = replicas_status(all, leader).snapshots,
                                 installed = replicas_status(all, lagging).snapshots;
  cr_assert(sent.sent == 1 && sent.taken >= 1 && sent.installed == 0 && sent.begun >= 2);
  cr_assert(installed.installed == 1 && installed.sent == 0 && installed.begun >= 1);
  cr_assert_not(sent.taking || sent.sending || installed.installing);
  replicas_free(all);
}

/* While a snapshot is on its way, both ends say so. */
Test(raft_journal, a_transfer_of_a_snapshot_can_be_seen_from_outside) {
  quiet();
  struct replicas_options options = plain;
  options.segment_size = 4096;
  options.snapshot_threshold = 20;
  options.snapshot_trailing = 5;
  options.bulk = 40 * SNAPSHOT_CHUNK;
  struct replicas *all = replicas_new(&options);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  const size_t lagging = (leader + 1) % 3;
  replicas_crash(all, lagging);
  for (int i = 0; i < 300; i++) {
    cr_assert_eq(replicas_append(all, leader, 100), 0);
    replicas_run(all, 10 * MS);
  }
  cr_assert_not(replicas_status(all, leader).snapshots.sending);
  /* 20 to the next snapshot, and 5 behind the last. */
  cr_assert_geq(replicas_status(all, leader).first_index, replicas_status(all, leader).last_index - 40);
  replicas_start(all, lagging);
  bool together = false;
  for (int i = 0; i < 5000 && replicas_status(all, lagging).snapshots.installed == 0; i++) {
    replicas_run(all, MS);
    together = together || (replicas_status(all, leader).snapshots.sending &&
                            replicas_status(all, lagging).snapshots.installing);
  }
  cr_assert(together);
  replicas_settle(all, 5 * S);
  replicas_free(all);
}

/* What a follower's state cannot take yet waits in its log, not in memory; the follower votes meanwhile. */
Test(raft_journal, a_full_state_holds_back_entries_and_nothing_else) {
  quiet();
  struct replicas_options options = plain;
  options.cache_size = 3000;
  options.full_after = 50;
  struct replicas *all = replicas_new(&options);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  const size_t full = (leader + 1) % 3;
  for (int i = 0; i < 200; i++) {
    cr_assert_eq(replicas_append(all, leader, 100), 0);
    replicas_run(all, 2 * MS);
    for (size_t node = 0; node < 3; node++)
      if (node != full)
        replicas_make_durable(all, node);
  }
  cr_assert_eq(replicas_applied(all, full), 50);
  cr_assert_eq(replicas_status(all, full).last_index, replicas_status(all, leader).last_index);
  replicas_crash(all, leader);
  replicas_wait_for_leader(all, 3 * S);
  cr_assert_eq(replicas_applied(all, full), 50);
  replicas_make_durable(all, full);
  replicas_run(all, 100 * MS);
  cr_assert_eq(replicas_applied(all, full), 100);
  replicas_settle(all, 5 * S);
  replicas_free(all);
}

/* Entries that are no longer in memory come from the log's files. */
Test(raft_journal, restarted_node_replays_what_its_state_lacks) {
  quiet();
  struct replicas *all = replicas_new(&plain);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  for (int i = 0; i < 100; i++) {
    cr_assert_eq(replicas_append(all, leader, 3000), 0);
    replicas_run(all, 2 * MS);
  }
  for (size_t i = 0; i < 3; i++)
    replicas_crash(all, i);
  for (size_t i = 0; i < 3; i++) {
    replicas_start(all, i);
    cr_assert_eq(replicas_applied(all, i), 0);
  }
  replicas_settle(all, 5 * S);
  cr_assert_eq(replicas_installed(all), 0);
  replicas_free(all);
}

Test(raft_journal, full_disk_refuses_and_recovers) {
  quiet();
  struct replicas_options options = plain;
  options.segment_size = 16 << 10;
  struct replicas *all = replicas_new(&options);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  replicas_run(all, 100 * MS);
  for (size_t i = 0; i < 3; i++)
    sim_fill_disk(replicas_world(all), i, true);
  int status = 0;
  for (int i = 0; i < 200 && status == 0; i++) {
    status = replicas_append(all, leader, 500);
    replicas_run(all, 2 * MS);
  }
  cr_assert_eq(status, ERR_NO_SPACE);
  replicas_run(all, 3 * S);
  cr_assert_eq(replicas_leader(all), (int)leader, "a full disk costs no leadership");
  const uint64_t confirmed = replicas_confirmed(all);
  replicas_confirm(all, leader);
  replicas_run(all, 100 * MS);
  cr_assert_eq(replicas_confirmed(all), confirmed + 1, "reads go on");
  for (size_t i = 0; i < 3; i++)
    sim_fill_disk(replicas_world(all), i, false);
  replicas_run(all, 500 * MS);
  cr_assert_eq(replicas_append(all, leader, 500), 0);
  replicas_settle(all, 3 * S);
  replicas_free(all);
}

/* A follower without room takes no entries, but keeps following; the others go on without it. */
Test(raft_journal, follower_with_a_full_disk_catches_up_when_there_is_room) {
  quiet();
  struct replicas_options options = plain;
  options.segment_size = 16 << 10;
  struct replicas *all = replicas_new(&options);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  const size_t follower = (leader + 1) % 3;
  replicas_run(all, 100 * MS);
  sim_fill_disk(replicas_world(all), follower, true);
  for (int i = 0; i < 200; i++) {
    cr_assert_eq(replicas_append(all, leader, 500), 0);
    replicas_run(all, 5 * MS);
  }
  cr_assert_lt(replicas_applied(all, follower), 150);
  cr_assert_gt(replicas_applied(all, leader), 190);
  cr_assert_eq(replicas_leader(all), (int)leader);
  sim_fill_disk(replicas_world(all), follower, false);
  replicas_settle(all, 3 * S);
  replicas_free(all);
}

Test(raft_journal, failed_sync_is_the_end) {
  quiet();
  struct replicas *all = replicas_new(&plain);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  replicas_expect_fatal(all, leader);
  log_open("raft", LOG_LEVEL_ERROR);
  sim_break_sync(replicas_world(all), leader);
  cr_assert_eq(replicas_append(all, leader, 100), 0);
  replicas_run(all, 50 * MS);
  cr_assert_not(replicas_alive(all, leader));
  cr_assert_eq(replicas_append(all, leader, 100), ERR_NOT_PRIMARY);
  replicas_wait_for_leader(all, 5 * S);
  replicas_settle(all, 5 * S);
  replicas_free(all);
}

/* -- a node that lost its disk ----------------------------------------------------------------------------
 */

static struct weather rough(uint64_t seed) {
  const bool calm = seed % 2 == 0;
  return (struct weather){.loss = calm ? 0 : 0.05,
                          .duplication = calm ? 0 : 0.2,
                          .delay_ns = MS,
                          .jitter_ns = calm ? MS : 20 * MS,
                          .disk_ns = MS / 10};
}

static void append_some(struct replicas *all, size_t leader, size_t count) {
  for (size_t i = 0; i < count; i++) {
    cr_assert_eq(replicas_append(all, leader, 100), 0);
    replicas_run(all, 2 * MS);
  }
}

/* The leader knows it as up to date, and goes on leading; what it lost is sent again: from the log, or, when
 * the log was cut, as a snapshot. */
static void lose_a_disk(uint64_t seed, uint64_t threshold, bool busy) {
  struct replicas_options options = plain;
  options.seed = seed;
  options.segment_size = 4096;
  options.snapshot_threshold = threshold;
  options.snapshot_trailing = 20;
  struct replicas *all = replicas_new(&options);
  sim_set_weather(replicas_world(all), &(struct weather){.delay_ns = MS, .disk_ns = MS / 10});
  const size_t leader = replicas_wait_for_leader(all, 3 * S), wiped = (leader + 1 + seed % 2) % 3;
  append_some(all, leader, 300);
  replicas_run(all, S);
  const uint64_t term = replicas_status(all, leader).term;
  replicas_crash(all, wiped);
  replicas_wipe(all, wiped);
  replicas_start(all, wiped);
  const struct weather weather = rough(seed);
  sim_set_weather(replicas_world(all), &weather);
  if (busy)
    append_some(all, leader, 200);
  for (int64_t waited = 0; waited < 5 * S; waited += 10 * MS) {
    if (replicas_applied(all, wiped) == replicas_highest_committed(all))
      break;
    replicas_run(all, 10 * MS);
  }
  cr_assert_eq(replicas_applied(all, wiped), replicas_highest_committed(all),
               "seed %llu: %llu of %llu entries came back", (unsigned long long)seed,
               (unsigned long long)replicas_applied(all, wiped),
               (unsigned long long)replicas_highest_committed(all));
  if (seed % 2 == 0) {
    cr_assert_eq(replicas_status(all, leader).term, term, "nobody else needs to lead");
    cr_assert_eq(replicas_installed(all) > 0, threshold < 300);
  }
  replicas_settle(all, 10 * S);
  replicas_free(all);
}

Test(raft_journal, node_that_lost_its_disk_is_brought_up_to_date, .timeout = 60) {
  quiet();
  for (uint64_t seed = 1; seed <= 40; seed++) {
    lose_a_disk(seed, 10000, seed % 4 < 2);
    lose_a_disk(seed, 30, seed % 4 < 2);
  }
}

/* -- schedules drawn from a seed --------------------------------------------------------------------------
 */

struct schedule {
  struct replicas *all;
  struct random random;
  size_t nodes;
  double append, confirm, crash, restart, link, heal, durable, fill, pause, isolate,
      wipe; /* chances each 2 ms */
  size_t largest, wipes;
  int rest; /* steps without work left, until a disk can be taken away */
};

static struct weather draw_weather(struct random *random) {
  struct weather weather = {.delay_ns = random_between(random, 50, 2000) * 1000,
                            .jitter_ns = random_between(random, 10, 20000) * 1000,
                            .disk_ns = random_between(random, 50, 3000) * 1000,
                            .disk_jitter_ns = random_between(random, 10, 5000) * 1000};
  if (random_chance(random, 0.5))
    weather.loss = random_unit(random) * 0.2;
  if (random_chance(random, 0.5))
    weather.duplication = random_unit(random) * 0.2;
  if (random_chance(random, 0.3))
    weather.disk_stall = random_unit(random) * 0.02;
  return weather;
}

/* Links from (and maybe to) the leader go down; its heartbeats may still get through, or the answers. */
static void isolate_leader(struct schedule *schedule) {
  struct random *random = &schedule->random;
  const int leader = replicas_leader(schedule->all);
  const bool from = random_chance(random, 0.7), to = !from || random_chance(random, 0.5);
  for (size_t i = 0; leader >= 0 && i < schedule->nodes; i++) {
    if (i == (size_t)leader || random_chance(random, 0.2))
      continue;
    sim_link(replicas_world(schedule->all), (size_t)leader, i, !from);
    sim_link(replicas_world(schedule->all), i, (size_t)leader, !to);
  }
}

static void pause_someone(struct schedule *schedule) {
  struct replicas *all = schedule->all;
  const int leader = replicas_leader(all);
  const size_t node = leader >= 0 && random_chance(&schedule->random, 0.7)
                          ? (size_t)leader
                          : (size_t)random_below(&schedule->random, schedule->nodes);
  if (replicas_alive(all, node))
    sim_pause(replicas_world(all), node,
              sim_now_ns(replicas_world(all)) + random_between(&schedule->random, 1, 1500) * MS);
}

/* Whether the protocol survives that one node forgets everything: all others hold what it holds, and there is
 * no vote of the present term that it could cast again. */
static bool may_wipe(const struct schedule *schedule) {
  const struct replicas *all = schedule->all;
  const int leader = replicas_leader(all);
  for (size_t i = 0; i < schedule->nodes; i++) {
    if (leader < 0 || !replicas_alive(all, i))
      return false;
    const struct journal_status status = replicas_status(all, i);
    if (status.term != replicas_status(all, (size_t)leader).term || status.leader != (uint64_t)leader + 1 ||
        replicas_applied(all, i) != replicas_highest_committed(all) ||
        status.last_index != replicas_highest_committed(all))
      return false;
  }
  return true;
}

static void disturb(struct schedule *schedule) {
  struct replicas *all = schedule->all;
  struct random *random = &schedule->random;
  const size_t node = (size_t)random_below(random, schedule->nodes);
  const size_t other = (node + 1 + (size_t)random_below(random, schedule->nodes - 1)) % schedule->nodes;
  const bool alive = replicas_alive(all, node);
  if (alive && random_chance(random, schedule->crash))
    replicas_crash(all, node);
  else if (!alive && random_chance(random, schedule->restart))
    replicas_start(all, node);
  if (random_chance(random, schedule->link)) {
    sim_link(replicas_world(all), node, other, false);
    if (random_chance(random, 0.6))
      sim_link(replicas_world(all), other, node, false);
  }
  if (random_chance(random, schedule->heal))
    replicas_heal(all);
  if (random_chance(random, schedule->isolate))
    isolate_leader(schedule);
  if (random_chance(random, schedule->pause))
    pause_someone(schedule);
  if (replicas_alive(all, node) && !sim_paused(replicas_world(all), node) &&
      random_chance(random, schedule->durable))
    replicas_make_durable(all, node);
  if (random_chance(random, schedule->fill))
    sim_fill_disk(replicas_world(all), node, random_chance(random, 0.5));
  if (random_chance(random, schedule->wipe))
    schedule->rest = 100;
  if (schedule->rest > 0 && may_wipe(schedule)) {
    schedule->rest = 0;
    schedule->wipes++;
    replicas_crash(all, node);
    replicas_wipe(all, node);
    replicas_start(all, node);
  }
}

static void work(struct schedule *schedule) {
  if (schedule->rest > 0) {
    schedule->rest--;
    return;
  }
  struct replicas *all = schedule->all;
  for (size_t i = 0; i < schedule->nodes; i++) {
    if (!replicas_alive(all, i) || sim_paused(replicas_world(all), i))
      continue;
    if (random_chance(&schedule->random, schedule->append)) {
      const int status =
          replicas_append(all, i, 8 + (size_t)random_below(&schedule->random, schedule->largest));
      cr_assert(status == 0 || status == ERR_NOT_PRIMARY || status == ERR_NO_SPACE ||
                status == ERR_OVERLOADED);
    }
    if (random_chance(&schedule->random, schedule->confirm))
      replicas_confirm(all, i);
  }
}

static struct schedule draw_schedule(uint64_t seed, struct replicas_options *options) {
  struct schedule schedule = {0};
  struct random *random = &schedule.random;
  random_seed(random, seed);
  *options = (struct replicas_options){.seed = seed,
                                       .nodes = random_chance(random, 0.6) ? 3 : 5,
                                       .segment_size = (uint64_t)4096 << random_below(random, 5),
                                       .snapshot_threshold = 10 + random_below(random, 200),
                                       .snapshot_trailing = 1 + random_below(random, 50),
                                       .cache_size = random_chance(random, 0.5) ? 3000 : 0,
                                       .snapshot_failures = random_chance(random, 0.3) ? 0.2 : 0,
                                       .bulk = (size_t)random_below(random, 2 * SNAPSHOT_CHUNK)};
  if (random_chance(random, 0.3))
    options->full_after = 5 + random_below(random, 100);
  schedule.nodes = options->nodes;
  schedule.append = random_unit(random);
  schedule.confirm = random_unit(random) * 0.5;
  schedule.crash = random_chance(random, 0.7) ? random_unit(random) * 0.01 : 0;
  schedule.restart = 0.005 + random_unit(random) * 0.05;
  schedule.link = random_chance(random, 0.7) ? random_unit(random) * 0.01 : 0;
  schedule.heal = 0.001 + random_unit(random) * 0.01;
  schedule.isolate = random_chance(random, 0.5) ? random_unit(random) * 0.005 : 0;
  schedule.pause = random_chance(random, 0.5) ? random_unit(random) * 0.01 : 0;
  schedule.durable = random_unit(random) * 0.1;
  schedule.fill = random_chance(random, 0.2) ? 0.005 : 0;
  schedule.largest = 1 + (size_t)random_below(random, random_chance(random, 0.1) ? 3000 : 300);
  schedule.wipe = random_chance(random, 0.3) ? 0.005 : 0;
  return schedule;
}

static void run_seed(uint64_t seed, uint64_t totals[4]) {
  struct replicas_options options;
  struct schedule schedule = draw_schedule(seed, &options);
  schedule.all = replicas_new(&options);
  const struct weather weather = draw_weather(&schedule.random);
  sim_set_weather(replicas_world(schedule.all), &weather);
  const int64_t end_ns =
      sim_now_ns(replicas_world(schedule.all)) + random_between(&schedule.random, 2, 6) * S;
  while (sim_now_ns(replicas_world(schedule.all)) < end_ns) {
    work(&schedule);
    disturb(&schedule);
    replicas_run(schedule.all, 2 * MS);
  }
  replicas_settle(schedule.all, 30 * S);
  totals[0] += replicas_acknowledged(schedule.all);
  totals[1] += replicas_confirmed(schedule.all);
  totals[2] += replicas_installed(schedule.all);
  totals[3] += schedule.wipes;
  replicas_free(schedule.all);
}

Test(raft_journal, random_schedules) {
  quiet();
  const char *one = getenv("ASSAY_SEED"), *many = getenv("ASSAY_SEEDS");
  const uint64_t first = one ? strtoull(one, NULL, 10) : 1;
  const uint64_t count = one ? 1 : many ? strtoull(many, NULL, 10) : 300;
  uint64_t totals[4] = {0};
  for (uint64_t seed = first; seed < first + count; seed++)
    run_seed(seed, totals);
  if (!one) {
    cr_expect_gt(totals[0], count * 20, "the schedules commit something");
    cr_expect_gt(totals[1], count * 20, "the schedules confirm something");
    cr_expect_gt(totals[2], count / 10, "the schedules install snapshots");
    cr_expect_gt(totals[3], count / 20, "the schedules wipe nodes");
  }
  fprintf(stderr,
          "%llu seeds: %llu acknowledged, %llu confirmed, %llu snapshots installed, %llu disks lost\n",
          (unsigned long long)count, (unsigned long long)totals[0], (unsigned long long)totals[1],
          (unsigned long long)totals[2], (unsigned long long)totals[3]);
}
