/* dispatch.c: messages to the primary's requests, answers to messages. */
#include <assert.h>
#include <stdlib.h>

#include "master/server/internal.h"

_Static_assert((int)OP_MKDIR == RPC__OPERATION__OPERATION_MKDIR, "wire and core agree");
_Static_assert((int)OP_EXISTS == RPC__OPERATION__OPERATION_EXISTS, "wire and core agree");
_Static_assert((int)OP_RESERVE_CLIENTS == RPC__OPERATION__OPERATION_RESERVE_CLIENTS, "wire and core agree");
_Static_assert((int)OP_ADD_BLOCK == RPC__OPERATION__OPERATION_ADD_BLOCK, "wire and core agree");
_Static_assert((int)OP_BATCH == RPC__OPERATION__OPERATION_BATCH, "wire and core agree");
_Static_assert((int)OP_REGISTER_WORKER == RPC__OPERATION__OPERATION_REGISTER_WORKER, "wire and core agree");
_Static_assert((int)OP_WORKERS == RPC__OPERATION__OPERATION_WORKERS, "wire and core agree");
_Static_assert((int)OP_MOUNT == RPC__OPERATION__OPERATION_MOUNT, "wire and core agree");
_Static_assert((int)OP_PERSISTED == RPC__OPERATION__OPERATION_PERSISTED && OP_PERSISTED + 1 == OP_CODES,
               "wire and core agree");
_Static_assert((int)STATUS_OK == RPC__STATUS__STATUS_OK, "wire and core agree");
_Static_assert((int)STATUS_VERSION_MISMATCH == RPC__STATUS__STATUS_VERSION_MISMATCH, "wire and core agree");
_Static_assert((int)STATUS_UNAVAILABLE == RPC__STATUS__STATUS_UNAVAILABLE, "wire and core agree");

static Rpc__Role wire_role(enum primary_role role) {
  switch (role) {
  case ROLE_STANDBY:
    return RPC__ROLE__ROLE_STANDBY;
  case ROLE_CATCHING_UP:
    return RPC__ROLE__ROLE_CATCHING_UP;
  case ROLE_PRIMARY:
    return RPC__ROLE__ROLE_PRIMARY;
  case ROLE_STEPPING_DOWN:
    return RPC__ROLE__ROLE_STEPPING_DOWN;
  }
  return RPC__ROLE__ROLE_UNKNOWN;
}

static char *address_of(struct server *server, uint64_t id) {
  return (char *)(uintptr_t)server_member_address(server, id);
}

/* ---- answers ---- */

static ProtobufCBinaryData bytes_of(struct slice slice) {
  return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)slice.data, .len = slice.size};
}

static void pack_entries(struct bytes *entries, const struct answer *answer) {
  bytes_clear(entries);
  for (size_t i = 0; i < answer->entry_count; i++) {
    const struct answer_entry *entry = &answer->entries[i];
    rpc_pack_entry(entries, entry->name.data, entry->name.size, entry->is_file, entry->creator);
  }
}

static void set_blocks(struct server *server, Rpc__Response *response, const struct answer *answer) {
  const size_t count = answer->block_entry_count;
  Rpc__Block *blocks = rpc_arena_take(&server->arena, count * sizeof *blocks);
  Rpc__Block **pointers = rpc_arena_take(&server->arena, count * sizeof(Rpc__Block *));
  for (size_t i = 0; i < count; i++) {
    rpc__block__init(&blocks[i]);
    blocks[i].block = answer->blocks[i].block;
    blocks[i].committed = answer->blocks[i].committed;
    blocks[i].length = answer->blocks[i].length;
    pointers[i] = &blocks[i];
  }
  response->blocks = pointers;
  response->n_blocks = count;
}

