/* wal_recover.c: start-up of the write-ahead log: what the segments say, or why they cannot be trusted.
 *
 * Segments are read in the order of their numbers. Only the last one may end in a torn write; anything else
 * that is not sound is damage to something durable, and the log refuses to start rather than forget what this
 * node promised. */
#include <inttypes.h>
#include <raft.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "master/raft/wal_internal.h"

#define CURE                                                                                                    \
  "restore the file, or, while all other masters are up, wipe this node's data directory and let it rejoin by " \
  "snapshot"

struct recovery {
  struct wal *wal;
  struct error *error;
  uint64_t *numbers; /* of the segments, ascending */
  size_t count;
  size_t position; /* in numbers: being read */
  uint64_t number;
  char name[WAL_NAME_SIZE];
  struct bytes content;
  uint64_t torn; /* bytes of a torn write behind the last segment's end */
};

static int damaged(struct recovery *recovery, uint64_t offset, const char *what) {
  return error_set(recovery->error, ERR_CORRUPT, "the log is damaged in %s at offset %" PRIu64 ": %s; %s",
                   recovery->name, offset, what, CURE);
}

static int by_number(const void *left, const void *right) {
  const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return a < b ? -1 : a > b;
}

static int list_segments(struct recovery *recovery) {
  const struct world *world = recovery->wal->options.world;
  char **names = NULL;
  size_t count = 0;
  const int status = world->disk_list(world->context, &names, &count, recovery->error);
  if (status != 0)
    return status;
  recovery->numbers = xcalloc(count + 1, sizeof *recovery->numbers);
  for (size_t i = 0; i < count; i++) {
    uint64_t number;
    if (wal_parse_name(names[i], &number))
      recovery->numbers[recovery->count++] = number;
    free(names[i]);
  }
  free(names);
  qsort(recovery->numbers, recovery->count, sizeof *recovery->numbers, by_number);
  return 0;
}

/* -- records -------------------------------------------------------------------------------------------- */

static int take_term(struct recovery *recovery, const struct wal_record *record) {
  struct wal *wal = recovery->wal;
  if (record->term < wal->term)
    return damaged(recovery, record->offset, "the term goes back");
  if (record->term == wal->term && wal->vote != 0 && record->index != wal->vote)
    return damaged(recovery, record->offset, "two votes in one term");
  wal->term = record->term;
  wal->vote = record->index;
  return 0;
}

static int take_entry(struct recovery *recovery, struct wal_segment *segment, const struct wal_record *record,
                      struct batch *batch, uint64_t batch_offset) {
  struct wal *wal = recovery->wal;
  if (record->index <= wal->base_index || record->index > wal->last_index + 1)
    return damaged(recovery, record->offset, "an entry is missing before this one");
  if (record->index <= wal->last_index) {
    if (record->term == wal_term_at(wal, record->index))
      return damaged(recovery, record->offset, "an entry is replaced by one of the same term");
    wal_truncate(wal, record->index);
    wal->rotate = false;
  }
  if (record->term < wal_term_at(wal, wal->last_index) ||
      (record->term > wal->term && !bug_active(BUG_UNPERSISTED_VOTE)))
    return damaged(recovery, record->offset, "the term of an entry is out of order");
  struct wal_entry *entry = wal_push(wal);
  *entry = (struct wal_entry){.term = record->term,
                              .checksum = record->checksum,
                              .size = record->size,
                              .type = record->entry_type,
                              .segment = segment,
                              .offset = record->offset};
  if (record->entry_type == RAFT_CHANGE)
    wal_note_configuration(wal, record->index, record->payload, record->size);
  if (record->size > 0 && batch)
    wal_cache_entry(wal, entry, batch, batch->data + (record->offset - batch_offset));
  wal->written_index = wal->persisted_index = wal->last_index;
  return 0;
}

/* Payloads the state has yet to see stay in memory; the frame is copied once for all of them. */
static struct batch *batch_of_frame(const struct recovery *recovery, const struct wal_frame *frame,
                                    uint64_t offset) {
  const struct wal *wal = recovery->wal;
  const bool applied = wal->last_index + frame->record_count <= wal->options.durable_index;
  if ((applied && !bug_active(BUG_REPLAY_TWICE)) || wal->cached_size > wal->options.cache_size)
    return NULL;
  struct batch *batch = batch_new((size_t)frame->size);
  memcpy(batch->data, recovery->content.data + offset, (size_t)frame->size);
  return batch;
}

