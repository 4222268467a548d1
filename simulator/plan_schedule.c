/* plan_schedule.c: what goes wrong in a plan, and when.
 *
 * Episodes begin at random (exponentially distributed pauses between them, so they overlap at times). One is
 * a single fault, or several that hurt more together than one by one: a follower is cut off until it needs a
 * snapshot and loses power while it installs it; a vote is cast and forgotten; the network of some nodes
 * clogs one after the other and clears in another order ("swizzle-clogging" of FoundationDB's testers). Which
 * episodes a plan knows, and how often each comes, is drawn first: see plan.c.
 *
 * Lengths are measured in election time-outs, for that is the time in which a cluster takes notice: shorter
 * faults are met by retries, longer ones by a new leader. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "simulator/plan.h"

#define SCHEDULE_MAX 200
#define LONGEST_NS (20 * NS_PER_S)

/* What C leaves the order of open, compilers may draw in any: the arguments of one call each come from a
 * stream of their own, so that a seed is the same plan whoever compiled it. */
struct schedule {
  struct plan *plan;
  struct random random;                      /* what an episode is made of, and how strong */
  struct random times, whom, coins, details; /* of its faults */
  double election_ns;
  double length;               /* of all faults of the plan: 1 is ordinary */
  struct planned_fault beyond; /* what comes too late is drawn and dropped */
};

static double scale(struct random *random, double low, double high) {
  return low * pow(high / low, random_unit(random));
}

/* Whole microseconds: plans are read by people. */
static int64_t whole_us(double ns) {
  return (int64_t)(ns / 1e3) * NS_PER_US;
}

/* Between so many election time-outs, as often below as above the middle of their logarithms. */
static int64_t span(struct schedule *schedule, double low, double high) {
  const double ns = scale(&schedule->times, low, high) * schedule->election_ns * schedule->length;
  return whole_us(fmin(ns, (double)LONGEST_NS));
}

static bool chance(struct schedule *schedule, double probability) {
  return random_chance(&schedule->coins, probability);
}

static struct planned_fault *add(struct schedule *schedule, enum simulated_fault fault,
                                 enum simulated_target target, int64_t at_ns, int64_t for_ns) {
  struct plan *plan = schedule->plan;
  const size_t node = (size_t)random_below(&schedule->details, plan->nodes);
  const struct planned_fault planned = {.fault = fault,
                                        .target = target,
                                        .node = target == TARGET_NODE ? node : 0,
                                        .at_ns = at_ns,
                                        .for_ns = for_ns,
                                        .draw = random_next(&schedule->details) >> 32};
  if (at_ns >= plan->duration_ns || plan->fault_count == SCHEDULE_MAX) {
    schedule->beyond = planned;
    return &schedule->beyond;
  }
  plan->faults[plan->fault_count] = planned;
  return &plan->faults[plan->fault_count++];
}

/* ---- Whom ---- */

static enum simulated_target one(struct schedule *schedule) {
  const double draw = random_unit(&schedule->whom);
  return draw < 0.55 ? TARGET_PRIMARY : draw < 0.85 ? TARGET_FOLLOWER : TARGET_NODE;
}

static enum simulated_target some(struct schedule *schedule) {
  const double draw = random_unit(&schedule->whom);
  return draw < 0.7    ? one(schedule)
         : draw < 0.82 ? TARGET_MINORITY
         : draw < 0.92 ? TARGET_MAJORITY
                       : TARGET_ALL;
}

/* All of them together would be cut off from nobody. */
static enum simulated_target part(struct schedule *schedule) {
  const enum simulated_target target = some(schedule);
  return target == TARGET_ALL ? TARGET_PRIMARY : target;
}

/* ---- Episodes of one fault ---- */

static void partition(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_PARTITION, part(schedule), at, span(schedule, 0.5, 8));
}

static void one_way(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_ONE_WAY, part(schedule), at, span(schedule, 0.5, 8));
}

static void bridge(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_BRIDGE, one(schedule), at, span(schedule, 1, 8));
}

static void clog_some(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_CLOG, some(schedule), at, span(schedule, 0.2, 5));
}

static void storm(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_STORM, TARGET_ALL, at, span(schedule, 1, 10))->strength =
      round(scale(&schedule->random, 0.02, 0.5) * 1000) / 1000;
}

