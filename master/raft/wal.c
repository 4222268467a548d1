/* wal.c: the entries of the log in memory: index, cache, membership; opening and closing. */
#include "master/raft/wal.h"

#include <raft.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "master/raft/wal_internal.h"

bool wal_is_empty(const struct wal *wal) {
  return wal->last_index == 0;
}

uint64_t wal_term(const struct wal *wal) {
  return wal->term;
}

uint64_t wal_vote(const struct wal *wal) {
  return wal->vote;
}

uint64_t wal_base_index(const struct wal *wal) {
  return wal->base_index;
}

uint64_t wal_last_index(const struct wal *wal) {
  return wal->last_index;
}

uint64_t wal_persisted_index(const struct wal *wal) {
  if (bug_active(BUG_NO_FSYNC))
    return wal->last_index;
  return wal->persisted_index;
}

static struct wal_entry *entry_at(const struct wal *wal, uint64_t index) {
  assert(index > wal->base_index && index <= wal->last_index);
  return &wal->ring[index & (wal->ring_size - 1)];
}

struct wal_entry *wal_entry(struct wal *wal, uint64_t index) {
  return index > wal->base_index && index <= wal->last_index ? entry_at(wal, index) : NULL;
}

uint64_t wal_term_at(const struct wal *wal, uint64_t index) {
  if (index == wal->base_index)
    return wal->base_term;
  return index > wal->base_index && index <= wal->last_index ? entry_at(wal, index)->term : 0;
}

const struct bytes *wal_configuration_at(const struct wal *wal, uint64_t index,
                                         uint64_t *configuration_index) {
  for (size_t i = wal->configuration_count; i-- > 0;) {
    if (wal->configurations[i].index <= index) {
      *configuration_index = wal->configurations[i].index;
      return &wal->configurations[i].encoded;
    }
  }
  *configuration_index = 0;
  return NULL;
}

uint64_t wal_configuration_changes(const struct wal *wal) {
  return wal->configuration_changes;
}

uint64_t wal_disk_size(const struct wal *wal) {
  uint64_t size = 0;
  for (size_t i = 0; i < wal->segment_count; i++)
    size += wal->segments[i]->size;
  return size;
}

uint64_t wal_index_within(const struct wal *wal, uint64_t from, uint64_t limit) {
  uint64_t size = 0;
  uint64_t index = wal->last_index;
  for (; index > from && index > wal->base_index; index--) {
    size += entry_at(wal, index)->size;
    if (size > limit)
      break;
  }
  return index < from ? from : index;
}

void wal_set_term(struct wal *wal, uint64_t term, uint64_t vote) {
  assert(term >= wal->term);
  wal->term = term;
  wal->vote = vote;
  wal->term_unwritten = true;
}

bool wal_term_is_durable(const struct wal *wal) {
  if (bug_active(BUG_NO_FSYNC) || bug_active(BUG_UNPERSISTED_VOTE))
    return true;
  return !wal->term_unwritten && !(wal->write.active && wal->write.with_term);
}

/* -- entries -------------------------------------------------------------------------------------------- */

static void grow_ring(struct wal *wal) {
  const uint64_t size = wal->ring_size ? wal->ring_size * 2 : 256;
  struct wal_entry *ring = xcalloc(size, sizeof *ring);
  for (uint64_t index = wal->base_index + 1; index <= wal->last_index; index++)
    ring[index & (size - 1)] = wal->ring[index & (wal->ring_size - 1)];
  free(wal->ring);
  wal->ring = ring;
  wal->ring_size = size;
}

struct wal_entry *wal_push(struct wal *wal) {
  if (wal->last_index - wal->base_index == wal->ring_size)
    grow_ring(wal);
  wal->last_index++;
  struct wal_entry *entry = entry_at(wal, wal->last_index);
  *entry = (struct wal_entry){0};
  return entry;
}

void wal_cache_entry(struct wal *wal, struct wal_entry *entry, struct batch *batch,
                     const unsigned char *data) {
  assert(!entry->batch);
  entry->batch = batch_keep(batch);
  entry->data = data;
  wal->cached_size += entry->size;
}

static void uncache_entry(struct wal *wal, struct wal_entry *entry) {
  if (!entry->batch)
    return;
  batch_drop(entry->batch);
  entry->batch = NULL;
  entry->data = NULL;
  assert(wal->cached_size >= entry->size);
  wal->cached_size -= entry->size;
}

