/* switch_loop.c: see switch_loop.h.
 *
 * One thread, one epoll. A frame that meets no shape costs a read and a write; ports take turns, a batch of
 * frames each, so that neither a flood on one port nor the frames that wait for their time are late by more
 * than a batch takes, some 0.1 ms. */
#include "nemesis/link/switch_loop.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "nemesis/link/departures.h"
#include "nemesis/link/shaper.h"

#define BATCH_FRAMES 32
#define WAITING_FRAMES_MAX 32768 /* on all links together: 64 MiB when all of them are used */
#define FLUSH_AFTER_NS NS_PER_S
#define CONTROL_EVENT UINT32_MAX
#define NO_PORT SIZE_MAX

struct loop {
  const struct switch_setup *setup;
  size_t ports;
  int epoll;
  size_t port_by_last_byte[256]; /* of the MAC */
  bool shaping;
  struct link_shape shape;
  bool shaped[SWITCH_LINKS_MAX];
  struct shaper shapers[SWITCH_LINKS_MAX];
  struct departures *departures; /* tagged with the link */
  int64_t flushed_ns;            /* the record of the traffic */
  uint64_t forwarded, refused, stray;
};

/* ---- Frames ---- */

static void deliver(struct loop *loop, size_t port, const void *frame, size_t size) {
  if (write(loop->setup->ports[port].cable, frame, size) != (ssize_t)size)
    loop->refused++;
  loop->forwarded++;
  if (loop->setup->pcap)
    pcap_write(loop->setup->pcap, time_monotonic_ns(), frame, size);
}

static void flip(unsigned char *frame, int32_t bit) {
  frame[bit / 8] ^= (unsigned char)(0x80 >> bit % 8);
}

static void meet_shape(struct loop *loop, size_t link, unsigned char *frame, size_t size) {
  struct shaper *shaper = &loop->shapers[link];
  const int64_t now_ns = time_monotonic_ns();
  const struct shaper_verdict verdict = shaper_decide(shaper, &loop->shape, now_ns, size);
  for (size_t i = 0; i < verdict.count; i++) {
    const struct shaper_copy *copy = &verdict.copies[i];
    unsigned char *leaving = frame;
    if (copy->departs_ns > now_ns) {
      leaving = departures_add(loop->departures, copy->departs_ns, (uint32_t)link, frame, size);
      if (!leaving) {
        shaper_departed(shaper);
        shaper->counters.overflowed++;
        continue;
      }
    }
    if (copy->flipped_bit != NO_BIT)
      flip(leaving, copy->flipped_bit);
    if (leaving != frame)
      continue;
    deliver(loop, link / loop->setup->nodes, frame, size);
    if (copy->flipped_bit != NO_BIT)
      flip(frame, copy->flipped_bit); /* the other copy is sound */
  }
}

static bool is_ipv4(const unsigned char *frame) {
  return frame[12] == 0x08 && frame[13] == 0x00;
}

/* As netem's filters do here, shapes leave alone what is not IPv4: address resolution. */
static void forward(struct loop *loop, size_t from, unsigned char *frame, size_t size) {
  const size_t nodes = loop->setup->nodes;
  if (frame[0] & 1) { /* broadcast, multicast */
    for (size_t port = 0; port < loop->ports; port++)
      if (port != from)
        deliver(loop, port, frame, size);
    return;
  }
  const size_t to = loop->port_by_last_byte[frame[5]];
  if (to == NO_PORT || to == from || memcmp(loop->setup->ports[to].mac, frame, MAC_BYTES) != 0)
    loop->stray++;
  else if (loop->shaping && from < nodes && to < nodes && loop->shaped[to * nodes + from] && is_ipv4(frame))
    meet_shape(loop, to * nodes + from, frame, size);
  else
    deliver(loop, to, frame, size);
}

static void forward_batch(struct loop *loop, size_t port) {
  unsigned char frame[FRAME_BYTES_MAX];
  for (int i = 0; i < BATCH_FRAMES; i++) {
    const ssize_t size = read(loop->setup->ports[port].cable, frame, sizeof frame);
    if (size < ETHERNET_HEADER_BYTES)
      return;
    forward(loop, port, frame, (size_t)size);
  }
}

static void deliver_due(struct loop *loop, int64_t now_ns) {
  for (const struct departure *due; (due = departures_take(loop->departures, now_ns));) {
    shaper_departed(&loop->shapers[due->tag]);
    deliver(loop, due->tag / loop->setup->nodes, due->frame, due->size);
  }
}

static void deliver_due_now(struct loop *loop) {
  if (departures_count(loop->departures) > 0)
    deliver_due(loop, time_monotonic_ns());
}

/* ---- Commands ---- */

