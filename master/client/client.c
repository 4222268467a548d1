#include "master/client/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "master/client/internal.h"

#define REQUEST_TIMEOUT_DEFAULT_NS (2 * NS_PER_S)
#define CONNECT_TIMEOUT_DEFAULT_NS (500 * NS_PER_MS)
#define TLS_CONNECT_TIMEOUT_DEFAULT_NS (1 * NS_PER_S) /* a handshake waits for both processors */
/* A client that is patient with a stalled primary is the one that catches it answering when it must not. */
#define ATTEMPT_TIMEOUT_DEFAULT_NS (1 * NS_PER_S)
#define COMPLAIN_EVERY_NS (10 * NS_PER_S)

/* ---- turns of the loop ---- */

static void on_timer(uv_timer_t *timer) {
  struct master_client *client = timer->data;
  client->timer_ns = NEVER;
  client_pump_soon(client);
}

/* Lets the timer fire at `at_ns` or earlier; early is harmless. */
static void wake_at(struct master_client *client, int64_t at_ns, int64_t now_ns) {
  if (at_ns == NEVER || client->timer_ns <= at_ns)
    return;
  client->timer_ns = at_ns;
  const int64_t delay_ns = at_ns > now_ns ? at_ns - now_ns : 0;
  uv_update_time(client->loop);
  uv_timer_start(&client->timer, on_timer, (uint64_t)((delay_ns + NS_PER_MS - 1) / NS_PER_MS), 0);
}

static void expire(struct master_client *client, int64_t now_ns) {
  while (!list_is_empty(&client->by_deadline)) {
    struct call *call = CONTAINER_OF(client->by_deadline.next, struct call, by_deadline);
    if (call->deadline_ns > now_ns)
      return;
    call_end_by_time(client, call);
  }
}

static void on_pump(uv_idle_t *pump) {
  struct master_client *client = pump->data;
  const int64_t now_ns = (int64_t)uv_hrtime();
  uv_idle_stop(pump);
  expire(client, now_ns);
  link_pump(client, now_ns);
  probes_pump(client, now_ns);
  if (client->closing)
    return;
  if (!list_is_empty(&client->by_deadline))
    wake_at(client, CONTAINER_OF(client->by_deadline.next, struct call, by_deadline)->deadline_ns, now_ns);
  wake_at(client, link_next_ns(client, now_ns), now_ns);
  wake_at(client, probes_next_ns(client), now_ns);
}

/* An idle handle, because it runs once before the loop waits again wherever in the turn it was started. */
void client_pump_soon(struct master_client *client) {
  if (!client->closing && !uv_is_active((const uv_handle_t *)&client->pump))
    uv_idle_start(&client->pump, on_pump);
}

void client_complain(struct master_client *client, size_t node, const char *text) {
  const int64_t now_ns = (int64_t)uv_hrtime();
  if (now_ns - client->nodes[node].complained_ns < COMPLAIN_EVERY_NS)
    return;
  client->nodes[node].complained_ns = now_ns;
  log_warn("%s %s", client->nodes[node].text, text);
}

/* ---- requests ---- */

Rpc__Operation wire_operation(enum master_operation operation) {
  switch (operation) {
  case MASTER_MKDIR:
    return RPC__OPERATION__OPERATION_MKDIR;
  case MASTER_CREATE:
    return RPC__OPERATION__OPERATION_CREATE;
  case MASTER_COMPLETE:
    return RPC__OPERATION__OPERATION_COMPLETE;
  case MASTER_DELETE:
    return RPC__OPERATION__OPERATION_DELETE;
  case MASTER_RENAME:
    return RPC__OPERATION__OPERATION_RENAME;
  case MASTER_SET:
    return RPC__OPERATION__OPERATION_SET;
  case MASTER_STAT:
    return RPC__OPERATION__OPERATION_STAT;
  case MASTER_LIST:
    return RPC__OPERATION__OPERATION_LIST;
  case MASTER_EXISTS:
    return RPC__OPERATION__OPERATION_EXISTS;
  case MASTER_ADD_BLOCK:
    return RPC__OPERATION__OPERATION_ADD_BLOCK;
  case MASTER_COMMIT_BLOCK:
    return RPC__OPERATION__OPERATION_COMMIT_BLOCK;
  case MASTER_BLOCKS:
    return RPC__OPERATION__OPERATION_BLOCKS;
  case MASTER_BATCH:
    return RPC__OPERATION__OPERATION_BATCH;
  case MASTER_LOCATE:
    return RPC__OPERATION__OPERATION_LOCATE;
  case MASTER_WORKERS:
    return RPC__OPERATION__OPERATION_WORKERS;
  case MASTER_MOUNT:
    return RPC__OPERATION__OPERATION_MOUNT;
  case MASTER_UNMOUNT:
    return RPC__OPERATION__OPERATION_UNMOUNT;
  case MASTER_MOUNTS:
    return RPC__OPERATION__OPERATION_MOUNTS;
  case MASTER_PERSISTED:
    return RPC__OPERATION__OPERATION_PERSISTED;
  }
  return RPC__OPERATION__OPERATION_NONE;
}

