/* The nodes' links, measured from outside while they are shaped and when they are not any more. */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "nemesis/link/netem.h"
#include "nemesis/link/network.h"
#include "nemesis/link/tap.h"
#include "nemesis/provider/netns_links.h"
#include "nemesis/test/inside.h"
#include "nemesis/test/link_probe.h"

#define NODES 3

/* Machines on which these tests run are busy with others, too. */
#define LATENESS_NS (20 * NS_PER_MS)

struct bed {
  int home;
  int networks[NODES];
  struct netns_links *links;
};

static char *directory;

static void setup(void) {
  directory = scratch_make();
}

static void teardown(void) {
  scratch_remove(directory);
}

TestSuite(link, .init = setup, .fini = teardown);

static const char *host_of(size_t node) {
  static const char *const hosts[NODES] = {"10.23.0.1", "10.23.0.2", "10.23.0.3"};
  return hosts[node];
}

/* A bridge learns a moment later than we do that one of its ports has a cable. */
static void await_passage(const struct bed *bed, size_t node) {
  const struct link_probe probe = {.from = bed->home,
                                   .to = bed->networks[node],
                                   .to_host = host_of(node),
                                   .count = 1,
                                   .await_ns = 20 * NS_PER_MS};
  const int64_t deadline_ns = time_monotonic_ns() + 10 * NS_PER_S;
  while (link_probe_run(&probe).received == 0)
    CHECK(time_monotonic_ns() < deadline_ns, "nothing reaches node %zu", node + 1);
}

static void bed_open(struct bed *bed, enum link_kind kind, const char *pcap) {
  struct error error = {0};
  bed->home = network_open_own(&error);
  for (size_t i = 0; i < NODES; i++) {
    bed->networks[i] = network_make(bed->home, &error);
    CHECK(bed->networks[i] >= 0, "%s", error.message);
  }
  const struct netns_links_options options = {
      .kind = kind, .nodes = NODES, .home = bed->home, .networks = bed->networks, .seed = 1, .pcap = pcap};
  CHECK(netns_links_open(&options, &bed->links, &error) == 0, "%s", error.message);
  for (size_t i = 0; i < NODES; i++)
    await_passage(bed, i);
}

static void bed_close(struct bed *bed) {
  netns_links_close(bed->links);
  for (size_t i = 0; i < NODES; i++)
    close(bed->networks[i]);
  close(bed->home);
}

/* n1 is shaped towards n2 and nowhere else. */
static void shape(struct bed *bed, const struct link_shape *wanted) {
  bool shaped[NODES * NODES] = {false};
  struct error error = {0};
  shaped[1 * NODES + 0] = true;
  CHECK(netns_links_shape(bed->links, wanted, shaped, &error) == 0, "%s", error.message);
}

static void heal(struct bed *bed) {
  struct error error = {0};
  CHECK(netns_links_shape(bed->links, NULL, NULL, &error) == 0, "%s", error.message);
}

/* What n1 sends to n2. */
static struct link_probe_result measure(const struct bed *bed, size_t count, int64_t every_ns,
                                        size_t payload) {
  const struct link_probe probe = {.from = bed->networks[0],
                                   .to = bed->networks[1],
                                   .to_host = "10.23.0.2",
                                   .count = count,
                                   .payload = payload,
                                   .every_ns = every_ns};
  return link_probe_run(&probe);
}

static void expect_sound(int from, int to, const char *to_host) {
  const struct link_probe probe = {.from = from,
                                   .to = to,
                                   .to_host = to_host,
                                   .count = 200,
                                   .every_ns = NS_PER_MS,
                                   .await_ns = 50 * NS_PER_MS};
  const struct link_probe_result result = link_probe_run(&probe);
  CHECK(result.received == 200 && result.distinct == 200 && result.damaged == 0 && result.overtaken == 0,
        "%zu received, %zu distinct, %zu damaged, %zu overtaken", result.received, result.distinct,
        result.damaged, result.overtaken);
  CHECK(result.delay_p50_ns < 5 * NS_PER_MS, "%.3f ms", (double)result.delay_p50_ns / NS_PER_MS);
}

/* The other direction, another link, and the clients both ways. */
static void expect_others_sound(const struct bed *bed) {
  expect_sound(bed->networks[1], bed->networks[0], "10.23.0.1");
  expect_sound(bed->networks[0], bed->networks[2], "10.23.0.3");
  expect_sound(bed->home, bed->networks[1], "10.23.0.2");
  expect_sound(bed->networks[0], bed->home, "10.23.0.254");
}

static void expect_within(const char *what, double value, double low, double high) {
  CHECK(value >= low && value <= high, "%s is %g, not %g to %g", what, value, low, high);
}