/* Places are in order of blocks. */
static void set_places(struct server *server, Rpc__Response *response, const struct answer *answer) {
  uint32_t *workers = rpc_arena_take(&server->arena, answer->place_count * sizeof *workers);
  for (size_t i = 0; i < answer->place_count; i++) {
    assert(response->blocks && answer->places[i].block < response->n_blocks);
    Rpc__Block *block = response->blocks[answer->places[i].block];
    if (block->n_workers == 0)
      block->workers = &workers[i];
    block->n_workers++;
    workers[i] = answer->places[i].worker;
  }
}

static char *text_of(struct server *server, struct slice slice) {
  char *text = rpc_arena_take(&server->arena, slice.size); /* a zero follows */
  if (slice.size > 0)
    memcpy(text, slice.data, slice.size);
  return text;
}

static void set_workers(struct server *server, Rpc__Response *response, const struct answer *answer) {
  const size_t count = answer->worker_count;
  Rpc__Worker *workers = rpc_arena_take(&server->arena, count * sizeof *workers);
  Rpc__Worker **pointers = rpc_arena_take(&server->arena, count * sizeof(Rpc__Worker *));
  for (size_t i = 0; i < count; i++) {
    const struct answer_worker *from = &answer->workers[i];
    Rpc__Worker *worker = pointers[i] = &workers[i];
    rpc__worker__init(worker);
    worker->id = from->id;
    worker->address = text_of(server, from->address);
    worker->live = from->live;
    worker->heard_ns = from->heard_ns;
    worker->capacity = from->capacity;
    worker->free_bytes = from->free_bytes;
    worker->stored_bytes = from->stored_bytes;
    worker->blocks = from->blocks;
  }
  response->workers = pointers;
  response->n_workers = count;
}

static void set_mounts(struct server *server, Rpc__Response *response, const struct answer *answer) {
  const size_t count = answer->mount_count;
  Rpc__Mount *mounts = rpc_arena_take(&server->arena, count * sizeof *mounts);
  Rpc__Mount **pointers = rpc_arena_take(&server->arena, count * sizeof(Rpc__Mount *));
  for (size_t i = 0; i < count; i++) {
    Rpc__Mount *mount = pointers[i] = &mounts[i];
    rpc__mount__init(mount);
    mount->path = bytes_of(answer->mounts[i].path);
    mount->directory = bytes_of(answer->mounts[i].directory);
    mount->creator = answer->mounts[i].creator;
  }
  response->mounts = pointers;
  response->n_mounts = count;
}

static void respond(struct session *session, uint64_t request_id, const struct answer *answer) {
  struct server *server = session->server;
  Rpc__Response response = RPC__RESPONSE__INIT;
  response.id = request_id;
  response.status = (Rpc__Status)answer->status;
  response.term = answer->term;
  response.commit = answer->commit;
  response.creator = answer->creator;
  response.version = answer->version;
  response.is_file = answer->is_file;
  response.completed = answer->completed;
  response.exists = answer->exists;
  response.length = answer->length;
  response.block_count = answer->block_count;
  response.child_count = answer->child_count;
  response.value = bytes_of(answer->value);
  response.first_client = answer->first_client;
  response.block = answer->block;
  response.at = answer->at;
  response.numbers = (uint64_t *)(uintptr_t)answer->numbers;
  response.n_numbers = answer->number_count;
  response.registered = answer->registered;
  response.lease_ns = answer->lease_ns;
  response.gone = (uint64_t *)(uintptr_t)answer->gone;
  response.n_gone = answer->gone_count;
  response.source = bytes_of(answer->source);
  if (answer->message)
    response.message = (char *)(uintptr_t)answer->message;
  if (answer->status == STATUS_NOT_PRIMARY) {
    response.leader = answer->leader;
    response.leader_address = address_of(server, answer->leader);
  }
  rpc_arena_reset(&server->arena);
  pack_entries(&server->entries, answer);
  if (answer->block_entry_count > 0)
    set_blocks(server, &response, answer);
  if (answer->place_count > 0)
    set_places(server, &response, answer);
  if (answer->worker_count > 0)
    set_workers(server, &response, answer);
  if (answer->mount_count > 0)
    set_mounts(server, &response, answer);
  const size_t many = answer->entry_count + answer->block_entry_count;
  if (many > 0 && rpc_message_size(&response.base) + server->entries.size > RPC_RESPONSE_MAX) {
    log_warn("a listing of %zu entries or blocks is more than one answer holds (%u bytes): refused", many,
             RPC_RESPONSE_MAX);
    rpc__response__init(&response);
    response.id = request_id;
    response.status = RPC__STATUS__STATUS_UNAVAILABLE;
    bytes_clear(&server->entries);
  }
  rpc_append_with(&session->output, RPC_RESPONSE, &response.base, &server->entries);
}

