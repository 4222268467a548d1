/* Every invariant holds for what a sound cluster says, and fails for the one thing that breaks it. */
#include "simulator/invariants.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "master/batch.h"

#define FIRST ((UINT64_C(3) << 32) | 1) /* op ids */
#define SECOND ((UINT64_C(3) << 32) | 2)

static char found[32];
static char said[384];
static struct invariants *invariants;

static void keep(void *context, const char *invariant, const char *text) {
  (void)context;
  if (found[0] != '\0')
    return;
  snprintf(found, sizeof found, "%s", invariant);
  snprintf(said, sizeof said, "%s", text);
}

static void begin(void) {
  found[0] = said[0] = '\0';
  invariants = invariants_new(3, keep, NULL);
}

static void end(void) {
  invariants_free(invariants);
}

TestSuite(invariants, .init = begin, .fini = end);

#define EXPECT(name) cr_assert_str_eq(found, name, "found \"%s\": %s", found, said)

/* An entry of one mkdir: a new inode and the operation's answer. */
static struct bytes entry(uint64_t term, uint64_t op_id, uint64_t inode) {
  struct bytes batch = {0}, value = {0};
  batch_begin(&batch, &(struct batch_header){.term = term});
  inode_encode(&value, &(struct inode_record){.creator = op_id, .version = 1});
  const struct row_key made = inode_key(inode), done = operation_key(op_id);
  batch_append(&batch, &(struct batch_row){.change = ROW_PUT_OPENING,
                                           .table = TABLE_INODES,
                                           .key = {(const char *)made.bytes, made.size},
                                           .value = {(const char *)value.data, value.size}});
  bytes_clear(&value);
  operation_encode(&value, &(struct operation_record){.code = OP_MKDIR, .number = op_id});
  batch_append(&batch, &(struct batch_row){.change = ROW_PUT_FRESH,
                                           .table = TABLE_OPERATIONS,
                                           .key = {(const char *)done.bytes, done.size},
                                           .value = {(const char *)value.data, value.size}});
  bytes_free(&value);
  return batch;
}

static void commit(size_t node, uint64_t index, uint64_t term, uint64_t op_id, uint64_t inode) {
  struct bytes batch = entry(term, op_id, inode);
  invariants_committed(invariants, node, index, term, batch.data, batch.size);
  bytes_free(&batch);
}

Test(invariants, a_sound_cluster_violates_nothing) {
  for (size_t node = 0; node < 3; node++)
    invariants_born(invariants, node, 0);
  invariants_role(invariants, 0, JOURNAL_LEADER, 1, 0);
  for (size_t node = 0; node < 3; node++) {
    commit(node, 1, 1, FIRST, 2);
    invariants_state(invariants, node, 7);
  }
  invariants_answered(invariants, 0, FIRST, 1);
  invariants_answered(invariants, 0, FIRST, 0); /* again, to a retry */
  invariants_read(invariants, 0, 1);
  invariants_role(invariants, 1, JOURNAL_LEADER, 2, 1);
  commit(1, 2, 2, SECOND, 3);
  invariants_durable(invariants, 1, 2);
  invariants_installed(invariants, 2, 2, 2);
  invariants_born(invariants, 1, 2);
  commit(0, 2, 2, SECOND, 3);
  invariants_settled(invariants, 2);
  EXPECT("");
  cr_assert_eq(invariants_highest(invariants), 2);
  cr_assert_eq(invariants_elections(invariants), 2);
}

Test(invariants, two_leaders_in_one_term) {
  invariants_role(invariants, 0, JOURNAL_LEADER, 4, 0);
  invariants_role(invariants, 0, JOURNAL_LEADER, 4, 0);
  EXPECT("");
  invariants_role(invariants, 2, JOURNAL_LEADER, 4, 0);
  EXPECT("election-safety");
}

Test(invariants, a_term_that_goes_back) {
  invariants_role(invariants, 0, JOURNAL_FOLLOWER, 4, 0);
  invariants_role(invariants, 0, JOURNAL_FOLLOWER, 3, 0);
  EXPECT("election-safety");
}

Test(invariants, a_leader_without_what_was_committed_before_its_term) {
  invariants_role(invariants, 0, JOURNAL_LEADER, 1, 0);
  commit(0, 1, 1, FIRST, 2);
  invariants_role(invariants, 1, JOURNAL_LEADER, 2, 0);
  EXPECT("leader-completeness");
}

/* Its votes were on their way while a later term committed. */
Test(invariants, a_late_leader_need_not_hold_what_a_later_term_committed) {
  invariants_role(invariants, 0, JOURNAL_LEADER, 3, 0);
  commit(0, 1, 3, FIRST, 2);
  invariants_role(invariants, 1, JOURNAL_LEADER, 2, 0);
  EXPECT("");
}

