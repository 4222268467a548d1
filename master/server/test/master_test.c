/* The whole program: real processes, a real disk, real connections on loopback. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/base.h"
#include "master/client/client.h"
#include "master/server/test/nodes.h"

static uv_loop_t loop;
static struct master_client *client;
static size_t node_count;
static uint32_t client_number, sequence;

static void start(size_t count) {
  node_count = count;
  nodes_make(count);
  for (size_t node = 0; node < count; node++)
    nodes_start(node);
  uv_loop_init(&loop);
}

static void open_client(void) {
  struct error error;
  const struct master_client_options options = {.addresses = nodes_addresses(),
                                                .address_count = node_count,
                                                .request_timeout_ns = 20 * NS_PER_S,
                                                .retry = true};
  cr_assert_eq(master_client_open(&loop, &options, &client, &error), 0, "%s", error.message);
}

static void close_client(void) {
  master_client_close(client, NULL, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
}

static void finish(void) {
  close_client();
  cr_assert_eq(uv_loop_close(&loop), 0);
  nodes_unmake();
}

/* ---- asking ---- */

struct reply {
  bool came;
  struct master_answer answer;
  char value[64], names[256]; /* of a list: "a/ b c/", directories with a slash */
};

static struct {
  size_t count;
  struct master_block blocks[4];
  uint64_t numbers[4];
} parts; /* of the answer to blocks or batch that came last */

static void keep_parts(const struct master_answer *answer) {
  parts.count = answer->block_entry_count + answer->number_count;
  cr_assert_leq(parts.count, ARRAY_SIZE(parts.blocks));
  for (size_t i = 0; i < answer->block_entry_count; i++)
    parts.blocks[i] = answer->blocks[i];
  for (size_t i = 0; i < answer->number_count; i++)
    parts.numbers[i] = answer->numbers[i];
}

static void keep(void *context, const struct master_answer *answer) {
  struct reply *reply = context;
  keep_parts(answer);
  reply->came = true;
  reply->answer = *answer;
  snprintf(reply->value, sizeof reply->value, "%s", answer->value);
  size_t size = 0;
  for (size_t i = 0; i < answer->entry_count; i++)
    size += (size_t)snprintf(reply->names + size, sizeof reply->names - size, "%s%s%s", i ? " " : "",
                             answer->entries[i].name, answer->entries[i].is_file ? "" : "/");
}

static void keep_first(void *context, uint32_t first, const struct master_answer *answer) {
  keep(context, answer);
  client_number = first;
}

static void await(const struct reply *reply) {
  while (!reply->came)
    uv_run(&loop, UV_RUN_ONCE);
}

static void reserve(void) {
  struct reply reply = {0};
  master_client_reserve(client, 1, keep_first, &reply);
  await(&reply);
  cr_assert(reply.answer.outcome == MASTER_OK && client_number > 0, "%s: see %s",
            master_error_name(reply.answer.error), nodes_directory());
  sequence = 0;
}

static struct reply ask_as(uint64_t op_id, struct master_request request) {
  struct reply reply = {0};
  request.op_id = op_id;
  master_client_submit(client, &request, keep, &reply);
  await(&reply);
  return reply;
}

static uint64_t next_op_id(void) {
  return (uint64_t)client_number << 32 | ++sequence;
}

static struct reply ask(struct master_request request) {
  return ask_as(next_op_id(), request);
}

#define ASK(...) ask((struct master_request){__VA_ARGS__})
#define ASK_AS(op_id, ...) ask_as(op_id, (struct master_request){__VA_ARGS__})

static void assert_ok(struct reply reply) {
  cr_assert_eq(reply.answer.outcome, MASTER_OK, "%s", master_error_name(reply.answer.error));
}

static void assert_fails(struct reply reply, enum master_error error) {
  cr_assert_eq(reply.answer.outcome, MASTER_FAIL, "outcome %d", (int)reply.answer.outcome);
  cr_assert_eq(reply.answer.error, error, "%s", master_error_name(reply.answer.error));
}

struct status_reply {
  bool came;
  struct node_status status;
};

static void keep_status(void *context, const struct node_status *status) {
  struct status_reply *reply = context;
  reply->came = true;
  reply->status = *status;
}

static struct node_status ask_status(size_t node, bool with_hash) {
  struct status_reply reply = {0};
  master_client_status(client, node, with_hash, keep_status, &reply);
  while (!reply.came)
    uv_run(&loop, UV_RUN_ONCE);
  return reply.status;
}

static size_t find_primary(void) {
  for (;;)
    for (size_t node = 0; node < node_count; node++)
      if (ask_status(node, false).role == NODE_PRIMARY)
        return node;
}

