/* The named defects, each in the shortest situation that shows it on primaries over one log: there when it is
 * switched on, and not there when it is off or not in the build. Those of the log and of consensus need disks
 * and elections: the simulator shows them. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "fake_cluster.h"
#include "master/bugs.h"
#include "master/client/conclude.h"

static struct fake_cluster *cluster;

/* Of requests that a situation leaves unanswered it is read when the cluster goes: those are static. */
struct got {
  bool answered;
  enum answer_status status;
  uint64_t creator, children;
  char first[16]; /* the first name of a listing */
};

static void answered(void *context, const struct answer *answer) {
  struct got *got = context;
  *got = (struct got){true, answer->status, answer->creator, answer->child_count, ""};
  if (answer->entry_count > 0)
    snprintf(got->first, sizeof got->first, "%.*s", (int)answer->entries[0].name.size,
             answer->entries[0].name.data);
}

static struct slice text(const char *string) {
  return (struct slice){string, strlen(string)};
}

/* Every operation is of a client of its own. */
static uint64_t op(uint32_t client) {
  return (uint64_t)client << 32 | 1;
}

static void submit(size_t node, struct request request, struct got *got) {
  *got = (struct got){0};
  request.retry_floor = request.op_id;
  primary_submit(cluster->nodes[node].primary, &request, answered, got);
}

static void mutate(size_t node, enum operation_code code, const char *path, uint32_t client,
                   struct got *got) {
  submit(node, (struct request){.code = code, .path = text(path), .op_id = op(client), .recursive = true},
         got);
}

static void rename_to(size_t node, const char *path, const char *destination, uint32_t client,
                      struct got *got) {
  submit(node,
         (struct request){
             .code = OP_RENAME, .path = text(path), .destination = text(destination), .op_id = op(client)},
         got);
}

static void read_of(size_t node, enum operation_code code, const char *path, struct got *got) {
  submit(node, (struct request){.code = code, .path = text(path)}, got);
}

/* Done and committed everywhere. */
static void have(size_t node, enum operation_code code, const char *path, uint32_t client) {
  struct got got;
  mutate(node, code, path, client, &got);
  fake_quiesce(cluster);
  cr_assert_eq(got.status, STATUS_OK);
}

static struct got look(size_t node, enum operation_code code, const char *path) {
  struct got got;
  read_of(node, code, path, &got);
  fake_quiesce(cluster);
  cr_assert(got.answered);
  return got;
}

static void lead(size_t node) {
  fake_lead(cluster, node, 0, false);
  fake_quiesce(cluster);
}

/* The next entry, and no more, is committed and reaches the node. */
static void commit_one(size_t node) {
  cluster->commit++;
  cr_assert(fake_deliver(&cluster->nodes[node]));
  fake_settle(cluster);
}

/* A situation is true when the defect shows. */
static bool shows(bool (*situation)(void), size_t write_size) {
  cluster = fake_cluster_new(NULL, 0, write_size);
  lead(0);
  const bool shown = situation();
  fake_cluster_free(cluster);
  return shown;
}

static void check(const char *name, bool (*situation)(void), size_t write_size) {
  cr_assert_not(shows(situation, write_size), "%s shows without being there", name);
#ifdef ASSAY_BUGS
  cr_assert(bug_enable(name));
  const bool shown = shows(situation, write_size);
  bug_disable_all();
  cr_assert(shown, "%s does not show", name);
  cr_assert_not(shows(situation, write_size), "%s cannot be switched off", name);
#endif
}

/* -- reads -- */

static bool read_of_unaware_primary(void) {
  static struct got read;
  fake_lead(cluster, 1, 0, true);
  read_of(0, OP_STAT, "/", &read);
  fake_settle(cluster);
  return read.answered && read.status == STATUS_OK;
}

Test(bugs, local_reads) {
  check("local-reads", read_of_unaware_primary, 0);
}

static bool read_of_uncommitted_file(void) {
  static struct got write, read;
  mutate(0, OP_CREATE, "/f", 1, &write);
  fake_settle(cluster);
  read_of(0, OP_STAT, "/f", &read);
  fake_settle(cluster);
  return read.answered && read.status == STATUS_OK;
}

