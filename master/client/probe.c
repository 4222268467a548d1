/* probe.c: what one node is asked for itself, its status or administration: to each node on a connection of
 * its own that is kept between them. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/client/internal.h"
#include "master/rpc/backup_manifest.h"

struct query {
  struct list link; /* probe->queries */
  uint64_t id;
  struct bytes frame;            /* to be sent; empty once it was */
  status_callback *status_known; /* one of the two */
  master_admin_callback *answered;
  void *context;
  int64_t deadline_ns;
};

static void query_end(struct query *query) {
  list_remove(&query->link);
  bytes_free(&query->frame);
}

static void reply(struct query *query, const struct node_status *status) {
  query_end(query);
  query->status_known(query->context, status);
  free(query);
}

static void reply_admin(struct query *query, const struct admin_answer *answer) {
  query_end(query);
  query->answered(query->context, answer);
  free(query);
}

static enum node_role role_of(Rpc__Role role) {
  switch (role) {
  case RPC__ROLE__ROLE_STANDBY:
    return NODE_STANDBY;
  case RPC__ROLE__ROLE_CATCHING_UP:
    return NODE_CATCHING_UP;
  case RPC__ROLE__ROLE_PRIMARY:
    return NODE_PRIMARY;
  case RPC__ROLE__ROLE_STEPPING_DOWN:
    return NODE_STEPPING_DOWN;
  default:
    return NODE_UNREACHABLE;
  }
}

static void disconnect(struct probe *probe) {
  if (probe->connection)
    connection_close(probe->connection);
  probe->connection = NULL;
  probe->greeted = false;
}

/* What was asked is answered, what is asked meanwhile is not. */
static void give_up(struct probe *probe) {
  struct list queries;
  list_init(&queries);
  while (!list_is_empty(&probe->queries)) {
    struct list *first = probe->queries.next;
    list_remove(first);
    list_append(&queries, first);
  }
  disconnect(probe);
  while (!list_is_empty(&queries)) {
    struct query *query = CONTAINER_OF(queries.next, struct query, link);
    if (query->status_known)
      reply(query, &(struct node_status){.role = NODE_UNREACHABLE});
    else
      reply_admin(query, &(struct admin_answer){
                             .status = ADMIN_UNREACHABLE, .message = "no answer from the node", .text = ""});
  }
}

static void on_greeted(void *context, const Rpc__Hello *hello) {
  struct probe *probe = context;
  probe->greeted = true;
  probe->client->nodes[probe->node].id = hello->node;
  client_pump_soon(probe->client);
}

static struct query *find_query(struct probe *probe, uint64_t id) {
  for (struct list *at = probe->queries.next; at != &probe->queries; at = at->next) {
    struct query *query = CONTAINER_OF(at, struct query, link);
    if (query->id == id)
      return query;
  }
  return NULL;
}

static void take_status(struct probe *probe, const Rpc__NodeStatus *read) {
  struct query *query = find_query(probe, read->id);
  const struct node_status status = {
      .id = read->node,
      .role = role_of(read->role),
      .term = read->term,
      .leader = read->leader,
      .commit_index = read->commit_index,
      .applied_index = read->applied_index,
      .first_index = read->first_index,
      .last_index = read->last_index,
      .snapshot_index = read->snapshot_index,
      .state_hash = read->state_hash,
      .inodes = read->inodes,
      .uptime_ns = (int64_t)read->uptime_ns,
      .wall_ns = read->wall_ns,
      .taking_snapshot = read->taking_snapshot,
      .sending_snapshot = read->sending_snapshot,
      .installing_snapshot = read->installing_snapshot,
      .snapshots_begun = read->snapshots_begun,
      .snapshots_taken = read->snapshots_taken,
      .snapshots_sent = read->snapshots_sent,
      .snapshots_installed = read->snapshots_installed,
  };
  if (query && query->status_known)
    reply(query, &status);
}

_Static_assert((int)QUORUM_SPARE == RPC__MEMBER_ROLE__MEMBER_ROLE_SPARE, "wire and door agree");
_Static_assert((int)ADMIN_FAILED == RPC__ADMIN_STATUS__ADMIN_STATUS_FAILED, "wire and door agree");