static void cut_clients(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_CUT_CLIENTS, some(schedule), at, span(schedule, 0.3, 4));
}

static void crash(struct schedule *schedule, int64_t at) {
  const bool brief = chance(schedule, 0.5);
  add(schedule, SIMULATED_CRASH, some(schedule), at,
      brief ? span(schedule, 0.02, 0.5) : span(schedule, 0.5, 6));
}

static void pause_some(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_PAUSE, some(schedule), at, span(schedule, 0.5, 5));
}

static void stall(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_STALLED_PARTITION, chance(schedule, 0.8) ? TARGET_PRIMARY : part(schedule), at,
      span(schedule, 3, 8));
}

static void restart(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_RESTART, some(schedule), at, span(schedule, 0.02, 3));
}

/* The others must hold all of it, and whoever leads is one of them. */
static enum simulated_target spare_one(struct schedule *schedule) {
  return chance(schedule, 0.8) ? TARGET_FOLLOWER : TARGET_NODE;
}

static void wipe(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_WIPE, spare_one(schedule), at, span(schedule, 0.05, 3));
}

static void full_disk(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_FULL_DISK, some(schedule), at, span(schedule, 0.5, 8));
}

static void slow_disk(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_SLOW_DISK, some(schedule), at, span(schedule, 0.5, 8))->strength =
      round(scale(&schedule->random, 5, 500));
}

static void sync_error(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_SYNC_ERROR, one(schedule), at, span(schedule, 0.1, 3));
}

static void rot(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_ROT, spare_one(schedule), at, span(schedule, 0.02, 2));
}

static void jump(struct schedule *schedule, int64_t at) {
  const double seconds = round(scale(&schedule->random, 0.01, 1000) * 1000) / 1000;
  add(schedule, SIMULATED_CLOCK_JUMP, some(schedule), at, 0)->strength =
      chance(schedule, 0.5) ? -seconds : seconds;
}

/* Down to half the speed of the others, or up to twice: no real clock is as bad, but leases are as short. */
static double draw_drift(struct schedule *schedule) {
  const double drift = round(scale(&schedule->random, 0.01, 1) * 1000) / 1000;
  return chance(schedule, 0.6) ? -drift / 2 : drift;
}

static void drift(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_CLOCK_DRIFT, some(schedule), at, span(schedule, 2, 15))->strength =
      draw_drift(schedule);
}

/* ---- Episodes of several ---- */

static void crash_all(struct schedule *schedule, int64_t at) {
  add(schedule, SIMULATED_CRASH, chance(schedule, 0.7) ? TARGET_ALL : TARGET_MAJORITY, at,
      span(schedule, 0.05, 2));
}

/* The old primary loses power while it is alone, and comes back to a cluster that went on without it. */
static void cut_and_crash(struct schedule *schedule, int64_t at) {
  const int64_t cut = span(schedule, 1, 8);
  add(schedule, SIMULATED_PARTITION, TARGET_PRIMARY, at, cut);
  const double when = 0.1 + 0.8 * random_unit(&schedule->random);
  add(schedule, SIMULATED_CRASH, TARGET_LAST, at + whole_us(when * (double)cut), span(schedule, 0.02, 4));
}

/* A follower falls behind, and when the others send it what it missed, it or the sender loses power. */
static void lag_and_crash(struct schedule *schedule, int64_t at) {
  const int64_t lag = span(schedule, 4, 20);
  const bool off = chance(schedule, 0.4);
  add(schedule, off ? SIMULATED_CRASH : SIMULATED_PARTITION, TARGET_FOLLOWER, at, lag);
  at += lag + span(schedule, 0.01, 0.7);
  const enum simulated_target victim = chance(schedule, 0.65) ? TARGET_LAST : TARGET_PRIMARY;
  add(schedule, SIMULATED_CRASH, victim, at, span(schedule, 0.02, 1));
  at += span(schedule, 0.1, 2);
  if (chance(schedule, 0.3))
    add(schedule, SIMULATED_CRASH, TARGET_LAST, at, span(schedule, 0.02, 1));
}

