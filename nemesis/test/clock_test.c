#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <sys/wait.h>

#include "nemesis/clock/host_clock.h"
#include "nemesis/clock/page.h"
#include "nemesis/test/inside.h"

#define HOUR_NS (3600 * NS_PER_S)

/* A program that watches clocks through the shim, and the page through which its clocks are bent. */
struct watch {
  char *directory;
  struct clock_page *page;
  pid_t pid;
  FILE *to, *from;
};

static char *page_path(const char *directory) {
  return path_join(directory, "clock");
}

static void become_reader(const char *program, char **environment, int in, int out) {
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  close(in);
  close(out);
  for (char **entry = environment; *entry; entry++)
    putenv(*entry);
  execl(program, program, (char *)NULL);
  _exit(127);
}

static void watch_start(struct watch *watch) {
  struct error error = {0};
  char *shim = clock_shim_path(&error);
  cr_assert(shim, "%s", error.message);
  char *program = test_program("assay-clock-reader"), *page = page_path(watch->directory);
  char **environment = clock_environment(shim, page);
  int to[2], from[2];
  cr_assert_eq(pipe(to), 0);
  cr_assert_eq(pipe(from), 0);
  watch->pid = fork();
  if (watch->pid == 0) {
    close(to[1]);
    close(from[0]);
    become_reader(program, environment, to[0], from[1]);
  }
  close(to[0]);
  close(from[1]);
  watch->to = fdopen(to[1], "w");
  watch->from = fdopen(from[0], "r");
  clock_environment_free(environment);
  free(page);
  free(program);
  free(shim);
}

static struct watch watch_new(void) {
  struct watch watch = {.directory = scratch_make()};
  char *page = page_path(watch.directory);
  struct error error = {0};
  cr_assert_eq(clock_page_open(page, &watch.page, &error), 0, "%s", error.message);
  free(page);
  watch_start(&watch);
  return watch;
}

