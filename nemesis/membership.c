/* membership.c: see membership.h.
 *
 *   look ──▶ next deed (roster.c) ──▶ do it ──▶ look …
 *
 * One question is out at a time. A deed whose answer was lost is not repeated blindly: it is looked first. */
#include "nemesis/membership.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "nemesis/fault.h"
#include "nemesis/roster.h"

#define TURN_MS 20

struct membership {
  struct cluster *cluster;
  struct roster roster;
  struct members_door door;
  bool has_door;
  uv_timer_t timer;
  int primary;
  struct members seen;
  bool asking, homeward;
  uint64_t wishes, asked_at; /* changes of what is wanted; how many there were when the question left */
  bool settled;
  struct roster_step doing; /* the deed whose answer is out */
  size_t changes;
  struct error waits; /* for what */
};

static void turn(struct membership *membership);

static void on_timer(uv_timer_t *timer) {
  turn(CONTAINER_OF(timer, struct membership, timer));
}

static void rest(struct membership *membership) {
  uv_timer_stop(&membership->timer);
}

/* Works on it until it is so. */
static void wake(struct membership *membership) {
  membership->wishes++;
  membership->settled = membership->homeward = false;
  error_set(&membership->waits, ERR_UNAVAILABLE, "no primary has answered yet");
  uv_timer_start(&membership->timer, on_timer, 0, TURN_MS);
}

struct membership *membership_new(struct cluster *cluster) {
  struct membership *membership = xcalloc(1, sizeof *membership);
  membership->cluster = cluster;
  membership->primary = -1;
  membership->roster.nodes = cluster->size;
  membership->roster.founders = cluster->founders;
  roster_home(&membership->roster);
  membership->seen.leader = -1;
  for (size_t i = 0; i < cluster->size; i++)
    membership->seen.seats[i] = membership->roster.wanted[i];
  membership->settled = true;
  uv_timer_init(cluster->loop, &membership->timer);
  return membership;
}

static void on_closed(uv_handle_t *handle) {
  free(CONTAINER_OF(handle, struct membership, timer));
}

void membership_free(struct membership *membership) {
  if (!membership)
    return;
  assert(!membership->asking); /* as struct members_door tells */
  uv_close((uv_handle_t *)&membership->timer, on_closed);
}

void membership_set_door(struct membership *membership, const struct members_door *door) {
  membership->has_door = door != NULL;
  if (door)
    membership->door = *door;
  else
    rest(membership);
}

bool membership_has_door(const struct membership *membership) {
  return membership->has_door;
}

void membership_note_primary(struct membership *membership, int primary) {
  membership->primary = primary;
}

/* ---- What is wanted ---- */

void membership_want(struct membership *membership, size_t node, enum seat seat) {
  membership->roster.wanted[node] = seat;
  wake(membership);
}

void membership_let_stop(struct membership *membership, size_t node) {
  membership->roster.stops[node] = true;
  wake(membership);
}

void membership_lay_bare(struct membership *membership, size_t node) {
  assert(membership->cluster->nodes[node].pid < 0);
  membership->roster.bare[node] = true;
  membership->cluster->nodes[node].off = true;
  wake(membership);
}

void membership_want_leader(struct membership *membership, int node) {
  membership->roster.leader = node;
  wake(membership);
}

void membership_go_home(struct membership *membership) {
  if (membership->homeward)
    return;
  roster_home(&membership->roster);
  wake(membership);
  membership->homeward = true;
}

bool membership_is_going_home(const struct membership *membership) {
  return membership->homeward;
}

int membership_await(struct membership *membership, struct error *error) {
  if (membership->settled)
    return 0;
  if (error)
    *error = membership->waits;
  return GOES_ON;
}

bool membership_was_used(const struct membership *membership) {
  return membership->wishes > 0;
}

enum seat membership_seat(const struct membership *membership, size_t node) {
  return membership->seen.seats[node];
}

size_t membership_changes(const struct membership *membership) {
  return membership->changes;
}

/* ---- Deeds ---- */

static const char *name_of(const struct membership *membership, size_t node) {
  return cluster_node_name(membership->cluster, node);
}

static void wait_for(struct membership *membership, const char *what, const char *why) {
  error_set(&membership->waits, ERR_UNAVAILABLE, "%s: %s", what, why);
}

static void start_node(struct membership *membership, size_t index) {
  struct cluster_node *node = &membership->cluster->nodes[index];
  struct error error = {0};
  int status = membership->roster.bare[index] ? cluster_wipe(membership->cluster, index, &error) : 0;
  if (status == 0) {
    membership->roster.bare[index] = false;
    node->off = false;
    node->joins = node->joins || index >= membership->cluster->founders;
    if (node->state == NODE_STOPPED || node->state == NODE_DIED)
      status = cluster_start(membership->cluster, index, &error);
  }
  node->off = status != 0;
  if (status != 0)
    wait_for(membership, "a node cannot be started", error.message);
}

