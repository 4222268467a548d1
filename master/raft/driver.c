/* driver.c: the Raft journal: its functions, starting and closing, the turn, roles. */
#include "master/raft/driver.h"

#include "master/bugs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
  DEFAULT_ELECTION_TIMEOUT_MS = 300,
  DEFAULT_HEARTBEAT_MS = 50,
  DEFAULT_SNAPSHOT_THRESHOLD = 16384,
  DEFAULT_SNAPSHOT_TRAILING = 4096,
  DEFAULT_SEGMENT_SIZE = 16 << 20,
  DEFAULT_CACHE_SIZE = 64 << 20,
};

/* Bytes of a large entry: with less room than that the disk counts as full. */
#define ROOM_FOR_A_BATCH (256u << 10)

int64_t driver_now_ns(const struct driver *driver) {
  return driver->world->now_ns(driver->world->context);
}

void driver_fail(struct driver *driver, const struct error *error) {
  if (driver->state == DRIVER_FAILED || driver->state == DRIVER_CLOSING)
    return;
  driver->state = DRIVER_FAILED;
  driver->state_machine->fatal(driver->state_machine->context, error);
}

/* -- roles ---------------------------------------------------------------------------------------------- */

/* raft forgets its leader when it stands for election. Who is no voter never does, and would name for ever
 * one that is long gone: a node that was removed. */
static bool is_forgotten(const struct driver *driver) {
  const int64_t silent_ns = driver_now_ns(driver) - driver->leader_heard_ns;
  return !driver_is_voter(driver_own_server(driver)) &&
         silent_ns > 2 * (int64_t)driver->options.election_timeout_ms * NS_PER_MS;
}

void driver_update_role(struct driver *driver) {
  raft_id leader;
  const char *address;
  raft_leader(&driver->raft, &leader, &address);
  const bool leads = raft_state(&driver->raft) == RAFT_LEADER;
  const enum journal_role role = leads ? JOURNAL_LEADER : JOURNAL_FOLLOWER;
  const uint64_t term = raft_current_term(&driver->raft);
  if (leads)
    leader = driver->options.id; /* also while it hands over */
  else if (leader != 0 && is_forgotten(driver))
    leader = 0;
  if (role == driver->role && term == driver->role_term && leader == driver->role_leader)
    return;
  const bool lost = driver->role == JOURNAL_LEADER && !leads;
  const bool won = driver->role != JOURNAL_LEADER && leads;
  driver->role = role;
  driver->role_term = term;
  driver->role_leader = leader;
  if (lost) {
    log_info("no longer leader; term %" PRIu64, term);
    driver_forget_tokens(driver);
    driver_drop_offers(driver);
    driver_lose_change(driver);
  }
  if (won) {
    log_info("leader of term %" PRIu64 ", last entry %" PRIu64 ", committed %" PRIu64, term,
             wal_last_index(driver->wal), (uint64_t)raft_commit_index(&driver->raft));
    driver->inherited_index = wal_last_index(driver->wal);
    if (bug_active(BUG_COMMIT_OLD_TERM))
      driver->own_entries_ns = driver_now_ns(driver) + driver->options.election_timeout_ms * NS_PER_MS;
    for (size_t i = 0; i < driver->peer_count; i++)
      driver->peers[i]->shortfalls = 0;
  }
  driver->state_machine->role(driver->state_machine->context, role, term, leader);
  /* A leader's rounds, and a follower's queries to another leader or in another term. */
  driver_fail_confirms(driver);
}

/* -- time ----------------------------------------------------------------------------------------------- */

/* The timer is only ever set earlier: most steps move raft's time-out away, and a timer that fires too early
 * looks again and is set anew. */
void driver_arm_tick(struct driver *driver) {
  if (driver->state != DRIVER_RUNNING)
    return;
  const int64_t at_ns = (int64_t)raft_timeout(&driver->raft) * 1000000;
  if (driver->tick_at_ns != 0 && driver->tick_at_ns <= at_ns)
    return;
  driver->tick_at_ns = at_ns;
  driver->world->timer_set(driver->tick, at_ns);
}

/* A process that was starved of CPU finds its timer expired and the peers' frames unread. They are read
 * first: else a leader would step down with its majority's answers in the socket, and a follower stand for
 * election with the heartbeat. */
static void tick_fired(void *owner) {
  struct driver *driver = owner;
  driver->tick_at_ns = 0;
  if (driver->state != DRIVER_RUNNING)
    return;
  driver->tick_wanted = true;
  driver_wake(driver);
}

