#include "master/client/test/client_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

uv_loop_t loop;
struct fake_server servers[SERVERS];
size_t server_count;

void keep(void *context, const struct master_answer *answer) {
  struct result *result = context;
  result->count++;
  result->answer = *answer;
  snprintf(result->value, sizeof result->value, "%s", answer->value);
}

void start(size_t count) {
  uv_loop_init(&loop);
  server_count = count;
  for (size_t i = 0; i < count; i++)
    fake_server_open(&servers[i], &loop, i + 1);
}

struct master_client *open_client(bool retry, int64_t timeout_ms) {
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

void create(struct master_client *client, uint64_t sequence, struct result *result) {
  const struct master_request request = {
      .operation = MASTER_CREATE, .op_id = UINT64_C(5) << 32 | sequence, .path = "/a/file"};
  master_client_submit(client, &request, keep, result);
}

void stat_file(struct master_client *client, struct result *result) {
  const struct master_request request = {.operation = MASTER_STAT, .path = "/a/file"};
  master_client_submit(client, &request, keep, result);
}

void await(const unsigned *count, unsigned wanted) {
  while (*count < wanted)
    cr_assert(uv_run(&loop, UV_RUN_ONCE) || *count >= wanted, "nothing left to wait for");
}

void finish(struct master_client *client) {
  master_client_close(client, NULL, NULL);
  for (size_t i = 0; i < server_count; i++)
    fake_server_close(&servers[i]);
  uv_run(&loop, UV_RUN_DEFAULT);
  cr_assert_eq(uv_loop_close(&loop), 0);
}

void say_ok(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  fake_answer(session, request->id, RPC__STATUS__STATUS_OK);
}

void say_exists(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  fake_answer(session, request->id, RPC__STATUS__STATUS_EXISTS);
}

void say_not_primary(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  fake_answer(session, request->id, RPC__STATUS__STATUS_NOT_PRIMARY);
}

void say_overloaded(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  fake_answer(session, request->id, RPC__STATUS__STATUS_OVERLOADED);
}

void say_unavailable(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  fake_answer(session, request->id, RPC__STATUS__STATUS_UNAVAILABLE);
}

void say_leader_is_me(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  Rpc__Response response = RPC__RESPONSE__INIT;
  response.id = request->id;
  response.status = RPC__STATUS__STATUS_NOT_PRIMARY;
  response.leader = server->id;
  response.leader_address = server->address;
  fake_respond(session, &response);
}

void say_leader_is_third(struct fake_server *server, struct fake_session *session,
                         const Rpc__Request *request) {
  (void)server;
  Rpc__Response response = RPC__RESPONSE__INIT;
  response.id = request->id;
  response.status = RPC__STATUS__STATUS_NOT_PRIMARY;
  response.leader = 3;
  response.leader_address = servers[2].address;
  fake_respond(session, &response);
}

void hang_up(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  (void)request;
  fake_hang_up(session);
}

void say_nothing(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  (void)session;
  (void)request;
}

void say_half(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  Rpc__Response response = RPC__RESPONSE__INIT;
  response.id = request->id;
  struct bytes output = {0};
  rpc_append(&output, RPC_RESPONSE, &response.base);
  fake_send(session, output.data, output.size / 2);
  bytes_free(&output);
}

void say_half_and_hang_up(struct fake_server *server, struct fake_session *session,
                          const Rpc__Request *request) {
  say_half(server, session, request);
  fake_hang_up(session);
}

void say_garbage(struct fake_server *server, struct fake_session *session, const Rpc__Request *request) {
  (void)server;
  (void)request;
  fake_send(session, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
}

void say_broken_message(struct fake_server *server, struct fake_session *session,
                        const Rpc__Request *request) {
  (void)server;
  (void)request;
  fake_send(session, "\x04\x00\x00\x00\x03\x0a\xff\xff", 8);
}
