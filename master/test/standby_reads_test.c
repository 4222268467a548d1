/* Reads that a standby answers: what must be there before it does, and what becomes of those it cannot
 * answer. That the answers are right is held against the oracle in primary_test.c. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "fake_cluster.h"

static struct fake_cluster *cluster;

struct got {
  bool answered;
  enum answer_status status;
  uint64_t commit, term, leader;
};

static void begin(void) {
  cluster = fake_cluster_new(NULL, 0, 0);
}

static void end(void) {
  fake_cluster_free(cluster);
}

static void answered(void *context, const struct answer *answer) {
  struct got *got = context;
  cr_assert(!got->answered, "answered twice");
  *got = (struct got){true, answer->status, answer->commit, answer->term, answer->leader};
}

static struct slice text(const char *string) {
  return (struct slice){string, strlen(string)};
}

static void submit(size_t node, struct request request, struct got *got) {
  *got = (struct got){0};
  primary_submit(cluster->nodes[node].primary, &request, answered, got);
  cr_assert(!got->answered, "a callback from inside the call");
}

static void create(size_t node, const char *path, uint32_t client, struct got *got) {
  submit(node,
         (struct request){
             .code = OP_CREATE, .path = text(path), .op_id = (uint64_t)client << 32 | 1, .any = true},
         got);
}

static void look(size_t node, const char *path, struct got *got) {
  submit(node, (struct request){.code = OP_STAT, .path = text(path), .any = true}, got);
}

static void lead(size_t node) {
  fake_lead(cluster, node, 0, false);
  fake_quiesce(cluster);
}

/* Committed, and applied where it leads, but not at the others. */
static void have_at_leader_only(const char *path, uint32_t client) {
  struct got got;
  create(0, path, client, &got);
  fake_settle(cluster);
  cluster->commit = cluster->count;
  while (fake_deliver(&cluster->nodes[0]))
    fake_settle(cluster);
  cr_assert_eq(got.status, STATUS_OK);
}

static void confirm(size_t node) {
  fake_settle(cluster);
  fake_confirm(&cluster->nodes[node]);
  fake_settle(cluster);
}

TestSuite(standby_reads, .init = begin, .fini = end);

Test(standby_reads, only_what_allows_it_is_answered) {
  struct got any, bound, change, workers;
  lead(0);
  look(1, "/", &any);
  submit(1, (struct request){.code = OP_STAT, .path = text("/")}, &bound);
  create(1, "/f", 1, &change);
  submit(1, (struct request){.code = OP_WORKERS, .any = true}, &workers);
  fake_settle(cluster);
  cr_assert(workers.answered && workers.status == STATUS_NOT_PRIMARY, "of workers a standby knows nothing");
  cr_assert(!any.answered, "not before the leader has confirmed");
  cr_assert(bound.answered && change.answered);
  cr_assert(bound.status == STATUS_NOT_PRIMARY && change.status == STATUS_NOT_PRIMARY);
  confirm(1);
  cr_assert(any.answered && any.status == STATUS_OK);
  cr_assert_eq(any.commit, cluster->nodes[1].applied);
  cr_assert_eq(primary_statistics(cluster->nodes[1].primary)->standby_reads, 1);
  cr_assert_eq(primary_statistics(cluster->nodes[0].primary)->standby_reads, 0);
}

Test(standby_reads, wait_until_the_read_index_is_applied) {
  struct got read;
  lead(0);
  have_at_leader_only("/f", 1);
  look(1, "/f", &read);
  confirm(1);
  cr_assert(!read.answered, "what it has is older than what was acknowledged");
  while (fake_deliver(&cluster->nodes[1]))
    fake_settle(cluster);
  cr_assert(read.answered && read.status == STATUS_OK);
  cr_assert_geq(read.commit, cluster->commit);
}

Test(standby_reads, are_refused_where_nobody_confirms) {
  struct got read;
  look(1, "/", &read);
  confirm(1);
  cr_assert(read.answered && read.status == STATUS_NOT_PRIMARY, "nobody leads");
  lead(0);
  look(1, "/", &read);
  fake_settle(cluster);
  fake_lead(cluster, 2, 0, false);
  confirm(1);
  cr_assert(read.answered && read.status == STATUS_NOT_PRIMARY, "another one leads by now");
}

Test(standby_reads, those_that_come_later_need_a_round_of_their_own) {
  struct got early, late;
  lead(0);
  look(1, "/f", &early);
  fake_settle(cluster);
  have_at_leader_only("/f", 1);
  look(1, "/f", &late);
  fake_settle(cluster);
  cr_assert_eq(cluster->nodes[1].confirm_count, 2);
  fake_quiesce(cluster);
  cr_assert_eq(late.status, STATUS_OK);
  cr_assert(early.status == STATUS_OK || early.status == STATUS_NOT_FOUND);
}

Test(standby_reads, a_snapshot_brings_what_they_wait_for) {
  struct got read;
  lead(0);
  have_at_leader_only("/f", 1);
  look(1, "/f", &read);
  confirm(1);
  cr_assert(!read.answered);
  fake_transfer(&cluster->nodes[0], &cluster->nodes[1], SNAPSHOT_CHUNK);
  cr_assert_eq(cluster->nodes[1].applied, cluster->commit);
  fake_settle(cluster);
  cr_assert(read.answered && read.status == STATUS_OK);
}

Test(standby_reads, cold_rows_are_fetched) {
  struct got read;
  fake_cluster_free(cluster);
  cluster = fake_cluster_new(NULL, 1, 1);
  lead(0);
  have_at_leader_only("/f", 1);
  fake_quiesce(cluster);
  fake_crash(&cluster->nodes[1]);
  look(1, "/f", &read);
  fake_settle(cluster);
  cr_assert(!read.answered);
  fake_quiesce(cluster);
  cr_assert(read.answered && read.status == STATUS_OK);
  cr_assert_gt(primary_tables_statistics(cluster->nodes[1].primary).misses, 0);
}

Test(standby_reads, outlive_the_change_to_primary) {
  struct got confirmed, asked;
  lead(0);
  have_at_leader_only("/f", 1);
  look(1, "/f", &confirmed);
  confirm(1);
  look(1, "/f", &asked);
  fake_settle(cluster);
  fake_lead(cluster, 1, 0, false);
  cr_assert(!confirmed.answered);
  fake_quiesce(cluster);
  cr_assert(confirmed.answered && confirmed.status == STATUS_OK, "it was confirmed, and is applied now");
  cr_assert(asked.answered && asked.status == STATUS_NOT_PRIMARY, "whom it asked leads no longer");
}

Test(standby_reads, an_end_answers_everything) {
  struct got waiting, unconfirmed;
  lead(0);
  have_at_leader_only("/f", 1);
  look(1, "/f", &waiting);
  confirm(1);
  look(1, "/", &unconfirmed);
  fake_crash(&cluster->nodes[1]);
  cr_assert(waiting.answered && waiting.status == STATUS_UNAVAILABLE);
  cr_assert(unconfirmed.answered && unconfirmed.status == STATUS_UNAVAILABLE);
}
