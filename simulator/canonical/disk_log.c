#include "simulator/canonical/disk_log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define FILE_NAME "canonical-log"
#define FRAME_HEADER 24
#define RECORD_HEADER 24
/* How long until a write that found the disk full is tried again. */
#define AGAIN_NS (INT64_C(50) * 1000 * 1000)

enum record_type {
  RECORD_IDENTITY = 1, /* index: the node, term: the cluster; opens the log */
  RECORD_TERM,
  RECORD_VOTE, /* index: the node voted for */
  RECORD_ENTRY,
  RECORD_TRUNCATE,
  RECORD_COMPACT, /* payload: base, configuration index, configuration */
  RECORD_OFFER,   /* payload: as above */
  RECORD_INSTALLED,
  RECORD_ABANDON,
};

/* Something asked for: its records, and who waits for them. */
struct item {
  struct item *next;
  struct bytes records;
  uint32_t record_count;
  bool ballot; /* a term or a vote */
  bool may_fail;
  disk_log_done *done;
  void *owner;
};

struct item_queue {
  struct item *first, **end;
};

struct disk_log {
  const struct world *world;
  struct disk_log_observer observer;
  struct disk_file *file; /* NULL: being made */
  struct timer *again;
  struct item_queue waiting, writing;
  struct item_queue behind; /* what waits for the end of an installation */
  bool installing;
  struct bytes frame;
  bool busy; /* a request of ours is under way */
  bool failed, closing;
  uint64_t offset, sequence;
  size_t ballots; /* terms and votes that are not durable */
  void (*closed)(void *owner);
  void *closed_owner;
};

/* -- reading -------------------------------------------------------------------------------------------- */

void logged_free(struct logged *logged) {
  free(logged->entries);
  bytes_free(&logged->payloads);
  bytes_free(&logged->snapshot.configuration);
  bytes_free(&logged->offered.configuration);
  *logged = (struct logged){0};
}

struct record {
  enum record_type type;
  uint8_t entry_type;
  uint64_t index, term;
  const unsigned char *payload;
  size_t size;
};

/* The size of the sound frame at `offset`, or 0. */
static size_t frame_at(const struct bytes *file, size_t offset, uint64_t *sequence) {
  if (file->size - offset < FRAME_HEADER)
    return 0;
  const unsigned char *at = file->data + offset;
  const size_t size = FRAME_HEADER + (size_t)le32_load(at + 16);
  *sequence = le64_load(at + 8);
  if (size > file->size - offset || le64_load(at) != checksum(at + 8, size - 8))
    return 0;
  return size;
}

static uint64_t last_index(const struct logged *logged) {
  return logged->base + logged->count;
}

static void drop_from(struct logged *logged, uint64_t index) {
  if (index <= last_index(logged))
    logged->count = index <= logged->base ? 0 : (size_t)(index - logged->base - 1);
}

static void drop_to(struct logged *logged, uint64_t base) {
  if (base <= logged->base)
    return;
  const size_t gone = base - logged->base < logged->count ? (size_t)(base - logged->base) : logged->count;
  memmove(logged->entries, logged->entries + gone, (logged->count - gone) * sizeof *logged->entries);
  logged->count -= gone;
  logged->base = base;
}

static int take_entry(struct logged *logged, const struct record *record) {
  if (record->index != last_index(logged) + 1)
    return ERR_CORRUPT;
  if (logged->count == logged->capacity) {
    logged->capacity = logged->capacity ? logged->capacity * 2 : 64;
    logged->entries = xrealloc(logged->entries, logged->capacity * sizeof *logged->entries);
  }
  logged->entries[logged->count++] = (struct logged_entry){.term = record->term,
                                                           .type = record->entry_type,
                                                           .offset = logged->payloads.size,
                                                           .size = record->size};
  bytes_append(&logged->payloads, record->payload, record->size);
  return 0;
}

