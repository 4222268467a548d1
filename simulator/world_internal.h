/* world_internal.h: what the rooms of the world share: world.c (events, lives, chance, digest), clock.c,
 * network.c, disk.c, store.c. */
#ifndef ASSAY_SIMULATOR_WORLD_INTERNAL_H
#define ASSAY_SIMULATOR_WORLD_INTERNAL_H

#include "simulator/queue.h"
#include "simulator/world.h"

#define NODES_MAX SIMULATOR_NODES_MAX
#define DISK_SLOWEST_NS 3e9 /* a request of a disk that takes longer is one of a disk that has failed */
/* … one that asks for client numbers, and one that reports to each node */
#define CLIENTS_MAX (SIMULATOR_CLIENTS_MAX + 1 + SIMULATOR_NODES_MAX)

/* -- clock.c -- */

/* Both clocks of a node are what they were at `since_ns`, and what has gone by since, 1 + drift times. */
struct clock {
  int64_t since_ns, monotonic_ns, wall_ns;
  double drift;
};

struct timer {
  struct event event;
  struct node *node;
  void (*fired)(void *owner);
  void *owner;
  int64_t at_ns; /* by the node's clock; while it is set */
  bool set;
  struct timer *previous, *next; /* of the node's */
};

/* -- network.c -- */

struct link {
  struct random random;
  bool up;
  uint64_t cuts; /* a frame that was sent before the last one is lost */
};

/* Between clients and one node. */
struct client_link {
  struct random random;
  bool up;
  uint64_t cuts;
  int64_t last_ns[CLIENTS_MAX][2]; /* when the last message of a client arrives: from the node, to it */
};

/* -- disk.c -- */

struct file {
  char name[64];
  struct bytes content; /* what is durable */
  size_t references;    /* the directory, handles, requests */
};

struct disk_file {
  struct node *node;
  struct file *file;
};

struct disk {
  struct random random;
  struct event event;
  struct file **files;
  size_t file_count, file_capacity;
  struct request *first, **end; /* the first one is under way */
  bool full, refuses_all, sync_broken;
  double factor;
};

/* -- store.c -- */

struct rows {
  struct random random;
  struct row_store *kept;               /* a memory store: what is durable */
  struct sim_store *open;               /* of this life, or NULL */
  struct row_store_functions functions; /* of `open` */
};

/* -- world.c -- */

struct call {
  void (*run)(void *owner);
  void *owner;
};

struct calls {
  struct call *calls;
  size_t count, capacity;
};

struct node {
  struct sim_world *sim;
  struct world door;
  size_t number;
  bool alive;
  uint64_t life;    /* from 1 */
  uint64_t machine; /* how often it was wiped: frames of another machine are lost */
  struct random random, loop_random;
  bool paused;
  struct event resume;
  struct event_list waiting; /* put off by the pause */
  struct clock clock;
  struct timer *timers;
  struct event turn;
  struct calls deferred, running;
  void (*received)(void *owner, uint64_t peer, const void *frame, size_t size);
  void *receiver;
  bool clogged;
  struct event_list held; /* frames from it, while it is clogged */
  struct client_link clients;
  struct disk disk;
  struct rows rows;
};

struct sim_world {
  struct sim_world_options options;
  int64_t now_ns;
  uint64_t transitions, digest, frames;
  const struct node *acting; /* NULL: nobody */
  struct queue queue;
  struct event_list ready; /* comes before anything in the queue: put off by a pause that is over */
  struct pool pool;
  struct link links[NODES_MAX][NODES_MAX]; /* from, to */
  struct node nodes[NODES_MAX];
  size_t node_count;
};

/* Schedules or moves an event; not before now. */
void sim_schedule(struct sim_world *world, struct event *event, int64_t at_ns);
/* Takes it out of whatever it waits in. */
void sim_cancel(struct sim_world *world, struct event *event);

/* A few draws that follow from one of a stream (splitmix64), so that what is done with them shifts nothing
 * that is drawn later. */
static inline uint64_t draw_bits(uint64_t *draw) {
  uint64_t z = (*draw += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

/* Uniform in [0, most]. */
static inline int64_t draw_up_to(uint64_t *draw, int64_t most) {
  return (int64_t)(((unsigned __int128)draw_bits(draw) * ((uint64_t)most + 1)) >> 64);
}

static inline bool draw_chance(uint64_t *draw, double probability) {
  return (double)(draw_bits(draw) >> 11) * 0x1p-53 < probability;
}

/* -- clock.c -- */
void sim_clock_functions(struct world *door);
void sim_clock_open(struct node *node);
void sim_clock_crash(struct node *node, bool orderly);

/* -- network.c -- */
void sim_network_functions(struct world *door);
void sim_network_open(struct sim_world *world);

/* -- disk.c -- */
void sim_disk_functions(struct world *door);
void sim_disk_open(struct node *node);
void sim_disk_crash(struct node *node, bool orderly);
/* Answers the oldest request that a crash left; false when there is none. */
bool sim_disk_refuse_first(struct node *node);
void sim_disk_free(struct node *node);

/* -- store.c -- */
void sim_rows_open(struct node *node);
void sim_rows_crash(struct node *node, bool orderly);
void sim_rows_have_room(struct node *node);
void sim_rows_wipe(struct node *node);
void sim_rows_free(struct node *node);

#endif
