/* The server between raw sockets and a primary that does as it is told. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "master/client/client.h"
#include "master/rpc/rpc.h"
#include "master/server/server.h"
#include "master/server/test/fake_primary.h"

static uv_loop_t loop;
static struct primary primary;
static struct server *server;
static struct rpc_arena arena;

static void start(size_t session_limit) {
  static const struct server_member members[] = {{1, "127.0.0.1:1001"}, {2, "127.0.0.1:1002"}};
  struct error error;
  uv_loop_init(&loop);
  primary = (struct primary){.status = {.role = ROLE_PRIMARY, .journal = {.term = 4, .leader = 1}}};
  const struct server_options options = {.loop = &loop,
                                         .primary = &primary,
                                         .cluster = 7,
                                         .id = 1,
                                         .address = "127.0.0.1:0",
                                         .session_limit = session_limit,
                                         .members = members,
                                         .member_count = 2};
  cr_assert_eq(server_open(&options, &server, &error), 0, "%s", error.message);
  rpc_arena_init(&arena);
}

static void note_closed(void *context) {
  *(bool *)context = true;
}

static void finish(void) {
  bool closed = false;
  server_close(server, note_closed, &closed);
  while (!closed)
    uv_run(&loop, UV_RUN_ONCE);
  fake_primary_free(&primary);
  server_free(server);
  rpc_arena_free(&arena);
  uv_run(&loop, UV_RUN_DEFAULT);
  cr_assert_eq(uv_loop_close(&loop), 0);
}

/* ---- raw clients ---- */

static int dial(void) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)server_port(server)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

static void put(int fd, const void *data, size_t size) {
  cr_assert_eq(send(fd, data, size, 0), (ssize_t)size);
}

static void put_message(int fd, enum rpc_kind kind, const ProtobufCMessage *message) {
  struct bytes output = {0};
  rpc_append(&output, kind, message);
  put(fd, output.data, output.size);
  bytes_free(&output);
}

static void put_hello(int fd, uint32_t version, uint64_t cluster) {
  Rpc__Hello hello = RPC__HELLO__INIT;
  hello.magic = RPC_MAGIC;
  hello.version = version;
  hello.cluster = cluster;
  put_message(fd, RPC_HELLO, &hello.base);
}

/* What one recv brings after waiting for it. */
static ssize_t get(int fd, void *buffer, size_t size) {
  for (;;) {
    const ssize_t got = recv(fd, buffer, size, 0);
    if (got >= 0 || errno == ECONNRESET)
      return got < 0 ? 0 : got;
    cr_assert_eq(errno, EAGAIN);
    uv_run(&loop, UV_RUN_NOWAIT);
  }
}

static unsigned char got_bytes[1 << 20];

static void *get_message(int fd, enum rpc_kind kind, const ProtobufCMessageDescriptor *type) {
  const ssize_t size = get(fd, got_bytes, sizeof got_bytes);
  struct rpc_frame frame;
  cr_assert(size > 0);
  cr_assert_eq(rpc_parse(got_bytes, (size_t)size, RPC_RESPONSE_MAX, &frame), RPC_WHOLE);
  cr_assert(frame.kind == kind && frame.whole_size == (size_t)size);
  rpc_arena_reset(&arena);
  return rpc_unpack(&arena, type, &frame);
}

static void assert_closed(int fd) {
  cr_assert_eq(get(fd, got_bytes, sizeof got_bytes), 0, "the server closed the connection");
  close(fd);
}

static int dial_and_greet(void) {
  const int fd = dial();
  put_hello(fd, RPC_VERSION, 7);
  const Rpc__Hello *hello = get_message(fd, RPC_HELLO, &rpc__hello__descriptor);
  cr_assert(hello->magic == RPC_MAGIC && hello->version == RPC_VERSION && hello->error[0] == '\0');
  cr_assert(hello->cluster == 7 && hello->node == 1 && hello->role == RPC__ROLE__ROLE_PRIMARY);
  cr_assert(hello->leader == 1 && strcmp(hello->leader_address, "127.0.0.1:1001") == 0);
  return fd;
}