static int take_snapshot(struct logged_snapshot *snapshot, const struct record *record, uint64_t *base) {
  if (record->size < 16)
    return ERR_CORRUPT;
  snapshot->index = record->index;
  snapshot->term = record->term;
  *base = le64_load(record->payload);
  snapshot->configuration_index = le64_load(record->payload + 8);
  bytes_clear(&snapshot->configuration);
  bytes_append(&snapshot->configuration, record->payload + 16, record->size - 16);
  return 0;
}

void logged_take_offered(struct logged *logged) {
  bytes_free(&logged->snapshot.configuration);
  logged->snapshot = logged->offered;
  logged->offered = (struct logged_snapshot){0};
  logged->count = 0;
  logged->base = logged->snapshot.index;
}

static int take_record(struct logged *logged, const struct record *record, uint64_t cluster, uint64_t node) {
  uint64_t base = 0;
  int status;
  switch (record->type) {
  case RECORD_IDENTITY:
    return record->index == node && record->term == cluster ? 0 : ERR_CORRUPT;
  case RECORD_TERM:
    logged->term = record->term;
    logged->vote = 0;
    return 0;
  case RECORD_VOTE:
    logged->vote = record->index;
    return 0;
  case RECORD_ENTRY:
    return take_entry(logged, record);
  case RECORD_TRUNCATE:
    drop_from(logged, record->index);
    return 0;
  case RECORD_COMPACT:
    status = take_snapshot(&logged->snapshot, record, &base);
    if (status == 0)
      drop_to(logged, base);
    return status;
  case RECORD_OFFER:
    return take_snapshot(&logged->offered, record, &base);
  case RECORD_INSTALLED:
    logged_take_offered(logged);
    return 0;
  case RECORD_ABANDON:
    logged->offered.index = 0;
    return 0;
  }
  return ERR_CORRUPT;
}

static int take_frame(struct logged *logged, const unsigned char *frame, size_t size, uint64_t cluster,
                      uint64_t node) {
  struct reader reader = reader_make(frame + FRAME_HEADER, size - FRAME_HEADER);
  for (uint32_t left = le32_load(frame + 20); left > 0; left--) {
    struct record record;
    record.type = (enum record_type)reader_u8(&reader);
    record.entry_type = reader_u8(&reader);
    (void)reader_bytes(&reader, 2);
    record.size = reader_le32(&reader);
    record.index = reader_le64(&reader);
    record.term = reader_le64(&reader);
    record.payload = reader_bytes(&reader, record.size);
    if (reader.failed || take_record(logged, &record, cluster, node) != 0)
      return ERR_CORRUPT;
  }
  return 0;
}

/* Behind the last sound frame: is there one that must have been written later? */
static bool sound_behind(const struct bytes *file, size_t offset, uint64_t expected) {
  for (size_t at = offset; at + FRAME_HEADER <= file->size; at++) {
    uint64_t sequence = le64_load(file->data + at + 8);
    if (sequence >= expected && sequence - expected < file->size && frame_at(file, at, &sequence) > 0)
      return true;
  }
  return false;
}

static int read_frames(struct disk_log *log, const struct bytes *file, struct logged *logged,
                       uint64_t cluster, uint64_t node, struct error *error) {
  size_t offset = 0;
  for (;;) {
    uint64_t sequence;
    const size_t size = frame_at(file, offset, &sequence);
    if (size == 0 || sequence != log->sequence)
      break;
    if (take_frame(logged, file->data + offset, size, cluster, node) != 0)
      return error_set(error, ERR_CORRUPT,
                       FILE_NAME ": frame %" PRIu64 " at %zu is sound, but not of this node's log: empty the "
                                 "data directory to let the node begin anew",
                       sequence, offset);
    offset += size;
    log->sequence++;
  }
  if (sound_behind(file, offset, log->sequence))
    return error_set(error, ERR_CORRUPT,
                     FILE_NAME ": frame %" PRIu64
                               " at %zu has rotted, for a sound one stands behind it: empty the "
                               "data directory to let the node begin anew",
                     log->sequence, offset);
  log->offset = offset;
  return 0;
}