Test(bugs, dirty_reads) {
  check("dirty-reads", read_of_uncommitted_file, 0);
}

static bool read_of_deposed_primary(void) {
  static struct got read;
  fake_depose(cluster);
  fake_settle(cluster);
  read_of(0, OP_STAT, "/", &read);
  fake_settle(cluster);
  return read.status == STATUS_OK;
}

Test(bugs, step_down_late) {
  check("step-down-late", read_of_deposed_primary, 0);
}

static int64_t slow_wall_ns(void *context) {
  (void)context;
  return NS_PER_S; /* set back again and again */
}

static bool read_under_an_old_lease(void) {
  cluster->nodes[0].world.wall_ns = slow_wall_ns;
  look(0, OP_STAT, "/");
  cluster->now_ns += 3600 * NS_PER_S;
  return read_of_unaware_primary();
}

static bool read_under_no_lease(void) {
  look(0, OP_STAT, "/");
  cluster->now_ns += 3600 * NS_PER_S;
  return read_of_unaware_primary();
}

Test(bugs, lease_clock) {
  check("lease-clock", read_under_an_old_lease, 0);
#ifdef ASSAY_BUGS
  cr_assert(bug_enable("lease-clock"));
  cr_assert_not(shows(read_under_no_lease, 0), "the lease outlasts a clock that goes on");
  bug_disable_all();
#else
  cr_assert_not(shows(read_under_no_lease, 0));
#endif
}

static bool read_of_standby(void) {
  static struct got read;
  submit(1, (struct request){.code = OP_STAT, .path = text("/"), .any = true}, &read);
  fake_settle(cluster);
  return read.answered && read.status == STATUS_OK;
}

Test(bugs, follower_local_reads) {
  check("follower-local-reads", read_of_standby, 0);
}

static bool read_of_standby_that_lags(void) {
  static struct got made, read;
  mutate(0, OP_CREATE, "/f", 1, &made);
  fake_settle(cluster);
  cluster->commit = cluster->count;
  while (fake_deliver(&cluster->nodes[0]))
    fake_settle(cluster);
  submit(1, (struct request){.code = OP_STAT, .path = text("/f"), .any = true}, &read);
  fake_settle(cluster);
  fake_confirm(&cluster->nodes[1]);
  fake_settle(cluster);
  return made.status == STATUS_OK && read.answered && read.status == STATUS_NOT_FOUND;
}

Test(bugs, read_unapplied) {
  check("read-unapplied", read_of_standby_that_lags, 0);
}

static bool list_after_rename(void) {
  static struct got renamed;
  have(0, OP_MKDIR, "/d", 1);
  have(0, OP_CREATE, "/d/a", 2);
  look(0, OP_LIST, "/d");
  rename_to(0, "/d/a", "/d/b", 3, &renamed);
  fake_quiesce(cluster);
  return strcmp(look(0, OP_LIST, "/d").first, "a") == 0;
}

Test(bugs, listing_cache) {
  check("listing-cache", list_after_rename, 0);
}

static bool lost_file_is_in_the_way(void) {
  static struct got lost, again;
  mutate(0, OP_CREATE, "/f", 1, &lost);
  fake_settle(cluster);
  lead(1);
  lead(0);
  mutate(0, OP_CREATE, "/f", 2, &again);
  fake_quiesce(cluster);
  return again.status == STATUS_EXISTS;
}

Test(bugs, reset_cache) {
  check("reset-cache", lost_file_is_in_the_way, 0);
}

/* -- operations -- */

static bool retry_after_failover_is_new(void) {
  static struct got again;
  have(0, OP_CREATE, "/f", 1);
  mutate(0, OP_CREATE, "/f", 1, &again);
  fake_quiesce(cluster);
  cr_assert_eq(again.status, STATUS_OK, "the same primary remembers");
  lead(1);
  mutate(1, OP_CREATE, "/f", 1, &again);
  fake_quiesce(cluster);
  return again.status == STATUS_EXISTS;
}

Test(bugs, retry_twice) {
  check("retry-twice", retry_after_failover_is_new, 0);
}

