/* snapshot_receive.c: a snapshot from the leader; see snapshot_send.c for the talk.
 *
 * While the pieces come in, raft goes on as before: it answers heartbeats, votes, and may even become
 * candidate with the log it has. What is stored stays when the connection breaks, when the leader is another
 * one, and when this process ends: the next reception needs only what is missing. When all is here, in this
 * order:
 *   1. the state machine makes ready what takes long;
 *   2. the log notes, durably, that it will begin anew behind the snapshot (void until the state holds it);
 *   3. if that is still wanted, the state machine swaps the state in: the point of no return;
 *   4. raft is told, the old log is dropped, and the leader gets its answer.
 * A crash before 3 leaves the old state and the old log; after it, start-up finds the new state and takes the
 * new log. */
#include <inttypes.h>
#include <stdlib.h>

#include "master/raft/driver.h"

#define AGAIN_NS (INT64_C(200) * 1000 * 1000)
#define IDLE_NS (INT64_C(10) * 1000 * 1000 * 1000)
#define BACKOFF_NS (INT64_C(1000) * 1000 * 1000)

void driver_drop_reception(struct driver *driver) {
  struct reception *reception = &driver->reception;
  if (!reception->active)
    return;
  free(reception->manifest.files);
  reception->manifest.files = NULL;
  reception->active = false;
  reception->begun = false;
  reception->installing = false;
  reception->void_calls += reception->calls;
  reception->calls = 0;
  driver->world->timer_clear(driver->reception_retry);
}

static void give_up(struct driver *driver, const char *what, const struct error *error) {
  struct reception *reception = &driver->reception;
  log_warn("the snapshot from node %" PRIu64 " is given up: %s: %s", reception->sender, what, error->message);
  reception->not_before_ns = driver_now_ns(driver) + BACKOFF_NS;
  driver_drop_reception(driver);
}

static void ask(struct driver *driver, bool again) {
  struct reception *reception = &driver->reception;
  const struct wire_message message = {.type = WIRE_PIECES,
                                       .pieces = {.transfer = reception->manifest.transfer,
                                                  .file = reception->missing.file,
                                                  .offset = reception->missing.offset,
                                                  .end_file = reception->missing.end_file,
                                                  .again = again}};
  driver_send(driver, reception->sender, &message);
}

/* Tells the leader that this node is at it, though nothing new is wanted. */
static void stay_in_touch(struct driver *driver) {
  if (driver->reception.manifest.file_count > 0)
    ask(driver, false);
}

/* Whether the snapshot still takes this node forward, under a leader raft will listen to. */
static bool still_wanted(struct driver *driver, const struct wire_manifest *manifest) {
  return driver->state == DRIVER_RUNNING && raft_state(&driver->raft) != RAFT_LEADER &&
         manifest->term >= raft_current_term(&driver->raft) && manifest->index > driver->applied_index &&
         wal_term_at(driver->wal, manifest->index) != manifest->index_term;
}

static void tell_installed(const struct driver *driver, int64_t ready_ns) {
  const struct reception *reception = &driver->reception;
  const struct wire_manifest *manifest = &reception->manifest;
  uint64_t size = 0;
  for (size_t i = 0; i < manifest->file_count; i++)
    size += manifest->files[i].size;
  log_info("installed the snapshot at index %" PRIu64 " from node %" PRIu64 ": %" PRIu64 " bytes, %" PRIu64
           " of them received, in %.2f s, installed in %.1f ms",
           manifest->index, reception->sender, size, reception->received,
           (double)(ready_ns - reception->begun_ns) / NS_PER_S,
           (double)(driver_now_ns(driver) - ready_ns) / NS_PER_MS);
}

static void log_is_ready(void *owner) {
  struct driver *driver = owner;
  struct reception *reception = &driver->reception;
  const struct wire_manifest *manifest = &reception->manifest;
  if (!reception->active || !still_wanted(driver, manifest)) {
    wal_reset_abandon(driver->wal);
    driver_drop_reception(driver);
    return;
  }
  struct error error;
  const int64_t ready_ns = driver_now_ns(driver);
  if (driver->state_machine->receive_install(driver->state_machine->context, &error) != 0) {
    wal_reset_abandon(driver->wal);
    give_up(driver, "it could not be installed", &error);
    return;
  }
  tell_installed(driver, ready_ns);
  driver->snapshots_installed++;
  driver_step_installed(driver, manifest, reception->sender);
  if (reception->active)
    ask(driver, false); /* says: everything is here */
  driver_drop_reception(driver);
}

/* -- what the state machine reports; each call of its receive_… has one such callback, in their order -- */

/* True for the callback of a reception that is over. */
static bool is_void(struct driver *driver) {
  struct reception *reception = &driver->reception;
  if (reception->void_calls == 0) {
    assert(reception->calls > 0);
    reception->calls--;
    if (driver->state == DRIVER_RUNNING)
      return false;
    driver_drop_reception(driver);
    return true;
  }
  reception->void_calls--;
  driver_closing_progress(driver);
  return true;
}

static void prepared(void *owner, int status, const struct snapshot_range *missing,
                     const struct error *error) {
  struct driver *driver = owner;
  struct reception *reception = &driver->reception;
  (void)missing;
  if (is_void(driver))
    return;
  if (status != 0)
    give_up(driver, "it could not be made ready", error);
  else if (!still_wanted(driver, &reception->manifest))
    driver_drop_reception(driver);
  else
    wal_reset(driver->wal, reception->manifest.index, reception->manifest.index_term,
              reception->manifest.configuration_index, &reception->configuration, log_is_ready, driver);
}

