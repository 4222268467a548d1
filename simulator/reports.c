/* reports.c: workers, as far as they can be wronged: each node is asked, now and then and for itself, which
 * of the blocks that clients were told of do not exist.
 *
 * A block that does not exist never will again, so a worker removes what it is told is gone. Whoever says so
 * must be right: a report that begins after that answer must be told the same, by whichever node it asks. A
 * node that was deposed and does not know it names blocks that were added after it. */
#include <inttypes.h>
#include <stdlib.h>

#include "simulator/client.h"
#include "simulator/cluster_internal.h"

#define BLOCKS_MAX 200 /* known at one time: the latest */
#define BETWEEN_NS (100 * NS_PER_MS)

struct known {
  uint64_t block;
  uint64_t gone_at; /* the report whose answer said so, by when it came; 0: none */
  size_t gone_by;
};

struct asker {
  struct reports *all;
  size_t node;
  struct sim_client *client;
  struct random random;
  uint64_t begun_at;
  uint64_t held[BLOCKS_MAX];
  size_t count;
};

/* An event that finds nobody when the reports are gone. */
struct call {
  struct asker *asker;
  struct call *previous, *next;
};

struct reports {
  struct sim_cluster *cluster;
  struct known blocks[BLOCKS_MAX];
  size_t count, oldest;
  uint64_t moment; /* counts what begins and what comes */
  struct asker askers[SIMULATOR_NODES_MAX];
  struct call *calls;
};

static void ask_later(struct asker *asker);

static void check_answer(struct asker *asker, const struct master_answer *answer) {
  struct reports *all = asker->all;
  for (size_t i = 0; i < all->count; i++) {
    struct known *known = &all->blocks[i];
    bool asked = false, gone = false;
    for (size_t j = 0; j < asker->count; j++)
      asked |= asker->held[j] == known->block;
    for (size_t j = 0; j < answer->number_count; j++)
      gone |= answer->numbers[j] == known->block;
    if (asked && !gone && known->gone_at != 0 && known->gone_at < asker->begun_at)
      cluster_violate(all->cluster, EVIDENCE_INVARIANT, "gone-for-good",
                      "n%zu says that block %" PRIu64 " exists, n%zu had said that it does not: a worker has "
                      "removed it",
                      asker->node + 1, known->block, known->gone_by + 1);
    if (gone && known->gone_at == 0) {
      known->gone_at = all->moment;
      known->gone_by = asker->node;
    }
  }
}

static void answered(void *context, const struct master_answer *answer, uint32_t first_client) {
  struct asker *asker = context;
  (void)first_client;
  asker->all->moment++;
  if (answer->outcome == MASTER_OK)
    check_answer(asker, answer);
  ask_later(asker);
}

static void ask(struct asker *asker) {
  struct reports *all = asker->all;
  asker->count = all->count;
  for (size_t i = 0; i < all->count; i++)
    asker->held[i] = all->blocks[i].block;
  asker->begun_at = ++all->moment;
  sim_client_report(asker->client, asker->held, asker->count, answered, asker);
}

static void on_time(void *owner, bool happens) {
  struct call call = *(struct call *)owner;
  if (call.previous)
    call.previous->next = call.next;
  else if (call.asker)
    call.asker->all->calls = call.next;
  if (call.next)
    call.next->previous = call.previous;
  free(owner);
  if (happens && call.asker)
    ask(call.asker);
}

static void ask_later(struct asker *asker) {
  struct reports *all = asker->all;
  struct call *call = xmalloc(sizeof *call);
  *call = (struct call){.asker = asker, .next = all->calls};
  if (call->next)
    call->next->previous = call;
  all->calls = call;
  const int64_t delay_ns = 1 + (int64_t)random_exponential(&asker->random, (double)BETWEEN_NS);
  sim_at(all->cluster->world, sim_now_ns(all->cluster->world) + delay_ns, on_time, call);
}

void reports_learn(struct reports *all, uint64_t block) {
  struct known *known = &all->blocks[all->oldest];
  *known = (struct known){.block = block};
  all->oldest = (all->oldest + 1) % BLOCKS_MAX;
  if (all->count < BLOCKS_MAX)
    all->count++;
}

void reports_node_died(struct reports *all, size_t node) {
  sim_client_node_died(all->askers[node].client, node);
}

struct reports *reports_new(struct sim_cluster *cluster) {
  struct reports *all = xcalloc(1, sizeof *all);
  all->cluster = cluster;
  for (size_t i = 0; i < cluster->plan->nodes; i++) {
    struct asker *asker = &all->askers[i];
    const struct sim_client_options options = {
        .number = cluster->plan->clients + 1 + i, .first = i, .count = 1};
    asker->all = all;
    asker->node = i;
    asker->client = sim_client_new(cluster, &options);
    sim_stream(cluster->world, "report", i, &asker->random);
    ask_later(asker);
  }
  return all;
}

void reports_free(struct reports *all) {
  if (!all)
    return;
  for (struct call *call = all->calls, *next; call; call = next) {
    next = call->next;
    *call = (struct call){0};
  }
  for (size_t i = 0; i < all->cluster->plan->nodes; i++)
    sim_client_free(all->askers[i].client);
  free(all);
}
