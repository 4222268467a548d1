/* What a primary hears of workers and tells of them. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "fake_cluster.h"

static struct fake_cluster *cluster;

struct got {
  bool answered, registered;
  enum answer_status status;
  uint64_t version, block;
  uint32_t first_client;
  int64_t lease_ns;
  size_t gone_count, worker_count, place_count;
  uint64_t gone[REPORT_LIMIT];
  struct answer_worker worker; /* the first */
  char address[64];
};

static void answered(void *context, const struct answer *answer) {
  struct got *got = context;
  cr_assert(!got->answered);
  *got = (struct got){.answered = true,
                      .registered = answer->registered,
                      .status = answer->status,
                      .version = answer->version,
                      .block = answer->block,
                      .first_client = answer->first_client,
                      .lease_ns = answer->lease_ns,
                      .gone_count = answer->gone_count,
                      .worker_count = answer->worker_count,
                      .place_count = answer->place_count};
  for (size_t i = 0; i < answer->gone_count; i++)
    got->gone[i] = answer->gone[i];
  if (answer->worker_count > 0) {
    got->worker = answer->workers[0];
    snprintf(got->address, sizeof got->address, "%.*s", (int)answer->workers[0].address.size,
             answer->workers[0].address.data);
  }
}

static struct slice text(const char *string) {
  return (struct slice){string, strlen(string)};
}

static void submit(size_t node, struct request request, struct got *got) {
  static uint32_t sequence;
  *got = (struct got){0};
  if (!op_is_read(request.code) && request.code != OP_REGISTER_WORKER && request.code != OP_RESERVE_CLIENTS)
    request.retry_floor = request.op_id = UINT64_C(77) << 32 | ++sequence;
  primary_submit(cluster->nodes[node].primary, &request, answered, got);
  memset(&request, 0xee, sizeof request);
}

static struct got ask(size_t node, struct request request) {
  struct got got;
  submit(node, request, &got);
  fake_quiesce(cluster);
  cr_assert(got.answered);
  return got;
}
#define ASK(node, operation, ...) ask(node, (struct request){.code = operation, __VA_ARGS__})

static void lead(size_t node) {
  fake_lead(cluster, node, 0, false);
  fake_quiesce(cluster);
  cr_assert_eq(primary_status(cluster->nodes[node].primary).role, ROLE_PRIMARY);
}

static void begin(void) {
  cluster = fake_cluster_new(NULL, 0, 0);
  lead(0);
}

static void end(void) {
  fake_cluster_free(cluster);
}

static uint64_t number(size_t node) {
  const struct got got = ASK(node, OP_RESERVE_CLIENTS, .count = 1);
  cr_assert_eq(got.status, STATUS_OK);
  return got.first_client;
}

static struct got introduce(size_t node, uint64_t worker, uint64_t nonce) {
  return ASK(node, OP_REGISTER_WORKER, .worker = worker, .nonce = nonce, .capacity = 1000,
             .address = text("127.0.0.1:9"));
}

static uint64_t add_block(size_t node, const char *path) {
  const struct got got = ASK(node, OP_ADD_BLOCK, .path = text(path));
  cr_assert_eq(got.status, STATUS_OK);
  return got.block;
}

static struct got report(size_t node, uint64_t worker, uint64_t epoch, const uint64_t *held, size_t count) {
  return ASK(node, OP_WORKER_REPORT, .worker = worker, .epoch = epoch, .held = held, .held_count = count,
             .free_bytes = 5, .stored_bytes = 6);
}

TestSuite(primary_workers, .init = begin, .fini = end);

Test(primary_workers, a_repeated_registration_makes_no_second) {
  const uint64_t worker = number(0);
  struct got got = introduce(0, worker, 11);
  cr_assert_eq(got.status, STATUS_OK);
  cr_assert_eq(got.version, 1);
  cr_assert_eq(got.lease_ns, WORKER_LEASE_DEFAULT_NS);
  cr_assert_eq(introduce(0, worker, 11).version, 1);
  cr_assert_eq(introduce(0, worker, 12).version, 2, "another run of it");
  got = ASK(0, OP_WORKERS);
  cr_assert_eq(got.worker_count, 1);
  cr_assert_eq(got.worker.id, worker);
  cr_assert_str_eq(got.address, "127.0.0.1:9");
  cr_assert(got.worker.live);
  cr_assert_eq(got.worker.capacity, 1000);
}

