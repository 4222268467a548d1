/* The modelled world: events and lives, clocks, network, clients' messages, and that one seed is one run. */
#include "simulator/world.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

#define MS INT64_C(1000000)
#define S (1000 * MS)

static const struct weather calm = {.delay_ns = MS, .jitter_ns = MS, .disk_ns = MS, .store_ns = MS};

static struct sim_world *calm_world(uint64_t seed) {
  return sim_world_new(&(struct sim_world_options){.seed = seed, .nodes = 3, .weather = calm});
}

/* -- events --------------------------------------------------------------------------------------------- */

struct marks {
  struct sim_world *world;
  int64_t at_ns[1000];
  int what[1000];
  size_t count, missed;
};

struct mark {
  struct marks *marks;
  int what;
};

static void run_mark(void *owner, bool happens) {
  struct mark *mark = owner;
  struct marks *marks = mark->marks;
  if (happens) {
    marks->at_ns[marks->count] = sim_now_ns(marks->world);
    marks->what[marks->count++] = mark->what;
  } else {
    marks->missed++;
  }
  free(mark);
}

static struct mark *new_mark(struct marks *marks, int what) {
  struct mark *mark = xmalloc(sizeof *mark);
  *mark = (struct mark){.marks = marks, .what = what};
  return mark;
}

Test(world, events_come_in_order_of_time_then_of_scheduling) {
  struct sim_world *world = calm_world(1);
  struct marks marks = {.world = world};
  struct random random;
  random_seed(&random, 1);
  int64_t at_ns[900];
  for (int i = 0; i < 900; i++) {
    at_ns[i] = random_between(&random, 0, 100);
    sim_at(world, at_ns[i], run_mark, new_mark(&marks, i));
  }
  cr_assert(sim_run(world, 90, NULL));
  cr_assert_eq(sim_now_ns(world), 90);
  for (size_t i = 0; i < marks.count; i++) {
    cr_assert_eq(marks.at_ns[i], at_ns[marks.what[i]]);
    cr_assert(i == 0 || marks.at_ns[i - 1] < marks.at_ns[i] ||
              (marks.at_ns[i - 1] == marks.at_ns[i] && marks.what[i - 1] < marks.what[i]));
  }
  sim_world_free(world);
  cr_assert_eq(marks.count + marks.missed, 900);
  cr_assert_gt(marks.missed, 0);
}

Test(world, ends_before_the_transition_asked_for_or_when_told) {
  struct sim_world *world =
      sim_world_new(&(struct sim_world_options){.seed = 1, .nodes = 3, .weather = calm, .until = 7});
  struct marks marks = {.world = world};
  for (int i = 0; i < 10; i++)
    sim_at(world, i, run_mark, new_mark(&marks, i));
  const bool stop = true;
  cr_assert_not(sim_run(world, 100, &stop));
  cr_assert_eq(marks.count, 0);
  cr_assert_not(sim_run(world, 100, NULL));
  cr_assert_eq(marks.count, 6);
  cr_assert_eq(sim_transitions(world), 6);
  sim_world_free(world);
  cr_assert_eq(marks.missed, 4);
}

static struct sim_world *trapped_world;
static uint64_t trapped_at;

static void trap(int number) {
  (void)number;
  trapped_at = sim_transitions(trapped_world);
}

Test(world, traps_before_the_transition_asked_for) {
  trapped_world =
      sim_world_new(&(struct sim_world_options){.seed = 1, .nodes = 3, .weather = calm, .break_at = 4});
  struct marks marks = {.world = trapped_world};
  for (int i = 0; i < 10; i++)
    sim_at(trapped_world, i, run_mark, new_mark(&marks, i));
  signal(SIGTRAP, trap);
  sim_run(trapped_world, 100, NULL);
  cr_assert_eq(trapped_at, 3);
  cr_assert_eq(marks.count, 10);
  sim_world_free(trapped_world);
}

