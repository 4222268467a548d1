#include "master/primary.h"

#include <assert.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "master/primary_internal.h"

#define QUEUE_LIMIT_DEFAULT 65536
#define QUEUE_BYTES_LIMIT (256u << 20)
#define QUEUE_BEHIND 16 /* of the queue's limit while writing lags: that may last */
/* When the oldest request of its kind has waited so long, a new one would wait longer: its client had better
 * ask again later, while others are served. */
#define QUEUE_AGE_LIMIT_NS NS_PER_S
#define BATCH_SIZE (256u << 10)    /* bytes of one entry, about */
#define FLIGHTS_LIMIT 4            /* entries in flight: more would not fill the disk better */
#define IN_FLIGHT_LIMIT (1u << 20) /* bytes */
#define EXPIRE_INTERVAL_NS NS_PER_S

/* -- ends -- */

void primary_fail(struct primary *primary, const struct error *error) {
  if (primary->failed)
    return;
  primary->failed = true;
  primary->failure = *error;
  primary->role = ROLE_STEPPING_DOWN;
  if (primary->fatal)
    primary->fatal(primary->fatal_context, &primary->failure);
}

bool primary_check_tables(struct primary *primary) {
  const struct error *error = tables_failed(primary->tables);
  if (error)
    primary_fail(primary, error);
  return !primary->failed;
}

static void read_clock(struct primary *primary) {
  primary->turn_ns = primary->world->now_ns(primary->world->context);
}

static void count_answer(struct primary *primary, const struct pending *pending, enum answer_status status) {
  struct primary_statistics *statistics = &primary->statistics;
  const enum operation_code code = pending->request.code;
  if ((unsigned)code < STATISTICS_OPERATIONS && (unsigned)status < STATISTICS_STATUSES)
    statistics->answers[code][status]++;
  if (status < STATUS_NOT_PRIMARY)
    durations_add(op_is_read(code) ? &statistics->reads : &statistics->mutations,
                  primary->turn_ns - pending->submitted_ns);
}

void primary_deliver(struct primary *primary, struct pending *pending, const struct answer *answer) {
  assert(primary->pending_count > 0);
  primary->pending_count--;
  primary->pending_bytes -= pending->size;
  count_answer(primary, pending, answer->status);
  pending->callback(pending->context, answer);
  free(pending);
}

void primary_reply(struct primary *primary, struct pending *pending, enum answer_status status) {
  pending->outcome.status = status;
  pending_push(&primary->replies, pending);
  primary_schedule(primary);
}

void primary_reply_all(struct primary *primary, struct pending_list *list, enum answer_status status) {
  for (struct pending *pending; (pending = pending_pop(list));)
    primary_reply(primary, pending, status);
}

/* `index`: of the entry that holds the outcome; 0 when it is not known or there is none. */
static void deliver_outcome(struct primary *primary, struct pending *pending, uint64_t index, uint64_t term) {
  const struct outcome *outcome = &pending->outcome;
  struct answer answer = {.status = outcome->status,
                          .term = term,
                          .commit = outcome->repeated ? 0 : index,
                          .leader = primary->leader,
                          .creator = outcome->creator,
                          .version = outcome->version,
                          .first_client = outcome->first_client,
                          .block = outcome->block,
                          .at = outcome->at,
                          .numbers = outcome->numbers,
                          .number_count = outcome->number_count,
                          .message = outcome->message};
  primary_note_workers(primary, pending, &answer);
  primary_deliver(primary, pending, &answer);
}

static void deliver_all(struct primary *primary, struct pending_list list, uint64_t index, uint64_t term) {
  for (struct pending *pending; (pending = pending_pop(&list));)
    deliver_outcome(primary, pending, index, term);
}

static void deliver_replies(struct primary *primary) {
  const struct pending_list replies = primary->replies;
  primary->replies = (struct pending_list){0};
  deliver_all(primary, replies, 0, primary->term);
}

/* -- requests that wait for rows -- */

static void unpark(struct primary *primary, struct pending *pending) {
  struct pending_list *parked = &primary->parked;
  if (pending->previous)
    pending->previous->next = pending->next;
  else
    parked->first = pending->next;
  if (pending->next)
    pending->next->previous = pending->previous;
  else
    parked->last = pending->previous;
}