/* -- writing -------------------------------------------------------------------------------------------- */

static void make_queue(struct item_queue *queue) {
  queue->first = NULL;
  queue->end = &queue->first;
}

static void push(struct item_queue *queue, struct item *item) {
  item->next = NULL;
  *queue->end = item;
  queue->end = &item->next;
}

static struct item *pop(struct item_queue *queue) {
  struct item *item = queue->first;
  queue->first = item->next;
  if (!queue->first)
    queue->end = &queue->first;
  return item;
}

static void free_item(struct item *item) {
  bytes_free(&item->records);
  free(item);
}

static void progress(struct disk_log *log);

static void finish_closing(struct disk_log *log) {
  if (!log->closing || log->busy)
    return;
  while (log->writing.first)
    free_item(pop(&log->writing));
  while (log->waiting.first)
    free_item(pop(&log->waiting));
  while (log->behind.first)
    free_item(pop(&log->behind));
  if (log->file)
    log->world->disk_close(log->file);
  log->world->timer_free(log->again);
  bytes_free(&log->frame);
  void (*closed)(void *) = log->closed;
  void *owner = log->closed_owner;
  free(log);
  closed(owner);
}

/* Takes the queue's items one after the other: what they cause may add others, which stay. */
static void end_items(struct disk_log *log, struct item_queue *queue, int status) {
  struct item_queue ended = *queue;
  if (!ended.first)
    return;
  make_queue(queue);
  for (struct item *item = ended.first, *next; item; item = next) {
    next = item->next;
    if (status == 0)
      log->ballots -= item->ballot;
    if (item->done && !log->closing)
      item->done(item->owner, status);
    free_item(item);
  }
}

/* The disk is full: appends are refused, all else stays in its order and waits for room. */
static void refuse_appends(struct disk_log *log) {
  struct item_queue refused, kept;
  make_queue(&refused);
  make_queue(&kept);
  struct item_queue *const queues[] = {&log->writing, &log->waiting};
  for (size_t i = 0; i < ARRAY_SIZE(queues); i++)
    while (queues[i]->first) {
      struct item *item = pop(queues[i]);
      push(item->may_fail ? &refused : &kept, item);
    }
  while (kept.first)
    push(&log->waiting, pop(&kept));
  end_items(log, &refused, ERR_NO_SPACE);
}

static void written(void *owner, int status) {
  struct disk_log *log = owner;
  log->busy = false;
  if (log->closing) {
    finish_closing(log);
    return;
  }
  if (status == 0) {
    log->offset += log->frame.size;
    log->sequence++;
    end_items(log, &log->writing, 0);
    progress(log);
    log->observer.written(log->observer.owner);
    return;
  }
  if (status == ERR_NO_SPACE) {
    refuse_appends(log);
    log->world->timer_set(log->again, log->world->now_ns(log->world->context) + AGAIN_NS);
    return;
  }
  log->failed = true;
  end_items(log, &log->writing, ERR_IO);
  end_items(log, &log->waiting, ERR_IO);
  struct error error;
  error_set(&error, ERR_IO,
            FILE_NAME ": a write at %" PRIu64 " failed, so nothing is known of the log's end: "
                      "look after the disk and start the node again",
            log->offset);
  log->observer.failed(log->observer.owner, &error);
}

static void progress(struct disk_log *log) {
  if (log->busy || log->failed || !log->file || !log->waiting.first)
    return;
  uint32_t records = 0;
  bytes_clear(&log->frame);
  memset(bytes_reserve(&log->frame, FRAME_HEADER), 0, FRAME_HEADER);
  log->frame.size = FRAME_HEADER;
  while (log->waiting.first) {
    struct item *item = pop(&log->waiting);
    bytes_append(&log->frame, item->records.data, item->records.size);
    records += item->record_count;
    push(&log->writing, item);
  }
  unsigned char *head = log->frame.data;
  le64_store(head + 8, log->sequence);
  le32_store(head + 16, (uint32_t)(log->frame.size - FRAME_HEADER));
  le32_store(head + 20, records);
  le64_store(head, checksum(head + 8, log->frame.size - 8));
  log->busy = true;
  const struct iovec vector = {.iov_base = head, .iov_len = log->frame.size};
  log->world->disk_write(log->file, log->offset, &vector, 1, written, log);
}