static void append_stat(struct bytes *output, uint64_t id) {
  Rpc__Request request = RPC__REQUEST__INIT;
  request.id = id;
  request.operation = RPC__OPERATION__OPERATION_STAT;
  request.path = (ProtobufCBinaryData){.data = (uint8_t *)(char[]){"/a"}, .len = 2};
  rpc_append(output, RPC_REQUEST, &request.base);
}

static void await_submitted(size_t count) {
  while (primary.submitted < count)
    uv_run(&loop, UV_RUN_NOWAIT);
}

/* ---- tests ---- */

Test(server, answers_of_one_turn_leave_in_one_write) {
  enum { MANY = 200 };
  start(0);
  const int fd = dial_and_greet();
  struct bytes output = {0};
  for (uint64_t i = 1; i <= MANY; i++)
    append_stat(&output, i);
  put(fd, output.data, output.size);
  bytes_free(&output);
  await_submitted(MANY);
  cr_assert_str_eq(primary.requests[0].path, "/a");
  cr_assert_eq(primary.requests[0].request.code, OP_STAT);
  fake_primary_answer_all(&primary, &(struct answer){.version = 3});
  const ssize_t size = get(fd, got_bytes, sizeof got_bytes);
  size_t at = 0;
  for (uint64_t i = 1; i <= MANY; i++) {
    struct rpc_frame frame;
    cr_assert_eq(rpc_parse(got_bytes + at, (size_t)size - at, RPC_RESPONSE_MAX, &frame), RPC_WHOLE);
    rpc_arena_reset(&arena);
    const Rpc__Response *response = rpc_unpack(&arena, &rpc__response__descriptor, &frame);
    cr_assert(response && response->id == i && response->version == 3);
    at += frame.whole_size;
  }
  cr_assert_eq(at, (size_t)size);
  close(fd);
  finish();
}

Test(server, frames_cut_anywhere_are_put_together) {
  start(0);
  const int fd = dial_and_greet();
  struct bytes output = {0};
  append_stat(&output, 1);
  append_stat(&output, 2);
  for (size_t i = 0; i < output.size; i++) {
    put(fd, output.data + i, 1);
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  bytes_free(&output);
  await_submitted(2);
  close(fd);
  finish();
}

Test(server, a_wrong_node_tells_where_the_leader_is) {
  start(0);
  const int fd = dial_and_greet();
  struct bytes output = {0};
  append_stat(&output, 1);
  put(fd, output.data, output.size);
  bytes_free(&output);
  await_submitted(1);
  fake_primary_answer_all(&primary, &(struct answer){.status = STATUS_NOT_PRIMARY, .leader = 2});
  const Rpc__Response *response = get_message(fd, RPC_RESPONSE, &rpc__response__descriptor);
  cr_assert(response->status == RPC__STATUS__STATUS_NOT_PRIMARY && response->leader == 2);
  cr_assert_str_eq(response->leader_address, "127.0.0.1:1002");
  close(fd);
  finish();
}

Test(server, another_version_or_cluster_is_told_so_and_closed) {
  start(0);
  int fd = dial();
  put_hello(fd, RPC_VERSION + 8, 7);
  const Rpc__Hello *hello = get_message(fd, RPC_HELLO, &rpc__hello__descriptor);
  char ours[16], theirs[16];
  snprintf(ours, sizeof ours, "version %u,", RPC_VERSION);
  snprintf(theirs, sizeof theirs, "version %u", RPC_VERSION + 8);
  cr_assert(strstr(hello->error, ours) && strstr(hello->error, theirs), "%s", hello->error);
  assert_closed(fd);
  fd = dial();
  put_hello(fd, RPC_VERSION, 8);
  hello = get_message(fd, RPC_HELLO, &rpc__hello__descriptor);
  cr_assert(strstr(hello->error, "cluster 7") && strstr(hello->error, "cluster 8"), "%s", hello->error);
  assert_closed(fd);
  finish();
}

Test(server, what_is_no_frame_closes_the_session) {
  start(0);
  static const char *const garbage[] = {"GET / HTTP/1.1\r\n\r\n", "\x01\x00\x00\x00\x02",
                                        "\xff\xff\xff\xff\x02", "\x02\x00\x00\x00\x02\xff",
                                        "\x01\x00\x00\x00\x09"};
  static const size_t sizes[] = {18, 5, 5, 6, 5};
  for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
    int fd = dial();
    put(fd, garbage[i], sizes[i]);
    assert_closed(fd);
    fd = dial_and_greet();
    put(fd, garbage[i], sizes[i]);
    assert_closed(fd);
  }
  const int fd = dial_and_greet();
  put_hello(fd, RPC_VERSION, 7);
  assert_closed(fd);
  cr_assert_eq(primary.submitted, 0);
  finish();
}

