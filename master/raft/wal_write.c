/* wal_write.c: segments and the one write in flight. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "master/raft/wal_internal.h"

/* One write carries at most this much: a sync of more would hold up what comes behind it. */
#define WRITE_LIMIT (8u << 20)
/* How often a full disk is told of. */
#define TELL_FULL_NS (5 * NS_PER_S)
/* How soon a full disk is asked again. */
#define RETRY_NS (INT64_C(100) * 1000 * 1000)

static const struct world *world_of(const struct wal *wal) {
  return wal->options.world;
}

void wal_segment_free(struct wal *wal, struct wal_segment *segment) {
  world_of(wal)->disk_close(segment->file);
  free(segment);
}

static void remove_segment(struct wal *wal, struct wal_segment *segment) {
  char name[WAL_NAME_SIZE];
  wal_segment_name(segment->number, name);
  wal_segment_free(wal, segment);
  world_of(wal)->disk_remove(world_of(wal)->context, name);
}

void wal_fail(struct wal *wal, int code, const char *format, ...) {
  if (wal->failed)
    return;
  wal->failed = true;
  char text[300];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  struct error error;
  error_set(&error, (enum error_code)code, "%s", text);
  wal->options.observer.failed(wal->options.observer.owner, &error);
}

/* A disk on the edge is full and has room many times a second; people are told once. */
static void note_full(struct wal *wal) {
  const int64_t now = world_of(wal)->now_ns(world_of(wal)->context);
  if (!wal->full && now >= wal->tell_full_ns) {
    log_warn("the disk of the log is full: no new entries until there is room");
    wal->tell_full_ns = now + TELL_FULL_NS;
  }
  wal->full = true;
  world_of(wal)->timer_set(wal->retry, now + RETRY_NS);
}

static void note_room(struct wal *wal) {
  wal->full = false;
}

/* -- the spare segment ---------------------------------------------------------------------------------- */

static void spare_created(void *owner, int status, struct disk_file *file) {
  struct wal *wal = owner;
  const uint64_t number = wal->next_number;
  if (wal->closing && file)
    world_of(wal)->disk_close(file);
  if (wal_answered(wal))
    return;
  wal->creating = false;
  if (wal->failed) {
    if (file)
      world_of(wal)->disk_close(file);
    return;
  }
  if (status == ERR_NO_SPACE) {
    note_full(wal);
    return;
  }
  if (status != 0) {
    char name[WAL_NAME_SIZE];
    wal_segment_name(number, name);
    wal_fail(wal, ERR_IO, "the log segment %s could not be created in the data directory", name);
    return;
  }
  if (!wal->write.active)
    note_room(wal);
  wal->spare = xcalloc(1, sizeof *wal->spare);
  *wal->spare = (struct wal_segment){.number = number, .file = file, .reserve = wal->options.segment_size};
  wal->next_number++;
  wal_flush(wal);
}

void wal_start_spare(struct wal *wal) {
  if (wal->spare || wal->creating || wal->failed || wal->closing)
    return;
  char name[WAL_NAME_SIZE];
  wal_segment_name(wal->next_number, name);
  wal->creating = true;
  wal->busy++;
  world_of(wal)->disk_create(world_of(wal)->context, name, wal->options.segment_size, spare_created, wal);
}

static struct wal_segment *active_segment(const struct wal *wal) {
  return wal->segment_count > 0 ? wal->segments[wal->segment_count - 1] : NULL;
}

/* The spare becomes the segment that is written to. */
static struct wal_segment *take_spare(struct wal *wal) {
  struct wal_segment *segment = wal->spare;
  wal->spare = NULL;
  return segment;
}

static void push_segment(struct wal *wal, struct wal_segment *segment) {
  wal->segments = xrealloc(wal->segments, (wal->segment_count + 1) * sizeof(struct wal_segment *));
  wal->segments[wal->segment_count++] = segment;
  wal->rotate = false;
}

/* -- building a write ----------------------------------------------------------------------------------- */

static void add_vector(struct wal_write *write, const void *base, size_t size) {
  if (write->vector_count == write->vector_capacity) {
    write->vector_capacity = write->vector_capacity ? write->vector_capacity * 2 : 64;
    write->vectors = xrealloc(write->vectors, write->vector_capacity * sizeof *write->vectors);
  }
  write->vectors[write->vector_count++] =
      (struct iovec){.iov_base = (void *)(uintptr_t)base, .iov_len = size};
}

