/* world.c: events and their order, chance, lives, deferred calls, the digest and the trace. */
#include "simulator/world.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "simulator/world_internal.h"

#define TURN_NS 20000 /* of a node's loop, at most: what comes meanwhile belongs to the same turn */

/* -- events --------------------------------------------------------------------------------------------- */

void sim_schedule(struct sim_world *world, struct event *event, int64_t at_ns) {
  if (event->list)
    list_remove(event);
  queue_set(&world->queue, event, at_ns < world->now_ns ? world->now_ns : at_ns);
}

void sim_cancel(struct sim_world *world, struct event *event) {
  if (event->list)
    list_remove(event);
  if (event->position > 0)
    queue_remove(&world->queue, event);
}

static void begin_transition(struct sim_world *world, const struct event *event) {
  world->transitions++;
  sim_fold(world, (uint64_t)world->now_ns);
  sim_fold(world, (uint64_t)event->kind << 8 | (event->node ? event->node->number + 1 : 0));
}

static void dispatch(struct sim_world *world, struct event *event) {
  const struct node *node = event->node;
  begin_transition(world, event);
  world->acting = node;
  event->run(event, !node || (node->alive && (event->life == 0 || event->life == node->life)));
  world->acting = NULL;
}

/* The next event, still where it waits, or NULL when none comes before `until_ns`. What happens to a paused
 * node is put aside. */
static struct event *next_event(struct sim_world *world, int64_t until_ns) {
  for (;;) {
    struct event *event = world->ready.first;
    if (!event) {
      if (world->queue.count == 0 || world->queue.heap[0].at_ns > until_ns)
        return NULL;
      event = world->queue.heap[0].event;
    }
    struct node *node = event->node;
    if (!node || !node->paused)
      return event;
    if (!event->list) {
      world->now_ns = world->queue.heap[0].at_ns;
      queue_remove(&world->queue, event);
    } else {
      list_remove(event);
    }
    list_append(&node->waiting, event);
  }
}

bool sim_run(struct sim_world *world, int64_t until_ns, const bool *stop) {
  for (;;) {
    if (stop && *stop)
      return false;
    struct event *event = next_event(world, until_ns);
    if (!event)
      break;
    if (world->options.until > 0 && world->transitions + 1 >= world->options.until)
      return false;
    if (world->transitions + 1 == world->options.break_at)
      raise(SIGTRAP);
    if (event->list) {
      list_remove(event);
    } else {
      world->now_ns = world->queue.heap[0].at_ns;
      queue_remove(&world->queue, event);
    }
    dispatch(world, event);
  }
  if (world->now_ns < until_ns)
    world->now_ns = until_ns;
  return true;
}

struct outside {
  struct event event;
  struct sim_world *world;
  void (*run)(void *owner, bool happens);
  void *owner;
};

static void run_outside(struct event *event, bool happens) {
  struct outside *outside = CONTAINER_OF(event, struct outside, event);
  void (*run)(void *owner, bool happens) = outside->run;
  void *owner = outside->owner;
  pool_give(&outside->world->pool, outside, sizeof *outside);
  run(owner, happens);
}

void sim_at(struct sim_world *world, int64_t at_ns, void (*run)(void *owner, bool happens), void *owner) {
  struct outside *outside = pool_take(&world->pool, sizeof *outside);
  *outside = (struct outside){
      .event = {.kind = EVENT_OUTSIDE, .run = run_outside}, .world = world, .run = run, .owner = owner};
  sim_schedule(world, &outside->event, at_ns);
}

int64_t sim_now_ns(const struct sim_world *world) {
  return world->now_ns;
}

uint64_t sim_transitions(const struct sim_world *world) {
  return world->transitions;
}

/* -- chance, digest, trace ------------------------------------------------------------------------------ */

void sim_stream(const struct sim_world *world, const char *name, uint64_t number, struct random *random) {
  const uint64_t named = checksum_fold(world->options.seed, name, strlen(name));
  random_seed(random, checksum_fold(named, &number, sizeof number));
}

void sim_fold(struct sim_world *world, uint64_t value) {
  const unsigned __int128 product = (unsigned __int128)(world->digest ^ value) * UINT64_C(0x9fb21c651e98df25);
  world->digest = ((uint64_t)product ^ (uint64_t)(product >> 64)) + UINT64_C(0x9e3779b97f4a7c15);
}

uint64_t sim_digest(const struct sim_world *world) {
  return world->digest;
}

int sim_acting(const struct sim_world *world) {
  return world->acting ? (int)world->acting->number : -1;
}

bool sim_traced(const struct sim_world *world) {
  return world->options.trace != NULL;
}

void sim_tell(struct sim_world *world, const char *kind, int node, int peer, uint64_t frame,
              const char *format, ...) {
  if (!world->options.trace)
    return;
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const struct transition transition = {.number = world->transitions,
                                        .time_ns = world->now_ns,
                                        .kind = kind,
                                        .node = node,
                                        .peer = peer,
                                        .frame = frame,
                                        .text = text};
  world->options.trace(world->options.trace_context, &transition);
}

/* -- deferred calls ------------------------------------------------------------------------------------- */

static uint64_t random_bits(void *context) {
  return random_next(&((struct node *)context)->random);
}

