/* Read indexes that a follower has its leader confirm. That they cover all that was committed before is
 * checked of each (replicas.h), under random schedules by raft_journal_test.c, which asks every node. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "simulator/test/replicas.h"

#define MS INT64_C(1000000)
#define S (1000 * MS)
#define HEARTBEAT (50 * MS) /* the journal's defaults */
#define ELECTION_TIMEOUT (300 * MS)

static struct replicas *all;

static size_t begin(size_t nodes, uint64_t seed) {
  log_open("raft", LOG_LEVEL_ERROR);
  all = replicas_new(&(struct replicas_options){.seed = seed,
                                                .nodes = nodes,
                                                .segment_size = 64 << 10,
                                                .snapshot_threshold = 1000,
                                                .snapshot_trailing = 100});
  const size_t leader = replicas_wait_for_leader(all, 3 * S);
  replicas_run(all, 200 * MS); /* all have heard of it */
  return leader;
}

static void end(void) {
  replicas_settle(all, 30 * S);
  replicas_free(all);
}

static void cut(size_t from, size_t to) {
  sim_link(replicas_world(all), from, to, false);
}

static void commit(size_t leader) {
  const uint64_t before = replicas_highest_committed(all);
  cr_assert_eq(replicas_append(all, leader, 8), 0);
  for (int i = 0; replicas_highest_committed(all) == before; i++) {
    cr_assert_lt(i, 1000, "nothing is committed");
    replicas_run(all, 1 * MS);
  }
}

Test(raft_reads, followers_confirm) {
  for (size_t nodes = 3; nodes <= 5; nodes += 2) {
    const size_t leader = begin(nodes, nodes);
    for (uint64_t i = 0; i < 200; i++) {
      cr_assert_eq(replicas_append(all, leader, 100), 0);
      replicas_confirm(all, (leader + 1 + i % (nodes - 1)) % nodes);
      replicas_run(all, 2 * MS);
    }
    replicas_run(all, 100 * MS);
    cr_assert_eq(replicas_confirmed(all), 200);
    end();
  }
}

Test(raft_reads, many_calls_share_few_messages) {
  enum { CALLS = 1000 };
  const size_t leader = begin(3, 1), follower = (leader + 1) % 3;
  replicas_run(all, 500 * MS);
  const uint64_t before = sim_transitions(replicas_world(all));
  for (int i = 0; i < CALLS; i++)
    replicas_confirm(all, follower);
  replicas_run(all, 40 * MS);
  cr_assert_eq(replicas_confirmed(all), CALLS);
  cr_assert_lt(sim_transitions(replicas_world(all)) - before, 100);
  end();
}

/* No heartbeat is awaited. */
Test(raft_reads, what_is_committed_is_soon_applied) {
  const size_t leader = begin(3, 2), follower = (leader + 1) % 3;
  int64_t waited = 0;
  for (int i = 0; i < 50; i++) {
    replicas_run(all, 300 * MS);
    commit(leader);
    const uint64_t committed = replicas_highest_committed(all);
    replicas_confirm(all, follower);
    for (; replicas_applied(all, follower) < committed; waited += MS)
      replicas_run(all, 1 * MS);
  }
  cr_assert_eq(replicas_confirmed(all), 50);
  cr_assert_lt(waited, 50 * HEARTBEAT / 4, "%lld ms", (long long)(waited / MS));
  end();
}

Test(raft_reads, without_a_leader_nothing_is_confirmed) {
  const size_t leader = begin(3, 3), follower = (leader + 1) % 3;
  replicas_crash(all, leader);
  replicas_crash(all, (leader + 2) % 3);
  replicas_run(all, 3 * S);
  replicas_confirm(all, follower);
  replicas_run(all, 1 * MS);
  cr_assert(replicas_confirmed(all) == 0 && replicas_unconfirmed(all) == 1, "it is told so at once");
  end();
}