static void add_record(struct item *item, enum record_type type, uint8_t entry_type, uint64_t index,
                       uint64_t term, size_t size) {
  struct bytes *to = &item->records;
  bytes_append_u8(to, (uint8_t)type);
  bytes_append_u8(to, entry_type);
  bytes_append(to, "\0", 2);
  bytes_append_le32(to, (uint32_t)size);
  bytes_append_le64(to, index);
  bytes_append_le64(to, term);
  item->record_count++;
}

static struct item *new_item(disk_log_done *done, void *owner) {
  struct item *item = xcalloc(1, sizeof *item);
  item->done = done;
  item->owner = owner;
  return item;
}

static void ask(struct disk_log *log, struct item *item) {
  assert(!log->closing);
  log->ballots += item->ballot;
  push(log->installing && !item->ballot ? &log->behind : &log->waiting, item);
  progress(log);
}

/* The installation is over, one way or the other. */
static void ask_end_of_installation(struct disk_log *log, enum record_type type, disk_log_done *done,
                                    void *owner) {
  log->installing = false;
  struct item *item = new_item(done, owner);
  add_record(item, type, 0, 0, 0, 0);
  ask(log, item);
  while (log->behind.first)
    ask(log, pop(&log->behind));
}

static void ask_record(struct disk_log *log, enum record_type type, uint64_t index, uint64_t term) {
  struct item *item = new_item(NULL, NULL);
  item->ballot = type == RECORD_TERM || type == RECORD_VOTE;
  add_record(item, type, 0, index, term, 0);
  ask(log, item);
}

void disk_log_set_term(struct disk_log *log, uint64_t term) {
  ask_record(log, RECORD_TERM, 0, term);
}

void disk_log_set_vote(struct disk_log *log, uint64_t node) {
  ask_record(log, RECORD_VOTE, node, 0);
}

void disk_log_truncate(struct disk_log *log, uint64_t index) {
  ask_record(log, RECORD_TRUNCATE, index, 0);
}

void disk_log_abandon(struct disk_log *log) {
  ask_end_of_installation(log, RECORD_ABANDON, NULL, NULL);
}

static void ask_snapshot(struct disk_log *log, enum record_type type, const struct logged_snapshot *snapshot,
                         uint64_t base, disk_log_done *done, void *owner) {
  struct item *item = new_item(done, owner);
  add_record(item, type, 0, snapshot->index, snapshot->term, 16 + snapshot->configuration.size);
  bytes_append_le64(&item->records, base);
  bytes_append_le64(&item->records, snapshot->configuration_index);
  bytes_append(&item->records, snapshot->configuration.data, snapshot->configuration.size);
  ask(log, item);
}

void disk_log_compact(struct disk_log *log, const struct logged_snapshot *snapshot, uint64_t base,
                      disk_log_done *done, void *owner) {
  ask_snapshot(log, RECORD_COMPACT, snapshot, base, done, owner);
}

void disk_log_offer(struct disk_log *log, const struct logged_snapshot *snapshot, disk_log_done *done,
                    void *owner) {
  ask_snapshot(log, RECORD_OFFER, snapshot, 0, done, owner);
  log->installing = true;
}

void disk_log_installed(struct disk_log *log, disk_log_done *done, void *owner) {
  ask_end_of_installation(log, RECORD_INSTALLED, done, owner);
}

