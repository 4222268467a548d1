/* namespace_workers.c: what the tables have to do with workers: who they are, and which blocks exist. Where
 * blocks are is no part of the state: worker_registry.h.
 *
 * A worker's id is a number that it reserved as clients do, and wrote down before it registered: whatever is
 * repeated, one worker has one id. */
#include <stdlib.h>

#include "master/bugs.h"
#include "master/namespace_internal.h"

static bool load_worker(struct namespace *space, uint64_t worker, struct worker_record *record) {
  const struct row_key key = worker_key(worker);
  struct slice row;
  if (!namespace_get(space, TABLE_WORKERS, &key, &row))
    return false;
  if (!worker_decode(row, record))
    namespace_corrupt(space->tables, "a worker");
  return true;
}

void namespace_register_worker(struct namespace *space, const struct request *request,
                               struct outcome *outcome) {
  if (request->worker == 0 || request->worker >= space->counters.next_client || request->address.size == 0 ||
      request->address.size > WORKER_ADDRESS_LIMIT) {
    outcome->status = STATUS_INVALID;
    outcome->stateless = true;
    return;
  }
  struct worker_record record = {0};
  if (load_worker(space, request->worker, &record) && record.nonce == request->nonce && record.epoch > 0) {
    outcome->status = STATUS_OK;
    outcome->version = record.epoch;
    outcome->repeated = true;
    return;
  }
  record = (struct worker_record){.epoch = record.epoch + 1,
                                  .nonce = request->nonce,
                                  .capacity = request->capacity,
                                  .address = request->address};
  bytes_clear(&space->scratch);
  worker_encode(&space->scratch, &record);
  const struct row_key key = worker_key(request->worker);
  namespace_put_scratch(space, TABLE_WORKERS, &key, ROW_PUT);
  outcome->status = STATUS_OK;
  outcome->version = record.epoch;
}

/* -- which blocks exist -- */

struct existence {
  struct tables *tables;
  uint64_t parent; /* the directory that was looked at last: many blocks have one, */
  bool attached;   /* … and whether it hangs below the root */
};

#define ANCESTORS_LIMIT 65536 /* only with a defect is there no end */

static bool load_inode(struct tables *tables, uint64_t inode, struct inode_record *record) {
  const struct row_key key = inode_key(inode);
  struct slice row;
  if (!tables_get(tables, TABLE_INODES, &key, &row))
    return false;
  if (inode_decode(row, record))
    return true;
  namespace_corrupt(tables, "an inode");
  return false;
}

static bool is_attached(struct existence *existence, uint64_t parent) {
  if (parent == existence->parent)
    return existence->attached;
  existence->parent = parent;
  struct inode_record record;
  for (unsigned steps = 0; parent != ROOT_INODE && parent != 0; steps++) {
    if (!load_inode(existence->tables, parent, &record) || (bug_any_active() && steps > ANCESTORS_LIMIT))
      record.parent = 0;
    parent = record.parent;
  }
  existence->attached = parent == ROOT_INODE;
  return existence->attached;
}

/* A block of a file that was deleted, or hung below what was, does not exist any more, whether its row was
 * reclaimed or not. */
static bool exists(struct existence *existence, uint64_t block) {
  const struct row_key key = block_key(block);
  struct slice row;
  struct block_record found;
  struct inode_record inode;
  if (!tables_get(existence->tables, TABLE_BLOCKS, &key, &row))
    return false;
  if (!block_decode(row, &found)) {
    namespace_corrupt(existence->tables, "a block");
    return true;
  }
  return load_inode(existence->tables, found.inode, &inode) && is_attached(existence, inode.parent);
}

void namespace_read_report(struct tables *tables, const struct request *request, struct answer *answer,
                           struct listing *listing) {
  if (request->held_count > REPORT_LIMIT || request->removed_count > REPORT_LIMIT)
    return;
  struct existence existence = {.tables = tables, .parent = ROOT_INODE, .attached = true};
  for (size_t i = 0; i < request->held_count; i++)
    if (!exists(&existence, request->held[i]))
      listing->gone[answer->gone_count++] = request->held[i];
  answer->status = STATUS_OK;
  answer->gone = listing->gone;
}

/* -- who there is -- */

static bool add_worker(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                       size_t value_size) {
  struct listing *listing = context;
  struct worker_record record;
  if (key_size != 9 || !worker_decode((struct slice){(const char *)value, value_size}, &record))
    return false;
  if (listing->worker_count == listing->worker_capacity) {
    listing->worker_capacity = listing->worker_capacity ? 2 * listing->worker_capacity : 16;
    listing->workers = xrealloc(listing->workers, listing->worker_capacity * sizeof *listing->workers);
  }
  listing->workers[listing->worker_count++] = (struct answer_worker){.id = be64_load(key + 1),
                                                                     .epoch = record.epoch,
                                                                     .address = {NULL, record.address.size},
                                                                     .capacity = record.capacity,
                                                                     .heard_ns = -1};
  bytes_append(&listing->names, record.address.data, record.address.size);
  return true;
}

void namespace_read_workers(struct tables *tables, struct answer *answer, struct listing *listing) {
  const char prefix = WORKER_PREFIX;
  listing->worker_count = 0;
  bytes_clear(&listing->names);
  tables_scan(tables, TABLE_WORKERS, &prefix, 1, NULL, 0, add_worker, listing);
  if (tables_missed(tables) > 0)
    return;
  const char *address = (const char *)listing->names.data;
  for (size_t i = 0; i < listing->worker_count; i++) {
    listing->workers[i].address.data = address;
    address += listing->workers[i].address.size;
  }
  answer->status = STATUS_OK;
  answer->workers = listing->workers;
  answer->worker_count = listing->worker_count;
}