/* The reader's exit code. */
static int watch_stop(struct watch *watch) {
  int status = 0;
  fclose(watch->to);
  fclose(watch->from);
  waitpid(watch->pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void watch_free(struct watch *watch) {
  cr_expect_eq(watch_stop(watch), 0);
  clock_page_close(watch->page);
  scratch_remove(watch->directory);
}

static void set(struct watch *watch, int64_t offset_ns, double rate) {
  struct error error = {0};
  cr_assert_eq(clock_page_set(watch->page, &(struct clock_setting){offset_ns, rate}, &error), 0, "%s",
               error.message);
}

static void tell(struct watch *watch, const char *command) {
  fprintf(watch->to, "%s\n", command);
  fflush(watch->to);
}

static int64_t number(struct watch *watch) {
  long long value;
  cr_assert_eq(fscanf(watch->from, "%lld", &value), 1, "the reader is gone");
  return value;
}

/* True nanoseconds of a wait that the reader believes to be of `own_ms`. */
static int64_t wait_for(struct watch *watch, const char *how, int own_ms) {
  char command[64];
  snprintf(command, sizeof command, "wait %s %d", how, own_ms);
  tell(watch, command);
  return number(watch);
}

/* ---- What clocks show ---- */

#define WALL_CLOCKS 5
#define CLOCKS 8
/* What a clock rounds down to, and whether it stands still between two ticks of the kernel. */
static const struct {
  const char *name;
  int64_t unit_ns;
  bool coarse;
} clocks[CLOCKS] = {{"CLOCK_REALTIME", 0, false}, {"gettimeofday", 1000, false},
                    {"timespec_get", 0, false},   {"CLOCK_REALTIME_COARSE", 0, true},
                    {"time", NS_PER_S, true},     {"CLOCK_MONOTONIC", 0, false},
                    {"CLOCK_BOOTTIME", 0, false}, {"CLOCK_MONOTONIC_COARSE", 0, true}};
#define FASTEST_RATE 3

struct moment {
  int64_t clock[CLOCKS];
};

static int64_t boot_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* What the reader's clocks should show now. Under one setting the monotonic clocks are ahead of the wall's by
 * the same all the time, whatever the rate. */
static struct moment expected(const struct watch *watch) {
  const struct clock_line line = clock_page_read(watch->page).now;
  const int64_t offset_ns = clock_page_get(watch->page).offset_ns, wall_ns = time_wall_ns() + offset_ns,
                monotonic_ns = offset_ns + line.monotonic_ns - line.wall_ns;
  return (struct moment){{wall_ns, wall_ns, wall_ns, wall_ns, wall_ns, time_monotonic_ns() + monotonic_ns,
                          boot_ns() + monotonic_ns, time_monotonic_ns() + monotonic_ns}};
}

static int64_t coarse_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* The clocks lie between what they should have shown before and after they were asked. How far the coarse
 * ones lag is measured, for a busy virtual machine misses ticks. */
static void check_clocks(struct watch *watch) {
  const int64_t tick_ns = coarse_ns();
  const struct moment before = expected(watch);
  const int64_t coarse_lag_ns = FASTEST_RATE * (time_monotonic_ns() - tick_ns);
  struct moment seen;
  tell(watch, "read");
  for (size_t i = 0; i < CLOCKS; i++)
    seen.clock[i] = number(watch);
  const struct moment after = expected(watch);
  for (size_t i = 0; i < CLOCKS; i++) {
    const int64_t lag_ns = clocks[i].unit_ns + (clocks[i].coarse ? coarse_lag_ns : 0);
    cr_expect_geq(seen.clock[i], before.clock[i] - lag_ns, "%s lags", clocks[i].name);
    cr_expect_leq(seen.clock[i], after.clock[i], "%s leads", clocks[i].name);
  }
}

Test(clock, jumps_move_every_wall_clock_and_no_other) {
  struct watch watch = watch_new();
  check_clocks(&watch);
  const int64_t offsets_ns[] = {10 * NS_PER_MS, HOUR_NS, -HOUR_NS, -NS_PER_S - 1, 100 * 24 * HOUR_NS, 0};
  for (size_t i = 0; i < ARRAY_SIZE(offsets_ns); i++) {
    set(&watch, offsets_ns[i], 1);
    cr_expect_eq(clock_page_get(watch.page).offset_ns, offsets_ns[i]);
    check_clocks(&watch);
  }
  cr_expect_eq(clock_page_reader(watch.page), watch.pid);
  watch_free(&watch);
}

Test(clock, drift_bends_both_and_healing_leaves_the_monotonic_where_it_is) {
  struct watch watch = watch_new();
  for (int round = 1; round <= 2; round++) {
    set(&watch, 0, FASTEST_RATE);
    cr_expect_geq(wait_for(&watch, "nanosleep", 150), 50 * NS_PER_MS);
    cr_expect_geq(clock_page_get(watch.page).offset_ns, 100 * NS_PER_MS, "50 ms at rate 3 are 100 more");
    check_clocks(&watch);
    set(&watch, 0, 1);
    cr_expect_eq(clock_page_get(watch.page).offset_ns, 0);
    cr_expect_geq(clock_page_read(watch.page).now.monotonic_ns, round * 100 * NS_PER_MS);
    check_clocks(&watch);
  }
  watch_free(&watch);
}

Test(clock, a_monotonic_clock_never_goes_back) {
  struct watch watch = watch_new();
  struct random random;
  random_seed(&random, 4);
  tell(&watch, "spin 400");
  for (int i = 0; i < 100; i++)
    set(&watch, 0, exp(6 * (random_unit(&random) - 0.5)));
  cr_expect_eq(number(&watch), 0);
  watch_free(&watch);
}

/* ---- How long waits last ---- */

static const char *const waits[] = {"condition-wall", "condition-monotonic",
                                    "clockwait-wall", "clockwait-monotonic",
                                    "semaphore-wall", "semaphore-monotonic",
                                    "until-wall",     "until-monotonic",
                                    "nanosleep",      "usleep",
                                    "poll",           "epoll"};

/* No wait may be shorter than it says; and one that took the jump for a part of it would last for an hour. */
Test(clock, waits_survive_jumps) {
  struct watch watch = watch_new();
  const int64_t offsets_ns[] = {HOUR_NS, -HOUR_NS};
  for (size_t k = 0; k < ARRAY_SIZE(offsets_ns); k++) {
    set(&watch, offsets_ns[k], 1);
    for (size_t i = 0; i < ARRAY_SIZE(waits); i++)
      cr_expect_geq(wait_for(&watch, waits[i], 20), 20 * NS_PER_MS, "%s", waits[i]);
  }
  watch_free(&watch);
}

Test(clock, waits_last_as_long_as_the_bent_clock_says) {
  struct watch watch = watch_new();
  set(&watch, 0, 0.25);
  for (size_t i = 0; i < ARRAY_SIZE(waits); i++)
    cr_expect_geq(wait_for(&watch, waits[i], 10), 40 * NS_PER_MS - 1000, "%s", waits[i]);
  set(&watch, -HOUR_NS, 50);
  for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
    const int64_t took_ns = wait_for(&watch, waits[i], 5000);
    cr_expect_geq(took_ns, 100 * NS_PER_MS - 1000, "%s", waits[i]);
    cr_expect_leq(took_ns, 2500 * NS_PER_MS, "%s", waits[i]);
  }
  watch_free(&watch);
}

/* ---- Who reads the page ---- */

Test(clock, a_reader_that_cannot_have_its_page_does_not_start) {
  struct watch watch = watch_new();
  watch_stop(&watch);
  char *page = page_path(watch.directory);
  unlink(page);
  watch_start(&watch);
  cr_expect_eq(watch_stop(&watch), 3);
  FILE *other = fopen(page, "w");
  for (size_t i = 0; i < sizeof(struct clock_page); i++)
    fputc('x', other);
  fclose(other);
  free(page);
  watch_start(&watch);
  cr_expect_eq(watch_stop(&watch), 3);
  clock_page_close(watch.page);
  scratch_remove(watch.directory);
}

Test(clock, a_restart_finds_the_clock_as_it_was_left) {
  struct watch watch = watch_new();
  set(&watch, HOUR_NS, 1);
  cr_expect_eq(watch_stop(&watch), 0);
  watch_start(&watch);
  check_clocks(&watch);
  cr_expect_eq(clock_page_reader(watch.page), watch.pid);
  watch_free(&watch);
}

Test(clock, refuses_what_no_clock_does) {
  struct watch watch = watch_new();
  const struct clock_setting wrong[] = {
      {0, 0}, {0, -1}, {0, NAN}, {0, 1000}, {CLOCK_OFFSET_MAX_NS + 1, 1}, {-CLOCK_OFFSET_MAX_NS - 1, 1}};
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
    cr_expect_eq(clock_page_set(watch.page, &wrong[i], NULL), ERR_BAD_INPUT, "%zu", i);
  check_clocks(&watch);
  watch_free(&watch);
}

/* ---- The clock of a whole machine, on a machine that is made up ---- */

static struct {
  int64_t raw_ns, wall_ns;
  struct timex timex;
  bool forbidden;
} machine;

static int machine_gettime(clockid_t clock, struct timespec *now) {
  const int64_t now_ns = clock == CLOCK_REALTIME ? machine.wall_ns : machine.raw_ns;
  *now = (struct timespec){.tv_sec = now_ns / NS_PER_S, .tv_nsec = now_ns % NS_PER_S};
  return 0;
}

static int machine_settime(clockid_t clock, const struct timespec *now) {
  cr_assert_eq(clock, CLOCK_REALTIME);
  machine.wall_ns = now->tv_sec * NS_PER_S + now->tv_nsec;
  return 0;
}

static int machine_adjtime(struct timex *change) {
  if (change->modes != 0 && machine.forbidden) {
    errno = EPERM;
    return -1;
  }
  if (((change->modes & ADJ_TICK) && (change->tick < 9000 || change->tick > 11000)) ||
      ((change->modes & ADJ_FREQUENCY) && labs(change->freq) > 500 * 65536)) {
    errno = EINVAL;
    return -1;
  }
  if (change->modes & ADJ_TICK)
    machine.timex.tick = change->tick;
  if (change->modes & ADJ_FREQUENCY)
    machine.timex.freq = change->freq;
  *change = machine.timex;
  return 0;
}

static const struct host_clock_calls made_up = {machine_gettime, machine_settime, machine_adjtime};

static void machine_new(void) {
  machine.raw_ns = 77 * NS_PER_S;
  machine.wall_ns = INT64_C(1700000000) * NS_PER_S;
  machine.timex = (struct timex){.tick = 10001, .freq = -13 * 65536};
  machine.forbidden = false;
}

static void machine_runs(int64_t oscillator_ns) {
  const double rate = (double)machine.timex.tick / 10000 + (double)machine.timex.freq / 65536e6;
  machine.raw_ns += oscillator_ns;
  machine.wall_ns += oscillator_ns + (int64_t)((rate - 1) * (double)oscillator_ns);
}

Test(clock, a_machine_is_set_off_and_put_right_again) {
  struct host_clock clock;
  struct error error = {0};
  machine_new();
  cr_assert_eq(host_clock_open(&clock, &made_up, &error), 0, "%s", error.message);
  const int64_t begun_ns = machine.wall_ns;
  int64_t right_ns = 0;
  const struct clock_setting settings[] = {{HOUR_NS, 1},    {-HOUR_NS, 1}, {0, 1.1},
                                           {NS_PER_S, 0.9}, {0, 1.00004},  {5, 0.99987}};
  for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
    cr_assert_eq(host_clock_set(&clock, &settings[i], &error), 0, "%s", error.message);
    cr_expect_lt(llabs(machine.wall_ns - begun_ns - right_ns - settings[i].offset_ns), 10, "setting %zu", i);
    machine_runs(100 * NS_PER_S);
    const int64_t own_ns = 100 * NS_PER_S + (int64_t)((10001 / 10000.0 - 13e-6 - 1) * 1e11);
    right_ns += own_ns;
    const int64_t off_ns = host_clock_get(&clock).offset_ns,
                  wanted_ns = settings[i].offset_ns + (int64_t)((settings[i].rate - 1) * (double)own_ns);
    cr_expect_lt(llabs(off_ns - wanted_ns), 2000, "setting %zu: %lld, not %lld", i, (long long)off_ns,
                 (long long)wanted_ns);
  }
  cr_assert_eq(host_clock_set(&clock, &CLOCK_RIGHT, &error), 0, "%s", error.message);
  cr_expect_lt(llabs(machine.wall_ns - begun_ns - right_ns), 10);
  cr_expect_eq(machine.timex.tick, 10001);
  cr_expect_eq(machine.timex.freq, -13 * 65536);
}

Test(clock, a_machine_that_may_not_be_set_says_so) {
  struct host_clock clock;
  struct error error = {0};
  machine_new();
  machine.forbidden = true;
  cr_expect_eq(host_clock_open(&clock, &made_up, &error), ERR_UNSUPPORTED);
  cr_expect(strstr(error.message, "be root"), "%s", error.message);
  machine.forbidden = false;
  cr_assert_eq(host_clock_open(&clock, &made_up, &error), 0);
  cr_expect_eq(host_clock_set(&clock, &(struct clock_setting){0, 1.2}, &error), ERR_BAD_INPUT);
}
