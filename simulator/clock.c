/* clock.c: what time it is for a node, and its timers, which go by its own clock. */
#include <assert.h>
#include <stdlib.h>

#include "simulator/world_internal.h"

#define SECOND_NS INT64_C(1000000000)
#define EPOCH_NS (INT64_C(1700000000) * SECOND_NS)
#define UPTIME_MAX_NS (INT64_C(1000000) * SECOND_NS)

static int64_t passed_ns(const struct clock *clock, int64_t now_ns) {
  const int64_t passed = now_ns - clock->since_ns;
  return clock->drift == 0 ? passed : passed + (int64_t)((double)passed * clock->drift);
}

static int64_t now_ns(void *context) {
  const struct node *node = context;
  return node->clock.monotonic_ns + passed_ns(&node->clock, node->sim->now_ns);
}

static int64_t wall_ns(void *context) {
  const struct node *node = context;
  return node->clock.wall_ns + passed_ns(&node->clock, node->sim->now_ns);
}

/* The first moment when the node's clock shows `at_ns`. */
static int64_t moment_of(const struct node *node, int64_t at_ns) {
  const struct clock *clock = &node->clock;
  const int64_t wanted = at_ns - clock->monotonic_ns;
  if (clock->drift == 0)
    return clock->since_ns + wanted;
  int64_t moment = clock->since_ns + (int64_t)((double)wanted / (1 + clock->drift));
  while (passed_ns(clock, moment) >= wanted && moment > node->sim->now_ns)
    moment--;
  while (passed_ns(clock, moment) < wanted)
    moment++;
  return moment;
}

/* -- timers --------------------------------------------------------------------------------------------- */

static void ring(struct event *event, bool happens) {
  struct timer *timer = CONTAINER_OF(event, struct timer, event);
  if (!happens)
    return;
  assert(timer->set);
  timer->set = false;
  timer->fired(timer->owner);
}

static struct timer *timer_new(void *context, void (*fired)(void *owner), void *owner) {
  struct node *node = context;
  struct timer *timer = pool_take(&node->sim->pool, sizeof *timer);
  *timer = (struct timer){.event = {.kind = EVENT_TIMER, .run = ring, .node = node, .life = node->life},
                          .node = node,
                          .fired = fired,
                          .owner = owner,
                          .next = node->timers};
  if (node->timers)
    node->timers->previous = timer;
  node->timers = timer;
  return timer;
}

static void timer_set(struct timer *timer, int64_t at_ns) {
  struct node *node = timer->node;
  if (!node->alive || node->life != timer->event.life)
    return;
  timer->set = true;
  timer->at_ns = at_ns;
  sim_schedule(node->sim, &timer->event, moment_of(node, at_ns));
}

static void timer_clear(struct timer *timer) {
  timer->set = false;
  sim_cancel(timer->node->sim, &timer->event);
}

static void timer_free(struct timer *timer) {
  timer_clear(timer);
  if (timer->previous)
    timer->previous->next = timer->next;
  else
    timer->node->timers = timer->next;
  if (timer->next)
    timer->next->previous = timer->previous;
  pool_give(&timer->node->sim->pool, timer, sizeof *timer);
}

void sim_clock_functions(struct world *door) {
  door->now_ns = now_ns;
  door->wall_ns = wall_ns;
  door->timer_new = timer_new;
  door->timer_set = timer_set;
  door->timer_clear = timer_clear;
  door->timer_free = timer_free;
}

/* -- the clocks themselves ------------------------------------------------------------------------------ */

/* From now on they run on from what they show. */
static void rebase(struct node *node) {
  struct clock *clock = &node->clock;
  const int64_t passed = passed_ns(clock, node->sim->now_ns);
  clock->monotonic_ns += passed;
  clock->wall_ns += passed;
  clock->since_ns = node->sim->now_ns;
}

void sim_clock_open(struct node *node) {
  struct random random;
  sim_stream(node->sim, "clock", node->number, &random);
  node->clock = (struct clock){.monotonic_ns = random_between(&random, SECOND_NS, UPTIME_MAX_NS),
                               .wall_ns = EPOCH_NS + random_between(&random, 0, SECOND_NS),
                               .drift = node->sim->options.weather.clock_drift[node->number]};
}

/* The monotonic clock begins anew when the power comes back. */
void sim_clock_crash(struct node *node, bool orderly) {
  for (struct timer *timer = node->timers; timer; timer = timer->next)
    timer_clear(timer);
  rebase(node);
  if (!orderly)
    node->clock.monotonic_ns = SECOND_NS;
}

void sim_jump_clock(struct sim_world *world, size_t node, int64_t by_ns) {
  world->nodes[node].clock.wall_ns += by_ns;
}

void sim_drift_clock(struct sim_world *world, size_t number, double drift) {
  struct node *node = &world->nodes[number];
  assert(drift > -0.99 && drift < 100);
  rebase(node);
  node->clock.drift = drift;
  for (struct timer *timer = node->timers; timer; timer = timer->next)
    if (timer->set && timer->event.position > 0)
      sim_schedule(world, &timer->event, moment_of(node, timer->at_ns));
}
