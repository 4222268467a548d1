/* What a client may conclude, for every failure at every moment of a request. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/client/client.h"
#include "master/client/test/fake_server.h"

#define SERVERS 3

static uv_loop_t loop;
static struct fake_server servers[SERVERS];
static size_t server_count;

struct result {
  unsigned count;
  struct master_answer answer;
  uint64_t node;
  char value[64];
};

static void keep(void *context, const struct master_answer *answer) {
  struct result *result = context;
  result->count++;
  result->answer = *answer;
  snprintf(result->value, sizeof result->value, "%s", answer->value);
}

static void start(size_t count) {
  uv_loop_init(&loop);
  server_count = count;
  for (size_t i = 0; i < count; i++)
    fake_server_open(&servers[i], &loop, i + 1);
}

static struct master_client *open_client(bool retry, int64_t timeout_ms) {
  const char *addresses[SERVERS];
  for (size_t i = 0; i < server_count; i++)
    addresses[i] = servers[i].address;
  const struct master_client_options options = {
      .addresses = addresses,
      .address_count = server_count,
      .request_timeout_ns = timeout_ms * NS_PER_MS,
      .connect_timeout_ns = 50 * NS_PER_MS,
      .attempt_timeout_ns = 60 * NS_PER_MS,
      .retry = retry,
  };
  struct master_client *client;
  struct error error;
  cr_assert_eq(master_client_open(&loop, &options, &client, &error), 0, "%s", error.message);
  return client;
}

static void create(struct master_client *client, uint64_t sequence, struct result *result) {
  const struct master_request request = {
      .operation = MASTER_CREATE, .op_id = UINT64_C(5) << 32 | sequence, .path = "/a/file"};
  master_client_submit(client, &request, keep, result);
}

static void stat_file(struct master_client *client, struct result *result) {
  const struct master_request request = {.operation = MASTER_STAT, .path = "/a/file"};
  master_client_submit(client, &request, keep, result);
}

static void await(const unsigned *count, unsigned wanted) {
  while (*count < wanted)
    cr_assert(uv_run(&loop, UV_RUN_ONCE) || *count >= wanted, "nothing left to wait for");
}

static void finish(struct master_client *client) {
  master_client_close(client, NULL, NULL);
  for (size_t i = 0; i < server_count; i++)
    fake_server_close(&servers[i]);
  uv_run(&loop, UV_RUN_DEFAULT);
  cr_assert_eq(uv_loop_close(&loop), 0);
}

/* ---- what servers do with a request ---- */

typedef void action(struct fake_server *server, struct fake_session *session, const Rpc__Request *request);

static void say_ok(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  fake_answer(session, request->id, RPC__STATUS__STATUS_OK);
}

static void say_exists(struct fake_server *server, struct fake_session *session,
                       const Rpc__Request *request) {
  (void)server;
  fake_answer(session, request->id, RPC__STATUS__STATUS_EXISTS);
}

static void say_not_primary(struct fake_server *server, struct fake_session *session,
                            const Rpc__Request *request) {
  (void)server;
  fake_answer(session, request->id, RPC__STATUS__STATUS_NOT_PRIMARY);
}

static void say_overloaded(struct fake_server *server, struct fake_session *session,
                           const Rpc__Request *request) {
  (void)server;
  fake_answer(session, request->id, RPC__STATUS__STATUS_OVERLOADED);
}

static void say_unavailable(struct fake_server *server, struct fake_session *session,
                            const Rpc__Request *request) {
  (void)server;
  fake_answer(session, request->id, RPC__STATUS__STATUS_UNAVAILABLE);
}

static void say_leader_is_me(struct fake_server *server, struct fake_session *session,
                             const Rpc__Request *request) {
  Rpc__Response response = RPC__RESPONSE__INIT;
  response.id = request->id;
  response.status = RPC__STATUS__STATUS_NOT_PRIMARY;
  response.leader = server->id;
  response.leader_address = server->address;
  fake_respond(session, &response);
}

static void say_leader_is_third(struct fake_server *server, struct fake_session *session,
                                const Rpc__Request *request) {
  (void)server;
  Rpc__Response response = RPC__RESPONSE__INIT;
  response.id = request->id;
  response.status = RPC__STATUS__STATUS_NOT_PRIMARY;
  response.leader = 3;
  response.leader_address = servers[2].address;
  fake_respond(session, &response);
}

static void hang_up(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  (void)request;
  fake_hang_up(session);
}

static void say_nothing(struct fake_server *server, struct fake_session *session,
                        const Rpc__Request *request) {
  (void)server;
  (void)session;
  (void)request;
}

static void say_half(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  Rpc__Response response = RPC__RESPONSE__INIT;
  response.id = request->id;
  struct bytes output = {0};
  rpc_append(&output, RPC_RESPONSE, &response.base);
  fake_send(session, output.data, output.size / 2);
  bytes_free(&output);
}

static void say_half_and_hang_up(struct fake_server *server, struct fake_session *session,
                                 const Rpc__Request *request) {
  say_half(server, session, request);
  fake_hang_up(session);
}

