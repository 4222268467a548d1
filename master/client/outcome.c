/* outcome.c: what an answer, or the lack of one, lets a client conclude (docs/specification.md). */
#include <assert.h>

#include "master/client/internal.h"

_Static_assert(RPC__STATUS__STATUS_VERSION_MISMATCH == (int)MASTER_ERROR_VERSION_MISMATCH &&
                   RPC__STATUS__STATUS_NOT_PRIMARY == (int)MASTER_ERROR_NOT_PRIMARY &&
                   RPC__STATUS__STATUS_OVERLOADED == (int)MASTER_ERROR_OVERLOADED &&
                   RPC__STATUS__STATUS_UNAVAILABLE == RPC__STATUS__STATUS_OVERLOADED + 1,
               "conclude.h reads the wire's numbers");

static void answer(struct master_client *client, struct call *call, const struct master_answer *result,
                   const Rpc__Response *response) {
  const uint32_t first_client = response ? response->first_client : 0;
  call_forget(client, call);
  if (call->reserved)
    call->reserved(call->context, result->outcome == MASTER_OK ? first_client : 0, result);
  else if (call->worker_answered)
    call->worker_answered(call->context, result, response);
  else
    call->answered(call->context, result);
  call_recycle(client, call);
}

void call_end_unanswered(struct master_client *client, struct call *call) {
  const struct master_answer result = conclude_unanswered(&call->attempts);
  answer(client, call, &result, NULL);
}

void call_end_by_time(struct master_client *client, struct call *call) {
  if (call->in_flight)
    attempt_lost(&call->attempts, MASTER_ERROR_TIMEOUT);
  call_end_unanswered(client, call);
}

void call_lose(struct master_client *client, struct call *call, enum master_error how) {
  attempt_lost(&call->attempts, how);
  call_wait(client, call);
  if (!client->retry)
    call_end_unanswered(client, call);
}

/* Text of the arena, which ends every piece with a zero. */
static const char *text_of(ProtobufCBinaryData data) {
  return data.len > 0 ? (const char *)data.data : "";
}

static void copy_blocks(struct master_client *client, const Rpc__Response *response) {
  if (client->block_capacity < response->n_blocks) {
    client->block_capacity = 2 * response->n_blocks;
    client->blocks = xrealloc(client->blocks, client->block_capacity * sizeof *client->blocks);
  }
  for (size_t i = 0; i < response->n_blocks; i++)
    client->blocks[i] = (struct master_block){.block = response->blocks[i]->block,
                                              .length = response->blocks[i]->length,
                                              .committed = response->blocks[i]->committed,
                                              .workers = response->blocks[i]->workers,
                                              .worker_count = response->blocks[i]->n_workers};
}

/* In the response's arena. A place that is none is left out with all others of its block. */
static const struct master_worker *copy_workers(struct master_client *client, const Rpc__Response *response) {
  struct master_worker *workers = rpc_arena_take(&client->arena, (response->n_workers + 1) * sizeof *workers);
  for (size_t i = 0; i < response->n_workers; i++) {
    const Rpc__Worker *from = response->workers[i];
    workers[i] = (struct master_worker){.id = from->id,
                                        .address = from->address,
                                        .live = from->live,
                                        .heard_ns = from->heard_ns,
                                        .capacity = from->capacity,
                                        .free_bytes = from->free_bytes,
                                        .stored_bytes = from->stored_bytes,
                                        .blocks = from->blocks};
  }
  for (size_t i = 0; i < response->n_blocks; i++)
    for (size_t j = 0; j < client->blocks[i].worker_count; j++)
      if (client->blocks[i].workers[j] >= response->n_workers)
        client->blocks[i].worker_count = 0;
  return workers;
}

static const struct master_mount *copy_mounts(struct master_client *client, const Rpc__Response *response) {
  struct master_mount *mounts = rpc_arena_take(&client->arena, (response->n_mounts + 1) * sizeof *mounts);
  for (size_t i = 0; i < response->n_mounts; i++)
    mounts[i] = (struct master_mount){.path = text_of(response->mounts[i]->path),
                                      .directory = text_of(response->mounts[i]->directory),
                                      .creator = response->mounts[i]->creator};
  return mounts;
}

static const char *message_of(const Rpc__Response *response) {
  return response->message[0] != '\0' ? response->message : NULL;
}

static void settle(struct master_client *client, struct call *call, const Rpc__Response *response,
                   enum master_error error) {
  if (client->entry_capacity < response->n_entries) {
    client->entry_capacity = 2 * response->n_entries;
    client->entries = xrealloc(client->entries, client->entry_capacity * sizeof *client->entries);
  }
  for (size_t i = 0; i < response->n_entries; i++)
    client->entries[i] = (struct master_entry){.name = text_of(response->entries[i]->name),
                                               .is_file = response->entries[i]->is_file,
                                               .creator = response->entries[i]->creator};
  copy_blocks(client, response);
  const struct master_answer result = {
      .outcome = error == MASTER_ERROR_NONE ? MASTER_OK : MASTER_FAIL,
      .error = error,
      .node = client->nodes[client->at].id,
      .term = response->term,
      .commit = response->commit,
      .creator = response->creator,
      .version = response->version,
      .is_file = response->is_file,
      .completed = response->completed,
      .exists = response->exists,
      .length = response->length,
      .block_count = response->block_count,
      .child_count = response->child_count,
      .value = text_of(response->value),
      .entries = client->entries,
      .entry_count = response->n_entries,
      .block = response->block,
      .blocks = client->blocks,
      .block_entry_count = response->n_blocks,
      .at = response->at,
      .numbers = response->numbers,
      .number_count = response->n_numbers,
      .source = text_of(response->source),
      .message = message_of(response),
      .mounts = copy_mounts(client, response),
      .mount_count = response->n_mounts,
      .workers = copy_workers(client, response),
      .worker_count = response->n_workers,
  };
  client->failures = 0;
  client->overloads = 0;
  answer(client, call, &result, response);
}

static void refuse(struct master_client *client, struct call *call, enum master_error refusal) {
  attempt_refused(&call->attempts, refusal, client->nodes[client->at].id);
  call_wait(client, call);
  if (!client->retry)
    call_end_unanswered(client, call);
}

/* It says that asking again does not help. */
static void refuse_for_good(struct master_client *client, struct call *call, enum master_error refusal,
                            const char *message) {
  attempt_refused(&call->attempts, refusal, client->nodes[client->at].id);
  struct master_answer result = conclude_unanswered(&call->attempts);
  result.message = message;
  answer(client, call, &result, NULL);
}

/* Sending goes on after 1, 2, 4 … 64 ms. */
static void slow_down(struct master_client *client) {
  const int64_t delay_ns = NS_PER_MS << (client->overloads < 6 ? client->overloads : 6);
  const int64_t until_ns = (int64_t)uv_hrtime() + delay_ns;
  if (client->not_before_ns >= until_ns)
    return;
  client->overloads++;
  client->not_before_ns = until_ns;
}

void call_receive(struct master_client *client, struct call *call, const Rpc__Response *response) {
  enum master_error error;
  switch (conclude_status(response->status, &error)) {
  case ATTEMPT_REFUSED:
    if (message_of(response)) {
      refuse_for_good(client, call, error, response->message);
      return;
    }
    if (error == MASTER_ERROR_NOT_PRIMARY)
      link_refused(client, response->leader, response->leader_address);
    else
      slow_down(client);
    refuse(client, call, error);
    return;
  case ATTEMPT_LOST:
    slow_down(client);
    call_lose(client, call, error);
    return;
  case ATTEMPT_SETTLED:
    settle(client, call, response, error);
  }
}
