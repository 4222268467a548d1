/* What the world costs, by hand:   world_bench [simulated seconds [plans]]
 *
 * First the world alone: three nodes that beat, echo and write. Then Raft journals in it, at a few operations
 * a second: what a simulated second of a quiet cluster costs. Then whole masters and clients, by plans drawn
 * from seeds, without and with the checker. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "simulator/test/replicas.h"

#define MS INT64_C(1000000)
#define S (1000 * MS)

static const struct weather weather = {.loss = 0.01,
                                       .duplication = 0.01,
                                       .delay_ns = MS,
                                       .jitter_ns = 2 * MS,
                                       .slow_frame = 0.01,
                                       .disk_ns = 200000,
                                       .disk_jitter_ns = 200000,
                                       .disk_stall = 0.001};

/* Of the processor: what others do on it meanwhile does not count. */
static int64_t used_ns(void) {
  struct timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return used.tv_sec * S + used.tv_nsec;
}

struct echo {
  const struct world *world;
  struct timer *timer;
  struct disk_file *file;
  unsigned char frame[100];
  size_t node, writing;
};

static void written(void *owner, int status) {
  struct echo *echo = owner;
  echo->writing -= status == 0;
}

static void received(void *owner, uint64_t peer, const void *frame, size_t size) {
  struct echo *echo = owner;
  if (*(const unsigned char *)frame == 0) {
    const unsigned char answer[60] = {1};
    echo->world->send(echo->world->context, peer,
                      &(struct iovec){.iov_base = (void *)(uintptr_t)answer, .iov_len = sizeof answer}, 1);
  } else if (echo->writing < 4) {
    echo->writing++;
    echo->world->disk_write(echo->file, 0,
                            &(struct iovec){.iov_base = echo->frame, .iov_len = sizeof echo->frame}, 1,
                            written, echo);
  }
  (void)size;
}

static void beat(void *owner) {
  struct echo *echo = owner;
  for (uint64_t peer = 1; peer <= 3; peer++)
    if (peer != echo->node + 1)
      echo->world->send(echo->world->context, peer,
                        &(struct iovec){.iov_base = echo->frame, .iov_len = sizeof echo->frame}, 1);
  echo->world->timer_set(echo->timer, echo->world->now_ns(echo->world->context) + 100 * MS);
}

static void begin(void *owner, int status, struct disk_file *file) {
  struct echo *echo = owner;
  if (status == 0)
    echo->file = file;
  beat(echo);
}

static void tell(const char *what, uint64_t events, int64_t simulated_ns, int64_t took_ns) {
  printf("%-12s %9.0f simulated s/s   %5.1f events/simulated s   %6.1f ns/event\n", what,
         (double)simulated_ns / (double)took_ns, (double)events / ((double)simulated_ns / 1e9),
         (double)took_ns / (double)events);
}

static void bench_world(int64_t seconds) {
  struct sim_world *world =
      sim_world_new(&(struct sim_world_options){.seed = 1, .nodes = 3, .weather = weather});
  struct echo echoes[3] = {0};
  for (size_t i = 0; i < 3; i++) {
    struct echo *echo = &echoes[i];
    echo->world = sim_door(world, i);
    echo->node = i;
    echo->timer = echo->world->timer_new(echo->world->context, beat, echo);
    echo->world->receive(echo->world->context, received, echo);
    echo->world->disk_create(echo->world->context, "file", 1000, begin, echo);
  }
  const int64_t before_ns = used_ns();
  sim_run(world, seconds * S, NULL);
  tell("world alone", sim_transitions(world), seconds * S, used_ns() - before_ns);
  for (size_t i = 0; i < 3; i++) {
    echoes[i].world->timer_free(echoes[i].timer);
    echoes[i].world->disk_close(echoes[i].file);
  }
  sim_world_free(world);
}

static void bench_raft(int64_t seconds, int64_t every_ns, const char *name) {
  const struct replicas_options options = {.seed = 1,
                                           .nodes = 3,
                                           .segment_size = 64 << 10,
                                           .snapshot_threshold = 1000,
                                           .snapshot_trailing = 100,
                                           .bulk = 1000};
  struct replicas *all = replicas_new(&options);
  struct sim_world *world = replicas_world(all);
  sim_set_weather(world, &weather);
  const int64_t before_ns = used_ns();
  for (int64_t at = 0; at < seconds * S; at += every_ns) {
    const int leader = replicas_leader(all);
    if (leader >= 0) {
      replicas_append(all, (size_t)leader, 60);
      replicas_confirm(all, (size_t)leader);
    }
    replicas_run(all, every_ns);
  }
  tell(name, sim_transitions(world), seconds * S, used_ns() - before_ns);
  replicas_free(all);
}

static void bench_plans(uint64_t plans, bool check, const char *name) {
  uint64_t transitions = 0, operations = 0, violations = 0;
  int64_t simulated_ns = 0;
  const int64_t before_ns = used_ns();
  for (uint64_t seed = 1; seed <= plans; seed++) {
    struct plan plan;
    struct simulation_result result;
    if (plan_draw(seed, &(struct plan_options){0}, &plan, NULL) != 0)
      continue;
    simulate(&plan, &(struct simulation_options){.journal = raft_journal_new, .check = check}, &result);
    transitions += result.transitions;
    operations += result.operations;
    simulated_ns += result.simulated_ns;
    violations += result.evidence != EVIDENCE_NONE;
    simulation_result_free(&result);
    plan_free(&plan);
  }
  tell(name, transitions, simulated_ns, used_ns() - before_ns);
  printf("%14.2f operations/simulated s, %llu of %llu plans with evidence\n",
         (double)operations / ((double)simulated_ns / 1e9), (unsigned long long)violations,
         (unsigned long long)plans);
}

int main(int argc, char **argv) {
  const int64_t seconds = argc > 1 ? atoll(argv[1]) : 20000;
  const uint64_t plans = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
  log_open("bench", LOG_LEVEL_ERROR);
  bench_world(seconds);
  bench_raft(seconds, 333 * MS, "raft, 3/s");
  bench_raft(seconds, 5000 * MS, "raft, idle");
  bench_plans(plans, false, "plans");
  bench_plans(plans, true, "and checked");
}