static void check_delay(struct bed *bed) {
  shape(bed, &(struct link_shape){.delay_ns = 100 * NS_PER_MS});
  const struct link_probe_result result = measure(bed, 300, NS_PER_MS, 0);
  CHECK(result.distinct == 300 && result.received == 300 && result.overtaken == 0, "%zu", result.distinct);
  expect_within("the shortest delay", (double)result.delay_min_ns, 100e6, 100e6 + LATENESS_NS);
  expect_within("the median delay", (double)result.delay_p50_ns, 100e6, 100e6 + LATENESS_NS);
  expect_others_sound(bed);
}

static void check_jitter(struct bed *bed) {
  shape(bed, &(struct link_shape){.delay_ns = 100 * NS_PER_MS, .jitter_ns = 50 * NS_PER_MS});
  const struct link_probe_result result = measure(bed, 1000, NS_PER_MS, 0);
  CHECK(result.distinct == 1000, "%zu", result.distinct);
  expect_within("the shortest delay", (double)result.delay_min_ns, 50e6, 55e6 + LATENESS_NS);
  expect_within("the first decile", (double)result.delay_p10_ns, 52e6, 68e6 + LATENESS_NS);
  expect_within("the last decile", (double)result.delay_p90_ns, 132e6, 148e6 + LATENESS_NS);
  expect_within("the overtaken", (double)result.overtaken, 300, 1000);
}

static void check_loss(struct bed *bed) {
  shape(bed, &(struct link_shape){.loss = 0.3});
  const struct link_probe_result result = measure(bed, 4000, 0, 0);
  CHECK(result.damaged == 0 && result.duplicates == 0, "%zu", result.damaged);
  expect_within("what is lost", 1 - (double)result.distinct / 4000, 0.26, 0.34);
  shape(bed, &(struct link_shape){.loss = 1});
  CHECK(measure(bed, 100, 0, 0).received == 0, "a dead link");
  expect_others_sound(bed);
}

static void check_duplication(struct bed *bed) {
  shape(bed, &(struct link_shape){.duplicate = 0.3});
  const struct link_probe_result result = measure(bed, 4000, 0, 0);
  CHECK(result.distinct == 4000, "%zu", result.distinct);
  expect_within("what comes twice", (double)result.duplicates / 4000, 0.26, 0.34);
}

static void check_reordering(struct bed *bed) {
  shape(bed, &(struct link_shape){.delay_ns = 40 * NS_PER_MS, .reorder = 0.25});
  const struct link_probe_result result = measure(bed, 1000, NS_PER_MS, 0);
  CHECK(result.distinct == 1000, "%zu", result.distinct);
  expect_within("the shortest delay", (double)result.delay_min_ns, 0, 20e6);
  expect_within("the median delay", (double)result.delay_p50_ns, 40e6, 40e6 + LATENESS_NS);
  expect_within("the overtaken", (double)result.overtaken, 500, 1000); /* nearly all that are delayed */
}

/* A damaged IP or UDP header is found by the receiver's kernel: 28 of 1028 bytes. */
static void check_corruption(struct bed *bed) {
  shape(bed, &(struct link_shape){.corrupt = 0.5});
  const struct link_probe_result result = measure(bed, 2000, 0, 1000);
  expect_within("what arrives damaged", (double)result.damaged / 2000, 0.43, 0.54);
  expect_within("what is lost by it", 1 - (double)result.received / 2000, 0.001, 0.04);
}

static void check_rate(struct bed *bed) {
  shape(bed, &(struct link_shape){.rate_bytes_per_s = 1000000});
  const struct link_probe_result result = measure(bed, 500, 0, 1000);
  /* In the kernel, one may change its processor on the way, and its place. */
  CHECK(result.distinct == 500 && result.overtaken <= 10, "%zu, %zu overtaken", result.distinct,
        result.overtaken);
  expect_within("bytes a second", result.bytes_per_s, 0.9e6, 1.1e6);
}

static void check_limit(struct bed *bed) {
  shape(bed, &(struct link_shape){.delay_ns = 200 * NS_PER_MS, .limit = 50});
  const struct link_probe_result result = measure(bed, 200, 0, 0);
  expect_within("what found room", (double)result.distinct, 50 - 1, 199);
}

