#include "master/raft/test/small_world.h"

#include <assert.h>
#include <stdlib.h>

#include "master/raft/test/small_world_internal.h"

/* -- events: a binary heap ------------------------------------------------------------------------------ */

static bool earlier(const struct event *left, const struct event *right) {
  return left->at_ns != right->at_ns ? left->at_ns < right->at_ns : left->sequence < right->sequence;
}

void small_schedule(struct small_world *world, int64_t at_ns, void (*run)(void *owner, bool happens),
                    void *owner) {
  if (world->event_count == world->event_capacity) {
    world->event_capacity = world->event_capacity ? world->event_capacity * 2 : 256;
    world->heap = xrealloc(world->heap, world->event_capacity * sizeof *world->heap);
  }
  const struct event event = {.at_ns = at_ns < world->now_ns ? world->now_ns : at_ns,
                              .sequence = world->sequence++,
                              .run = run,
                              .owner = owner};
  size_t i = world->event_count++;
  for (; i > 0 && earlier(&event, &world->heap[(i - 1) / 2]); i = (i - 1) / 2)
    world->heap[i] = world->heap[(i - 1) / 2];
  world->heap[i] = event;
}

static struct event pop_event(struct small_world *world) {
  const struct event first = world->heap[0];
  const struct event last = world->heap[--world->event_count];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= world->event_count)
      break;
    if (child + 1 < world->event_count && earlier(&world->heap[child + 1], &world->heap[child]))
      child++;
    if (!earlier(&world->heap[child], &last))
      break;
    world->heap[i] = world->heap[child];
    i = child;
  }
  world->heap[i] = last;
  return first;
}

void small_world_run(struct small_world *world, int64_t until_ns) {
  while (world->event_count > 0 && world->heap[0].at_ns <= until_ns) {
    const struct event event = pop_event(world);
    world->now_ns = event.at_ns;
    event.run(event.owner, true);
  }
  if (world->now_ns < until_ns)
    world->now_ns = until_ns;
}

static void outside_call(void *owner, bool happens) {
  struct call *call = owner;
  if (happens)
    call->run(call->owner);
  free(call);
}

void small_world_at(struct small_world *world, int64_t at_ns, void (*run)(void *owner), void *owner) {
  struct call *call = xmalloc(sizeof *call);
  *call = (struct call){.run = run, .owner = owner};
  small_schedule(world, at_ns, outside_call, call);
}

int64_t small_world_now_ns(const struct small_world *world) {
  return world->now_ns;
}

struct random *small_world_random(struct small_world *world) {
  return &world->random;
}

void small_world_set_weather(struct small_world *world, const struct small_world_weather *weather) {
  world->weather = *weather;
}

int64_t small_draw_ns(struct small_world *world, int64_t base_ns, int64_t jitter_ns) {
  return base_ns + (int64_t)random_below(&world->random, (uint64_t)jitter_ns + 1);
}

struct moment *small_this_moment(struct node *node) {
  struct moment *moment = xmalloc(sizeof *moment);
  *moment = (struct moment){.node = node, .life = node->life};
  return moment;
}

struct node *small_end_moment(struct moment *moment, bool happens) {
  struct node *node = moment->node;
  const bool current = happens && node->alive && node->life == moment->life;
  free(moment);
  return current ? node : NULL;
}

void small_world_pause(struct small_world *world, size_t node, int64_t until_ns) {
  world->nodes[node].paused_until_ns = until_ns;
}

bool small_world_paused(const struct small_world *world, size_t node) {
  return world->now_ns < world->nodes[node].paused_until_ns;
}

bool small_put_off(struct node *node, bool happens, void (*run)(void *owner, bool happens), void *owner) {
  if (!happens || !node->alive || !small_world_paused(node->small, node->number))
    return false;
  small_schedule(node->small, node->paused_until_ns, run, owner);
  return true;
}

/* -- time, chance, deferred calls ----------------------------------------------------------------------- */

static int64_t now_ns(void *context) {
  return ((struct node *)context)->small->now_ns;
}

