/* Every fault of clocks, installed, acted and healed on nodes that tell what their clocks show. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "nemesis/cluster.h"
#include "nemesis/fault.h"
#include "nemesis/test/inside.h"
#include "nemesis/test/probe.h"

#define NODES 3
#define HOUR_NS (3600 * NS_PER_S)

static char *directory;

static void setup(void) {
  directory = scratch_make();
  cr_assert(directory);
}

static void teardown(void) {
  scratch_remove(directory);
}

TestSuite(clock_faults, .init = setup, .fini = teardown);

struct bench {
  uv_loop_t loop;
  struct cluster *cluster;
  struct probe *probe;
};

static void bench_open(struct bench *bench, enum provider provider, unsigned needs, const char *name) {
  char *program = test_program(name);
  const struct cluster_options options = {
      .provider = provider, .needs = needs, .nodes = NODES, .master = program, .directory = directory};
  struct error error = {0};
  CHECK(uv_loop_init(&bench->loop) == 0, "no loop");
  CHECK(cluster_new(&bench->loop, &options, &bench->cluster, &error) == 0, "%s", error.message);
  free(program);
  for (size_t i = 0; i < NODES; i++)
    CHECK(cluster_start(bench->cluster, i, &error) == 0, "%s", error.message);
  bench->probe = probe_new(bench->cluster);
}

static void bench_close(struct bench *bench) {
  probe_free(bench->probe);
  cluster_free(bench->cluster);
  uv_run(&bench->loop, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&bench->loop) == 0, "handles are left on the loop");
}

static void set_clock(struct bench *bench, size_t node, int64_t offset_ns, double rate) {
  struct error error = {0};
  CHECK(cluster_set_clock(bench->cluster, node, &(struct clock_setting){offset_ns, rate}, &error) == 0, "%s",
        error.message);
}

static void expect_wall(struct bench *bench, size_t node, int64_t offset_ns) {
  const struct probe_clock clock = probe_clock(bench->probe, node);
  CHECK(clock.wall_least_ns <= offset_ns && offset_ns <= clock.wall_most_ns,
        "node %zu is ahead by %lld to %lld ns, not %lld", node, (long long)clock.wall_least_ns,
        (long long)clock.wall_most_ns, (long long)offset_ns);
}

/* ---- The cluster ---- */

static int one_clock_alone(void *context) {
  struct bench bench;
  struct error error = {0};
  bench_open(&bench, *(enum provider *)context, CAPABILITY_BIT(CAN_CLOCK), "assay-echo-node");
  const char *lacks = cluster_lacks(bench.cluster, CAN_CLOCK);
  CHECK(!lacks, "%s", lacks);
  set_clock(&bench, 1, -HOUR_NS, 1);
  for (int round = 0; round < 2; round++) {
    expect_wall(&bench, 0, 0);
    expect_wall(&bench, 1, -HOUR_NS);
    expect_wall(&bench, 2, 0);
    CHECK(cluster_kill(bench.cluster, 1, &error) == 0 && cluster_start(bench.cluster, 1, &error) == 0, "%s",
          error.message);
  }
  set_clock(&bench, 1, 0, 1);
  expect_wall(&bench, 1, 0);
  struct clock_setting setting;
  CHECK(cluster_get_clock(bench.cluster, 1, &setting, &error) == 0, "%s", error.message);
  CHECK(setting.offset_ns == 0 && setting.rate == 1, "off by %lld", (long long)setting.offset_ns);
  bench_close(&bench);
  return 0;
}

Test(clock_faults, a_clock_is_set_alone_over_restarts_and_put_right) {
  enum provider providers[] = {PROVIDER_NETNS, PROVIDER_HOST};
  for (size_t i = 0; i < ARRAY_SIZE(providers); i++) {
    cr_assert_eq(run_inside(USER_ORDINARY, one_clock_alone, &providers[i]), 0);
    cr_assert_eq(run_as(USER_ORDINARY, scratch_empty, directory), 0);
  }
}