static void crash_loop(struct schedule *schedule, int64_t at) {
  const int64_t rounds = random_between(&schedule->random, 3, 6);
  add(schedule, SIMULATED_CRASH, one(schedule), at, span(schedule, 0.02, 0.2));
  for (int64_t i = 1; i < rounds; i++) {
    at += span(schedule, 0.2, 1.5);
    add(schedule, SIMULATED_CRASH, TARGET_LAST, at, span(schedule, 0.02, 0.2));
  }
}

/* Whoever leads falls, again and again. */
static void hunt(struct schedule *schedule, int64_t at) {
  const int64_t rounds = random_between(&schedule->random, 3, 6);
  const bool kind = chance(schedule, 0.5);
  for (int64_t i = 0; i < rounds; i++) {
    const int64_t stay = span(schedule, 0.5, 3);
    add(schedule, kind ? SIMULATED_CRASH : SIMULATED_PARTITION, TARGET_PRIMARY, at, stay);
    at += span(schedule, 1.2, 4);
  }
}

/* The primary falls, the others vote, and one of them loses power as soon as it has. */
static void forget_vote(struct schedule *schedule, int64_t at) {
  const bool cut = chance(schedule, 0.5);
  add(schedule, cut ? SIMULATED_PARTITION : SIMULATED_CRASH, TARGET_PRIMARY, at, span(schedule, 2, 6));
  const int64_t rounds = random_between(&schedule->random, 1, 4);
  at += span(schedule, 0.9, 1.5);
  for (int64_t i = 0; i < rounds; i++) {
    add(schedule, SIMULATED_CRASH, chance(schedule, 0.5) ? TARGET_FOLLOWER : TARGET_NODE, at,
        span(schedule, 0.01, 0.1));
    at += span(schedule, 0.05, 0.6);
  }
}

/* All orderly, one after the other: an upgrade. */
static void roll(struct schedule *schedule, int64_t at) {
  for (size_t i = 0; i < schedule->plan->nodes; i++) {
    const int64_t stay = span(schedule, 0.05, 2);
    add(schedule, SIMULATED_RESTART, TARGET_NODE, at, stay)->node = i;
    at += stay + span(schedule, 0.5, 4);
  }
}

static void swizzle(struct schedule *schedule, int64_t at) {
  const size_t nodes = schedule->plan->nodes;
  const int64_t stay = span(schedule, 0.5, 4);
  const size_t first = (size_t)random_below(&schedule->random, nodes),
               count = (size_t)random_between(&schedule->random, 2, (int64_t)nodes);
  for (size_t i = 0; i < count; i++) {
    const int64_t begins = span(schedule, 0.02, 1), lasts = stay + span(schedule, 0.02, 1);
    add(schedule, SIMULATED_CLOG, TARGET_NODE, at + begins, lasts)->node = (first + i) % nodes;
  }
}

static void flap(struct schedule *schedule, int64_t at) {
  const int64_t rounds = random_between(&schedule->random, 3, 8);
  const enum simulated_target target = part(schedule);
  const bool moves = chance(schedule, 0.3);
  for (int64_t i = 0; i < rounds; i++) {
    const int64_t stay = span(schedule, 0.1, 1.5);
    add(schedule, SIMULATED_PARTITION, i == 0 || moves ? target : TARGET_LAST, at, stay);
    at += stay + span(schedule, 0.05, 1);
  }
}

/* Much waits for the disk, and then the power goes. */
static void slow_and_crash(struct schedule *schedule, int64_t at) {
  const int64_t stay = span(schedule, 0.5, 4);
  add(schedule, SIMULATED_SLOW_DISK, chance(schedule, 0.5) ? TARGET_ALL : TARGET_MAJORITY, at, stay)
      ->strength = round(scale(&schedule->random, 20, 500));
  const double when = 0.2 + 0.8 * random_unit(&schedule->random);
  add(schedule, SIMULATED_CRASH, some(schedule), at + whole_us(when * (double)stay), span(schedule, 0.02, 2));
}

static void full_and_crash(struct schedule *schedule, int64_t at) {
  const int64_t stay = span(schedule, 1, 6);
  add(schedule, SIMULATED_FULL_DISK, chance(schedule, 0.5) ? TARGET_ALL : TARGET_PRIMARY, at, stay);
  const double when = 0.2 + random_unit(&schedule->random);
  add(schedule, SIMULATED_CRASH, chance(schedule, 0.5) ? TARGET_LAST : some(schedule),
      at + whole_us(when * (double)stay), span(schedule, 0.02, 2));
}