static int take_frame(struct recovery *recovery, struct wal_segment *segment, const struct wal_frame *frame,
                      uint64_t offset) {
  struct batch *batch = batch_of_frame(recovery, frame, offset);
  uint64_t at = offset + WAL_FRAME_HEADER;
  int status = 0;
  for (uint32_t i = 0; i < frame->record_count && status == 0; i++) {
    const struct wal_record record = wal_read_record(&recovery->content, &at);
    if (record.type == WAL_TERM)
      status = take_term(recovery, &record);
    else if (record.type == WAL_ENTRY)
      status = take_entry(recovery, segment, &record, batch, offset);
    else if (record.type != WAL_SEGMENT || offset != 0 || i != 0)
      status = damaged(recovery, record.offset, "a record of a kind that does not belong there");
  }
  if (batch)
    batch_drop(batch);
  return status;
}

/* -- segments ------------------------------------------------------------------------------------------- */

static void forget_entries(struct wal *wal, uint64_t index, uint64_t term) {
  if (wal->last_index > wal->base_index)
    wal_truncate(wal, wal->base_index + 1);
  wal->rotate = false;
  while (wal->configuration_count > 0)
    bytes_free(&wal->configurations[--wal->configuration_count].encoded);
  wal->base_index = wal->last_index = wal->written_index = wal->persisted_index = index;
  wal->base_term = term;
}

static void drop_segments(struct wal *wal) {
  for (size_t i = 0; i < wal->segment_count; i++) {
    char name[WAL_NAME_SIZE];
    wal_segment_name(wal->segments[i]->number, name);
    wal_segment_free(wal, wal->segments[i]);
    wal->options.world->disk_remove(wal->options.world->context, name);
  }
  wal->segment_count = 0;
}

/* Whether the log read so far leads to the entry, so that a reset to it never was needed. */
static bool leads_to(const struct wal *wal, uint64_t index, uint64_t term) {
  return wal->segment_count > 0 &&
         (wal->base_index >= index || (index <= wal->last_index && wal_term_at(wal, index) == term));
}

static void start_at(struct wal *wal, const struct wal_opening *opening) {
  drop_segments(wal);
  forget_entries(wal, opening->base_index, opening->base_term);
  if (opening->configuration_size > 0)
    wal_note_configuration(wal, opening->configuration_index, opening->configuration,
                           opening->configuration_size);
}

/* What the opening record asks for. `*ignore`: the segment is a reset that never came to be. */
static int take_opening(struct recovery *recovery, const struct wal_opening *opening, bool *ignore) {
  struct wal *wal = recovery->wal;
  const struct wal_options *options = &wal->options;
  *ignore = false;
  if (opening->cluster != options->cluster || opening->node != options->node)
    return error_set(recovery->error, ERR_BAD_INPUT,
                     "the log %s belongs to node %" PRIu64 " of cluster %" PRIu64 ", not to node %" PRIu64
                     " of cluster %" PRIu64
                     ": use another data directory, or the right --id and --cluster-id",
                     recovery->name, opening->node, opening->cluster, options->node, options->cluster);
  const struct wal_record term = {.term = opening->term, .index = opening->vote};
  if (opening->reset) {
    *ignore = leads_to(wal, opening->base_index, opening->base_term) ||
              options->durable_index < opening->base_index;
    /* Its term was asked for before it was written, and counts in any case. */
    const int status = opening->term < wal->term ? 0 : take_term(recovery, &term);
    if (status == 0 && !*ignore)
      start_at(wal, opening);
    return status;
  }
  const int status = take_term(recovery, &term);
  if (status != 0)
    return status;
  if (wal->segment_count == 0 || opening->base_index < wal->base_index) {
    start_at(wal, opening);
    return 0;
  }
  if (opening->base_index > wal->last_index || wal_term_at(wal, opening->base_index) != opening->base_term)
    return damaged(recovery, 0, "it does not continue the segment before it, from which entries are missing");
  if (opening->base_index < wal->last_index) {
    wal_truncate(wal, opening->base_index + 1);
    wal->rotate = false;
  }
  return 0;
}

/* Whether a segment with a sound first frame comes behind the one being read. */
static int opened_behind(struct recovery *recovery, bool *opened) {
  const struct world *world = recovery->wal->options.world;
  struct bytes content = {0};
  int status = 0;
  *opened = false;
  for (size_t i = recovery->position + 1; i < recovery->count && status == 0 && !*opened; i++) {
    char name[WAL_NAME_SIZE];
    wal_segment_name(recovery->numbers[i], name);
    bytes_clear(&content);
    status = world->disk_read(world->context, name, &content, recovery->error);
    struct wal_frame frame;
    *opened = status == 0 && wal_read_frame(&content, 0, recovery->numbers[i], &frame);
  }
  bytes_free(&content);
  return status;
}

