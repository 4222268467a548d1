/* link.c: the one connection, to the primary or to any node: where to dial, when to stay, when to leave.
 *
 * It stays with a node that answers, whatever the node believes itself to be: only so does a client notice
 * that an old primary still answers. It leaves when the node says not-primary, closes, or is silent though
 * something is unanswered: the kernel of a stopped process accepts connections and bytes all the same. */
#include <assert.h>
#include <string.h>

#include "master/client/internal.h"

#define LEAVE_WITHIN_NS (100 * NS_PER_MS) /* for what is in flight on a node that is not the primary */
#define BATCH_SIZE (256u << 10)
#define TEXT_LIMIT (RPC_REQUEST_MAX - 256u) /* 256: more than all other members of a request take */
#define BACKOFF_FIRST_NS (5 * NS_PER_MS)
#define BACKOFF_LIMIT_NS (100 * NS_PER_MS)
#define FAILED_RECENTLY_NS (500 * NS_PER_MS) /* hints at such a node are not followed */

/* ---- where to go ---- */

/* Index of the node that a hint means, learnt if need be, or node_count. */
static size_t node_of_hint(struct master_client *client, uint64_t leader, const char *leader_address) {
  for (size_t i = 0; i < client->node_count; i++)
    if (leader != 0 && client->nodes[i].id == leader)
      return i;
  for (size_t i = 0; i < client->node_count; i++)
    if (strcmp(client->nodes[i].text, leader_address) == 0)
      return i;
  return client->only_given || leader_address[0] == '\0' ? client->node_count
                                                         : client_learn_node(client, leader_address);
}

static size_t next_node(struct master_client *client, uint64_t leader, const char *leader_address,
                        int64_t now_ns) {
  const size_t hinted = client->any_node ? client->node_count : node_of_hint(client, leader, leader_address);
  if (hinted < client->node_count && hinted != client->at &&
      now_ns - client->nodes[hinted].failed_ns > FAILED_RECENTLY_NS)
    return hinted;
  return (client->at + 1) % client->node_count;
}

/* One round through all nodes is free; then it is 5 ms before each node of the next, then 10 … 100 ms, less
 * up to a half by chance, so that clients do not come in step. A primary that hands over is back sooner than
 * a delay that doubled from node to node. */
static void move_to(struct master_client *client, size_t node, int64_t now_ns) {
  assert(!client->connection);
  client->at = node;
  client->failures++;
  if (client->failures < client->node_count)
    return;
  const unsigned rounds = client->failures / (unsigned)client->node_count - 1;
  int64_t delay_ns = BACKOFF_FIRST_NS << (rounds < 5 ? rounds : 5);
  if (delay_ns > BACKOFF_LIMIT_NS)
    delay_ns = BACKOFF_LIMIT_NS;
  delay_ns -= random_between(&client->random, 0, delay_ns / 2);
  client->not_before_ns = now_ns + delay_ns;
}

/* ---- ends ---- */

void link_close(struct master_client *client) {
  if (client->connection)
    connection_close(client->connection);
  client->connection = NULL;
  client->greeted = false;
  client->unanswered = 0;
  client->quiet_since_ns = NEVER;
  client->leave_by_ns = NEVER;
  client->suspected = false;
}

/* What was sent on a connection that is gone. Answering calls may close the client. */
static void lose_in_flight(struct master_client *client, enum master_error how) {
  struct list lost;
  list_init(&lost);
  while (!list_is_empty(&client->in_flight)) {
    struct list *first = client->in_flight.next;
    list_remove(first);
    list_append(&lost, first);
  }
  while (!list_is_empty(&lost))
    call_lose(client, CONTAINER_OF(lost.next, struct call, by_state), how);
}

/* Without retries, nobody being there is an answer. */
static void refuse_waiting(struct master_client *client) {
  struct list refused;
  list_init(&refused);
  while (!client->retry && !list_is_empty(&client->waiting)) {
    struct list *first = client->waiting.next;
    list_remove(first);
    list_append(&refused, first);
  }
  while (!list_is_empty(&refused))
    call_end_unanswered(client, CONTAINER_OF(refused.next, struct call, by_state));
}

static void fail(struct master_client *client, enum master_error how) {
  const int64_t now_ns = (int64_t)uv_hrtime();
  const bool greeted = client->greeted;
  link_close(client);
  client->nodes[client->at].failed_ns = now_ns;
  move_to(client, (client->at + 1) % client->node_count, now_ns);
  client_pump_soon(client);
  lose_in_flight(client, how);
  if (!greeted)
    refuse_waiting(client);
}

static void leave(struct master_client *client, size_t node, int64_t now_ns) {
  link_close(client);
  move_to(client, node, now_ns);
  client_pump_soon(client);
  lose_in_flight(client, MASTER_ERROR_CONNECTION_LOST);
}

void link_refused(struct master_client *client, uint64_t leader, const char *leader_address) {
  const int64_t now_ns = (int64_t)uv_hrtime();
  client->leave_for = next_node(client, leader, leader_address, now_ns);
  if (client->leave_by_ns == NEVER)
    client->leave_by_ns = now_ns + LEAVE_WITHIN_NS;
  client_pump_soon(client);
}

/* ---- events of the connection ---- */

static void on_greeted(void *context, const Rpc__Hello *hello) {
  struct master_client *client = context;
  client->greeted = true;
  client->cluster = hello->cluster;
  client->nodes[client->at].id = hello->node;
  client->nodes[client->at].failed_ns = INT64_MIN / 2;
  const bool serves = hello->role != RPC__ROLE__ROLE_STANDBY && hello->role != RPC__ROLE__ROLE_STEPPING_DOWN;
  if (client->retry && !serves && !client->any_node)
    link_refused(client, hello->leader, hello->leader_address);
  client_pump_soon(client);
}