static void stored(void *owner, int status, const struct snapshot_range *missing, const struct error *error) {
  struct driver *driver = owner;
  struct reception *reception = &driver->reception;
  if (is_void(driver))
    return;
  if (status != 0) {
    give_up(driver, reception->begun ? "a piece could not be stored" : "no place for it", error);
    return;
  }
  const bool first = !reception->begun;
  reception->begun = true;
  reception->progress_ns = driver_now_ns(driver);
  reception->missing = *missing;
  if (missing->file >= reception->manifest.file_count) {
    reception->installing = true;
    reception->calls++;
    driver->state_machine->receive_prepare(driver->state_machine->context, prepared, driver);
    return;
  }
  /* Where what is missing begins behind what was expected, there is something that was here before. */
  if (missing->file > reception->file ||
      (missing->file == reception->file && missing->offset > reception->offset)) {
    reception->file = missing->file;
    reception->offset = missing->offset;
  }
  ask(driver, first); /* whatever was asked before, by an earlier reception of the same offer */
}

/* -- what the leader sends -- */

static void begin(struct driver *driver, uint64_t sender, struct wire_manifest *manifest) {
  struct reception *reception = &driver->reception;
  driver_drop_reception(driver);
  reception->active = true;
  reception->sender = sender;
  reception->manifest = *manifest;
  manifest->files = NULL; /* ours now */
  bytes_clear(&reception->configuration);
  bytes_append(&reception->configuration, manifest->configuration, manifest->configuration_size);
  reception->manifest.configuration = reception->configuration.data;
  reception->file = reception->offset = 0;
  reception->missing = (struct snapshot_range){0};
  reception->progress_ns = reception->begun_ns = driver_now_ns(driver);
  reception->received = 0;
  driver->snapshots_begun++;
  log_info("receiving a snapshot at index %" PRIu64 " from node %" PRIu64 ", %zu files", manifest->index,
           sender, manifest->file_count);
  driver->world->timer_set(driver->reception_retry, driver_now_ns(driver) + AGAIN_NS);
  reception->calls++;
  driver->state_machine->receive_begin(driver->state_machine->context, manifest->index, manifest->index_term,
                                       reception->manifest.files, manifest->file_count, stored, driver);
  stay_in_touch(driver);
}

/* An offer that raft answers by itself: the entries are here. */
static void let_raft_answer(struct driver *driver, uint64_t sender, const struct wire_manifest *manifest) {
  struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT,
                                 .server_id = sender,
                                 .server_address = driver_peer(driver, sender)->address};
  message.install_snapshot.term = manifest->term;
  message.install_snapshot.last_index = manifest->index;
  message.install_snapshot.last_term = manifest->index_term;
  message.install_snapshot.conf_index = manifest->configuration_index;
  driver_decode_configuration(manifest->configuration, manifest->configuration_size,
                              &message.install_snapshot.conf);
  struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = &message};
  driver_step(driver, &event, NULL);
}

void driver_take_manifest(struct driver *driver, uint64_t sender, struct wire_manifest *manifest) {
  struct reception *reception = &driver->reception;
  if (raft_state(&driver->raft) == RAFT_LEADER)
    return; /* its heartbeats settle who leads */
  if (manifest->term < raft_current_term(&driver->raft)) {
    driver_answer_stale(driver, sender, manifest->index);
    return;
  }
  driver->leader_heard_ns = driver_now_ns(driver);
  if (!still_wanted(driver, manifest)) {
    if (!reception->installing)
      let_raft_answer(driver, sender, manifest);
    return;
  }
  if (reception->installing)
    return;
  if (reception->active && reception->sender == sender &&
      reception->manifest.transfer == manifest->transfer) {
    reception->manifest.term = manifest->term;
    return;
  }
  if (driver_now_ns(driver) >= reception->not_before_ns)
    begin(driver, sender, manifest);
}

void driver_take_piece(struct driver *driver, uint64_t sender, const struct wire_piece *piece) {
  struct reception *reception = &driver->reception;
  if (!reception->active || !reception->begun || reception->installing || reception->sender != sender ||
      reception->manifest.transfer != piece->transfer || reception->file != piece->file ||
      reception->offset != piece->offset)
    return;
  const struct snapshot_file *files = reception->manifest.files;
  if (piece->size == 0 || piece->size > files[reception->file].size - reception->offset)
    return;
  reception->calls++;
  driver->state_machine->receive_write(driver->state_machine->context, piece->file, piece->offset,
                                       piece->data, piece->size, stored, driver);
  reception->progress_ns = driver_now_ns(driver);
  reception->received += piece->size;
  reception->offset += piece->size;
  while (reception->file < reception->missing.end_file && reception->offset >= files[reception->file].size) {
    reception->file++;
    reception->offset = 0;
  }
}

void driver_retry_reception(void *owner) {
  struct driver *driver = owner;
  struct reception *reception = &driver->reception;
  if (driver->state != DRIVER_RUNNING || !reception->active || reception->installing)
    return;
  const int64_t now = driver_now_ns(driver);
  driver->world->timer_set(driver->reception_retry, now + AGAIN_NS);
  if (reception->calls > 0) { /* the state machine is still at it */
    stay_in_touch(driver);
    return;
  }
  if (now - reception->progress_ns > IDLE_NS) {
    log_warn("the snapshot from node %" PRIu64 " is given up: nothing came for a while", reception->sender);
    driver_drop_reception(driver);
    return;
  }
  if (now - reception->progress_ns < AGAIN_NS)
    return;
  reception->file = reception->missing.file;
  reception->offset = reception->missing.offset;
  ask(driver, true);
}

void driver_forget_reception(struct driver *driver) {
  struct reception *reception = &driver->reception;
  if (!reception->active && reception->calls + reception->void_calls == 0)
    driver->state_machine->receive_forget(driver->state_machine->context, driver->applied_index);
}
