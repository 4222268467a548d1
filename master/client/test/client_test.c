/* How a client finds its way, retries, batches and ends. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "master/client/test/client_fixture.h"

/* ---- greetings ---- */

static void refused_in_the_greeting(void (*spoil)(struct fake_server *server)) {
  start(1);
  spoil(&servers[0]);
  struct master_client *client = open_client(true, 150);
  struct result result = {0};
  servers[0].request = say_ok;
  create(client, 1, &result);
  await(&result.count, 1);
  cr_assert_eq(result.answer.outcome, MASTER_UNCHECKED);
  cr_assert_eq(result.answer.error, MASTER_ERROR_REFUSED);
  cr_assert_eq(servers[0].requests, 0);
  finish(client);
}

static void spoil_version(struct fake_server *server) {
  server->hello.version = RPC_VERSION + 1;
}
static void spoil_magic(struct fake_server *server) {
  server->hello.magic = 1;
}
static void spoil_with_error(struct fake_server *server) {
  server->hello.error = "this is cluster 9, you asked for 8";
}
static void spoil_by_silence(struct fake_server *server) {
  server->silent_hello = true;
}
static void spoil_by_closing(struct fake_server *server) {
  server->close_at_once = true;
}

Test(client, nothing_is_sent_to_who_does_not_greet_properly) {
  refused_in_the_greeting(spoil_version);
  refused_in_the_greeting(spoil_magic);
  refused_in_the_greeting(spoil_with_error);
  refused_in_the_greeting(spoil_by_silence);
  refused_in_the_greeting(spoil_by_closing);
}

Test(client, a_node_of_another_cluster_is_refused) {
  start(2);
  servers[1].hello.cluster = 8;
  servers[0].request = say_not_primary;
  servers[1].request = say_ok;
  struct master_client *client = open_client(true, 150);
  struct result result = {0};
  create(client, 1, &result);
  await(&result.count, 1);
  cr_assert_eq(result.answer.outcome, MASTER_UNCHECKED);
  cr_assert_eq(servers[1].requests, 0);
  finish(client);
}

Test(client, a_standby_is_passed_by_and_its_hint_followed) {
  start(3);
  servers[0].hello.role = RPC__ROLE__ROLE_STANDBY;
  servers[0].hello.leader = 3;
  servers[0].hello.leader_address = servers[2].address;
  for (size_t i = 0; i < 3; i++)
    servers[i].request = say_ok;
  struct master_client *client = open_client(true, 1000);
  struct result result = {0};
  create(client, 1, &result);
  await(&result.count, 1);
  cr_assert(result.answer.outcome == MASTER_OK && result.answer.node == 3);
  cr_assert(servers[0].requests == 0 && servers[1].accepted == 0 && servers[2].requests == 1);
  finish(client);
}

static struct master_client *open_reader(void) {
  const char *addresses[SERVERS];
  for (size_t i = 0; i < server_count; i++)
    addresses[i] = servers[i].address;
  const struct master_client_options options = {.addresses = addresses,
                                                .address_count = server_count,
                                                .request_timeout_ns = NS_PER_S,
                                                .connect_timeout_ns = 50 * NS_PER_MS,
                                                .attempt_timeout_ns = 60 * NS_PER_MS,
                                                .retry = true,
                                                .any_node = true};
  struct master_client *client;
  cr_assert_eq(master_client_open(&loop, &options, &client, NULL), 0);
  return client;
}

static unsigned any_requests;

static void note_any(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  any_requests += request->any ? 1 : 0;
  say_ok(server, session, request);
}

Test(client, a_reader_of_any_node_stays_with_a_standby) {
  start(3);
  any_requests = 0;
  servers[0].hello.role = RPC__ROLE__ROLE_STANDBY;
  servers[0].hello.leader = 3;
  servers[0].hello.leader_address = servers[2].address;
  servers[0].request = note_any;
  struct master_client *client = open_reader();
  struct result result = {0};
  for (unsigned i = 1; i <= 3; i++) {
    stat_file(client, &result);
    await(&result.count, i);
    cr_assert(result.answer.outcome == MASTER_OK && result.answer.node == 1);
  }
  cr_assert(servers[0].requests == 3 && any_requests == 3);
  cr_assert_eq(servers[1].accepted + servers[2].accepted, 0);
  finish(client);
}

