/* link_probe.c: see link_probe.h.
 *
 * A socket stays in the namespace in which it was made, so one thread can hold both ends. */
#include "nemesis/test/link_probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "nemesis/link/network.h"
#include "nemesis/test/inside.h"

#define PORT 7999
#define PAYLOAD_MAX 1472
#define BATCH 32
#define AWAIT_NS (300 * NS_PER_MS)

struct datagram {
  uint64_t checksum; /* of all that follows */
  uint64_t number;
  int64_t sent_ns; /* CLOCK_REALTIME, which stamps arrivals */
  unsigned char filling[PAYLOAD_MAX - 24];
};

struct measurement {
  const struct link_probe *probe;
  int sender, receiver;
  size_t payload;
  unsigned *arrivals; /* of each number */
  int64_t *delays_ns;
  uint64_t highest; /* number + 1 that arrived */
  int64_t first_ns, last_ns;
  struct link_probe_result result;
};

static int open_socket(int network, int home) {
  network_enter(network);
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  network_enter(home);
  CHECK(fd >= 0, "%s", strerror(errno));
  const int on = 1, size = 64 << 20;
  CHECK(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on) == 0, "%s", strerror(errno));
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  return fd;
}

static void open_ends(int from, int to, const char *host, int *sender, int *receiver) {
  struct error error = {0};
  const int home = network_open_own(&error), on = 1;
  CHECK(home >= 0, "%s", error.message);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  inet_pton(AF_INET, host, &address.sin_addr);
  *receiver = open_socket(to, home);
  CHECK(setsockopt(*receiver, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) == 0, "%s", strerror(errno));
  CHECK(bind(*receiver, (struct sockaddr *)&address, sizeof address) == 0, "%s: %s", host, strerror(errno));
  *sender = open_socket(from, home);
  CHECK(connect(*sender, (struct sockaddr *)&address, sizeof address) == 0, "%s", strerror(errno));
  close(home);
}

static uint64_t checksum_of(const struct datagram *datagram, size_t payload) {
  return checksum(&datagram->number, payload - sizeof datagram->checksum);
}

static void note(struct measurement *m, const struct datagram *datagram, size_t size, int64_t at_ns) {
  struct link_probe_result *result = &m->result;
  m->first_ns = result->received == 0 ? at_ns : m->first_ns;
  m->last_ns = at_ns;
  result->received++;
  if (size != m->payload || datagram->checksum != checksum_of(datagram, size)) {
    result->damaged++;
    return;
  }
  CHECK(datagram->number < m->probe->count, "a datagram of another measurement");
  if (m->arrivals[datagram->number]++ > 0) {
    result->duplicates++;
    return;
  }
  m->delays_ns[result->distinct++] = at_ns - datagram->sent_ns;
  if (datagram->number + 1 < m->highest)
    result->overtaken++;
  else
    m->highest = datagram->number + 1;
}

/* Before the receiver's address is known, few datagrams may wait for it. Shapes do not hold address
 * resolution up: it is over when this one arrives, or else in 20 ms. */
static void introduce(struct measurement *m) {
  struct pollfd ready = {.fd = m->receiver, .events = POLLIN};
  const char hello = 0;
  CHECK(send(m->sender, &hello, sizeof hello, 0) == sizeof hello, "%s", strerror(errno));
  poll(&ready, 1, 20);
}

