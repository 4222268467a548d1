/* change.c: changes of membership and of leadership that were asked for.
 *
 * One server at a time (dissertation, §4.1), and in each term only after an entry of that term has committed:
 * without that, two leaders that each know of a change the other does not can commit by majorities that share
 * nobody (Ongaro, "bug in single-server membership changes", raft-dev 2015). raft 0.22.1 leaves that to us. A
 * standby becomes voter when it has all but the last few entries, so that a majority that needs it does not
 * wait for it (§4.2.1). A leader does not remove itself: were it to fall with that entry and without the
 * others having it, nobody could be elected, for it has the longest log and would not stand (§4.2.2 lets it
 * stand, raft does not). */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/raft/driver.h"

/* How far behind the last entry a member may be that becomes a voter: what is on its way to it at once. */
#define CATCH_UP_ENTRIES FOLLOWER_ENTRIES
/* How long a change waits for what it needs. */
#define PATIENCE_NS (10 * NS_PER_S)
/* A transfer takes a round of votes; raft itself gives up after one election time-out. */
#define TRANSFER_TIMEOUTS 4

static struct driver *driver_of(struct journal *journal) {
  return CONTAINER_OF(journal, struct driver, door);
}

static int refuse_follower(const struct driver *driver, struct error *error) {
  if (driver_leads(driver))
    return 0;
  return error_set(error, ERR_NOT_PRIMARY, "this node does not lead: ask the primary");
}

/* -- the new configuration ------------------------------------------------------------------------------- */

static unsigned find(const struct raft_configuration *configuration, uint64_t id) {
  unsigned i = 0;
  while (i < configuration->n && configuration->servers[i].id != id)
    i++;
  return i;
}

static unsigned voters_of(const struct raft_configuration *configuration) {
  unsigned voters = 0;
  for (unsigned i = 0; i < configuration->n; i++)
    voters += driver_is_voter(&configuration->servers[i]);
  return voters;
}

static int check_add(const struct raft_configuration *now, const struct change *change, struct error *error) {
  if (change->id == 0 || change->address[0] == '\0')
    return error_set(error, ERR_BAD_INPUT, "a new member needs a number and an address");
  if (now->n >= JOURNAL_MEMBERS_MAX)
    return error_set(error, ERR_BAD_INPUT, "there are %u members, and no more are taken", now->n);
  for (unsigned i = 0; i < now->n; i++) {
    if (now->servers[i].id == change->id)
      return error_set(error, ERR_BAD_INPUT, "node %" PRIu64 " is a member already: remove it first",
                       change->id);
    if (strcmp(now->servers[i].address, change->address) == 0)
      return error_set(error, ERR_BAD_INPUT, "node %llu has the address %s already", now->servers[i].id,
                       change->address);
  }
  return 0;
}

/* Whether the change makes sense now. */
static int check(const struct driver *driver, const struct change *change, struct error *error) {
  const struct raft_configuration *now = &driver->raft.configuration;
  if (change->kind == CHANGE_ADD)
    return check_add(now, change, error);
  const unsigned at = find(now, change->id);
  if (at == now->n)
    return error_set(error, ERR_BAD_INPUT, "there is no member %" PRIu64, change->id);
  const bool voter = driver_is_voter(&now->servers[at]);
  if (change->kind == CHANGE_PROMOTE && voter)
    return error_set(error, ERR_BAD_INPUT, "node %" PRIu64 " is a voter already", change->id);
  if (change->kind == CHANGE_DEMOTE && !voter)
    return error_set(error, ERR_BAD_INPUT, "node %" PRIu64 " is no voter", change->id);
  if (change->kind != CHANGE_PROMOTE && change->id == driver->options.id)
    return error_set(error, ERR_BAD_INPUT, "node %" PRIu64 " leads: hand leadership over first", change->id);
  if (change->kind != CHANGE_PROMOTE && voter && voters_of(now) == 1)
    return error_set(error, ERR_BAD_INPUT,
                     "node %" PRIu64 " is the only voter: without it nothing could commit", change->id);
  return 0;
}

/* The configuration with the change made, encoded; raft_free() frees it. The servers that stay keep their
 * order, for raft keeps what it knows of each by its place. */