static void hold_batch(struct wal_write *write, struct batch *batch) {
  if (write->batch_count > 0 && write->batches[write->batch_count - 1] == batch)
    return;
  if (write->batch_count == write->batch_capacity) {
    write->batch_capacity = write->batch_capacity ? write->batch_capacity * 2 : 64;
    write->batches = xrealloc(write->batches, write->batch_capacity * sizeof(struct batch *));
  }
  write->batches[write->batch_count++] = batch_keep(batch);
}

/* Frame under construction. Headers go to one buffer that may move while it grows, so vectors into it hold
 * offsets until frame_end. */
struct frame_builder {
  struct wal_write *write;
  uint64_t size; /* so far, header included */
  uint64_t body_checksum;
  uint32_t records;
  size_t run; /* where the present run of header bytes begins */
};

static struct frame_builder frame_begin(struct wal_write *write) {
  bytes_clear(&write->headers);
  write->vector_count = 0;
  bytes_reserve(&write->headers, WAL_FRAME_HEADER);
  write->headers.size = WAL_FRAME_HEADER;
  return (struct frame_builder){.write = write, .size = WAL_FRAME_HEADER};
}

static void close_run(struct frame_builder *frame) {
  struct bytes *headers = &frame->write->headers;
  add_vector(frame->write, NULL, headers->size - frame->run);
  frame->run = headers->size;
}

/* The payload, which must stay where it is, follows its header; `record` needs no offset. Returns the
 * payload's offset from the beginning of the frame. */
static uint64_t frame_add(struct frame_builder *frame, const struct wal_record *record) {
  struct bytes *headers = &frame->write->headers;
  unsigned char *at = bytes_reserve(headers, WAL_RECORD_HEADER + 8);
  wal_encode_record(at, record);
  headers->size += WAL_RECORD_HEADER;
  frame->body_checksum = checksum_fold(frame->body_checksum, at, WAL_RECORD_HEADER);
  frame->records++;
  const uint64_t payload_offset = frame->size + WAL_RECORD_HEADER;
  frame->size += wal_record_size(record->size);
  if (record->size > 0) {
    close_run(frame);
    add_vector(frame->write, record->payload, record->size);
    const uint64_t padding = wal_padding(record->size);
    memset(bytes_reserve(headers, 8), 0, 8);
    headers->size += padding;
  }
  return payload_offset;
}

static void frame_end(struct frame_builder *frame, const struct wal_segment *segment) {
  struct wal_write *write = frame->write;
  if (write->headers.size > frame->run)
    close_run(frame);
  const struct wal_frame header = {.segment = segment->number,
                                   .number = segment->frames,
                                   .record_count = frame->records,
                                   .size = frame->size};
  wal_encode_frame(write->headers.data, &header, frame->body_checksum);
  size_t offset = 0;
  for (size_t i = 0; i < write->vector_count; i++) {
    if (!write->vectors[i].iov_base) {
      write->vectors[i].iov_base = write->headers.data + offset;
      offset += write->vectors[i].iov_len;
    }
  }
  assert(offset == write->headers.size);
}

static void add_opening(struct wal *wal, struct frame_builder *frame, const struct wal_opening *opening) {
  struct bytes *payload = &wal->write.opening;
  bytes_clear(payload);
  wal_encode_opening(payload, opening);
  frame_add(frame, &(struct wal_record){.type = WAL_SEGMENT,
                                        .size = (uint32_t)payload->size,
                                        .checksum = checksum(payload->data, payload->size),
                                        .payload = payload->data});
}

/* -- the write in flight -------------------------------------------------------------------------------- */

static void write_done(void *owner, int status);

/* The defect disk-error-continue: once a write has failed, the log goes on in memory as if nothing had been.
 */
static void write_adrift(void *owner) {
  write_done(owner, 0);
}

static void submit_write(struct wal *wal) {
  struct wal_write *write = &wal->write;
  write->refused = false;
  wal->busy++;
  if (bug_active(BUG_DISK_ERROR_CONTINUE) && wal->defects.adrift) {
    world_of(wal)->defer(world_of(wal)->context, write_adrift, wal);
    return;
  }
  world_of(wal)->disk_write(write->segment->file, write->offset, write->vectors, write->vector_count,
                            write_done, wal);
}

static void release_write(struct wal_write *write) {
  for (size_t i = 0; i < write->batch_count; i++)
    batch_drop(write->batches[i]);
  write->batch_count = 0;
  write->active = false;
}

