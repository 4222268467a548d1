/* compact.c: when the log is cut. The state's tables, once durable up to an index, are the snapshot of that
 * index; nothing is written for it. A state that does not become durable by itself is made to. */
#include <inttypes.h>
#include <stdlib.h>

#include "master/raft/driver.h"

/* The log is cut when it is this large, however few its entries. */
#define LOG_SIZE_LIMIT (UINT64_C(256) << 20)
/* Payload kept behind a snapshot at most, for followers that lag a little. */
#define TRAILING_SIZE_LIMIT (UINT64_C(64) << 20)

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
  driver_forget_reception(driver);
}

void driver_compact(struct driver *driver) {
  uint64_t index, term;
  driver->state_machine->durable(driver->state_machine->context, &index, &term);
  assert(index <= driver->applied_index);
  driver->checked_at = driver->applied_index;
  const uint64_t threshold = driver->options.snapshot_threshold;
  if (driver->applied_index - index >= threshold && !driver->forcing) {
    driver->forcing = true;
    driver->snapshots_begun++;
    driver->state_machine->make_durable(driver->state_machine->context);
  }
  const bool long_enough = driver->cut_wanted || index - driver->snapshot_index >= threshold ||
                           wal_disk_size(driver->wal) > LOG_SIZE_LIMIT;
  if (index > driver->snapshot_index && long_enough && !driver_log_is_needed(driver))
    cut(driver, index, term);
  driver->cut_wanted &= driver_log_is_needed(driver);
}