/* ---- tests ---- */

Test(master, blocks_and_batches_over_the_wire_and_a_restart) {
  start(1);
  open_client();
  reserve();
  assert_ok(ASK(.operation = MASTER_CREATE, .path = "/f"));
  const struct reply added = ASK(.operation = MASTER_ADD_BLOCK, .path = "/f");
  assert_ok(added);
  cr_assert_eq(added.answer.block, (uint64_t)client_number << 32 | 2);
  assert_ok(ASK(.operation = MASTER_ADD_BLOCK, .path = "/f"));
  assert_fails(ASK(.operation = MASTER_COMPLETE, .path = "/f"), MASTER_ERROR_BLOCK_UNCOMMITTED);
  assert_ok(ASK(.operation = MASTER_COMMIT_BLOCK, .block = added.answer.block, .length = 7, .worker = 3));
  assert_fails(ASK(.operation = MASTER_COMMIT_BLOCK, .block = 99, .length = 7), MASTER_ERROR_NOT_FOUND);
  const struct master_request items[] = {
      {.operation = MASTER_MKDIR, .path = "/d"},
      {.operation = MASTER_RENAME, .path = "/f", .destination = "/d/f"},
      {.operation = MASTER_SET, .path = "/d/f", .value = "moved"},
      {.operation = MASTER_CREATE, .path = "/d/f"},
  };
  const struct reply failed = ASK(.operation = MASTER_BATCH, .items = items, .item_count = 4);
  assert_fails(failed, MASTER_ERROR_EXISTS);
  cr_assert_eq(failed.answer.at, 3);
  assert_fails(ASK(.operation = MASTER_STAT, .path = "/d"), MASTER_ERROR_NOT_FOUND);
  const struct reply done = ASK(.operation = MASTER_BATCH, .items = items, .item_count = 3);
  assert_ok(done);
  cr_assert_eq(parts.count, 3);
  cr_assert(parts.numbers[0] >> 32 == client_number && parts.numbers[1] == 0 && parts.numbers[2] == 5);
  nodes_stop(0);
  nodes_start(0);
  assert_ok(ASK(.operation = MASTER_BLOCKS, .path = "/d/f"));
  cr_assert_eq(parts.count, 2);
  cr_assert(parts.blocks[0].block == added.answer.block && parts.blocks[0].committed);
  cr_assert(parts.blocks[0].length == 7 && !parts.blocks[1].committed);
  const struct reply stat = ASK(.operation = MASTER_STAT, .path = "/d/f");
  assert_ok(stat);
  cr_assert_eq(stat.answer.block_count, 2);
  finish();
}

Test(master, one_node_serves_every_operation_and_keeps_them_over_a_restart) {
  start(1);
  open_client();
  reserve();
  assert_ok(ASK(.operation = MASTER_MKDIR, .path = "/a/b", .parents = true));
  const struct reply created = ASK(.operation = MASTER_CREATE, .path = "/a/f");
  assert_ok(created);
  cr_assert_eq(created.answer.creator, (uint64_t)client_number << 32 | 2);
  cr_assert_eq(created.answer.node, 1);
  assert_fails(ASK(.operation = MASTER_CREATE, .path = "/a/f"), MASTER_ERROR_EXISTS);
  assert_fails(ASK(.operation = MASTER_CREATE, .path = "nowhere"), MASTER_ERROR_INVALID);
  assert_ok(ASK(.operation = MASTER_SET, .path = "/a/f", .value = "v1"));
  const struct reply mismatch =
      ASK(.operation = MASTER_SET, .path = "/a/f", .value = "v2", .has_if_version = true, .if_version = 9);
  assert_fails(mismatch, MASTER_ERROR_VERSION_MISMATCH);
  cr_assert_eq(mismatch.answer.version, 2);
  assert_ok(ASK(.operation = MASTER_COMPLETE, .path = "/a/f", .length = 5));
  assert_ok(ASK(.operation = MASTER_CREATE, .path = "/a/g"));
  assert_ok(ASK(.operation = MASTER_RENAME, .path = "/a/g", .destination = "/a/b/h"));
  assert_fails(ASK(.operation = MASTER_DELETE, .path = "/a"), MASTER_ERROR_NOT_EMPTY);
  assert_ok(ASK(.operation = MASTER_DELETE, .path = "/a/b", .recursive = true));
  cr_assert_eq(WEXITSTATUS(nodes_stop(0)), 0, "SIGTERM ends it cleanly");
  nodes_start(0);
  const struct reply stat = ASK(.operation = MASTER_STAT, .path = "/a/f");
  assert_ok(stat);
  cr_assert(stat.answer.is_file && stat.answer.completed && stat.answer.length == 5);
  cr_assert(stat.answer.version == 3 && stat.answer.creator == created.answer.creator);
  cr_assert_str_eq(stat.value, "v1");
  const struct reply list = ASK(.operation = MASTER_LIST, .path = "/a");
  assert_ok(list);
  cr_assert_str_eq(list.names, "f");
  const struct reply exists = ASK(.operation = MASTER_EXISTS, .path = "/a/b/h");
  cr_assert(exists.answer.outcome == MASTER_OK && !exists.answer.exists);
  finish();
}

