/* Both row stores against a model that is an array: writes, reads, scans, checkpoints into other stores,
 * reopening. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/store.h"

#define KEYS 300

/* What should be in the store: per table and key number the value's number, 0: no row. */
struct model {
  unsigned value[2][KEYS];
};
static const enum table model_tables[2] = {TABLE_INODES, TABLE_EDGES};

struct fixture {
  bool rocksdb;
  char directory[64];
  struct row_store *store;
  struct model model;
  struct random random;
};

static void wake(void *context) {
  (void)context;
}

static struct row_store *open_store(const struct fixture *fixture, const char *name) {
  const struct store_wake waker = {wake, NULL};
  if (!fixture->rocksdb)
    return memory_store_new(&waker);
  char *path = path_join(fixture->directory, name);
  struct row_store *store = NULL;
  struct error error;
  cr_assert_eq(rocksdb_store_open(path, &waker, &store, &error), 0, "%s", error.message);
  free(path);
  return store;
}

static void begin(struct fixture *fixture, bool rocksdb) {
  *fixture = (struct fixture){.rocksdb = rocksdb};
  random_seed(&fixture->random, 7);
  snprintf(fixture->directory, sizeof fixture->directory, "/tmp/assay-store-XXXXXX");
  cr_assert(mkdtemp(fixture->directory));
  fixture->store = open_store(fixture, "one");
}

static void end(struct fixture *fixture) {
  row_store_close(fixture->store);
  struct error error;
  cr_assert_eq(directory_remove(fixture->directory, &error), 0, "%s", error.message);
}

/* Key numbers spread over prefixes of one byte, in another order than the bytes'. */
static size_t make_key(unsigned number, unsigned char *key) {
  key[0] = (unsigned char)(number % 7 * 42);
  if (number % 7 == 6)
    key[0] = 0xff;
  return 1 + (size_t)snprintf((char *)key + 1, 16, "%u", number);
}

static void written(void *context, int status, const struct error *error) {
  cr_assert_eq(status, 0, "%s", error ? error->message : "");
  *(bool *)context = true;
}

static void write_some(struct fixture *fixture) {
  const struct store_row *rows[2 * KEYS];
  size_t count = 0;
  for (unsigned table = 0; table < 2; table++) {
    for (unsigned number = 0; number < KEYS; number++) {
      if (random_chance(&fixture->random, 0.8))
        continue;
      unsigned char key[32];
      char text[32];
      const size_t key_size = make_key(number, key);
      unsigned value = random_chance(&fixture->random, 0.4) ? 0 : (unsigned)random_next(&fixture->random);
      const size_t value_size = value ? (size_t)snprintf(text, sizeof text, "%u", value) : 0;
      struct store_row *row = xmalloc(sizeof *row + key_size + value_size);
      *row = (struct store_row){.table = (uint8_t)model_tables[table],
                                .deleted = value == 0,
                                .key_size = (uint16_t)key_size,
                                .value_size = (uint32_t)value_size};
      memcpy(row->bytes, key, key_size);
      memcpy(row->bytes + key_size, text, value_size);
      fixture->model.value[table][number] = value;
      rows[count++] = row;
    }
  }
  random_shuffle(&fixture->random, rows, count, sizeof(struct store_row *));
  bool done = false;
  fixture->store->functions->write(fixture->store, rows, count, written, &done);
  cr_assert(!done, "a callback from inside the call");
  fixture->store->functions->drain(fixture->store, false);
  cr_assert(done);
  for (size_t i = 0; i < count; i++)
    free((void *)rows[i]);
}

struct seen {
  const struct model *model;
  unsigned table;
  unsigned char last[32];
  size_t last_size, count, limit;
};