static bool retry_after_restore_is_new(void) {
  static struct got again;
  have(0, OP_CREATE, "/f", 1);
  lead(1);
  mutate(1, OP_CREATE, "/f", 1, &again);
  fake_quiesce(cluster);
  cr_assert_eq(again.status, STATUS_OK, "replicas remember");
  fake_crash(&cluster->nodes[0]);
  lead(0);
  mutate(0, OP_CREATE, "/f", 1, &again);
  fake_quiesce(cluster);
  return again.status == STATUS_EXISTS;
}

Test(bugs, dedupe_not_in_snapshot) {
  check("dedupe-not-in-snapshot", retry_after_restore_is_new, 1);
}

static bool rename_is_torn(void) {
  static struct got renamed;
  have(0, OP_MKDIR, "/a", 1);
  have(0, OP_MKDIR, "/b", 2);
  have(0, OP_CREATE, "/a/f", 3);
  rename_to(0, "/a/f", "/b/f", 4, &renamed);
  fake_settle(cluster);
  commit_one(0);
  lead(1);
  return look(1, OP_STAT, "/a/f").status == STATUS_NOT_FOUND &&
         look(1, OP_STAT, "/b/f").status == STATUS_NOT_FOUND;
}

static bool batch_is_torn(void) {
  static struct got batched;
  const struct request items[] = {{.code = OP_CREATE, .path = text("/a")},
                                  {.code = OP_CREATE, .path = text("/b")}};
  submit(0, (struct request){.code = OP_BATCH, .op_id = op(1), .items = items, .item_count = 2}, &batched);
  fake_settle(cluster);
  commit_one(0);
  lead(1);
  return look(1, OP_STAT, "/a").status == STATUS_OK && look(1, OP_STAT, "/b").status == STATUS_NOT_FOUND;
}

Test(bugs, partial_batch) {
  check("partial-batch", rename_is_torn, 0);
  check("partial-batch", batch_is_torn, 0);
}

static bool rename_takes_a_new_file_away(void) {
  static struct got other, renamed, created;
  /* Now all clients and names are in memory, and what follows is done in its order. */
  submit(0, (struct request){.code = OP_RESERVE_CLIENTS, .count = 4}, &other);
  fake_quiesce(cluster);
  have(0, OP_CREATE, "/a", 1);
  look(0, OP_LIST, "/");
  look(0, OP_MOUNTS, "/");
  mutate(0, OP_CREATE, "/other", 2, &other);
  fake_settle(cluster);
  rename_to(0, "/a", "/b", 3, &renamed);
  mutate(0, OP_CREATE, "/a", 4, &created);
  fake_quiesce(cluster);
  cr_assert(renamed.status == STATUS_OK && created.status == STATUS_OK);
  return look(0, OP_STAT, "/a").status == STATUS_NOT_FOUND;
}

Test(bugs, rename_early_free) {
  check("rename-early-free", rename_takes_a_new_file_away, 0);
}

static bool both_create_one_name(void) {
  static struct got first, second;
  mutate(0, OP_CREATE, "/f", 1, &first);
  fake_settle(cluster);
  mutate(0, OP_CREATE, "/f", 2, &second);
  fake_quiesce(cluster);
  return first.status == STATUS_OK && second.status == STATUS_OK;
}

Test(bugs, no_parent_lock) {
  check("no-parent-lock", both_create_one_name, 0);
}

static bool tree_is_half_deleted(void) {
  static struct got deleted;
  char path[8];
  have(0, OP_MKDIR, "/d", 1);
  for (uint32_t i = 0; i < 5; i++) {
    snprintf(path, sizeof path, "/d/%u", i);
    have(0, OP_CREATE, path, 2 + i);
  }
  mutate(0, OP_DELETE, "/d", 20, &deleted);
  fake_settle(cluster);
  commit_one(0);
  lead(1);
  const struct got left = look(1, OP_STAT, "/d");
  return left.status == STATUS_OK && left.children < 5;
}

static bool tree_goes_in_the_end(void) {
  static struct got deleted;
  have(0, OP_MKDIR, "/d", 1);
  have(0, OP_MKDIR, "/d/e", 2);
  have(0, OP_CREATE, "/d/e/f", 3);
  have(0, OP_CREATE, "/d/g", 4);
  mutate(0, OP_DELETE, "/d", 5, &deleted);
  fake_quiesce(cluster);
  return deleted.status != STATUS_OK || look(0, OP_STAT, "/d").status != STATUS_NOT_FOUND;
}

