#include "master/worker_registry.h"

#include <assert.h>
#include <stdlib.h>

#include "base/base.h"

#define PLACES_LIMIT_DEFAULT (64u << 20)
#define FORGOTTEN_AFTER 30 /* leases */
#define SHARDS 256         /* each grows by itself */
#define SHARD_FIRST 64

struct worker {
  uint64_t id; /* 0: the slot is free */
  uint64_t epoch;
  char *address; /* stays with the slot: what its next worker has takes its place */
  size_t address_size;
  int64_t heard_ns;
  uint64_t free_bytes, stored_bytes, blocks;
};

/* Pairs of block and slot, in an open table: looked for from the block's hash on until a free place. */
struct shard {
  uint64_t *blocks;
  uint16_t *slots; /* 0: free; else the worker's place + 1 */
  size_t mask, count;
};

struct worker_registry {
  int64_t lease_ns;
  size_t places_limit, places;
  uint64_t places_missed;
  struct worker *workers;
  size_t worker_count; /* slots in use or free */
  struct shard shards[SHARDS];
};

/* ---- places ---- */

static uint64_t mix(uint64_t block) {
  block ^= block >> 31;
  block *= UINT64_C(0x9e3779b97f4a7c15);
  return block ^ block >> 29;
}

static struct shard *shard_of(const struct worker_registry *registry, uint64_t block) {
  return (struct shard *)(uintptr_t)&registry->shards[mix(block) >> 56];
}

static size_t home_of(const struct shard *shard, uint64_t block) {
  return (size_t)mix(block) & shard->mask;
}

/* Where the pair is, or where it would go. */
static size_t seek(const struct shard *shard, uint64_t block, uint16_t slot) {
  size_t at = home_of(shard, block);
  while (shard->slots[at] != 0 && !(shard->blocks[at] == block && shard->slots[at] == slot))
    at = (at + 1) & shard->mask;
  return at;
}

static void resize(struct shard *shard, size_t capacity) {
  const struct shard old = *shard;
  shard->blocks = xmalloc(capacity * sizeof *shard->blocks);
  shard->slots = xcalloc(capacity, sizeof *shard->slots);
  shard->mask = capacity - 1;
  for (size_t i = 0; old.slots && i <= old.mask; i++) {
    if (old.slots[i] == 0)
      continue;
    const size_t at = seek(shard, old.blocks[i], old.slots[i]);
    shard->blocks[at] = old.blocks[i];
    shard->slots[at] = old.slots[i];
  }
  free(old.blocks);
  free(old.slots);
}

static bool put(struct worker_registry *registry, uint64_t block, uint16_t slot) {
  struct shard *shard = shard_of(registry, block);
  if (!shard->slots)
    resize(shard, SHARD_FIRST);
  size_t at = seek(shard, block, slot);
  if (shard->slots[at] != 0)
    return false;
  if (registry->places >= registry->places_limit) {
    registry->places_missed++;
    return false;
  }
  if ((shard->count + 1) * 4 > (shard->mask + 1) * 3) {
    resize(shard, 2 * (shard->mask + 1));
    at = seek(shard, block, slot);
  }
  shard->blocks[at] = block;
  shard->slots[at] = slot;
  shard->count++;
  registry->places++;
  return true;
}

/* Those behind that could not have their own place move up, so that no search ends too early (Knuth, vol. 3,
 * 6.4, algorithm R). */
static void close_gap(struct shard *shard, size_t gap) {
  for (size_t at = (gap + 1) & shard->mask; shard->slots[at] != 0; at = (at + 1) & shard->mask) {
    const size_t home = home_of(shard, shard->blocks[at]);
    if (((at - home) & shard->mask) < ((at - gap) & shard->mask))
      continue;
    shard->blocks[gap] = shard->blocks[at];
    shard->slots[gap] = shard->slots[at];
    gap = at;
  }
  shard->slots[gap] = 0;
}