Test(client, a_reader_of_any_node_goes_on_to_the_next) {
  start(3);
  servers[0].request = say_leader_is_third;
  servers[1].request = hang_up;
  servers[2].request = say_ok;
  struct master_client *client = open_reader();
  struct result result = {0};
  stat_file(client, &result);
  await(&result.count, 1);
  cr_assert(result.answer.outcome == MASTER_OK && result.answer.node == 3);
  cr_assert(servers[0].requests == 1 && servers[1].requests == 1,
            "hints name the primary, who is not sought");
  finish(client);
}

/* ---- retries ---- */

static uint64_t seen_op_ids[8], seen_floors[64];
static unsigned seen;

static void note_then_hang_up(struct fake_server *server, struct fake_session *session,
                              const Rpc__Request *request) {
  seen_op_ids[seen++] = request->op_id;
  hang_up(server, session, request);
}
static void note_then_ok(struct fake_server *server, struct fake_session *session,
                         const Rpc__Request *request) {
  seen_op_ids[seen++] = request->op_id;
  say_ok(server, session, request);
}

Test(client, a_retry_carries_the_same_op_id) {
  start(2);
  seen = 0;
  servers[0].request = note_then_hang_up;
  servers[1].request = note_then_ok;
  struct master_client *client = open_client(true, 1000);
  struct result result = {0};
  create(client, 9, &result);
  await(&result.count, 1);
  cr_assert(seen == 2 && seen_op_ids[0] == (UINT64_C(5) << 32 | 9) && seen_op_ids[1] == seen_op_ids[0]);
  finish(client);
}

static struct fake_session *floor_session;
static uint64_t floor_requests[64];

static void note_floor(struct fake_server *server, struct fake_session *session,
                       const Rpc__Request *request) {
  (void)server;
  floor_session = session;
  seen_floors[seen] = request->retry_floor;
  floor_requests[seen++] = request->id;
}

Test(client, the_retry_floor_is_the_lowest_outstanding_op_id) {
  start(1);
  seen = 0;
  servers[0].request = note_floor;
  struct master_client *client = open_client(true, 1000);
  struct result results[5] = {0};
  const uint64_t number = UINT64_C(5) << 32;
  for (uint64_t i = 0; i < 3; i++)
    create(client, i + 1, &results[i]);
  await(&seen, 3);
  for (unsigned i = 0; i < 3; i++)
    cr_assert_eq(seen_floors[i], number | 1);
  fake_answer(floor_session, floor_requests[1], RPC__STATUS__STATUS_OK);
  await(&results[1].count, 1);
  create(client, 4, &results[3]);
  await(&seen, 4);
  cr_assert_eq(seen_floors[3], number | 1, "1 is outstanding still");
  fake_answer(floor_session, floor_requests[0], RPC__STATUS__STATUS_OK);
  await(&results[0].count, 1);
  create(client, 5, &results[4]);
  await(&seen, 5);
  cr_assert_eq(seen_floors[4], number | 3, "1 and 2 are answered");
  finish(client);
}

static unsigned overloads;
static void overloaded_thrice(struct fake_server *server, struct fake_session *session,
                              const Rpc__Request *request) {
  if (overloads++ < 3)
    say_overloaded(server, session, request);
  else
    say_ok(server, session, request);
}

Test(client, an_overloaded_node_is_asked_again) {
  start(1);
  overloads = 0;
  servers[0].request = overloaded_thrice;
  struct master_client *client = open_client(true, 2000);
  struct result result = {0};
  create(client, 1, &result);
  await(&result.count, 1);
  cr_assert(result.answer.outcome == MASTER_OK && overloads == 4 && servers[0].accepted == 1);
  finish(client);
}

static void answer_reads_only(struct fake_server *server, struct fake_session *session,
                              const Rpc__Request *request) {
  if (request->operation == RPC__OPERATION__OPERATION_STAT)
    say_ok(server, session, request);
}

Test(client, it_stays_with_a_node_that_keeps_answering) {
  start(2);
  servers[0].request = answer_reads_only;
  servers[1].request = say_ok;
  struct master_client *client = open_client(true, 300);
  struct result write = {0}, read = {0};
  create(client, 1, &write);
  while (write.count == 0) {
    const unsigned before = read.count;
    stat_file(client, &read);
    await(&read.count, before + 1);
    cr_assert_eq(read.answer.node, 1);
  }
  cr_assert(write.answer.outcome == MASTER_INFO && write.answer.error == MASTER_ERROR_TIMEOUT);
  cr_assert(servers[0].accepted == 1 && servers[1].accepted == 0);
  finish(client);
}