static void reset_written(struct wal *wal) {
  struct wal_reset_request *reset = &wal->reset;
  reset->wanted = false;
  reset->ready(reset->owner);
  assert(!reset->segment && "ready() must accept or abandon");
}

static void write_done(void *owner, int status) {
  struct wal *wal = owner;
  if (wal_answered(wal) || wal->failed)
    return;
  struct wal_write *write = &wal->write;
  if (status == ERR_NO_SPACE) {
    write->refused = true;
    note_full(wal);
    return;
  }
  if (bug_active(BUG_DISK_ERROR_CONTINUE) && status != 0) {
    wal->defects.adrift = true;
    status = 0;
  }
  if (status != 0) {
    char name[WAL_NAME_SIZE];
    wal_segment_name(write->segment->number, name);
    wal_fail(
        wal, ERR_IO,
        "writing %llu bytes behind offset %llu of %s failed and what is durable is unknown; the process must "
        "end, and may be started again when the disk is sound",
        (unsigned long long)(write->segment->size - write->offset), (unsigned long long)write->offset, name);
    return;
  }
  note_room(wal);
  const bool with_term = write->with_term, resets = write->resets;
  const uint64_t high = write->high;
  release_write(write);
  if (resets) {
    reset_written(wal);
  } else {
    if (with_term && wal_term_is_durable(wal))
      wal->options.observer.term_durable(wal->options.observer.owner);
    if (!wal->failed && !wal->closing && high > wal->persisted_index) {
      wal->persisted_index = high;
      wal->options.observer.persisted(wal->options.observer.owner, high);
      wal_trim_cache(wal);
    }
  }
  if (!wal->closing)
    wal_flush(wal);
}

/* -- the defects no-fsync and unpersisted-vote ----------------------------------------------------------- */

#define SYNC_INTERVAL_NS NS_PER_S       /* no-fsync: Redis's appendfsync everysec */
#define TERM_INTERVAL_NS (2 * NS_PER_S) /* unpersisted-vote: term and vote are saved now and then */

static int64_t now_ns(const struct wal *wal) {
  return world_of(wal)->now_ns(world_of(wal)->context);
}

static void keep_promise(void *owner) {
  struct wal *wal = owner;
  if (wal_answered(wal) || wal->failed)
    return;
  wal->defects.promised = false;
  wal->options.observer.term_durable(wal->options.observer.owner);
  wal->options.observer.persisted(wal->options.observer.owner, wal->last_index);
}

/* Calls durable whatever was appended, and has it written within the interval. */
static void promise(struct wal *wal) {
  if (!wal->defects.promised) {
    wal->defects.promised = true;
    wal->busy++;
    world_of(wal)->defer(world_of(wal)->context, keep_promise, wal);
  }
  if (!wal->defects.sync_armed) {
    wal->defects.sync_armed = true;
    world_of(wal)->timer_set(wal->retry, now_ns(wal) + SYNC_INTERVAL_NS);
  }
}

static bool sync_is_due(const struct wal *wal) {
  return !bug_active(BUG_NO_FSYNC) || now_ns(wal) - wal->defects.synced_ns >= SYNC_INTERVAL_NS;
}

/* Whether the next write carries the term. */
static bool term_is_due(const struct wal *wal) {
  return wal->term_unwritten &&
         (!bug_active(BUG_UNPERSISTED_VOTE) || now_ns(wal) - wal->defects.term_saved_ns >= TERM_INTERVAL_NS);
}

static void note_term_saved(struct wal *wal) {
  wal->term_unwritten = false;
  if (bug_active(BUG_UNPERSISTED_VOTE))
    wal->defects.term_saved_ns = now_ns(wal);
}

void wal_retry(void *owner) {
  struct wal *wal = owner;
  if (wal->closing || wal->failed)
    return;
  wal->defects.sync_armed = false;
  if (bug_active(BUG_NO_FSYNC))
    wal_flush(wal);
  if (!wal->spare)
    wal_start_spare(wal);
  if (wal->write.active && wal->write.refused)
    submit_write(wal);
}

/* Bytes that entries may still take in a segment; the last ones are kept for terms and votes. */
static uint64_t entry_room(const struct wal_segment *segment) {
  const uint64_t size = segment->reserve;
  const uint64_t kept = size / 8 < 4096 ? size / 8 : 4096;
  return segment->size + kept < size ? size - kept - segment->size : 0;
}

