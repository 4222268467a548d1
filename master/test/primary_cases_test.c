/* Single situations of the primary; random ones are in primary_test.c. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "fake_cluster.h"

static struct fake_cluster *cluster;

struct got {
  bool answered;
  enum answer_status status;
  uint64_t creator, commit, leader;
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
  *got = (struct got){true, answer->status, answer->creator, answer->commit, answer->leader};
}

static struct slice text(const char *string) {
  return (struct slice){string, strlen(string)};
}

static uint64_t op(uint32_t client, uint32_t sequence) {
  return (uint64_t)client << 32 | sequence;
}

static void submit(size_t node, struct request request, struct got *got) {
  *got = (struct got){0};
  request.retry_floor = request.op_id;
  primary_submit(cluster->nodes[node].primary, &request, answered, got);
  cr_assert(!got->answered, "a callback from inside the call");
}

static void create(size_t node, const char *path, uint64_t op_id, struct got *got) {
  submit(node, (struct request){.code = OP_CREATE, .path = text(path), .op_id = op_id}, got);
}

static void exists(size_t node, const char *path, struct got *got) {
  submit(node, (struct request){.code = OP_STAT, .path = text(path)}, got);
}

static void lead(size_t node) {
  fake_lead(cluster, node, 0, false);
  fake_quiesce(cluster);
  cr_assert_eq(primary_status(cluster->nodes[node].primary).role, ROLE_PRIMARY);
}

TestSuite(primary_cases, .init = begin, .fini = end);

Test(primary_cases, standby_refuses) {
  struct got got;
  create(0, "/f", op(1, 1), &got);
  fake_settle(cluster);
  cr_assert(got.answered);
  cr_assert_eq(got.status, STATUS_NOT_PRIMARY);
}

Test(primary_cases, requests_wait_while_it_catches_up) {
  struct got write, read;
  fake_lead(cluster, 1, 0, false);
  cr_assert_eq(primary_status(cluster->nodes[1].primary).role, ROLE_CATCHING_UP);
  create(1, "/f", op(1, 1), &write);
  exists(1, "/f", &read);
  fake_settle(cluster);
  cr_assert(!write.answered && !read.answered);
  fake_quiesce(cluster);
  cr_assert_eq(write.status, STATUS_OK);
  cr_assert_eq(write.leader, 2);
  cr_assert(read.answered);
}

Test(primary_cases, nothing_uncommitted_is_visible) {
  struct got first, second, read;
  lead(0);
  create(0, "/f", op(1, 1), &first);
  fake_settle(cluster);
  create(0, "/f", op(2, 1), &second); /* fails against the uncommitted first */
  exists(0, "/f", &read);
  fake_settle(cluster);
  fake_confirm(&cluster->nodes[0]);
  fake_settle(cluster);
  cr_assert(!first.answered && !second.answered);
  cr_assert(read.answered);
  cr_assert_eq(read.status, STATUS_NOT_FOUND);
  fake_quiesce(cluster);
  cr_assert_eq(first.status, STATUS_OK);
  cr_assert_eq(second.status, STATUS_EXISTS);
  cr_assert_geq(second.commit, first.commit);
}

Test(primary_cases, repeat_in_flight_takes_effect_once) {
  struct got first, again, later;
  lead(0);
  create(0, "/f", op(1, 1), &first);
  fake_settle(cluster);
  create(0, "/f", op(1, 1), &again);
  fake_settle(cluster);
  cr_assert(!first.answered && !again.answered);
  fake_quiesce(cluster);
  create(0, "/f", op(1, 1), &later);
  fake_quiesce(cluster);
  cr_assert(first.status == STATUS_OK && again.status == STATUS_OK && later.status == STATUS_OK);
  cr_assert_eq(again.creator, op(1, 1));
  cr_assert_eq(later.creator, op(1, 1));
  cr_assert_eq(primary_status(cluster->nodes[0].primary).inodes, 2);
}

Test(primary_cases, lost_leadership_leaves_in_flight_unknown) {
  struct got sent, waiting, read;
  lead(0);
  create(0, "/f", op(1, 1), &sent);
  fake_settle(cluster);
  create(0, "/g", op(1, 2), &waiting);
  exists(0, "/f", &read);
  fake_depose(cluster);
  fake_settle(cluster);
  cr_assert_eq(sent.status, STATUS_UNAVAILABLE);
  cr_assert_eq(waiting.status, STATUS_NOT_PRIMARY);
  cr_assert_eq(read.status, STATUS_NOT_PRIMARY);
  cr_assert_eq(primary_status(cluster->nodes[0].primary).role, ROLE_STANDBY);
}