Test(world, streams_go_by_seed_name_and_number) {
  struct sim_world *world = calm_world(1), *other = calm_world(2);
  struct random a, b;
  sim_stream(world, "one", 0, &a);
  sim_stream(world, "one", 0, &b);
  cr_assert_eq(random_next(&a), random_next(&b));
  sim_stream(world, "one", 1, &b);
  cr_assert_neq(random_next(&a), random_next(&b));
  sim_stream(world, "two", 0, &b);
  cr_assert_neq(random_next(&a), random_next(&b));
  sim_stream(other, "one", 0, &b);
  cr_assert_neq(random_next(&a), random_next(&b));
  sim_world_free(world);
  sim_world_free(other);
}

/* -- clocks --------------------------------------------------------------------------------------------- */

struct alarm {
  const struct world *world;
  struct sim_world *sim;
  int64_t rang_ns, rang_at_ns;
  size_t rings;
};

static void ring(void *owner) {
  struct alarm *alarm = owner;
  alarm->rang_ns = alarm->world->now_ns(alarm->world->context);
  alarm->rang_at_ns = sim_now_ns(alarm->sim);
  alarm->rings++;
}

Test(world, clocks_drift_and_timers_go_by_them) {
  struct sim_world *world = calm_world(1);
  struct random random;
  random_seed(&random, 1);
  const struct world *door = sim_door(world, 0);
  struct alarm alarm = {.world = door, .sim = world};
  struct timer *timer = door->timer_new(door->context, ring, &alarm);
  for (size_t i = 1; i <= 2000; i++) {
    const double drift = random_chance(&random, 0.2) ? 0 : (random_unit(&random) - 0.5) * 0.4;
    sim_drift_clock(world, 0, drift);
    const int64_t begin_ns = sim_now_ns(world), before_ns = door->now_ns(door->context);
    const int64_t wall_ns = door->wall_ns(door->context);
    const int64_t wait_ns = random_between(&random, 1, random_chance(&random, 0.5) ? 100 : 10 * S);
    door->timer_set(timer, before_ns + 2 * wait_ns);
    door->timer_set(timer, before_ns + wait_ns);
    sim_run(world, begin_ns + 20 * S, NULL);
    cr_assert_eq(alarm.rings, i, "a timer that is set again rings once");
    cr_assert_geq(alarm.rang_ns, before_ns + wait_ns, "never early by the node's clock");
    cr_assert_leq(alarm.rang_ns, before_ns + wait_ns + 2);
    const double real_ns = (double)(alarm.rang_at_ns - begin_ns);
    cr_assert_float_eq(real_ns * (1 + drift), (double)wait_ns, 3);
    const int64_t passed_ns = door->now_ns(door->context) - before_ns;
    cr_assert_float_eq((double)passed_ns, (double)(20 * S) * (1 + drift), 2);
    cr_assert_eq(door->wall_ns(door->context) - wall_ns, passed_ns);
  }
  door->timer_free(timer);
  sim_world_free(world);
}

/* The timer waits for what is left by the node's clock, at its new rate. */
Test(world, a_set_timer_follows_a_clock_that_changes) {
  struct sim_world *world = calm_world(1);
  const struct world *door = sim_door(world, 0);
  struct alarm alarm = {.world = door, .sim = world};
  struct timer *timer = door->timer_new(door->context, ring, &alarm);
  door->timer_set(timer, door->now_ns(door->context) + 3 * S);
  sim_run(world, 1 * S, NULL);
  sim_drift_clock(world, 0, 1);
  sim_run(world, 10 * S, NULL);
  cr_assert_eq(alarm.rang_at_ns, 2 * S);
  door->timer_set(timer, door->now_ns(door->context) + 3 * S);
  door->timer_clear(timer);
  sim_run(world, 20 * S, NULL);
  cr_assert_eq(alarm.rings, 1);
  door->timer_free(timer);
  sim_world_free(world);
}

Test(world, a_jump_moves_the_wall_clock_only) {
  struct sim_world *world = calm_world(1);
  const struct world *door = sim_door(world, 1);
  const int64_t now_ns = door->now_ns(door->context), wall_ns = door->wall_ns(door->context);
  sim_jump_clock(world, 1, -5 * S);
  cr_assert_eq(door->now_ns(door->context), now_ns);
  cr_assert_eq(door->wall_ns(door->context), wall_ns - 5 * S);
  sim_world_free(world);
}