struct ticket *ticket_take(struct session *session, uint64_t request_id) {
  struct server *server = session->server;
  struct ticket *ticket = server->spare;
  if (ticket)
    server->spare = ticket->next;
  else
    ticket = xmalloc(sizeof *ticket);
  *ticket = (struct ticket){.session = session, .request_id = request_id};
  server->tickets++;
  session->in_flight++;
  return ticket;
}

void ticket_give(struct ticket *ticket) {
  struct session *session = ticket->session;
  struct server *server = session->server;
  ticket->next = server->spare;
  server->spare = ticket;
  server->tickets--;
  session_release(session);
}

static void on_answer(void *context, const struct answer *answer) {
  struct ticket *ticket = context;
  if (session_takes_answer(ticket->session))
    respond(ticket->session, ticket->request_id, answer);
  ticket_give(ticket);
}

/* ---- requests ---- */

static struct slice slice_of(ProtobufCBinaryData data) {
  return (struct slice){.data = (const char *)data.data, .size = data.len};
}

static struct request *items_of(struct server *server, const Rpc__Request *message) {
  struct request *items = rpc_arena_take(&server->arena, message->n_items * sizeof *items);
  for (size_t i = 0; i < message->n_items; i++) {
    const Rpc__Item *item = message->items[i];
    items[i] = (struct request){
        .code = (enum operation_code)item->operation,
        .path = slice_of(item->path),
        .destination = slice_of(item->destination),
        .value = slice_of(item->value),
        .parents = item->parents,
        .exist_ok = item->exist_ok,
        .overwrite = item->overwrite,
        .recursive = item->recursive,
        .has_if_version = item->has_if_version,
        .if_version = item->if_version,
        .length = item->length,
        .block = item->block,
        .worker = item->worker,
    };
  }
  return items;
}

static bool dispatch_request(struct session *session, const struct rpc_frame *frame) {
  struct server *server = session->server;
  const Rpc__Request *message = rpc_unpack(&server->arena, &rpc__request__descriptor, frame);
  if (!message || !op_is_known((unsigned)message->operation))
    return false;
  struct request request = {
      .code = (enum operation_code)message->operation,
      .op_id = message->op_id,
      .retry_floor = message->retry_floor,
      .path = slice_of(message->path),
      .destination = slice_of(message->destination),
      .value = slice_of(message->value),
      .parents = message->parents,
      .exist_ok = message->exist_ok,
      .overwrite = message->overwrite,
      .recursive = message->recursive,
      .has_if_version = message->has_if_version,
      .if_version = message->if_version,
      .length = message->length,
      .block = message->block,
      .worker = message->worker,
      .count = message->count,
      .any = message->any,
      .creator = message->creator,
      .address = slice_of(message->address),
      .capacity = message->capacity,
      .nonce = message->nonce,
      .epoch = message->epoch,
      .free_bytes = message->free_bytes,
      .stored_bytes = message->stored_bytes,
      .held = message->held,
      .held_count = message->n_held,
      .removed = message->removed,
      .removed_count = message->n_removed,
  };
  if (message->operation == RPC__OPERATION__OPERATION_BATCH) {
    request.items = items_of(server, message);
    request.item_count = message->n_items;
  }
  primary_submit(server->primary, &request, on_answer, ticket_take(session, message->id));
  return true;
}

