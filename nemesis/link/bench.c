/* bench.c: what a link in user space costs, against veth pairs on a bridge in the same run: frames a second
 * over five nodes, added latency, and how far delays are from what they should be. Prints one JSON object;
 * ci/acceptance judges it. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "nemesis/link/network.h"
#include "nemesis/provider/netns_links.h"
#include "nemesis/test/inside.h"
#include "nemesis/test/link_probe.h"

#define NODES 5
#define PORT 7998
#define FLOOD_NS (3 * NS_PER_S)
#define TRIPS 20000
#define BURST 64

struct bed {
  int home;
  int networks[NODES];
  struct netns_links *links;
};

static void bed_open(struct bed *bed, enum link_kind kind) {
  struct error error = {0};
  bed->home = network_open_own(&error);
  for (size_t i = 0; i < NODES; i++) {
    bed->networks[i] = network_make(bed->home, &error);
    CHECK(bed->networks[i] >= 0, "%s", error.message);
  }
  const struct netns_links_options options = {
      .kind = kind, .nodes = NODES, .home = bed->home, .networks = bed->networks, .seed = 1};
  CHECK(netns_links_open(&options, &bed->links, &error) == 0, "%s", error.message);
}

static void bed_close(struct bed *bed) {
  netns_links_close(bed->links);
  for (size_t i = 0; i < NODES; i++)
    close(bed->networks[i]);
  close(bed->home);
}

static const char *host_of(size_t node) {
  static const char *const hosts[NODES] = {"10.23.0.1", "10.23.0.2", "10.23.0.3", "10.23.0.4", "10.23.0.5"};
  return hosts[node];
}

/* ---- Frames a second: every node sends to the next as fast as it is heard ---- */

/* So many at most are sent ahead of what the next one has received: what is measured is the link, not how
 * long a queue is before it overflows. */
#define WINDOW 512

struct flood {
  _Atomic uint64_t sent[NODES], received[NODES];
  _Atomic bool over;
};