/* -- lives and pauses ----------------------------------------------------------------------------------- */

struct sequence {
  int calls[16];
  size_t count;
  struct sequence *again;
  const struct world *world;
};

static void call_second(void *owner) {
  struct sequence *sequence = owner;
  sequence->calls[sequence->count++] = 2;
}

static void call_first(void *owner) {
  struct sequence *sequence = owner;
  sequence->calls[sequence->count++] = 1;
  sequence->world->defer(sequence->world->context, call_second, sequence);
}

Test(world, deferred_calls_run_once_and_in_order) {
  struct sim_world *world = calm_world(1);
  struct sequence sequence = {.world = sim_door(world, 0)};
  sequence.world->defer(sequence.world->context, call_first, &sequence);
  sequence.world->defer(sequence.world->context, call_first, &sequence);
  cr_assert_eq(sequence.count, 0, "never from inside the call");
  sim_run(world, S, NULL);
  cr_assert_eq(sequence.count, 4);
  cr_assert_arr_eq(sequence.calls, ((int[]){1, 1, 2, 2}), 4 * sizeof(int));
  sim_world_free(world);
}

static void set_done(void *owner) {
  *(bool *)owner = true;
}

Test(world, a_crash_ends_timers_and_the_burial_runs_what_was_deferred) {
  struct sim_world *world = calm_world(1);
  const struct world *door = sim_door(world, 0);
  struct alarm alarm = {.world = door, .sim = world};
  struct timer *timer = door->timer_new(door->context, ring, &alarm);
  door->timer_set(timer, door->now_ns(door->context) + S);
  bool done = false;
  door->defer(door->context, set_done, &done);
  sim_crash(world, 0, false);
  cr_assert_not(sim_alive(world, 0));
  sim_run(world, 10 * S, NULL);
  cr_assert_not(done);
  sim_bury(world, 0, &done);
  cr_assert(done);
  door->timer_free(timer);
  sim_revive(world, 0);
  cr_assert(sim_alive(world, 0));
  sim_run(world, 20 * S, NULL);
  cr_assert_eq(alarm.rings, 0);
  sim_world_free(world);
}

/* Messages to a paused node, before and at the pause's end, in the order they would have come in. */
Test(world, what_a_pause_puts_off_comes_at_its_end_in_order) {
  for (uint64_t seed = 1; seed <= 50; seed++) {
    struct sim_world *world = calm_world(seed);
    struct marks marks = {.world = world};
    sim_pause(world, 0, 100 * MS);
    for (int i = 0; i < 50; i++) {
      sim_client_message(world, (size_t)i % 3, 0, true, run_mark, new_mark(&marks, i));
      sim_run(world, sim_now_ns(world) + MS / 10, NULL);
    }
    cr_assert(sim_paused(world, 0));
    cr_assert_eq(marks.count, 0);
    sim_run(world, 100 * MS, NULL);
    cr_assert_not(sim_paused(world, 0));
    cr_assert_eq(marks.count, 50);
    int last[3] = {-1, -1, -1};
    for (size_t i = 0; i < marks.count; i++) {
      cr_assert_eq(marks.at_ns[i], 100 * MS);
      cr_assert_gt(marks.what[i], last[marks.what[i] % 3], "the order of one client's messages");
      last[marks.what[i] % 3] = marks.what[i];
    }
    sim_world_free(world);
  }
}

/* -- network -------------------------------------------------------------------------------------------- */

struct ear {
  size_t heard[3][4000]; /* by sender and number of the frame */
  size_t count;
  uint64_t order[4000];
};

static unsigned char filling(uint64_t peer, uint64_t number, size_t at) {
  return (unsigned char)(peer * 101 + number * 31 + at * 7);
}

static void hear(void *owner, uint64_t peer, const void *frame, size_t size) {
  struct ear *ear = owner;
  const uint64_t number = le64_load(frame);
  cr_assert_eq(size, 8 + number % 300, "a frame's size is altered");
  for (size_t i = 8; i < size; i++)
    cr_assert_eq(((const unsigned char *)frame)[i], filling(peer, number, i), "a frame is altered");
  ear->heard[peer - 1][number]++;
  ear->order[ear->count++] = number;
}

