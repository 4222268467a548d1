/* uv_world.c: time, chance and deferred calls on libuv; opening and closing.
 *
 * A turn of the loop:  timers → prepare: write frames → poll (frames, disk answers, clients) → check:
 * deferred calls, write frames → closing.  So what is deferred runs after the events that were ready, and all
 * frames of a turn leave in one write a peer. */
#include "master/uv_world.h"

#include <assert.h>
#include <stdlib.h>

#include "master/uv_world_internal.h"

struct timer {
  uv_timer_t handle;
  struct uv_world *world;
  void (*fired)(void *owner);
  void *owner;
};

static int64_t now_ns(void *context) {
  (void)context;
  return time_monotonic_ns();
}

static int64_t wall_ns(void *context) {
  (void)context;
  return time_wall_ns();
}

static uint64_t random_bits(void *context) {
  return random_next(&((struct uv_world *)context)->random);
}

/* -- timers --------------------------------------------------------------------------------------------- */

static struct timer *timer_new(void *context, void (*fired)(void *owner), void *owner) {
  struct uv_world *world = context;
  struct timer *timer = xcalloc(1, sizeof *timer);
  *timer = (struct timer){.world = world, .fired = fired, .owner = owner};
  const int status = uv_timer_init(world->loop, &timer->handle);
  assert(status == 0);
  timer->handle.data = timer;
  world->handles++;
  return timer;
}

static void timer_fired(uv_timer_t *handle) {
  const struct timer *timer = handle->data;
  timer->fired(timer->owner);
}

/* libuv counts in milliseconds: rounded up, a timer never fires early. */
static void timer_set(struct timer *timer, int64_t at_ns) {
  const int64_t left_ns = at_ns - time_monotonic_ns();
  const uint64_t left_ms = left_ns > 0 ? ((uint64_t)left_ns + 999999) / 1000000 : 0;
  uv_update_time(timer->world->loop);
  uv_timer_start(&timer->handle, timer_fired, left_ms, 0);
}

static void timer_clear(struct timer *timer) {
  uv_timer_stop(&timer->handle);
}

static void timer_free(struct timer *timer) {
  struct uv_world *world = timer->world;
  timer->handle.data = world;
  uv_world_close_handle(world, (uv_handle_t *)&timer->handle, timer);
}

/* -- deferred calls ------------------------------------------------------------------------------------- */

static void do_nothing(uv_idle_t *idle) {
  (void)idle;
}

static void defer(void *context, void (*run)(void *owner), void *owner) {
  struct uv_world *world = context;
  if (world->deferred_count == world->deferred_capacity) {
    world->deferred_capacity = world->deferred_capacity ? world->deferred_capacity * 2 : 16;
    world->deferred = xrealloc(world->deferred, world->deferred_capacity * sizeof *world->deferred);
  }
  world->deferred[world->deferred_count++] = (struct deferred){.run = run, .owner = owner};
  if (!world->closing)
    uv_idle_start(&world->idle, do_nothing);
}

static void run_deferred(struct uv_world *world) {
  struct deferred *calls = world->deferred;
  const size_t count = world->deferred_count, capacity = world->deferred_capacity;
  world->deferred = world->running;
  world->deferred_capacity = world->running_capacity;
  world->deferred_count = 0;
  uv_idle_stop(&world->idle);
  for (size_t i = 0; i < count; i++)
    calls[i].run(calls[i].owner);
  world->running = calls;
  world->running_capacity = capacity;
}

static void after_poll(uv_check_t *handle) {
  struct uv_world *world = handle->data;
  if (world->deferred_count > 0)
    run_deferred(world);
  uv_peers_flush(world);
}

static void before_poll(uv_prepare_t *handle) {
  uv_peers_flush(handle->data);
}

/* -- opening and closing -------------------------------------------------------------------------------- */

struct closing_handle {
  struct uv_world *world;
  void *free_with;
};

static void free_world(struct uv_world *world) {
  void (*closed)(void *) = world->closed;
  void *context = world->closed_context;
  uv_peers_free(world);
  free(world->deferred);
  free(world->running);
  free(world->path);
  free(world);
  if (closed)
    closed(context);
}

static void handle_closed(uv_handle_t *handle) {
  struct closing_handle *closing = handle->data;
  struct uv_world *world = closing->world;
  free(closing->free_with);
  free(closing);
  assert(world->handles > 0);
  if (--world->handles == 0 && world->closing)
    free_world(world);
}

void uv_world_close_handle(struct uv_world *world, uv_handle_t *handle, void *free_with) {
  struct closing_handle *closing = xcalloc(1, sizeof *closing);
  *closing = (struct closing_handle){.world = world, .free_with = free_with};
  handle->data = closing;
  uv_close(handle, handle_closed);
}

static void open_loop(struct uv_world *world) {
  uv_prepare_init(world->loop, &world->prepare);
  uv_check_init(world->loop, &world->check);
  uv_idle_init(world->loop, &world->idle);
  world->prepare.data = world->check.data = world->idle.data = world;
  uv_prepare_start(&world->prepare, before_poll);
  uv_check_start(&world->check, after_poll);
  world->handles += 3;
}

void uv_world_close(struct uv_world *world, void (*done)(void *context), void *context) {
  assert(!world->closing);
  world->closing = true;
  world->closed = done;
  world->closed_context = context;
  uv_peers_close(world);
  uv_disk_close(world);
  uv_world_close_handle(world, (uv_handle_t *)&world->prepare, NULL);
  uv_world_close_handle(world, (uv_handle_t *)&world->check, NULL);
  uv_world_close_handle(world, (uv_handle_t *)&world->idle, NULL);
}

int uv_world_new(uv_loop_t *loop, const struct uv_world_options *options, struct uv_world **world,
                 struct error *error) {
  struct uv_world *opened = xcalloc(1, sizeof *opened);
  opened->loop = loop;
  opened->id = options->id;
  opened->cluster = options->cluster;
  opened->tls = options->tls;
  random_seed(&opened->random, random_seed_from_system());
  opened->door = (struct world){.context = opened,
                                .now_ns = now_ns,
                                .wall_ns = wall_ns,
                                .random = random_bits,
                                .timer_new = timer_new,
                                .timer_set = timer_set,
                                .timer_clear = timer_clear,
                                .timer_free = timer_free,
                                .defer = defer};
  uv_disk_functions(&opened->door);
  uv_peers_functions(&opened->door);
  open_loop(opened);
  int status = uv_disk_open(opened, options->directory, error);
  if (status == 0) {
    status = uv_peers_open(opened, options, error);
    if (status == 0) {
      *world = opened;
      return 0;
    }
  }
  uv_world_close(opened, NULL, NULL);
  return status;
}

const struct disk_statistics *uv_world_disk_statistics(const struct uv_world *world) {
  return &world->disk.statistics;
}

const struct world *uv_world_world(struct uv_world *world) {
  return &world->door;
}