Test(primary_workers, a_number_that_nobody_was_given_is_refused) {
  cr_assert_eq(introduce(0, 0, 11).status, STATUS_INVALID);
  cr_assert_eq(introduce(0, 999, 11).status, STATUS_INVALID);
  cr_assert_eq(ASK(0, OP_REGISTER_WORKER, .worker = number(0), .nonce = 1).status, STATUS_INVALID);
}

Test(primary_workers, a_report_names_what_does_not_exist) {
  const uint64_t worker = number(0);
  cr_assert_eq(introduce(0, worker, 11).version, 1);
  ASK(0, OP_CREATE, .path = text("/d/f"), .parents = true);
  ASK(0, OP_CREATE, .path = text("/g"));
  const uint64_t blocks[] = {add_block(0, "/d/f"), 424242, add_block(0, "/g"), add_block(0, "/d/f")};
  struct got got = report(0, worker, 1, blocks, 4);
  cr_assert_eq(got.status, STATUS_OK);
  cr_assert(got.registered);
  cr_assert_eq(got.gone_count, 1);
  cr_assert_eq(got.gone[0], 424242);
  got = ASK(0, OP_LOCATE, .path = text("/d/f"));
  cr_assert_eq(got.place_count, 2);
  cr_assert_eq(got.worker_count, 1);
  cr_assert_str_eq(got.address, "127.0.0.1:9");
  /* What hangs below a directory that was deleted is gone, reclaimed or not. */
  struct got deleted;
  submit(0, (struct request){.code = OP_DELETE, .path = text("/d"), .recursive = true}, &deleted);
  fake_quiesce(cluster);
  cr_assert_eq(deleted.status, STATUS_OK);
  got = report(0, worker, 1, blocks, 4);
  cr_assert_eq(got.gone_count, 3);
  cr_assert(got.gone[0] == blocks[0] && got.gone[1] == 424242 && got.gone[2] == blocks[3]);
  cr_assert_eq(primary_worker_statistics(cluster->nodes[0].primary).places, 1);
}

Test(primary_workers, a_committed_block_is_found_at_once) {
  const uint64_t worker = number(0);
  introduce(0, worker, 11);
  ASK(0, OP_CREATE, .path = text("/f"));
  const uint64_t block = add_block(0, "/f");
  cr_assert_eq(ASK(0, OP_LOCATE, .path = text("/f")).place_count, 0);
  cr_assert_eq(ASK(0, OP_COMMIT_BLOCK, .block = block, .length = 3, .worker = worker).status, STATUS_OK);
  cr_assert_eq(ASK(0, OP_LOCATE, .path = text("/f")).place_count, 1);
}

Test(primary_workers, a_new_primary_wants_it_registered_and_knows_nothing) {
  const uint64_t worker = number(0);
  introduce(0, worker, 11);
  ASK(0, OP_CREATE, .path = text("/f"));
  const uint64_t blocks[] = {add_block(0, "/f"), 5};
  report(0, worker, 1, blocks, 2);
  lead(1);
  cr_assert_eq(primary_worker_statistics(cluster->nodes[0].primary).places, 0, "dropped with the role");
  struct got got = ASK(1, OP_WORKERS);
  cr_assert_eq(got.worker_count, 1);
  cr_assert(!got.worker.live);
  cr_assert_eq(got.worker.heard_ns, -1);
  cr_assert_eq(ASK(1, OP_LOCATE, .path = text("/f")).place_count, 0);
  got = report(1, worker, 1, blocks, 2);
  cr_assert(!got.registered);
  cr_assert_eq(got.gone_count, 1, "what is gone is gone whoever asks");
  cr_assert_eq(introduce(1, worker, 11).version, 1, "the same run of it: nothing was journalled anew");
  cr_assert(report(1, worker, 1, blocks, 2).registered);
  cr_assert_eq(ASK(1, OP_LOCATE, .path = text("/f")).place_count, 1);
}

