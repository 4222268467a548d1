#include <assert.h>
#include <stdlib.h>

#include "master/client/internal.h"

#define SPARE_LIMIT 1024u

static void take_slot(struct master_client *client, struct call *call) {
  if (client->free_slot_count == 0) {
    const size_t old = client->slot_count;
    client->slot_count = old ? 2 * old : 64;
    assert(client->slot_count <= UINT32_MAX);
    client->slots = xrealloc(client->slots, client->slot_count * sizeof(struct call *));
    client->free_slots = xrealloc(client->free_slots, client->slot_count * sizeof(uint32_t));
    for (size_t slot = client->slot_count; slot > old; slot--) {
      client->slots[slot - 1] = NULL;
      client->free_slots[client->free_slot_count++] = (uint32_t)(slot - 1);
    }
  }
  call->slot = client->free_slots[--client->free_slot_count];
  assert(!client->slots[call->slot]);
  client->slots[call->slot] = call;
}

struct call *call_new(struct master_client *client, Rpc__Operation operation) {
  struct call *call;
  if (list_is_empty(&client->spare)) {
    call = xmalloc(sizeof *call);
  } else {
    call = CONTAINER_OF(client->spare.next, struct call, by_state);
    list_remove(&call->by_state);
    client->spare_count--;
  }
  rpc__request__init(&call->message);
  call->message.operation = operation;
  call->text = call->inline_text;
  call->floor.floor = NULL;
  call->answered = NULL;
  call->reserved = NULL;
  call->worker_answered = NULL;
  call->in_flight = false;
  call->attempts = attempts_none();
  call->deadline_ns = (int64_t)uv_hrtime() + client->request_timeout_ns;
  take_slot(client, call);
  list_append(&client->by_deadline, &call->by_deadline);
  list_append(&client->waiting, &call->by_state);
  return call;
}

static ProtobufCBinaryData copy(char **at, const char *text, size_t size) {
  ProtobufCBinaryData data = {.data = (uint8_t *)*at, .len = size};
  if (size > 0)
    memcpy(*at, text, size);
  *at += size;
  return data;
}

static size_t text_size(const struct master_request *request) {
  return (request->path ? strlen(request->path) : 0) +
         (request->destination ? strlen(request->destination) : 0) +
         (request->value ? strlen(request->value) : 0);
}

static ProtobufCBinaryData copy_string(char **at, const char *text) {
  return copy(at, text, text ? strlen(text) : 0);
}

/* Items, pointers to them, then their text. */
static char *copy_items(struct call *call, const struct master_request *request) {
  const size_t count = request->item_count;
  Rpc__Item *items = (Rpc__Item *)call->text;
  Rpc__Item **pointers = (Rpc__Item **)(items + count);
  char *at = (char *)(pointers + count);
  for (size_t i = 0; i < count; i++) {
    const struct master_request *from = &request->items[i];
    Rpc__Item *item = pointers[i] = &items[i];
    rpc__item__init(item);
    item->operation = wire_operation(from->operation);
    item->path = copy_string(&at, from->path);
    item->destination = copy_string(&at, from->destination);
    item->value = copy_string(&at, from->value);
    item->parents = from->parents;
    item->exist_ok = from->exist_ok;
    item->overwrite = from->overwrite;
    item->recursive = from->recursive;
    item->has_if_version = from->has_if_version;
    item->if_version = from->if_version;
    item->length = from->length;
    item->block = from->block;
    item->worker = from->worker;
  }
  call->message.items = pointers;
  call->message.n_items = count;
  return at;
}

char *call_text_room(struct call *call, size_t size) {
  assert(call->text == call->inline_text);
  if (size > sizeof call->inline_text)
    call->text = xmalloc(size);
  return call->text;
}

void call_set_text(struct call *call, const struct master_request *request) {
  size_t size = text_size(request) + request->item_count * (sizeof(Rpc__Item) + sizeof(Rpc__Item *));
  for (size_t i = 0; i < request->item_count; i++)
    size += text_size(&request->items[i]);
  char *at = call_text_room(call, size);
  if (request->item_count > 0)
    at = copy_items(call, request);
  call->message.path = copy_string(&at, request->path);
  call->message.destination = copy_string(&at, request->destination);
  call->message.value = copy_string(&at, request->value);
}

size_t call_text_size(const struct call *call) {
  if (call->message.n_items > 0 || call->message.n_held > 0 || call->message.n_removed > 0)
    return rpc_message_size(&call->message.base);
  return call->message.path.len + call->message.destination.len + call->message.value.len;
}

struct call *call_find(struct master_client *client, uint64_t id) {
  const uint32_t slot = (uint32_t)id;
  struct call *call = slot < client->slot_count ? client->slots[slot] : NULL;
  return call && call->in_flight && call->message.id == id ? call : NULL;
}

void call_forget(struct master_client *client, struct call *call) {
  assert(client->slots[call->slot] == call);
  client->slots[call->slot] = NULL;
  client->free_slots[client->free_slot_count++] = call->slot;
  list_remove(&call->by_deadline);
  list_remove(&call->by_state);
  if (call->floor.floor)
    floors_remove(&client->floors, &call->floor);
}

void call_recycle(struct master_client *client, struct call *call) {
  if (call->text != call->inline_text)
    free(call->text);
  if (client->spare_count >= SPARE_LIMIT) {
    free(call);
    return;
  }
  list_append(&client->spare, &call->by_state);
  client->spare_count++;
}

void call_wait(struct master_client *client, struct call *call) {
  assert(call->in_flight);
  call->in_flight = false;
  list_remove(&call->by_state);
  list_append(&client->waiting, &call->by_state);
}

void calls_free(struct master_client *client) {
  assert(list_is_empty(&client->by_deadline));
  struct list *next;
  for (struct list *at = client->spare.next; at != &client->spare; at = next) {
    next = at->next;
    free(CONTAINER_OF(at, struct call, by_state));
  }
  floors_free(&client->floors);
  free(client->slots);
  free(client->free_slots);
  free(client->entries);
  free(client->blocks);
}