/* Judges what stands at `offset`, behind the last sound frame. */
static int take_end(struct recovery *recovery, uint64_t offset, uint32_t frames, bool *torn) {
  uint64_t behind = 0;
  const enum wal_end end = wal_judge_end(&recovery->content, offset, recovery->number, frames, &behind);
  *torn = end == WAL_END_TORN;
  if (end == WAL_END_CLEAN)
    return 0;
  if (end == WAL_END_ROT)
    return damaged(recovery, offset, "a frame is broken and sound ones stand behind it");
  bool opened;
  const int status = opened_behind(recovery, &opened);
  if (status != 0)
    return status;
  if (opened)
    return damaged(recovery, offset, "a frame is broken and another segment follows");
  log_warn("%s: the last write, at offset %" PRIu64 ", was cut short by a crash; it is dropped",
           recovery->name, offset);
  return 0;
}

/* A file without a sound first frame: the spare, or one whose first write was cut short or failed. The next
 * spare is made while that write is under way, so it may stand behind it. */
static int take_unopened(struct recovery *recovery) {
  struct wal *wal = recovery->wal;
  bool opened, torn;
  int status = opened_behind(recovery, &opened);
  const bool cut =
      recovery->position + 1 < recovery->count && recovery->content.size < wal->options.segment_size;
  if (status == 0 && (opened || cut))
    return damaged(recovery, 0, "it is empty, or its first frame is broken, and another segment follows");
  if (status == 0)
    status = take_end(recovery, 0, 0, &torn);
  if (status != 0)
    return status;
  const struct world *world = wal->options.world;
  if (torn || wal->spare || recovery->content.size != wal->options.segment_size) {
    world->disk_remove(world->context, recovery->name);
    return 0;
  }
  struct disk_file *file;
  status = world->disk_open(world->context, recovery->name, &file, recovery->error);
  if (status != 0)
    return status;
  wal->spare = xcalloc(1, sizeof *wal->spare);
  *wal->spare =
      (struct wal_segment){.number = recovery->number, .file = file, .reserve = recovery->content.size};
  return 0;
}

static int read_frames(struct recovery *recovery, struct wal_segment *segment) {
  struct wal_frame frame;
  while (wal_read_frame(&recovery->content, segment->size, recovery->number, &frame)) {
    if (frame.number != segment->frames)
      return damaged(recovery, segment->size, "a frame is missing before this one");
    const int status = take_frame(recovery, segment, &frame, segment->size);
    if (status != 0)
      return status;
    segment->size += frame.size;
    segment->frames++;
  }
  return 0;
}

/* Reads the open segment's frames; the segment joins the log. */
static int take_opened(struct recovery *recovery, uint64_t reserve) {
  struct wal *wal = recovery->wal;
  const struct world *world = wal->options.world;
  if (recovery->content.size < reserve)
    return damaged(recovery, recovery->content.size, "the file was cut short");
  struct wal_segment *segment = xcalloc(1, sizeof *segment);
  segment->number = recovery->number;
  segment->reserve = reserve;
  segment->base_index = wal->last_index;
  int status = world->disk_open(world->context, recovery->name, &segment->file, recovery->error);
  if (status != 0) {
    free(segment);
    return status;
  }
  wal->segments = xrealloc(wal->segments, (wal->segment_count + 1) * sizeof(struct wal_segment *));
  wal->segments[wal->segment_count++] = segment;
  bool torn = false;
  status = read_frames(recovery, segment);
  if (status == 0)
    status = take_end(recovery, segment->size, segment->frames, &torn);
  recovery->torn = torn ? recovery->content.size - segment->size : 0;
  return status;
}

static int take_segment(struct recovery *recovery) {
  struct wal *wal = recovery->wal;
  const struct world *world = wal->options.world;
  bytes_clear(&recovery->content);
  int status = world->disk_read(world->context, recovery->name, &recovery->content, recovery->error);
  if (status != 0)
    return status;
  struct wal_frame frame;
  if (!wal_read_frame(&recovery->content, 0, recovery->number, &frame))
    return take_unopened(recovery);
  uint64_t at = WAL_FRAME_HEADER;
  struct wal_record record = {0};
  if (frame.record_count > 0)
    record = wal_read_record(&recovery->content, &at);
  struct wal_opening opening;
  if (record.type != WAL_SEGMENT || wal_decode_opening(record.payload, record.size, &opening) != 0)
    return error_set(recovery->error, ERR_CORRUPT,
                     "%s is not a log of format %d, which this program reads: %s", recovery->name, WAL_FORMAT,
                     CURE);
  bool ignore = false;
  status = take_opening(recovery, &opening, &ignore);
  if (status != 0)
    return status;
  if (!ignore)
    return take_opened(recovery, opening.reserve);
  if (wal_read_frame(&recovery->content, frame.size, recovery->number, &(struct wal_frame){0}))
    return damaged(recovery, frame.size, "a snapshot was installed here that the state does not hold");
  world->disk_remove(world->context, recovery->name);
  return 0;
}