static bool on_frame(void *context, const struct rpc_frame *frame) {
  struct master_client *client = context;
  rpc_arena_reset(&client->arena);
  const Rpc__Response *response =
      frame->kind == RPC_RESPONSE ? rpc_unpack(&client->arena, &rpc__response__descriptor, frame) : NULL;
  if (!response || client->unanswered == 0) {
    client_complain(client, client->at, "sent something that is no response");
    return false;
  }
  client->unanswered--;
  client->quiet_since_ns = client->unanswered > 0 ? (int64_t)uv_hrtime() : NEVER;
  struct call *call = call_find(client, response->id);
  if (call)
    call_receive(client, call, response);
  return true;
}

static void on_ended(void *context, enum connection_end end) {
  struct master_client *client = context;
  client->connection = NULL;
  fail(client, end == CONNECTION_BROKEN ? MASTER_ERROR_CONNECTION_LOST : MASTER_ERROR_REFUSED);
}

static void on_complain(void *context, const char *text) {
  struct master_client *client = context;
  client_complain(client, client->at, text);
}

static void on_unblocked(void *context) {
  client_pump_soon(context);
}

static void on_released(void *context) {
  client_release(context);
}

static const struct connection_events events = {on_greeted,  on_frame,     on_ended,
                                                on_complain, on_unblocked, on_released};

/* ---- what is due ---- */

static void dial(struct master_client *client, int64_t now_ns) {
  const struct node *node = &client->nodes[client->at];
  const struct connection_target target = {.address = (const struct sockaddr *)&node->address,
                                           .cluster = client->cluster,
                                           .tls = client->tls,
                                           .roles = TLS_MASTER};
  client->connection = connection_dial(client->loop, &target, &events, client);
  client->handles++;
  client->dialled_ns = now_ns;
}

/* Packs what waits into the output; what no frame can hold goes to `oversized`. Returns how many were packed.
 */
static uint64_t pack_waiting(struct master_client *client, struct list *oversized) {
  struct bytes *output = connection_output(client->connection);
  uint64_t packed = 0;
  while (!list_is_empty(&client->waiting) && output->size < BATCH_SIZE) {
    struct call *call = CONTAINER_OF(client->waiting.next, struct call, by_state);
    list_remove(&call->by_state);
    if (call_text_size(call) > TEXT_LIMIT) {
      list_append(oversized, &call->by_state);
      continue;
    }
    call->message.id = (uint64_t)++client->attempts << 32 | call->slot;
    call->message.retry_floor = call->floor.floor ? floors_lowest(&call->floor) : 0;
    list_append(&client->in_flight, &call->by_state);
    call->in_flight = true;
    rpc_append(output, RPC_REQUEST, &call->message.base);
    packed++;
  }
  return packed;
}

static void send_waiting(struct master_client *client, int64_t now_ns) {
  struct list oversized;
  list_init(&oversized);
  const uint64_t sent = pack_waiting(client, &oversized);
  if (sent > 0) {
    if (client->unanswered == 0)
      client->quiet_since_ns = now_ns;
    client->unanswered += sent;
    connection_flush(client->connection);
    if (!list_is_empty(&client->waiting) && !connection_is_blocked(client->connection))
      client_pump_soon(client);
  }
  while (!list_is_empty(&oversized))
    call_end_unanswered(client, CONTAINER_OF(oversized.next, struct call, by_state));
}

static bool has_fallen_silent(const struct master_client *client, int64_t now_ns) {
  if (client->connection && !client->greeted)
    return now_ns - client->dialled_ns >= client->connect_timeout_ns;
  return client->quiet_since_ns != NEVER && now_ns - client->quiet_since_ns >= client->attempt_timeout_ns;
}

void link_pump(struct master_client *client, int64_t now_ns) {
  if (has_fallen_silent(client, now_ns)) {
    /* Perhaps it is we who were stopped: what has come meanwhile is read before the second look. */
    if (client->suspected) {
      fail(client, client->greeted ? MASTER_ERROR_TIMEOUT : MASTER_ERROR_REFUSED);
      return;
    }
    client->suspected = true;
    client_pump_soon(client);
    return;
  }
  client->suspected = false;
  if (client->leave_by_ns != NEVER) {
    if (list_is_empty(&client->in_flight) || now_ns >= client->leave_by_ns)
      leave(client, client->leave_for, now_ns);
    return;
  }
  if (list_is_empty(&client->waiting) || now_ns < client->not_before_ns)
    return;
  if (!client->connection)
    dial(client, now_ns);
  else if (client->greeted && !connection_is_blocked(client->connection))
    send_waiting(client, now_ns);
}

int64_t link_next_ns(const struct master_client *client, int64_t now_ns) {
  int64_t next_ns = client->leave_by_ns;
  if (client->connection && !client->greeted)
    next_ns = client->dialled_ns + client->connect_timeout_ns;
  else if (client->quiet_since_ns != NEVER && client->quiet_since_ns + client->attempt_timeout_ns < next_ns)
    next_ns = client->quiet_since_ns + client->attempt_timeout_ns;
  const bool held_back = !list_is_empty(&client->waiting) && (!client->connection || client->greeted) &&
                         client->leave_by_ns == NEVER;
  if (held_back && client->not_before_ns > now_ns && client->not_before_ns < next_ns)
    next_ns = client->not_before_ns;
  return next_ns;
}