static void stop_node(struct membership *membership, size_t index) {
  struct cluster_node *node = &membership->cluster->nodes[index];
  struct error error = {0};
  node->off = true;
  if ((node->state == NODE_RUNNING || node->state == NODE_PAUSED) &&
      cluster_stop(membership->cluster, index, &error) != 0)
    log_warn("%s", error.message);
}

static const char *const deed_names[] = {"",        "wait",   "start",  "stop", "add",
                                         "promote", "demote", "remove", "elect"};

static void on_done(void *context, const struct members_answer *answer) {
  struct membership *membership = context;
  const struct roster_step done = membership->doing;
  membership->asking = false;
  if (answer->done) {
    membership->changes++;
    log_info("%s %s: done", deed_names[done.deed], name_of(membership, done.node));
    if (done.deed == DEED_ELECT && membership->roster.leader == (int)done.node)
      membership->roster.leader = -1;
  } else {
    char what[48];
    snprintf(what, sizeof what, "%s %s", deed_names[done.deed], name_of(membership, done.node));
    wait_for(membership, what, answer->message);
    log_info("%s", membership->waits.message);
  }
}

static void ask(struct membership *membership, size_t asked, const struct members_request *request,
                members_callback *callback) {
  membership->asking = true;
  membership->door.ask(membership->door.context, asked, request, callback, membership);
}

bool membership_ask_to_demote(struct membership *membership, size_t asked, size_t voter) {
  if (membership->asking || !membership->has_door)
    return false;
  wake(membership);
  membership->doing = (struct roster_step){.deed = DEED_DEMOTE, .node = voter};
  ask(membership, asked, &(struct members_request){.verb = MEMBERS_DEMOTE, .node = voter}, on_done);
  return true;
}

static void ask_for(struct membership *membership, struct roster_step step) {
  static const enum members_verb verbs[] = {[DEED_ADD] = MEMBERS_ADD,
                                            [DEED_PROMOTE] = MEMBERS_PROMOTE,
                                            [DEED_DEMOTE] = MEMBERS_DEMOTE,
                                            [DEED_REMOVE] = MEMBERS_REMOVE,
                                            [DEED_ELECT] = MEMBERS_ELECT};
  const struct cluster_node *node = &membership->cluster->nodes[step.node];
  char address[ADDRESS_SIZE + 16];
  snprintf(address, sizeof address, "%s:%d:%d", node->host, node->peer_port, node->client_port);
  membership->doing = step;
  ask(membership, (size_t)membership->primary,
      &(struct members_request){.verb = verbs[step.deed], .node = step.node, .address = address}, on_done);
}

static void carry_out(struct membership *membership, struct roster_step step) {
  switch (step.deed) {
  case DEED_NONE:
    membership->settled = membership->asked_at == membership->wishes;
    if (membership->settled)
      rest(membership);
    return;
  case DEED_WAIT:
    error_set(&membership->waits, ERR_UNAVAILABLE, "%s", step.why);
    return;
  case DEED_START:
    start_node(membership, step.node);
    return;
  case DEED_STOP:
    stop_node(membership, step.node);
    return;
  default:
    if (membership->has_door)
      ask_for(membership, step);
  }
}

static struct roster_nodes nodes_now(const struct membership *membership) {
  struct roster_nodes nodes = {0};
  for (size_t i = 0; i < membership->cluster->size; i++) {
    nodes.runs[i] = membership->cluster->nodes[i].state == NODE_RUNNING;
    nodes.off[i] = membership->cluster->nodes[i].off;
  }
  return nodes;
}

static void on_seen(void *context, const struct members_answer *answer) {
  struct membership *membership = context;
  membership->asking = false;
  if (!answer->done) {
    wait_for(membership, "the primary does not tell its members", answer->message);
    return;
  }
  if (answer->members.leader != membership->primary) {
    error_set(&membership->waits, ERR_UNAVAILABLE, "nobody is known to be primary");
    return;
  }
  membership->seen = answer->members;
  const struct roster_nodes nodes = nodes_now(membership);
  carry_out(membership, roster_next(&membership->roster, &membership->seen, &nodes));
}

static void turn(struct membership *membership) {
  if (membership->asking || !membership->has_door)
    return;
  if (membership->primary < 0) {
    error_set(&membership->waits, ERR_UNAVAILABLE, "nobody is known to be primary");
    return;
  }
  membership->asked_at = membership->wishes;
  ask(membership, (size_t)membership->primary, &(struct members_request){.verb = MEMBERS_LOOK}, on_seen);
}