static void open_flood(size_t node, int *in, int *out) {
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(PORT)}, next = own;
  const int size = 4 << 20;
  inet_pton(AF_INET, host_of((node + 1) % NODES), &next.sin_addr);
  *in = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  *out = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  CHECK(bind(*in, (const struct sockaddr *)&own, sizeof own) == 0, "%s", strerror(errno));
  CHECK(connect(*out, (const struct sockaddr *)&next, sizeof next) == 0, "%s", strerror(errno));
  if (setsockopt(*in, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
    setsockopt(*in, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

static void flood_node(const struct bed *bed, size_t node, struct flood *flood) {
  static char payload[64];
  struct iovec piece = {payload, sizeof payload};
  struct mmsghdr messages[BURST];
  int in, out;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  network_enter(bed->networks[node]);
  open_flood(node, &in, &out);
  for (size_t i = 0; i < BURST; i++)
    messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &piece, .msg_iovlen = 1}};
  while (!flood->over) {
    const uint64_t ahead = flood->sent[node] - flood->received[(node + 1) % NODES];
    const int sent = ahead + BURST <= WINDOW ? sendmmsg(out, messages, BURST, 0) : 0;
    const int got = recvmmsg(in, messages, BURST, 0, NULL);
    struct pollfd ready = {.fd = in, .events = POLLIN};
    flood->sent[node] += sent > 0 ? (uint64_t)sent : 0;
    flood->received[node] += got > 0 ? (uint64_t)got : 0;
    if (sent <= 0 && got <= 0)
      poll(&ready, 1, 1);
  }
  _exit(0);
}

static double flood_frames_per_s(const struct bed *bed) {
  struct flood *flood = mmap(NULL, sizeof *flood, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(flood != MAP_FAILED, "no memory");
  pid_t pids[NODES];
  for (size_t i = 0; i < NODES; i++)
    if ((pids[i] = fork()) == 0)
      flood_node(bed, i, flood);
  const int64_t begin_ns = time_monotonic_ns();
  while (time_monotonic_ns() - begin_ns < FLOOD_NS)
    poll(NULL, 0, 50);
  uint64_t frames = 0;
  for (size_t i = 0; i < NODES; i++)
    frames += flood->received[i];
  const double seconds = (double)(time_monotonic_ns() - begin_ns) / (double)NS_PER_S;
  flood->over = true;
  for (size_t i = 0; i < NODES; i++)
    waitpid(pids[i], NULL, 0);
  munmap(flood, sizeof *flood);
  return (double)frames / seconds;
}

/* ---- Bulk: one connection of TCP ---- */

static void sink(int listening) {
  static char buffer[1 << 16];
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int fd = accept(listening, NULL, NULL);
  while (recv(fd, buffer, sizeof buffer, 0) > 0)
    ;
  _exit(0);
}

static double bulk_bytes_per_s(const struct bed *bed) {
  static char buffer[1 << 16];
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  inet_pton(AF_INET, host_of(1), &address.sin_addr);
  network_enter(bed->networks[1]);
  const int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  network_enter(bed->networks[0]);
  const int sending = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  network_enter(bed->home);
  CHECK(bind(listening, (struct sockaddr *)&address, sizeof address) == 0 && listen(listening, 1) == 0, "%s",
        strerror(errno));
  const pid_t sinking = fork();
  if (sinking == 0)
    sink(listening);
  CHECK(connect(sending, (struct sockaddr *)&address, sizeof address) == 0, "%s", strerror(errno));
  uint64_t bytes = 0;
  const int64_t begin_ns = time_monotonic_ns();
  while (time_monotonic_ns() - begin_ns < FLOOD_NS) {
    const ssize_t sent = send(sending, buffer, sizeof buffer, 0);
    CHECK(sent > 0, "%s", strerror(errno));
    bytes += (uint64_t)sent;
  }
  const double seconds = (double)(time_monotonic_ns() - begin_ns) / (double)NS_PER_S;
  kill(sinking, SIGKILL);
  waitpid(sinking, NULL, 0);
  close(sending);
  close(listening);
  return (double)bytes / seconds;
}

/* ---- Delays ---- */

static struct link_probe_result delayed(const struct bed *bed, int64_t delay_ns) {
  const struct link_shape shape = {.delay_ns = delay_ns};
  const struct link_probe probe = {.from = bed->networks[1],
                                   .to = bed->networks[0],
                                   .to_host = host_of(0),
                                   .count = 1000,
                                   .every_ns = 2 * NS_PER_MS,
                                   .await_ns = delay_ns + 300 * NS_PER_MS};
  bool shaped[NODES * NODES] = {false};
  struct error error = {0};
  shaped[0 * NODES + 1] = true;
  CHECK(netns_links_shape(bed->links, &shape, shaped, &error) == 0, "%s", error.message);
  const struct link_probe_result result = link_probe_run(&probe);
  CHECK(result.distinct == probe.count, "%zu of %zu arrived", result.distinct, probe.count);
  CHECK(netns_links_shape(bed->links, NULL, NULL, &error) == 0, "%s", error.message);
  return result;
}

static void print_delays(const struct bed *bed) {
  static const int64_t delays_ms[] = {1, 10, 100};
  printf(" \"delays\": [");
  for (size_t i = 0; i < ARRAY_SIZE(delays_ms); i++) {
    const int64_t wanted_ns = delays_ms[i] * NS_PER_MS;
    const struct link_probe_result result = delayed(bed, wanted_ns);
    printf("%s\n  {\"wanted_ms\": %d, \"over_min_us\": %.1f, \"over_p50_us\": %.1f, \"over_p99_us\": %.1f, "
           "\"over_max_us\": %.1f}",
           i > 0 ? "," : "", (int)delays_ms[i], (double)(result.delay_min_ns - wanted_ns) / NS_PER_US,
           (double)(result.delay_p50_ns - wanted_ns) / NS_PER_US,
           (double)(result.delay_p99_ns - wanted_ns) / NS_PER_US,
           (double)(result.delay_max_ns - wanted_ns) / NS_PER_US);
  }
  printf("]");
}

static int measure(void *context) {
  (void)context;
  for (int tap = 0; tap < 2; tap++) {
    struct bed bed;
    bed_open(&bed, tap ? LINK_TAP : LINK_VETH);
    const double trip_us =
        (double)link_probe_half_round_trip_ns(bed.networks[1], bed.networks[0], host_of(0), TRIPS) /
        NS_PER_US;
    const double frames_per_s = flood_frames_per_s(&bed), bulk = bulk_bytes_per_s(&bed);
    printf("%s\"%s\": {\"one_way_p50_us\": %.1f, \"frames_per_s\": %.0f, \"bulk_mb_per_s\": %.0f},\n",
           tap ? " " : "{", tap ? "tap" : "veth", trip_us, frames_per_s, bulk / 1e6);
    if (tap)
      print_delays(&bed);
    bed_close(&bed);
  }
  printf("}\n");
  return 0;
}

int main(void) {
  log_open("link-bench", LOG_LEVEL_INFO);
  return run_inside(USER_AS_IS, measure, NULL) == 0 ? 0 : EXIT_HARNESS;
}