void wal_trim_cache(struct wal *wal) {
  if (bug_active(BUG_DISK_ERROR_CONTINUE) && wal->defects.adrift)
    return; /* nothing could be read back */
  if (wal->cached_from <= wal->base_index)
    wal->cached_from = wal->base_index + 1;
  while (wal->cached_size > wal->options.cache_size && wal->cached_from <= wal->persisted_index)
    uncache_entry(wal, entry_at(wal, wal->cached_from++));
}

void wal_truncate(struct wal *wal, uint64_t index) {
  assert(index > wal->base_index);
  for (uint64_t i = index; i <= wal->last_index; i++) {
    struct wal_entry *entry = entry_at(wal, i);
    if (i > wal->written_index)
      wal->unwritten_size -= entry->size;
    uncache_entry(wal, entry);
  }
  wal->last_index = index - 1;
  if (wal->written_index >= index)
    wal->written_index = index - 1;
  if (wal->persisted_index >= index)
    wal->persisted_index = index - 1;
  if (wal->write.active && wal->write.high >= index)
    wal->write.high = index - 1;
  if (wal->cached_from > index)
    wal->cached_from = index;
  while (wal->configuration_count > 0 && wal->configurations[wal->configuration_count - 1].index >= index) {
    bytes_free(&wal->configurations[--wal->configuration_count].encoded);
    wal->configuration_changes++;
  }
  if (wal->segment_count > 0 && wal->segments[wal->segment_count - 1]->base_index >= index)
    wal->rotate = true;
}

void wal_drop_prefix(struct wal *wal, uint64_t index) {
  assert(index >= wal->base_index && index <= wal->last_index);
  const uint64_t term = wal_term_at(wal, index);
  for (uint64_t i = wal->base_index + 1; i <= index; i++)
    uncache_entry(wal, entry_at(wal, i));
  wal->base_index = index;
  wal->base_term = term;
  size_t drop = 0;
  while (drop + 1 < wal->configuration_count && wal->configurations[drop + 1].index <= index)
    bytes_free(&wal->configurations[drop++].encoded);
  wal->configuration_count -= drop;
  if (drop > 0)
    memmove(wal->configurations, wal->configurations + drop,
            wal->configuration_count * sizeof *wal->configurations);
}

void wal_note_configuration(struct wal *wal, uint64_t index, const void *encoded, size_t size) {
  assert(wal->configuration_count == 0 || wal->configurations[wal->configuration_count - 1].index < index);
  wal->configurations =
      xrealloc(wal->configurations, (wal->configuration_count + 1) * sizeof *wal->configurations);
  struct wal_configuration *configuration = &wal->configurations[wal->configuration_count++];
  *configuration = (struct wal_configuration){.index = index};
  bytes_append(&configuration->encoded, encoded, size);
  wal->configuration_changes++;
}

void wal_append(struct wal *wal, uint64_t index, const struct wal_entry *entries, size_t count) {
  assert(count > 0 && index > wal->base_index && index <= wal->last_index + 1);
  if (index <= wal->last_index)
    wal_truncate(wal, index);
  for (size_t i = 0; i < count; i++) {
    const struct wal_entry *from = &entries[i];
    assert(bug_any_active() || from->term >= wal_term_at(wal, wal->last_index));
    assert(from->term <= wal->term);
    assert(from->batch || from->size == 0);
    struct wal_entry *entry = wal_push(wal);
    *entry = *from;
    entry->segment = NULL;
    entry->batch = NULL;
    if (from->batch)
      wal_cache_entry(wal, entry, from->batch, from->data);
    wal->unwritten_size += from->size;
    if (from->type == RAFT_CHANGE)
      wal_note_configuration(wal, wal->last_index, from->data, from->size);
  }
}

/* -- fetching ------------------------------------------------------------------------------------------- */

struct fetch {
  struct wal *wal;
  uint64_t segment; /* its number */
  uint64_t first, last, offset;
  struct batch *batch;
  void (*done)(void *owner);
  void *owner;
};

/* Entries that changed while the disk read are left alone. */
static void take_fetched(struct fetch *fetch) {
  struct wal *wal = fetch->wal;
  for (uint64_t index = fetch->first; index <= fetch->last; index++) {
    struct wal_entry *entry = wal_entry(wal, index);
    if (!entry || entry->batch || !entry->segment || entry->segment->number != fetch->segment ||
        entry->offset < fetch->offset || entry->offset + entry->size > fetch->offset + fetch->batch->size)
      continue;
    const unsigned char *data = fetch->batch->data + (entry->offset - fetch->offset);
    if (checksum(data, entry->size) != entry->checksum) {
      char name[WAL_NAME_SIZE];
      wal_segment_name(entry->segment->number, name);
      wal_fail(wal, ERR_CORRUPT, "entry %llu in %s at offset %llu is damaged on disk",
               (unsigned long long)index, name, (unsigned long long)entry->offset);
      return;
    }
    wal_cache_entry(wal, entry, fetch->batch, data);
  }
  if (wal->cached_from > fetch->first)
    wal->cached_from = fetch->first;
}