Test(invariants, other_content_at_one_index) {
  commit(0, 1, 1, FIRST, 2);
  commit(1, 1, 1, SECOND, 2);
  EXPECT("state-machine-safety");
}

Test(invariants, another_term_at_one_index_of_a_snapshot) {
  commit(0, 1, 2, FIRST, 2);
  invariants_installed(invariants, 1, 1, 1);
  EXPECT("state-machine-safety");
}

Test(invariants, terms_go_back_along_the_log) {
  commit(0, 1, 2, FIRST, 2);
  commit(0, 2, 1, SECOND, 3);
  EXPECT("log-matching");
}

Test(invariants, an_entry_of_another_primary_s_making) {
  struct bytes batch = entry(1, FIRST, 2);
  invariants_committed(invariants, 0, 1, 2, batch.data, batch.size);
  bytes_free(&batch);
  EXPECT("log-matching");
}

Test(invariants, an_index_is_skipped) {
  commit(0, 1, 1, FIRST, 2);
  commit(0, 3, 1, SECOND, 3);
  EXPECT("commit-monotonic");
}

Test(invariants, an_index_comes_twice) {
  commit(0, 1, 1, FIRST, 2);
  commit(0, 1, 1, FIRST, 2);
  EXPECT("commit-monotonic");
}

Test(invariants, durable_goes_back) {
  commit(0, 1, 1, FIRST, 2);
  invariants_durable(invariants, 0, 1);
  invariants_durable(invariants, 0, 0);
  EXPECT("commit-monotonic");
}

Test(invariants, a_crash_takes_what_was_durable) {
  commit(0, 1, 1, FIRST, 2);
  invariants_durable(invariants, 0, 1);
  invariants_born(invariants, 0, 0);
  EXPECT("commit-monotonic");
}

Test(invariants, a_lost_disk_takes_everything) {
  commit(0, 1, 1, FIRST, 2);
  invariants_durable(invariants, 0, 1);
  invariants_wiped(invariants, 0);
  invariants_born(invariants, 0, 0);
  commit(0, 1, 1, FIRST, 2);
  EXPECT("");
}

Test(invariants, an_older_snapshot_is_installed) {
  commit(0, 1, 1, FIRST, 2);
  commit(0, 2, 1, SECOND, 3);
  invariants_installed(invariants, 0, 1, 1);
  EXPECT("commit-monotonic");
}

Test(invariants, other_tables_at_one_index) {
  commit(0, 1, 1, FIRST, 2);
  commit(1, 1, 1, FIRST, 2);
  invariants_state(invariants, 0, 7);
  invariants_state(invariants, 1, 8);
  EXPECT("state-hash");
}

Test(invariants, an_operation_is_done_twice) {
  commit(0, 1, 1, FIRST, 2);
  commit(0, 2, 1, FIRST, 3);
  EXPECT("at-most-once");
}

/* Without a row of its answer, what it made gives it away. */
Test(invariants, an_operation_makes_another_inode) {
  commit(0, 1, 1, FIRST, 2);
  struct bytes batch = {0}, value = {0};
  batch_begin(&batch, &(struct batch_header){.term = 1});
  inode_encode(&value, &(struct inode_record){.creator = FIRST, .version = 1});
  const struct row_key made = inode_key(3);
  batch_append(&batch, &(struct batch_row){.change = ROW_PUT_FRESH,
                                           .table = TABLE_INODES,
                                           .key = {(const char *)made.bytes, made.size},
                                           .value = {(const char *)value.data, value.size}});
  invariants_committed(invariants, 0, 2, 1, batch.data, batch.size);
  bytes_free(&batch);
  bytes_free(&value);
  EXPECT("at-most-once");
}

Test(invariants, an_inode_id_is_given_out_twice) {
  commit(0, 1, 1, FIRST, 2);
  commit(0, 2, 1, SECOND, 2);
  EXPECT("unique-ids");
}

Test(invariants, an_answer_leaves_before_its_commit) {
  commit(0, 1, 1, FIRST, 2);
  invariants_answered(invariants, 0, SECOND, 0);
  EXPECT("answered-committed");
}

Test(invariants, an_answer_names_another_index) {
  commit(0, 1, 1, FIRST, 2);
  invariants_answered(invariants, 0, FIRST, 2);
  EXPECT("answered-committed");
}

Test(invariants, a_read_of_what_is_not_committed) {
  invariants_read(invariants, 0, 1);
  EXPECT("answered-committed");
}

Test(invariants, an_acknowledged_operation_is_lost) {
  commit(0, 1, 1, FIRST, 2);
  invariants_answered(invariants, 0, FIRST, 1);
  invariants_settled(invariants, 0);
  EXPECT("acknowledged-durable");
}