/* A primary that is alone and whose clock is wrong: what a lease must not trust. Set back, it makes a lease
 * that is over valid again; slow, it makes the primary the last to notice that it is alone. */
static void alone_in_time(struct schedule *schedule, int64_t at) {
  const int64_t stay = span(schedule, 3, 8);
  const double seconds = round(scale(&schedule->random, 0.3, 100) * 1000) / 1000;
  const double slow = round((0.4 + 0.4 * random_unit(&schedule->random)) * 1000) / 1000;
  const bool stalled = chance(schedule, 0.4), jumps = chance(schedule, 0.8);
  if (jumps)
    add(schedule, SIMULATED_CLOCK_JUMP, TARGET_PRIMARY, at, 0)->strength = -seconds;
  if (!jumps || !stalled)
    add(schedule, SIMULATED_CLOCK_DRIFT, jumps ? TARGET_LAST : TARGET_PRIMARY, at, 2 * stay)->strength =
        -slow;
  add(schedule, stalled ? SIMULATED_STALLED_PARTITION : SIMULATED_PARTITION, TARGET_LAST,
      at + span(schedule, 0.01, 0.3), stay);
}

/* One is cut off, comes back as another one goes: no two have the same idea of the log. */
static void relay(struct schedule *schedule, int64_t at) {
  const int64_t rounds = random_between(&schedule->random, 3, 6);
  for (int64_t i = 0; i < rounds; i++) {
    const int64_t stay = span(schedule, 1, 4);
    add(schedule, chance(schedule, 0.75) ? SIMULATED_PARTITION : SIMULATED_CRASH, one(schedule), at, stay);
    at += stay - whole_us(random_unit(&schedule->random) * 0.4 * (double)stay);
  }
}

static struct planned_fault *add_at_election(struct schedule *schedule, enum simulated_fault fault,
                                             enum simulated_target target, int64_t from_ns, int64_t after_ns,
                                             int64_t for_ns) {
  struct planned_fault *planned = add(schedule, fault, target, from_ns, for_ns);
  planned->at_election = true;
  planned->after_ns = after_ns;
  return planned;
}

/* A moment after an election: as soon as the news is under way, or some writes later. */
static int64_t moment(struct schedule *schedule) {
  return whole_us(scale(&schedule->random, 0.1e6, 200e6));
}

/* Figure 8 of Ongaro's and Ousterhout's paper: the first leader is cut off with an entry that nobody else
 * has, so is the second; the first leads again and falls once more while it brings its entry to a majority;
 * and the second comes back. Slow disks make "while" last. */
static void figure_eight(struct schedule *schedule, int64_t at) {
  const int64_t first = span(schedule, 1.5, 5), second = span(schedule, 3, 8), third = span(schedule, 3, 8);
  if (chance(schedule, 0.7))
    add(schedule, SIMULATED_SLOW_DISK, TARGET_ALL, at, first + second + third)->strength =
        round(scale(&schedule->random, 10, 200));
  add(schedule, SIMULATED_PARTITION, TARGET_PRIMARY, at, first);
  add_at_election(schedule, SIMULATED_PARTITION, TARGET_PRIMARY, at, moment(schedule), second);
  add_at_election(schedule, SIMULATED_PARTITION, TARGET_PRIMARY, at, moment(schedule), third);
}

/* Right after an election somebody falls: the winner, who has told nobody yet, or a voter. */
static void election_night(struct schedule *schedule, int64_t at) {
  const bool cut = chance(schedule, 0.5);
  add(schedule, cut ? SIMULATED_PARTITION : SIMULATED_CRASH, TARGET_PRIMARY, at, span(schedule, 1, 5));
  for (int64_t rounds = random_between(&schedule->random, 1, 4); rounds > 0; rounds--) {
    const bool crashes = chance(schedule, 0.6), winner = chance(schedule, 0.5);
    add_at_election(schedule, crashes ? SIMULATED_CRASH : SIMULATED_PARTITION,
                    winner ? TARGET_PRIMARY : TARGET_FOLLOWER, at, moment(schedule),
                    crashes ? span(schedule, 0.02, 3) : span(schedule, 1, 4));
  }
}

