/* compact.c: when the log is cut. The state's tables, once durable up to an index, are the snapshot of that
 * index; nothing is written for it. A snapshot is opened only to make a state durable that does not get there
 * by itself. */
#include <inttypes.h>
#include <stdlib.h>

#include "master/raft/driver.h"

/* The log is cut when it is this large, however few its entries. */
#define LOG_SIZE_LIMIT (UINT64_C(256) << 20)
/* Payload kept behind a snapshot at most, for followers that lag a little. */
#define TRAILING_SIZE_LIMIT (UINT64_C(64) << 20)

static void opened(void *owner, struct snapshot *snapshot, const struct error *error) {
  struct driver *driver = owner;
  driver->opens--;
  driver->forcing = false;
  if (snapshot) {
    driver->snapshots_taken++;
    driver->state_machine->snapshot_close(snapshot);
  }
  if (driver->state != DRIVER_RUNNING) {
    driver_closing_progress(driver);
    return;
  }
  if (!snapshot)
    log_warn("a snapshot for cutting the log could not be taken: %s",
             error ? error->message : "no reason given");
  driver->compact_wanted = true;
  driver_wake(driver);
}

/* Taking a snapshot makes the state durable up to what is applied. */
static void force_durable(struct driver *driver) {
  driver->forcing = true;
  driver->opens++;
  driver->snapshots_begun++;
  driver->state_machine->snapshot_open(driver->state_machine->context, opened, driver);
}

static void cut(struct driver *driver, uint64_t index, uint64_t term) {
  uint64_t kept = driver->options.snapshot_trailing < index ? index - driver->options.snapshot_trailing : 0;
  if (kept < wal_base_index(driver->wal))
    kept = wal_base_index(driver->wal);
  kept = wal_index_within(driver->wal, kept, TRAILING_SIZE_LIMIT);
  if (kept > index)
    kept = index;
  uint64_t configuration_index;
  const struct bytes *encoded = wal_configuration_at(driver->wal, index, &configuration_index);
  assert(encoded);
  struct raft_event event = {.type = RAFT_SNAPSHOT};
  event.snapshot.trailing = (unsigned)(index - kept);
  event.snapshot.metadata.index = index;
  event.snapshot.metadata.term = term;
  event.snapshot.metadata.configuration_index = configuration_index;
  driver_decode_configuration(encoded->data, encoded->size, &event.snapshot.metadata.configuration);
  driver->snapshot_index = index;
  if (driver_step(driver, &event, NULL) != 0)
    return;
  driver->first_index = kept + 1;
  wal_compact(driver->wal, kept);
}

void driver_compact(struct driver *driver) {
  uint64_t index, term;
  driver->state_machine->durable(driver->state_machine->context, &index, &term);
  assert(index <= driver->applied_index);
  driver->checked_at = driver->applied_index;
  const uint64_t threshold = driver->options.snapshot_threshold;
  if (driver->applied_index - index >= threshold && !driver->forcing)
    force_durable(driver);
  const bool long_enough = driver->cut_wanted || index - driver->snapshot_index >= threshold ||
                           wal_disk_size(driver->wal) > LOG_SIZE_LIMIT;
  /* While a snapshot is on its way to a follower, the entries behind it must not go. */
  if (index > driver->snapshot_index && long_enough && driver->offers == 0)
    cut(driver, index, term);
  driver->cut_wanted &= driver->offers > 0;
}
