#include "nemesis/test/probe.h"

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "nemesis/test/inside.h"

#define ANSWER_WITHIN_MS 5000

struct probe {
  const struct cluster *cluster;
  unsigned token;
};

struct probe *probe_new(const struct cluster *cluster) {
  struct probe *probe = xcalloc(1, sizeof *probe);
  probe->cluster = cluster;
  return probe;
}

void probe_free(struct probe *probe) {
  free(probe);
}

static int connect_to(const char *address) {
  char host[64];
  int port;
  CHECK(sscanf(address, "%63[^:]:%d", host, &port) == 2, "%s", address);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  inet_pton(AF_INET, host, &to.sin_addr);
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(connect(fd, (const struct sockaddr *)&to, sizeof to) == 0, "%s", address);
  return fd;
}

/* Repeats the request until it is answered: the node may be about to start. */
static void ask(struct probe *probe, size_t node, const char *request, char *reply, size_t size) {
  const int fd = connect_to(cluster_client_address(probe->cluster, node));
  ssize_t got = -1;
  const int64_t deadline_ns = time_monotonic_ns() + ANSWER_WITHIN_MS * NS_PER_MS;
  while (got < 0 && time_monotonic_ns() < deadline_ns) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (send(fd, request, strlen(request), 0) >= 0 && poll(&ready, 1, 20) > 0)
      got = recv(fd, reply, size - 1, 0);
    if (got < 0)
      poll(NULL, 0, 1); /* refused: nobody listens yet */
  }
  close(fd);
  CHECK(got >= 0, "node %s does not answer its clients", cluster_node_name(probe->cluster, node));
  reply[got] = '\0';
}

void probe_await(struct probe *probe, size_t node) {
  char reply[512];
  ask(probe, node, "heard", reply, sizeof reply);
}

static bool runs(const struct probe *probe, size_t node) {
  return cluster_node_state(probe->cluster, node) == NODE_RUNNING;
}

/* heard[b]: whether `node` has heard the present token of node b. */
static void look(struct probe *probe, size_t node, bool *heard) {
  char reply[512];
  ask(probe, node, "heard", reply, sizeof reply);
  char *at = reply;
  for (size_t other = 0; other < cluster_size(probe->cluster); other++) {
    char *word = strsep(&at, " ");
    CHECK(word, "short answer");
    heard[other] = (unsigned)strtoul(word, NULL, 10) == probe->token;
  }
}

void probe_expect(struct probe *probe, const bool *hears) {
  const size_t nodes = cluster_size(probe->cluster);
  char request[32], reply[512];
  probe->token++;
  for (size_t node = 0; node < nodes; node++)
    if (runs(probe, node))
      probe_await(probe, node); /* before anybody sends to it */
  /* Numbered: a node that is slow to answer is asked again, and is to send once all the same. */
  snprintf(request, sizeof request, "#%u send %u", probe->token, probe->token);
  for (size_t node = 0; node < nodes; node++)
    if (runs(probe, node))
      ask(probe, node, request, reply, sizeof reply);
  for (size_t node = 0; node < nodes; node++) {
    bool heard[CLUSTER_NODES_MAX] = {false}, complete = !runs(probe, node);
    for (int waited_ms = 0; !complete; waited_ms++) {
      CHECK(waited_ms < ANSWER_WITHIN_MS, "node %s does not hear all it should",
            cluster_node_name(probe->cluster, node));
      look(probe, node, heard);
      complete = true;
      for (size_t other = 0; other < nodes; other++)
        complete = complete &&
                   (heard[other] || other == node || !runs(probe, other) || !hears[node * nodes + other]);
      if (!complete)
        poll(NULL, 0, 1);
    }
    for (size_t other = 0; other < nodes; other++)
      CHECK(other == node || hears[node * nodes + other] || !heard[other], "node %s hears %s",
            cluster_node_name(probe->cluster, node), cluster_node_name(probe->cluster, other));
  }
}

struct probe_clock probe_clock(struct probe *probe, size_t node) {
  char reply[512];
  long long wall_ns, monotonic_ns;
  probe_await(probe, node); /* so that the question below is asked once */
  const int64_t wall_before_ns = time_wall_ns(), before_ns = time_monotonic_ns();
  ask(probe, node, "clock", reply, sizeof reply);
  const int64_t wall_after_ns = time_wall_ns(), after_ns = time_monotonic_ns();
  CHECK(sscanf(reply, "%lld %lld", &wall_ns, &monotonic_ns) == 2, "%s", reply);
  return (struct probe_clock){wall_ns - wall_after_ns, wall_ns - wall_before_ns, monotonic_ns - after_ns,
                              monotonic_ns - before_ns};
}