Test(primary_cases, full_disk_refuses_and_recovers) {
  struct got got;
  lead(0);
  cluster->nodes[0].append_status = ERR_NO_SPACE;
  create(0, "/f", op(1, 1), &got);
  fake_settle(cluster);
  cr_assert(got.answered);
  cr_assert_eq(got.status, STATUS_OVERLOADED);
  exists(0, "/f", &got);
  fake_quiesce(cluster);
  cr_assert_eq(got.status, STATUS_NOT_FOUND);
  cluster->nodes[0].append_status = 0;
  create(0, "/f", op(1, 1), &got);
  fake_quiesce(cluster);
  cr_assert_eq(got.status, STATUS_OK);
  cr_assert_eq(primary_status(cluster->nodes[0].primary).inodes, 2);
}

Test(primary_cases, a_queue_that_stands_still_takes_no_more) {
  struct got first, waits, old_enough, refused, later, read;
  lead(0);
  create(0, "/f", op(1, 1), &first);
  fake_settle(cluster);
  cluster->nodes[0].append_status = ERR_OVERLOADED;
  create(0, "/g", op(1, 2), &waits);
  fake_settle(cluster);
  create(0, "/h", op(1, 3), &old_enough); /* behind a batch that is sealed: in the queue */
  fake_settle(cluster);
  cluster->now_ns += NS_PER_S;
  create(0, "/i", op(1, 4), &later);
  fake_settle(cluster);
  cr_assert(!later.answered, "a second is not too long yet");
  cluster->now_ns += NS_PER_S / 2;
  create(0, "/j", op(1, 5), &refused);
  exists(0, "/f", &read);
  fake_settle(cluster);
  cr_assert(refused.answered);
  cr_assert_eq(refused.status, STATUS_OVERLOADED);
  cr_assert(!read.answered, "reads do not wait for mutations");
  cluster->nodes[0].append_status = 0;
  fake_quiesce(cluster);
  cr_assert_eq(waits.status, STATUS_OK);
  cr_assert_eq(old_enough.status, STATUS_OK);
  cr_assert_eq(later.status, STATUS_OK);
  cr_assert_eq(read.status, STATUS_OK);
  create(0, "/j", op(1, 5), &refused);
  fake_quiesce(cluster);
  cr_assert_eq(refused.status, STATUS_OK);
}

Test(primary_cases, refused_batch_waits_for_those_in_flight) {
  struct got first, second;
  lead(0);
  create(0, "/f", op(1, 1), &first);
  fake_settle(cluster);
  cluster->nodes[0].append_status = ERR_OVERLOADED;
  create(0, "/g", op(1, 2), &second);
  fake_settle(cluster);
  cr_assert(!second.answered);
  cluster->nodes[0].append_status = 0;
  fake_quiesce(cluster);
  cr_assert_eq(first.status, STATUS_OK);
  cr_assert_eq(second.status, STATUS_OK);
}

Test(primary_cases, one_batch_a_turn_and_few_in_flight) {
  enum { COUNT = 200 };
  struct got got[COUNT], more[20];
  char path[16];
  lead(0);
  /* Clients and names that were never heard of would have to be looked for in the store first. */
  for (uint32_t i = 0; i < COUNT; i++) {
    snprintf(path, sizeof path, "/before-%u", i);
    create(0, path, op(i + 1, 1), &got[i]);
  }
  fake_quiesce(cluster);
  submit(0, (struct request){.code = OP_LIST, .path = text("/")}, &more[0]);
  fake_quiesce(cluster);
  const size_t before = cluster->count;
  for (uint32_t i = 0; i < COUNT; i++) {
    snprintf(path, sizeof path, "/%u", i);
    create(0, path, op(i + 1, 2), &got[i]);
  }
  fake_settle(cluster);
  cr_assert_eq(cluster->count, before + 1);
  for (uint32_t i = 0; i < 20; i++) {
    create(0, "/0", op(i + 1, 3), &more[i]);
    fake_settle(cluster);
  }
  cr_assert_leq(cluster->count, before + 8);
  fake_quiesce(cluster);
  for (uint32_t i = 0; i < COUNT; i++)
    cr_assert_eq(got[i].status, STATUS_OK);
  for (uint32_t i = 0; i < 20; i++)
    cr_assert_eq(more[i].status, STATUS_EXISTS);
}