static struct raft_buffer encode(const struct driver *driver, const struct change *change) {
  const struct raft_configuration *now = &driver->raft.configuration;
  struct raft_configuration next;
  raft_configuration_init(&next);
  int status = 0;
  for (unsigned i = 0; i < now->n && status == 0; i++) {
    const struct raft_server *server = &now->servers[i];
    int role = server->role;
    if (server->id == change->id && change->kind == CHANGE_REMOVE)
      continue;
    if (server->id == change->id)
      role = change->kind == CHANGE_PROMOTE ? RAFT_VOTER : RAFT_STANDBY;
    status = raft_configuration_add(&next, server->id, server->address, role);
  }
  if (status == 0 && change->kind == CHANGE_ADD)
    status = raft_configuration_add(&next, change->id, change->address, RAFT_STANDBY);
  struct raft_buffer encoded = {0};
  if (status == 0)
    status = raft_configuration_encode(&next, &encoded);
  assert(status == 0 && "check() has seen to that");
  raft_configuration_close(&next);
  return encoded;
}

/* -- the change that is under way -------------------------------------------------------------------------
 */

static void end(struct driver *driver, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void end(struct driver *driver, int status, const char *format, ...) {
  struct change *change = &driver->change;
  va_list arguments;
  change->stage = CHANGE_ENDED;
  change->status = status;
  change->error = (struct error){.code = (enum error_code)status};
  va_start(arguments, format);
  vsnprintf(change->error.message, sizeof change->error.message, format, arguments);
  va_end(arguments);
  driver_wake(driver);
}

int driver_change(struct journal *journal, const struct journal_change *asked, journal_changed *changed,
                  void *context, struct error *error) {
  struct driver *driver = driver_of(journal);
  int status = refuse_follower(driver, error);
  if (status != 0)
    return status;
  if (driver->change.stage != CHANGE_NONE || driver->transfer.active)
    return error_set(error, ERR_OVERLOADED, "another change is under way: try again when it is done");
  struct change change = {.stage = CHANGE_WAITING,
                          .kind = asked->kind,
                          .id = asked->id,
                          .round_index = wal_last_index(driver->wal),
                          .asked_ns = driver_now_ns(driver),
                          .deadline_ns = driver_now_ns(driver) + PATIENCE_NS,
                          .changed = changed,
                          .context = context};
  if (asked->address && strlen(asked->address) >= sizeof change.address)
    return error_set(error, ERR_BAD_INPUT, "the address is longer than %zu bytes", sizeof change.address - 1);
  snprintf(change.address, sizeof change.address, "%s", asked->address ? asked->address : "");
  status = check(driver, &change, error);
  if (status != 0)
    return status;
  driver->change = change;
  driver_wake(driver);
  return 0;
}

static bool own_term_committed(const struct driver *driver) {
  const uint64_t commit = raft_commit_index((struct raft *)(uintptr_t)&driver->raft);
  return wal_term_at(driver->wal, commit) == raft_current_term((struct raft *)(uintptr_t)&driver->raft);
}

/* An empty entry, unless there is one of our term that has only to commit. */
static void begin_term(struct driver *driver) {
  if (wal_term_at(driver->wal, wal_last_index(driver->wal)) != raft_current_term(&driver->raft))
    driver_submit(driver, RAFT_BARRIER, NULL, 0, NULL);
}

/* Whether the member that becomes voter has come far enough. A round ends where the log ended when it began
 * (§4.2.1). */
static bool has_caught_up(struct driver *driver) {
  struct change *change = &driver->change;
  raft_index match = 0;
  if (change->kind != CHANGE_PROMOTE)
    return true;
  const struct driver_peer *peer = driver_peer(driver, change->id);
  if (raft_match_index(&driver->raft, change->id, &match) != 0 || match < change->round_index || !peer ||
      peer->acknowledged_ns < change->asked_ns)
    return false; /* what it acknowledged before, it may have lost */
  change->round_index = wal_last_index(driver->wal);
  return change->round_index - match <= CATCH_UP_ENTRIES;
}

static void append(struct driver *driver) {
  struct change *change = &driver->change;
  struct error error;
  raft_index match = 0;
  const int status = check(driver, change, &error);
  if (status != 0) {
    end(driver, status, "%s", error.message);
    return;
  }
  raft_match_index(&driver->raft, change->id, &match);
  change->match_index = match;
  struct raft_buffer encoded = encode(driver, change);
  change->index = wal_last_index(driver->wal) + 1;
  change->stage = CHANGE_APPENDED;
  if (driver_submit(driver, RAFT_CHANGE, encoded.base, encoded.len, NULL) != 0) {
    change->stage = CHANGE_WAITING;
    change->index = 0;
  }
  raft_free(encoded.base);
}

static void give_up(struct driver *driver) {
  const struct change *change = &driver->change;
  raft_index match = 0;
  raft_match_index(&driver->raft, change->id, &match);
  if (change->kind == CHANGE_PROMOTE && own_term_committed(driver))
    end(driver, ERR_TIMEOUT,
        "node %" PRIu64 " has not caught up: it has entries up to %llu of %" PRIu64
        "; it stays standby, try again when it has them",
        change->id, match, wal_last_index(driver->wal));
  else
    end(driver, ERR_TIMEOUT, "a majority of the voters does not answer: nothing was changed");
}

static void progress_change(struct driver *driver) {
  struct change *change = &driver->change;
  if (change->stage == CHANGE_WAITING) {
    if (!own_term_committed(driver))
      begin_term(driver);
    else if (driver->raft.configuration_uncommitted_index == 0 && wal_has_room(driver->wal, 1u << 12) &&
             has_caught_up(driver))
      append(driver);
    if (change->stage == CHANGE_WAITING && driver_now_ns(driver) >= change->deadline_ns)
      give_up(driver);
  }
}

static void tell_change(struct driver *driver) {
  if (driver->change.stage != CHANGE_ENDED)
    return;
  const struct change ended = driver->change;
  driver->change = (struct change){0};
  ended.changed(ended.context, ended.status, &ended.error);
}

/* A member that is removed is sent no more entries by raft, and would not know of it. Best effort. */
static void say_goodbye(struct driver *driver, const struct change *change) {
  const uint64_t base = wal_base_index(driver->wal);
  if (change->kind == CHANGE_REMOVE && change->id != driver->options.id && driver_peer(driver, change->id) &&
      change->match_index >= base && change->match_index > 0 &&
      change->index - change->match_index <= WIRE_ENTRIES)
    driver_send_cached(driver, change->id, change->match_index + 1, change->index);
}

void driver_change_committed(struct driver *driver, uint64_t index) {
  const struct change *change = &driver->change;
  if (change->stage != CHANGE_APPENDED || index != change->index)
    return;
  log_info("the change of membership at index %" PRIu64 " is committed", index);
  if (driver_leads(driver))
    say_goodbye(driver, change);
  end(driver, 0, "committed at index %" PRIu64, index);
}

void driver_lose_change(struct driver *driver) {
  if (driver->change.stage == CHANGE_WAITING)
    end(driver, ERR_NOT_PRIMARY, "this node leads no more: nothing was changed");
  else if (driver->change.stage == CHANGE_APPENDED)
    end(driver, ERR_UNAVAILABLE,
        "leadership was lost before the change was committed: look at the members whether it came to be");
}

/* -- transfer -------------------------------------------------------------------------------------------- */

static int explain_transfer(const struct driver *driver, int code, uint64_t id, struct error *error) {
  if (code == RAFT_BADID)
    return error_set(
        error, ERR_BAD_INPUT,
        id == driver->options.id ? "node %" PRIu64 " leads already" : "node %" PRIu64 " is no voter", id);
  if (code == RAFT_NOTFOUND)
    return error_set(error, ERR_BAD_INPUT, "there is no other voter that could lead");
  return error_set(error, ERR_OVERLOADED, "leadership is being handed over already");
}

int driver_transfer(struct journal *journal, uint64_t id, journal_changed *changed, void *context,
                    struct error *error) {
  struct driver *driver = driver_of(journal);
  const int status = refuse_follower(driver, error);
  if (status != 0)
    return status;
  if (driver->change.stage != CHANGE_NONE || driver->transfer.active)
    return error_set(error, ERR_OVERLOADED, "another change is under way: try again when it is done");
  if (!own_term_committed(driver)) {
    begin_term(driver);
    return error_set(error, ERR_OVERLOADED, "this node was elected just now: try again in a moment");
  }
  struct raft_event event = {.type = RAFT_TRANSFER, .transfer.server_id = id};
  const int code = driver_step(driver, &event, NULL);
  if (code != 0)
    return explain_transfer(driver, code, id, error);
  const int64_t patience_ns = TRANSFER_TIMEOUTS * (int64_t)driver->options.election_timeout_ms * NS_PER_MS;
  driver->transfer = (struct transfer){.active = true,
                                       .target = raft_transferee(&driver->raft),
                                       .term = raft_current_term(&driver->raft),
                                       .deadline_ns = driver_now_ns(driver) + patience_ns,
                                       .changed = changed,
                                       .context = context};
  log_info("leadership is handed over to node %" PRIu64, driver->transfer.target);
  driver_wake(driver);
  return 0;
}

static void end_transfer(struct driver *driver, int status, const char *format, uint64_t id) {
  const struct transfer ended = driver->transfer;
  struct error error = {.code = (enum error_code)status};
  driver->transfer = (struct transfer){0};
  snprintf(error.message, sizeof error.message, format, id);
  ended.changed(ended.context, status, &error);
}

/* raft 0.22.1 tells the other node to stand as soon as that acknowledges anything, with the end of its own
 * log, once. Where entries are on their way the other has not got that far yet, and does not listen. Nothing
 * is appended meanwhile: when the other has everything, it is told again. */
static void tell_transferee(struct driver *driver) {
  struct transfer *transfer = &driver->transfer;
  const uint64_t last = wal_last_index(driver->wal);
  raft_index match = 0;
  if (transfer->told || raft_match_index(&driver->raft, transfer->target, &match) != 0 || match != last)
    return;
  struct wire_message message = {.type = WIRE_TIMEOUT_NOW};
  message.raft.timeout_now = (struct raft_timeout_now){
      .term = transfer->term, .last_log_index = last, .last_log_term = wal_term_at(driver->wal, last)};
  driver_send(driver, transfer->target, &message);
  transfer->told = true;
}

static void progress_transfer(struct driver *driver) {
  const struct transfer *transfer = &driver->transfer;
  if (driver_leads(driver) && driver->role_term == transfer->term)
    tell_transferee(driver);
  if (driver->role_term > transfer->term && driver->role_leader != 0) {
    const bool took_over = driver->role_leader == transfer->target;
    end_transfer(driver, took_over ? 0 : ERR_UNAVAILABLE, "node %" PRIu64 " leads", driver->role_leader);
  } else if (driver_leads(driver) && driver->role_term == transfer->term &&
             raft_transferee(&driver->raft) != transfer->target) {
    /* Who waits with something to append is woken by the commit of this. */
    driver_submit(driver, RAFT_BARRIER, NULL, 0, NULL);
    end_transfer(driver, ERR_TIMEOUT, "node %" PRIu64 " did not take over in time: nothing was changed",
                 transfer->target);
  } else if (driver_now_ns(driver) >= transfer->deadline_ns) {
    end_transfer(driver, ERR_UNAVAILABLE, "node %" PRIu64 " was told to lead, and nobody leads yet",
                 transfer->target);
  }
}

/* -- all of them ------------------------------------------------------------------------------------------
 */

bool driver_has_changes(const struct driver *driver) {
  return driver->change.stage != CHANGE_NONE || driver->transfer.active;
}

void driver_progress_changes(struct driver *driver) {
  progress_change(driver);
  tell_change(driver);
  if (driver->transfer.active && driver->state == DRIVER_RUNNING)
    progress_transfer(driver);
}

void driver_end_changes(struct driver *driver) {
  driver_lose_change(driver);
  tell_change(driver);
  if (driver->transfer.active)
    end_transfer(driver, ERR_UNAVAILABLE, "node %" PRIu64 " was told to lead; this one stops",
                 driver->transfer.target);
}