Test(bugs, delete_not_atomic) {
  check("delete-not-atomic", tree_is_half_deleted, 0);
#ifdef ASSAY_BUGS
  cr_assert(bug_enable("delete-not-atomic"));
  cr_assert_not(shows(tree_goes_in_the_end, 0));
  bug_disable_all();
#else
  cr_assert_not(shows(tree_goes_in_the_end, 0));
#endif
}

static bool directories_hold_each_other(void) {
  static struct got first, second;
  have(0, OP_MKDIR, "/a", 1);
  have(0, OP_MKDIR, "/b", 2);
  rename_to(0, "/a", "/b/a", 3, &first);
  fake_settle(cluster);
  rename_to(0, "/b", "/a/b", 4, &second);
  fake_quiesce(cluster);
  return first.status == STATUS_OK && second.status == STATUS_OK;
}

Test(bugs, rename_cycle) {
  check("rename-cycle", directories_hold_each_other, 0);
}

static bool two_directories_are_one(void) {
  have(0, OP_MKDIR, "/a", 1);
  lead(1);
  have(1, OP_MKDIR, "/b", 2);
  return look(1, OP_STAT, "/a").creator == op(2);
}

Test(bugs, id_reuse) {
  check("id-reuse", two_directories_are_one, 0);
}

/* -- journal and snapshots -- */

static bool answer_before_commit(void) {
  static struct got got;
  mutate(0, OP_CREATE, "/f", 1, &got);
  fake_settle(cluster);
  return got.answered;
}

Test(bugs, early_ack) {
  check("early-ack", answer_before_commit, 0);
}

static bool replicas_differ(void) {
  fake_quiesce(cluster);
  return primary_state_hash(cluster->nodes[0].primary) != primary_state_hash(cluster->nodes[1].primary);
}

static bool replicas_differ_after_a_rush(void) {
  static struct got got[4];
  char path[8];
  for (uint32_t i = 0; i < 4; i++) {
    snprintf(path, sizeof path, "/%u", i);
    mutate(0, OP_CREATE, path, 1 + i, &got[i]);
    fake_settle(cluster);
  }
  return replicas_differ();
}

Test(bugs, entry_reorder) {
  check("entry-reorder", replicas_differ_after_a_rush, 0);
}

static bool receiver_differs(void) {
  static struct got got;
  mutate(0, OP_CREATE, "/f", 1, &got);
  fake_settle(cluster);
  commit_one(0);
  fake_transfer(&cluster->nodes[0], &cluster->nodes[1], 1000);
  return replicas_differ();
}

Test(bugs, snapshot_ahead) {
  check("snapshot-ahead", receiver_differs, 0);
}

static bool replicas_differ_after_step_down(void) {
  have(0, OP_CREATE, "/f", 1);
  cr_assert_not(replicas_differ());
  lead(1);
  return replicas_differ();
}

Test(bugs, snapshot_back) {
  check("snapshot-back", replicas_differ_after_step_down, 0);
}

/* -- the client library -- */

static bool lost_request_is_a_failure(void) {
  struct attempts attempts = attempts_none();
  attempt_lost(&attempts, MASTER_ERROR_TIMEOUT);
  return conclude_unanswered(&attempts).outcome != MASTER_INFO;
}

Test(bugs, info_as_fail) {
  check("info-as-fail", lost_request_is_a_failure, 0);
}

/* -- the catalogue -- */

#ifdef ASSAY_BUGS
Test(bugs, catalogue_is_whole) {
  size_t built = 0;
  for (const struct bug_description *bug = bug_list(); bug->name; bug++) {
    cr_assert(bug->summary && bug->origin && bug->evidence, "%s", bug->name);
    cr_assert_eq(bug_enable(bug->name), !bug->waits_for, "%s", bug->name);
    if (!bug->waits_for)
      cr_assert(bug_active((enum bug)built++), "%s stands in another place", bug->name);
  }
  cr_assert_eq(built, BUGS);
  bug_disable_all();
  cr_assert(!bug_any_active());
  cr_assert(!bug_enable("no-such-bug"));
}
#endif
