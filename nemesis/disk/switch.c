#include <errno.h>
#include <time.h>

#include "nemesis/disk/volume.h"

void switch_init(struct fault_switch *faults) {
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_mutex_init(&faults->mutex, NULL);
  pthread_cond_init(&faults->changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
}

void switch_set(struct volume *volume, const struct disk_fault *fault) {
  struct fault_switch *faults = &volume->faults;
  pthread_mutex_lock(&faults->mutex);
  faults->fault = *fault;
  faults->setting++;
  random_seed(&faults->random, fault->draw);
  pthread_cond_broadcast(&faults->changed);
  pthread_mutex_unlock(&faults->mutex);
}

static int draw(struct volume *volume, double chance, _Atomic uint64_t *errors) {
  if (chance <= 0 || (chance < 1 && !random_chance(&volume->faults.random, chance)))
    return 0;
  atomic_fetch_add(errors, 1);
  return EIO;
}

int switch_read(struct volume *volume) {
  pthread_mutex_lock(&volume->faults.mutex);
  const int number = draw(volume, volume->faults.fault.read_error, &volume->tally.read_errors);
  pthread_mutex_unlock(&volume->faults.mutex);
  return number;
}

static int no_space(struct volume *volume) {
  atomic_fetch_add(&volume->tally.no_space, 1);
  return ENOSPC;
}

int switch_write(struct volume *volume, struct file *file, uint64_t offset, size_t size) {
  pthread_mutex_lock(&volume->faults.mutex);
  const struct disk_fault fault = volume->faults.fault;
  const int number = draw(volume, fault.write_error, &volume->tally.write_errors);
  pthread_mutex_unlock(&volume->faults.mutex);
  if (number != 0 || !fault.full)
    return number;
  return fault.full_for_all || file_needs_room(file, offset, size) ? no_space(volume) : 0;
}

bool switch_is_full(struct volume *volume) {
  pthread_mutex_lock(&volume->faults.mutex);
  const bool full = volume->faults.fault.full;
  pthread_mutex_unlock(&volume->faults.mutex);
  return full;
}

int switch_grow(struct volume *volume) {
  return switch_is_full(volume) ? no_space(volume) : 0;
}

/* Until the delay is over, or another fault, or none, is set. */
static void wait_out(struct fault_switch *faults, int64_t delay_ns) {
  const int64_t end_ns = time_monotonic_ns() + delay_ns;
  const struct timespec end = {.tv_sec = end_ns / NS_PER_S, .tv_nsec = end_ns % NS_PER_S};
  const uint64_t setting = faults->setting;
  while (faults->setting == setting &&
         pthread_cond_timedwait(&faults->changed, &faults->mutex, &end) != ETIMEDOUT)
    continue;
}

int switch_sync(struct volume *volume) {
  struct fault_switch *faults = &volume->faults;
  atomic_fetch_add(&volume->tally.syncs, 1);
  pthread_mutex_lock(&faults->mutex);
  if (faults->fault.sync_delay_ns > 0) {
    atomic_fetch_add(&volume->tally.syncs_delayed, 1);
    wait_out(faults, faults->fault.sync_delay_ns);
  }
  const int number = draw(volume, faults->fault.sync_error, &volume->tally.sync_errors);
  pthread_mutex_unlock(&faults->mutex);
  return number;
}
