/* primary_workers.c: what the primary hears of workers, and what it tells of them. The registry holds no more
 * than hearsay: it changes when an answer that is derived from the tables leaves, and is emptied when this
 * node ceases to be primary. */
#include <stdlib.h>

#include "master/primary_internal.h"

#define REPLICAS_TOLD 16 /* of one block */

static void note_place(struct primary *primary, const struct request *request) {
  if (request->worker != 0)
    worker_registry_add(primary->workers, request->worker, request->block);
}

void primary_note_workers(struct primary *primary, const struct pending *pending, struct answer *answer) {
  const struct request *request = &pending->request;
  if (answer->status != STATUS_OK || primary->role != ROLE_PRIMARY)
    return;
  if (request->code == OP_COMMIT_BLOCK)
    note_place(primary, request);
  for (size_t i = 0; request->code == OP_BATCH && i < request->item_count; i++)
    if (request->items[i].code == OP_COMMIT_BLOCK)
      note_place(primary, &request->items[i]);
  if (request->code != OP_REGISTER_WORKER)
    return;
  answer->lease_ns = worker_registry_lease_ns(primary->workers);
  if (!worker_registry_register(primary->workers, request->worker, answer->version, request->address,
                                primary->turn_ns))
    log_warn("worker %llu cannot be kept in mind: there are %d others", (unsigned long long)request->worker,
             WORKERS_LIMIT);
}

static void take_report(struct primary *primary, const struct request *request, struct answer *answer) {
  struct worker_registry *registry = primary->workers;
  answer->lease_ns = worker_registry_lease_ns(registry);
  answer->registered = worker_registry_heard(registry, request->worker, request->epoch, request->free_bytes,
                                             request->stored_bytes, primary->turn_ns);
  if (!answer->registered)
    return;
  for (size_t i = 0; i < request->removed_count; i++)
    worker_registry_remove(registry, request->worker, request->removed[i]);
  for (size_t i = 0, gone = 0; i < request->held_count; i++) {
    if (gone < answer->gone_count && answer->gone[gone] == request->held[i]) {
      worker_registry_remove(registry, request->worker, request->held[i]);
      gone++;
    } else {
      worker_registry_add(registry, request->worker, request->held[i]);
    }
  }
}

static void fill_worker(const struct primary *primary, struct answer_worker *worker) {
  struct worker_state state;
  if (!worker_registry_look(primary->workers, worker->id, primary->turn_ns, &state) ||
      state.epoch != worker->epoch)
    return;
  worker->live = state.live;
  worker->heard_ns = primary->turn_ns - state.heard_ns;
  worker->free_bytes = state.free_bytes;
  worker->stored_bytes = state.stored_bytes;
  worker->blocks = state.blocks;
}

static struct answer_worker *worker_room(struct listing *listing) {
  if (listing->worker_count == listing->worker_capacity) {
    listing->worker_capacity = listing->worker_capacity ? 2 * listing->worker_capacity : 16;
    listing->workers = xrealloc(listing->workers, listing->worker_capacity * sizeof *listing->workers);
  }
  return &listing->workers[listing->worker_count++];
}

/* Its place among the workers told so far, the newest first: blocks that follow each other are mostly
 * together. */
static uint32_t worker_place(struct primary *primary, uint64_t id) {
  struct listing *listing = &primary->listing;
  for (size_t i = listing->worker_count; i > 0; i--)
    if (listing->workers[i - 1].id == id)
      return (uint32_t)(i - 1);
  struct worker_state state = {0};
  worker_registry_look(primary->workers, id, primary->turn_ns, &state);
  struct answer_worker *worker = worker_room(listing);
  *worker = (struct answer_worker){.id = id, .epoch = state.epoch, .address = state.address};
  fill_worker(primary, worker);
  return (uint32_t)(listing->worker_count - 1);
}

static void add_place(struct listing *listing, struct answer_place place) {
  if (listing->place_count == listing->place_capacity) {
    listing->place_capacity = listing->place_capacity ? 2 * listing->place_capacity : 64;
    listing->places = xrealloc(listing->places, listing->place_capacity * sizeof *listing->places);
  }
  listing->places[listing->place_count++] = place;
}

static void locate(struct primary *primary, struct answer *answer) {
  struct listing *listing = &primary->listing;
  uint64_t ids[REPLICAS_TOLD];
  listing->worker_count = listing->place_count = 0;
  for (size_t i = 0; i < answer->block_entry_count; i++) {
    const size_t found =
        worker_registry_find(primary->workers, answer->blocks[i].block, primary->turn_ns, ids, REPLICAS_TOLD);
    for (size_t j = 0; j < found; j++)
      add_place(listing, (struct answer_place){(uint32_t)i, worker_place(primary, ids[j])});
  }
  answer->workers = listing->workers;
  answer->worker_count = listing->worker_count;
  answer->places = listing->places;
  answer->place_count = listing->place_count;
}

void primary_answer_workers(struct primary *primary, const struct request *request, struct answer *answer) {
  if (answer->status != STATUS_OK)
    return;
  if (request->code == OP_WORKER_REPORT)
    take_report(primary, request, answer);
  else if (request->code == OP_LOCATE)
    locate(primary, answer);
  else if (request->code == OP_WORKERS)
    for (size_t i = 0; i < answer->worker_count; i++)
      fill_worker(primary, &primary->listing.workers[i]);
}

struct worker_registry_statistics primary_worker_statistics(const struct primary *primary) {
  return worker_registry_statistics(primary->workers, primary->world->now_ns(primary->world->context));
}