static void tick(struct driver *driver) {
  if (driver_now_ns(driver) / 1000000 >= (int64_t)raft_timeout(&driver->raft)) {
    if (raft_state(&driver->raft) == RAFT_FOLLOWER && driver_is_sole_voter(driver))
      driver_raise_term(driver);
    driver_step(driver, &(struct raft_event){.type = RAFT_TIMEOUT}, NULL);
    driver_expire_offers(driver);
  }
  /* Never at once again: raft counts in milliseconds. */
  if (driver->state == DRIVER_RUNNING && driver->tick_at_ns == 0) {
    const int64_t soon = driver_now_ns(driver) + 1000000;
    driver_arm_tick(driver);
    if (driver->tick_at_ns < soon) {
      driver->tick_at_ns = soon;
      driver->world->timer_set(driver->tick, soon);
    }
  }
}

/* -- the turn ------------------------------------------------------------------------------------------- */

static void begin(struct driver *driver);

static void turn(void *owner) {
  struct driver *driver = owner;
  driver->turn_deferred = false;
  if (driver->state == DRIVER_CLOSING) {
    driver_fail_confirms(driver);
    driver_end_changes(driver);
    driver_closing_progress(driver);
    return;
  }
  if (driver->begin_wanted && driver->state == DRIVER_BOOTSTRAPPING) {
    driver->begin_wanted = false;
    if (driver->options.recovery != RECOVERY_NONE) {
      driver->options.recovered(driver->options.recovered_context, &driver->recovery);
      return;
    }
    begin(driver);
  }
  if (driver->state != DRIVER_RUNNING)
    return;
  if (driver->tick_wanted) {
    driver->tick_wanted = false;
    tick(driver);
  }
  if (driver->state == DRIVER_RUNNING && driver_has_changes(driver))
    driver_progress_changes(driver);
  if (driver->state == DRIVER_RUNNING)
    driver_begin_round(driver);
  if (driver->state == DRIVER_RUNNING && driver->apply_wanted) {
    driver->apply_wanted = false;
    driver_apply(driver); /* held back until something became durable */
  }
  if (driver->state == DRIVER_RUNNING && driver->compact_wanted) {
    driver->compact_wanted = false;
    driver_compact(driver);
  }
  if (driver->state == DRIVER_RUNNING && driver->flush_wanted) {
    driver->flush_wanted = false;
    wal_flush(driver->wal);
  }
}

void driver_wake(struct driver *driver) {
  if (driver->turn_deferred)
    return;
  driver->turn_deferred = true;
  driver->world->defer(driver->world->context, turn, driver);
}

void driver_flush_soon(struct driver *driver) {
  driver->flush_wanted = true;
  driver_wake(driver);
}

/* -- what the log reports ------------------------------------------------------------------------------- */

static void persisted(void *owner, uint64_t index) {
  struct driver *driver = owner;
  if (driver->state == DRIVER_BOOTSTRAPPING) {
    driver->begin_wanted = true; /* or the recovery is done */
    driver_wake(driver);
  }
  if (driver->state != DRIVER_RUNNING || index <= driver->raft.last_stored)
    return;
  struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES, .persisted_entries.index = index};
  if (driver_step(driver, &event, NULL) == 0)
    driver_apply(driver); /* committed before they were durable here */
}

static void term_durable(void *owner) {
  struct driver *driver = owner;
  if (driver->state == DRIVER_RUNNING)
    driver_release_held(driver);
}

static void log_failed(void *owner, const struct error *error) {
  driver_fail(owner, error);
}

/* -- starting ------------------------------------------------------------------------------------------- */

/* The first membership, byte for byte the same on every member: so each may write it as entry 1 of term 1 by
 * itself, and all logs agree without anybody having been asked. */
static void append_members(struct driver *driver, uint64_t index, uint64_t term) {
  struct bytes encoded = {0};
  driver_encode_members(&driver->options, &encoded);
  struct batch *batch = batch_new(encoded.size);
  memcpy(batch->data, encoded.data, encoded.size);
  bytes_free(&encoded);
  const struct wal_entry entry = {.term = term,
                                  .checksum = checksum(batch->data, batch->size),
                                  .size = (uint32_t)batch->size,
                                  .type = RAFT_CHANGE,
                                  .batch = batch,
                                  .data = batch->data};
  wal_set_term(driver->wal, term, 0);
  wal_append(driver->wal, index, &entry, 1);
  batch_drop(batch);
}

