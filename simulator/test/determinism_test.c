/* One seed, one run: nodes that talk, write and set timers, under every fault there is, at random. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "simulator/test/replicas.h"

#define MS INT64_C(1000000)
#define NODES 5

struct busy {
  struct sim_world *sim;
  const struct world *world;
  size_t node;
  struct timer *timer;
  struct row_store *store;
  struct disk_file *file;
  unsigned char data[200];
  struct store_row *row;
  const struct store_row *rows[1];
  bool storing, asking, idle; /* idle: not asking the disk */
  size_t frame_size;          /* differs in the run that must differ */
};

static void stored(void *context, int status, const struct error *error) {
  struct busy *busy = context;
  (void)error;
  busy->storing = false;
  sim_fold(busy->sim, (uint64_t)(int64_t)status);
}

static void written(void *owner, int status) {
  struct busy *busy = owner;
  busy->idle = true;
  sim_fold(busy->sim, (uint64_t)(int64_t)status);
}

static void created(void *owner, int status, struct disk_file *file) {
  struct busy *busy = owner;
  busy->idle = true;
  busy->file = status == 0 ? file : NULL;
}

static void use_disk(struct busy *busy, uint64_t chance) {
  const struct world *world = busy->world;
  busy->idle = false;
  if (!busy->file) {
    world->disk_create(world->context, chance % 2 ? "one" : "two", 1000, created, busy);
    return;
  }
  le64_store(busy->data, chance);
  world->disk_write(busy->file, chance % 5000, &(struct iovec){busy->data, 1 + chance % 200}, 1, written,
                    busy);
}

static void work(struct busy *busy) {
  const struct world *world = busy->world;
  const uint64_t chance = world->random(world->context);
  if (busy->idle)
    use_disk(busy, chance);
  if (!busy->storing) {
    busy->storing = true;
    be64_store(busy->row->bytes, chance % 50);
    busy->rows[0] = busy->row;
    busy->store->functions->write(busy->store, busy->rows, 1, stored, busy);
  }
  world->timer_set(busy->timer, world->now_ns(world->context) + (int64_t)(chance % 5000000));
}

static void work_later(void *owner) {
  struct busy *busy = owner;
  if (sim_alive(busy->sim, busy->node))
    work(busy);
}

static void received(void *owner, uint64_t peer, const void *frame, size_t size) {
  struct busy *busy = owner;
  (void)peer;
  sim_fold(busy->sim, checksum(frame, size));
  busy->world->defer(busy->world->context, work_later, busy);
}

static void beat(void *owner) {
  struct busy *busy = owner;
  const struct world *world = busy->world;
  const uint64_t peer = 1 + world->random(world->context) % NODES;
  if (peer != busy->node + 1)
    world->send(world->context, peer, &(struct iovec){busy->data, busy->frame_size}, 1);
  work(busy);
}

static void begin_life(struct busy *busy) {
  const struct world *world = busy->world;
  busy->idle = true;
  busy->storing = false;
  busy->file = NULL;
  busy->store = sim_store(busy->sim, busy->node);
  busy->timer = world->timer_new(world->context, beat, busy);
  world->receive(world->context, received, busy);
  if (world->disk_open(world->context, "one", &busy->file, NULL) != 0)
    busy->file = NULL;
  beat(busy);
}

static void end_life(struct busy *busy, bool orderly) {
  sim_crash(busy->sim, busy->node, orderly);
  sim_bury(busy->sim, busy->node, &busy->idle);
  row_store_close(busy->store);
  busy->world->timer_free(busy->timer);
  if (busy->file)
    busy->world->disk_close(busy->file);
}

static void drained(void *owner) {
  *(bool *)owner = true;
}

/* Calls that were deferred in a life that is over run before the next one. */
static void come_and_go(struct sim_world *world, struct random *random, struct busy *busy) {
  const size_t node = busy->node;
  const bool wiped = random_chance(random, 0.3), orderly = random_chance(random, 0.4);
  if (!sim_alive(world, node)) {
    bool done = false;
    busy->world->defer(busy->world->context, drained, &done);
    sim_bury(world, node, &done);
    if (wiped)
      sim_wipe(world, node);
    sim_revive(world, node);
    begin_life(busy);
  } else {
    end_life(busy, orderly);
  }
}

static void message_came(void *owner, bool happens) {
  sim_fold(owner, happens);
}

static void change_weather(struct sim_world *world, struct random *random) {
  struct weather weather = *sim_weather(world);
  weather.loss = random_unit(random) * 0.3;
  weather.duplication = random_unit(random) * 0.3;
  weather.slow_frame = random_unit(random) * 0.1;
  weather.disk_stall = random_unit(random) * 0.1;
  weather.clock_drift[random_below(random, NODES)] = (random_unit(random) - 0.5) * 0.1;
  sim_set_weather(world, &weather);
}