/* All that has arrived by now. */
static bool receive(struct measurement *m) {
  bool any = false;
  for (;;) {
    struct datagram datagram;
    char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec into = {&datagram, sizeof datagram};
    struct msghdr message = {
        .msg_iov = &into, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    const ssize_t got = recvmsg(m->receiver, &message, MSG_DONTWAIT);
    if (got < 0)
      return any;
    const struct cmsghdr *stamp = CMSG_FIRSTHDR(&message);
    CHECK(stamp && stamp->cmsg_type == SCM_TIMESTAMPNS, "no stamp");
    struct timespec at;
    memcpy(&at, CMSG_DATA(stamp), sizeof at);
    if (got > 1) /* introductions do not count */
      note(m, &datagram, (size_t)got, at.tv_sec * NS_PER_S + at.tv_nsec);
    any = true;
  }
}

static void send_all(struct measurement *m) {
  struct datagram datagram = {.filling = "what is sent to be measured"};
  const int64_t begin_ns = time_monotonic_ns();
  for (size_t i = 0; i < m->probe->count; i++) {
    const int64_t at_ns = begin_ns + (int64_t)i * m->probe->every_ns;
    for (int64_t left_ns; (left_ns = at_ns - time_monotonic_ns()) > 0;) {
      struct pollfd ready = {.fd = m->receiver, .events = POLLIN};
      ppoll(&ready, 1, &(struct timespec){.tv_sec = left_ns / NS_PER_S, .tv_nsec = left_ns % NS_PER_S}, NULL);
      receive(m);
    }
    datagram.number = i;
    datagram.sent_ns = time_wall_ns();
    datagram.checksum = checksum_of(&datagram, m->payload);
    /* A refusal is the answer to an earlier one whose port was damaged. */
    if (send(m->sender, &datagram, m->payload, 0) < 0)
      CHECK(errno == ECONNREFUSED && send(m->sender, &datagram, m->payload, 0) > 0, "%s", strerror(errno));
    if (i % BATCH == 0)
      receive(m); /* an ordinary user's sockets hold few */
  }
}

static int by_value(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void conclude(struct measurement *m) {
  struct link_probe_result *result = &m->result;
  const size_t n = result->distinct;
  if (m->last_ns > m->first_ns)
    result->bytes_per_s = (double)(result->received - 1) * (double)(m->payload + LINK_PROBE_HEADERS) *
                          (double)NS_PER_S / (double)(m->last_ns - m->first_ns);
  if (n == 0)
    return;
  qsort(m->delays_ns, n, sizeof *m->delays_ns, by_value);
  result->delay_min_ns = m->delays_ns[0];
  result->delay_p10_ns = m->delays_ns[n / 10];
  result->delay_p50_ns = m->delays_ns[n / 2];
  result->delay_p90_ns = m->delays_ns[n * 9 / 10];
  result->delay_p99_ns = m->delays_ns[n * 99 / 100];
  result->delay_max_ns = m->delays_ns[n - 1];
}

struct link_probe_result link_probe_run(const struct link_probe *probe) {
  struct measurement m = {.probe = probe, .payload = probe->payload ? probe->payload : 64};
  const int64_t await_ns = probe->await_ns ? probe->await_ns : AWAIT_NS;
  CHECK(m.payload >= 24 && m.payload <= PAYLOAD_MAX, "%zu bytes", m.payload);
  m.arrivals = xcalloc(probe->count, sizeof *m.arrivals);
  m.delays_ns = xcalloc(probe->count, sizeof *m.delays_ns);
  open_ends(probe->from, probe->to, probe->to_host, &m.sender, &m.receiver);
  introduce(&m);
  send_all(&m);
  struct pollfd ready = {.fd = m.receiver, .events = POLLIN};
  while (poll(&ready, 1, (int)(await_ns / NS_PER_MS)) > 0)
    receive(&m);
  conclude(&m);
  close(m.sender);
  close(m.receiver);
  free(m.arrivals);
  free(m.delays_ns);
  return m.result;
}

/* ---- Round trips ---- */

static void echo(int fd) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) {
    char byte;
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    if (recvfrom(fd, &byte, 1, 0, (struct sockaddr *)&from, &size) != 1 ||
        sendto(fd, &byte, 1, 0, (struct sockaddr *)&from, size) != 1)
      _exit(1);
  }
}

int64_t link_probe_half_round_trip_ns(int from, int to, const char *to_host, size_t count) {
  int sender, receiver;
  open_ends(from, to, to_host, &sender, &receiver);
  const pid_t echoing = fork();
  if (echoing == 0)
    echo(receiver);
  int64_t *trips_ns = xcalloc(count, sizeof *trips_ns);
  for (size_t i = 0; i < count; i++) {
    char byte = 0;
    const int64_t begin_ns = time_monotonic_ns();
    CHECK(send(sender, &byte, 1, 0) == 1 && recv(sender, &byte, 1, 0) == 1, "%s", strerror(errno));
    trips_ns[i] = time_monotonic_ns() - begin_ns;
  }
  qsort(trips_ns, count, sizeof *trips_ns, by_value);
  const int64_t median_ns = trips_ns[count / 2];
  kill(echoing, SIGKILL);
  waitpid(echoing, NULL, 0);
  close(sender);
  close(receiver);
  free(trips_ns);
  return median_ns / 2;
}
