/* memory_store.c: a row store in memory, for tests and the simulator.
 *
 * Rows stand in one array, sorted by table and key; a write merges its rows into a new array. What was
 * written stays as long as the store itself does, so a crash of a node is: forget the tables, keep the
 * store. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/store.h"

/* A checkpoint's files end where the hash of a key says so, so that rows that did not change make the same
 * files again: one row in this many ends one. */
#define ROWS_PER_FILE 4

struct completion {
  struct completion *next;
  store_write_done *written; /* or: */
  store_read_done *fetched;  /* or: */
  store_checkpoint_done *taken;
  snapshot_read_done *read;
  snapshot_receive_done *received;
  struct store_checkpoint *checkpoint;
  struct snapshot_range missing;
  struct error error; /* code 0: none */
  void *context;
};

/* A checkpoint on its way in, and what is left of it until it is installed or forgotten. */
struct incoming {
  bool is_there, prepared;
  uint64_t index;
  struct snapshot_file *files;
  struct bytes *contents;
  bool *whole;
  size_t count;
};

struct memory_store {
  struct row_store store;
  struct store_wake wake;
  struct store_row **rows;
  size_t count;
  struct completion *completions, **completions_end;
  struct incoming incoming;
};

struct memory_checkpoint {
  struct store_checkpoint checkpoint;
  struct snapshot_file *files;
  struct bytes *contents;
  size_t count;
};

static struct memory_store *memory_of(struct row_store *store) {
  return CONTAINER_OF(store, struct memory_store, store);
}

static int key_order(enum table table_a, const void *a, size_t size_a, enum table table_b, const void *b,
                     size_t size_b) {
  if (table_a != table_b)
    return table_a < table_b ? -1 : 1;
  const size_t common = size_a < size_b ? size_a : size_b;
  const int order = common ? memcmp(a, b, common) : 0;
  return order ? order : (size_a > size_b) - (size_a < size_b);
}

static int row_order(const struct store_row *a, const struct store_row *b) {
  return key_order((enum table)a->table, a->bytes, a->key_size, (enum table)b->table, b->bytes, b->key_size);
}

static int row_pointer_order(const void *a, const void *b) {
  return row_order(*(const struct store_row *const *)a, *(const struct store_row *const *)b);
}