/* What was read need not be durable: the process before this one may have been killed between a write and its
 * sync, or have ended because the sync failed, after which the kernel shows bytes that no disk has and calls
 * every later sync of them a success. So the last segment, the only one that can have such bytes, is written
 * again before anything in it is promised, and the spare and the names are synced. A torn end becomes zeros
 * again, so that nothing of it can be taken for damage later. */
static int settle_end(struct recovery *recovery) {
  struct wal *wal = recovery->wal;
  const struct world *world = wal->options.world;
  int status = 0;
  if (wal->spare)
    status = world->disk_settle(wal->spare->file, 0, NULL, 0, recovery->error);
  if (status != 0 || wal->segment_count == 0)
    return status;
  const struct wal_segment *segment = wal->segments[wal->segment_count - 1];
  wal_segment_name(segment->number, recovery->name);
  bytes_clear(&recovery->content);
  status = world->disk_read(world->context, recovery->name, &recovery->content, recovery->error);
  if (status == 0 && recovery->torn > 0)
    status = world->disk_settle(segment->file, segment->size, NULL, recovery->torn, recovery->error);
  if (status == 0)
    status = world->disk_settle(segment->file, 0, recovery->content.data, segment->size, recovery->error);
  return status;
}

/* With a defect inside, the log may end before the state does: the state is believed then, as in systems that
 * do not look, so that what was promised and lost can be seen. */
static void begin_behind_state(struct wal *wal) {
  uint64_t configuration_index;
  const struct bytes *known = wal_configuration_at(wal, wal->last_index, &configuration_index);
  struct bytes configuration = {0};
  if (known)
    bytes_append(&configuration, known->data, known->size);
  drop_segments(wal);
  forget_entries(wal, wal->options.durable_index, wal->options.durable_term);
  if (known)
    wal_note_configuration(wal, configuration_index, configuration.data, configuration.size);
  bytes_free(&configuration);
  if (wal->term < wal->options.durable_term)
    wal_set_term(wal, wal->options.durable_term, 0);
  wal->term_unwritten = true;
  wal_flush(wal);
}

/* The state above must stand on this log. */
static int check_state(struct recovery *recovery) {
  const struct wal *wal = recovery->wal;
  const struct wal_options *options = &wal->options;
  const uint64_t index = options->durable_index;
  if (index < wal->base_index)
    return error_set(recovery->error, ERR_CORRUPT,
                     "the state holds entries up to %" PRIu64 ", but the log begins behind %" PRIu64 ": %s",
                     index, wal->base_index, CURE);
  if (bug_any_active() && index > wal->last_index && wal->last_index > 0) {
    begin_behind_state(recovery->wal);
    recovery->torn = 0;
    return 0;
  }
  if (index > wal->last_index)
    return error_set(recovery->error, ERR_CORRUPT,
                     "the state holds entries up to %" PRIu64 ", but the log ends at %" PRIu64
                     ": durable entries were lost; %s",
                     index, wal->last_index, CURE);
  if (index > 0 && wal_term_at(wal, index) != options->durable_term)
    return error_set(recovery->error, ERR_CORRUPT,
                     "entry %" PRIu64 " is of term %" PRIu64 " in the state and of term %" PRIu64
                     " in the log: %s",
                     index, options->durable_term, wal_term_at(wal, index), CURE);
  return 0;
}

int wal_recover(struct wal *wal, struct error *error) {
  struct recovery recovery = {.wal = wal, .error = error};
  int status = list_segments(&recovery);
  for (; recovery.position < recovery.count && status == 0; recovery.position++) {
    recovery.number = recovery.numbers[recovery.position];
    wal_segment_name(recovery.number, recovery.name);
    wal->next_number = recovery.number + 1;
    status = take_segment(&recovery);
  }
  if (status == 0)
    status = check_state(&recovery);
  if (status == 0 && !wal->write.active) /* else nothing of what was read is used */
    status = settle_end(&recovery);
  free(recovery.numbers);
  bytes_free(&recovery.content);
  return status;
}
