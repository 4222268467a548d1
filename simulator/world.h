/* world.h: the modelled world of the simulator: events, time, network, disks, clocks, lives.
 *
 * Each node gets a `struct world` (master/world.h). Everything that takes time is an event in one queue, in
 * the order of time and then of scheduling. Chance comes from streams of their own for the network, each
 * disk, each node, …, so that taking one fault or one operation out of a plan disturbs the rest as little as
 * can be. */
#ifndef ASSAY_SIMULATOR_WORLD_H
#define ASSAY_SIMULATOR_WORLD_H

#include "master/store.h"
#include "master/world.h"
#include "simulator/simulator.h"

struct sim_world;

struct sim_world_options {
  uint64_t seed;
  size_t nodes;
  struct weather weather;
  uint64_t until, break_at; /* as in simulation_options */
  void (*trace)(void *context, const struct transition *transition);
  void *trace_context;
  void (*frame_print)(const void *frame, size_t frame_size, char *out, size_t size); /* as in there */
};

struct sim_world *sim_world_new(const struct sim_world_options *options);
void sim_world_free(struct sim_world *world);

/* -- events and time: simulated seconds since the beginning, no node's clock -- */
int64_t sim_now_ns(const struct sim_world *world);
/* Calls `run` at a time; belongs to no node and survives crashes. `happens` is false when the world ends
 * before: then the owner only frees what it owns. */
void sim_at(struct sim_world *world, int64_t at_ns, void (*run)(void *owner, bool happens), void *owner);
/* Does events until `until_ns`, or until `stop` (may be NULL) becomes true or `options.until` is reached;
 * false in the latter cases. */
bool sim_run(struct sim_world *world, int64_t until_ns, const bool *stop);
uint64_t sim_transitions(const struct sim_world *world);
/* A stream of chance of its own, by name: the same for the same seed and name. */
void sim_stream(const struct sim_world *world, const char *name, uint64_t number, struct random *random);

/* The digest of everything so far; whoever knows of something that counts folds it in. */
void sim_fold(struct sim_world *world, uint64_t value);
uint64_t sim_digest(const struct sim_world *world);

/* The node that an event is happening to just now, or -1: whose log messages are. */
int sim_acting(const struct sim_world *world);

/* Tells the trace; costs a test when there is none. */
bool sim_traced(const struct sim_world *world);
void sim_tell(struct sim_world *world, const char *kind, int node, int peer, uint64_t frame,
              const char *format, ...) __attribute__((format(printf, 6, 7)));

/* -- nodes: numbered from 0; their ids are one more -- */
/* The world as a node sees it, in its present life. */
const struct world *sim_door(struct sim_world *world, size_t node);
/* The power goes: the disk and the store keep what a crash leaves, timers and deferred calls of this life are
 * dead, frames that come while it is down are lost, and its monotonic clock begins anew. Its owner must then
 * free what it holds: requests that are still out are answered with ERR_IO, and deferred calls run, by
 * sim_bury() until `done` says so. `orderly`: everything that was asked of the disk before is done first. */
void sim_crash(struct sim_world *world, size_t node, bool orderly);
void sim_bury(struct sim_world *world, size_t node, const bool *done);
/* A new life. */
void sim_revive(struct sim_world *world, size_t node);
bool sim_alive(const struct sim_world *world, size_t node);
/* The process stands still until then: what would happen to it happens at that time, in its order. */
void sim_pause(struct sim_world *world, size_t node, int64_t until_ns);
bool sim_paused(const struct sim_world *world, size_t node);

/* -- network -- */
/* A cut loses what is under way in that direction. */
void sim_link(struct sim_world *world, size_t from, size_t to, bool up);
void sim_clog(struct sim_world *world, size_t from, bool clogged); /* unclogging lets everything go at once */
/* Clocks whose drift is another one than in the weather before drift by it from now on. */
void sim_set_weather(struct sim_world *world, const struct weather *weather);
const struct weather *sim_weather(const struct sim_world *world);
void sim_client_link(struct sim_world *world, size_t node, bool up);
/* A message between a client and a node, one way: `run` after the network's delay, with `happens` false when
 * it was lost (the node is dead, its client link is down, the world ends). To a node (to_node): runs as a
 * part of its present life, waits while it is paused. Messages of one client and node keep their order. */
void sim_client_message(struct sim_world *world, size_t client, size_t node, bool to_node,
                        void (*run)(void *owner, bool happens), void *owner);

/* -- disks -- */
void sim_fill_disk(struct sim_world *world, size_t node, bool full);
/* The next write's sync fails: of what it wrote, anything may be there. */
void sim_break_sync(struct sim_world *world, size_t node);
void sim_slow_disk(struct sim_world *world, size_t node, double factor); /* 1: as before */
/* Files by name: the content may be changed in place; NULL when there is none. */
struct bytes *sim_file(struct sim_world *world, size_t node, const char *name);
/* The n-th file's name in no particular order, NULL behind the last. */
const char *sim_file_name(struct sim_world *world, size_t node, size_t n);
struct bytes *sim_make_file(struct sim_world *world, size_t node, const char *name);
void sim_drop_file(struct sim_world *world, size_t node, const char *name);
/* The store too; the node is down. It is another machine from now on: frames that it sent, or was sent,
 * before are lost. */
void sim_wipe(struct sim_world *world, size_t node);

/* -- row stores: memory_store's rows, behind the node's disk: a write takes time, may fail when the disk is
 * full (it waits for room, as RocksDB's does), and a crash keeps of those under way the first few, each whole
 * --
 */
/* For the node's present life; closed by the node's owner in sim_crash's aftermath. The rows outlive it. */
struct row_store *sim_store(struct sim_world *world, size_t node);

/* -- clocks -- */
void sim_jump_clock(struct sim_world *world, size_t node, int64_t by_ns); /* wall */
void sim_drift_clock(struct sim_world *world, size_t node,
                     double drift); /* both run at 1 + drift from now on */

#endif