/* What n1 sends to either of the others; and what those send. */
static void check_everywhere(struct bed *bed) {
  bool shaped[NODES * NODES];
  struct error error = {0};
  const struct link_shape wanted = {.duplicate = 0.3, .delay_ns = 20 * NS_PER_MS};
  for (size_t i = 0; i < NODES * NODES; i++)
    shaped[i] = i % (NODES + 1) != 0;
  CHECK(netns_links_shape(bed->links, &wanted, shaped, &error) == 0, "%s", error.message);
  for (size_t from = 0; from < NODES; from++)
    for (size_t to = 0; to < NODES; to++) {
      const struct link_probe probe = {.from = bed->networks[from],
                                       .to = bed->networks[to],
                                       .to_host = host_of(to),
                                       .count = 500,
                                       .every_ns = NS_PER_MS};
      if (from == to)
        continue;
      const struct link_probe_result result = link_probe_run(&probe);
      CHECK(result.distinct == 500, "%zu", result.distinct);
      expect_within("the shortest delay", (double)result.delay_min_ns, 20e6, 20e6 + LATENESS_NS);
      expect_within("what comes twice", (double)result.duplicates / 500, 0.18, 0.42);
    }
  expect_sound(bed->home, bed->networks[1], "10.23.0.2");
  expect_sound(bed->networks[0], bed->home, "10.23.0.254");
}

static int shapes(void *context) {
  struct bed bed;
  bed_open(&bed, *(const enum link_kind *)context, NULL);
  CHECK(netns_links_lack_shapes(bed.links) == NULL, "%s", netns_links_lack_shapes(bed.links));
  void (*const checks[])(struct bed * bed) = {check_delay,       check_jitter,     check_loss,
                                              check_duplication, check_reordering, check_corruption,
                                              check_rate,        check_limit,      check_everywhere};
  expect_sound(bed.networks[0], bed.networks[1], "10.23.0.2");
  for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
    struct link_counters counters;
    size_t shaped;
    checks[i](&bed);
    CHECK(netns_links_count(bed.links, &shaped, &counters, NULL) == 0, "no counters");
    CHECK(shaped > 0 && counters.seen > 0, "%zu links shaped", shaped);
    heal(&bed);
    CHECK(netns_links_count(bed.links, &shaped, &counters, NULL) == 0 && shaped == 0, "%zu shapes", shaped);
    expect_sound(bed.networks[0], bed.networks[1], "10.23.0.2");
  }
  bed_close(&bed);
  return 0;
}

static void need_tap(void) {
  struct error error = {0};
  if (tap_supported(&error) != 0)
    cr_skip_test("%s", error.message);
}

Test(link, the_switch_shapes_what_it_should_and_nothing_else) {
  enum link_kind kind = LINK_TAP;
  need_tap();
  cr_assert_eq(run_inside(USER_AS_IS, shapes, &kind), 0);
}

static int has_netem(void *context) {
  (void)context;
  return netem_supported(NULL) == 0 ? 0 : 1;
}

Test(link, the_kernel_shapes_what_it_should_and_nothing_else) {
  enum link_kind kind = LINK_VETH;
  if (run_inside(USER_AS_IS, has_netem, NULL) != 0)
    cr_skip_test("the kernel has no sch_netem");
  cr_assert_eq(run_inside(USER_ORDINARY, shapes, &kind), 0);
}

static int veth(void *context) {
  (void)context;
  struct bed bed;
  struct link_counters counters;
  size_t shaped;
  bed_open(&bed, LINK_VETH, NULL);
  expect_sound(bed.networks[0], bed.networks[1], "10.23.0.2");
  expect_others_sound(&bed);
  CHECK(netns_links_count(bed.links, &shaped, &counters, NULL) == 0 && counters.seen == 0, "counted");
  bed_close(&bed);
  bed_open(&bed, LINK_VETH, NULL); /* there is room again */
  bed_close(&bed);
  return 0;
}

Test(link, veth_pairs_join_nodes_and_clients) {
  cr_assert_eq(run_inside(USER_ORDINARY, veth, NULL), 0);
}

/* What waits when a shape is taken away arrives at once and in order; what the counters say is what was seen.
 */
static int healing(void *context) {
  (void)context;
  struct bed bed;
  struct link_counters counters;
  size_t shaped;
  bed_open(&bed, LINK_TAP, NULL);
  shape(&bed, &(struct link_shape){.delay_ns = 30 * NS_PER_S});
  const pid_t healer = fork();
  if (healer == 0) {
    do {
      CHECK(netns_links_count(bed.links, &shaped, &counters, NULL) == 0, "no counters");
    } while (counters.seen < 40);
    heal(&bed);
    _exit(0);
  }
  const struct link_probe probe = {.from = bed.networks[0],
                                   .to = bed.networks[1],
                                   .to_host = "10.23.0.2",
                                   .count = 40,
                                   .await_ns = 3 * NS_PER_S};
  const struct link_probe_result result = link_probe_run(&probe);
  CHECK(result.distinct == 40 && result.received == 40 && result.overtaken == 0, "%zu", result.distinct);
  CHECK(result.delay_max_ns < 25 * NS_PER_S, "%.3f s", (double)result.delay_max_ns / NS_PER_S);
  waitpid(healer, NULL, 0);

  shape(&bed, &(struct link_shape){.loss = 0.5, .corrupt = 0.1, .duplicate = 0.1});
  const struct link_probe_result lossy = measure(&bed, 1000, 0, 0);
  CHECK(netns_links_count(bed.links, &shaped, &counters, NULL) == 0, "no counters");
  CHECK(counters.seen == 1000 + 1 && counters.seen + counters.duplicated - counters.lost >= lossy.received &&
            counters.corrupted >= lossy.damaged && counters.overflowed == 0,
        "seen %zu", (size_t)counters.seen);
  bed_close(&bed);
  return 0;
}