/* Asks again with the last op id: a later one would let the master forget it. */
Test(master, an_op_id_has_one_answer_across_failover) {
  start(3);
  open_client();
  reserve();
  const uint64_t made = next_op_id();
  assert_ok(ASK_AS(made, .operation = MASTER_CREATE, .path = "/f"));
  const size_t killed = find_primary();
  nodes_kill(killed);
  const struct reply again = ASK_AS(made, .operation = MASTER_CREATE, .path = "/f");
  assert_ok(again);
  cr_assert_eq(again.answer.creator, made);
  nodes_start(killed);
  const uint64_t failed = next_op_id();
  assert_fails(ASK_AS(failed, .operation = MASTER_CREATE, .path = "/f"), MASTER_ERROR_EXISTS);
  nodes_kill(find_primary());
  assert_fails(ASK_AS(failed, .operation = MASTER_CREATE, .path = "/f"), MASTER_ERROR_EXISTS);
  finish();
}

/* The first answer stands though the state has changed: a delayed copy of a failed request must not act. */
Test(master, a_failed_request_that_comes_again_fails_again) {
  start(1);
  open_client();
  reserve();
  struct reply replies[3] = {0};
  const uint64_t failed = next_op_id();
  const struct master_request requests[] = {
      {.operation = MASTER_DELETE, .op_id = failed, .path = "/f"},
      {.operation = MASTER_CREATE, .op_id = next_op_id(), .path = "/f"},
  };
  assert_fails(ask_as(failed, requests[0]), MASTER_ERROR_NOT_FOUND);
  /* Both outstanding at once, so that the floor stays at the first. */
  master_client_submit(client, &requests[0], keep, &replies[0]);
  master_client_submit(client, &requests[1], keep, &replies[1]);
  master_client_submit(client, &requests[0], keep, &replies[2]);
  for (size_t i = 0; i < 3; i++)
    await(&replies[i]);
  assert_fails(replies[0], MASTER_ERROR_NOT_FOUND);
  assert_ok(replies[1]);
  assert_fails(replies[2], MASTER_ERROR_NOT_FOUND);
  const struct reply stat = ASK(.operation = MASTER_STAT, .path = "/f");
  assert_ok(stat);
  finish();
}

Test(master, acknowledged_writes_survive_the_death_of_all) {
  start(3);
  open_client();
  reserve();
  for (int round = 0; round < 3; round++) {
    char path[32];
    for (int i = 0; i < 50; i++) {
      snprintf(path, sizeof path, "/f-%d-%d", round, i);
      assert_ok(ASK(.operation = MASTER_CREATE, .path = path));
    }
    for (size_t node = 0; node < 3; node++)
      nodes_kill(node);
    for (size_t node = 0; node < 3; node++)
      nodes_start(node);
  }
  const struct reply stat = ASK(.operation = MASTER_STAT, .path = "/");
  assert_ok(stat);
  cr_assert_eq(stat.answer.child_count, 150);
  finish();
}

/* Every create is answered once, and none of them by "exists", however often it had to be sent again. */
static void change_primaries_under_load(void (*end_node)(size_t node)) {
  enum { FILES = 3000, ROUNDS = 2 };
  start(3);
  open_client();
  reserve();
  struct reply *replies = xcalloc(FILES, sizeof *replies);
  for (int round = 0; round < ROUNDS; round++) {
    char path[32];
    memset(replies, 0, FILES * sizeof *replies);
    for (int i = 0; i < FILES; i++) {
      snprintf(path, sizeof path, "/f-%d-%d", round, i);
      const struct master_request request = {.operation = MASTER_CREATE, .op_id = next_op_id(), .path = path};
      master_client_submit(client, &request, keep, &replies[i]);
    }
    await(&replies[FILES / 10]);
    const size_t ended = find_primary();
    end_node(ended);
    for (int i = 0; i < FILES; i++) {
      await(&replies[i]);
      assert_ok(replies[i]);
    }
    nodes_start(ended);
  }
  const struct reply stat = ASK(.operation = MASTER_STAT, .path = "/");
  assert_ok(stat);
  cr_assert_eq(stat.answer.child_count, ROUNDS * FILES);
  free(replies);
  finish();
}