static bool take(struct worker_registry *registry, uint64_t block, uint16_t slot) {
  struct shard *shard = shard_of(registry, block);
  if (!shard->slots)
    return false;
  const size_t at = seek(shard, block, slot);
  if (shard->slots[at] == 0)
    return false;
  close_gap(shard, at);
  shard->count--;
  registry->places--;
  return true;
}

/* Whatever moved up into the place is looked at as well. */
static void take_all(struct worker_registry *registry, uint16_t slot) {
  for (size_t i = 0; i < SHARDS; i++) {
    struct shard *shard = &registry->shards[i];
    for (size_t at = 0; shard->count > 0 && at <= shard->mask;) {
      if (shard->slots[at] != slot) {
        at++;
        continue;
      }
      close_gap(shard, at);
      shard->count--;
      registry->places--;
    }
  }
}

/* ---- workers ---- */

static struct worker *find(const struct worker_registry *registry, uint64_t id) {
  for (size_t i = 0; id != 0 && i < registry->worker_count; i++)
    if (registry->workers[i].id == id)
      return &registry->workers[i];
  return NULL;
}

static uint16_t slot_of(const struct worker_registry *registry, const struct worker *worker) {
  return (uint16_t)(worker - registry->workers + 1);
}

static bool is_live(const struct worker_registry *registry, const struct worker *worker, int64_t now_ns) {
  return worker->id != 0 && now_ns - worker->heard_ns <= registry->lease_ns;
}

static void forget_blocks(struct worker_registry *registry, struct worker *worker) {
  if (worker->blocks > 0)
    take_all(registry, slot_of(registry, worker));
  worker->blocks = 0;
}

static void forget(struct worker_registry *registry, struct worker *worker) {
  forget_blocks(registry, worker);
  *worker = (struct worker){.address = worker->address};
}

static void forget_silent(struct worker_registry *registry, int64_t now_ns) {
  for (size_t i = 0; i < registry->worker_count; i++) {
    struct worker *worker = &registry->workers[i];
    if (worker->id != 0 && now_ns - worker->heard_ns > FORGOTTEN_AFTER * registry->lease_ns)
      forget(registry, worker);
  }
}

static struct worker *free_slot(struct worker_registry *registry) {
  for (size_t i = 0; i < registry->worker_count; i++)
    if (registry->workers[i].id == 0)
      return &registry->workers[i];
  if (registry->worker_count == WORKERS_LIMIT)
    return NULL;
  registry->workers = xrealloc(registry->workers, (registry->worker_count + 1) * sizeof *registry->workers);
  struct worker *worker = &registry->workers[registry->worker_count++];
  *worker = (struct worker){0};
  return worker;
}

/* ---- the door ---- */

struct worker_registry *worker_registry_new(const struct worker_registry_options *options) {
  struct worker_registry *registry = xcalloc(1, sizeof *registry);
  registry->lease_ns = options->lease_ns ? options->lease_ns : WORKER_LEASE_DEFAULT_NS;
  registry->places_limit = options->places_limit ? options->places_limit : PLACES_LIMIT_DEFAULT;
  return registry;
}

void worker_registry_clear(struct worker_registry *registry) {
  for (size_t i = 0; i < registry->worker_count; i++)
    free(registry->workers[i].address);
  free(registry->workers);
  registry->workers = NULL;
  registry->worker_count = 0;
  for (size_t i = 0; i < SHARDS; i++) {
    free(registry->shards[i].blocks);
    free(registry->shards[i].slots);
    registry->shards[i] = (struct shard){0};
  }
  registry->places = 0;
}

void worker_registry_free(struct worker_registry *registry) {
  worker_registry_clear(registry);
  free(registry);
}

int64_t worker_registry_lease_ns(const struct worker_registry *registry) {
  return registry->lease_ns;
}

