/* confirm.c: read index (dissertation, §6.4) by asking the peers for their term.
 *
 * The claim. Node L leads in term T. A round begins; then a majority, L included, answers that its term is at
 * most T. Then, when the round began, no leader of a term above T had committed anything, so L's commit index
 * at that moment covers every entry committed anywhere before, and every write acknowledged before.
 *
 * Why. Suppose a leader of term T' > T had committed an entry before the round began. It had been elected
 * before that by a majority, each of which was in term T' or above when it voted, and had that term durable
 * before its vote left. The two majorities share a node. Terms never go down, not over restarts either, since
 * what was acted upon was durable. That node's answer was made after the round began, hence names a term >=
 * T' > T: contradiction. Entries committed in terms below T are in L's log (leader completeness); L knows
 * them to be committed once it has committed an entry of its own term, or when it has no uncommitted entry at
 * all. Entries of term T only L commits.
 *
 * So a reply carries the peer's current term, durable or not: a term in memory is never below one that was
 * acted upon, and a higher one only refuses. Nothing is written for a read. A reply says nothing of the
 * future, which is why the round must begin after the call; and L must still lead in T when the answers are
 * in, which it does until a role change fails the calls.
 *
 * The own entry: the state machine's first append of a term, or raft's no-op, commits it. Calls wait for that
 * here (`ready`); a leader that came to power with nothing uncommitted is ready at once. */
#include "master/raft/driver.h"

#include <stdlib.h>

/* A call that comes while this many rounds are on their way joins the next one. */
#define ROUNDS_IN_FLIGHT 2

static struct confirm_call *call_at(const struct confirm_queue *queue, size_t position) {
  return &queue->calls[(queue->first + position) & (queue->capacity - 1)];
}

static void push_call(struct confirm_queue *queue, struct confirm_call call) {
  if (queue->count == queue->capacity) {
    const size_t capacity = queue->capacity ? queue->capacity * 2 : 64;
    struct confirm_call *calls = xmalloc(capacity * sizeof *calls);
    for (size_t i = 0; i < queue->count; i++)
      calls[i] = *call_at(queue, i);
    free(queue->calls);
    queue->calls = calls;
    queue->first = 0;
    queue->capacity = capacity;
  }
  queue->count++;
  *call_at(queue, queue->count - 1) = call;
}

static struct confirm_call pop_call(struct confirm_queue *queue) {
  assert(queue->count > 0);
  const struct confirm_call call = *call_at(queue, 0);
  queue->first = (queue->first + 1) & (queue->capacity - 1);
  queue->count--;
  return call;
}

void driver_confirm(struct driver *driver, void (*done)(void *context, int status, uint64_t read_index),
                    void *context) {
  push_call(&driver->calls, (struct confirm_call){.done = done, .context = context});
  driver_wake(driver);
}

void driver_fail_confirms(struct driver *driver) {
  /* Callbacks may ask again; those calls wait for the next turn. */
  for (size_t count = driver->calls.count; count > 0; count--) {
    const struct confirm_call call = pop_call(&driver->calls);
    call.done(call.context, ERR_NOT_PRIMARY, 0);
  }
}

/* The latest round that a majority of the voters, this node included, has answered. */
static uint64_t majority_round(const struct driver *driver) {
  const struct raft_configuration *configuration = &driver->raft.configuration;
  uint64_t best = 0;
  /* The answer is one of the peers' rounds, or ours when we are alone. */
  for (size_t candidate = 0; candidate <= driver->peer_count; candidate++) {
    const uint64_t round =
        candidate < driver->peer_count ? driver->peers[candidate]->confirmed_round : driver->round;
    unsigned voters = 0, votes = 0;
    for (unsigned i = 0; i < configuration->n; i++) {
      if (configuration->servers[i].role != RAFT_VOTER)
        continue;
      voters++;
      const uint64_t id = configuration->servers[i].id;
      const struct driver_peer *peer = driver_peer((struct driver *)(uintptr_t)driver, id);
      votes += id == driver->options.id || (peer && peer->confirmed_round >= round);
    }
    if (2 * votes > voters && round > best)
      best = round;
  }
  return best;
}

static void finish_rounds(struct driver *driver) {
  const uint64_t round = majority_round(driver);
  while (driver->calls.count > 0 && driver_leads(driver)) {
    const struct confirm_call *next = call_at(&driver->calls, 0);
    if (next->round == 0 || next->round > round)
      break;
    const struct confirm_call call = pop_call(&driver->calls);
    call.done(call.context, 0, call.read_index);
  }
}

static void send_query(struct driver *driver) {
  const struct wire_message message = {
      .type = WIRE_TERM_QUERY, .query = {.round = driver->round, .term = raft_current_term(&driver->raft)}};
  for (size_t i = 0; i < driver->peer_count; i++)
    if (driver->peers[i]->voter && driver->peers[i]->confirmed_round < driver->round)
      driver_send(driver, driver->peers[i]->id, &message);
  driver->world->timer_set(driver->confirm_retry,
                           driver_now_ns(driver) + (int64_t)driver->options.heartbeat_ms * 1000000);
}

void driver_begin_round(struct driver *driver) {
  struct confirm_queue *queue = &driver->calls;
  if (queue->count == 0)
    return;
  if (!driver_leads(driver)) {
    driver_fail_confirms(driver);
    return;
  }
  const uint64_t commit = raft_commit_index(&driver->raft);
  const bool ready = commit >= driver->inherited_index;
  const bool waiting = call_at(queue, queue->count - 1)->round == 0;
  const uint64_t oldest = call_at(queue, 0)->round;
  if (!ready || !waiting || (oldest > 0 && driver->round - oldest + 1 >= ROUNDS_IN_FLIGHT))
    return;
  driver->round++;
  for (size_t i = queue->count; i-- > 0 && call_at(queue, i)->round == 0;) {
    call_at(queue, i)->round = driver->round;
    call_at(queue, i)->read_index = commit;
  }
  send_query(driver);
  finish_rounds(driver);
}

/* Whose answer was missing may be a voter no more. */
void driver_retry_confirm(void *owner) {
  struct driver *driver = owner;
  if (driver_leads(driver))
    finish_rounds(driver);
  if (driver_leads(driver) && driver->calls.count > 0 && call_at(&driver->calls, 0)->round > 0)
    send_query(driver);
}

void driver_answer_query(struct driver *driver, uint64_t peer, const struct wire_query *query) {
  const struct wire_message reply = {
      .type = WIRE_TERM_REPLY, .query = {.round = query->round, .term = raft_current_term(&driver->raft)}};
  driver_send(driver, peer, &reply);
}

void driver_take_reply(struct driver *driver, uint64_t peer, const struct wire_query *query) {
  struct driver_peer *from = driver_peer(driver, peer);
  /* Rounds are never numbered twice by one process, and a restarted one begins elsewhere. */
  if (!driver_leads(driver) || !from || query->round > driver->round ||
      query->term > raft_current_term(&driver->raft))
    return;
  if (query->round > from->confirmed_round)
    from->confirmed_round = query->round;
  finish_rounds(driver);
  driver_wake(driver);
}
