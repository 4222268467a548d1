/* journal.c: the functions of the journal on libraft 0.15: starting, appending, confirming, roles, closing.
 *
 * A read is confirmed by a barrier, the only means that 0.15 has: an entry of its own that must commit. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "simulator/canonical/canonical.h"

enum {
  DEFAULT_ELECTION_TIMEOUT_MS = 300,
  DEFAULT_HEARTBEAT_MS = 50,
  DEFAULT_SNAPSHOT_THRESHOLD = 16384,
  DEFAULT_SNAPSHOT_TRAILING = 4096,
  INSTALL_TIMEOUT_MS = 1000,
};

static struct canonical *canonical_of(const struct journal *journal) {
  return CONTAINER_OF(journal, struct canonical, door);
}

struct canonical_peer *canonical_peer(struct canonical *canonical, uint64_t id) {
  for (size_t i = 0; i < canonical->options.member_count; i++)
    if (canonical->peers[i].id == id)
      return &canonical->peers[i];
  return NULL;
}

void canonical_fail(struct canonical *canonical, const struct error *error) {
  if (canonical->state == CANONICAL_FAILED || canonical->state == CANONICAL_CLOSING)
    return;
  canonical->state = CANONICAL_FAILED;
  canonical->machine->fatal(canonical->machine->context, error);
}

/* -- libraft's log: a ring, of which `offset` entries are gone ------------------------------------------- */

static size_t entry_count(const struct raft_log *log) {
  return log->front <= log->back ? log->back - log->front : log->size - log->front + log->back;
}

uint64_t canonical_last_index(const struct canonical *canonical) {
  return canonical->raft.log.offset + entry_count(&canonical->raft.log);
}

const struct raft_entry *canonical_entry(const struct canonical *canonical, uint64_t index) {
  const struct raft_log *log = &canonical->raft.log;
  if (index <= log->offset || index > canonical_last_index(canonical))
    return NULL;
  return &log->entries[(log->front + (size_t)(index - log->offset - 1)) % log->size];
}

/* -- proposals ------------------------------------------------------------------------------------------ */

static void drop_proposal(struct canonical *canonical, struct proposal *proposal) {
  struct proposal **link = &canonical->proposals;
  while (*link != proposal)
    link = &(*link)->next;
  *link = proposal->next;
  if (!*link)
    canonical->proposals_end = link;
  canonical->in_flight -= proposal->size;
  free(proposal);
}

static void proposal_ended(struct raft_apply *request, int status, void *result) {
  struct proposal *proposal = request->data;
  struct canonical *canonical = proposal->canonical;
  (void)result;
  if (status == 0) {
    proposal->committed = true; /* its token goes out with the entry */
    return;
  }
  canonical->proposal_refused |= status != RAFT_LEADERSHIPLOST;
  drop_proposal(canonical, proposal);
}

static void *take_token(struct canonical *canonical, uint64_t index) {
  for (struct proposal *proposal = canonical->proposals; proposal; proposal = proposal->next)
    if (proposal->committed && proposal->request.index == index) {
      void *token = proposal->token;
      drop_proposal(canonical, proposal);
      return token;
    }
  return NULL;
}

/* -- after each call into libraft ------------------------------------------------------------------------ */

/* What the state machine had made durable must be what libraft commits there after a restart. */
static bool agrees_with_state(struct canonical *canonical, uint64_t index, const struct raft_entry *entry) {
  if (index != canonical->durable_at_start || !entry || entry->term == canonical->durable_term_at_start)
    return true;
  struct error error;
  error_set(&error, ERR_CORRUPT,
            "libraft commits entry %" PRIu64 " of term %llu, but the state holds that of term %" PRIu64,
            index, entry->term, canonical->durable_term_at_start);
  canonical_fail(canonical, &error);
  return false;
}