static void say_garbage(struct fake_server *server, struct fake_session *session,
                        const Rpc__Request *request) {
  (void)server;
  (void)request;
  fake_send(session, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
}

static void say_broken_message(struct fake_server *server, struct fake_session *session,
                               const Rpc__Request *request) {
  (void)server;
  (void)request;
  fake_send(session, "\x04\x00\x00\x00\x03\x0a\xff\xff", 8);
}

/* ---- one request, servers that do the same ---- */

struct expectation {
  const char *name;
  action *actions[SERVERS]; /* of the servers; NULL: that server is gone */
  bool retry;
  enum master_outcome outcome;
  enum master_error error;
};

static const struct expectation expectations[] = {
    {"answered", {say_ok, say_nothing, say_nothing}, true, MASTER_OK, MASTER_ERROR_NONE},
    {"observation", {say_exists, say_nothing, say_nothing}, true, MASTER_FAIL, MASTER_ERROR_EXISTS},
    {"nobody there", {NULL, NULL, NULL}, true, MASTER_UNCHECKED, MASTER_ERROR_REFUSED},
    {"nobody there, once", {NULL, NULL, NULL}, false, MASTER_UNCHECKED, MASTER_ERROR_REFUSED},
    {"first is gone", {NULL, say_ok, say_ok}, true, MASTER_OK, MASTER_ERROR_NONE},
    {"closed after reading, once",
     {hang_up, say_ok, say_ok},
     false,
     MASTER_INFO,
     MASTER_ERROR_CONNECTION_LOST},
    {"closed after reading, always",
     {hang_up, hang_up, hang_up},
     true,
     MASTER_INFO,
     MASTER_ERROR_CONNECTION_LOST},
    {"closed, then answered", {hang_up, say_ok, say_ok}, true, MASTER_OK, MASTER_ERROR_NONE},
    {"closed, then observed", {hang_up, say_exists, say_exists}, true, MASTER_FAIL, MASTER_ERROR_EXISTS},
    {"closed, then not primary for ever",
     {hang_up, say_not_primary, say_not_primary},
     true,
     MASTER_INFO,
     MASTER_ERROR_CONNECTION_LOST},
    {"closed, then nobody", {hang_up, NULL, NULL}, true, MASTER_INFO, MASTER_ERROR_CONNECTION_LOST},
    {"half a frame, then closed",
     {say_half_and_hang_up, NULL, NULL},
     true,
     MASTER_INFO,
     MASTER_ERROR_CONNECTION_LOST},
    {"half a frame, then silence", {say_half, NULL, NULL}, false, MASTER_INFO, MASTER_ERROR_TIMEOUT},
    {"garbage", {say_garbage, NULL, NULL}, false, MASTER_INFO, MASTER_ERROR_CONNECTION_LOST},
    {"garbage, then answered", {say_garbage, say_ok, say_ok}, true, MASTER_OK, MASTER_ERROR_NONE},
    {"broken message", {say_broken_message, NULL, NULL}, false, MASTER_INFO, MASTER_ERROR_CONNECTION_LOST},
    {"silence, once", {say_nothing, say_ok, say_ok}, false, MASTER_INFO, MASTER_ERROR_TIMEOUT},
    {"silence, then answered", {say_nothing, say_ok, say_ok}, true, MASTER_OK, MASTER_ERROR_NONE},
    {"silence everywhere", {say_nothing, say_nothing, say_nothing}, true, MASTER_INFO, MASTER_ERROR_TIMEOUT},
    {"silence, then not primary for ever",
     {say_nothing, say_not_primary, say_not_primary},
     true,
     MASTER_INFO,
     MASTER_ERROR_TIMEOUT},
    {"not primary, once",
     {say_not_primary, say_ok, say_ok},
     false,
     MASTER_UNCHECKED,
     MASTER_ERROR_NOT_PRIMARY},
    {"not primary for ever",
     {say_not_primary, say_not_primary, say_not_primary},
     true,
     MASTER_UNCHECKED,
     MASTER_ERROR_NOT_PRIMARY},
    {"not primary, then answered",
     {say_not_primary, say_not_primary, say_ok},
     true,
     MASTER_OK,
     MASTER_ERROR_NONE},
    {"hint to itself",
     {say_leader_is_me, say_leader_is_me, say_leader_is_me},
     true,
     MASTER_UNCHECKED,
     MASTER_ERROR_NOT_PRIMARY},
    {"hint to itself, others know better",
     {say_leader_is_me, say_ok, NULL},
     true,
     MASTER_OK,
     MASTER_ERROR_NONE},
    {"hint to a dead node", {say_leader_is_third, say_ok, NULL}, true, MASTER_OK, MASTER_ERROR_NONE},
    {"overloaded, once", {say_overloaded, say_ok, say_ok}, false, MASTER_UNCHECKED, MASTER_ERROR_OVERLOADED},
    {"overloaded for ever",
     {say_overloaded, say_ok, say_ok},
     true,
     MASTER_UNCHECKED,
     MASTER_ERROR_OVERLOADED},
    {"unavailable, once", {say_unavailable, say_ok, say_ok}, false, MASTER_INFO, MASTER_ERROR_UNAVAILABLE},
    {"unavailable for ever", {say_unavailable, say_ok, say_ok}, true, MASTER_INFO, MASTER_ERROR_UNAVAILABLE},
};

Test(client, one_request_ends_in_exactly_the_outcome_that_is_known) {
  for (size_t i = 0; i < ARRAY_SIZE(expectations); i++) {
    const struct expectation *expected = &expectations[i];
    start(SERVERS);
    struct master_client *client = open_client(expected->retry, 250);
    for (size_t server = 0; server < SERVERS; server++) {
      servers[server].request = expected->actions[server];
      if (!expected->actions[server])
        fake_server_close(&servers[server]);
    }
    uv_run(&loop, UV_RUN_NOWAIT);
    struct result result = {0};
    create(client, 1, &result);
    cr_assert_eq(result.count, 0, "never from inside submit");
    await(&result.count, 1);
    cr_assert_eq(result.answer.outcome, expected->outcome, "%s: outcome %d", expected->name,
                 (int)result.answer.outcome);
    cr_assert_eq(result.answer.error, expected->error, "%s: %s", expected->name,
                 master_error_name(result.answer.error));
    finish(client);
    cr_assert_eq(result.count, 1, "%s: once", expected->name);
  }
}

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
  fake_answer(late_session, late_id, RPC__STATUS__STATUS_OK);
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

/* ---- anything at any time ---- */

struct trial {
  struct result result;
  uint64_t sequence;
};
/* What the servers did with each op: may have taken effect; said ok; said exists. */
static struct { bool touched, ok, exists; } done[4096];
static struct random dice;

static void do_anything(struct fake_server *server, struct fake_session *session,
                        const Rpc__Request *request) {
  const uint32_t sequence = (uint32_t)request->op_id;
  if (done[sequence].ok || done[sequence].exists) { /* the first answer, as a master gives it */
    fake_answer(session, request->id,
                done[sequence].ok ? RPC__STATUS__STATUS_OK : RPC__STATUS__STATUS_EXISTS);
    return;
  }
  const uint64_t face = random_below(&dice, 100);
  if (face < 30) {
    say_not_primary(server, session, request);
  } else if (face < 40) {
    say_overloaded(server, session, request);
  } else if (face < 45) {
    say_leader_is_third(server, session, request);
  } else if (face < 60) {
    done[sequence].ok = true;
    say_ok(server, session, request);
  } else if (face < 70) {
    done[sequence].exists = true;
    say_exists(server, session, request);
  } else {
    static action *const doubtful[] = {say_nothing, hang_up, say_unavailable, say_half, say_garbage};
    done[sequence].touched = true;
    doubtful[random_below(&dice, ARRAY_SIZE(doubtful))](server, session, request);
  }
}

Test(client, no_outcome_claims_more_than_is_known) {
  enum { CLIENTS = 40, PER_CLIENT = 40 };
  start(3);
  random_seed(&dice, 11);
  for (size_t i = 0; i < 3; i++)
    servers[i].request = do_anything;
  struct master_client *clients[CLIENTS];
  struct trial *trials = xcalloc(CLIENTS * PER_CLIENT, sizeof *trials);
  unsigned outcomes[4] = {0};
  for (size_t i = 0; i < CLIENTS; i++)
    clients[i] = open_client(i % 4 != 0, 150);
  for (uint32_t i = 0; i < CLIENTS * PER_CLIENT; i++)
    create(clients[i % CLIENTS], i, &trials[i].result);
  for (uint32_t i = 0; i < CLIENTS * PER_CLIENT; i++)
    await(&trials[i].result.count, 1);
  for (uint32_t i = 0; i < CLIENTS * PER_CLIENT; i++) {
    const struct master_answer *answer = &trials[i].result.answer;
    outcomes[answer->outcome]++;
    cr_assert_eq(trials[i].result.count, 1);
    switch (answer->outcome) {
    case MASTER_OK:
      cr_assert(done[i].ok && answer->error == MASTER_ERROR_NONE);
      break;
    case MASTER_FAIL:
      cr_assert(done[i].exists && answer->error == MASTER_ERROR_EXISTS);
      break;
    case MASTER_UNCHECKED:
      cr_assert(!done[i].touched && !done[i].ok && !done[i].exists, "op %u", i);
      cr_assert(answer->error == MASTER_ERROR_NOT_PRIMARY || answer->error == MASTER_ERROR_OVERLOADED ||
                answer->error == MASTER_ERROR_REFUSED);
      break;
    case MASTER_INFO:
      cr_assert(answer->error == MASTER_ERROR_TIMEOUT || answer->error == MASTER_ERROR_CONNECTION_LOST ||
                answer->error == MASTER_ERROR_UNAVAILABLE);
      break;
    }
  }
  for (size_t i = 0; i < 4; i++)
    cr_assert(outcomes[i] > 0, "outcome %zu never came", i);
  for (size_t i = 1; i < CLIENTS; i++)
    master_client_close(clients[i], NULL, NULL);
  finish(clients[0]);
  free(trials);
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