static void open_raft(struct driver *driver) {
  struct raft *raft = &driver->raft;
  char address[24];
  snprintf(address, sizeof address, "%" PRIu64, driver->options.id);
  const int status = raft_init(raft, NULL, NULL, driver->options.id, address);
  assert(status == 0);
  driver->raft_open = true;
  raft->tracer = NULL;
  raft_seed(raft, (unsigned)driver->world->random(driver->world->context));
  raft_set_election_timeout(raft, driver->options.election_timeout_ms);
  raft_set_heartbeat_timeout(raft, driver->options.heartbeat_ms);
  /* How soon raft says "install" again; while the offer stands, that only repeats its manifest. */
  raft_set_install_snapshot_timeout(raft, 1000);
  raft_set_max_inflight_entries(raft, FOLLOWER_ENTRIES);
  raft_set_pre_vote(raft, true);
}

/* raft needs the terms of all entries and the payloads of membership changes only. */
static struct raft_entry *entries_for_raft(struct driver *driver, size_t count) {
  struct raft_entry *entries = xcalloc(count + 1, sizeof *entries);
  for (size_t i = 0; i < count; i++) {
    const uint64_t index = wal_base_index(driver->wal) + 1 + i;
    const struct wal_entry *entry = wal_entry(driver->wal, index);
    entries[i] = (struct raft_entry){.term = entry->term, .type = entry->type, .batch = driver};
    if (entry->type == RAFT_CHANGE) {
      uint64_t configuration_index;
      const struct bytes *encoded = wal_configuration_at(driver->wal, index, &configuration_index);
      assert(configuration_index == index);
      entries[i].buf = (struct raft_buffer){.base = encoded->data, .len = encoded->size};
    }
  }
  return entries;
}

/* A single voter is leader as soon as raft starts, in the term that the log has: raft 0.22.1 begins none.
 * What it appended there before, and lost, others may have: so it begins one here. */
static void begin_term_alone(struct driver *driver) {
  uint64_t index;
  const struct bytes *encoded = wal_configuration_at(driver->wal, wal_last_index(driver->wal), &index);
  if (!encoded)
    return;
  driver_decode_configuration(encoded->data, encoded->size, &driver->raft.configuration);
  if (driver_is_sole_voter(driver)) {
    wal_set_term(driver->wal, wal_term(driver->wal) + 1, driver->options.id);
    driver_flush_soon(driver);
  }
  raft_configuration_close(&driver->raft.configuration);
  raft_configuration_init(&driver->raft.configuration);
}

/* raft starts with what the log holds, and with the state as its snapshot. */
static void begin(struct driver *driver) {
  open_raft(driver);
  begin_term_alone(driver);
  driver->state = DRIVER_RUNNING;
  struct raft_snapshot_metadata metadata = {.index = driver->applied_index};
  struct raft_event event = {.type = RAFT_START};
  event.start.term = wal_term(driver->wal);
  event.start.voted_for = wal_vote(driver->wal);
  if (metadata.index > 0) {
    uint64_t configuration_index;
    const struct bytes *encoded = wal_configuration_at(driver->wal, metadata.index, &configuration_index);
    assert(encoded);
    metadata.term = wal_term_at(driver->wal, metadata.index);
    metadata.configuration_index = configuration_index;
    driver_decode_configuration(encoded->data, encoded->size, &metadata.configuration);
    event.start.metadata = &metadata;
  }
  const size_t count = (size_t)(wal_last_index(driver->wal) - wal_base_index(driver->wal));
  struct raft_entry *entries = entries_for_raft(driver, count);
  event.start.start_index = wal_base_index(driver->wal) + 1;
  event.start.entries = entries;
  event.start.n_entries = (unsigned)count;
  driver->snapshot_index = driver->checked_at = metadata.index;
  driver->first_index = event.start.start_index;
  log_info("raft starts: term %" PRIu64 ", log (%" PRIu64 ", %" PRIu64 "], state at %" PRIu64,
           wal_term(driver->wal), wal_base_index(driver->wal), wal_last_index(driver->wal),
           driver->applied_index);
  driver->world->receive(driver->world->context, driver_frame_received, driver);
  driver_step(driver, &event, NULL);
  free(entries);
}

static struct driver *driver_of(const struct journal *journal) {
  return CONTAINER_OF(journal, struct driver, door);
}