static uint64_t late_id;
static struct fake_session *late_session;
static void keep_for_later(struct fake_server *server, struct fake_session *session,
                           const Rpc__Request *request) {
  if (request->operation == RPC__OPERATION__OPERATION_STAT) {
    say_ok(server, session, request);
    return;
  }
  late_id = request->id;
  late_session = session;
}

Test(client, an_answer_that_comes_too_late_is_nobodys) {
  start(1);
  servers[0].request = keep_for_later;
  struct master_client *client = open_client(true, 50);
  struct result write = {0}, read = {0};
  create(client, 1, &write);
  await(&write.count, 1);
  cr_assert_eq(write.answer.outcome, MASTER_INFO);
  cr_assert_eq(servers[0].accepted, 1);
  fake_answer(late_session, late_id, RPC__STATUS__STATUS_EXISTS);
  stat_file(client, &read);
  await(&read.count, 1);
  cr_assert(read.answer.outcome == MASTER_OK && write.count == 1);
  finish(client);
}

/* ---- answers and batches ---- */

static void say_much(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  Rpc__Entry entries[2] = {RPC__ENTRY__INIT, RPC__ENTRY__INIT};
  Rpc__Entry *pointers[2] = {&entries[0], &entries[1]};
  entries[0].name = (ProtobufCBinaryData){.data = (uint8_t *)(char[]){"one"}, .len = 3};
  entries[1].name = (ProtobufCBinaryData){.data = (uint8_t *)(char[]){"two"}, .len = 3};
  entries[1].is_file = true;
  entries[1].creator = 42;
  Rpc__Response response = RPC__RESPONSE__INIT;
  response.id = request->id;
  response.term = 3;
  response.commit = 99;
  response.version = 5;
  response.creator = UINT64_MAX;
  response.value = (ProtobufCBinaryData){.data = (uint8_t *)(char[]){"text"}, .len = 4};
  response.entries = pointers;
  response.n_entries = 2;
  response.first_client = 17;
  fake_respond(session, &response);
}

static void check_much(void *context, const struct master_answer *answer) {
  unsigned *count = context;
  cr_assert(answer->outcome == MASTER_OK && answer->term == 3 && answer->commit == 99);
  cr_assert(answer->version == 5 && answer->creator == UINT64_MAX && answer->node == 1);
  cr_assert_str_eq(answer->value, "text");
  cr_assert_eq(answer->entry_count, 2);
  cr_assert_str_eq(answer->entries[0].name, "one");
  cr_assert_str_eq(answer->entries[1].name, "two");
  cr_assert(answer->entries[1].is_file && !answer->entries[0].is_file && answer->entries[1].creator == 42);
  ++*count;
}

static void check_reserved(void *context, uint32_t first, const struct master_answer *answer) {
  unsigned *count = context;
  cr_assert(first == 17 && answer->outcome == MASTER_OK);
  ++*count;
}

Test(client, an_answer_arrives_with_all_its_members) {
  start(1);
  servers[0].request = say_much;
  struct master_client *client = open_client(true, 1000);
  unsigned count = 0;
  const struct master_request request = {.operation = MASTER_LIST, .path = "/"};
  master_client_submit(client, &request, check_much, &count);
  master_client_reserve(client, 10, check_reserved, &count);
  await(&count, 2);
  finish(client);
}

Test(client, many_requests_are_pipelined_and_answered_once_each) {
  enum { MANY = 5000 };
  start(1);
  servers[0].request = say_ok;
  struct master_client *client = open_client(true, 5000);
  struct result *results = xcalloc(MANY, sizeof *results);
  for (unsigned i = 0; i < MANY; i++)
    create(client, i + 1, &results[i]);
  for (unsigned i = 0; i < MANY; i++)
    await(&results[i].count, 1);
  cr_assert_eq(servers[0].requests, MANY);
  finish(client);
  for (unsigned i = 0; i < MANY; i++)
    cr_assert(results[i].count == 1 && results[i].answer.outcome == MASTER_OK);
  free(results);
}

Test(client, what_no_frame_can_hold_is_refused_and_the_rest_goes_on) {
  start(1);
  servers[0].request = say_ok;
  struct master_client *client = open_client(true, 1000);
  char *huge = xmalloc(RPC_REQUEST_MAX + 1);
  memset(huge, 'x', RPC_REQUEST_MAX);
  huge[RPC_REQUEST_MAX] = '\0';
  struct result results[3] = {0};
  create(client, 1, &results[0]);
  const struct master_request request = {
      .operation = MASTER_SET, .op_id = UINT64_C(5) << 32 | 2, .path = "/a", .value = huge};
  master_client_submit(client, &request, keep, &results[1]);
  create(client, 3, &results[2]);
  for (size_t i = 0; i < 3; i++)
    await(&results[i].count, 1);
  cr_assert(results[0].answer.outcome == MASTER_OK && results[2].answer.outcome == MASTER_OK);
  cr_assert_eq(results[1].answer.outcome, MASTER_UNCHECKED);
  cr_assert_eq(servers[0].requests, 2);
  free(huge);
  finish(client);
}