Test(raft_reads, a_reply_that_is_lost_is_asked_for_again_and_given_up_in_time) {
  const size_t leader = begin(3, 4), follower = (leader + 1) % 3;
  cut(leader, follower);
  replicas_confirm(all, follower);
  replicas_run(all, HEARTBEAT);
  cr_assert_eq(replicas_confirmed(all) + replicas_unconfirmed(all), 0);
  replicas_heal(all);
  replicas_run(all, 2 * HEARTBEAT);
  cr_assert_eq(replicas_confirmed(all), 1, "the link was up again in time");
  cut(follower, leader);
  replicas_confirm(all, follower);
  replicas_run(all, ELECTION_TIMEOUT + 2 * HEARTBEAT);
  cr_assert(replicas_confirmed(all) == 1 && replicas_unconfirmed(all) == 1);
  end();
}

/* The old leader stands still, cut off with one follower, while the majority elects another and commits more.
 * The follower still believes in it, and asks: what it finds when it goes on, before it notices. */
Test(raft_reads, a_leader_of_a_minority_gives_no_index) {
  size_t tried = 0;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    const size_t leader = begin(5, seed), follower = (leader + 1) % 5;
    commit(leader);
    for (size_t i = 2; i < 5; i++)
      for (size_t j = 0; j < 2; j++) {
        cut((leader + i) % 5, (leader + j) % 5);
        cut((leader + j) % 5, (leader + i) % 5);
      }
    struct journal_status status;
    sim_pause(replicas_world(all), leader, sim_now_ns(replicas_world(all)) + ELECTION_TIMEOUT * 3 / 2);
    do {
      replicas_run(all, 1 * MS);
      if (replicas_leader(all) != (int)leader && replicas_leader(all) >= 0)
        replicas_append(all, (size_t)replicas_leader(all), 8);
      status = replicas_status(all, follower);
      if (replicas_highest_committed(all) > replicas_status(all, leader).commit_index &&
          replicas_status(all, leader).role == JOURNAL_LEADER && status.leader == leader + 1) {
        replicas_confirm(all, follower);
        tried++;
      }
    } while (status.leader == leader + 1);
    replicas_run(all, 1 * S);
    end();
  }
  cr_assert_gt(tried, 0, "no seed came to the moment");
}

Test(raft_reads, a_change_of_leader_ends_the_calls) {
  const size_t leader = begin(3, 5), follower = (leader + 1) % 3;
  cut(follower, leader);
  replicas_crash(all, leader);
  replicas_confirm(all, follower);
  replicas_wait_for_leader(all, 5 * S);
  replicas_run(all, 500 * MS);
  cr_assert(replicas_confirmed(all) == 0 && replicas_unconfirmed(all) == 1);
  end();
}

static void changed(void *context, int status, const struct error *error) {
  cr_assert_eq(status, 0, "%s", error ? error->message : "");
  *(bool *)context = true;
}

/* A standby's term is no answer to a round: it is no part of any majority. */
Test(raft_reads, a_standby_confirms_too) {
  const size_t leader = begin(3, 6), standby = (leader + 1) % 3;
  struct journal *journal = replicas_journal(all, leader);
  const struct journal_change change = {.kind = CHANGE_DEMOTE, .id = standby + 1};
  struct error error;
  bool demoted = false;
  cr_assert_eq(journal->functions->change(journal, &change, changed, &demoted, &error), 0);
  for (int i = 0; !demoted && i < 100; i++)
    replicas_run(all, 10 * MS);
  cr_assert(demoted);
  replicas_run(all, 200 * MS);
  replicas_confirm(all, standby);
  replicas_run(all, 100 * MS);
  cr_assert_eq(replicas_confirmed(all), 1);
  const size_t other = (leader + 2) % 3;
  cut(leader, other);
  cut(other, leader);
  replicas_confirm(all, standby);
  replicas_run(all, 2 * S);
  cr_assert(replicas_confirmed(all) == 1 && replicas_unconfirmed(all) == 1, "the other voter was not asked");
  end();
}
