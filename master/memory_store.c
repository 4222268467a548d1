/* memory_store.c: a row store in memory, for tests and the simulator.
 *
 * Rows stand in one array, sorted by table and key; a write merges its rows into a new array. What was
 * written stays as long as the store itself does, so a crash of a node is: forget the tables, keep the
 * store. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/store.h"

#define ROWS_FILE "rows"

struct completion {
  struct completion *next;
  store_write_done *written; /* or: */
  store_read_done *read;     /* or: */
  store_checkpoint_done *taken;
  struct store_checkpoint *checkpoint;
  void *context;
};

struct memory_store {
  struct row_store store;
  struct store_wake wake;
  struct store_row **rows;
  size_t count;
  struct completion *completions, **completions_end;
  struct bytes received;
  struct snapshot_file expected;
  bool receiving;
};

struct memory_checkpoint {
  struct store_checkpoint checkpoint;
  struct snapshot_file file;
  struct bytes content;
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

static void complete(struct memory_store *memory, struct completion completion) {
  struct completion *kept = xmalloc(sizeof *kept);
  *kept = completion;
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
  complete(memory, (struct completion){.written = done, .context = context});
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

static void memory_checkpoint(struct row_store *store, store_checkpoint_done *done, void *context) {
  struct memory_store *memory = memory_of(store);
  struct memory_checkpoint *taken = xcalloc(1, sizeof *taken);
  for (size_t i = 0; i < memory->count; i++) {
    const struct store_row *row = memory->rows[i];
    bytes_append_u8(&taken->content, row->table);
    bytes_append_string(&taken->content, row->bytes, row->key_size);
    bytes_append_string(&taken->content, row->bytes + row->key_size, row->value_size);
  }
  snprintf(taken->file.name, sizeof taken->file.name, ROWS_FILE);
  taken->file.size = taken->content.size;
  taken->file.checksum = content_checksum(&taken->content);
  taken->checkpoint = (struct store_checkpoint){.files = &taken->file, .file_count = 1};
  complete(memory, (struct completion){.taken = done, .checkpoint = &taken->checkpoint, .context = context});
}

static int memory_checkpoint_read(struct store_checkpoint *checkpoint, size_t file, uint64_t offset,
                                  void *buffer, size_t size, struct error *error) {
  const struct memory_checkpoint *taken = CONTAINER_OF(checkpoint, struct memory_checkpoint, checkpoint);
  if (file != 0 || offset > taken->content.size || size > taken->content.size - offset)
    return error_set(error, ERR_BAD_INPUT, "a read behind the end of a snapshot's file");
  if (size)
    memcpy(buffer, taken->content.data + offset, size);
  return 0;
}

static void memory_checkpoint_close(struct store_checkpoint *checkpoint) {
  struct memory_checkpoint *taken = CONTAINER_OF(checkpoint, struct memory_checkpoint, checkpoint);
  bytes_free(&taken->content);
  free(taken);
}

static int memory_receive_begin(struct row_store *store, const struct snapshot_file *files, size_t file_count,
                                struct error *error) {
  struct memory_store *memory = memory_of(store);
  if (file_count != 1 || strcmp(files[0].name, ROWS_FILE) != 0)
    return error_set(error, ERR_BAD_INPUT, "the snapshot offered is not one of a store in memory");
  bytes_clear(&memory->received);
  memory->expected = files[0];
  memory->receiving = true;
  return 0;
}

static int memory_receive_write(struct row_store *store, size_t file, uint64_t offset, const void *data,
                                size_t size, struct error *error) {
  struct memory_store *memory = memory_of(store);
  if (!memory->receiving || file != 0 || offset != memory->received.size ||
      size > memory->expected.size - offset)
    return error_set(error, ERR_BAD_INPUT, "a piece of a snapshot out of its order");
  bytes_append(&memory->received, data, size);
  return 0;
}

static void drop_rows(struct memory_store *memory) {
  for (size_t i = 0; i < memory->count; i++)
    free(memory->rows[i]);
  free(memory->rows);
  memory->rows = NULL;
  memory->count = 0;
}

static int load_rows(struct memory_store *memory, const struct bytes *content, struct error *error) {
  size_t capacity = 0;
  struct reader reader = reader_make(content->data, content->size);
  while (reader_left(&reader) > 0 && !reader.failed) {
    const uint8_t table = reader_u8(&reader);
    size_t key_size, value_size;
    const unsigned char *key = reader_string(&reader, &key_size);
    const unsigned char *value = reader_string(&reader, &value_size);
    if (!key || !value)
      break;
    if (memory->count == capacity) {
      capacity = capacity ? 2 * capacity : 64;
      memory->rows = xrealloc(memory->rows, capacity * sizeof(struct store_row *));
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
  if (!memory->receiving || memory->received.size != memory->expected.size ||
      content_checksum(&memory->received) != memory->expected.checksum)
    return error_set(error, ERR_CORRUPT, "the snapshot received is not the one that was announced");
  memory_drain(store, true);
  drop_rows(memory);
  const int status = load_rows(memory, &memory->received, error);
  bytes_free(&memory->received);
  memory->receiving = false;
  return status;
}

/* -- callbacks, end -- */

static void memory_read(struct row_store *store, store_read_run *run, store_read_done *done, void *context) {
  run(context, store);
  complete(memory_of(store), (struct completion){.read = done, .context = context});
}

static void memory_poll(struct row_store *store) {
  struct memory_store *memory = memory_of(store);
  struct completion *due = memory->completions;
  memory->completions = NULL;
  memory->completions_end = &memory->completions;
  while (due) {
    struct completion *completion = due;
    due = completion->next;
    if (completion->written)
      completion->written(completion->context, 0, NULL);
    else if (completion->read)
      completion->read(completion->context);
    else
      completion->taken(completion->context, completion->checkpoint, NULL);
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
  bytes_free(&memory->received);
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
    .receive_install = memory_receive_install,
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