static void stop_cleanly(size_t node) {
  cr_assert_eq(nodes_stop(node), 0, "SIGTERM ends a loaded primary cleanly");
}

Test(master, a_primary_stopped_under_load_loses_and_repeats_nothing) {
  change_primaries_under_load(stop_cleanly);
}

Test(master, a_primary_killed_under_load_loses_and_repeats_nothing) {
  change_primaries_under_load(nodes_kill);
}

Test(master, a_node_that_was_away_catches_up_to_the_same_state) {
  start(3);
  open_client();
  reserve();
  assert_ok(ASK(.operation = MASTER_CREATE, .path = "/before"));
  const size_t away = (find_primary() + 1) % 3;
  nodes_kill(away);
  for (int i = 0; i < 100; i++) {
    char path[32];
    snprintf(path, sizeof path, "/f%d", i);
    assert_ok(ASK(.operation = MASTER_CREATE, .path = path));
  }
  nodes_start(away);
  const size_t primary = find_primary();
  for (;;) {
    const struct node_status one = ask_status(primary, true), other = ask_status(away, true);
    if (one.role == NODE_PRIMARY && other.role != NODE_UNREACHABLE &&
        one.applied_index == other.applied_index) {
      cr_assert(one.inodes == 102 && one.inodes == other.inodes && one.state_hash == other.state_hash);
      break;
    }
  }
  finish();
}

/* ---- what it refuses ---- */

static void assert_refused(const char *const *arguments, int code, const char *first, const char *second) {
  char output[4096];
  cr_assert_eq(nodes_run(arguments, output, sizeof output), code, "%s", output);
  cr_assert(strstr(output, first) && strstr(output, second), "%s", output);
}

static void replace(const char **arguments, const char *flag, const char *value) {
  for (size_t i = 0; arguments[i]; i++)
    if (strcmp(arguments[i], flag) == 0)
      arguments[i + 1] = value;
}

Test(master, refuses_to_start_where_it_must_not) {
  start(1);
  open_client();
  reserve();
  const char **arguments = nodes_arguments(0);
  assert_refused(arguments, EXIT_HARNESS, "in use by another assay-master", nodes_directory());
  char elsewhere[96];
  snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", nodes_directory());
  replace(arguments, "--data", elsewhere);
  assert_refused(arguments, EXIT_HARNESS, "cannot listen", "in use");
  nodes_stop(0);
  arguments = nodes_arguments(0);
  replace(arguments, "--cluster-id", "78");
  assert_refused(arguments, EXIT_HARNESS, "of cluster 77", "of cluster 78");
  arguments = nodes_arguments(0);
  replace(arguments, "--data", "/proc/nowhere");
  assert_refused(arguments, EXIT_HARNESS, "/proc/nowhere", "");
  finish();
}

Test(master, wrong_usage_is_64_and_names_the_flag) {
  assert_refused((const char *[]){"--id", "1", NULL}, EXIT_USAGE, "--data", "");
  assert_refused((const char *[]){"--data", "/tmp/x", NULL}, EXIT_USAGE, "--id", "");
  assert_refused((const char *[]){"--id", "1", "--data", "/tmp/x", NULL}, EXIT_USAGE, "--cluster-id", "");
  assert_refused((const char *[]){"--id", "1", "--data", "/tmp/x", "--cluster-id", "5", NULL}, EXIT_USAGE,
                 "--member", "1");
  assert_refused((const char *[]){"--id", "1", "--data", "/tmp/x", "--cluster-id", "5", "--member",
                                  "1=localhost:1:2", NULL},
                 EXIT_USAGE, "localhost", "1=127.0.0.1:7300:7400");
  assert_refused((const char *[]){"--id", "1", "--data", "/tmp/x", "--cluster-id", "5", "--member",
                                  "1=192.0.2.1:1:2", NULL},
                 EXIT_USAGE, "192.0.2.1:2 is not an address of this machine alone", "--listen-insecure");
  assert_refused((const char *[]){"--id", "1", "--data", "/tmp/x", "--cluster-id", "5", "--member",
                                  "1=[::1]:1:2", "--http", "0.0.0.0:1", NULL},
                 EXIT_USAGE, "0.0.0.0:1 is not an address of this machine alone", "--listen-insecure");
  assert_refused((const char *[]){"--id", "1", "--data", "/proc/nowhere", "--cluster-id", "5", "--member",
                                  "1=192.0.2.1:1:2", "--listen-insecure", NULL},
                 EXIT_HARNESS, "/proc/nowhere", "");
  assert_refused((const char *[]){"--identity", "1", NULL}, EXIT_USAGE, "--identity", "");
}