/* Leaders that come and go, each with entries that it could not replicate. */
static void take_turns(struct schedule *schedule, int64_t at) {
  const int64_t rounds = random_between(&schedule->random, 3, 7);
  const bool crashes = chance(schedule, 0.4);
  for (int64_t i = 0; i < rounds; i++) {
    const int64_t stay = span(schedule, 1, 3);
    const bool crashed = crashes && chance(schedule, 0.5);
    add(schedule, crashed ? SIMULATED_CRASH : SIMULATED_PARTITION, TARGET_PRIMARY, at, stay);
    at += stay + span(schedule, 0.02, 1);
  }
}

/* ---- Changes of membership ---- */

static void change_at(struct schedule *schedule, int64_t at) {
  const double draw = random_unit(&schedule->random);
  const enum simulated_fault fault = draw < 0.25   ? SIMULATED_REMOVE
                                     : draw < 0.5  ? SIMULATED_ADD
                                     : draw < 0.75 ? SIMULATED_PROMOTE
                                     : draw < 0.9  ? SIMULATED_DEMOTE
                                                   : SIMULATED_TRANSFER;
  add(schedule, fault, chance(schedule, 0.8) ? TARGET_FOLLOWER : TARGET_NODE, at, 0);
}

static void churn(struct schedule *schedule, int64_t at) {
  const int64_t rounds = random_between(&schedule->random, 3, 10);
  for (int64_t i = 0; i < rounds; i++) {
    change_at(schedule, at);
    at += span(schedule, 0.05, 2);
  }
}

/* One goes, another one, or the same, comes. */
static void replace(struct schedule *schedule, int64_t at) {
  add(schedule, chance(schedule, 0.8) ? SIMULATED_REMOVE : SIMULATED_DEMOTE, TARGET_FOLLOWER, at, 0);
  if (chance(schedule, 0.3))
    add(schedule, SIMULATED_WIPE, TARGET_LAST, at + span(schedule, 0.1, 1), span(schedule, 0.05, 1));
  at += span(schedule, 0.1, 3);
  add(schedule, SIMULATED_ADD, TARGET_FOLLOWER, at, 0);
  at += span(schedule, 0.05, 2);
  add(schedule, SIMULATED_PROMOTE, TARGET_FOLLOWER, at, 0);
}

static void grow(struct schedule *schedule, int64_t at) {
  for (size_t i = 1; i < schedule->plan->nodes; i++) {
    add(schedule, SIMULATED_ADD, TARGET_FOLLOWER, at, 0);
    at += span(schedule, 0.05, 1);
    add(schedule, SIMULATED_PROMOTE, TARGET_FOLLOWER, at, 0);
    at += span(schedule, 0.05, 1);
  }
}

static void hand_over(struct schedule *schedule, int64_t at) {
  const int64_t rounds = random_between(&schedule->random, 1, 5);
  for (int64_t i = 0; i < rounds; i++) {
    add(schedule, SIMULATED_TRANSFER, TARGET_FOLLOWER, at, 0);
    at += span(schedule, 0.02, 2);
  }
}

/* Whoever leads falls, or is cut off, while its change is under way. */
static void change_and_fall(struct schedule *schedule, int64_t at) {
  const int64_t rounds = random_between(&schedule->random, 1, 3);
  for (int64_t i = 0; i < rounds; i++) {
    change_at(schedule, at);
    const bool crashes = chance(schedule, 0.5);
    const int64_t stay = span(schedule, 0.5, 4);
    add(schedule, crashes ? SIMULATED_CRASH : SIMULATED_PARTITION, TARGET_PRIMARY,
        at + whole_us(scale(&schedule->random, 0.1e6, 50e6)), stay);
    at += stay + span(schedule, 0.1, 2);
  }
}

/* Two leaders, one of them cut off, change the membership of the same term of office: what the one appended
 * is cut off when it comes back, and must be forgotten. */