void primary_retry(struct primary *primary, struct pending *pending) {
  pending_push(op_is_read(pending->request.code) ? &primary->retried_reads : &primary->retried, pending);
  primary_schedule(primary);
}

static void rows_came(void *context) {
  struct pending *pending = context;
  unpark(pending->primary, pending);
  primary_retry(pending->primary, pending);
}

bool primary_park(struct primary *primary, struct pending *pending) {
  pending->wait = tables_tried(primary->tables, rows_came, pending);
  if (!pending->wait)
    return false;
  pending->previous = primary->parked.last;
  pending_push(&primary->parked, pending);
  return true;
}

static void give_up_list(struct primary *primary, struct pending_list *list, enum answer_status status) {
  for (struct pending *pending; (pending = pending_pop(list));) {
    tables_give_up(primary->tables, pending->wait);
    pending->wait = NULL;
    primary_reply(primary, pending, status);
  }
}

void primary_drop_parked(struct primary *primary, enum answer_status status) {
  give_up_list(primary, &primary->parked, status);
  give_up_list(primary, &primary->retried, status);
  give_up_list(primary, &primary->retried_reads, status);
  tables_give_up(primary->tables, primary->house_wait);
  primary->house_wait = NULL;
  primary->house_parked = false;
}

/* -- making batches -- */

static void advance_clock(struct primary *primary, int64_t now_ns) {
  if (now_ns > primary->clock_read_ns)
    primary->space.counters.clock_ns += (uint64_t)(now_ns - primary->clock_read_ns);
  primary->clock_read_ns = now_ns;
}

struct flight *primary_open_flight(struct primary *primary) {
  if (!primary->open)
    primary->open = xcalloc(1, sizeof *primary->open);
  return primary->open;
}

void primary_push_flight(struct primary *primary, struct flight *flight) {
  if (primary->flights_end)
    primary->flights_end->next = flight;
  else
    primary->flights = flight;
  primary->flights_end = flight;
  primary->flight_count++;
}

void primary_flight_free(struct flight *flight) {
  bytes_free(&flight->own);
  free(flight);
}

/* The answer leaves with the batch that holds the effects; a repeated answer with the last batch that may
 * hold them. */
static void evaluate(struct primary *primary, struct pending *pending) {
  if (bug_active(BUG_RENAME_EARLY_FREE) && primary_postpone_rename(primary, pending))
    return;
  tables_try(primary->tables, pending->wait);
  namespace_evaluate(&primary->space, &pending->request, &pending->outcome);
  if (primary_park(primary, pending) || primary_await_load(primary, &primary->space.unloaded, pending))
    return;
  const struct outcome *outcome = &pending->outcome;
  if (outcome->stateless) {
    primary_reply(primary, pending, outcome->status);
    return;
  }
  if (bug_active(BUG_DELETE_NOT_ATOMIC) && outcome->unfinished) {
    pending_push(&primary->defects.postponed, pending);
    return;
  }
  if (overlay_open_size(primary->overlay) > 0) {
    struct flight *flight = primary_open_flight(primary);
    flight->detaches |= outcome->detached;
    pending_push(&flight->waiters, pending);
    return;
  }
  assert(outcome->repeated);
  if (primary->flights_end)
    pending_push(&primary->flights_end->waiters, pending);
  else
    primary_reply(primary, pending, outcome->status);
}

static void house_rows_came(void *context) {
  struct primary *primary = context;
  primary->house_parked = false;
  primary_schedule(primary);
}

/* Both: false when nothing could be done because something is missing. */
static bool reclaim(struct primary *primary) {
  const bool done = namespace_reclaim(&primary->space);
  if (done) {
    primary_open_flight(primary)->reclaims = true;
    primary->reclaim_in_flight = true;
  }
  primary->reclaim_wanted = !done && tables_missed(primary->tables) > 0;
  return !primary->reclaim_wanted;
}

static bool expire(struct primary *primary, int64_t now_ns) {
  const size_t missed = tables_missed(primary->tables);
  const uint32_t next = primary->space.expire_next;
  namespace_expire(&primary->space);
  if (primary->space.expire_next == next && tables_missed(primary->tables) > missed)
    return false;
  primary->expire_due_ns = now_ns + EXPIRE_INTERVAL_NS;
  return true;
}