static bool found(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                  size_t value_size) {
  struct seen *seen = context;
  const int order = memcmp(seen->last, key, seen->last_size < key_size ? seen->last_size : key_size);
  cr_assert(seen->count == 0 || order < 0 || (order == 0 && seen->last_size < key_size), "out of order");
  memcpy(seen->last, key, key_size);
  seen->last_size = key_size;
  char text[32] = "";
  memcpy(text, key + 1, key_size - 1);
  const unsigned expected = seen->model->value[seen->table][atoi(text)];
  memset(text, 0, sizeof text);
  memcpy(text, value, value_size);
  cr_assert_eq((unsigned)strtoul(text, NULL, 10), expected);
  return ++seen->count < seen->limit;
}

static void check_scan(const struct fixture *fixture, struct row_store *store, unsigned table,
                       const unsigned char *prefix, size_t prefix_size, const unsigned char *from,
                       size_t from_size) {
  size_t expected = 0;
  for (unsigned number = 0; number < KEYS; number++) {
    unsigned char key[32];
    const size_t size = make_key(number, key);
    const int order = from_size ? memcmp(key, from, size < from_size ? size : from_size) : 1;
    expected += fixture->model.value[table][number] != 0 &&
                (prefix_size == 0 || memcmp(key, prefix, prefix_size) == 0) &&
                (order > 0 || (order == 0 && size >= from_size));
  }
  struct error error;
  struct seen all = {.model = &fixture->model, .table = table, .limit = SIZE_MAX};
  cr_assert_eq(store->functions->scan(store, model_tables[table], prefix, prefix_size, from, from_size, found,
                                      &all, &error),
               0);
  cr_assert_eq(all.count, expected);
  struct seen some = {.model = &fixture->model, .table = table, .limit = 3};
  cr_assert_eq(store->functions->scan(store, model_tables[table], prefix, prefix_size, from, from_size, found,
                                      &some, &error),
               0);
  cr_assert_eq(some.count, expected < 3 ? expected : 3);
}

static void check(const struct fixture *fixture, struct row_store *store) {
  struct error error;
  for (unsigned table = 0; table < 2; table++) {
    for (unsigned number = 0; number < KEYS; number++) {
      unsigned char key[32];
      const size_t key_size = make_key(number, key);
      struct bytes value = {0};
      const int status = store->functions->get(store, model_tables[table], key, key_size, &value, &error);
      const unsigned expected = fixture->model.value[table][number];
      cr_assert_eq(status, expected ? 0 : ERR_NOT_FOUND);
      bytes_append_u8(&value, '\0');
      cr_assert_eq((unsigned)strtoul((char *)value.data, NULL, 10), expected);
      bytes_free(&value);
      if (number % 40 == 0)
        check_scan(fixture, store, table, key, 1, key, key_size);
    }
    check_scan(fixture, store, table, NULL, 0, NULL, 0);
    for (unsigned prefix = 0; prefix < 7; prefix++) {
      unsigned char key[32];
      make_key(prefix, key);
      check_scan(fixture, store, table, key, 1, NULL, 0);
    }
  }
}

/* -- checkpoints -- */

static void taken(void *context, struct store_checkpoint *checkpoint, const struct error *error) {
  cr_assert(checkpoint, "%s", error ? error->message : "");
  *(struct store_checkpoint **)context = checkpoint;
}

static struct store_checkpoint *take(struct row_store *store) {
  struct store_checkpoint *checkpoint = NULL;
  store->functions->checkpoint(store, taken, &checkpoint);
  cr_assert(!checkpoint, "a callback from inside the call");
  while (!checkpoint)
    row_store_poll(store);
  return checkpoint;
}

struct call {
  bool done;
  int status;
  struct snapshot_range missing;
};

static void was_read(void *owner, int status, const struct error *error) {
  cr_assert_eq(status == 0, error == NULL);
  *(struct call *)owner = (struct call){.done = true, .status = status};
}

static void was_received(void *owner, int status, const struct snapshot_range *missing,
                         const struct error *error) {
  cr_assert_eq(status == 0, error == NULL);
  *(struct call *)owner = (struct call){true, status, *missing};
}

static void await(struct row_store *store, const struct call *call) {
  cr_assert(!call->done, "a callback from inside the call");
  while (!call->done)
    row_store_poll(store);
}

