/* replicas.h: Raft journals in a modelled world, each under a trivial state machine, and what must always
 * hold:
 *
 *   - at most one leader in a term (election safety);
 *   - all replicas are given the same entry at the same index (state machine safety), without gaps and in
 * order, over crashes and installed snapshots: compared by a running hash;
 *   - a confirmed read index covers every entry that any replica had been given before the confirmation was
 * asked for;
 *   - an append that was refused is never committed; one that was reported committed stays.
 *
 * A violation ends the program with the seed. */
#ifndef ASSAY_SIMULATOR_TEST_REPLICAS_H
#define ASSAY_SIMULATOR_TEST_REPLICAS_H

#include "master/raft/raft_journal.h"
#include "simulator/world.h"

struct replicas;

struct replicas_options {
  uint64_t seed;
  size_t nodes;
  size_t
      members; /* the first so many nodes are the first configuration, the others wait to be added; 0: all */
  uint64_t segment_size;
  uint64_t snapshot_threshold, snapshot_trailing;
  size_t cache_size;
  double snapshot_failures; /* chance of each call about snapshots to fail */
  size_t bulk;              /* bytes of a snapshot beside the hash: several pieces */
  uint64_t full_after; /* entries that are applied and not durable at which a state takes no more; 0: never */
};

/* All nodes are started. */
struct replicas *replicas_new(const struct replicas_options *options);
void replicas_free(struct replicas *replicas);
struct sim_world *replicas_world(struct replicas *replicas);

/* All links are up again. */
void replicas_heal(struct replicas *replicas);
void replicas_run(struct replicas *replicas, int64_t for_ns);
void replicas_crash(struct replicas *replicas, size_t node);
void replicas_start(struct replicas *replicas, size_t node);
/* A node that is down loses its disk: log and state. */
void replicas_wipe(struct replicas *replicas, size_t node);
/* Starts a node that must refuse; what it says is in `error`. */
int replicas_try_start(struct replicas *replicas, size_t node, struct error *error);
bool replicas_alive(const struct replicas *replicas, size_t node);
/* The node that leads in the highest term, or -1. */
int replicas_leader(const struct replicas *replicas);
/* Runs until somebody leads, and says who; nobody within that time is a violation. */
size_t replicas_wait_for_leader(struct replicas *replicas, int64_t within_ns);

/* One append of a new value at a node; 0 or the journal's refusal. */
int replicas_append(struct replicas *replicas, size_t node, size_t size);
void replicas_confirm(struct replicas *replicas, size_t node);
/* The state of a node becomes durable up to what is applied. */
void replicas_make_durable(struct replicas *replicas, size_t node);

uint64_t replicas_applied(const struct replicas *replicas, size_t node);
uint64_t replicas_highest_committed(const struct replicas *replicas);
uint64_t replicas_acknowledged(const struct replicas *replicas); /* appends reported with their token */
uint64_t replicas_confirmed(const struct replicas *replicas);    /* read indexes given */
uint64_t replicas_unconfirmed(const struct replicas *replicas);  /* … and refused */
uint64_t replicas_installed(const struct replicas *replicas);    /* snapshots installed */
struct journal_status replicas_status(const struct replicas *replicas, size_t node);
/* To ask for changes of membership. */
struct journal *replicas_journal(struct replicas *replicas, size_t node);
/* Whether a node is a voter by its own log. */
bool replicas_votes(struct replicas *replicas, size_t node);
/* A fatal condition is expected of the node, and ends it. */
void replicas_expect_fatal(struct replicas *replicas, size_t node);

/* Heals everything, starts every node, and returns once all members are at one index with a new entry; fails
 * after `within_ns`. */
void replicas_settle(struct replicas *replicas, int64_t within_ns);

#endif