static const struct quorum_member *members_of(struct probe *probe, const Rpc__AdminResponse *read) {
  struct quorum_member *members =
      rpc_arena_take(&probe->client->arena, (read->n_members + 1) * sizeof *members);
  for (size_t i = 0; i < read->n_members; i++) {
    const Rpc__Member *member = read->members[i];
    members[i] = (struct quorum_member){.id = member->id,
                                        .address = member->address,
                                        .role = member->role <= RPC__MEMBER_ROLE__MEMBER_ROLE_SPARE
                                                    ? (enum quorum_role)member->role
                                                    : QUORUM_SPARE,
                                        .match_index = member->match_index,
                                        .heard_ns = member->heard_ns};
  }
  return members;
}

static struct node_report report_of(const Rpc__NodeReport *read) {
  if (!read)
    return (struct node_report){.version = "", .log_level = ""};
  return (struct node_report){.version = read->version,
                              .log_level = read->log_level,
                              .resident_bytes = read->resident_bytes,
                              .disk_size_bytes = read->disk_size_bytes,
                              .disk_free_bytes = read->disk_free_bytes,
                              .descriptors = read->descriptors,
                              .descriptor_limit = read->descriptor_limit,
                              .sessions = read->sessions,
                              .durable_index = read->durable_index,
                              .write_behind_bytes = read->write_behind_bytes,
                              .cache_bytes = read->cache_bytes,
                              .disk_full = read->disk_full};
}

static struct backup backup_of(struct probe *probe, const Rpc__AdminResponse *read) {
  struct backup_file *files = rpc_arena_take(&probe->client->arena, (read->n_files + 1) * sizeof *files);
  for (size_t i = 0; i < read->n_files; i++)
    files[i] = (struct backup_file){
        .name = read->files[i]->name, .size = read->files[i]->size, .checksum = read->files[i]->checksum};
  return (struct backup){.cluster = read->cluster,
                         .index = read->index,
                         .term = read->snapshot_term,
                         .chunk = read->chunk,
                         .files = files,
                         .file_count = read->n_files};
}

void master_backup_manifest(struct bytes *text, const struct backup *backup) {
  struct snapshot_file *files = xcalloc(backup->file_count + 1, sizeof *files);
  for (size_t i = 0; i < backup->file_count; i++) {
    files[i] = (struct snapshot_file){.size = backup->files[i].size, .checksum = backup->files[i].checksum};
    snprintf(files[i].name, sizeof files[i].name, "%s", backup->files[i].name);
  }
  const struct backup_manifest manifest = {.cluster = backup->cluster,
                                           .index = backup->index,
                                           .term = backup->term,
                                           .files = files,
                                           .file_count = backup->file_count};
  backup_manifest_write(text, &manifest);
  free(files);
}

static void take_admin(struct probe *probe, const Rpc__AdminResponse *read) {
  struct query *query = find_query(probe, read->id);
  const struct admin_answer answer = {
      .status = read->status <= RPC__ADMIN_STATUS__ADMIN_STATUS_FAILED ? (enum admin_status)read->status
                                                                       : ADMIN_FAILED,
      .node = read->node,
      .message = read->message,
      .text = read->text,
      .quorum = {.leader = read->leader,
                 .index = read->membership_index,
                 .committed = read->membership_committed,
                 .last_index = read->last_index,
                 .members = members_of(probe, read),
                 .count = read->n_members},
      .report = report_of(read->report),
      .backup = backup_of(probe, read),
      .data = read->data.data,
      .size = read->data.len,
  };
  if (query && query->answered)
    reply_admin(query, &answer);
}

static bool on_frame(void *context, const struct rpc_frame *frame) {
  struct probe *probe = context;
  struct rpc_arena *arena = &probe->client->arena;
  rpc_arena_reset(arena);
  if (frame->kind == RPC_NODE_STATUS) {
    const Rpc__NodeStatus *status = rpc_unpack(arena, &rpc__node_status__descriptor, frame);
    if (status) {
      take_status(probe, status);
      return true;
    }
  } else if (frame->kind == RPC_ADMIN_RESPONSE) {
    const Rpc__AdminResponse *response = rpc_unpack(arena, &rpc__admin_response__descriptor, frame);
    if (response) {
      take_admin(probe, response);
      return true;
    }
  }
  client_complain(probe->client, probe->node, "sent something that is no status and no answer");
  return false;
}

static void on_ended(void *context, enum connection_end end) {
  (void)end;
  struct probe *probe = context;
  probe->connection = NULL;
  give_up(probe);
}