/* What is deferred meanwhile is for the next turn. */
static void run_deferred(struct node *node) {
  const struct calls now = node->deferred;
  node->deferred = node->running;
  node->running = (struct calls){0};
  for (size_t i = 0; i < now.count; i++)
    now.calls[i].run(now.calls[i].owner);
  node->running = now;
  node->running.count = 0;
}

static void turn(struct event *event, bool happens) {
  if (happens)
    run_deferred(event->node);
}

static void defer(void *context, void (*run)(void *owner), void *owner) {
  struct node *node = context;
  struct calls *deferred = &node->deferred;
  if (deferred->count == deferred->capacity) {
    deferred->capacity = deferred->capacity ? deferred->capacity * 2 : 16;
    deferred->calls = xrealloc(deferred->calls, deferred->capacity * sizeof *deferred->calls);
  }
  deferred->calls[deferred->count++] = (struct call){.run = run, .owner = owner};
  if (deferred->count > 1 || !node->alive)
    return;
  node->turn.life = node->life;
  sim_schedule(node->sim, &node->turn,
               node->sim->now_ns + (int64_t)random_below(&node->loop_random, TURN_NS + 1));
}

/* -- pauses and lives ----------------------------------------------------------------------------------- */

static void resume(struct node *node) {
  sim_cancel(node->sim, &node->resume);
  node->paused = false;
  list_move(&node->waiting, &node->sim->ready);
}

static void run_resume(struct event *event, bool happens) {
  if (happens)
    resume(CONTAINER_OF(event, struct node, resume));
}

void sim_pause(struct sim_world *world, size_t number, int64_t until_ns) {
  struct node *node = &world->nodes[number];
  assert(node->alive);
  node->paused = true;
  sim_schedule(world, &node->resume, until_ns);
}

bool sim_paused(const struct sim_world *world, size_t node) {
  return world->nodes[node].paused;
}

bool sim_alive(const struct sim_world *world, size_t node) {
  return world->nodes[node].alive;
}

const struct world *sim_door(struct sim_world *world, size_t node) {
  return &world->nodes[node].door;
}

void sim_crash(struct sim_world *world, size_t number, bool orderly) {
  struct node *node = &world->nodes[number];
  assert(node->alive);
  node->alive = false;
  resume(node);
  sim_cancel(world, &node->turn);
  node->received = NULL;
  sim_clock_crash(node, orderly);
  sim_disk_crash(node, orderly);
  sim_rows_crash(node, orderly);
}

void sim_bury(struct sim_world *world, size_t number, const bool *done) {
  struct node *node = &world->nodes[number];
  assert(!node->alive);
  while (!*done) {
    if (sim_disk_refuse_first(node))
      continue;
    assert(node->deferred.count > 0);
    run_deferred(node);
  }
}

void sim_revive(struct sim_world *world, size_t number) {
  struct node *node = &world->nodes[number];
  assert(!node->alive && node->deferred.count == 0 && !node->rows.open);
  while (sim_disk_refuse_first(node)) /* removals nobody waits for */
    ;
  node->alive = true;
  node->life++;
}

void sim_wipe(struct sim_world *world, size_t number) {
  struct node *node = &world->nodes[number];
  while (node->disk.file_count > 0)
    sim_drop_file(world, number, node->disk.files[0]->name);
  sim_rows_wipe(node);
  node->machine++;
}

/* -- beginning and end ---------------------------------------------------------------------------------- */

static void open_node(struct sim_world *world, size_t number) {
  struct node *node = &world->nodes[number];
  *node = (struct node){.sim = world, .number = number, .alive = true, .life = 1};
  node->resume = (struct event){.kind = EVENT_RESUME, .run = run_resume};
  node->turn = (struct event){.kind = EVENT_TURN, .run = turn, .node = node};
  sim_stream(world, "node", number, &node->random);
  sim_stream(world, "loop", number, &node->loop_random);
  node->door = (struct world){.context = node, .random = random_bits, .defer = defer};
  sim_clock_functions(&node->door);
  sim_network_functions(&node->door);
  sim_disk_functions(&node->door);
  sim_clock_open(node);
  sim_disk_open(node);
  sim_rows_open(node);
}

struct sim_world *sim_world_new(const struct sim_world_options *options) {
  assert(options->nodes >= 1 && options->nodes <= NODES_MAX);
  struct sim_world *world = xcalloc(1, sizeof *world);
  world->options = *options;
  world->node_count = options->nodes;
  for (size_t i = 0; i < options->nodes; i++)
    open_node(world, i);
  sim_network_open(world);
  return world;
}

static void end_list(struct event_list *list) {
  while (list->first) {
    struct event *event = list->first;
    list_remove(event);
    event->run(event, false);
  }
}

void sim_world_free(struct sim_world *world) {
  for (size_t i = 0; i < world->node_count; i++) {
    list_move(&world->nodes[i].waiting, &world->ready);
    list_move(&world->nodes[i].held, &world->ready);
  }
  end_list(&world->ready);
  while (world->queue.count > 0) {
    struct event *event = world->queue.heap[0].event;
    queue_remove(&world->queue, event);
    event->run(event, false);
  }
  for (size_t i = 0; i < world->node_count; i++) {
    struct node *node = &world->nodes[i];
    sim_disk_free(node);
    sim_rows_free(node);
    free(node->deferred.calls);
    free(node->running.calls);
  }
  queue_free(&world->queue);
  pool_free(&world->pool);
  free(world);
}