static void disturb(struct sim_world *world, struct random *random, struct busy *all) {
  const size_t node = (size_t)random_below(random, NODES), other = (size_t)random_below(random, NODES);
  const bool yes = random_chance(random, 0.5);
  switch (random_below(random, 12)) {
  case 0:
    sim_link(world, node, other, yes);
    break;
  case 1:
    sim_clog(world, node, yes);
    break;
  case 2:
    change_weather(world, random);
    break;
  case 3:
    sim_client_link(world, node, yes);
    break;
  case 4:
    sim_fill_disk(world, node, yes);
    break;
  case 5:
    sim_break_sync(world, node);
    break;
  case 6:
    sim_slow_disk(world, node, yes ? 20 : 1);
    break;
  case 7:
    sim_jump_clock(world, node, yes ? MS : -MS);
    break;
  case 8:
    sim_drift_clock(world, node, yes ? 0.3 : -0.3);
    break;
  case 9:
    if (sim_alive(world, node))
      sim_pause(world, node, sim_now_ns(world) + random_between(random, 1, 20) * MS);
    break;
  case 10:
    come_and_go(world, random, &all[node]);
    break;
  default:
    sim_client_message(world, other, node, yes, message_came, world);
  }
}

struct outcome {
  uint64_t digest, transitions;
};

/* `seed` is the world's; `schedule` the faults'. */
static struct outcome run(uint64_t seed, uint64_t schedule, size_t frame_size) {
  struct sim_world *world = sim_world_new(&(struct sim_world_options){
      .seed = seed,
      .nodes = NODES,
      .weather = {
          .delay_ns = MS, .jitter_ns = MS, .disk_ns = MS / 10, .disk_jitter_ns = MS, .store_ns = MS}});
  struct busy all[NODES] = {0};
  struct random random;
  random_seed(&random, schedule);
  for (size_t i = 0; i < NODES; i++) {
    struct store_row *row = xcalloc(1, sizeof *row + 8);
    *row = (struct store_row){.table = TABLE_INODES, .key_size = 8};
    all[i] = (struct busy){
        .sim = world, .world = sim_door(world, i), .node = i, .row = row, .frame_size = frame_size};
    begin_life(&all[i]);
  }
  for (int i = 0; i < 400; i++) {
    disturb(world, &random, all);
    sim_run(world, sim_now_ns(world) + random_between(&random, 0, 2 * MS), NULL);
  }
  const struct outcome outcome = {sim_digest(world), sim_transitions(world)};
  for (size_t i = 0; i < NODES; i++) {
    if (sim_alive(world, i))
      end_life(&all[i], false);
    free(all[i].row);
  }
  sim_world_free(world);
  return outcome;
}

Test(determinism, a_seed_is_one_run_under_all_faults, .timeout = 60) {
  uint64_t transitions = 0;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    const struct outcome first = run(seed, seed, 100), second = run(seed, seed, 100);
    cr_assert_eq(first.digest, second.digest, "seed %llu", (unsigned long long)seed);
    cr_assert_eq(first.transitions, second.transitions);
    cr_assert_neq(run(seed + 1000, seed, 100).digest, first.digest, "another seed");
    cr_assert_neq(run(seed, seed + 1000, 100).digest, first.digest, "other faults");
    cr_assert_neq(run(seed, seed, 101).digest, first.digest, "other frames");
    transitions += first.transitions;
  }
  cr_assert_gt(transitions, 60 * 1000);
}

/* The same of Raft journals, whose every frame and disk write is in the digest. */
static uint64_t run_journals(uint64_t seed) {
  const struct replicas_options options = {.seed = seed,
                                           .nodes = 3,
                                           .segment_size = 16 << 10,
                                           .snapshot_threshold = 30,
                                           .snapshot_trailing = 5,
                                           .bulk = 1000};
  struct replicas *all = replicas_new(&options);
  struct random random;
  random_seed(&random, seed);
  for (int i = 0; i < 600; i++) {
    const size_t node = (size_t)random_below(&random, 3);
    const int leader = replicas_leader(all);
    if (leader >= 0)
      replicas_append(all, (size_t)leader, 50);
    if (random_chance(&random, 0.02) && replicas_alive(all, node))
      replicas_crash(all, node);
    if (random_chance(&random, 0.1) && !replicas_alive(all, node))
      replicas_start(all, node);
    replicas_run(all, 10 * MS);
  }
  const uint64_t digest = sim_digest(replicas_world(all));
  replicas_free(all);
  return digest;
}

Test(determinism, a_seed_is_one_run_of_journals) {
  log_open("raft", LOG_LEVEL_ERROR);
  for (uint64_t seed = 1; seed <= 10; seed++) {
    const uint64_t digest = run_journals(seed);
    cr_assert_eq(run_journals(seed), digest);
    cr_assert_neq(run_journals(seed + 100), digest);
  }
}