/* What is missing is fetched, and done later. Where some of the work could be done, the rest is work of its
 * own: it would not do to keep in memory what all of it needs. */
static void keep_house(struct primary *primary, int64_t now_ns) {
  const bool reclaims = primary->reclaim_wanted && !primary->reclaim_in_flight;
  const bool expires = now_ns >= primary->expire_due_ns;
  if (primary->house_parked || (!reclaims && !expires))
    return;
  tables_try(primary->tables, primary->house_wait);
  const bool reclaimed = !reclaims || reclaim(primary), expired = !expires || expire(primary, now_ns);
  primary->house_wait = tables_tried(primary->tables, house_rows_came, primary);
  if (reclaimed && expired) {
    tables_give_up(primary->tables, primary->house_wait);
    primary->house_wait = NULL;
  }
  primary->house_parked = primary->house_wait != NULL;
}

static bool batch_is_full(const struct primary *primary) {
  return overlay_open_size(primary->overlay) >= BATCH_SIZE ||
         (bug_active(BUG_PARTIAL_BATCH) && primary->defects.first_part);
}

void primary_fill_batch(struct primary *primary) {
  const int64_t now_ns = primary->world->now_ns(primary->world->context);
  const int64_t wall_ns = primary->world->wall_ns(primary->world->context);
  advance_clock(primary, now_ns);
  primary->space.wall_ns = wall_ns > 0 ? wall_ns : 0;
  keep_house(primary, now_ns);
  primary_put_loads(primary);
  while (primary->retried.first && !batch_is_full(primary))
    evaluate(primary, pending_pop(&primary->retried));
  while (primary->queue.first && !batch_is_full(primary))
    evaluate(primary, pending_pop(&primary->queue));
}

static void begin_batch(const struct primary *primary, struct bytes *batch) {
  batch_begin(batch, &(struct batch_header){.term = primary->term,
                                            .wall_ns = primary->space.wall_ns,
                                            .counters = primary->space.counters});
}

void primary_encode_batch(struct primary *primary, struct bytes *batch) {
  struct flight *flight = primary_open_flight(primary);
  if (bug_active(BUG_ENTRY_REORDER)) {
    begin_batch(primary, &flight->own);
    overlay_encode(primary->overlay, false, &flight->own);
  }
  begin_batch(primary, batch);
  overlay_seal(primary->overlay, batch);
  assert(batch->size <= JOURNAL_APPEND_LIMIT);
}

void primary_seal_batch(struct primary *primary) {
  primary_encode_batch(primary, &primary->unsent);
}

/* The journal refused the batch and nothing is in flight that could make room: nothing of it happened. */
static void give_up_batch(struct primary *primary) {
  struct flight *flight = primary->open;
  primary->open = NULL;
  bytes_clear(&primary->unsent);
  namespace_reset(&primary->space);
  primary->reclaim_wanted |= flight->reclaims;
  primary->reclaim_in_flight = false;
  primary_reply_all(primary, &flight->waiters, STATUS_OVERLOADED);
  if (flight->loads)
    primary_drop_loads(primary, STATUS_OVERLOADED);
  primary_flight_free(flight);
}

/* Hands the sealed batch to the journal. False when it has to be tried again later. */
static bool send_batch(struct primary *primary) {
  struct flight *flight = primary->open;
  struct journal *journal = primary->journal;
  assert(flight && journal);
  if (bug_active(BUG_PARTIAL_BATCH) && !primary_first_part_committed(primary))
    return false;
  const int status = journal->functions->append(journal, primary->unsent.data, primary->unsent.size, flight);
  if (status == ERR_NOT_PRIMARY)
    return false; /* role() will say so */
  primary->statistics.no_space += status == ERR_NO_SPACE;
  if (status != 0) {
    if (primary->flight_count == 0 && !flight->catches_up)
      give_up_batch(primary);
    return false;
  }
  primary->statistics.batches++;
  primary->statistics.batch_bytes += primary->unsent.size;
  bytes_clear(&primary->unsent);
  primary->open = NULL;
  primary_push_flight(primary, flight);
  flight->last_part = primary->defects.torn;
  if (bug_active(BUG_EARLY_ACK))
    for (struct pending *pending; (pending = pending_pop(&flight->waiters));)
      pending_push(&primary->replies, pending);
  return true;
}