static void say(struct sim_world *world, size_t from, size_t to, uint64_t number) {
  unsigned char frame[8 + 300];
  le64_store(frame, number);
  const size_t size = 8 + number % 300, first = size / 3;
  for (size_t i = 8; i < size; i++)
    frame[i] = filling(from + 1, number, i);
  const struct iovec vectors[] = {{.iov_base = frame, .iov_len = first},
                                  {.iov_base = NULL, .iov_len = 0},
                                  {.iov_base = frame + first, .iov_len = size - first}};
  const struct world *door = sim_door(world, from);
  door->send(door->context, to + 1, vectors, 3);
}

static struct ear *listen_at(struct sim_world *world, size_t node) {
  struct ear *ear = xcalloc(1, sizeof *ear);
  const struct world *door = sim_door(world, node);
  door->receive(door->context, hear, ear);
  return ear;
}

Test(world, frames_are_lost_repeated_and_reordered_but_never_altered) {
  struct weather weather = calm;
  weather.loss = 0.2;
  weather.duplication = 0.3;
  weather.slow_frame = 0.05;
  struct sim_world *world =
      sim_world_new(&(struct sim_world_options){.seed = 3, .nodes = 3, .weather = weather});
  struct ear *ear = listen_at(world, 0);
  for (uint64_t i = 0; i < 1500; i++) {
    say(world, 1, 0, i);
    say(world, 2, 0, i);
    sim_run(world, sim_now_ns(world) + MS / 10, NULL);
  }
  sim_run(world, 10 * S, NULL);
  size_t times[3] = {0}, reordered = 0;
  for (size_t from = 1; from <= 2; from++)
    for (size_t i = 0; i < 1500; i++) {
      cr_assert_leq(ear->heard[from][i], 2);
      times[ear->heard[from][i]]++;
    }
  for (size_t i = 1; i < ear->count; i++)
    reordered += ear->order[i] < ear->order[i - 1];
  cr_assert_float_eq((double)times[0] / 3000, 0.2, 0.03);
  cr_assert_float_eq((double)times[2] / 3000, 0.8 * 0.3, 0.03);
  cr_assert_gt(reordered, 500);
  free(ear);
  sim_world_free(world);
}

Test(world, a_cut_loses_what_is_under_way_in_its_direction) {
  struct sim_world *world = calm_world(1);
  struct ear *first = listen_at(world, 0), *second = listen_at(world, 1);
  say(world, 0, 1, 1);
  say(world, 1, 0, 1);
  sim_link(world, 0, 1, false);
  const struct world *door = sim_door(world, 0);
  cr_assert_not(door->peer_ready(door->context, 2));
  cr_assert(door->peer_ready(door->context, 3));
  say(world, 0, 1, 2);
  sim_link(world, 0, 1, true);
  say(world, 0, 1, 3);
  sim_run(world, S, NULL);
  cr_assert_eq(first->count, 1);
  cr_assert_eq(second->count, 1);
  cr_assert_eq(second->order[0], 3);
  free(first);
  free(second);
  sim_world_free(world);
}

Test(world, a_clog_holds_frames_back_and_lets_them_go_at_once) {
  struct sim_world *world = calm_world(1);
  struct ear *first = listen_at(world, 0), *second = listen_at(world, 1);
  say(world, 0, 1, 1);
  sim_clog(world, 0, true);
  say(world, 1, 0, 1);
  for (uint64_t i = 2; i < 20; i++)
    say(world, 0, 1, i);
  sim_run(world, S, NULL);
  cr_assert_eq(first->count, 1, "the other direction is free");
  cr_assert_eq(second->count, 0);
  sim_clog(world, 0, false);
  sim_run(world, S, NULL);
  cr_assert_eq(second->count, 19);
  free(first);
  free(second);
  sim_world_free(world);
}