static void tell_committed(struct canonical *canonical) {
  while (canonical_runs(canonical) && canonical->applied_index < canonical->raft.last_applied) {
    const uint64_t index = canonical->applied_index + 1;
    const struct raft_entry *entry = canonical_entry(canonical, index);
    if (!entry) {
      struct error error;
      error_set(&error, ERR_CORRUPT, "libraft applied entry %" PRIu64 ", which its log does not hold", index);
      canonical_fail(canonical, &error);
      return;
    }
    void *token = take_token(canonical, index);
    canonical->applied_index = index;
    const bool command = entry->type == RAFT_COMMAND;
    canonical->machine->committed(canonical->machine->context, index, entry->term,
                                  command ? entry->buf.base : NULL, command ? entry->buf.len : 0, token);
  }
}

static void tell_role(struct canonical *canonical, enum journal_role role, uint64_t term, uint64_t leader) {
  canonical->role = role;
  canonical->role_term = term;
  canonical->role_leader = leader;
  canonical->machine->role(canonical->machine->context, role, term, leader);
}

static void update_role(struct canonical *canonical) {
  const bool leads = canonical->raft.state == RAFT_LEADER;
  const enum journal_role role = leads ? JOURNAL_LEADER : JOURNAL_FOLLOWER;
  const uint64_t term = canonical->raft.current_term;
  raft_id leader = 0;
  const char *address;
  if (leads)
    leader = canonical->options.id;
  else
    raft_leader(&canonical->raft, &leader, &address);
  /* A leader that the disk refused an append goes on leading, as if nothing had happened: but nobody knows
   * what will become of that entry. The door says so by a loss of leadership, which comes back with the next
   * tick. */
  if (leads && canonical->proposal_refused) {
    if (canonical->role == JOURNAL_LEADER)
      tell_role(canonical, JOURNAL_FOLLOWER, term, 0);
    return;
  }
  if (role == canonical->role && term == canonical->role_term && leader == canonical->role_leader)
    return;
  if (leads && canonical->role == JOURNAL_LEADER)
    tell_role(canonical, JOURNAL_FOLLOWER, term, 0); /* of the term before */
  if (canonical_runs(canonical))
    tell_role(canonical, role, term, leader);
}

static void answer_confirmations(struct canonical *canonical) {
  const struct confirmations answered = canonical->answered;
  canonical->answered = (struct confirmations){0};
  for (size_t i = 0; i < answered.count; i++)
    answered.calls[i].done(answered.calls[i].context, canonical->answered_status, canonical->answered_index);
  free(answered.calls);
}

void canonical_after(struct canonical *canonical) {
  if (!canonical_runs(canonical))
    return;
  if (canonical->applied_index >= canonical->durable_at_start && canonical->durable_at_start > 0 &&
      canonical->raft.last_applied >= canonical->durable_at_start) {
    const uint64_t index = canonical->durable_at_start;
    if (!agrees_with_state(canonical, index, canonical_entry(canonical, index)))
      return;
    canonical->durable_at_start = 0;
  }
  tell_committed(canonical);
  if (canonical->answered_status == 0)
    answer_confirmations(canonical);
  if (canonical_runs(canonical) && canonical->raft.state == RAFT_UNAVAILABLE) {
    struct error error;
    error_set(&error, ERR_UNAVAILABLE, "libraft gave up in term %llu: %s", canonical->raft.current_term,
              canonical->raft.errmsg[0] ? canonical->raft.errmsg : "it says no reason");
    canonical_fail(canonical, &error);
  }
  if (canonical_runs(canonical))
    update_role(canonical);
  answer_confirmations(canonical);
  if (canonical->waiting.count > 0)
    canonical_wake(canonical);
}

/* -- confirmation --------------------------------------------------------------------------------------- */

static void barrier_ended(struct raft_barrier *request, int status) {
  struct canonical *canonical = request->data;
  assert(canonical->answered.count == 0);
  canonical->barrier_out = false;
  canonical->answered = canonical->asked;
  canonical->asked = (struct confirmations){0};
  canonical->answered_status = status == 0 ? 0 : ERR_NOT_PRIMARY;
  canonical->answered_index = request->index;
  canonical_wake(canonical);
}

