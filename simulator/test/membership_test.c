/* Changes of membership and of leadership in a modelled world; see replicas.h for what must hold. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "simulator/test/replicas.h"

#define MS INT64_C(1000000)
#define S (1000 * MS)

static const struct replicas_options plain = {.seed = 1,
                                              .nodes = 5,
                                              .members = 3,
                                              .segment_size = 64 << 10,
                                              .snapshot_threshold = 1000,
                                              .snapshot_trailing = 100,
                                              .bulk = 1000};

static void quiet(void) {
  log_open("raft", getenv("ASSAY_SEED") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
}

struct outcome {
  bool ended;
  int status;
  char message[600];
};

static void changed(void *context, int status, const struct error *error) {
  struct outcome *outcome = context;
  cr_assert_not(outcome->ended, "it ends once");
  outcome->ended = true;
  outcome->status = status;
  snprintf(outcome->message, sizeof outcome->message, "%s", error->message);
}

/* Asks a node and waits; the refusal, or how it ended. */
static int ask(struct replicas *all, size_t node, enum journal_change_kind kind, uint64_t id) {
  struct journal *journal = replicas_journal(all, node);
  char address[24];
  snprintf(address, sizeof address, "%llu", (unsigned long long)id);
  const struct journal_change change = {
      .kind = kind, .id = id, .address = kind == CHANGE_ADD ? address : NULL};
  struct outcome outcome = {0};
  struct error error;
  const int status = journal->functions->change(journal, &change, changed, &outcome, &error);
  if (status != 0)
    return status;
  cr_assert_not(outcome.ended, "it ends later, from the loop");
  for (int i = 0; i < 2000 && !outcome.ended; i++)
    replicas_run(all, 10 * MS);
  cr_assert(outcome.ended);
  return outcome.status;
}

static int hand_over(struct replicas *all, size_t node, uint64_t id) {
  struct journal *journal = replicas_journal(all, node);
  struct outcome outcome = {0};
  struct error error;
  const int status = journal->functions->transfer(journal, id, changed, &outcome, &error);
  if (status != 0)
    return status;
  for (int i = 0; i < 2000 && !outcome.ended; i++)
    replicas_run(all, 1 * MS);
  cr_assert(outcome.ended);
  return outcome.status;
}

static struct journal_membership membership_of(struct replicas *all, size_t node) {
  struct journal_membership membership;
  const struct journal *journal = replicas_journal(all, node);
  journal->functions->membership(journal, &membership);
  return membership;
}

static const struct journal_member *member_of(const struct journal_membership *membership, uint64_t id) {
  for (size_t i = 0; i < membership->count; i++)
    if (membership->members[i].id == id)
      return &membership->members[i];
  return NULL;
}

static void append_some(struct replicas *all, size_t leader, int count) {
  for (int i = 0; i < count; i++) {
    replicas_append(all, leader, 100);
    replicas_run(all, 2 * MS);
  }
}

static size_t any_follower(size_t leader, size_t members) {
  return (leader + 1) % members;
}

Test(membership, a_node_joins_catches_up_and_votes) {
  quiet();
  struct replicas *all = replicas_new(&plain);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  append_some(all, leader, 50);
  cr_assert_eq(membership_of(all, 3).count, 0, "it knows nobody");
  cr_assert_eq(ask(all, leader, CHANGE_ADD, 4), 0);
  struct journal_membership now = membership_of(all, leader);
  cr_assert_eq(now.count, 4);
  cr_assert(now.committed);
  cr_assert_eq(member_of(&now, 4)->role, MEMBER_STANDBY);
  cr_assert_eq(ask(all, leader, CHANGE_PROMOTE, 4), 0);
  now = membership_of(all, leader);
  cr_assert_eq(member_of(&now, 4)->role, MEMBER_VOTER);
  replicas_settle(all, 3 * S);
  cr_assert(replicas_votes(all, 3), "it learns of it from its own log");
  cr_assert_eq(replicas_applied(all, 3), replicas_applied(all, leader));
  replicas_free(all);
}

Test(membership, what_makes_no_sense_is_refused) {
  quiet();
  struct replicas *all = replicas_new(&plain);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  append_some(all, leader, 5);
  const uint64_t id = leader + 1;
  cr_assert_eq(ask(all, any_follower(leader, 3), CHANGE_ADD, 4), ERR_NOT_PRIMARY);
  cr_assert_eq(ask(all, leader, CHANGE_ADD, 2), ERR_BAD_INPUT);
  cr_assert_eq(ask(all, leader, CHANGE_PROMOTE, 2), ERR_BAD_INPUT);
  cr_assert_eq(ask(all, leader, CHANGE_PROMOTE, 9), ERR_BAD_INPUT);
  cr_assert_eq(ask(all, leader, CHANGE_REMOVE, 9), ERR_BAD_INPUT);
  cr_assert_eq(ask(all, leader, CHANGE_DEMOTE, 9), ERR_BAD_INPUT);
  cr_assert_eq(hand_over(all, leader, id), ERR_BAD_INPUT);
  cr_assert_eq(hand_over(all, leader, 4), ERR_BAD_INPUT);
  cr_assert_eq(membership_of(all, leader).count, 3);
  replicas_free(all);
}