static int64_t wall_ns(void *context) {
  return now_ns(context) + INT64_C(1700000000000000000);
}

static uint64_t random_bits(void *context) {
  return random_next(&((struct node *)context)->small->random);
}

static struct timer *timer_new(void *context, void (*fired)(void *owner), void *owner) {
  struct timer *timer = xcalloc(1, sizeof *timer);
  *timer = (struct timer){.node = context, .fired = fired, .owner = owner};
  return timer;
}

static void ring(void *owner, bool happens) {
  struct alarm *alarm = owner;
  struct timer *timer = alarm->timer;
  if (!timer->freed && small_put_off(timer->node, happens, ring, owner))
    return;
  timer->alarms--;
  if (timer->freed) {
    if (timer->alarms == 0)
      free(timer);
  } else if (happens && timer->setting == alarm->setting && timer->node->alive &&
             timer->node->life == alarm->life) {
    timer->fired(timer->owner);
  }
  free(alarm);
}

static void timer_set(struct timer *timer, int64_t at_ns) {
  struct alarm *alarm = xmalloc(sizeof *alarm);
  timer->alarms++;
  *alarm = (struct alarm){.timer = timer, .setting = ++timer->setting, .life = timer->node->life};
  small_schedule(timer->node->small, at_ns, ring, alarm);
}

static void timer_clear(struct timer *timer) {
  timer->setting++;
}

static void timer_free(struct timer *timer) {
  timer->freed = true;
  if (timer->alarms == 0)
    free(timer);
}

static void run_calls(struct node *node) {
  struct call *calls = node->calls;
  const size_t count = node->call_count;
  node->calls = NULL;
  node->call_count = node->call_capacity = 0;
  for (size_t i = 0; i < count; i++)
    calls[i].run(calls[i].owner);
  free(calls);
}

static void turn(void *owner, bool happens) {
  if (small_put_off(((struct moment *)owner)->node, happens, turn, owner))
    return;
  struct node *node = small_end_moment(owner, happens);
  if (node)
    run_calls(node);
}

static void defer(void *context, void (*run)(void *owner), void *owner) {
  struct node *node = context;
  if (node->call_count == node->call_capacity) {
    node->call_capacity = node->call_capacity ? node->call_capacity * 2 : 8;
    node->calls = xrealloc(node->calls, node->call_capacity * sizeof *node->calls);
  }
  node->calls[node->call_count++] = (struct call){.run = run, .owner = owner};
  if (node->call_count == 1 && node->alive)
    small_schedule(node->small, node->small->now_ns + small_draw_ns(node->small, 0, 20000), turn,
                   small_this_moment(node));
}

/* -- network -------------------------------------------------------------------------------------------- */

struct frame {
  struct small_world *world;
  size_t from, to;
  size_t size;
  unsigned char data[];
};

static void deliver(void *owner, bool happens) {
  struct frame *frame = owner;
  struct node *node = &frame->world->nodes[frame->to];
  if (small_put_off(node, happens, deliver, owner))
    return;
  if (happens && node->alive && node->received && frame->world->link[frame->from][frame->to])
    node->received(node->receiver, frame->from + 1, frame->data, frame->size);
  free(frame);
}

static void send_copy(struct node *node, size_t to, const struct iovec *vectors, size_t vector_count,
                      size_t size) {
  struct small_world *world = node->small;
  struct frame *frame = xmalloc(sizeof *frame + size);
  *frame = (struct frame){.world = world, .from = node->number, .to = to, .size = size};
  unsigned char *at = frame->data;
  for (size_t i = 0; i < vector_count; i++) {
    if (vectors[i].iov_len > 0)
      memcpy(at, vectors[i].iov_base, vectors[i].iov_len);
    at += vectors[i].iov_len;
  }
  small_schedule(world,
                 world->now_ns + small_draw_ns(world, world->weather.delay_ns, world->weather.jitter_ns),
                 deliver, frame);
}

