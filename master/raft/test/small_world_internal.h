/* small_world_internal.h: what the rooms of the small world share: small_world.c (events, time, network,
 * lives) and small_disk.c. */
#ifndef ASSAY_MASTER_RAFT_TEST_SMALL_WORLD_INTERNAL_H
#define ASSAY_MASTER_RAFT_TEST_SMALL_WORLD_INTERNAL_H

#include "master/raft/test/small_world.h"

struct node;

/* `happens` is false when the world ends before the event's time: it only frees what it owns then. */
struct event {
  int64_t at_ns;
  uint64_t sequence;
  void (*run)(void *owner, bool happens);
  void *owner;
};

struct timer {
  struct node *node;
  void (*fired)(void *owner);
  void *owner;
  uint64_t setting; /* an alarm of an earlier one is void */
  size_t alarms;    /* events that know of it */
  bool freed;
};

struct alarm {
  struct timer *timer;
  uint64_t setting;
  uint64_t life;
};

struct file {
  char name[64];
  struct bytes content; /* what is durable */
};

struct disk_file {
  struct node *node;
  char name[64];
};

enum request_kind { REQUEST_CREATE, REQUEST_WRITE, REQUEST_FETCH, REQUEST_REMOVE, REQUEST_CLOSE };

struct request {
  struct request *next;
  enum request_kind kind;
  struct disk_file *file;
  char name[64];
  uint64_t offset, size;
  struct bytes data; /* to write */
  void *buffer;      /* to read into */
  void (*done)(void *owner, int status);
  void (*created)(void *owner, int status, struct disk_file *file);
  void *owner;
};

struct call {
  void (*run)(void *owner);
  void *owner;
};

struct node {
  struct small_world *small;
  struct world door;
  size_t number;
  bool alive;
  uint64_t life;
  int64_t paused_until_ns;
  void (*received)(void *owner, uint64_t peer, const void *frame, size_t size);
  void *receiver;
  struct call *calls; /* deferred */
  size_t call_count, call_capacity;
  struct file *files;
  size_t file_count;
  struct request *first, **end; /* of the disk; the first one is under way */
  bool full, refuses_all, sync_broken;
};

struct small_world {
  struct random random;
  int64_t now_ns;
  uint64_t sequence;
  struct event *heap;
  size_t event_count, event_capacity;
  struct small_world_weather weather;
  bool link[NODES_MAX][NODES_MAX]; /* from, to */
  struct node nodes[NODES_MAX];
  size_t node_count;
};

/* An event of one life of a node. */
struct moment {
  struct node *node;
  uint64_t life;
};

/* An event at a time. */
void small_schedule(struct small_world *world, int64_t at_ns, void (*run)(void *owner, bool happens),
                    void *owner);
int64_t small_draw_ns(struct small_world *world, int64_t base_ns, int64_t jitter_ns);
/* For events of the present life of a node. */
struct moment *small_this_moment(struct node *node);
/* The node, when the moment's life is still the present one, else NULL; frees the moment. */
struct node *small_end_moment(struct moment *moment, bool happens);
/* What happens to a paused node is put off: true then. */
bool small_put_off(struct node *node, bool happens, void (*run)(void *owner, bool happens), void *owner);

/* -- small_disk.c -- */
void small_disk_functions(struct world *door);
/* What the power leaves of the request under way. */
void small_disk_leave_half_done(struct node *node);
/* Answers the oldest request with ERR_IO. */
void small_disk_refuse_first(struct node *node);

#endif