static struct call begin_receiving(struct row_store *to, const struct snapshot_file *files, size_t count) {
  struct call begun = {0};
  to->functions->receive_begin(to, 1, files, count, was_received, &begun);
  await(to, &begun);
  cr_assert_eq(begun.status, 0);
  return begun;
}

static int prepare(struct row_store *to) {
  struct call prepared = {0};
  to->functions->receive_prepare(to, was_received, &prepared);
  await(to, &prepared);
  return prepared.status;
}

/* Copies what is missing, up to `limit` bytes; counts them. */
static struct call copy(struct row_store *from, struct store_checkpoint *checkpoint, struct row_store *to,
                        struct call at, size_t piece, uint64_t limit, uint64_t *copied) {
  unsigned char *buffer = xmalloc(piece);
  while (at.status == 0 && at.missing.file < checkpoint->file_count && limit > 0) {
    const struct snapshot_range missing = at.missing;
    const uint64_t left = checkpoint->files[missing.file].size - missing.offset;
    const size_t size = left < piece ? (size_t)left : piece;
    struct call read = {0};
    from->functions->checkpoint_read(from, checkpoint, (size_t)missing.file, missing.offset, buffer, size,
                                     was_read, &read);
    await(from, &read);
    cr_assert_eq(read.status, 0);
    at = (struct call){0};
    to->functions->receive_write(to, missing.file, missing.offset, buffer, size, was_received, &at);
    memset(buffer, 'x', size > 100 ? 100 : size); /* it was copied */
    await(to, &at);
    *copied += size;
    limit = limit > size ? limit - size : 0;
  }
  free(buffer);
  return at;
}

static uint64_t size_of(const struct store_checkpoint *checkpoint) {
  uint64_t size = 0;
  for (size_t i = 0; i < checkpoint->file_count; i++)
    size += checkpoint->files[i].size;
  return size;
}

static void check_transfer(struct fixture *fixture, struct row_store *other, size_t piece) {
  struct row_store *store = fixture->store;
  struct store_checkpoint *checkpoint = take(store);
  const struct model then = fixture->model;
  write_some(fixture); /* the checkpoint does not follow */
  struct error error;
  uint64_t copied = 0;
  /* a first attempt that breaks off, and one whose last file is not what was announced */
  struct call at = begin_receiving(other, checkpoint->files, checkpoint->file_count);
  at = copy(store, checkpoint, other, at, 64, 100, &copied);
  cr_assert_eq(at.status, 0);
  cr_assert_neq(prepare(other), 0);
  cr_assert_neq(other->functions->receive_install(other, &error), 0);
  struct snapshot_file *wrong = xmalloc(checkpoint->file_count * sizeof *wrong);
  memcpy(wrong, checkpoint->files, checkpoint->file_count * sizeof *wrong);
  wrong[checkpoint->file_count - 1].checksum++;
  at = begin_receiving(other, wrong, checkpoint->file_count);
  at = copy(store, checkpoint, other, at, piece, UINT64_MAX, &copied);
  cr_assert_eq(at.status, ERR_CORRUPT);
  cr_assert(at.missing.file == checkpoint->file_count - 1 && at.missing.offset == 0);
  free(wrong);
  /* what was whole is not copied again */
  copied = 0;
  at = begin_receiving(other, checkpoint->files, checkpoint->file_count);
  at = copy(store, checkpoint, other, at, piece, UINT64_MAX, &copied);
  cr_assert_eq(at.status, 0);
  cr_assert_lt(copied, size_of(checkpoint));
  cr_assert_eq(prepare(other), 0);
  cr_assert_eq(other->functions->receive_install(other, &error), 0, "%s", error.message);
  store->functions->checkpoint_close(store, checkpoint);
  const struct fixture at_checkpoint = {.model = then};
  check(&at_checkpoint, other);
}

/* -- reads -- */

#define READS 20

/* What one read finds, on whatever thread: judged afterwards. */
struct read {
  const struct model *model;
  unsigned table;
  size_t wrong, scanned;
  bool ran, done;
};

