#include "master/client/test/fake_server.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static void on_session_closed(uv_handle_t *handle) {
  struct fake_session *session = handle->data;
  bytes_free(&session->input);
  free(session);
}

void fake_hang_up(struct fake_session *session) {
  if (session->closing)
    return;
  session->closing = true;
  list_remove(&session->link);
  uv_close((uv_handle_t *)&session->tcp, on_session_closed);
}

void fake_send(struct fake_session *session, const void *data, size_t size) {
  const uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)data, (unsigned)size);
  const int sent = uv_try_write((uv_stream_t *)&session->tcp, &buffer, 1);
  assert(sent == (int)size);
  (void)sent;
}

static void send_message(struct fake_session *session, enum rpc_kind kind, const ProtobufCMessage *message) {
  struct bytes output = {0};
  rpc_append(&output, kind, message);
  fake_send(session, output.data, output.size);
  bytes_free(&output);
}

void fake_respond(struct fake_session *session, const Rpc__Response *response) {
  send_message(session, RPC_RESPONSE, &response->base);
}

void fake_answer(struct fake_session *session, uint64_t request_id, Rpc__Status status) {
  Rpc__Response response = RPC__RESPONSE__INIT;
  response.id = request_id;
  response.status = status;
  fake_respond(session, &response);
}

static void on_frame(struct fake_session *session, const struct rpc_frame *frame) {
  struct fake_server *server = session->server;
  rpc_arena_reset(&server->arena);
  if (!session->greeted) {
    session->greeted = true;
    if (!server->silent_hello)
      send_message(session, RPC_HELLO, &server->hello.base);
  } else if (frame->kind == RPC_REQUEST) {
    server->requests++;
    const Rpc__Request *request = rpc_unpack(&server->arena, &rpc__request__descriptor, frame);
    assert(request);
    if (server->request)
      server->request(server, session, request);
  } else if (frame->kind == RPC_NODE_STATUS_REQUEST) {
    const Rpc__NodeStatusRequest *request =
        rpc_unpack(&server->arena, &rpc__node_status_request__descriptor, frame);
    Rpc__NodeStatus status = RPC__NODE_STATUS__INIT;
    status.id = request->id;
    status.node = server->id;
    status.role = server->hello.role;
    status.state_hash = request->with_hash ? 77 : 0;
    send_message(session, RPC_NODE_STATUS, &status.base);
  }
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  struct fake_session *session = handle->data;
  bytes_reserve(&session->input, suggested);
  *buffer = uv_buf_init((char *)session->input.data + session->input.size, (unsigned)suggested);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  (void)buffer;
  struct fake_session *session = stream->data;
  if (size < 0) {
    fake_hang_up(session);
    return;
  }
  session->input.size += (size_t)size;
  struct rpc_frame frame;
  while (!session->closing &&
         rpc_parse(session->input.data, session->input.size, RPC_REQUEST_MAX, &frame) == RPC_WHOLE) {
    on_frame(session, &frame);
    bytes_consume(&session->input, frame.whole_size);
  }
}

static void on_connection(uv_stream_t *stream, int status) {
  assert(status == 0);
  (void)status;
  struct fake_server *server = stream->data;
  struct fake_session *session = xcalloc(1, sizeof *session);
  session->server = server;
  session->tcp.data = session;
  server->accepted++;
  uv_tcp_init(server->loop, &session->tcp);
  list_append(&server->sessions, &session->link);
  uv_accept(stream, (uv_stream_t *)&session->tcp);
  if (server->close_at_once)
    fake_hang_up(session);
  else
    uv_read_start((uv_stream_t *)&session->tcp, on_allocate, on_read);
}

void fake_server_open(struct fake_server *server, uv_loop_t *loop, uint64_t id) {
  *server = (struct fake_server){.loop = loop, .id = id};
  server->tcp.data = server;
  list_init(&server->sessions);
  rpc_arena_init(&server->arena);
  rpc__hello__init(&server->hello);
  server->hello.magic = RPC_MAGIC;
  server->hello.version = RPC_VERSION;
  server->hello.cluster = 7;
  server->hello.node = id;
  server->hello.role = RPC__ROLE__ROLE_PRIMARY;
  struct sockaddr_in address;
  int size = sizeof address;
  uv_ip4_addr("127.0.0.1", 0, &address);
  uv_tcp_init(loop, &server->tcp);
  int status = uv_tcp_bind(&server->tcp, (const struct sockaddr *)&address, 0);
  assert(status == 0);
  status = uv_listen((uv_stream_t *)&server->tcp, 64, on_connection);
  assert(status == 0);
  uv_tcp_getsockname(&server->tcp, (struct sockaddr *)&address, &size);
  snprintf(server->address, sizeof server->address, "127.0.0.1:%d", ntohs(address.sin_port));
}

void fake_server_close(struct fake_server *server) {
  if (uv_is_closing((uv_handle_t *)&server->tcp))
    return;
  while (!list_is_empty(&server->sessions))
    fake_hang_up(CONTAINER_OF(server->sessions.next, struct fake_session, link));
  uv_close((uv_handle_t *)&server->tcp, NULL);
  rpc_arena_free(&server->arena);
}
