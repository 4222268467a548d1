#include "master/client/worker_calls.h"

#include <assert.h>
#include <stdlib.h>

#include "master/client/internal.h"

/* The callback of a worker's call, with its context: one small piece of memory a call. */
struct worker_call {
  master_worker_callback *callback;
  void *context;
};

static void on_answer(void *context, const struct master_answer *answer, const Rpc__Response *response) {
  struct worker_call *call = context;
  struct worker_answer result = {.outcome = answer->outcome, .error = answer->error, .node = answer->node};
  if (response) {
    result.lease_ns = response->lease_ns;
    result.epoch = response->version;
    result.registered = response->registered;
    result.gone = response->gone;
    result.gone_count = response->n_gone;
  }
  call->callback(call->context, &result);
  free(call);
}

static struct call *begin(struct master_client *client, Rpc__Operation operation,
                          master_worker_callback *callback, void *context) {
  assert(!client->closing && callback);
  struct worker_call *worker_call = xmalloc(sizeof *worker_call);
  *worker_call = (struct worker_call){callback, context};
  struct call *call = call_new(client, operation);
  call->worker_answered = on_answer;
  call->context = worker_call;
  return call;
}

void master_client_register_worker(struct master_client *client, const struct worker_registration *worker,
                                   master_worker_callback *callback, void *context) {
  struct call *call = begin(client, RPC__OPERATION__OPERATION_REGISTER_WORKER, callback, context);
  const size_t size = strlen(worker->address);
  char *address = call_text_room(call, size);
  memcpy(address, worker->address, size);
  call->message.address = (ProtobufCBinaryData){.data = (uint8_t *)address, .len = size};
  call->message.worker = worker->worker;
  call->message.capacity = worker->capacity;
  call->message.nonce = worker->nonce;
  client_pump_soon(client);
}

static uint64_t *copy_ids(uint64_t *at, const uint64_t *ids, size_t count) {
  if (count > 0)
    memcpy(at, ids, count * sizeof *ids);
  return at;
}

void master_client_report(struct master_client *client, const struct worker_report *report,
                          master_worker_callback *callback, void *context) {
  assert(report->held_count <= WORKER_REPORT_LIMIT && report->removed_count <= WORKER_REPORT_LIMIT);
  struct call *call = begin(client, RPC__OPERATION__OPERATION_WORKER_REPORT, callback, context);
  char *room = call_text_room(call, (report->held_count + report->removed_count) * sizeof(uint64_t));
  uint64_t *ids = (uint64_t *)(void *)room;
  call->message.held = copy_ids(ids, report->held, report->held_count);
  call->message.n_held = report->held_count;
  call->message.removed = copy_ids(ids + report->held_count, report->removed, report->removed_count);
  call->message.n_removed = report->removed_count;
  call->message.worker = report->worker;
  call->message.epoch = report->epoch;
  call->message.free_bytes = report->free_bytes;
  call->message.stored_bytes = report->stored_bytes;
  client_pump_soon(client);
}