static bool dispatch_status(struct session *session, const struct rpc_frame *frame) {
  struct server *server = session->server;
  const Rpc__NodeStatusRequest *request =
      rpc_unpack(&server->arena, &rpc__node_status_request__descriptor, frame);
  if (!request)
    return false;
  const struct primary_status status = primary_status(server->primary);
  Rpc__NodeStatus answer = RPC__NODE_STATUS__INIT;
  answer.id = request->id;
  answer.node = server->id;
  answer.role = wire_role(status.role);
  answer.term = status.journal.term;
  answer.leader = status.journal.leader;
  answer.commit_index = status.journal.commit_index;
  answer.applied_index = status.applied_index;
  answer.first_index = status.journal.first_index;
  answer.last_index = status.journal.last_index;
  answer.snapshot_index = status.journal.snapshot_index;
  answer.inodes = status.inodes;
  answer.uptime_ns = uv_hrtime() - (uint64_t)server->started_ns;
  answer.wall_ns = time_wall_ns();
  answer.taking_snapshot = status.journal.snapshots.taking;
  answer.sending_snapshot = status.journal.snapshots.sending;
  answer.installing_snapshot = status.journal.snapshots.installing;
  answer.snapshots_begun = status.journal.snapshots.begun;
  answer.snapshots_taken = status.journal.snapshots.taken;
  answer.snapshots_sent = status.journal.snapshots.sent;
  answer.snapshots_installed = status.journal.snapshots.installed;
  if (request->with_hash)
    answer.state_hash = primary_state_hash(server->primary);
  rpc_append(&session->output, RPC_NODE_STATUS, &answer.base);
  session_touch(session);
  return true;
}

/* ---- hello ---- */

/* `fault`: why the client is not let in, "" when it is. */
static void append_hello(struct session *session, const char *fault) {
  const struct server *server = session->server;
  const struct primary_status status = primary_status(server->primary);
  Rpc__Hello answer = RPC__HELLO__INIT;
  answer.magic = RPC_MAGIC;
  answer.version = RPC_VERSION;
  answer.cluster = server->cluster;
  answer.error = (char *)(uintptr_t)fault;
  answer.node = server->id;
  answer.role = wire_role(status.role);
  answer.leader = status.journal.leader;
  answer.leader_address = address_of(session->server, status.journal.leader);
  rpc_append(&session->output, RPC_HELLO, &answer.base);
  session->greeted = true;
  session->ending = fault[0] != '\0';
  session_touch(session);
}

static bool dispatch_hello(struct session *session, const struct rpc_frame *frame) {
  struct server *server = session->server;
  const Rpc__Hello *hello = rpc_unpack(&server->arena, &rpc__hello__descriptor, frame);
  if (!hello || hello->magic != RPC_MAGIC)
    return false;
  struct bytes fault = {0};
  if (hello->version != RPC_VERSION)
    bytes_append_format(&fault, "this master speaks protocol version %u, the client version %u", RPC_VERSION,
                        (unsigned)hello->version);
  else if (hello->cluster != 0 && hello->cluster != server->cluster)
    bytes_append_format(&fault, "this master belongs to cluster %llu, the client asks for cluster %llu",
                        (unsigned long long)server->cluster, (unsigned long long)hello->cluster);
  bytes_append_u8(&fault, 0);
  append_hello(session, (const char *)fault.data);
  if (session->ending)
    log_warn("a client is refused: %s", fault.data);
  bytes_free(&fault);
  return true;
}

void dispatch_refusal(struct session *session, const char *why) {
  append_hello(session, why);
}

bool dispatch_frame(struct session *session, const struct rpc_frame *frame) {
  rpc_arena_reset(&session->server->arena);
  if (!session->greeted)
    return frame->kind == RPC_HELLO && dispatch_hello(session, frame);
  switch (frame->kind) {
  case RPC_REQUEST:
    return dispatch_request(session, frame);
  case RPC_NODE_STATUS_REQUEST:
    return dispatch_status(session, frame);
  case RPC_ADMIN_REQUEST:
    return dispatch_admin(session, frame);
  default:
    return false;
  }
}