static int unprepared(void *context) {
  (void)context;
  struct bench bench;
  struct error error = {0};
  bench_open(&bench, PROVIDER_HOST, 0, "assay-echo-node");
  CHECK(strstr(cluster_lacks(bench.cluster, CAN_CLOCK), "name a fault of clocks"), "no cure");
  CHECK(cluster_set_clock(bench.cluster, 0, &CLOCK_RIGHT, &error) == ERR_UNSUPPORTED, "it was set");
  bench_close(&bench);
  return 0;
}

Test(clock_faults, a_cluster_that_was_not_prepared_says_so) {
  cr_assert_eq(run_inside(USER_AS_IS, unprepared, NULL), 0);
}

#ifndef ASSAY_SANITIZED
static int cannot_be_preloaded(void *context) {
  (void)context;
  struct bench bench;
  struct error error = {0};
  bench_open(&bench, PROVIDER_HOST, CAPABILITY_BIT(CAN_CLOCK), "assay-echo-node-static");
  CHECK(cluster_set_clock(bench.cluster, 0, &CLOCK_RIGHT, &error) == ERR_UNSUPPORTED, "it was set");
  CHECK(strstr(error.message, "linked dynamically"), "%s", error.message);
  bench_close(&bench);
  return 0;
}

Test(clock_faults, a_program_that_reads_no_page_is_found_out) {
  cr_assert_eq(run_inside(USER_AS_IS, cannot_be_preloaded, NULL), 0);
}
#endif

/* ---- The faults ---- */

static struct aim aim_with(const struct fault *fault, uint64_t seed) {
  struct facts facts = {.nodes = NODES, .primary = 1, .old_primary = -1, .free = {true, true, true}};
  struct random random;
  struct aim aim;
  struct error error = {0};
  random_seed(&random, seed);
  CHECK(fault_aim(fault, &facts, &random, &aim, &error) == 0, "%s", error.message);
  return aim;
}

static bool is_drift(const struct fault *fault) {
  return strstr(fault->description.name, "drift") != NULL;
}

/* Drift shows after a while: looks until it does, and for five seconds at most. */
static void expect_drift(struct bench *bench, size_t node, double rate) {
  const struct probe_clock before = probe_clock(bench->probe, node);
  const int64_t began_ns = time_monotonic_ns();
  for (;;) {
    const struct probe_clock now = probe_clock(bench->probe, node);
    const int64_t passed_ns = time_monotonic_ns() - began_ns;
    const double expected_ns = (rate - 1) * (double)passed_ns;
    const int64_t wall_ns = now.wall_least_ns - before.wall_most_ns,
                  monotonic_ns = now.monotonic_least_ns - before.monotonic_most_ns,
                  slack_ns =
                      now.wall_most_ns - now.wall_least_ns + before.wall_most_ns - before.wall_least_ns;
    if (llabs(wall_ns) > 20 * NS_PER_MS + 2 * slack_ns) {
      /* Between the two looks and the clock read beside them some time passes, too. */
      const double tolerance_ns = fabs(expected_ns) / 10 + 12 * (double)slack_ns;
      CHECK(fabs(expected_ns - (double)wall_ns) <= tolerance_ns, "%lld ns, not %.0f", (long long)wall_ns,
            expected_ns);
      CHECK(llabs(monotonic_ns - wall_ns) <= 2 * slack_ns, "the monotonic clock does not drift along");
      return;
    }
    CHECK(passed_ns < 5 * NS_PER_S, "no drift after 5 s");
  }
}

static void expect_installed(struct bench *bench, const struct fault *fault, const struct aim *aim) {
  const double sign = strcmp(fault->description.name, "clock-jump-back") == 0 ? -1 : 1;
  for (size_t i = 0; i < NODES; i++) {
    if (!aim->targets[i])
      expect_wall(bench, i, 0);
    else if (is_drift(fault))
      expect_drift(bench, i, aim_get(aim, "rate"));
    else
      expect_wall(bench, i, (int64_t)(sign * aim_get(aim, "offset_ms") * (double)NS_PER_MS));
  }
}