/* The first row that is not below the key. */
static size_t lower_bound(const struct memory_store *memory, enum table table, const void *key,
                          size_t key_size) {
  size_t low = 0, high = memory->count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    const struct store_row *row = memory->rows[middle];
    if (key_order((enum table)row->table, row->bytes, row->key_size, table, key, key_size) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static struct store_row *copy_row(const struct store_row *row) {
  const size_t size = sizeof *row + row->key_size + row->value_size;
  return memcpy(xmalloc(size), row, size);
}

static void complete(struct memory_store *memory, const struct completion *completion) {
  struct completion *kept = xmalloc(sizeof *kept);
  *kept = *completion;
  kept->next = NULL;
  *memory->completions_end = kept;
  memory->completions_end = &kept->next;
  memory->wake.wake(memory->wake.context);
}

static void memory_write(struct row_store *store, const struct store_row **rows, size_t count,
                         store_write_done *done, void *context) {
  struct memory_store *memory = memory_of(store);
  qsort(rows, count, sizeof(struct store_row *), row_pointer_order);
  struct store_row **merged = xmalloc((memory->count + count + 1) * sizeof(struct store_row *));
  size_t size = 0, old = 0;
  for (size_t i = 0; i < count; i++) {
    assert(i == 0 || row_order(rows[i - 1], rows[i]) < 0);
    while (old < memory->count && row_order(memory->rows[old], rows[i]) < 0)
      merged[size++] = memory->rows[old++];
    if (old < memory->count && row_order(memory->rows[old], rows[i]) == 0)
      free(memory->rows[old++]);
    if (!rows[i]->deleted)
      merged[size++] = copy_row(rows[i]);
  }
  while (old < memory->count)
    merged[size++] = memory->rows[old++];
  free(memory->rows);
  memory->rows = merged;
  memory->count = size;
  complete(memory, &(struct completion){.written = done, .context = context});
}

static int memory_get(struct row_store *store, enum table table, const void *key, size_t key_size,
                      struct bytes *value, struct error *error) {
  (void)error;
  const struct memory_store *memory = memory_of(store);
  const size_t at = lower_bound(memory, table, key, key_size);
  if (at == memory->count)
    return ERR_NOT_FOUND;
  const struct store_row *row = memory->rows[at];
  if (row->table != table || row->key_size != key_size || memcmp(row->bytes, key, key_size) != 0)
    return ERR_NOT_FOUND;
  bytes_append(value, row->bytes + key_size, row->value_size);
  return 0;
}

static int memory_scan(struct row_store *store, enum table table, const void *prefix, size_t prefix_size,
                       const void *from, size_t from_size, store_row_found *found, void *context,
                       struct error *error) {
  (void)error;
  const struct memory_store *memory = memory_of(store);
  size_t at = lower_bound(memory, table, from_size ? from : prefix, from_size ? from_size : prefix_size);
  for (; at < memory->count; at++) {
    const struct store_row *row = memory->rows[at];
    if (row->table != table || row->key_size < prefix_size ||
        (prefix_size && memcmp(row->bytes, prefix, prefix_size) != 0) ||
        !found(context, row->bytes, row->key_size, row->bytes + row->key_size, row->value_size))
      break;
  }
  return 0;
}

/* -- checkpoints -- */

static uint64_t content_checksum(const struct bytes *content) {
  uint64_t sum = 0;
  for (size_t at = 0; at < content->size; at += SNAPSHOT_CHUNK) {
    const size_t left = content->size - at;
    sum = checksum_fold(sum, content->data + at, left < SNAPSHOT_CHUNK ? left : SNAPSHOT_CHUNK);
  }
  return sum;
}

static void append_row(struct bytes *content, const struct store_row *row) {
  bytes_append_u8(content, row->table);
  bytes_append_string(content, row->bytes, row->key_size);
  bytes_append_string(content, row->bytes + row->key_size, row->value_size);
}

static void end_file(struct memory_checkpoint *taken) {
  struct snapshot_file *file = &taken->files[taken->count];
  snprintf(file->name, sizeof file->name, "rows-%zu", taken->count);
  file->size = taken->contents[taken->count].size;
  file->checksum = content_checksum(&taken->contents[taken->count]);
  taken->count++;
}

static struct memory_checkpoint *take_checkpoint(const struct memory_store *memory) {
  struct memory_checkpoint *taken = xcalloc(1, sizeof *taken);
  taken->files = xcalloc(memory->count + 1, sizeof *taken->files);
  taken->contents = xcalloc(memory->count + 1, sizeof *taken->contents);
  for (size_t i = 0; i < memory->count; i++) {
    const struct store_row *row = memory->rows[i];
    append_row(&taken->contents[taken->count], row);
    if (checksum(row->bytes, row->key_size) % ROWS_PER_FILE == 0)
      end_file(taken);
  }
  if (taken->contents[taken->count].size > 0)
    end_file(taken);
  taken->checkpoint = (struct store_checkpoint){.files = taken->files, .file_count = taken->count};
  return taken;
}

static void memory_checkpoint_close(struct row_store *store, struct store_checkpoint *checkpoint) {
  (void)store;
  struct memory_checkpoint *taken = CONTAINER_OF(checkpoint, struct memory_checkpoint, checkpoint);
  for (size_t i = 0; i < taken->count; i++)
    bytes_free(&taken->contents[i]);
  free(taken->contents);
  free(taken->files);
  free(taken);
}

static void memory_checkpoint(struct row_store *store, store_checkpoint_done *done, void *context) {
  struct memory_store *memory = memory_of(store);
  struct memory_checkpoint *taken = take_checkpoint(memory);
  complete(memory, &(struct completion){.taken = done, .checkpoint = &taken->checkpoint, .context = context});
}

static void memory_checkpoint_read(struct row_store *store, struct store_checkpoint *checkpoint, size_t file,
                                   uint64_t offset, void *buffer, size_t size, snapshot_read_done *done,
                                   void *owner) {
  const struct memory_checkpoint *taken = CONTAINER_OF(checkpoint, struct memory_checkpoint, checkpoint);
  struct completion completion = {.read = done, .context = owner};
  if (file >= taken->count || offset > taken->contents[file].size ||
      size > taken->contents[file].size - offset)
    error_set(&completion.error, ERR_BAD_INPUT, "a read behind the end of a snapshot's file");
  else if (size)
    memcpy(buffer, taken->contents[file].data + offset, size);
  complete(memory_of(store), &completion);
}

/* -- receiving -- */

static void forget_incoming(struct incoming *incoming) {
  for (size_t i = 0; i < incoming->count; i++)
    bytes_free(&incoming->contents[i]);
  free(incoming->files);
  free(incoming->contents);
  free(incoming->whole);
  *incoming = (struct incoming){0};
}

static bool same_content(const struct snapshot_file *a, const struct snapshot_file *b) {
  return a->size == b->size && a->checksum == b->checksum;
}

/* Of `count` files the one that is the same, or `count`. */
static size_t find_file(const struct snapshot_file *files, size_t count, const struct snapshot_file *wanted) {
  size_t i = 0;
  while (i < count && !same_content(&files[i], wanted))
    i++;
  return i;
}

/* The first file that is not whole. */
static struct snapshot_range find_missing(const struct incoming *incoming) {
  struct snapshot_range missing = {0};
  while (missing.file < incoming->count && incoming->whole[missing.file])
    missing.file++;
  missing.end_file = missing.file;
  while (missing.end_file < incoming->count && !incoming->whole[missing.end_file])
    missing.end_file++;
  if (missing.file < incoming->count)
    missing.offset = incoming->contents[missing.file].size;
  return missing;
}

static void begin_file(struct memory_store *memory, struct incoming *incoming, size_t i,
                       const struct memory_checkpoint *live) {
  struct incoming *old = &memory->incoming;
  const size_t before = find_file(old->files, old->count, &incoming->files[i]);
  const size_t here = find_file(live->files, live->count, &incoming->files[i]);
  if (before < old->count) {
    incoming->contents[i] = old->contents[before];
    incoming->whole[i] = old->whole[before];
    old->contents[before] = (struct bytes){0};
    old->files[before].size = UINT64_MAX; /* moved away */
  } else if (here < live->count) {
    bytes_append(&incoming->contents[i], live->contents[here].data, live->contents[here].size);
    incoming->whole[i] = true;
  }
}

static void memory_receive_begin(struct row_store *store, uint64_t index, const struct snapshot_file *files,
                                 size_t file_count, snapshot_receive_done *done, void *owner) {
  struct memory_store *memory = memory_of(store);
  struct memory_checkpoint *live = take_checkpoint(memory);
  struct incoming incoming = {.is_there = true, .index = index, .count = file_count};
  incoming.files = xcalloc(file_count + 1, sizeof *incoming.files);
  incoming.contents = xcalloc(file_count + 1, sizeof *incoming.contents);
  incoming.whole = xcalloc(file_count + 1, sizeof *incoming.whole);
  if (file_count)
    memcpy(incoming.files, files, file_count * sizeof *files);
  for (size_t i = 0; i < file_count; i++)
    begin_file(memory, &incoming, i, live);
  memory_checkpoint_close(store, &live->checkpoint);
  forget_incoming(&memory->incoming);
  memory->incoming = incoming;
  complete(memory,
           &(struct completion){.received = done, .missing = find_missing(&incoming), .context = owner});
}

static int receive_piece(struct incoming *incoming, uint64_t file, uint64_t offset, const void *data,
                         size_t size, struct error *error) {
  if (file >= incoming->count || incoming->whole[file] || offset != incoming->contents[file].size ||
      size > incoming->files[file].size - offset)
    return error_set(error, ERR_BAD_INPUT, "a piece of a snapshot out of its order");
  struct bytes *content = &incoming->contents[file];
  bytes_append(content, data, size);
  if (content->size < incoming->files[file].size)
    return 0;
  incoming->whole[file] = content_checksum(content) == incoming->files[file].checksum;
  if (incoming->whole[file])
    return 0;
  bytes_clear(content);
  return error_set(error, ERR_CORRUPT, "%s of a snapshot was received with a wrong checksum",
                   incoming->files[file].name);
}

static void memory_receive_write(struct row_store *store, uint64_t file, uint64_t offset, const void *data,
                                 size_t size, snapshot_receive_done *done, void *owner) {
  struct memory_store *memory = memory_of(store);
  struct completion completion = {.received = done, .context = owner};
  receive_piece(&memory->incoming, file, offset, data, size, &completion.error);
  completion.missing = find_missing(&memory->incoming);
  complete(memory, &completion);
}

static void memory_receive_prepare(struct row_store *store, snapshot_receive_done *done, void *owner) {
  struct memory_store *memory = memory_of(store);
  struct completion completion = {
      .received = done, .missing = find_missing(&memory->incoming), .context = owner};
  memory->incoming.prepared = memory->incoming.is_there && completion.missing.file == memory->incoming.count;
  if (!memory->incoming.prepared)
    error_set(&completion.error, ERR_BAD_INPUT, "the snapshot to install is not whole");
  complete(memory, &completion);
}

static void memory_receive_forget(struct row_store *store, uint64_t index) {
  struct memory_store *memory = memory_of(store);
  if (memory->incoming.index <= index)
    forget_incoming(&memory->incoming);
}

void memory_store_lose_power(struct row_store *store, struct random *random) {
  struct incoming *incoming = &memory_of(store)->incoming;
  const struct snapshot_range missing = find_missing(incoming);
  incoming->prepared = false;
  if (missing.offset == 0)
    return;
  struct bytes *content = &incoming->contents[missing.file];
  content->size = random_below(random, content->size + 1);
  if (content->size > 0 && random_chance(random, 0.3))
    content->data[random_below(random, content->size)] ^= 1;
}

static void drop_rows(struct memory_store *memory) {
  for (size_t i = 0; i < memory->count; i++)
    free(memory->rows[i]);
  free(memory->rows);
  memory->rows = NULL;
  memory->count = 0;
}

static int load_rows(struct memory_store *memory, const struct bytes *content, size_t *capacity,
                     struct error *error) {
  struct reader reader = reader_make(content->data, content->size);
  while (reader_left(&reader) > 0 && !reader.failed) {
    const uint8_t table = reader_u8(&reader);
    size_t key_size, value_size;
    const unsigned char *key = reader_string(&reader, &key_size);
    const unsigned char *value = reader_string(&reader, &value_size);
    if (!key || !value)
      break;
    if (memory->count == *capacity) {
      *capacity = *capacity ? 2 * *capacity : 64;
      memory->rows = xrealloc(memory->rows, *capacity * sizeof(struct store_row *));
    }
    struct store_row *row = xmalloc(sizeof *row + key_size + value_size);
    *row = (struct store_row){
        .table = table, .key_size = (uint16_t)key_size, .value_size = (uint32_t)value_size};
    memcpy(row->bytes, key, key_size);
    memcpy(row->bytes + key_size, value, value_size);
    memory->rows[memory->count++] = row;
  }
  return reader.failed ? error_set(error, ERR_CORRUPT, "a snapshot's rows cannot be read") : 0;
}

static void memory_drain(struct row_store *store, bool ending);

static int memory_receive_install(struct row_store *store, struct error *error) {
  struct memory_store *memory = memory_of(store);
  if (!memory->incoming.prepared)
    return error_set(error, ERR_BAD_INPUT, "there is no snapshot that could be installed");
  memory_drain(store, true);
  drop_rows(memory);
  size_t capacity = 0;
  int status = 0;
  for (size_t i = 0; status == 0 && i < memory->incoming.count; i++)
    status = load_rows(memory, &memory->incoming.contents[i], &capacity, error);
  forget_incoming(&memory->incoming);
  return status;
}

/* -- callbacks, end -- */

static void memory_read(struct row_store *store, store_read_run *run, store_read_done *done, void *context) {
  run(context, store);
  complete(memory_of(store), &(struct completion){.fetched = done, .context = context});
}

static void run_completion(const struct completion *completion) {
  const int status = completion->error.code;
  const struct error *error = status ? &completion->error : NULL;
  if (completion->written)
    completion->written(completion->context, status, error);
  else if (completion->taken)
    completion->taken(completion->context, completion->checkpoint, error);
  else if (completion->fetched)
    completion->fetched(completion->context);
  else if (completion->read)
    completion->read(completion->context, status, error);
  else
    completion->received(completion->context, status, &completion->missing, error);
}

static void memory_poll(struct row_store *store) {
  struct memory_store *memory = memory_of(store);
  struct completion *due = memory->completions;
  memory->completions = NULL;
  memory->completions_end = &memory->completions;
  while (due) {
    struct completion *completion = due;
    due = completion->next;
    run_completion(completion);
    free(completion);
  }
}

static void memory_drain(struct row_store *store, bool ending) {
  (void)ending;
  while (memory_of(store)->completions)
    memory_poll(store);
}

static void memory_close(struct row_store *store) {
  struct memory_store *memory = memory_of(store);
  memory_drain(store, true);
  drop_rows(memory);
  forget_incoming(&memory->incoming);
  free(memory);
}

static const struct row_store_functions memory_functions = {
    .write = memory_write,
    .drain = memory_drain,
    .get = memory_get,
    .scan = memory_scan,
    .read = memory_read,
    .checkpoint = memory_checkpoint,
    .checkpoint_read = memory_checkpoint_read,
    .checkpoint_close = memory_checkpoint_close,
    .receive_begin = memory_receive_begin,
    .receive_write = memory_receive_write,
    .receive_prepare = memory_receive_prepare,
    .receive_install = memory_receive_install,
    .receive_forget = memory_receive_forget,
    .poll = memory_poll,
    .close = memory_close,
};

struct row_store *memory_store_new(const struct store_wake *wake) {
  struct memory_store *memory = xcalloc(1, sizeof *memory);
  memory->store.functions = &memory_functions;
  memory->wake = *wake;
  memory->completions_end = &memory->completions;
  return &memory->store;
}