static bool count_row(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                      size_t value_size) {
  (void)key;
  (void)key_size;
  (void)value;
  (void)value_size;
  (*(size_t *)context)++;
  return true;
}

static void run_read(void *context, struct row_store *store) {
  struct read *read = context;
  struct error error;
  for (unsigned number = 0; number < KEYS; number++) {
    unsigned char key[32];
    const size_t key_size = make_key(number, key);
    struct bytes value = {0};
    const int status = store->functions->get(store, model_tables[read->table], key, key_size, &value, &error);
    const unsigned expected = read->model->value[read->table][number];
    bytes_append_u8(&value, '\0');
    read->wrong += status != (expected ? 0 : ERR_NOT_FOUND) ||
                   (unsigned)strtoul((char *)value.data, NULL, 10) != expected;
    bytes_free(&value);
  }
  read->wrong += store->functions->scan(store, model_tables[read->table], NULL, 0, NULL, 0, count_row,
                                        &read->scanned, &error) != 0;
  read->ran = true;
}

static void read_done(void *context) {
  struct read *read = context;
  cr_assert(read->ran && !read->done);
  read->done = true;
}

static void check_reads(const struct fixture *fixture, struct row_store *store) {
  struct read reads[READS];
  size_t rows[2] = {0}, done = 0;
  for (unsigned table = 0; table < 2; table++)
    for (unsigned number = 0; number < KEYS; number++)
      rows[table] += fixture->model.value[table][number] != 0;
  for (unsigned i = 0; i < READS; i++) {
    reads[i] = (struct read){.model = &fixture->model, .table = i % 2};
    store->functions->read(store, run_read, read_done, &reads[i]);
    cr_assert(!reads[i].done, "a callback from inside the call");
  }
  while (done < READS) {
    row_store_poll(store);
    done = 0;
    for (size_t i = 0; i < READS; i++)
      done += reads[i].done;
  }
  for (size_t i = 0; i < READS; i++) {
    cr_assert_eq(reads[i].wrong, 0);
    cr_assert_eq(reads[i].scanned, rows[i % 2]);
  }
}

static void everything(bool rocksdb) {
  struct fixture fixture;
  begin(&fixture, rocksdb);
  check(&fixture, fixture.store);
  struct row_store *other = open_store(&fixture, "other");
  static const size_t pieces[] = {1000, SNAPSHOT_CHUNK, 4099};
  for (int i = 0; i < 9; i++) {
    write_some(&fixture);
    check(&fixture, fixture.store);
    check_reads(&fixture, fixture.store);
    if (i % 3 == 2)
      check_transfer(&fixture, other, pieces[i / 3]);
    if (rocksdb) {
      row_store_close(fixture.store);
      fixture.store = open_store(&fixture, "one");
      check(&fixture, fixture.store);
    }
  }
  row_store_close(other);
  end(&fixture);
}

Test(store, in_memory_agrees_with_a_model) {
  everything(false);
}

Test(store, in_rocksdb_agrees_with_a_model) {
  everything(true);
}

static void transfer(struct row_store *from, struct row_store *to, uint64_t *copied) {
  struct store_checkpoint *checkpoint = take(from);
  struct error error;
  struct call at = begin_receiving(to, checkpoint->files, checkpoint->file_count);
  at = copy(from, checkpoint, to, at, SNAPSHOT_CHUNK, UINT64_MAX, copied);
  cr_assert_eq(at.status, 0);
  cr_assert_eq(prepare(to), 0);
  cr_assert_eq(to->functions->receive_install(to, &error), 0, "%s", error.message);
  from->functions->checkpoint_close(from, checkpoint);
}

Test(store, installed_snapshot_is_there_after_reopening) {
  struct fixture fixture;
  begin(&fixture, true);
  write_some(&fixture);
  struct row_store *other = open_store(&fixture, "other");
  uint64_t copied = 0;
  transfer(fixture.store, other, &copied);
  row_store_close(other);
  other = open_store(&fixture, "other");
  check(&fixture, other);
  row_store_close(other);
  end(&fixture);
}