Test(primary_cases, freeing_answers_everything) {
  struct got got;
  lead(0);
  create(0, "/f", op(1, 1), &got);
  fake_crash(&cluster->nodes[0]);
  cr_assert(got.answered);
  cr_assert_eq(got.status, STATUS_UNAVAILABLE);
}

Test(primary_cases, read_of_one_round_does_not_serve_a_later_one) {
  struct got early, late;
  lead(0);
  exists(0, "/", &early);
  fake_settle(cluster);
  cr_assert_eq(cluster->nodes[0].confirm_count, 1);
  exists(0, "/", &late);
  fake_settle(cluster);
  cr_assert_eq(cluster->nodes[0].confirm_count, 2, "the later read needs a round of its own");
  fake_quiesce(cluster);
  cr_assert(early.answered && late.answered);
}

/* -- a store that does not get on -- */

static struct held_write {
  struct row_store *store;
  const struct store_row **rows;
  size_t count;
  store_write_done *done;
  void *context;
} held;

static void hold_write(struct row_store *store, const struct store_row **rows, size_t count,
                       store_write_done *done, void *context) {
  cr_assert_null(held.rows, "one write at a time");
  held = (struct held_write){store, rows, count, done, context};
}

Test(primary_cases, writing_that_lags_is_told_early) {
  enum { FILES = 60, LIMIT = 65536 / 16 };
  static struct got got[FILES + LIMIT + 200];
  static char value[1 << 20];
  char path[16];
  lead(0);
  struct fake_node *node = &cluster->nodes[0];
  for (uint32_t i = 0; i < FILES; i++) {
    snprintf(path, sizeof path, "/%u", i);
    create(0, path, op(i + 1, 1), &got[i]);
  }
  fake_quiesce(cluster);
  node->delayed.functions.write = hold_write;
  for (uint32_t i = 0; i < FILES; i++) {
    snprintf(path, sizeof path, "/%u", i);
    submit(0,
           (struct request){
               .code = OP_SET, .path = text(path), .value = {value, sizeof value}, .op_id = op(i + 1, 2)},
           &got[i]);
  }
  fake_quiesce(cluster);
  cr_assert(!got[FILES - 1].answered, "no new work is taken on while writing lags");
  size_t refused = 0;
  for (uint32_t i = 0; i < LIMIT + 200; i++) {
    create(0, "/more", op(FILES + i + 1, 1), &got[FILES + i]);
    fake_run(node);
    refused += got[FILES + i].answered && got[FILES + i].status == STATUS_OVERLOADED;
  }
  cr_assert(refused >= 200 && refused < LIMIT, "%zu", refused);
  node->delayed.functions.write = node->delayed.own->write;
  node->delayed.own->write(held.store, held.rows, held.count, held.done, held.context);
  fake_quiesce(cluster);
  for (size_t i = 0; i < FILES; i++)
    cr_assert_eq(got[i].status, STATUS_OK);
  for (size_t i = 0; i < LIMIT + 200; i++)
    cr_assert(got[FILES + i].answered);
}

/* -- a store that fails -- */

static int failing_get(struct row_store *store, enum table table, const void *key, size_t key_size,
                       struct bytes *value, struct error *error) {
  (void)store;
  (void)table;
  (void)key;
  (void)key_size;
  (void)value;
  return error_set(error, ERR_IO, "the disk is gone");
}

static void note_fatal(void *context, const struct error *error) {
  cr_assert_eq(error->code, ERR_IO);
  *(bool *)context = true;
}

Test(primary_cases, store_that_fails_is_fatal_and_answers_nothing) {
  struct got got;
  bool fatal = false;
  lead(0);
  struct fake_node *node = &cluster->nodes[0];
  primary_on_fatal(node->primary, note_fatal, &fatal);
  node->delayed.functions.get = failing_get;
  create(0, "/never-seen", op(1, 1), &got);
  fake_quiesce(cluster);
  cr_assert(fatal);
  cr_assert(!got.answered);
  cr_assert_eq(primary_status(node->primary).role, ROLE_STEPPING_DOWN);
  node->delayed.functions.get = node->delayed.own->get;
  fake_crash(node);
  cr_assert_eq(got.status, STATUS_UNAVAILABLE);
}