/* Frames that wait under the shape before keep their times: a link does not forget what is under way. */
static void change_shape(struct loop *loop, const struct switch_command *command) {
  const size_t links = loop->setup->nodes * loop->setup->nodes;
  const bool shaping = !link_shape_is_plain(&command->shape);
  if (shaping && !loop->shaping)
    for (size_t i = 0; i < links; i++)
      loop->shapers[i].counters = (struct link_counters){0};
  if (!shaping)
    deliver_due(loop, INT64_MAX);
  loop->shaping = shaping;
  loop->shape = command->shape;
  memcpy(loop->shaped, command->shaped, links * sizeof *loop->shaped);
}

static void answer(struct loop *loop, const struct switch_command *command) {
  struct switch_report report = {.answers = command->number,
                                 .forwarded = loop->forwarded,
                                 .refused = loop->refused,
                                 .stray = loop->stray,
                                 .waiting = departures_count(loop->departures)};
  for (size_t i = 0; i < loop->setup->nodes * loop->setup->nodes; i++) {
    report.links[i] = loop->shapers[i].counters;
    report.shaped += loop->shaping && loop->shaped[i];
  }
  if (send(loop->setup->control, &report, sizeof report, MSG_NOSIGNAL) != (ssize_t)sizeof report)
    log_warn("the switch cannot answer: %s", strerror(errno));
}

/* False when the owner is gone. */
static bool obey(struct loop *loop) {
  struct switch_command command;
  const ssize_t got = recv(loop->setup->control, &command, sizeof command, 0);
  if (got != (ssize_t)sizeof command)
    return got < 0 && errno == EINTR;
  if (command.what == SWITCH_SHAPE)
    change_shape(loop, &command);
  answer(loop, &command);
  return true;
}

/* ---- The loop ---- */

static void watch(struct loop *loop, int fd, uint32_t what) {
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = what};
  const int status = epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event);
  assert(status == 0);
}

/* How long there is nothing to do unless a frame comes; false: for ever. */
static bool quiet_for(struct loop *loop, struct timespec *quiet) {
  const int64_t now_ns = time_monotonic_ns();
  int64_t until_ns = departures_next_ns(loop->departures);
  if (loop->setup->pcap && loop->flushed_ns + FLUSH_AFTER_NS <= now_ns) {
    pcap_flush(loop->setup->pcap);
    loop->flushed_ns = now_ns;
  }
  if (loop->setup->pcap && until_ns > loop->flushed_ns + FLUSH_AFTER_NS)
    until_ns = loop->flushed_ns + FLUSH_AFTER_NS;
  if (until_ns == INT64_MAX)
    return false;
  const int64_t quiet_ns = until_ns > now_ns ? until_ns - now_ns : 0;
  *quiet = (struct timespec){.tv_sec = quiet_ns / NS_PER_S, .tv_nsec = quiet_ns % NS_PER_S};
  return true;
}

static void loop_open(struct loop *loop, const struct switch_setup *setup) {
  *loop = (struct loop){.setup = setup, .ports = setup->nodes + 1};
  loop->epoll = epoll_create1(EPOLL_CLOEXEC);
  loop->departures = departures_new(WAITING_FRAMES_MAX);
  assert(loop->epoll >= 0 && loop->departures);
  for (size_t i = 0; i < ARRAY_SIZE(loop->port_by_last_byte); i++)
    loop->port_by_last_byte[i] = NO_PORT;
  for (size_t i = 0; i < loop->ports; i++) {
    loop->port_by_last_byte[setup->ports[i].mac[MAC_BYTES - 1]] = i;
    watch(loop, setup->ports[i].cable, (uint32_t)i);
  }
  for (size_t i = 0; i < setup->nodes * setup->nodes; i++)
    shaper_init(&loop->shapers[i], setup->seed, i);
  watch(loop, setup->control, CONTROL_EVENT);
}

void switch_run(const struct switch_setup *setup) {
  struct loop loop;
  prctl(PR_SET_TIMERSLACK, 1); /* frames leave when it is their time, not when it is convenient */
  loop_open(&loop, setup);
  for (bool owned = true; owned;) {
    struct epoll_event events[CLUSTER_NODES_MAX + 2];
    struct timespec quiet;
    deliver_due_now(&loop);
    const bool bounded = quiet_for(&loop, &quiet);
    const int count = epoll_pwait2(loop.epoll, events, ARRAY_SIZE(events), bounded ? &quiet : NULL, NULL);
    assert(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; i++) {
      if (events[i].data.u32 == CONTROL_EVENT)
        owned = obey(&loop);
      else
        forward_batch(&loop, events[i].data.u32);
      deliver_due_now(&loop);
    }
  }
  pcap_close(setup->pcap);
  departures_free(loop.departures);
  close(loop.epoll);
}
