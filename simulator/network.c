/* network.c: frames between nodes, and messages between clients and nodes.
 *
 * A link leads from one node to another. What it does to a frame follows from one draw of the link's own
 * stream. A frame that is under way when its link is cut is lost, even if the link is up again before it
 * would have come; so is one that a machine sent, or was sent, before it was wiped. */
#include <assert.h>
#include <stdlib.h>

#include "simulator/world_internal.h"

#define SLOW_MOST 100 /* times as long as others: a slow frame, at most */

static void note(struct sim_world *world, const char *kind, size_t node, size_t peer, uint64_t frame,
                 const char *text, size_t size) {
  if (sim_traced(world))
    sim_tell(world, kind, (int)node, (int)peer, frame, "%s%s%zu bytes", text, *text ? ", " : "", size);
}

static void note_send(struct sim_world *world, size_t node, size_t peer, uint64_t frame, const void *data,
                      size_t size) {
  char text[200] = "";
  if (sim_traced(world) && world->options.frame_print)
    world->options.frame_print(data, size, text, sizeof text);
  note(world, "send", node, peer, frame, text, size);
}

/* -- frames --------------------------------------------------------------------------------------------- */

struct frame {
  struct event event; /* of the receiving node */
  struct node *from;
  uint64_t number, cuts, machine_from, machine_to;
  size_t size;
  unsigned char data[];
};

static struct link *link_of(const struct frame *frame) {
  const struct node *to = frame->event.node;
  return &to->sim->links[frame->from->number][to->number];
}

static const char *why_lost(const struct frame *frame, bool happens) {
  const struct node *to = frame->event.node;
  const struct link *link = link_of(frame);
  if (!happens)
    return "the node is down";
  if (!link->up || link->cuts != frame->cuts)
    return "the link was cut";
  if (frame->machine_from != frame->from->machine || frame->machine_to != to->machine)
    return "the machine was replaced";
  return to->received ? NULL : "nobody receives";
}

static void deliver(struct event *event, bool happens) {
  struct frame *frame = CONTAINER_OF(event, struct frame, event);
  struct node *to = event->node;
  struct sim_world *world = to->sim;
  if (frame->from->clogged && happens) {
    list_append(&frame->from->held, event);
    return;
  }
  const char *lost = why_lost(frame, happens);
  if (lost) {
    note(world, "drop", to->number, frame->from->number, frame->number, lost, frame->size);
  } else {
    note(world, "deliver", to->number, frame->from->number, frame->number, "", frame->size);
    to->received(to->receiver, frame->from->number + 1, frame->data, frame->size);
  }
  pool_give(&world->pool, frame, sizeof *frame + frame->size);
}

static int64_t draw_delay(const struct weather *weather, uint64_t *draw) {
  const int64_t delay = weather->delay_ns + draw_up_to(draw, weather->jitter_ns);
  const bool slow = draw_chance(draw, weather->slow_frame);
  const int64_t times = 1 + draw_up_to(draw, SLOW_MOST - 1);
  return slow ? delay * times : delay;
}

static struct frame *new_frame(struct node *from, struct node *to, const struct link *link, size_t size) {
  struct frame *frame = pool_take(&from->sim->pool, sizeof *frame + size);
  frame->event = (struct event){.kind = EVENT_FRAME, .run = deliver, .node = to};
  frame->from = from;
  frame->number = ++from->sim->frames;
  frame->cuts = link->cuts;
  frame->machine_from = from->machine;
  frame->machine_to = to->machine;
  frame->size = size;
  return frame;
}

static void send_frame(void *context, uint64_t peer, const struct iovec *vectors, size_t vector_count) {
  struct node *node = context;
  struct sim_world *world = node->sim;
  assert(peer >= 1 && peer <= world->node_count && peer != node->number + 1);
  if (!node->alive)
    return;
  struct node *to = &world->nodes[peer - 1];
  struct link *link = &world->links[node->number][to->number];
  const struct weather *weather = &world->options.weather;
  size_t size = 0;
  for (size_t i = 0; i < vector_count; i++)
    size += vectors[i].iov_len;
  struct frame *frame = new_frame(node, to, link, size);
  unsigned char *at = frame->data;
  for (size_t i = 0; i < vector_count; i++) {
    if (vectors[i].iov_len > 0)
      memcpy(at, vectors[i].iov_base, vectors[i].iov_len);
    at += vectors[i].iov_len;
  }
  sim_fold(world, checksum(frame->data, size));
  note_send(world, node->number, to->number, frame->number, frame->data, size);
  uint64_t draw = random_next(&link->random);
  const bool lost = draw_chance(&draw, weather->loss), twice = draw_chance(&draw, weather->duplication);
  if (!link->up || lost) {
    note(world, "drop", to->number, node->number, frame->number, lost ? "lost" : "the link is cut", size);
    pool_give(&world->pool, frame, sizeof *frame + size);
    return;
  }
  sim_schedule(world, &frame->event, world->now_ns + draw_delay(weather, &draw));
  if (twice) {
    struct frame *copy = new_frame(node, to, link, size);
    memcpy(copy->data, frame->data, size);
    copy->number = frame->number;
    sim_schedule(world, &copy->event, world->now_ns + draw_delay(weather, &draw));
  }
}