Test(server, answers_to_a_client_that_left_are_dropped) {
  start(0);
  const int fd = dial_and_greet();
  struct bytes output = {0};
  append_stat(&output, 1);
  append_stat(&output, 2);
  put(fd, output.data, output.size);
  bytes_free(&output);
  await_submitted(2);
  close(fd);
  for (int turn = 0; turn < 5; turn++)
    uv_run(&loop, UV_RUN_NOWAIT);
  fake_primary_answer_all(&primary, &(struct answer){0});
  const int other = dial_and_greet();
  close(other);
  finish();
}

Test(server, a_flood_is_held_back_until_the_primary_answers) {
  enum { FLOOD = 20000 };
  start(0);
  const int fd = dial_and_greet();
  struct bytes output = {0};
  for (uint64_t i = 1; i <= FLOOD; i++)
    append_stat(&output, i);
  size_t sent = 0, answered = 0, most = 0;
  struct bytes input = {0};
  while (answered < FLOOD) {
    const ssize_t put_now = send(fd, output.data + sent, output.size - sent, 0);
    sent += put_now > 0 ? (size_t)put_now : 0;
    for (int turn = 0; turn < 3; turn++)
      uv_run(&loop, UV_RUN_NOWAIT);
    most = primary.count > most ? primary.count : most;
    fake_primary_answer_all(&primary, &(struct answer){0});
    uv_run(&loop, UV_RUN_NOWAIT);
    const ssize_t got = recv(fd, bytes_reserve(&input, 1 << 20), 1 << 20, 0);
    input.size += got > 0 ? (size_t)got : 0;
    struct rpc_frame frame;
    size_t at = 0;
    while (rpc_parse(input.data + at, input.size - at, RPC_RESPONSE_MAX, &frame) == RPC_WHOLE) {
      at += frame.whole_size;
      answered++;
    }
    bytes_consume(&input, at);
  }
  cr_assert(most <= 4096 && most > 1000, "in flight at one time: %zu", most);
  bytes_free(&input);
  bytes_free(&output);
  close(fd);
  finish();
}

Test(server, who_does_not_read_its_answers_is_dropped) {
  enum { ASKED = 2000 };
  start(0);
  const int fd = dial_and_greet();
  struct bytes output = {0};
  for (uint64_t i = 1; i <= ASKED; i++)
    append_stat(&output, i);
  put(fd, output.data, output.size);
  bytes_free(&output);
  await_submitted(ASKED);
  char *value = xcalloc(1, 100000);
  fake_primary_answer_all(&primary, &(struct answer){.value = {value, 100000}});
  free(value);
  uv_run(&loop, UV_RUN_NOWAIT);
  ssize_t got;
  size_t total = 0;
  while ((got = get(fd, got_bytes, sizeof got_bytes)) > 0)
    total += (size_t)got;
  cr_assert(total < ASKED * UINT64_C(100000));
  close(fd);
  finish();
}

Test(server, a_thousand_sessions_are_served) {
  enum { SESSIONS = 1100 };
  const struct rlimit limit = {4096, 4096};
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
    cr_skip_test("this machine allows too few open files");
  start(0);
  static int fds[SESSIONS];
  struct bytes output = {0};
  append_stat(&output, 1);
  for (size_t i = 0; i < SESSIONS; i++) {
    fds[i] = dial_and_greet();
    put(fds[i], output.data, output.size);
  }
  bytes_free(&output);
  await_submitted(SESSIONS);
  fake_primary_answer_all(&primary, &(struct answer){0});
  for (size_t i = 0; i < SESSIONS; i++) {
    cr_assert_not_null(get_message(fds[i], RPC_RESPONSE, &rpc__response__descriptor));
    close(fds[i]);
  }
  finish();
}

