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
 * here (`ready`); a leader that came to power with nothing uncommitted is ready at once.
 *
 *   follower ── READ_QUERY round, term ──▶ leader ── a round of its own, if need be ──▶ majority
 *      ▲                                      │
 *      └───── READ_REPLY round, index ◀───────┘
 *
 * A follower has its leader do that for it: what L confirms after the query arrived covers all that was
 * committed before the query was sent, hence before the calls. The query is also the follower's own answer:
 * it names its term, and was made after the calls. So L asks nobody else where the two of them are a
 * majority, in clusters of up to three voters. Rounds are numbered like a leader's, never twice by one
 * process and elsewhere after a restart, and the reply names the round: what answers an earlier query, or an
 * earlier process, answers none of those that wait. The calls fail when the leader or the term changes, or
 * when nothing has come for an election time-out. */
#include "master/raft/driver.h"

#include <stdlib.h>

#include "master/bugs.h"

/* A call that comes while this many rounds are on their way joins the next one. */
#define ROUNDS_IN_FLIGHT 2
/* Queries of one follower that wait for a confirmation here; more are dropped, and asked again. */
#define READ_QUERIES_MAX 8

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

/* Whether calls wait that may begin a round. */
static bool wants_round(const struct driver *driver) {
  const struct confirm_queue *queue = &driver->calls;
  const bool waiting = call_at(queue, queue->count - 1)->round == 0;
  const uint64_t oldest = call_at(queue, 0)->round;
  return waiting && (oldest == 0 || driver->round - oldest + 1 < ROUNDS_IN_FLIGHT);
}

/* The calls that wait are those of a new round. */
static void number_calls(struct driver *driver, uint64_t read_index) {
  struct confirm_queue *queue = &driver->calls;
  const int64_t now_ns = driver_now_ns(driver);
  driver->round++;
  for (size_t i = queue->count; i-- > 0 && call_at(queue, i)->round == 0;) {
    call_at(queue, i)->round = driver->round;
    call_at(queue, i)->read_index = read_index;
    call_at(queue, i)->begun_ns = now_ns;
  }
}

static bool is_ready(const struct driver *driver) {
  return raft_commit_index(&driver->raft) >= driver->inherited_index;
}

static void ask_leader(struct driver *driver);

void driver_begin_round(struct driver *driver) {
  if (driver->calls.count == 0)
    return;
  if (!driver_leads(driver)) {
    ask_leader(driver);
    return;
  }
  if (!is_ready(driver) || !wants_round(driver))
    return;
  number_calls(driver, raft_commit_index(&driver->raft));
  send_query(driver);
  finish_rounds(driver);
}

static void retry_leader(struct driver *driver);