/* Other members take over a log whose voters are lost. The entry is of a term that nobody voted in: no leader
 * of the old members can have one there. */
static int recover(struct driver *driver, struct error *error) {
  struct journal_recovery *recovery = &driver->recovery;
  const uint64_t last = wal_last_index(driver->wal);
  uint64_t index;
  const struct bytes *encoded = wal_configuration_at(driver->wal, last, &index);
  if (!encoded)
    return error_set(error, ERR_BAD_INPUT,
                     "the data directory holds no journal: there is nothing to recover");
  struct raft_configuration before;
  driver_decode_configuration(encoded->data, encoded->size, &before);
  *recovery = (struct journal_recovery){.last_index = last,
                                        .last_term = wal_term_at(driver->wal, last),
                                        .applied_index = driver->applied_index};
  for (unsigned i = 0; i < before.n && i < JOURNAL_MEMBERS_MAX; i++)
    recovery->members[recovery->member_count++] = before.servers[i].id;
  raft_configuration_close(&before);
  if (driver->options.recovery == RECOVERY_WRITE) {
    append_members(driver, last + 1, wal_term(driver->wal) + 1);
    wal_flush(driver->wal);
  } else {
    driver->begin_wanted = true;
    driver_wake(driver);
  }
  return 0;
}

static int start(struct journal *journal, struct error *error) {
  struct driver *driver = driver_of(journal);
  assert(driver->state == DRIVER_NEW);
  struct wal_options options = {
      .world = driver->world,
      .cluster = driver->options.cluster,
      .node = driver->options.id,
      .segment_size = driver->options.segment_size,
      .cache_size = driver->options.cache_size,
      .observer = {
          .owner = driver, .persisted = persisted, .term_durable = term_durable, .failed = log_failed}};
  driver->state_machine->durable(driver->state_machine->context, &options.durable_index,
                                 &options.durable_term);
  const int status = wal_open(&options, &driver->wal, error);
  if (status != 0)
    return status;
  driver->state = DRIVER_BOOTSTRAPPING;
  driver->applied_index = options.durable_index;
  driver->restored_index = options.durable_index;
  if (driver->options.recovery != RECOVERY_NONE)
    return recover(driver, error);
  if (wal_is_empty(driver->wal) && wal_term(driver->wal) == 0 && driver->options.member_count > 0) {
    append_members(driver, 1, 1);
    wal_flush(driver->wal);
  } else {
    driver->begin_wanted = true;
    driver_wake(driver);
  }
  return 0;
}

/* -- the door ------------------------------------------------------------------------------------------- */

/* An entry of the present term with a copy of the data, as the log and as raft see it. */
static struct wal_entry new_entry(const struct driver *driver, unsigned short type, const void *data,
                                  size_t size, void *token, struct raft_entry *raft_entry) {
  struct batch *batch = batch_new(size);
  if (size > 0)
    memcpy(batch->data, data, size);
  *raft_entry = (struct raft_entry){.term = raft_current_term(&driver->raft),
                                    .type = type,
                                    .buf = {.base = batch->data, .len = size},
                                    .batch = batch};
  return (struct wal_entry){.term = raft_entry->term,
                            .checksum = checksum(batch->data, size),
                            .size = (uint32_t)size,
                            .type = (uint8_t)type,
                            .batch = batch,
                            .data = batch->data,
                            .token = token};
}

int driver_submit(struct driver *driver, unsigned short type, const void *data, size_t size, void *token) {
  struct raft_entry raft_entry;
  const struct wal_entry entry = new_entry(driver, type, data, size, token, &raft_entry);
  struct raft_event event = {.type = RAFT_SUBMIT, .submit = {.entries = &raft_entry, .n = 1}};
  const struct step_entries entries = {.raft = &raft_entry, .log = &entry, .count = 1};
  const int code = driver_step(driver, &event, &entries);
  if (code != 0)
    batch_drop(entry.batch);
  return code;
}

/* The defect old-primary-writes: nothing fences this node's own log off. It takes the entry in the present
 * term, as if the leader had sent it. */