Test(store, snapshot_that_cannot_be_opened_changes_nothing) {
  static const char content[] = "no database is called so\n";
  struct fixture fixture;
  begin(&fixture, true);
  write_some(&fixture);
  struct row_store *store = fixture.store;
  const struct snapshot_file file = {
      .name = "CURRENT", .size = sizeof content, .checksum = checksum_fold(0, content, sizeof content)};
  struct error error;
  begin_receiving(store, &file, 1);
  struct call stored = {0};
  store->functions->receive_write(store, 0, 0, content, sizeof content, was_received, &stored);
  await(store, &stored);
  cr_assert(stored.status == 0 && stored.missing.file == 1);
  cr_assert_neq(prepare(store), 0);
  cr_assert_neq(store->functions->receive_install(store, &error), 0);
  check(&fixture, store);
  write_some(&fixture);
  row_store_close(store);
  fixture.store = open_store(&fixture, "one");
  check(&fixture, fixture.store);
  end(&fixture);
}

/* They end before what they read goes away. */
Test(store, reads_and_an_installed_snapshot_do_not_meet) {
  struct fixture fixture;
  begin(&fixture, true);
  struct row_store *other = open_store(&fixture, "other");
  for (int i = 0; i < 5; i++) {
    const struct model before = fixture.model; /* of `other` */
    write_some(&fixture);
    struct store_checkpoint *checkpoint = take(fixture.store);
    struct error error;
    struct read reads[READS];
    uint64_t copied = 0;
    const struct call at = begin_receiving(other, checkpoint->files, checkpoint->file_count);
    copy(fixture.store, checkpoint, other, at, SNAPSHOT_CHUNK, UINT64_MAX, &copied);
    cr_assert_eq(prepare(other), 0);
    for (unsigned j = 0; j < READS; j++) {
      reads[j] = (struct read){.model = &before, .table = j % 2};
      other->functions->read(other, run_read, read_done, &reads[j]);
    }
    cr_assert_eq(other->functions->receive_install(other, &error), 0, "%s", error.message);
    for (size_t j = 0; j < READS; j++)
      cr_assert(reads[j].done && reads[j].wrong == 0);
    fixture.store->functions->checkpoint_close(fixture.store, checkpoint);
    check_reads(&fixture, other);
  }
  row_store_close(other);
  end(&fixture);
}

/* Files that the last snapshot brought, and that are still the same, need not come again; that survives both
 * processes. */
Test(store, files_that_are_there_already_are_not_received_again) {
  struct fixture fixture;
  begin(&fixture, true);
  struct row_store *other = open_store(&fixture, "other");
  uint64_t first = 0, second = 0;
  for (int i = 0; i < 3; i++)
    write_some(&fixture);
  transfer(fixture.store, other, &first);
  row_store_close(other);
  row_store_close(fixture.store);
  other = open_store(&fixture, "other");
  fixture.store = open_store(&fixture, "one");
  write_some(&fixture);
  transfer(fixture.store, other, &second);
  check(&fixture, other);
  struct store_checkpoint *checkpoint = take(fixture.store);
  cr_assert_lt(second, size_of(checkpoint) * 3 / 4, "%llu of %llu", (unsigned long long)second,
               (unsigned long long)size_of(checkpoint));
  fixture.store->functions->checkpoint_close(fixture.store, checkpoint);
  row_store_close(other);
  end(&fixture);
}

/* The process ends in the middle of a file; the next one goes on there, and with another snapshot that shares
 * files with the first. */