static void fetched(void *owner, int status) {
  struct fetch *fetch = owner;
  struct wal *wal = fetch->wal;
  if (!wal_answered(wal)) {
    if (status != 0)
      wal_fail(wal, ERR_IO, "the log could not be read back");
    else
      take_fetched(fetch);
    if (!wal->failed) {
      fetch->done(fetch->owner);
      wal_trim_cache(wal);
    }
  }
  batch_drop(fetch->batch);
  free(fetch);
}

void wal_fetch(struct wal *wal, uint64_t first, size_t limit, void (*done)(void *owner), void *owner) {
  const struct wal_entry *entry = wal_entry(wal, first);
  assert(entry && first <= wal->persisted_index);
  struct fetch *fetch = xcalloc(1, sizeof *fetch);
  *fetch = (struct fetch){.wal = wal,
                          .segment = entry->segment->number,
                          .first = first,
                          .last = first,
                          .offset = entry->offset,
                          .done = done,
                          .owner = owner};
  uint64_t end = entry->offset + entry->size;
  for (uint64_t index = first + 1; index <= wal->persisted_index; index++) {
    const struct wal_entry *next = entry_at(wal, index);
    if (next->segment != entry->segment || next->offset < end ||
        next->offset + next->size - fetch->offset > limit)
      break;
    end = next->offset + next->size;
    fetch->last = index;
  }
  fetch->batch = batch_new((size_t)(end - fetch->offset));
  wal->busy++;
  wal->options.world->disk_fetch(entry->segment->file, fetch->offset, fetch->batch->data, fetch->batch->size,
                                 fetched, fetch);
}

/* -- opening and closing -------------------------------------------------------------------------------- */

static void wal_free(struct wal *wal) {
  const struct world *world = wal->options.world;
  for (uint64_t index = wal->base_index + 1; index <= wal->last_index; index++)
    uncache_entry(wal, entry_at(wal, index));
  for (size_t i = 0; i < wal->segment_count; i++)
    wal_segment_free(wal, wal->segments[i]);
  if (wal->spare)
    wal_segment_free(wal, wal->spare);
  if (wal->reset.segment)
    wal_segment_free(wal, wal->reset.segment);
  for (size_t i = 0; i < wal->configuration_count; i++)
    bytes_free(&wal->configurations[i].encoded);
  for (size_t i = 0; i < wal->write.batch_count; i++)
    batch_drop(wal->write.batches[i]);
  world->timer_free(wal->retry);
  bytes_free(&wal->reset.configuration);
  bytes_free(&wal->write.headers);
  bytes_free(&wal->write.opening);
  free(wal->write.vectors);
  free(wal->write.batches);
  free(wal->configurations);
  free(wal->segments);
  free(wal->ring);
  free(wal);
}

int wal_open(const struct wal_options *options, struct wal **wal, struct error *error) {
  struct wal *opened = xcalloc(1, sizeof *opened);
  opened->options = *options;
  opened->next_number = 1;
  opened->retry = options->world->timer_new(options->world->context, wal_retry, opened);
  const int status = wal_recover(opened, error);
  if (status != 0) {
    wal_free(opened);
    return status;
  }
  wal_trim_cache(opened);
  wal_start_spare(opened);
  *wal = opened;
  return 0;
}

static void finish_close(void *owner) {
  struct wal *wal = owner;
  void (*closed)(void *) = wal->closed;
  void *closed_owner = wal->closed_owner;
  wal_free(wal);
  closed(closed_owner);
}

bool wal_answered(struct wal *wal) {
  assert(wal->busy > 0);
  wal->busy--;
  if (!wal->closing)
    return false;
  if (wal->busy == 0)
    finish_close(wal);
  return true;
}

void wal_close(struct wal *wal, void (*done)(void *owner), void *owner) {
  assert(!wal->closing);
  wal->closing = true;
  wal->closed = done;
  wal->closed_owner = owner;
  wal->options.world->timer_clear(wal->retry);
  if (wal->busy == 0)
    wal->options.world->defer(wal->options.world->context, finish_close, wal);
}
