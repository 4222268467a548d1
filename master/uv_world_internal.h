/* uv_world_internal.h: what the rooms of the libuv world share: uv_world.c (time, deferred calls, opening and
 * closing), uv_disk.c (the disk thread), uv_peers.c (connections). */
#ifndef ASSAY_MASTER_UV_WORLD_INTERNAL_H
#define ASSAY_MASTER_UV_WORLD_INTERNAL_H

#include <pthread.h>

#include "master/member_address.h"
#include "master/rpc/tls.h"
#include "master/statistics.h"
#include "master/uv_world.h"

struct deferred {
  void (*run)(void *owner);
  void *owner;
};

struct disk_request;

/* Requests go to the thread in order, and come back in order. */
struct disk {
  int directory; /* descriptor */
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  struct disk_request *asked, **asked_end; /* guarded by the mutex */
  struct disk_request *answered, **answered_end;
  bool stopping;
  struct disk_request *filling; /* a new file that is being filled with zeros; the thread's */
  uv_async_t answer;
  struct disk_statistics statistics; /* the loop's */
};

struct outgoing;
struct incoming;

struct uv_world {
  struct world door;
  uv_loop_t *loop;
  char *path;
  uint64_t id;
  uint64_t cluster;
  struct tls_context *tls; /* NULL: peers talk without */
  struct random random;
  /* deferred calls */
  struct deferred *deferred, *running;
  size_t deferred_count, deferred_capacity, running_capacity;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t idle; /* active while something is deferred: the loop must not sleep */
  struct disk disk;
  /* peers */
  char address[MEMBER_ADDRESS_SIZE]; /* this node's, told to those it calls; "": nothing is told */
  struct outgoing **outgoing;        /* one for each other node that was ever met */
  size_t outgoing_count;
  struct incoming *incoming; /* list */
  uv_tcp_t listener;
  uv_timer_t watch; /* connects, and ends stalled connections */
  void (*frame_received)(void *owner, uint64_t peer, const void *frame, size_t size);
  void *receiver;
  int64_t complained_ns; /* of a stranger; 0: never */
  /* closing */
  bool closing;
  size_t handles; /* open libuv handles */
  void (*closed)(void *context);
  void *closed_context;
};

/* Closes a handle and counts it out; `free_with` (or NULL) is freed then. The handle's data must be the
 * world. */
void uv_world_close_handle(struct uv_world *world, uv_handle_t *handle, void *free_with);

/* -- uv_disk.c -- */
int uv_disk_open(struct uv_world *world, const char *directory, struct error *error);
void uv_disk_functions(struct world *door);
/* Ends the thread when everything asked is done, and delivers the answers. */
void uv_disk_close(struct uv_world *world);

/* -- uv_peers.c -- */
int uv_peers_open(struct uv_world *world, const struct uv_world_options *options, struct error *error);
void uv_peers_functions(struct world *door);
/* Writes what was sent since the last time: once a turn. */
void uv_peers_flush(struct uv_world *world);
void uv_peers_close(struct uv_world *world);
void uv_peers_free(struct uv_world *world);

#endif
