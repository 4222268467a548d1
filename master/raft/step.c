/* step.c: one event into raft_step(), and what it asks for.
 *
 * The order matters (dissertation, Figure 3.1: "updated on stable storage before responding to RPCs"): term
 * and vote go to the log first, and no frame leaves while they are not durable; then entries; then messages,
 * which live only until the next step; callbacks, which may step again, come last. */
#include <inttypes.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "master/raft/driver.h"

void driver_decode_configuration(const void *encoded, size_t size, struct raft_configuration *configuration) {
  const struct raft_buffer buffer = {.base = (void *)(uintptr_t)encoded, .len = size};
  const int status = raft_configuration_decode(&buffer, configuration);
  assert(status == 0);
}

/* The entry raft makes itself when a term begins with entries whose fate is open (a no-op, §6.4). */
static void append_own_entry(struct driver *driver, const struct raft_update *update) {
  assert(update->entries.n == 1 && update->entries.batch[0].type == RAFT_BARRIER);
  const struct wal_entry entry = {
      .term = update->entries.batch[0].term, .type = RAFT_BARRIER, .checksum = checksum(NULL, 0)};
  raft_free(update->entries.batch[0].batch);
  wal_append(driver->wal, update->entries.index, &entry, 1);
}

/* On every path exactly one owner of the batch is left: the log, or nobody because raft freed it. */
static void take_entries(struct driver *driver, const struct raft_update *update,
                         const struct step_entries *entries) {
  if (!(update->flags & RAFT_UPDATE_ENTRIES))
    return;
  if (!entries) {
    append_own_entry(driver, update);
    return;
  }
  const size_t skip = (size_t)(update->entries.batch - entries->raft);
  assert(skip + update->entries.n == entries->count);
  wal_append(driver->wal, update->entries.index, entries->log + skip, update->entries.n);
  batch_drop(entries->raft[0].batch);
}

static void take_update(struct driver *driver, const struct raft_update *update,
                        const struct step_entries *entries) {
  const unsigned flags = update->flags;
  if (flags & ((RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR)))
    wal_set_term(driver->wal, raft_current_term(&driver->raft), raft_voted_for(&driver->raft));
  take_entries(driver, update, entries);
  if (!driver->appending &&
      (flags & ((RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR) | (RAFT_UPDATE_ENTRIES))))
    driver_flush_soon(driver);
  if (flags & RAFT_UPDATE_MESSAGES)
    driver_send_messages(driver, update->messages.batch, update->messages.n);
}

static void step_failed(struct driver *driver, int code) {
  struct error error;
  error_set(&error, ERR_CORRUPT,
            "raft stopped: %s (code %d) at term %" PRIu64 ", commit index %" PRIu64
            "; this node's log contradicts what its cluster has committed",
            raft_strerror(code), code, (uint64_t)raft_current_term(&driver->raft),
            (uint64_t)raft_commit_index(&driver->raft));
  driver_fail(driver, &error);
}

static int raw_step(struct driver *driver, struct raft_event *event, struct raft_update *update) {
  event->time = (raft_time)(driver_now_ns(driver) / 1000000);
  event->capacity = 1; /* no threshold is set: full disks are refused before a step */
  return raft_step(&driver->raft, event, update);
}

int driver_step(struct driver *driver, struct raft_event *event, const struct step_entries *entries) {
  struct raft_update update;
  struct kept_configuration kept = {0};
  if (bug_active(BUG_CONFIG_ROLLBACK))
    kept = driver_keep_configuration(driver);
  const int code = raw_step(driver, event, &update);
  if (bug_active(BUG_CONFIG_ROLLBACK))
    driver_restore_configuration(driver, &kept);
  if (code == RAFT_SHUTDOWN || code == RAFT_NOMEM || code == RAFT_MALFORMED) {
    step_failed(driver, code);
    return code;
  }
  if (code != 0)
    return code;
  assert(!(update.flags & RAFT_UPDATE_SNAPSHOT) && "snapshots are stepped by driver_step_installed only");
  take_update(driver, &update, entries);
  driver_update_membership(driver);
  driver_update_role(driver);
  if (driver_has_changes(driver))
    driver_wake(driver);
  if (update.flags & RAFT_UPDATE_COMMIT_INDEX || bug_active(BUG_COMMIT_OLD_TERM))
    driver_apply(driver);
  driver_arm_tick(driver);
  return 0;
}

/* raft hears of a snapshot only when it is installed: its own "installing" state, which it cannot leave when
 * the sender dies, lasts from one call to the next. */
void driver_step_installed(struct driver *driver, const struct wire_manifest *manifest, uint64_t sender) {
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
  struct raft_update update;
  int code = raw_step(driver, &event, &update);
  assert(code == 0 && (update.flags & RAFT_UPDATE_SNAPSHOT) && !(update.flags & RAFT_UPDATE_ENTRIES));
  const struct raft_snapshot_metadata metadata = update.snapshot.metadata;
  take_update(driver, &update, NULL);
  wal_reset_accept(driver->wal);
  driver->applied_index = manifest->index;
  driver->snapshot_index = manifest->index;
  driver->first_index = manifest->index + 1;
  event = (struct raft_event){.type = RAFT_PERSISTED_SNAPSHOT,
                              .persisted_snapshot = {.metadata = metadata, .offset = 0, .last = true}};
  code = driver_step(driver, &event, NULL);
  assert(code == 0);
}