Test(server, one_session_too_many_is_closed_and_the_others_live) {
  start(2);
  const int first = dial_and_greet(), second = dial_and_greet();
  assert_closed(dial());
  close(second);
  for (int turn = 0; turn < 5; turn++)
    uv_run(&loop, UV_RUN_NOWAIT);
  const int third = dial_and_greet();
  close(first);
  close(third);
  finish();
}

Test(server, exhausted_descriptors_are_survived) {
  start(0);
  const int first = dial_and_greet();
  const int spare = dial();
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  const struct rlimit tight = {(rlim_t)spare + 1, limit.rlim_max};
  cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
  assert_closed(spare);
  setrlimit(RLIMIT_NOFILE, &limit);
  const int later = dial_and_greet();
  close(first);
  close(later);
  finish();
}

Test(server, status_is_answered_in_every_role) {
  start(0);
  const int fd = dial_and_greet();
  static const enum primary_role roles[] = {ROLE_STANDBY, ROLE_CATCHING_UP, ROLE_PRIMARY, ROLE_STEPPING_DOWN};
  for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
    primary.status = (struct primary_status){.role = roles[i],
                                             .journal = {.term = 9,
                                                         .leader = 2,
                                                         .commit_index = 10,
                                                         .first_index = 3,
                                                         .last_index = 12,
                                                         .snapshot_index = 2,
                                                         .snapshots = {.taking = i == 0,
                                                                       .sending = i == 1,
                                                                       .installing = i == 2,
                                                                       .begun = 9,
                                                                       .taken = 6,
                                                                       .sent = 7,
                                                                       .installed = 8}},
                                             .applied_index = 8,
                                             .inodes = 5};
    Rpc__NodeStatusRequest request = RPC__NODE_STATUS_REQUEST__INIT;
    request.id = i + 1;
    request.with_hash = i % 2 == 0;
    const int64_t asked_ns = time_wall_ns();
    put_message(fd, RPC_NODE_STATUS_REQUEST, &request.base);
    const Rpc__NodeStatus *status = get_message(fd, RPC_NODE_STATUS, &rpc__node_status__descriptor);
    cr_assert(status->id == i + 1 && status->node == 1 && (int)status->role == (int)roles[i] + 1);
    cr_assert(status->term == 9 && status->leader == 2 && status->commit_index == 10);
    cr_assert(status->first_index == 3 && status->last_index == 12 && status->snapshot_index == 2);
    cr_assert(status->applied_index == 8 && status->inodes == 5);
    cr_assert_eq(status->state_hash, i % 2 == 0 ? 4711 : 0);
    cr_assert(status->wall_ns >= asked_ns && status->wall_ns <= time_wall_ns());
    cr_assert(status->taking_snapshot == (i == 0) && status->sending_snapshot == (i == 1));
    cr_assert(status->installing_snapshot == (i == 2) && status->snapshots_taken == 6);
    cr_assert(status->snapshots_sent == 7 && status->snapshots_installed == 8);
    cr_assert_eq(status->snapshots_begun, 9);
  }
  close(fd);
  finish();
}

Test(server, a_port_in_use_is_an_error_with_a_cure) {
  start(0);
  char address[32];
  snprintf(address, sizeof address, "127.0.0.1:%u", server_port(server));
  const struct server_options options = {.loop = &loop, .primary = &primary, .address = address};
  struct server *second;
  struct error error;
  cr_assert_eq(server_open(&options, &second, &error), ERR_IO);
  cr_assert(strstr(error.message, address) && strstr(error.message, "in use"), "%s", error.message);
  const struct server_options elsewhere = {.loop = &loop, .primary = &primary, .address = "192.0.2.1:80"};
  cr_assert_eq(server_open(&elsewhere, &second, &error), ERR_IO);
  cr_assert(strstr(error.message, "this machine has"), "%s", error.message);
  finish();
}