/* Everybody can be reached by number. */
static void meet(void *context, uint64_t peer, const char *address) {
  (void)context;
  (void)peer;
  (void)address;
}

static bool peer_ready(void *context, uint64_t peer) {
  const struct node *node = context;
  return node->sim->links[node->number][peer - 1].up;
}

static void receive(void *context,
                    void (*received)(void *owner, uint64_t peer, const void *frame, size_t size),
                    void *owner) {
  struct node *node = context;
  node->received = received;
  node->receiver = owner;
}

void sim_network_functions(struct world *door) {
  door->send = send_frame;
  door->meet = meet;
  door->peer_ready = peer_ready;
  door->receive = receive;
}

void sim_network_open(struct sim_world *world) {
  for (size_t from = 0; from < world->node_count; from++) {
    struct node *node = &world->nodes[from];
    node->clients.up = true;
    sim_stream(world, "clients", from, &node->clients.random);
    for (size_t to = 0; to < world->node_count; to++) {
      world->links[from][to].up = true;
      sim_stream(world, "link", from * NODES_MAX + to, &world->links[from][to].random);
    }
  }
}

void sim_link(struct sim_world *world, size_t from, size_t to, bool up) {
  struct link *link = &world->links[from][to];
  if (link->up && !up)
    link->cuts++;
  link->up = up;
}

void sim_clog(struct sim_world *world, size_t from, bool clogged) {
  struct node *node = &world->nodes[from];
  node->clogged = clogged;
  if (!clogged)
    list_move(&node->held, &world->ready);
}

void sim_set_weather(struct sim_world *world, const struct weather *weather) {
  for (size_t i = 0; i < world->node_count; i++)
    if (weather->clock_drift[i] != world->options.weather.clock_drift[i])
      sim_drift_clock(world, i, weather->clock_drift[i]);
  world->options.weather = *weather;
}

const struct weather *sim_weather(const struct sim_world *world) {
  return &world->options.weather;
}

/* -- clients -------------------------------------------------------------------------------------------- */

struct message {
  struct event event; /* of the node, when it goes there */
  struct node *node;
  uint64_t cuts;
  void (*run)(void *owner, bool happens);
  void *owner;
};

static void arrive(struct event *event, bool happens) {
  struct message *message = CONTAINER_OF(event, struct message, event);
  struct node *node = message->node;
  const bool arrives = happens && node->clients.up && node->clients.cuts == message->cuts;
  void (*run)(void *owner, bool arrived) = message->run;
  void *owner = message->owner;
  pool_give(&node->sim->pool, message, sizeof *message);
  run(owner, arrives);
}

void sim_client_link(struct sim_world *world, size_t node, bool up) {
  struct client_link *link = &world->nodes[node].clients;
  if (link->up && !up)
    link->cuts++;
  link->up = up;
}

void sim_client_message(struct sim_world *world, size_t client, size_t number, bool to_node,
                        void (*run)(void *owner, bool happens), void *owner) {
  assert(client < CLIENTS_MAX);
  struct node *node = &world->nodes[number];
  struct client_link *link = &node->clients;
  struct message *message = pool_take(&world->pool, sizeof *message);
  *message = (struct message){.event = {.kind = EVENT_MESSAGE, .run = arrive},
                              .node = node,
                              .cuts = link->up ? link->cuts : link->cuts - 1,
                              .run = run,
                              .owner = owner};
  if (to_node) {
    message->event.node = node;
    message->event.life = node->alive ? node->life : UINT64_MAX;
  }
  uint64_t draw = random_next(&link->random);
  int64_t at_ns = world->now_ns + draw_delay(&world->options.weather, &draw);
  int64_t *last_ns = &link->last_ns[client][to_node];
  if (at_ns < *last_ns)
    at_ns = *last_ns;
  *last_ns = at_ns;
  sim_schedule(world, &message->event, at_ns);
}
