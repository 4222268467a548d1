/* apply.c: committed entries to the state machine, in order.
 *
 * An entry is handed over when it is committed *and* durable on this node, although raft would allow the
 * first alone: so the state never holds more than this node's log, which start-up can then insist on. It
 * costs nothing where this node's disk is as fast as the majority's. While the state machine is full, entries
 * wait where they are, in the log: the node goes on hearing, storing and voting. */
#include "master/raft/driver.h"

#include <stdlib.h>

#include "master/bugs.h"

#define FETCH_SIZE (1u << 20)

static bool holds_back(const struct driver *driver) {
  return driver->state_machine->is_full && driver->state_machine->is_full(driver->state_machine->context);
}

static void fetched(void *owner) {
  struct driver *driver = owner;
  driver->fetching = false;
  driver_apply(driver);
}

static void apply_configuration(struct driver *driver, uint64_t index, const struct wal_entry *entry) {
  struct raft_event event = {.type = RAFT_CONFIGURATION, .configuration.index = index};
  driver_decode_configuration(entry->data, entry->size, &event.configuration.conf);
  driver_step(driver, &event, NULL);
}

static void apply_entry(struct driver *driver, uint64_t index, struct wal_entry *entry) {
  void *token = entry->token;
  entry->token = NULL;
  if (token) {
    assert(driver->in_flight >= entry->size);
    driver->in_flight -= entry->size;
  }
  const bool command = entry->type == RAFT_COMMAND;
  struct batch *batch = entry->batch ? batch_keep(entry->batch) : NULL;
  const struct wal_entry kept = *entry;
  driver->state_machine->committed(driver->state_machine->context, index, kept.term,
                                   command ? kept.data : NULL, command ? kept.size : 0, token);
  if (kept.type == RAFT_CHANGE && driver->state == DRIVER_RUNNING) {
    driver_change_committed(driver, index);
    apply_configuration(driver, index, &kept);
  }
  if (batch)
    batch_drop(batch);
}

/* -- the defect commit-old-term: an entry is committed when a majority has it, whatever its term
 * (Raft's figure 8) -- */

static int by_index(const void *left, const void *right) {
  const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return a < b ? -1 : a > b;
}

static uint64_t counted_index(const struct driver *driver) {
  struct raft *raft = (struct raft *)(uintptr_t)&driver->raft;
  if (raft_state(raft) != RAFT_LEADER)
    return 0;
  uint64_t stored[16] = {raft->last_stored};
  size_t count = 1;
  assert(driver->peer_count < ARRAY_SIZE(stored));
  for (size_t i = 0; i < driver->peer_count; i++) {
    raft_index match = 0;
    if (driver->peers[i]->voter && raft_match_index(raft, driver->peers[i]->id, &match) == 0)
      stored[count++] = match;
  }
  qsort(stored, count, sizeof *stored, by_index);
  return stored[(count - 1) / 2];
}

uint64_t driver_commit_index(const struct driver *driver) {
  const uint64_t commit = raft_commit_index((struct raft *)(uintptr_t)&driver->raft);
  if (bug_active(BUG_COMMIT_OLD_TERM) && counted_index(driver) > commit)
    return counted_index(driver);
  return commit;
}

static uint64_t applicable_index(struct driver *driver) {
  const uint64_t commit = driver_commit_index(driver), persisted = wal_persisted_index(driver->wal);
  return commit < persisted ? commit : persisted;
}

/* -- the defect replay-twice: a while after a start, the last entries that the restored state holds come once
 * more, from whoever replays the log -- */

#define REPLAY_AFTER 8 /* entries applied since the start */
#define REPLAY_ENTRIES 16

static void replay_again(struct driver *driver) {
  const uint64_t end = driver->restored_index;
  uint64_t index = end > REPLAY_ENTRIES ? end - REPLAY_ENTRIES : 0;
  if (index < wal_base_index(driver->wal))
    index = wal_base_index(driver->wal);
  driver->restored_index = 0;
  while (++index <= end && driver->state == DRIVER_RUNNING) {
    const struct wal_entry *entry = wal_entry(driver->wal, index);
    if (entry && entry->type == RAFT_COMMAND && entry->batch)
      driver->state_machine->committed(driver->state_machine->context, index, entry->term, entry->data,
                                       entry->size, NULL);
  }
}

void driver_apply(struct driver *driver) {
  if (driver->applying || driver->fetching)
    return;
  driver->applying = true;
  while (driver->state == DRIVER_RUNNING && driver->applied_index < applicable_index(driver) &&
         !holds_back(driver)) {
    struct wal_entry *entry = wal_entry(driver->wal, driver->applied_index + 1);
    assert(entry);
    if (entry->size > 0 && !entry->batch) {
      driver->fetching = true;
      wal_fetch(driver->wal, driver->applied_index + 1, FETCH_SIZE, fetched, driver);
      break;
    }
    driver->applied_index++;
    apply_entry(driver, driver->applied_index, entry);
  }
  if (bug_active(BUG_REPLAY_TWICE) && driver->restored_index > 0 &&
      driver->applied_index >= driver->restored_index + REPLAY_AFTER)
    replay_again(driver);
  driver->applying = false;
  if (driver->state == DRIVER_RUNNING &&
      driver->applied_index - driver->checked_at >= driver->options.snapshot_threshold) {
    driver->compact_wanted = true;
    driver_wake(driver);
  }
}

void driver_forget_tokens(struct driver *driver) {
  for (uint64_t index = driver->applied_index + 1; index <= wal_last_index(driver->wal); index++)
    wal_entry(driver->wal, index)->token = NULL;
  driver->in_flight = 0;
}