static int append_deposed(struct driver *driver, const void *data, size_t size) {
  const uint64_t previous = wal_last_index(driver->wal);
  const struct driver_peer *leader = driver_peer(driver, driver->role_leader);
  if (driver->state != DRIVER_RUNNING || raft_state(&driver->raft) != RAFT_FOLLOWER || !leader ||
      driver->reception.active || !wal_has_room(driver->wal, size))
    return ERR_NOT_PRIMARY;
  struct raft_entry raft_entry;
  const struct wal_entry entry = new_entry(driver, RAFT_COMMAND, data, size, NULL, &raft_entry);
  struct raft_message message = {
      .type = RAFT_APPEND_ENTRIES, .server_id = leader->id, .server_address = leader->address};
  message.append_entries = (struct raft_append_entries){.term = raft_entry.term,
                                                        .prev_log_index = previous,
                                                        .prev_log_term = wal_term_at(driver->wal, previous),
                                                        .leader_commit = raft_commit_index(&driver->raft),
                                                        .entries = &raft_entry,
                                                        .n_entries = 1};
  struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = &message};
  const struct step_entries entries = {.raft = &raft_entry, .log = &entry, .count = 1};
  return driver_step(driver, &event, &entries) == 0 ? 0 : ERR_NOT_PRIMARY;
}

static int append(struct journal *journal, const void *data, size_t size, void *token) {
  struct driver *driver = driver_of(journal);
  assert(size > 0 && size <= JOURNAL_APPEND_LIMIT && token);
  if (bug_active(BUG_OLD_PRIMARY_WRITES) && !driver_leads(driver))
    return append_deposed(driver, data, size);
  if (!driver_leads(driver))
    return ERR_NOT_PRIMARY;
  if (!wal_has_room(driver->wal, size))
    return ERR_NO_SPACE;
  if (driver->in_flight > 0 && driver->in_flight + size > IN_FLIGHT_LIMIT)
    return ERR_OVERLOADED;
  driver->in_flight += size;
  driver->appending = true;
  const int code = driver_submit(driver, RAFT_COMMAND, data, size, token);
  driver->appending = false;
  if (code != 0) {
    driver->in_flight -= size;
    return ERR_NOT_PRIMARY; /* leadership is being handed over */
  }
  wal_flush(driver->wal);
  return 0;
}

static void confirm(struct journal *journal, void (*done)(void *context, int status, uint64_t read_index),
                    void *context) {
  driver_confirm(driver_of(journal), done, context);
}

static size_t in_flight(const struct journal *journal) {
  return driver_of(journal)->in_flight;
}

static struct journal_status status(const struct journal *journal) {
  const struct driver *driver = driver_of(journal);
  if (!driver->raft_open)
    return (struct journal_status){0};
  return (struct journal_status){.role = driver->role,
                                 .term = driver->role_term,
                                 .leader = driver->role_leader,
                                 .last_index = wal_last_index(driver->wal),
                                 .commit_index = raft_commit_index(&driver->raft),
                                 .first_index = driver->first_index,
                                 .snapshot_index = driver->snapshot_index,
                                 .disk_full = !wal_has_room(driver->wal, ROOM_FOR_A_BATCH),
                                 .snapshots = {.taking = driver_takes_snapshot(driver),
                                               .sending = driver_sends_snapshot(driver),
                                               .installing = driver->reception.active,
                                               .begun = driver->snapshots_begun,
                                               .taken = driver->snapshots_taken,
                                               .sent = driver->snapshots_sent,
                                               .installed = driver->snapshots_installed}};
}

static void durable_moved(struct journal *journal) {
  struct driver *driver = driver_of(journal);
  driver->snapshots_taken += driver->forcing;
  driver->forcing = false;
  driver->compact_wanted = true;
  driver->apply_wanted = true;
  driver_wake(driver);
}

static void cut(struct journal *journal) {
  struct driver *driver = driver_of(journal);
  driver->cut_wanted = true;
  driver->compact_wanted = true;
  driver_wake(driver);
}

/* -- closing -------------------------------------------------------------------------------------------- */

static void free_members(const struct raft_journal_options *own) {
  for (size_t i = 0; own->addresses && i < own->member_count; i++)
    free((void *)(uintptr_t)own->addresses[i]);
  free((void *)(uintptr_t)own->addresses);
  free((void *)(uintptr_t)own->members);
}

static void free_driver(struct driver *driver) {
  if (driver->raft_open)
    raft_close(&driver->raft, NULL);
  driver->world->timer_free(driver->tick);
  driver->world->timer_free(driver->confirm_retry);
  driver->world->timer_free(driver->reception_retry);
  wire_scratch_free(&driver->scratch);
  bytes_free(&driver->head);
  bytes_free(&driver->held);
  bytes_free(&driver->reception.configuration);
  free(driver->append_entries);
  free(driver->append_vectors);
  free(driver->calls.calls);
  for (size_t i = 0; i < driver->peer_count; i++)
    free(driver->peers[i]);
  free(driver->peers);
  free_members(&driver->options);
  free(driver);
}