static void refuse_confirmations(struct confirmations *confirmations) {
  const struct confirmations refused = *confirmations;
  *confirmations = (struct confirmations){0};
  for (size_t i = 0; i < refused.count; i++)
    refused.calls[i].done(refused.calls[i].context, ERR_NOT_PRIMARY, 0);
  free(refused.calls);
}

/* All that wait share a barrier; those that come while it is under way wait for the next one. */
static void begin_barrier(struct canonical *canonical) {
  if (canonical->waiting.count == 0 || canonical->barrier_out)
    return;
  if (canonical->role != JOURNAL_LEADER || canonical->raft.state != RAFT_LEADER) {
    refuse_confirmations(&canonical->waiting);
    return;
  }
  canonical->asked = canonical->waiting;
  canonical->waiting = (struct confirmations){0};
  canonical->barrier_out = true;
  canonical->barrier.data = canonical;
  if (raft_barrier(&canonical->raft, &canonical->barrier, barrier_ended) == 0)
    return;
  canonical->barrier_out = false;
  refuse_confirmations(&canonical->asked);
}

static void confirm(struct journal *journal, void (*done)(void *context, int status, uint64_t read_index),
                    void *context) {
  struct canonical *canonical = canonical_of(journal);
  struct confirmations *waiting = &canonical->waiting;
  if (waiting->count == waiting->capacity) {
    waiting->capacity = waiting->capacity ? waiting->capacity * 2 : 16;
    waiting->calls = xrealloc(waiting->calls, waiting->capacity * sizeof *waiting->calls);
  }
  waiting->calls[waiting->count++] = (struct confirmation){.done = done, .context = context};
  canonical_wake(canonical);
}

/* -- the turn ------------------------------------------------------------------------------------------- */

static void run(struct canonical *canonical);
static void closing_turn(struct canonical *canonical);

static void turn(void *owner) {
  struct canonical *canonical = owner;
  canonical->turn_deferred = false;
  if (canonical->state == CANONICAL_CLOSING) {
    closing_turn(canonical);
    return;
  }
  if (canonical->state == CANONICAL_STARTING && disk_log_idle(canonical->log))
    run(canonical);
  if (!canonical_runs(canonical)) {
    refuse_confirmations(&canonical->waiting);
    return;
  }
  canonical_finish_sends(canonical);
  canonical_after(canonical);
  if (canonical_runs(canonical))
    begin_barrier(canonical);
  if (canonical_runs(canonical))
    canonical_snapshot_progress(canonical);
}

void canonical_wake(struct canonical *canonical) {
  if (canonical->turn_deferred)
    return;
  canonical->turn_deferred = true;
  canonical->world->defer(canonical->world->context, turn, canonical);
}

static void tick(void *owner) {
  struct canonical *canonical = owner;
  if (!canonical_runs(canonical))
    return;
  const struct world *world = canonical->world;
  world->timer_set(canonical->tick, world->now_ns(world->context) + canonical->tick_ns);
  canonical->proposal_refused = false;
  canonical->ticked(&canonical->io);
  canonical_after(canonical);
}

/* -- starting ------------------------------------------------------------------------------------------- */

static void log_failed(void *owner, const struct error *error) {
  canonical_fail(owner, error);
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result) {
  (void)fsm, (void)buffer; /* the state machine is told after the call: see tell_committed() */
  *result = NULL;
  return 0;
}