void master_client_submit(struct master_client *client, const struct master_request *request,
                          master_answer_callback *callback, void *context) {
  assert(!client->closing && callback);
  const Rpc__Operation operation = wire_operation(request->operation);
  const bool read = master_operation_is_read(request->operation);
  assert(operation != RPC__OPERATION__OPERATION_NONE && (read || request->op_id != 0));
  assert((read || !client->any_node) && "changes go to the primary");
  struct call *call = call_new(client, operation);
  call->answered = callback;
  call->context = context;
  call_set_text(call, request);
  call->message.parents = request->parents;
  call->message.exist_ok = request->exist_ok;
  call->message.overwrite = request->overwrite;
  call->message.recursive = request->recursive;
  call->message.has_if_version = request->has_if_version;
  call->message.if_version = request->if_version;
  call->message.length = request->length;
  call->message.block = request->block;
  call->message.creator = request->creator;
  call->message.worker = request->worker;
  call->message.any = client->any_node;
  if (!read) {
    call->message.op_id = request->op_id;
    floors_add(&client->floors, &call->floor, request->op_id);
  }
  client_pump_soon(client);
}

void master_client_reserve(struct master_client *client, uint32_t count, reserve_callback *callback,
                           void *context) {
  assert(!client->closing && callback && !client->any_node);
  struct call *call = call_new(client, RPC__OPERATION__OPERATION_RESERVE_CLIENTS);
  call->reserved = callback;
  call->context = context;
  call->message.count = count;
  client_pump_soon(client);
}

/* ---- life ---- */

static int64_t or_default(int64_t value, int64_t fallback) {
  return value > 0 ? value : fallback;
}

static void name_node(struct master_client *client, size_t at, const char *address) {
  struct node *node = &client->nodes[at];
  node->text = xstrdup(address);
  node->failed_ns = INT64_MIN / 2;
  node->complained_ns = INT64_MIN / 2;
  node->probe.client = client;
  node->probe.node = at;
  list_init(&node->probe.queries);
}

size_t client_learn_node(struct master_client *client, const char *address) {
  const size_t at = client->node_count;
  if (at == client->node_capacity || rpc_parse_address(address, &client->nodes[at].address, NULL) != 0)
    return at;
  client->node_count++;
  name_node(client, at, address);
  return at;
}

size_t master_client_add_node(struct master_client *client, const char *address) {
  for (size_t i = 0; i < client->node_count; i++)
    if (strcmp(client->nodes[i].text, address) == 0)
      return i;
  const size_t before = client->node_count, at = client_learn_node(client, address);
  return client->node_count > before ? at : SIZE_MAX;
}

int master_client_open(uv_loop_t *loop, const struct master_client_options *options,
                       struct master_client **opened, struct error *error) {
  if (options->address_count == 0)
    return error_set(error, ERR_BAD_INPUT, "no address of a master is given");
  assert(options->preferred < options->address_count);
  struct node *nodes = xcalloc(options->address_count + NODES_LEARNT_MAX, sizeof *nodes);
  for (size_t i = 0; i < options->address_count; i++) {
    const int status = rpc_parse_address(options->addresses[i], &nodes[i].address, error);
    if (status != 0) {
      free(nodes);
      return status;
    }
  }
  struct master_client *client = xcalloc(1, sizeof *client);
  client->loop = loop;
  client->nodes = nodes;
  client->node_count = options->address_count;
  client->node_capacity = client->node_count + NODES_LEARNT_MAX;
  for (size_t i = 0; i < client->node_count; i++)
    name_node(client, i, options->addresses[i]);
  client->request_timeout_ns = or_default(options->request_timeout_ns, REQUEST_TIMEOUT_DEFAULT_NS);
  client->connect_timeout_ns =
      or_default(options->connect_timeout_ns,
                 options->tls ? TLS_CONNECT_TIMEOUT_DEFAULT_NS : CONNECT_TIMEOUT_DEFAULT_NS);
  client->attempt_timeout_ns = or_default(options->attempt_timeout_ns, ATTEMPT_TIMEOUT_DEFAULT_NS);
  client->only_given = options->only_given;
  client->retry = options->retry;
  client->cluster = options->cluster;
  client->any_node = options->any_node;
  client->tls = options->tls;
  client->at = options->preferred;
  list_init(&client->by_deadline);
  list_init(&client->waiting);
  list_init(&client->in_flight);
  list_init(&client->spare);
  client->not_before_ns = INT64_MIN;
  client->timer_ns = NEVER;
  link_close(client);
  rpc_arena_init(&client->arena);
  random_seed(&client->random, uv_hrtime() ^ (uint64_t)(uintptr_t)client);
  uv_idle_init(loop, &client->pump);
  uv_timer_init(loop, &client->timer);
  client->pump.data = client;
  client->timer.data = client;
  client->handles = 2;
  *opened = client;
  return 0;
}

uint64_t master_client_cluster(const struct master_client *client) {
  return client->cluster;
}

void client_release(struct master_client *client) {
  assert(client->handles > 0);
  if (--client->handles > 0)
    return;
  assert(client->closing);
  void (*const closed)(void *context) = client->closed;
  void *const context = client->closed_context;
  for (size_t i = 0; i < client->node_count; i++)
    free(client->nodes[i].text);
  free(client->nodes);
  calls_free(client);
  rpc_arena_free(&client->arena);
  free(client);
  if (closed)
    closed(context);
}

static void on_handle_closed(uv_handle_t *handle) {
  client_release(handle->data);
}

void master_client_close(struct master_client *client, void (*closed)(void *context), void *context) {
  assert(!client->closing);
  client->closing = true;
  client->closed = closed;
  client->closed_context = context;
  link_close(client);
  while (!list_is_empty(&client->by_deadline))
    call_end_by_time(client, CONTAINER_OF(client->by_deadline.next, struct call, by_deadline));
  probes_close(client);
  uv_close((uv_handle_t *)&client->pump, on_handle_closed);
  uv_close((uv_handle_t *)&client->timer, on_handle_closed);
}
