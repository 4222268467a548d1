/* worker_registry.h: what a primary has heard of workers: who lives, and who has which block.
 *
 *   workers   slot 1: id 7, heard 0.8 s ago     slot 2: id 9, …
 *   places    block 5-3 → slot 1    block 5-3 → slot 2    block 5-9 → slot 2
 *
 * All of it is hearsay, gathered anew by every primary from what workers report, and good for one thing: to
 * tell clients where to look. Nothing is decided by it. A worker is *live* while it was heard of within the
 * lease. One that was silent for much longer is forgotten, and must register again.
 *
 * A place takes ten bytes, fourteen to twenty-eight with the room of its table; the tables are many, so that
 * none takes long to grow. There is a limit to the places, beyond which more are counted and not kept: those
 * blocks are not found then. Knows no clock: it is told the time. */
#ifndef ASSAY_MASTER_WORKER_REGISTRY_H
#define ASSAY_MASTER_WORKER_REGISTRY_H

#include "master/operation.h"

#define WORKER_LEASE_DEFAULT_NS (10 * INT64_C(1000000000))
#define WORKERS_LIMIT 4096 /* known at one time */

struct worker_registry;

struct worker_registry_options {
  int64_t lease_ns;    /* 0: WORKER_LEASE_DEFAULT_NS */
  size_t places_limit; /* 0: the default, 64 million */
};

struct worker_registry *worker_registry_new(const struct worker_registry_options *options);
void worker_registry_free(struct worker_registry *registry);
/* Forgets everything: somebody else is primary. */
void worker_registry_clear(struct worker_registry *registry);
int64_t worker_registry_lease_ns(const struct worker_registry *registry);

/* It is here, and will report what it has: what was known of that is forgotten, unless nothing is new about
 * it. The address is copied. False when there are too many. */
bool worker_registry_register(struct worker_registry *registry, uint64_t worker, uint64_t epoch,
                              struct slice address, int64_t now_ns);
/* It was heard of. False: it is not known, or as another one (of another epoch): it has to register. */
bool worker_registry_heard(struct worker_registry *registry, uint64_t worker, uint64_t epoch,
                           uint64_t free_bytes, uint64_t stored_bytes, int64_t now_ns);

/* It has a block, or has it no more. Nothing happens when it is not known. */
void worker_registry_add(struct worker_registry *registry, uint64_t worker, uint64_t block);
void worker_registry_remove(struct worker_registry *registry, uint64_t worker, uint64_t block);

struct worker_state {
  uint64_t id, epoch;
  struct slice address; /* valid until the worker registers again or is forgotten */
  bool live;
  int64_t heard_ns; /* when */
  uint64_t free_bytes, stored_bytes, blocks;
};

/* False when it is not known. */
bool worker_registry_look(const struct worker_registry *registry, uint64_t worker, int64_t now_ns,
                          struct worker_state *state);

/* Live workers that have the block: up to `room` ids; returns how many. */
size_t worker_registry_find(const struct worker_registry *registry, uint64_t block, int64_t now_ns,
                            uint64_t *workers, size_t room);

struct worker_registry_statistics {
  uint64_t live, lost;    /* workers: heard of within the lease, or before */
  uint64_t places;        /* blocks, once for each worker that has it */
  uint64_t places_missed; /* not kept for want of room, ever */
  uint64_t memory_bytes;
  uint64_t free_bytes, stored_bytes; /* of the live ones */
};
struct worker_registry_statistics worker_registry_statistics(const struct worker_registry *registry,
                                                             int64_t now_ns);

#endif