static void send_frame(void *context, uint64_t peer, const struct iovec *vectors, size_t vector_count) {
  struct node *node = context;
  struct small_world *world = node->small;
  assert(peer >= 1 && peer <= world->node_count && peer != node->number + 1);
  const size_t to = (size_t)peer - 1;
  size_t size = 0;
  for (size_t i = 0; i < vector_count; i++)
    size += vectors[i].iov_len;
  if (!node->alive || !world->link[node->number][to] || random_chance(&world->random, world->weather.loss))
    return;
  send_copy(node, to, vectors, vector_count, size);
  if (random_chance(&world->random, world->weather.duplication))
    send_copy(node, to, vectors, vector_count, size);
}

static bool peer_ready(void *context, uint64_t peer) {
  const struct node *node = context;
  return node->small->link[node->number][peer - 1];
}

static void receive(void *context,
                    void (*received)(void *owner, uint64_t peer, const void *frame, size_t size),
                    void *owner) {
  struct node *node = context;
  node->received = received;
  node->receiver = owner;
}

void small_world_link(struct small_world *world, size_t from, size_t to, bool up) {
  world->link[from][to] = up;
}

void small_world_heal(struct small_world *world) {
  memset(world->link, true, sizeof world->link);
}

/* -- lives ---------------------------------------------------------------------------------------------- */

void small_world_crash(struct small_world *world, size_t number) {
  struct node *node = &world->nodes[number];
  assert(node->alive);
  node->alive = false;
  node->paused_until_ns = 0;
  node->received = NULL;
  node->sync_broken = false;
  if (node->first)
    small_disk_leave_half_done(node);
}

void small_world_bury(struct small_world *world, size_t number, const bool *done) {
  struct node *node = &world->nodes[number];
  assert(!node->alive);
  while (!*done) {
    assert(node->first || node->call_count > 0);
    if (node->first)
      small_disk_refuse_first(node);
    else
      run_calls(node);
  }
  while (node->first) /* removals nobody waits for */
    small_disk_refuse_first(node);
}

void small_world_revive(struct small_world *world, size_t number) {
  struct node *node = &world->nodes[number];
  assert(!node->alive && !node->first && node->call_count == 0);
  node->alive = true;
  node->life++;
}

const struct world *small_world_door(struct small_world *world, size_t node) {
  return &world->nodes[node].door;
}

static void open_node(struct small_world *world, size_t number) {
  struct node *node = &world->nodes[number];
  *node = (struct node){.small = world, .number = number, .alive = true};
  node->end = &node->first;
  node->door = (struct world){.context = node,
                              .now_ns = now_ns,
                              .wall_ns = wall_ns,
                              .random = random_bits,
                              .timer_new = timer_new,
                              .timer_set = timer_set,
                              .timer_clear = timer_clear,
                              .timer_free = timer_free,
                              .defer = defer,
                              .send = send_frame,
                              .peer_ready = peer_ready,
                              .receive = receive};
  small_disk_functions(&node->door);
}

struct small_world *small_world_new(uint64_t seed, size_t nodes) {
  assert(nodes >= 1 && nodes <= NODES_MAX);
  struct small_world *world = xcalloc(1, sizeof *world);
  random_seed(&world->random, seed);
  world->now_ns = 1000 * 1000 * 1000;
  world->node_count = nodes;
  world->weather = (struct small_world_weather){
      .delay_ns = 100000, .jitter_ns = 100000, .disk_ns = 100000, .disk_jitter_ns = 50000};
  small_world_heal(world);
  for (size_t i = 0; i < nodes; i++)
    open_node(world, i);
  return world;
}

void small_world_free(struct small_world *world) {
  while (world->event_count > 0) {
    const struct event event = pop_event(world);
    event.run(event.owner, false);
  }
  for (size_t i = 0; i < world->node_count; i++) {
    while (world->nodes[i].first)
      small_disk_refuse_first(&world->nodes[i]);
    small_world_wipe(world, i);
    free(world->nodes[i].files);
    free(world->nodes[i].calls);
  }
  free(world->heap);
  free(world);
}