/* ---- closing ---- */

static void count_closed(void *context) {
  ++*(unsigned *)context;
}

Test(client, closing_ends_what_is_outstanding_as_time_would) {
  start(1);
  servers[0].request = say_nothing;
  struct master_client *client = open_client(true, 1000);
  struct result sent = {0}, unsent = {0};
  create(client, 1, &sent);
  while (servers[0].requests == 0)
    uv_run(&loop, UV_RUN_ONCE);
  create(client, 2, &unsent);
  unsigned closed = 0;
  master_client_close(client, count_closed, &closed);
  cr_assert(sent.count == 1 && sent.answer.outcome == MASTER_INFO);
  cr_assert(unsent.count == 1 && unsent.answer.outcome == MASTER_UNCHECKED);
  cr_assert_eq(closed, 0);
  fake_server_close(&servers[0]);
  uv_run(&loop, UV_RUN_DEFAULT);
  cr_assert_eq(closed, 1);
  cr_assert_eq(uv_loop_close(&loop), 0);
}

static unsigned callbacks;
static void close_from_callback(void *context, const struct master_answer *answer) {
  (void)answer;
  if (callbacks++ == 0)
    master_client_close(context, NULL, NULL);
}

static void close_while(action *what, bool retry) {
  start(2);
  callbacks = 0;
  servers[0].request = servers[1].request = what;
  struct master_client *client = open_client(retry, 100);
  const struct master_request request = {.operation = MASTER_STAT, .path = "/"};
  for (int i = 0; i < 10; i++)
    master_client_submit(client, &request, close_from_callback, client);
  await(&callbacks, 10);
  for (size_t i = 0; i < server_count; i++)
    fake_server_close(&servers[i]);
  uv_run(&loop, UV_RUN_DEFAULT);
  cr_assert_eq(uv_loop_close(&loop), 0);
  cr_assert_eq(callbacks, 10);
}

Test(client, a_callback_may_close_the_client) {
  static action *const actions[] = {say_ok,  say_nothing,     say_not_primary,     say_overloaded,
                                    hang_up, say_unavailable, say_half_and_hang_up};
  for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
    close_while(actions[i], true);
    close_while(actions[i], false);
  }
}

/* ---- status ---- */

struct seen_status {
  unsigned count;
  struct node_status status;
};
static void keep_status(void *context, const struct node_status *status) {
  struct seen_status *kept = context;
  kept->count++;
  kept->status = *status;
}

Test(client, status_asks_the_one_node_and_says_when_it_is_not_there) {
  start(3);
  servers[0].hello.role = RPC__ROLE__ROLE_STANDBY;
  servers[2].silent_hello = true;
  fake_server_close(&servers[1]);
  uv_run(&loop, UV_RUN_NOWAIT);
  struct master_client *client = open_client(true, 1000);
  for (int round = 0; round < 2; round++) {
    struct seen_status seen_statuses[3] = {0};
    for (size_t i = 0; i < 3; i++)
      master_client_status(client, i, round == 1, keep_status, &seen_statuses[i]);
    for (size_t i = 0; i < 3; i++)
      await(&seen_statuses[i].count, 1);
    cr_assert(seen_statuses[0].status.role == NODE_STANDBY && seen_statuses[0].status.id == 1);
    cr_assert_eq(seen_statuses[0].status.state_hash, round == 1 ? 77 : 0);
    cr_assert_eq(seen_statuses[1].status.role, NODE_UNREACHABLE);
    cr_assert_eq(seen_statuses[2].status.role, NODE_UNREACHABLE);
  }
  cr_assert_eq(servers[0].accepted, 1, "the connection is kept");
  finish(client);
}

Test(client, addresses_must_be_numeric) {
  uv_loop_init(&loop);
  const char *const addresses[] = {"localhost:7400"};
  const struct master_client_options options = {.addresses = addresses, .address_count = 1};
  struct master_client *client;
  struct error error;
  cr_assert_eq(master_client_open(&loop, &options, &client, &error), ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "localhost:7400"));
}