Test(link, healing_lets_go_of_what_waits) {
  need_tap();
  cr_assert_eq(run_inside(USER_AS_IS, healing, NULL), 0);
}

static int recorded(void *context) {
  struct bed bed;
  bed_open(&bed, LINK_TAP, context);
  expect_sound(bed.networks[0], bed.networks[1], "10.23.0.2");
  expect_sound(bed.home, bed.networks[1], "10.23.0.2");
  bed_close(&bed);
  return 0;
}

Test(link, traffic_is_recorded) {
  char *path = path_join(directory, "traffic.pcap");
  struct bytes content = {0};
  size_t datagrams = 0;
  need_tap();
  cr_assert_eq(run_inside(USER_AS_IS, recorded, path), 0);
  cr_assert_eq(file_read(path, &content, NULL), 0);
  for (size_t at = 24, size; at < content.size; at += 16 + size) {
    size = le32_load(content.data + at + 8);
    const unsigned char *frame = content.data + at + 16;
    datagrams += size == 14 + 20 + 8 + 64 && frame[23] == 17 && frame[33] == 2; /* UDP to 10.23.0.2 */
  }
  cr_assert(datagrams >= 401, "%zu", datagrams);
  bytes_free(&content);
  free(path);
}

/* ---- The switch's process ---- */

static size_t processes_here(void) {
  return processes_in(namespace_of("self", "pid"));
}

static int owner_is_killed(void *context) {
  (void)context;
  int opened[2];
  char byte = 0;
  const size_t before = processes_here();
  CHECK(pipe(opened) == 0, "no pipe");
  const pid_t owner = fork();
  if (owner == 0) {
    struct bed bed;
    bed_open(&bed, LINK_TAP, NULL);
    CHECK(write(opened[1], &byte, 1) == 1, "cannot tell");
    while (pause() != 0)
      ;
  }
  CHECK(read(opened[0], &byte, 1) == 1, "not opened");
  CHECK(processes_here() == before + 2, "%zu processes", processes_here());
  kill(owner, SIGKILL);
  waitpid(owner, NULL, 0);
  for (int waited_ms = 0; processes_here() > before; waited_ms++) {
    CHECK(waited_ms < 5000, "the switch outlives its owner");
    poll(NULL, 0, 1);
  }
  return 0;
}

Test(link, the_switch_dies_with_its_owner) {
  need_tap();
  cr_assert_eq(run_inside(USER_AS_IS, owner_is_killed, NULL), 0);
}

static int switch_is_killed(void *context) {
  (void)context;
  struct bed bed;
  struct error error = {0};
  siginfo_t info;
  bed_open(&bed, LINK_TAP, NULL);
  shape(&bed, &(struct link_shape){.loss = 0.1});
  /* The last pid that was given out here: nothing was started since. */
  FILE *last = fopen("/proc/loadavg", "re");
  int pid = 0;
  CHECK(last && fscanf(last, "%*s %*s %*s %*s %d", &pid) == 1, "no /proc/loadavg");
  fclose(last);
  CHECK(kill(pid, SIGKILL) == 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0, "pid %d", pid);
  CHECK(netns_links_shape(bed.links, NULL, NULL, &error) == ERR_IO, "no error");
  CHECK(strstr(error.message, "the switch between the nodes has ended"), "%s", error.message);
  bed_close(&bed);
  return 0;
}

Test(link, a_switch_that_ended_is_told_of) {
  need_tap();
  cr_assert_eq(run_inside(USER_AS_IS, switch_is_killed, NULL), 0);
}

static int taps_of_an_ordinary_user(void *context) {
  (void)context;
  struct error error = {0};
  if (access("/dev/net/tun", R_OK | W_OK) == 0)
    return 0;
  CHECK(tap_supported(&error) == ERR_UNSUPPORTED, "supported?");
  CHECK(strstr(error.message, "/dev/net/tun") &&
            (strstr(error.message, "chmod") || strstr(error.message, "modprobe")),
        "%s", error.message);
  return 0;
}

Test(link, a_device_that_cannot_be_opened_is_named_with_the_cure) {
  cr_assert_eq(run_as(USER_ORDINARY, taps_of_an_ordinary_user, NULL), 0);
}