static void on_complain(void *context, const char *text) {
  struct probe *probe = context;
  client_complain(probe->client, probe->node, text);
}

static void on_unblocked(void *context) {
  struct probe *probe = context;
  client_pump_soon(probe->client);
}

static void on_released(void *context) {
  struct probe *probe = context;
  client_release(probe->client);
}

static const struct connection_events events = {on_greeted,  on_frame,     on_ended,
                                                on_complain, on_unblocked, on_released};

static void dial(struct probe *probe) {
  struct master_client *client = probe->client;
  const struct node *node = &client->nodes[probe->node];
  const struct connection_target target = {
      .address = (const struct sockaddr *)&node->address, .tls = client->tls, .roles = TLS_MASTER};
  probe->connection = connection_dial(client->loop, &target, &events, probe);
  client->handles++;
}

static void send_queries(struct probe *probe) {
  for (struct list *at = probe->queries.next; at != &probe->queries; at = at->next) {
    struct query *query = CONTAINER_OF(at, struct query, link);
    if (query->frame.size > 0)
      bytes_append(connection_output(probe->connection), query->frame.data, query->frame.size);
    bytes_free(&query->frame);
  }
  connection_flush(probe->connection);
}

void probes_pump(struct master_client *client, int64_t now_ns) {
  for (size_t i = 0; i < client->node_count; i++) {
    struct probe *probe = &client->nodes[i].probe;
    if (list_is_empty(&probe->queries))
      continue;
    if (CONTAINER_OF(probe->queries.next, struct query, link)->deadline_ns <= now_ns)
      give_up(probe);
    else if (!probe->connection)
      dial(probe);
    else if (probe->greeted && !connection_is_blocked(probe->connection))
      send_queries(probe);
  }
}

int64_t probes_next_ns(const struct master_client *client) {
  int64_t next_ns = NEVER;
  for (size_t i = 0; i < client->node_count; i++) {
    const struct list *queries = &client->nodes[i].probe.queries;
    if (list_is_empty(queries))
      continue;
    const int64_t deadline_ns = CONTAINER_OF(queries->next, struct query, link)->deadline_ns;
    if (deadline_ns < next_ns)
      next_ns = deadline_ns;
  }
  return next_ns;
}

void probes_close(struct master_client *client) {
  for (size_t i = 0; i < client->node_count; i++)
    give_up(&client->nodes[i].probe);
}

static struct query *add_query(struct master_client *client, size_t which, int64_t timeout_ns,
                               void *context) {
  assert(!client->closing && which < client->node_count);
  struct probe *probe = &client->nodes[which].probe;
  struct query *query = xcalloc(1, sizeof *query);
  query->id = ++probe->next_id;
  query->context = context;
  query->deadline_ns = (int64_t)uv_hrtime() + timeout_ns;
  struct list *at = &probe->queries;
  while (at->previous != &probe->queries &&
         CONTAINER_OF(at->previous, struct query, link)->deadline_ns > query->deadline_ns)
    at = at->previous;
  list_append(at, &query->link);
  client_pump_soon(client);
  return query;
}

void master_client_status(struct master_client *client, size_t which, bool with_hash,
                          status_callback *callback, void *context) {
  struct query *query = add_query(client, which, client->attempt_timeout_ns, context);
  query->status_known = callback;
  Rpc__NodeStatusRequest request = RPC__NODE_STATUS_REQUEST__INIT;
  request.id = query->id;
  request.with_hash = with_hash;
  rpc_append(&query->frame, RPC_NODE_STATUS_REQUEST, &request.base);
}

void master_client_admin(struct master_client *client, size_t which, const struct admin_request *asked,
                         int64_t timeout_ns, master_admin_callback *callback, void *context) {
  struct query *query =
      add_query(client, which, timeout_ns ? timeout_ns : client->attempt_timeout_ns, context);
  query->answered = callback;
  Rpc__AdminRequest request = RPC__ADMIN_REQUEST__INIT;
  request.id = query->id;
  request.kind = (Rpc__AdminKind)asked->kind;
  request.node = asked->node;
  request.file = asked->file;
  request.offset = asked->offset;
  if (asked->text)
    request.text = (char *)(uintptr_t)asked->text;
  rpc_append(&query->frame, RPC_ADMIN_REQUEST, &request.base);
}