/* The segment for the next write: the present one, or the spare when that is full. NULL: wait for a spare. */
static struct wal_segment *segment_for_write(struct wal *wal, bool *opens) {
  struct wal_segment *segment = active_segment(wal);
  const bool entries = wal->written_index < wal->last_index;
  uint64_t need = WAL_FRAME_HEADER + (term_is_due(wal) ? WAL_RECORD_HEADER : 0);
  *opens = false;
  if (segment && !wal->rotate) {
    if (!entries && segment->size + need <= segment->reserve)
      return segment;
    need += entries ? wal_record_size(wal_entry(wal, wal->written_index + 1)->size) : 0;
    if (need <= entry_room(segment))
      return segment;
  }
  if (!wal->spare) {
    wal_start_spare(wal);
    /* A term need not wait where an entry must. */
    const bool term_fits = segment && !wal->rotate && term_is_due(wal) &&
                           segment->size + WAL_FRAME_HEADER + WAL_RECORD_HEADER <= segment->reserve;
    return term_fits ? segment : NULL;
  }
  *opens = true;
  segment = take_spare(wal);
  segment->base_index = wal->written_index;
  push_segment(wal, segment);
  return segment;
}

static void add_entries(struct wal *wal, struct frame_builder *frame, bool at_least_one) {
  struct wal_write *write = &wal->write;
  const uint64_t room = entry_room(write->segment);
  while (wal->written_index < wal->last_index) {
    struct wal_entry *entry = wal_entry(wal, wal->written_index + 1);
    const uint64_t size = frame->size + wal_record_size(entry->size);
    if (!at_least_one && (size > room || size > WRITE_LIMIT))
      return;
    at_least_one = false;
    entry->segment = write->segment;
    entry->offset = write->offset + frame_add(frame, &(struct wal_record){.type = WAL_ENTRY,
                                                                          .entry_type = entry->type,
                                                                          .size = entry->size,
                                                                          .index = wal->written_index + 1,
                                                                          .term = entry->term,
                                                                          .checksum = entry->checksum,
                                                                          .payload = entry->data});
    if (entry->batch)
      hold_batch(write, entry->batch);
    wal->unwritten_size -= entry->size;
    write->high = ++wal->written_index;
  }
}

static void write_frame(struct wal *wal, struct wal_segment *segment, bool opens) {
  struct wal_write *write = &wal->write;
  write->active = true;
  write->segment = segment;
  write->offset = segment->size;
  write->high = 0;
  write->resets = false;
  write->with_term = term_is_due(wal) || (opens && wal->term_unwritten);
  struct frame_builder frame = frame_begin(write);
  if (opens) {
    uint64_t configuration_index;
    const struct bytes *configuration = wal_configuration_at(wal, segment->base_index, &configuration_index);
    add_opening(wal, &frame,
                &(struct wal_opening){.cluster = wal->options.cluster,
                                      .node = wal->options.node,
                                      .reserve = segment->reserve,
                                      .base_index = segment->base_index,
                                      .base_term = wal_term_at(wal, segment->base_index),
                                      .term = wal->term,
                                      .vote = wal->vote,
                                      .configuration_index = configuration_index,
                                      .configuration = configuration ? configuration->data : NULL,
                                      .configuration_size = configuration ? configuration->size : 0});
  } else if (write->with_term) {
    frame_add(&frame,
              &(struct wal_record){
                  .type = WAL_TERM, .index = wal->vote, .term = wal->term, .checksum = checksum(NULL, 0)});
  }
  if (write->with_term)
    note_term_saved(wal);
  add_entries(wal, &frame, opens);
  frame_end(&frame, segment);
  segment->frames++;
  segment->size += frame.size;
  submit_write(wal);
  wal_start_spare(wal);
}

static void write_reset(struct wal *wal) {
  struct wal_reset_request *reset = &wal->reset;
  if (!wal->spare) {
    wal_start_spare(wal);
    return;
  }
  struct wal_segment *segment = take_spare(wal);
  segment->base_index = reset->index;
  reset->segment = segment;
  struct wal_write *write = &wal->write;
  write->active = true;
  write->resets = true;
  write->with_term = false;
  write->segment = segment;
  write->offset = 0;
  write->high = 0;
  struct frame_builder frame = frame_begin(write);
  add_opening(wal, &frame,
              &(struct wal_opening){.reset = true,
                                    .cluster = wal->options.cluster,
                                    .node = wal->options.node,
                                    .reserve = segment->reserve,
                                    .base_index = reset->index,
                                    .base_term = reset->term,
                                    .term = wal->term,
                                    .vote = wal->vote,
                                    .configuration_index = reset->configuration_index,
                                    .configuration = reset->configuration.data,
                                    .configuration_size = reset->configuration.size});
  frame_end(&frame, segment);
  segment->frames++;
  segment->size += frame.size;
  submit_write(wal);
}