static bool may_append(const struct primary *primary) {
  return primary->flight_count < FLIGHTS_LIMIT && !tables_behind(primary->tables) &&
         primary->journal->functions->in_flight(primary->journal) < IN_FLIGHT_LIMIT;
}

static void work(struct primary *primary) {
  while (may_append(primary)) {
    if (primary->unsent.size == 0) {
      const bool reclaims = primary->reclaim_wanted && !primary->house_parked;
      if (!primary->queue.first && !primary->retried.first && !reclaims && !primary_loads_wait(primary))
        return;
      primary_fill_batch(primary);
      if (!primary_check_tables(primary))
        return;
      if (overlay_open_size(primary->overlay) == 0)
        return;
      primary_seal_batch(primary);
    }
    if (!send_batch(primary))
      return;
  }
}

/* -- the turn -- */

static void turn(void *owner) {
  struct primary *primary = owner;
  primary->turn_scheduled = false;
  if (primary->freed) {
    free(primary);
    return;
  }
  if (primary->failed)
    return;
  read_clock(primary);
  if (primary->durable_changed && primary->journal) {
    primary->durable_changed = false;
    primary->journal->functions->durable_moved(primary->journal);
  }
  if (!primary_check_tables(primary))
    return;
  if (bug_any_active() && primary->role == ROLE_STANDBY)
    primary_linger(primary);
  primary_advance_reads(primary);
  if (primary->role == ROLE_PRIMARY)
    work(primary);
  else if (primary->role == ROLE_CATCHING_UP && primary->unsent.size > 0)
    send_batch(primary);
  deliver_replies(primary);
}

void primary_schedule(struct primary *primary) {
  if (primary->turn_scheduled || primary->freed)
    return;
  primary->turn_scheduled = true;
  read_clock(primary);
  primary->world->defer(primary->world->context, turn, primary);
}

static void durable_moved(void *context) {
  struct primary *primary = context;
  primary->durable_changed = true;
  primary_schedule(primary);
}

/* -- requests -- */

static bool takes(const struct primary *primary, const struct request *request) {
  if (primary->role == ROLE_STANDBY && request->any && op_is_of_tables(request->code))
    return true;
  if (primary->role == ROLE_PRIMARY || primary->role == ROLE_CATCHING_UP)
    return true;
  return bug_any_active() && primary_lingers(primary, request);
}

/* Early: a client that waits in vain learns nothing, and one that is refused knows that nothing happened. */
static bool overloaded(const struct primary *primary, const struct request *request) {
  const size_t limit =
      tables_behind(primary->tables) ? primary->queue_limit / QUEUE_BEHIND : primary->queue_limit;
  const struct pending_list *queue = op_is_read(request->code) ? &primary->reads : &primary->queue;
  return primary->pending_count > limit || primary->pending_bytes > QUEUE_BYTES_LIMIT ||
         (queue->first && primary->turn_ns - queue->first->submitted_ns > QUEUE_AGE_LIMIT_NS);
}

void primary_submit(struct primary *primary, const struct request *request, primary_callback *callback,
                    void *context) {
  primary_schedule(primary);
  struct pending *pending = primary_copy_request(primary, request);
  pending->submitted_ns = primary->turn_ns;
  pending->callback = callback;
  pending->context = context;
  primary->pending_count++;
  primary->pending_bytes += pending->size;
  if (!takes(primary, request))
    primary_reply(primary, pending, STATUS_NOT_PRIMARY);
  else if (overloaded(primary, request))
    primary_reply(primary, pending, STATUS_OVERLOADED);
  else
    pending_push(op_is_read(request->code) ? &primary->reads : &primary->queue, pending);
}

/* -- the state machine -- */

/* Answers of batches in flight are unknown for ever; what was never appended took no effect. */
static void drop_work(struct primary *primary, enum answer_status unsent) {
  while (primary->flights) {
    struct flight *flight = primary->flights;
    primary->flights = flight->next;
    primary_reply_all(primary, &flight->waiters, STATUS_UNAVAILABLE);
    primary_flight_free(flight);
  }
  primary->flights_end = NULL;
  primary->flight_count = 0;
  if (primary->open) {
    primary_reply_all(primary, &primary->open->waiters, unsent);
    primary_flight_free(primary->open);
    primary->open = NULL;
  }
  if (bug_active(BUG_PARTIAL_BATCH))
    primary_drop_first_part(primary, unsent);
  primary_reply_all(primary, &primary->defects.postponed, STATUS_UNAVAILABLE);
  bytes_clear(&primary->unsent);
  primary_reply_all(primary, &primary->queue, unsent);
  primary_drop_reads(primary, unsent);
  primary_drop_parked(primary, unsent);
  primary_drop_loads(primary, unsent);
  primary->reclaim_in_flight = false;
  primary->reclaim_wanted = false;
}