Test(membership, shrinks_to_one_and_grows_again) {
  quiet();
  struct replicas *all = replicas_new(&plain);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  append_some(all, leader, 5);
  for (uint64_t id = 1; id <= 3; id++)
    if (id != leader + 1)
      cr_assert_eq(ask(all, leader, CHANGE_REMOVE, id), 0);
  cr_assert_eq(ask(all, leader, CHANGE_REMOVE, leader + 1), ERR_BAD_INPUT);
  cr_assert_eq(ask(all, leader, CHANGE_DEMOTE, leader + 1), ERR_BAD_INPUT);
  append_some(all, leader, 5);
  const uint64_t term = replicas_status(all, leader).term;
  replicas_crash(all, leader);
  replicas_start(all, leader);
  cr_assert_eq(replicas_wait_for_leader(all, 3 * S), leader);
  cr_assert_gt(replicas_status(all, leader).term, term, "a single voter begins a term when it starts");
  append_some(all, leader, 5);
  cr_assert_eq(ask(all, leader, CHANGE_ADD, 4), 0);
  cr_assert_eq(ask(all, leader, CHANGE_PROMOTE, 4), 0);
  replicas_settle(all, 3 * S);
  replicas_free(all);
}

/* The second node's vote is needed before it knows that it has one. */
Test(membership, a_single_voter_that_falls_while_it_makes_a_second_one_comes_back) {
  quiet();
  for (uint64_t seed = 1; seed <= 20; seed++) {
    struct replicas_options options = plain;
    options.seed = seed;
    options.members = 1;
    struct replicas *all = replicas_new(&options);
    replicas_wait_for_leader(all, 3 * S);
    append_some(all, 0, 5);
    cr_assert_eq(ask(all, 0, CHANGE_ADD, 2), 0);
    replicas_run(all, 500 * MS);
    sim_link(replicas_world(all), 0, 1, false);
    const struct journal_change change = {.kind = CHANGE_PROMOTE, .id = 2};
    struct outcome outcome = {0};
    struct error error;
    struct journal *journal = replicas_journal(all, 0);
    cr_assert_eq(journal->functions->change(journal, &change, changed, &outcome, &error), 0);
    replicas_run(all, 5 * MS * (int64_t)(seed % 4));
    replicas_crash(all, 0);
    cr_assert(outcome.ended && outcome.status != 0);
    replicas_settle(all, 10 * S);
    replicas_free(all);
  }
}

Test(membership, a_node_that_is_removed_is_told_and_stays_quiet) {
  quiet();
  struct replicas *all = replicas_new(&plain);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  const size_t removed = any_follower(leader, 3);
  append_some(all, leader, 5);
  const uint64_t term = replicas_status(all, leader).term;
  cr_assert_eq(ask(all, leader, CHANGE_REMOVE, removed + 1), 0);
  append_some(all, leader, 20);
  cr_assert_not(replicas_votes(all, removed));
  replicas_run(all, 10 * S);
  cr_assert_eq(replicas_status(all, leader).term, term, "nobody stood for election");
  cr_assert_eq(ask(all, leader, CHANGE_ADD, removed + 1), 0, "it may come back, with the log it has");
  cr_assert_eq(ask(all, leader, CHANGE_PROMOTE, removed + 1), 0);
  replicas_settle(all, 3 * S);
  replicas_free(all);
}

Test(membership, a_leader_hands_over_before_it_goes) {
  quiet();
  struct replicas *all = replicas_new(&plain);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  append_some(all, leader, 5);
  cr_assert_eq(ask(all, leader, CHANGE_REMOVE, leader + 1), ERR_BAD_INPUT);
  cr_assert_eq(ask(all, leader, CHANGE_DEMOTE, leader + 1), ERR_BAD_INPUT);
  cr_assert_eq(hand_over(all, leader, 0), 0);
  const size_t next = replicas_wait_for_leader(all, 3 * S);
  append_some(all, next, 5);
  cr_assert_eq(ask(all, next, CHANGE_REMOVE, leader + 1), 0);
  replicas_settle(all, 3 * S);
  cr_assert_lt(replicas_applied(all, leader), replicas_applied(all, next));
  replicas_free(all);
}

Test(membership, leadership_is_handed_over_within_a_moment) {
  quiet();
  struct replicas *all = replicas_new(&plain);
  size_t leader = replicas_wait_for_leader(all, 3 * S);
  for (int i = 0; i < 20; i++) {
    append_some(all, leader, 3);
    const uint64_t to = any_follower(leader, 3) + 1;
    const int64_t before_ns = sim_now_ns(replicas_world(all));
    cr_assert_eq(hand_over(all, leader, i % 2 ? to : 0), 0);
    cr_assert_lt(sim_now_ns(replicas_world(all)) - before_ns, 30 * MS);
    const size_t next = replicas_wait_for_leader(all, 1 * S);
    cr_assert(next != leader && (i % 2 == 0 || next + 1 == to));
    leader = next;
  }
  replicas_settle(all, 3 * S);
  replicas_free(all);
}