/* A strobe is at one end after each step, and now at the one, now at the other. */
static void expect_strobe(struct bench *bench, const struct fault *fault, const struct aim *aim) {
  const struct facts facts = {.nodes = NODES};
  const int64_t offset_ns = (int64_t)(aim_get(aim, "offset_ms") * (double)NS_PER_MS);
  size_t target = 0, ahead = 0, back = 0;
  while (!aim->targets[target])
    target++;
  for (size_t step = 0; step < 44; step++) {
    struct error error = {0};
    CHECK(fault->act(bench->cluster, &facts, aim, step, &error) == ACT_QUIET, "%s", error.message);
    const struct probe_clock clock = probe_clock(bench->probe, target);
    ahead += clock.wall_least_ns <= offset_ns && offset_ns <= clock.wall_most_ns;
    back += clock.wall_least_ns <= -offset_ns && -offset_ns <= clock.wall_most_ns;
  }
  CHECK(ahead >= 10 && back >= 10 && ahead + back >= 44, "%zu times ahead, %zu times back", ahead, back);
}

static int each_fault(void *context) {
  (void)context;
  struct bench bench;
  struct error error = {0};
  bench_open(&bench, PROVIDER_NETNS, CAPABILITY_BIT(CAN_CLOCK), "assay-echo-node");
  for (size_t k = 0; k < clock_faults.count; k++) {
    const struct fault *fault = &clock_faults.faults[k];
    for (uint64_t seed = 1; seed <= 6; seed++) {
      const struct aim aim = aim_with(fault, seed);
      struct aim_number evidence[AIM_NUMBERS_MAX];
      CHECK(fault->install(bench.cluster, &aim, &error) == 0, "%s", error.message);
      expect_installed(&bench, fault, &aim);
      if (fault->act)
        expect_strobe(&bench, fault, &aim);
      CHECK(fault->measure(bench.cluster, &aim, evidence) == 2 &&
                (evidence[0].value != 0 || evidence[1].value != 1),
            "no evidence of %s", fault->description.name);
      CHECK(fault->heal(bench.cluster, &aim, &error) == 0, "%s", error.message);
      for (size_t i = 0; i < NODES; i++)
        expect_wall(&bench, i, 0);
    }
  }
  bench_close(&bench);
  return 0;
}

Test(clock_faults, each_shows_on_its_targets_alone_and_is_gone_after_the_heal) {
  cr_assert_eq(run_inside(USER_AS_IS, each_fault, NULL), 0);
}

Test(clock_faults, aims_reach_from_one_to_all_and_from_milliseconds_to_hours) {
  const struct facts facts = {
      .nodes = 5, .primary = 2, .old_primary = -1, .free = {true, true, true, true, true}};
  const struct fault *fault = catalogue_find("clock-jump-back");
  size_t sizes[6] = {0}, primary_alone = 0, others = 0;
  double least = INFINITY, most = 0;
  for (uint64_t seed = 0; seed < 400; seed++) {
    struct random random;
    struct aim aim;
    random_seed(&random, seed);
    cr_assert_eq(fault_aim(fault, &facts, &random, &aim, NULL), 0);
    size_t count = 0;
    for (size_t i = 0; i < facts.nodes; i++)
      count += aim.targets[i];
    sizes[count]++;
    primary_alone += count == 1 && aim.targets[2];
    others += count == 4 && !aim.targets[2];
    least = fmin(least, aim_get(&aim, "offset_ms"));
    most = fmax(most, aim_get(&aim, "offset_ms"));
  }
  cr_expect(sizes[0] == 0 && sizes[2] > 10 && sizes[3] == 0);
  cr_expect(sizes[4] == others && others > 10 && sizes[5] > 10);
  cr_expect(primary_alone > 150);
  cr_expect(least >= 10 && least < 20 && most > 18e6 && most <= 36e6, "%g to %g ms", least, most);
}