static void step_down(struct primary *primary) {
  primary->role = ROLE_STEPPING_DOWN;
  drop_work(primary, STATUS_NOT_PRIMARY);
  if (bug_active(BUG_SNAPSHOT_BACK))
    primary_go_back(primary);
  namespace_reset(&primary->space);
  worker_registry_clear(primary->workers);
  primary->role = ROLE_STANDBY;
}

/* Begins the term with an entry of its own: when that is applied, so is everything of former terms, and
 * nothing of them can commit any more (Ongaro 2014, §6.4, first step). */
static void catch_up(struct primary *primary) {
  assert(primary->role == ROLE_STANDBY && !primary->open && primary->unsent.size == 0);
  primary->role = ROLE_CATCHING_UP;
  primary_open_flight(primary)->catches_up = true;
  const int64_t wall_ns = primary->world->wall_ns(primary->world->context);
  batch_begin(&primary->unsent,
              &(struct batch_header){.term = primary->term, .wall_ns = wall_ns > 0 ? wall_ns : 0});
  overlay_seal(primary->overlay, &primary->unsent);
  primary_schedule(primary);
}

static void become_primary(struct primary *primary) {
  assert(primary->role == ROLE_CATCHING_UP && overlay_is_empty(primary->overlay));
  namespace_reset(&primary->space);
  primary->role = ROLE_PRIMARY;
  primary->statistics.promotions++;
  primary->reclaim_wanted = true;
  primary->clock_read_ns = primary->world->now_ns(primary->world->context);
  primary->expire_due_ns = primary->clock_read_ns + EXPIRE_INTERVAL_NS;
}

static void machine_role(void *context, enum journal_role role, uint64_t term, uint64_t leader) {
  struct primary *primary = context;
  if (primary->failed)
    return;
  const bool deposed = primary->role == ROLE_PRIMARY && role == JOURNAL_FOLLOWER;
  if (primary->role != ROLE_STANDBY)
    step_down(primary);
  primary->statistics.terms += term > primary->term;
  primary->term = term;
  primary->leader = leader;
  if (bug_active(BUG_STEP_DOWN_LATE) || bug_active(BUG_OLD_PRIMARY_WRITES))
    primary_note_role(primary, role, deposed);
  if (role == JOURNAL_LEADER)
    catch_up(primary);
}

static void flight_committed(struct primary *primary, struct flight *flight, uint64_t index, uint64_t term) {
  assert(flight == primary->flights && term == primary->term);
  primary->flights = flight->next;
  if (!primary->flights)
    primary->flights_end = NULL;
  primary->flight_count--;
  overlay_release(primary->overlay);
  if (flight->catches_up)
    become_primary(primary);
  if (flight->loads)
    primary_loads_committed(primary, flight);
  if (flight->reclaims)
    primary->reclaim_in_flight = false;
  primary->reclaim_wanted |= flight->reclaims || flight->detaches;
  const struct pending_list waiters = flight->waiters;
  primary->defects.torn &= !flight->last_part;
  primary_flight_free(flight);
  if (bug_active(BUG_RENAME_EARLY_FREE) || bug_active(BUG_DELETE_NOT_ATOMIC))
    primary_resume_postponed(primary);
  deliver_all(primary, waiters, index, term);
}

static void machine_committed(void *context, uint64_t index, uint64_t term, const void *data, size_t size,
                              void *token) {
  struct primary *primary = context;
  if (primary->failed)
    return;
  read_clock(primary);
  const struct flight *flight = token;
  if (bug_active(BUG_ENTRY_REORDER) && flight && flight->own.size > 0) {
    data = flight->own.data;
    size = flight->own.size;
  }
  struct error error;
  if (tables_apply(primary->tables, index, term, data, size, &error) != 0) {
    primary_fail(primary, &error);
    return;
  }
  if (!primary_check_tables(primary))
    return;
  if (token)
    flight_committed(primary, token, index, term);
  primary_finish_reads(primary);
  if (primary->role == ROLE_PRIMARY)
    primary_schedule(primary);
}