/* The other node acknowledges the first of them when the last are not with it yet. */
Test(membership, leadership_is_handed_over_with_entries_on_their_way) {
  quiet();
  for (uint64_t seed = 1; seed <= 20; seed++) {
    struct replicas_options options = plain;
    options.seed = seed;
    struct replicas *all = replicas_new(&options);
    const size_t leader = replicas_wait_for_leader(all, 3 * S);
    append_some(all, leader, 3);
    for (int i = 0; i < 20; i++) {
      replicas_append(all, leader, 100);
      replicas_run(all, 100 * 1000);
    }
    cr_assert_eq(hand_over(all, leader, 0), 0);
    replicas_settle(all, 3 * S);
    replicas_free(all);
  }
}

Test(membership, a_transfer_to_a_node_that_is_gone_ends_and_the_leader_goes_on) {
  quiet();
  struct replicas *all = replicas_new(&plain);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  const size_t gone = any_follower(leader, 3);
  append_some(all, leader, 3);
  replicas_crash(all, gone);
  replicas_append(all, leader, 10);
  replicas_run(all, 20 * MS);
  cr_assert_eq(hand_over(all, leader, gone + 1), ERR_TIMEOUT);
  cr_assert_eq(replicas_append(all, leader, 10), 0);
  replicas_settle(all, 3 * S);
  replicas_free(all);
}

Test(membership, a_member_that_cannot_catch_up_stays_standby) {
  quiet();
  struct replicas *all = replicas_new(&plain);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  append_some(all, leader, 3);
  cr_assert_eq(ask(all, leader, CHANGE_ADD, 4), 0);
  replicas_crash(all, 3);
  append_some(all, leader, 100);
  cr_assert_eq(ask(all, leader, CHANGE_PROMOTE, 4), ERR_TIMEOUT);
  replicas_settle(all, 3 * S);
  cr_assert_eq(ask(all, leader, CHANGE_PROMOTE, 4), 0);
  replicas_free(all);
}

/* What was cut off the log is no membership any more, neither in raft nor after a restart. */
Test(membership, goes_back_with_a_log_that_is_cut) {
  quiet();
  for (int restart = 0; restart < 2; restart++) {
    struct replicas *all = replicas_new(&plain);
    const size_t old = replicas_wait_for_leader(all, 3 * S);
    append_some(all, old, 5);
    for (size_t i = 0; i < 5; i++) {
      sim_link(replicas_world(all), old, i, false);
      sim_link(replicas_world(all), i, old, false);
    }
    const struct journal_change change = {.kind = CHANGE_REMOVE, .id = any_follower(old, 3) + 1};
    struct outcome outcome = {0};
    struct error error;
    struct journal *journal = replicas_journal(all, old);
    cr_assert_eq(journal->functions->change(journal, &change, changed, &outcome, &error), 0);
    replicas_run(all, 100 * MS);
    cr_assert_eq(membership_of(all, old).count, 2, "the latest in the log counts");
    cr_assert_not(membership_of(all, old).committed);
    replicas_run(all, 3 * S);
    cr_assert_eq(outcome.status, ERR_UNAVAILABLE);
    const size_t next = (size_t)replicas_leader(all);
    cr_assert_neq(next, old);
    append_some(all, next, 5);
    if (restart) {
      replicas_crash(all, old);
      replicas_start(all, old);
      replicas_run(all, 100 * MS);
      cr_assert_eq(membership_of(all, old).count, 2);
    }
    replicas_settle(all, 3 * S);
    cr_assert_eq(membership_of(all, old).count, 3);
    replicas_free(all);
  }
}

/* Nobody who was asked knows what the log holds: the entries are gone. */
Test(membership, a_node_joins_by_snapshot) {
  quiet();
  struct replicas_options options = plain;
  options.segment_size = 4096;
  options.snapshot_threshold = 20;
  options.snapshot_trailing = 5;
  options.bulk = 3 * SNAPSHOT_CHUNK + 77;
  struct replicas *all = replicas_new(&options);
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  append_some(all, leader, 200);
  replicas_make_durable(all, leader);
  append_some(all, leader, 50);
  cr_assert_gt(replicas_status(all, leader).first_index, 2);
  cr_assert_eq(ask(all, leader, CHANGE_ADD, 4), 0);
  cr_assert_eq(ask(all, leader, CHANGE_PROMOTE, 4), 0);
  replicas_settle(all, 5 * S);
  cr_assert_gt(replicas_installed(all), 0);
  replicas_crash(all, 3);
  replicas_start(all, 3);
  replicas_settle(all, 5 * S);
  cr_assert_eq(membership_of(all, 3).count, 4, "it is remembered");
  replicas_free(all);
}