Test(store, half_received_snapshot_is_gone_on_with_after_reopening) {
  struct fixture fixture;
  begin(&fixture, true);
  for (int i = 0; i < 40; i++)
    write_some(&fixture);
  struct row_store *other = open_store(&fixture, "other");
  struct store_checkpoint *checkpoint = take(fixture.store);
  uint64_t copied = 0;
  struct call at = begin_receiving(other, checkpoint->files, checkpoint->file_count);
  const uint64_t half = size_of(checkpoint) / 2;
  at = copy(fixture.store, checkpoint, other, at, 512, half, &copied);
  cr_assert_eq(at.status, 0);
  row_store_close(other);
  other = open_store(&fixture, "other");
  uint64_t rest = 0;
  at = begin_receiving(other, checkpoint->files, checkpoint->file_count);
  at = copy(fixture.store, checkpoint, other, at, 512, UINT64_MAX, &rest);
  cr_assert_eq(at.status, 0);
  cr_assert_lt(rest, size_of(checkpoint) - half / 2, "%llu of %llu", (unsigned long long)rest,
               (unsigned long long)size_of(checkpoint));
  fixture.store->functions->checkpoint_close(fixture.store, checkpoint);
  write_some(&fixture);
  uint64_t changed = 0;
  transfer(fixture.store, other, &changed);
  check(&fixture, other);
  row_store_close(other);
  end(&fixture);
}

/* A snapshot that is of no use any more leaves nothing behind. */
Test(store, what_was_received_can_be_forgotten) {
  struct fixture fixture;
  begin(&fixture, true);
  write_some(&fixture);
  struct row_store *other = open_store(&fixture, "other");
  struct store_checkpoint *checkpoint = take(fixture.store);
  uint64_t copied = 0;
  struct call at = begin_receiving(other, checkpoint->files, checkpoint->file_count);
  copy(fixture.store, checkpoint, other, at, 64, 100, &copied);
  fixture.store->functions->checkpoint_close(fixture.store, checkpoint);
  char *path = path_join(fixture.directory, "other"), *incoming = path_join(path, "rows-2");
  other->functions->receive_forget(other, 0);
  row_store_close(other);
  cr_assert(file_exists(incoming), "it is of a later index");
  other = open_store(&fixture, "other");
  other->functions->receive_forget(other, 1);
  row_store_close(other);
  cr_assert_not(file_exists(incoming));
  free(path);
  free(incoming);
  end(&fixture);
}

Test(store, unnamed_snapshot_and_old_checkpoints_are_cleared_away) {
  struct fixture fixture;
  begin(&fixture, true);
  write_some(&fixture);
  row_store_close(fixture.store);
  char *one = path_join(fixture.directory, "one"), *incoming = path_join(one, "rows-2"),
       *checkpoint = path_join(one, "checkpoint-1"), *file = path_join(incoming, "000007.sst");
  struct error error;
  cr_assert_eq(directory_make(incoming, &error), 0);
  cr_assert_eq(directory_make(checkpoint, &error), 0);
  cr_assert_eq(file_replace(file, "x", 1, &error), 0);
  fixture.store = open_store(&fixture, "one");
  cr_assert(!file_exists(incoming) && !file_exists(checkpoint));
  check(&fixture, fixture.store);
  free(one);
  free(incoming);
  free(checkpoint);
  free(file);
  end(&fixture);
}

Test(store, second_process_is_refused) {
  struct fixture fixture;
  begin(&fixture, true);
  char *path = path_join(fixture.directory, "one");
  const struct store_wake waker = {wake, NULL};
  struct row_store *second = NULL;
  struct error error;
  cr_assert_neq(rocksdb_store_open(path, &waker, &second, &error), 0);
  cr_assert(strstr(error.message, "in use"), "%s", error.message);
  free(path);
  end(&fixture);
}

Test(store, unreadable_pointer_is_told) {
  struct fixture fixture;
  begin(&fixture, true);
  row_store_close(fixture.store);
  char *one = path_join(fixture.directory, "one"), *current = path_join(one, "current");
  struct error error;
  cr_assert_eq(file_replace(current, "nonsense", 8, &error), 0);
  const struct store_wake waker = {wake, NULL};
  cr_assert_eq(rocksdb_store_open(one, &waker, &fixture.store, &error), ERR_CORRUPT);
  cr_assert_eq(file_replace(current, "rows-1\n", 7, &error), 0);
  fixture.store = open_store(&fixture, "one");
  free(one);
  free(current);
  end(&fixture);
}