static void duel(struct schedule *schedule, int64_t at) {
  const int64_t rounds = random_between(&schedule->random, 1, 3);
  for (int64_t i = 0; i < rounds; i++) {
    const int64_t stay = span(schedule, 2, 5);
    add(schedule, SIMULATED_PARTITION, chance(schedule, 0.7) ? TARGET_PRIMARY : TARGET_MINORITY, at, stay);
    const bool shrinks = chance(schedule, 0.7);
    add(schedule, shrinks ? SIMULATED_REMOVE : SIMULATED_DEMOTE, TARGET_FOLLOWER,
        at + span(schedule, 0.02, 0.3), 0);
    if (chance(schedule, 0.7))
      change_at(schedule, at + span(schedule, 2, 4));
    at += stay + span(schedule, 0.02, 0.5);
    if (chance(schedule, 0.5))
      add(schedule, SIMULATED_PARTITION, part(schedule), at, span(schedule, 1, 5));
    at += span(schedule, 0.5, 2);
  }
}

/* A disk fails, the node's process should end with it, and if it has not, the power goes. */
static void fail_and_crash(struct schedule *schedule, int64_t at) {
  const int64_t stay = span(schedule, 0.05, 1);
  const int64_t rounds = random_between(&schedule->random, 1, 3);
  add(schedule, SIMULATED_SYNC_ERROR, one(schedule), at, stay);
  for (int64_t i = 1; i < rounds; i++)
    add(schedule, SIMULATED_SYNC_ERROR, TARGET_NODE, at + span(schedule, 0.01, 1), stay);
  at += span(schedule, 0.5, 5);
  const bool all = chance(schedule, 0.4);
  add(schedule, SIMULATED_CRASH, all ? TARGET_ALL : TARGET_LAST, at, span(schedule, 0.02, 3));
}

/* ---- The schedule ---- */

#define BIT(fault) FAULT_BIT(SIMULATED_##fault)
#define CHANGES (BIT(ADD) | BIT(PROMOTE) | BIT(DEMOTE) | BIT(REMOVE) | BIT(TRANSFER))

static const struct {
  unsigned uses;
  double weight;
  void (*draw)(struct schedule *schedule, int64_t at);
} episodes[] = {
    {BIT(PARTITION), 1, partition},
    {BIT(ONE_WAY), 1, one_way},
    {BIT(BRIDGE), 0.5, bridge},
    {BIT(CLOG), 1, clog_some},
    {BIT(STORM), 0.7, storm},
    {BIT(CUT_CLIENTS), 1, cut_clients},
    {BIT(CRASH), 1.5, crash},
    {BIT(PAUSE), 1, pause_some},
    {BIT(STALLED_PARTITION), 1.5, stall},
    {BIT(RESTART), 0.7, restart},
    {BIT(WIPE), 0.5, wipe},
    {BIT(FULL_DISK), 0.5, full_disk},
    {BIT(SLOW_DISK), 0.7, slow_disk},
    {BIT(SYNC_ERROR), 0.7, sync_error},
    {BIT(ROT), 0.5, rot},
    {BIT(CLOCK_JUMP), 1, jump},
    {BIT(CLOCK_DRIFT), 1, drift},
    {BIT(CRASH), 1, crash_all},
    {BIT(PARTITION) | BIT(CRASH), 1, cut_and_crash},
    {BIT(PARTITION) | BIT(CRASH), 1, lag_and_crash},
    {BIT(CRASH), 0.7, crash_loop},
    {BIT(PARTITION) | BIT(CRASH), 0.7, hunt},
    {BIT(PARTITION) | BIT(CRASH), 1, forget_vote},
    {BIT(RESTART), 0.3, roll},
    {BIT(CLOG), 0.5, swizzle},
    {BIT(PARTITION), 0.5, flap},
    {BIT(SLOW_DISK) | BIT(CRASH), 0.7, slow_and_crash},
    {BIT(FULL_DISK) | BIT(CRASH), 0.5, full_and_crash},
    {BIT(CLOCK_DRIFT) | BIT(CLOCK_JUMP) | BIT(PARTITION) | BIT(STALLED_PARTITION), 2, alone_in_time},
    {BIT(PARTITION) | BIT(CRASH), 0.7, relay},
    {BIT(PARTITION) | BIT(CRASH), 0.7, take_turns},
    {BIT(PARTITION) | BIT(SLOW_DISK), 1.5, figure_eight},
    {BIT(PARTITION) | BIT(CRASH), 1, election_night},
    {BIT(SYNC_ERROR) | BIT(CRASH), 0.7, fail_and_crash},
    {CHANGES, 1, churn},
    {CHANGES | BIT(WIPE), 1, replace},
    {BIT(ADD) | BIT(PROMOTE), 1, grow},
    {BIT(TRANSFER), 0.7, hand_over},
    {CHANGES | BIT(CRASH) | BIT(PARTITION), 1.5, change_and_fall},
    {CHANGES | BIT(PARTITION), 1.5, duel},
};