bool worker_registry_register(struct worker_registry *registry, uint64_t id, uint64_t epoch,
                              struct slice address, int64_t now_ns) {
  assert(id != 0);
  forget_silent(registry, now_ns);
  struct worker *worker = find(registry, id);
  if (worker && worker->epoch == epoch) {
    worker->heard_ns = now_ns;
    return true;
  }
  if (!worker)
    worker = free_slot(registry);
  if (!worker)
    return false;
  forget(registry, worker);
  *worker = (struct worker){.id = id,
                            .epoch = epoch,
                            .address = xrealloc(worker->address, address.size + 1),
                            .address_size = address.size,
                            .heard_ns = now_ns};
  memcpy(worker->address, address.data, address.size);
  return true;
}

bool worker_registry_heard(struct worker_registry *registry, uint64_t id, uint64_t epoch, uint64_t free_bytes,
                           uint64_t stored_bytes, int64_t now_ns) {
  struct worker *worker = find(registry, id);
  if (!worker || worker->epoch != epoch)
    return false;
  worker->heard_ns = now_ns;
  worker->free_bytes = free_bytes;
  worker->stored_bytes = stored_bytes;
  return true;
}

void worker_registry_add(struct worker_registry *registry, uint64_t id, uint64_t block) {
  struct worker *worker = find(registry, id);
  if (worker && put(registry, block, slot_of(registry, worker)))
    worker->blocks++;
}

void worker_registry_remove(struct worker_registry *registry, uint64_t id, uint64_t block) {
  struct worker *worker = find(registry, id);
  if (worker && take(registry, block, slot_of(registry, worker)))
    worker->blocks--;
}

static struct worker_state state_of(const struct worker_registry *registry, const struct worker *worker,
                                    int64_t now_ns) {
  return (struct worker_state){.id = worker->id,
                               .epoch = worker->epoch,
                               .address = {worker->address, worker->address_size},
                               .live = is_live(registry, worker, now_ns),
                               .heard_ns = worker->heard_ns,
                               .free_bytes = worker->free_bytes,
                               .stored_bytes = worker->stored_bytes,
                               .blocks = worker->blocks};
}

bool worker_registry_look(const struct worker_registry *registry, uint64_t id, int64_t now_ns,
                          struct worker_state *state) {
  const struct worker *worker = find(registry, id);
  if (worker)
    *state = state_of(registry, worker, now_ns);
  return worker != NULL;
}

size_t worker_registry_find(const struct worker_registry *registry, uint64_t block, int64_t now_ns,
                            uint64_t *workers, size_t room) {
  const struct shard *shard = shard_of(registry, block);
  size_t count = 0;
  if (!shard->slots)
    return 0;
  for (size_t at = home_of(shard, block); shard->slots[at] != 0 && count < room;
       at = (at + 1) & shard->mask) {
    if (shard->blocks[at] != block)
      continue;
    const struct worker *worker = &registry->workers[shard->slots[at] - 1];
    if (is_live(registry, worker, now_ns))
      workers[count++] = worker->id;
  }
  return count;
}

struct worker_registry_statistics worker_registry_statistics(const struct worker_registry *registry,
                                                             int64_t now_ns) {
  struct worker_registry_statistics seen = {.places = registry->places,
                                            .places_missed = registry->places_missed,
                                            .memory_bytes = sizeof *registry +
                                                            registry->worker_count * sizeof(struct worker)};
  for (size_t i = 0; i < registry->worker_count; i++) {
    const struct worker *worker = &registry->workers[i];
    if (worker->id == 0)
      continue;
    if (!is_live(registry, worker, now_ns)) {
      seen.lost++;
      continue;
    }
    seen.live++;
    seen.free_bytes += worker->free_bytes;
    seen.stored_bytes += worker->stored_bytes;
  }
  for (size_t i = 0; i < SHARDS; i++)
    if (registry->shards[i].slots)
      seen.memory_bytes += (registry->shards[i].mask + 1) * (sizeof(uint64_t) + sizeof(uint16_t));
  return seen;
}