void driver_closing_progress(struct driver *driver) {
  if (driver->state != DRIVER_CLOSING || !driver->wal_closed || driver->turn_deferred || driver->opens > 0 ||
      driver->reception.calls + driver->reception.void_calls > 0)
    return;
  void (*closed)(void *) = driver->closed;
  void *context = driver->closed_context;
  free_driver(driver);
  closed(context);
}

static void log_closed(void *owner) {
  struct driver *driver = owner;
  driver->wal_closed = true;
  driver->wal = NULL;
  driver_closing_progress(driver);
}

static void close_journal(struct journal *journal, void (*done)(void *context), void *context) {
  struct driver *driver = driver_of(journal);
  assert(driver->state != DRIVER_CLOSING);
  driver->world->receive(driver->world->context, NULL, NULL);
  driver->world->timer_clear(driver->tick);
  driver->world->timer_clear(driver->confirm_retry);
  driver->closed = done;
  driver->closed_context = context;
  driver_drop_offers(driver);
  driver_drop_reception(driver);
  driver->state = DRIVER_CLOSING;
  if (driver->wal)
    wal_close(driver->wal, log_closed, driver);
  else
    driver->wal_closed = true;
  driver_wake(driver);
}

static void copy_members(struct raft_journal_options *own) {
  const size_t count = own->member_count;
  uint64_t *members = xcalloc(count + 1, sizeof *members);
  const char **addresses = own->addresses ? xcalloc(count + 1, sizeof *addresses) : NULL;
  bool there = count == 0;
  for (size_t i = 0; i < count; i++) {
    members[i] = own->members[i];
    there |= members[i] == own->id;
    if (addresses)
      addresses[i] = xstrdup(own->addresses[i]);
  }
  assert(there && "the members must hold this node");
  own->members = members;
  own->addresses = addresses;
}

struct journal *raft_journal_new(const struct raft_journal_options *options, const struct world *world,
                                 const struct state_machine *state) {
  static const struct journal_functions functions = {.start = start,
                                                     .append = append,
                                                     .confirm = confirm,
                                                     .in_flight = in_flight,
                                                     .status = status,
                                                     .durable_moved = durable_moved,
                                                     .membership = driver_membership,
                                                     .member_address = driver_member_address,
                                                     .change = driver_change,
                                                     .transfer = driver_transfer,
                                                     .cut = cut,
                                                     .close = close_journal};
  struct driver *driver = xcalloc(1, sizeof *driver);
  driver->door.functions = &functions;
  driver->options = *options;
  driver->world = world;
  driver->state_machine = state;
  struct raft_journal_options *own = &driver->options;
  own->election_timeout_ms =
      own->election_timeout_ms ? own->election_timeout_ms : DEFAULT_ELECTION_TIMEOUT_MS;
  own->heartbeat_ms = own->heartbeat_ms ? own->heartbeat_ms : DEFAULT_HEARTBEAT_MS;
  own->snapshot_threshold = own->snapshot_threshold ? own->snapshot_threshold : DEFAULT_SNAPSHOT_THRESHOLD;
  own->snapshot_trailing = own->snapshot_trailing ? own->snapshot_trailing : DEFAULT_SNAPSHOT_TRAILING;
  own->segment_size = own->segment_size ? own->segment_size : DEFAULT_SEGMENT_SIZE;
  own->cache_size = own->cache_size ? own->cache_size : DEFAULT_CACHE_SIZE;
  own->piece_size = own->piece_size ? own->piece_size : SNAPSHOT_CHUNK;
  assert(own->id > 0 && own->heartbeat_ms < own->election_timeout_ms);
  copy_members(own);
  driver->append_entries = xcalloc(WIRE_ENTRIES, sizeof(struct wal_entry *));
  driver->append_vectors = xcalloc(1 + WIRE_ENTRIES, sizeof *driver->append_vectors);
  driver->round = world->random(world->context) >> 2 | 1;
  driver->next_transfer = world->random(world->context);
  driver->tick = world->timer_new(world->context, tick_fired, driver);
  driver->confirm_retry = world->timer_new(world->context, driver_retry_confirm, driver);
  driver->reception_retry = world->timer_new(world->context, driver_retry_reception, driver);
  return &driver->door;
}