static void open_raft(struct canonical *canonical) {
  struct raft *raft = &canonical->raft;
  canonical_fill_io(canonical);
  canonical->fsm = (struct raft_fsm){.version = 1,
                                     .data = canonical,
                                     .apply = fsm_apply,
                                     .snapshot = canonical_fsm_snapshot,
                                     .restore = canonical_fsm_restore};
  snprintf(canonical->address, sizeof canonical->address, "%" PRIu64, canonical->options.id);
  const int status =
      raft_init(raft, &canonical->io, &canonical->fsm, canonical->options.id, canonical->address);
  assert(status == 0);
  canonical->raft_open = true;
  raft_set_election_timeout(raft, canonical->options.election_timeout_ms);
  raft_set_heartbeat_timeout(raft, canonical->options.heartbeat_ms);
  raft_set_install_snapshot_timeout(raft, INSTALL_TIMEOUT_MS);
  raft_set_snapshot_threshold(raft, (unsigned)canonical->options.snapshot_threshold);
  raft_set_snapshot_trailing(raft, (unsigned)canonical->options.snapshot_trailing);
  raft_set_pre_vote(raft, true);
}

static void write_first_entry(struct canonical *canonical) {
  struct raft_configuration configuration;
  raft_configuration_init(&configuration);
  for (size_t i = 0; i < canonical->options.member_count; i++) {
    const struct canonical_peer *peer = &canonical->peers[i];
    const int status = raft_configuration_add(&configuration, peer->id, peer->address, RAFT_VOTER);
    assert(status == 0);
  }
  const int status = raft_bootstrap(&canonical->raft, &configuration);
  assert(status == 0);
  raft_configuration_close(&configuration);
}

static void run(struct canonical *canonical) {
  canonical->state = CANONICAL_RUNNING;
  const int code = raft_start(&canonical->raft);
  if (code == 0) {
    canonical_after(canonical);
    return;
  }
  struct error error;
  error_set(&error, ERR_UNAVAILABLE, "libraft does not start: %s", raft_strerror(code));
  canonical_fail(canonical, &error);
}

/* An installation that a crash interrupted: done if the state machine has it, else as if it had never begun.
 */
static void settle_installation(struct canonical *canonical) {
  struct logged *logged = &canonical->logged;
  if (logged->offered.index == 0)
    return;
  if (canonical->applied_index < logged->offered.index) {
    disk_log_abandon(canonical->log);
    return;
  }
  disk_log_installed(canonical->log, NULL, NULL);
  logged_take_offered(logged);
}

static int check_log(const struct canonical *canonical, struct error *error) {
  const struct logged *logged = &canonical->logged;
  const uint64_t applied = canonical->applied_index, last = logged->base + logged->count;
  if (applied > last || applied < logged->snapshot.index || applied < logged->base)
    return error_set(error, ERR_CORRUPT,
                     "the log of libraft holds entries %" PRIu64 " to %" PRIu64
                     ", but the state is at %" PRIu64 ": empty the data directory to let the node begin anew",
                     logged->base + 1, last, applied);
  return 0;
}

static int start(struct journal *journal, struct error *error) {
  struct canonical *canonical = canonical_of(journal);
  assert(canonical->state == CANONICAL_NEW);
  canonical->machine->durable(canonical->machine->context, &canonical->applied_index,
                              &canonical->durable_term_at_start);
  canonical->durable_at_start = canonical->applied_index;
  const struct disk_log_observer observer = {
      .owner = canonical, .written = canonical_log_written, .failed = log_failed};
  int status = disk_log_open(canonical->world, canonical->options.cluster, canonical->options.id, &observer,
                             &canonical->log, &canonical->logged, error);
  if (status != 0)
    return status;
  settle_installation(canonical);
  status = check_log(canonical, error);
  if (status != 0)
    return status;
  canonical->state = CANONICAL_STARTING;
  canonical->life = canonical->world->random(canonical->world->context) | 1;
  open_raft(canonical);
  if (canonical->logged.term == 0)
    write_first_entry(canonical);
  canonical_wake(canonical);
  return 0;
}

/* -- the door ------------------------------------------------------------------------------------------- */