/* Whose answer was missing may be a voter no more. */
void driver_retry_confirm(void *owner) {
  struct driver *driver = owner;
  if (!driver_leads(driver)) {
    retry_leader(driver);
    return;
  }
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

/* -- a follower asks --------------------------------------------------------------------------------------
 */

static void end_first_call(struct driver *driver, int status, uint64_t read_index) {
  const struct confirm_call call = pop_call(&driver->calls);
  call.done(call.context, status, read_index);
}

static void send_read_query(struct driver *driver) {
  const struct wire_message message = {.type = WIRE_READ_QUERY,
                                       .read = {.round = driver->round, .term = driver->role_term}};
  driver_send(driver, driver->role_leader, &message);
  driver->world->timer_set(driver->confirm_retry,
                           driver_now_ns(driver) + (int64_t)driver->options.heartbeat_ms * NS_PER_MS);
}

static void ask_leader(struct driver *driver) {
  if (driver->role_leader == 0 || !driver_peer(driver, driver->role_leader)) {
    driver_fail_confirms(driver);
    return;
  }
  if (!wants_round(driver))
    return;
  number_calls(driver, 0);
  send_read_query(driver);
}

/* Asks again, for the latest round: its reply serves the earlier ones too. */
static void retry_leader(struct driver *driver) {
  const int64_t timeout_ns = (int64_t)driver->options.election_timeout_ms * NS_PER_MS;
  struct confirm_queue *queue = &driver->calls;
  if (driver->state != DRIVER_RUNNING)
    return;
  while (queue->count > 0 && call_at(queue, 0)->round > 0 &&
         driver_now_ns(driver) - call_at(queue, 0)->begun_ns >= timeout_ns)
    end_first_call(driver, ERR_NOT_PRIMARY, 0);
  if (queue->count > 0 && call_at(queue, 0)->round > 0)
    send_read_query(driver);
  driver_wake(driver);
}

/* The leader has committed the entry at the read index, so where our log has that entry, all up to it is
 * committed (log matching). The next heartbeat would say so, up to its interval later: raft is given one that
 * ends there, and what it answers, nobody asked for. */
static void learn_commit(struct driver *driver, const struct driver_peer *leader,
                         const struct wire_read *reply) {
  if (reply->index <= raft_commit_index(&driver->raft) || reply->index > wal_last_index(driver->wal) ||
      reply->index_term == 0 || wal_term_at(driver->wal, reply->index) != reply->index_term)
    return;
  struct raft_message message = {
      .type = RAFT_APPEND_ENTRIES, .server_id = leader->id, .server_address = leader->address};
  message.append_entries = (struct raft_append_entries){.term = reply->term,
                                                        .prev_log_index = reply->index,
                                                        .prev_log_term = reply->index_term,
                                                        .leader_commit = reply->index};
  driver->answers_withheld = true;
  driver_step(driver, &(struct raft_event){.type = RAFT_RECEIVE, .receive.message = &message}, NULL);
  driver->answers_withheld = false;
}

void driver_take_read_reply(struct driver *driver, uint64_t peer, const struct wire_read *reply) {
  struct confirm_queue *queue = &driver->calls;
  if (driver_leads(driver) || reply->round > driver->round || peer != driver->role_leader ||
      reply->term != driver->role_term || reply->term != raft_current_term(&driver->raft))
    return;
  if (reply->index > 0)
    learn_commit(driver, driver_peer(driver, peer), reply);
  while (queue->count > 0 && call_at(queue, 0)->round > 0 && call_at(queue, 0)->round <= reply->round)
    end_first_call(driver, reply->index > 0 ? 0 : ERR_NOT_PRIMARY, reply->index);
  driver_wake(driver);
}

/* -- … and its leader answers -----------------------------------------------------------------------------
 */

struct read_query {
  struct driver *driver;
  struct driver_peer *peer;
  uint64_t round;
};

static void send_read_reply(struct driver *driver, uint64_t peer, uint64_t round, uint64_t index) {
  const struct wire_message message = {
      .type = WIRE_READ_REPLY,
      .read = {.round = round,
               .term = raft_current_term(&driver->raft),
               .index = index,
               .index_term = index > 0 ? wal_term_at(driver->wal, index) : 0}};
  driver_send(driver, peer, &message);
}

static void query_confirmed(void *context, int status, uint64_t read_index) {
  const struct read_query query = *(struct read_query *)context;
  free(context);
  query.peer->read_queries--;
  if (query.driver->state == DRIVER_RUNNING)
    send_read_reply(query.driver, query.peer->id, query.round, status == 0 ? read_index : 0);
}

/* The asker's term and ours are all it takes. */
static bool suffices(const struct driver *driver, const struct driver_peer *asker) {
  const struct raft_configuration *configuration = &driver->raft.configuration;
  unsigned voters = 0;
  for (unsigned i = 0; i < configuration->n; i++)
    voters += configuration->servers[i].role == RAFT_VOTER;
  const unsigned votes = driver_is_voter(driver_own_server(driver)) + asker->voter;
  return 2 * votes > voters;
}

void driver_take_read_query(struct driver *driver, uint64_t peer, const struct wire_read *query) {
  struct driver_peer *from = driver_peer(driver, peer);
  if (!driver_leads(driver) || query->term != raft_current_term(&driver->raft)) {
    send_read_reply(driver, peer, query->round, 0);
    return;
  }
  if (bug_active(BUG_READ_INDEX_EARLY) || (is_ready(driver) && suffices(driver, from))) {
    send_read_reply(driver, peer, query->round, raft_commit_index(&driver->raft));
    return;
  }
  if (from->read_queries == READ_QUERIES_MAX)
    return;
  from->read_queries++;
  struct read_query *waiting = xmalloc(sizeof *waiting);
  *waiting = (struct read_query){.driver = driver, .peer = from, .round = query->round};
  driver_confirm(driver, query_confirmed, waiting);
}