static bool machine_is_full(void *context) {
  const struct primary *primary = context;
  return tables_full(primary->tables);
}

static void machine_durable(void *context, uint64_t *index, uint64_t *term) {
  const struct primary *primary = context;
  tables_durable(primary->tables, index, term);
}

static void machine_fatal(void *context, const struct error *error) {
  primary_fail(context, error);
}

/* -- making and ending -- */

int primary_new(const struct primary_options *options, struct primary **result, struct error *error) {
  struct primary *primary = xcalloc(1, sizeof *primary);
  primary->world = options->world;
  primary->store = options->store;
  primary->queue_limit = options->queue_limit ? options->queue_limit : QUEUE_LIMIT_DEFAULT;
  const int status =
      tables_open(&(struct tables_options){.store = options->store,
                                           .cache_size = options->cache_size ? options->cache_size
                                                                             : TABLES_CACHE_SIZE_DEFAULT,
                                           .write_size = options->write_size,
                                           .dirty_limit = options->dirty_limit,
                                           .durable_moved = durable_moved,
                                           .context = primary},
                  &primary->tables, error);
  if (status != 0) {
    free(primary);
    return status;
  }
  primary->overlay = overlay_new();
  primary->workers =
      worker_registry_new(&(struct worker_registry_options){.lease_ns = options->worker_lease_ns});
  namespace_init(&primary->space, primary->tables, primary->overlay);
  primary->under_store = options->under_store;
  primary_open_loads(primary);
  if (bug_active(BUG_PARTIAL_BATCH))
    primary->space.defects = (struct namespace_defects){.cut = primary_cut_batch, .cut_context = primary};
  primary->machine = (struct state_machine){.context = primary,
                                            .durable = machine_durable,
                                            .committed = machine_committed,
                                            .is_full = machine_is_full,
                                            .role = machine_role,
                                            .fatal = machine_fatal};
  primary_snapshot_hooks(&primary->machine);
  *result = primary;
  return 0;
}

const struct state_machine *primary_state_machine(struct primary *primary) {
  return &primary->machine;
}

void primary_attach(struct primary *primary, struct journal *journal) {
  primary->journal = journal;
}

struct journal *primary_journal(const struct primary *primary) {
  return primary->journal;
}

void primary_on_fatal(struct primary *primary, void (*fatal)(void *context, const struct error *error),
                      void *context) {
  primary->fatal = fatal;
  primary->fatal_context = context;
}

struct primary_status primary_status(const struct primary *primary) {
  struct primary_status status = {.role = primary->role,
                                  .applied_index = tables_applied(primary->tables)->index,
                                  .inodes = tables_applied(primary->tables)->counters.inodes,
                                  .blocks = tables_applied(primary->tables)->counters.blocks};
  if (primary->journal)
    status.journal = primary->journal->functions->status(primary->journal);
  return status;
}

const struct primary_statistics *primary_statistics(const struct primary *primary) {
  return &primary->statistics;
}

struct tables_statistics primary_tables_statistics(const struct primary *primary) {
  return tables_statistics(primary->tables);
}

uint64_t primary_state_hash(struct primary *primary) {
  const uint64_t hash = tables_hash(primary->tables);
  primary_check_tables(primary);
  return hash;
}

void primary_free(struct primary *primary) {
  primary->freed = true;
  drop_work(primary, STATUS_UNAVAILABLE);
  deliver_replies(primary);
  primary_close_loads(primary);
  assert(primary->pending_count == 0);
  while (primary->rounds) {
    struct read_round *round = primary->rounds;
    primary->rounds = round->next;
    free(round);
  }
  tables_close(primary->tables);
  namespace_free(&primary->space);
  overlay_free(primary->overlay);
  listing_free(&primary->listing);
  worker_registry_free(primary->workers);
  bytes_free(&primary->unsent);
  bytes_free(&primary->defects.first_bytes);
  if (!primary->turn_scheduled)
    free(primary); /* else the turn that is due does */
}