static const struct {
  unsigned faults;
  double chance; /* that a plan knows the family at all */
} families[] = {
    {BIT(PARTITION) | BIT(ONE_WAY) | BIT(BRIDGE) | BIT(CLOG) | BIT(STORM) | BIT(CUT_CLIENTS), 0.8},
    {BIT(CRASH) | BIT(PAUSE) | BIT(STALLED_PARTITION) | BIT(RESTART) | BIT(WIPE), 0.85},
    {BIT(FULL_DISK) | BIT(SLOW_DISK) | BIT(SYNC_ERROR) | BIT(ROT), 0.5},
    {BIT(CLOCK_JUMP) | BIT(CLOCK_DRIFT), 0.5},
    {CHANGES, 0.5},
};

/* How often each episode comes in this plan; false: none can. */
static bool draw_weights(struct random *random, unsigned allowed, double weights[]) {
  unsigned known = 0;
  for (size_t i = 0; i < ARRAY_SIZE(families); i++)
    if (random_chance(random, families[i].chance))
      known |= families[i].faults;
  size_t possible = 0, chosen = 0, only = 0;
  for (size_t i = 0; i < ARRAY_SIZE(episodes); i++) {
    const bool taken = random_chance(random, 0.4);
    const double weight = episodes[i].weight * random_exponential(random, 1);
    const bool fits = (episodes[i].uses & ~allowed) == 0;
    weights[i] = fits && taken && (episodes[i].uses & ~known) == 0 ? weight : 0;
    chosen += weights[i] > 0;
    if (fits && random_below(random, ++possible) == 0)
      only = i;
  }
  if (possible > 0 && chosen == 0)
    weights[only] = 1;
  return possible > 0;
}

static size_t choose(struct random *random, const double weights[]) {
  double sum = 0;
  for (size_t i = 0; i < ARRAY_SIZE(episodes); i++)
    sum += weights[i];
  double left = random_unit(random) * sum;
  size_t last = 0;
  for (size_t i = 0; i < ARRAY_SIZE(episodes); i++) {
    if (weights[i] <= 0)
      continue;
    last = i;
    left -= weights[i];
    if (left < 0)
      break;
  }
  assert(weights[last] > 0);
  return last;
}

void plan_draw_schedule(struct plan *plan, struct random *random, unsigned allowed) {
  double weights[ARRAY_SIZE(episodes)];
  struct schedule schedule = {
      .plan = plan, .random = *random, .election_ns = plan->election_timeout_ms * 1e6};
  assert(!plan->faults && plan->fault_count == 0);
  schedule.length = scale(&schedule.random, 0.4, 2.5);
  const double pause_ns = scale(&schedule.random, 0.7e9, 12e9);
  const bool quiet = random_chance(&schedule.random, 0.02);
  if (!draw_weights(&schedule.random, allowed, weights) || quiet)
    return;
  plan->faults = xcalloc(SCHEDULE_MAX, sizeof *plan->faults);
  /* Now and then the first one finds the cluster at its birth. */
  double at = random_chance(&schedule.random, 0.2) ? 0 : schedule.election_ns * 3;
  struct random begins = random_split(&schedule.random);
  for (at += random_exponential(&begins, pause_ns); at < (double)plan->duration_ns;
       at += random_exponential(&begins, pause_ns)) {
    schedule.random = random_split(&begins);
    schedule.times = random_split(&schedule.random);
    schedule.whom = random_split(&schedule.random);
    schedule.coins = random_split(&schedule.random);
    schedule.details = random_split(&schedule.random);
    episodes[choose(&schedule.random, weights)].draw(&schedule, whole_us(at));
  }
  plan_sort_faults(plan);
}