void wal_flush(struct wal *wal) {
  if (wal->failed || wal->closing)
    return;
  if (bug_active(BUG_NO_FSYNC))
    promise(wal);
  if (wal->write.active)
    return;
  if (wal->reset.wanted) {
    write_reset(wal);
    return;
  }
  if ((!term_is_due(wal) && wal->written_index == wal->last_index) || !sync_is_due(wal))
    return;
  if (bug_active(BUG_NO_FSYNC))
    wal->defects.synced_ns = now_ns(wal);
  bool opens;
  struct wal_segment *segment = segment_for_write(wal, &opens);
  if (segment)
    write_frame(wal, segment, opens);
}

bool wal_has_room(const struct wal *wal, uint64_t size) {
  if (!wal->full)
    return true;
  const struct wal_segment *segment = active_segment(wal);
  if (wal->write.active || !segment)
    return false;
  const uint64_t need = wal->unwritten_size + WAL_FRAME_HEADER + 2 * WAL_RECORD_HEADER +
                        (wal->last_index - wal->written_index + 1) * (WAL_RECORD_HEADER + 8) + size;
  return need <= entry_room(segment);
}

/* -- compaction and reset ------------------------------------------------------------------------------- */

void wal_compact(struct wal *wal, uint64_t index) {
  if (bug_active(BUG_DISK_ERROR_CONTINUE) && wal->defects.adrift)
    return; /* what was written once is all there will be */
  if (index > wal->persisted_index)
    index = wal->persisted_index;
  /* The last segment that may come first: its base is durable state, and no later segment begins before it.
   */
  uint64_t lowest = UINT64_MAX;
  size_t keep = 0;
  for (size_t i = wal->segment_count; i-- > 0;) {
    if (wal->segments[i]->base_index <= lowest) {
      lowest = wal->segments[i]->base_index;
      if (lowest <= index && keep == 0)
        keep = i;
    }
  }
  if (keep == 0 || wal->rotate)
    return;
  wal_drop_prefix(wal, wal->segments[keep]->base_index);
  for (size_t i = 0; i < keep; i++)
    remove_segment(wal, wal->segments[i]);
  wal->segment_count -= keep;
  memmove(wal->segments, wal->segments + keep, wal->segment_count * sizeof(struct wal_segment *));
}

void wal_reset(struct wal *wal, uint64_t index, uint64_t term, uint64_t configuration_index,
               const struct bytes *configuration, void (*ready)(void *owner), void *owner) {
  struct wal_reset_request *reset = &wal->reset;
  assert(!reset->wanted && !reset->segment);
  reset->wanted = true;
  reset->index = index;
  reset->term = term;
  reset->configuration_index = configuration_index;
  bytes_clear(&reset->configuration);
  bytes_append(&reset->configuration, configuration->data, configuration->size);
  reset->ready = ready;
  reset->owner = owner;
  wal_flush(wal);
}

void wal_reset_accept(struct wal *wal) {
  struct wal_reset_request *reset = &wal->reset;
  assert(reset->segment && !wal->write.active);
  if (wal->last_index > wal->base_index)
    wal_truncate(wal, wal->base_index + 1);
  for (size_t i = 0; i < wal->segment_count; i++)
    remove_segment(wal, wal->segments[i]);
  wal->segment_count = 0;
  push_segment(wal, reset->segment);
  reset->segment = NULL;
  wal->base_index = wal->last_index = wal->written_index = wal->persisted_index = reset->index;
  wal->base_term = reset->term;
  wal->cached_from = reset->index + 1;
  while (wal->configuration_count > 0)
    bytes_free(&wal->configurations[--wal->configuration_count].encoded);
  wal_note_configuration(wal, reset->configuration_index, reset->configuration.data,
                         reset->configuration.size);
  assert(wal->unwritten_size == 0 && wal->cached_size == 0);
}

void wal_reset_abandon(struct wal *wal) {
  assert(wal->reset.segment);
  remove_segment(wal, wal->reset.segment);
  wal->reset.segment = NULL;
}
