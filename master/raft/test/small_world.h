/* small_world.h: nodes, network, disks and time in one thread, from one seed.
 *
 * Each node gets a struct world. Everything that takes time is an event in one queue; two runs of a seed are
 * the same. The network loses, delays, reorders and duplicates frames and obeys a matrix of who hears whom. A
 * disk does one request after the other; a crash leaves of the one under way nothing, a beginning, or
 * scattered blocks, and nothing of those behind it. */
#ifndef ASSAY_MASTER_RAFT_TEST_SMALL_WORLD_H
#define ASSAY_MASTER_RAFT_TEST_SMALL_WORLD_H

#include "master/world.h"

#define NODES_MAX 5

struct small_world;

struct small_world_weather {
  double loss, duplication;    /* chance of each frame */
  int64_t delay_ns, jitter_ns; /* of a frame; jitter reorders */
  int64_t disk_ns, disk_jitter_ns;
  double disk_stall; /* chance that a request takes a hundred times as long */
};

struct small_world *small_world_new(uint64_t seed, size_t nodes);
void small_world_free(struct small_world *world);
struct random *small_world_random(struct small_world *world);
void small_world_set_weather(struct small_world *world, const struct small_world_weather *weather);
int64_t small_world_now_ns(const struct small_world *world);

/* The world as node `node` (from 0; its id is one more) sees it, in its present life. */
const struct world *small_world_door(struct small_world *world, size_t node);

/* Calls `run` at a time; belongs to no node and survives crashes. */
void small_world_at(struct small_world *world, int64_t at_ns, void (*run)(void *owner), void *owner);

/* Does events until `until_ns`. */
void small_world_run(struct small_world *world, int64_t until_ns);

/* -- network -- */
void small_world_link(struct small_world *world, size_t from, size_t to, bool up);
void small_world_heal(struct small_world *world);

/* -- disks -- */
/* While full, no file is made and none grows; on some file systems nothing can be written at all. */
void small_world_fill_disk(struct small_world *world, size_t node, bool full);
/* The next write's sync fails. */
void small_world_break_sync(struct small_world *world, size_t node);
/* Files by name: the content may be changed in place; NULL when there is none. */
struct bytes *small_world_file(struct small_world *world, size_t node, const char *name);
/* The n-th file's name in no particular order, NULL behind the last. */
const char *small_world_file_name(struct small_world *world, size_t node, size_t n);
/* A new empty file. */
struct bytes *small_world_make_file(struct small_world *world, size_t node, const char *name);
void small_world_drop_file(struct small_world *world, size_t node, const char *name);
void small_world_wipe(struct small_world *world, size_t node);

/* The process stands still until then: what would happen to it happens at that time, in its order. */
void small_world_pause(struct small_world *world, size_t node, int64_t until_ns);
bool small_world_paused(const struct small_world *world, size_t node);

/* -- lives -- */
/* The power goes: the disk keeps what a crash leaves, timers and deferred calls of this life are dead, frames
 * to it are lost. Its owner must then free what it holds: requests it still has out are answered with ERR_IO,
 * and deferred calls run, by small_world_bury() until `done` says so. */
void small_world_crash(struct small_world *world, size_t node);
void small_world_bury(struct small_world *world, size_t node, const bool *done);
/* A new life. */
void small_world_revive(struct small_world *world, size_t node);

#endif