Test(primary_workers, who_is_silent_is_not_told_of) {
  const uint64_t worker = number(0);
  introduce(0, worker, 11);
  ASK(0, OP_CREATE, .path = text("/f"));
  const uint64_t block = add_block(0, "/f");
  report(0, worker, 1, &block, 1);
  cluster->now_ns += WORKER_LEASE_DEFAULT_NS + NS_PER_S;
  cr_assert_eq(ASK(0, OP_LOCATE, .path = text("/f")).place_count, 0);
  cr_assert_eq(primary_worker_statistics(cluster->nodes[0].primary).lost, 1);
  cr_assert(report(0, worker, 1, NULL, 0).registered);
  cr_assert_eq(ASK(0, OP_LOCATE, .path = text("/f")).place_count, 1);
}

/* The primary that is none any more, and has not heard of it, must not answer: a block may have come since.
 */
Test(primary_workers, a_deposed_primary_answers_no_report) {
  const uint64_t worker = number(0);
  introduce(0, worker, 11);
  ASK(0, OP_CREATE, .path = text("/f"));
  fake_lead(cluster, 1, cluster->count, true);
  struct got added, reported;
  submit(1, (struct request){.code = OP_ADD_BLOCK, .path = text("/f")}, &added);
  for (int i = 0; i < 100; i++) {
    fake_run(&cluster->nodes[1]);
    cluster->commit = cluster->count;
    fake_deliver(&cluster->nodes[1]);
  }
  cr_assert(added.answered && added.status == STATUS_OK);
  cr_assert(cluster->nodes[0].unaware);
  submit(0,
         (struct request){
             .code = OP_WORKER_REPORT, .worker = worker, .epoch = 1, .held = &added.block, .held_count = 1},
         &reported);
  for (int i = 0; i < 10; i++)
    fake_run(&cluster->nodes[0]);
  cr_assert(!reported.answered);
  fake_quiesce(cluster);
  cr_assert(reported.answered);
  cr_assert(reported.status != STATUS_OK || reported.gone_count == 0);
}

Test(primary_workers, too_long_a_report_is_invalid) {
  uint64_t blocks[REPORT_LIMIT + 1];
  for (size_t i = 0; i <= REPORT_LIMIT; i++)
    blocks[i] = i + 1;
  cr_assert_eq(report(0, 1, 1, blocks, REPORT_LIMIT + 1).status, STATUS_INVALID);
  struct got got = report(0, 1, 1, blocks, REPORT_LIMIT);
  cr_assert_eq(got.status, STATUS_OK);
  cr_assert_eq(got.gone_count, REPORT_LIMIT);
}

/* Nothing is in memory beyond the moment: every block of the report is fetched. */
Test(primary_workers, a_cold_report_is_whole) {
  end();
  cluster = fake_cluster_new(NULL, 1, 1);
  lead(0);
  const uint64_t worker = number(0);
  introduce(0, worker, 11);
  uint64_t blocks[60];
  size_t gone = 0;
  for (size_t i = 0; i < 60; i++) {
    char path[32];
    snprintf(path, sizeof path, "/d%zu/f%zu", i / 20, i % 20);
    ASK(0, OP_CREATE, .path = text(path), .parents = true);
    blocks[i] = add_block(0, path);
    if (i % 3 == 0) {
      ASK(0, OP_DELETE, .path = text(path));
      gone++;
    }
  }
  const struct got got = report(0, worker, 1, blocks, 60);
  cr_assert_eq(got.status, STATUS_OK);
  cr_assert_eq(got.gone_count, gone);
  for (size_t i = 0; i < gone; i++)
    cr_assert_eq(got.gone[i], blocks[3 * i]);
  cr_assert_eq(ASK(0, OP_WORKERS).worker_count, 1);
}