static int append(struct journal *journal, const void *data, size_t size, void *token) {
  struct canonical *canonical = canonical_of(journal);
  assert(size > 0 && size <= JOURNAL_APPEND_LIMIT && token);
  if (!canonical_runs(canonical) || canonical->role != JOURNAL_LEADER || canonical->raft.state != RAFT_LEADER)
    return ERR_NOT_PRIMARY;
  if (canonical->in_flight > 0 && canonical->in_flight + size > IN_FLIGHT_LIMIT)
    return ERR_OVERLOADED;
  struct proposal *proposal = xcalloc(1, sizeof *proposal);
  *proposal = (struct proposal){.canonical = canonical, .token = token, .size = size};
  proposal->request.data = proposal;
  struct raft_buffer buffer = {.base = raft_malloc(size), .len = size};
  memcpy(buffer.base, data, size);
  *canonical->proposals_end = proposal;
  canonical->proposals_end = &proposal->next;
  canonical->in_flight += size;
  canonical_wake(canonical);
  if (raft_apply(&canonical->raft, &proposal->request, &buffer, 1, proposal_ended) == 0)
    return 0;
  raft_free(buffer.base);
  drop_proposal(canonical, proposal);
  return ERR_NOT_PRIMARY;
}

static size_t in_flight(const struct journal *journal) {
  return canonical_of(journal)->in_flight;
}

static struct journal_status status_of(const struct journal *journal) {
  const struct canonical *canonical = canonical_of(journal);
  if (!canonical->raft_open)
    return (struct journal_status){0};
  const struct raft *raft = &canonical->raft;
  return (struct journal_status){.role = canonical->role,
                                 .term = canonical->role_term,
                                 .leader = canonical->role_leader,
                                 .last_index = canonical_last_index(canonical),
                                 .commit_index = raft->commit_index > canonical->applied_index
                                                     ? raft->commit_index
                                                     : canonical->applied_index,
                                 .first_index = raft->log.offset + 1,
                                 .snapshot_index = raft->log.snapshot.last_index};
}

static void durable_moved(struct journal *journal) {
  canonical_wake(canonical_of(journal));
}

/* -- closing -------------------------------------------------------------------------------------------- */

static void closing_progress(struct canonical *canonical) {
  if (canonical->state != CANONICAL_CLOSING || !canonical->raft_closed || !canonical->log_closed ||
      canonical->turn_deferred || canonical->opens > 0)
    return;
  void (*closed)(void *) = canonical->closed;
  void *context = canonical->closed_context;
  canonical->world->timer_free(canonical->tick);
  while (canonical->proposals)
    drop_proposal(canonical, canonical->proposals);
  logged_free(&canonical->logged);
  bytes_free(&canonical->frame);
  bytes_free(&canonical->held);
  bytes_free(&canonical->put_snapshot.configuration);
  free(canonical->sends);
  free(canonical->peers);
  free((void *)(uintptr_t)canonical->options.members);
  free(canonical);
  closed(context);
}

static void closing_turn(struct canonical *canonical) {
  refuse_confirmations(&canonical->waiting);
  refuse_confirmations(&canonical->asked);
  refuse_confirmations(&canonical->answered);
  if (canonical->opens > 0)
    return; /* each of them wakes us */
  if (canonical->io_closed) {
    canonical_end_appends(canonical);
    canonical_finish_sends(canonical);
    canonical_end_snapshots(canonical);
    raft_io_close_cb done = canonical->io_closed;
    canonical->io_closed = NULL;
    done(&canonical->io);
    canonical->raft_closed = true;
  }
  closing_progress(canonical);
}

static void log_closed(void *owner) {
  struct canonical *canonical = owner;
  canonical->log_closed = true;
  closing_progress(canonical);
}