Test(world, frames_to_and_of_the_dead_and_the_replaced_are_lost) {
  struct sim_world *world = calm_world(1);
  struct ear *first = listen_at(world, 0);
  const bool done = true;
  say(world, 1, 0, 1);
  sim_crash(world, 1, false);
  say(world, 1, 0, 2);
  sim_bury(world, 1, &done);
  say(world, 2, 0, 3);
  sim_crash(world, 2, false);
  sim_bury(world, 2, &done);
  sim_wipe(world, 2);
  sim_revive(world, 2);
  sim_run(world, S, NULL);
  cr_assert_eq(first->count, 1);
  cr_assert_eq(first->order[0], 1, "what left before the crash arrives");
  say(world, 1, 0, 4);
  sim_crash(world, 0, false);
  sim_bury(world, 0, &done);
  sim_run(world, 2 * S, NULL);
  cr_assert_eq(first->count, 1);
  free(first);
  sim_world_free(world);
}

/* -- clients' messages ---------------------------------------------------------------------------------- */

Test(world, messages_of_a_client_keep_their_order_and_die_with_link_and_node) {
  struct sim_world *world = calm_world(1);
  struct marks marks = {.world = world};
  for (int i = 0; i < 20; i++)
    sim_client_message(world, 4, 1, i % 2, run_mark, new_mark(&marks, i));
  sim_run(world, S, NULL);
  cr_assert_eq(marks.count, 20);
  int last[2] = {-1, -1};
  for (size_t i = 0; i < 20; i++) {
    cr_assert_gt(marks.what[i], last[marks.what[i] % 2]);
    last[marks.what[i] % 2] = marks.what[i];
  }
  sim_client_message(world, 4, 1, true, run_mark, new_mark(&marks, 20));
  sim_client_link(world, 1, false);
  sim_client_link(world, 1, true);
  sim_run(world, 2 * S, NULL);
  cr_assert_eq(marks.missed, 1, "under way when the link was cut");
  sim_client_message(world, 4, 1, true, run_mark, new_mark(&marks, 21));
  sim_client_message(world, 4, 1, false, run_mark, new_mark(&marks, 22));
  const bool done = true;
  sim_crash(world, 1, false);
  sim_bury(world, 1, &done);
  sim_revive(world, 1);
  sim_run(world, 3 * S, NULL);
  cr_assert_eq(marks.missed, 2, "to a life that is over");
  cr_assert_eq(marks.count, 21, "an answer that left arrives");
  sim_world_free(world);
}

/* -- the digest ----------------------------------------------------------------------------------------- */

static void do_nothing(void *owner, bool happens) {
  (void)owner;
  (void)happens;
}

static void keep_file(void *owner, int status, struct disk_file *file) {
  cr_assert_eq(status, 0);
  *(struct disk_file **)owner = file;
}

static void ignore_status(void *owner, int status) {
  (void)owner;
  (void)status;
}

enum change { NOTHING, TIME, FRAME, DISK, NODE, ONE_MORE, CHANGES };

static uint64_t digest_with(enum change change) {
  struct sim_world *world = calm_world(1);
  const struct world *door = sim_door(world, change == NODE ? 1 : 0);
  struct disk_file *file = NULL;
  unsigned char data[2][64] = {{0}};
  data[0][40] = change == FRAME;
  data[1][40] = change == DISK;
  sim_at(world, change == TIME ? 11 : 10, do_nothing, NULL);
  if (change == ONE_MORE)
    sim_at(world, 20, do_nothing, NULL);
  door->disk_create(door->context, "x", 100, keep_file, &file);
  sim_run(world, S, NULL);
  door->send(door->context, 3, &(struct iovec){.iov_base = data[0], .iov_len = 64}, 1);
  door->disk_write(file, 0, &(struct iovec){.iov_base = data[1], .iov_len = 64}, 1, ignore_status, NULL);
  sim_run(world, 2 * S, NULL);
  door->disk_close(file);
  const uint64_t digest = sim_digest(world);
  sim_world_free(world);
  return digest;
}

Test(world, the_digest_tells_any_difference) {
  uint64_t digests[CHANGES];
  for (int change = 0; change < CHANGES; change++) {
    digests[change] = digest_with((enum change)change);
    cr_assert_eq(digests[change], digest_with((enum change)change));
    for (int other = 0; other < change; other++)
      cr_assert_neq(digests[change], digests[other], "%d and %d", change, other);
  }
}