void disk_log_append(struct disk_log *log, uint64_t index, const struct new_entry *entries, size_t count,
                     disk_log_done *done, void *owner) {
  struct item *item = new_item(done, owner);
  item->may_fail = done != NULL;
  for (size_t i = 0; i < count; i++) {
    add_record(item, RECORD_ENTRY, entries[i].type, index + i, entries[i].term, entries[i].size);
    bytes_append(&item->records, entries[i].data, entries[i].size);
  }
  ask(log, item);
}

bool disk_log_ballot_pending(const struct disk_log *log) {
  return log->ballots > 0;
}

bool disk_log_idle(const struct disk_log *log) {
  return !log->busy && !log->failed && log->file && !log->waiting.first;
}

/* -- opening and closing -------------------------------------------------------------------------------- */

static void make_file(struct disk_log *log);

static void made(void *owner, int status, struct disk_file *file) {
  struct disk_log *log = owner;
  log->busy = false;
  log->file = file;
  if (log->closing) {
    finish_closing(log);
  } else if (status == 0) {
    progress(log);
  } else if (status == ERR_NO_SPACE) {
    log->world->timer_set(log->again, log->world->now_ns(log->world->context) + AGAIN_NS);
  } else {
    log->failed = true;
    struct error error;
    error_set(&error, ERR_IO, FILE_NAME ": cannot be made: look after the data directory");
    log->observer.failed(log->observer.owner, &error);
  }
}

static void make_file(struct disk_log *log) {
  log->busy = true;
  log->world->disk_create(log->world->context, FILE_NAME, 0, made, log);
}

static void try_again(void *owner) {
  struct disk_log *log = owner;
  if (log->busy || log->failed || log->closing)
    return;
  if (!log->file)
    make_file(log);
  else
    progress(log);
}

static int file_exists_in(const struct world *world, bool *exists, struct error *error) {
  char **names;
  size_t count;
  const int status = world->disk_list(world->context, &names, &count, error);
  if (status != 0)
    return status;
  *exists = false;
  for (size_t i = 0; i < count; i++) {
    *exists |= strcmp(names[i], FILE_NAME) == 0;
    free(names[i]);
  }
  free(names);
  return 0;
}

static int open_file(struct disk_log *log, uint64_t cluster, uint64_t node, struct logged *logged,
                     struct error *error) {
  const struct world *world = log->world;
  struct bytes file = {0};
  int status = world->disk_read(world->context, FILE_NAME, &file, error);
  if (status == 0)
    status = read_frames(log, &file, logged, cluster, node, error);
  if (status == 0)
    status = world->disk_open(world->context, FILE_NAME, &log->file, error);
  if (status == 0 && file.size > log->offset)
    status = world->disk_settle(log->file, log->offset, NULL, file.size - log->offset, error);
  bytes_free(&file);
  return status;
}

int disk_log_open(const struct world *world, uint64_t cluster, uint64_t node,
                  const struct disk_log_observer *observer, struct disk_log **log, struct logged *logged,
                  struct error *error) {
  bool exists;
  int status = file_exists_in(world, &exists, error);
  if (status != 0)
    return status;
  struct disk_log *made_log = xcalloc(1, sizeof *made_log);
  made_log->world = world;
  made_log->observer = *observer;
  make_queue(&made_log->waiting);
  make_queue(&made_log->writing);
  make_queue(&made_log->behind);
  *logged = (struct logged){0};
  status = exists ? open_file(made_log, cluster, node, logged, error) : 0;
  if (status != 0) {
    if (made_log->file)
      world->disk_close(made_log->file);
    free(made_log);
    logged_free(logged);
    return status;
  }
  made_log->again = world->timer_new(world->context, try_again, made_log);
  *log = made_log;
  if (made_log->sequence == 0)
    ask_record(made_log, RECORD_IDENTITY, node, cluster);
  if (!exists)
    make_file(made_log);
  return 0;
}

void disk_log_close(struct disk_log *log, void (*closed)(void *owner), void *owner) {
  assert(!log->closing);
  log->closing = true;
  log->closed = closed;
  log->closed_owner = owner;
  log->world->timer_clear(log->again);
  finish_closing(log);
}