static void close_journal(struct journal *journal, void (*done)(void *context), void *context) {
  struct canonical *canonical = canonical_of(journal);
  assert(canonical->state != CANONICAL_CLOSING);
  canonical->state = CANONICAL_CLOSING;
  canonical->world->receive(canonical->world->context, NULL, NULL);
  canonical->world->timer_clear(canonical->tick);
  canonical->closed = done;
  canonical->closed_context = context;
  canonical_wake(canonical);
  if (canonical->raft_open)
    raft_close(&canonical->raft, NULL);
  else
    canonical->raft_closed = true;
  if (canonical->log)
    disk_log_close(canonical->log, log_closed, canonical);
  else
    canonical->log_closed = true;
}

/* -- making --------------------------------------------------------------------------------------------- */

/* libraft reads and sends some memory that it never wrote (a barrier's payload, for one): zeros make that the
 * same in every run. */
static void *heap_malloc(void *data, size_t size) {
  (void)data;
  return xcalloc(1, size);
}

static void heap_free(void *data, void *memory) {
  (void)data;
  free(memory);
}

static void *heap_calloc(void *data, size_t count, size_t size) {
  (void)data;
  return xcalloc(count, size);
}

static void *heap_realloc(void *data, void *memory, size_t size) {
  (void)data;
  return xrealloc(memory, size);
}

static void *heap_aligned_alloc(void *data, size_t alignment, size_t size) {
  (void)data;
  return aligned_alloc(alignment, size);
}

static void heap_aligned_free(void *data, size_t alignment, void *memory) {
  (void)data, (void)alignment;
  free(memory);
}

static int by_id(const void *left, const void *right) {
  const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return a < b ? -1 : a > b;
}

static void fill_options(struct canonical *canonical, const struct raft_journal_options *options) {
  struct raft_journal_options *own = &canonical->options;
  *own = *options;
  own->election_timeout_ms =
      own->election_timeout_ms ? own->election_timeout_ms : DEFAULT_ELECTION_TIMEOUT_MS;
  own->heartbeat_ms = own->heartbeat_ms ? own->heartbeat_ms : DEFAULT_HEARTBEAT_MS;
  own->snapshot_threshold = own->snapshot_threshold ? own->snapshot_threshold : DEFAULT_SNAPSHOT_THRESHOLD;
  own->snapshot_trailing = own->snapshot_trailing ? own->snapshot_trailing : DEFAULT_SNAPSHOT_TRAILING;
  assert(own->id > 0 && own->member_count > 0 && own->member_count <= SERVERS_LIMIT);
  assert(own->heartbeat_ms < own->election_timeout_ms);
  uint64_t *members = xcalloc(own->member_count, sizeof *members);
  memcpy(members, options->members, own->member_count * sizeof *members);
  qsort(members, own->member_count, sizeof *members, by_id);
  own->members = members;
  canonical->peers = xcalloc(own->member_count, sizeof *canonical->peers);
  for (size_t i = 0; i < own->member_count; i++) {
    canonical->peers[i].id = members[i];
    snprintf(canonical->peers[i].address, ADDRESS_SIZE, "%" PRIu64, members[i]);
  }
}

struct journal *canonical_journal_new(const struct raft_journal_options *options, const struct world *world,
                                      const struct state_machine *state) {
  static const struct journal_functions functions = {.start = start,
                                                     .append = append,
                                                     .confirm = confirm,
                                                     .in_flight = in_flight,
                                                     .status = status_of,
                                                     .durable_moved = durable_moved,
                                                     .close = close_journal};
  static struct raft_heap heap = {.malloc = heap_malloc,
                                  .free = heap_free,
                                  .calloc = heap_calloc,
                                  .realloc = heap_realloc,
                                  .aligned_alloc = heap_aligned_alloc,
                                  .aligned_free = heap_aligned_free};
  raft_heap_set(&heap);
  struct canonical *canonical = xcalloc(1, sizeof *canonical);
  canonical->door.functions = &functions;
  canonical->world = world;
  canonical->machine = state;
  canonical->appends_end = &canonical->appends;
  canonical->proposals_end = &canonical->proposals;
  fill_options(canonical, options);
  canonical->tick = world->timer_new(world->context, tick, canonical);
  return &canonical->door;
}
