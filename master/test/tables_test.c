/* Tables with next to no cache and frequent writes against an array: groups small and too large to be
 * completed, scans from anywhere, crashes that lose what was not written; blocking, and in tries whose reads
 * of the store end late and in any order. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "delayed_reads.h"
#include "master/tables.h"

#define GROUPS 3
#define KEYS 9000 /* of a group: more than is fetched at once */

#define WORKS 6

/* Something to be found out in tries: one row, or those of a scan. */
struct work {
  struct tables_wait *wait;
  bool under_way, ready;
  bool scans, whole;
  uint64_t group;
  unsigned number;
  size_t most, count; /* rows of a scan: to be taken, and found by the try */
  unsigned tries;
  struct {
    unsigned number;
    uint32_t value;
  } found[KEYS];
};

struct fixture {
  struct delayed_reads delayed;
  struct work works[WORKS];
  struct row_store *store;
  struct tables *tables;
  struct random random;
  struct tables_options options;
  uint32_t model[GROUPS][KEYS]; /* 0: no row */
  struct bytes *log;            /* every batch, from index 1 */
  size_t log_size;
};

static void wake(void *context) {
  (void)context;
}

static struct row_key make_key(uint64_t group, unsigned number) {
  char name[16];
  const int size = snprintf(name, sizeof name, "%05u", number);
  return edge_key(100 + group, (struct slice){name, (size_t)size});
}

static void apply(struct fixture *fixture, size_t index) {
  const struct bytes *batch = &fixture->log[index - 1];
  struct error error;
  cr_assert_eq(tables_apply(fixture->tables, index, 1, batch->data, batch->size, &error), 0);
  row_store_poll(fixture->store);
}

static void change_some(struct fixture *fixture, size_t changes) {
  struct random *random = &fixture->random;
  struct bytes batch = {0};
  batch_begin(&batch, &(struct batch_header){.term = 1, .counters.next_inode = 2});
  for (size_t i = 0; i < changes; i++) {
    const uint64_t group = random_below(random, GROUPS);
    const unsigned number = (unsigned)random_below(random, group == 2 ? 50 : KEYS);
    const struct row_key key = make_key(group, number);
    const uint32_t value = random_chance(random, 0.3) ? 0 : 1 + (uint32_t)random_below(random, 1000000);
    unsigned char bytes[4];
    le32_store(bytes, value);
    batch_append(&batch, &(struct batch_row){.change = value ? ROW_PUT : ROW_DELETE,
                                             .table = TABLE_EDGES,
                                             .key = {(const char *)key.bytes, key.size},
                                             .value = {(const char *)bytes, value ? 4 : 0}});
    fixture->model[group][number] = value;
  }
  fixture->log = xrealloc(fixture->log, (fixture->log_size + 1) * sizeof *fixture->log);
  fixture->log[fixture->log_size++] = batch;
  apply(fixture, fixture->log_size);
}

struct seen {
  struct fixture *fixture;
  uint64_t group;
  unsigned next;
  size_t left;
};

static bool found(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                  size_t value_size) {
  struct seen *seen = context;
  while (seen->fixture->model[seen->group][seen->next] == 0)
    seen->next++;
  const struct row_key expected = make_key(seen->group, seen->next);
  cr_assert_eq(key_size, expected.size);
  cr_assert_arr_eq(key, expected.bytes, key_size);
  cr_assert_eq(value_size, 4);
  cr_assert_eq(le32_load(value), seen->fixture->model[seen->group][seen->next]);
  seen->next++;
  return --seen->left > 0;
}

static void check_scan(struct fixture *fixture) {
  struct random *random = &fixture->random;
  struct seen seen = {.fixture = fixture, .group = random_below(random, GROUPS)};
  seen.left = random_chance(random, 0.5) ? SIZE_MAX : 1 + random_below(random, 200);
  const bool whole = random_chance(random, 0.3);
  seen.next = whole ? 0 : (unsigned)random_below(random, KEYS);
  const struct row_key from = make_key(seen.group, seen.next);
  cr_assert(tables_scan(fixture->tables, TABLE_EDGES, from.bytes, 8, from.bytes, whole ? 0 : from.size, found,
                        &seen));
  while (seen.left > 0 && seen.next < KEYS)
    cr_assert_eq(fixture->model[seen.group][seen.next++], 0, "a row was left out");
}

static void check_get(struct fixture *fixture) {
  const uint64_t group = random_below(&fixture->random, GROUPS);
  const unsigned number = (unsigned)random_below(&fixture->random, KEYS);
  const struct row_key key = make_key(group, number);
  struct slice value;
  const uint32_t expected = fixture->model[group][number];
  cr_assert_eq(tables_get(fixture->tables, TABLE_EDGES, &key, &value), expected != 0);
  if (expected)
    cr_assert_eq(le32_load(value.data), expected);
}

/* -- the same in tries -- */

static void work_ready(void *context) {
  struct work *work = context;
  cr_assert(work->under_way && !work->ready);
  work->ready = true;
}

static bool note_found(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                       size_t value_size) {
  struct work *work = context;
  char name[8] = "";
  memcpy(name, key + 8, key_size - 8);
  cr_assert(value_size == 4 && work->count < KEYS);
  work->found[work->count].number = (unsigned)strtoul(name, NULL, 10);
  work->found[work->count].value = le32_load(value);
  return ++work->count < work->most;
}

static void check_work(const struct fixture *fixture, const struct work *work) {
  const uint32_t *model = fixture->model[work->group];
  size_t seen = 0;
  unsigned number = work->number;
  for (; number < KEYS && (seen < work->count || work->count < work->most); number++) {
    if (model[number] == 0)
      continue;
    cr_assert_lt(seen, work->count, "row %u was left out", number);
    cr_assert_eq(work->found[seen].number, number);
    cr_assert_eq(work->found[seen].value, model[number]);
    seen++;
  }
  cr_assert_eq(seen, work->count);
}

static void try_work(struct fixture *fixture, struct work *work) {
  const struct row_key key = make_key(work->group, work->number);
  struct slice value = {0};
  bool found = false;
  work->count = 0;
  work->ready = false;
  cr_assert_leq(++work->tries, 20, "it is tried for ever");
  tables_try(fixture->tables, work->wait);
  if (work->scans)
    tables_scan(fixture->tables, TABLE_EDGES, key.bytes, 8, key.bytes, work->whole ? 0 : key.size, note_found,
                work);
  else
    found = tables_get(fixture->tables, TABLE_EDGES, &key, &value);
  work->wait = tables_tried(fixture->tables, work_ready, work);
  if (work->wait)
    return;
  work->under_way = false;
  if (work->scans) {
    check_work(fixture, work);
    return;
  }
  const uint32_t expected = fixture->model[work->group][work->number];
  cr_assert_eq(found, expected != 0);
  if (found)
    cr_assert_eq(le32_load(value.data), expected);
}

static void begin_work(struct fixture *fixture) {
  struct random *random = &fixture->random;
  struct work *work = &fixture->works[random_below(random, WORKS)];
  if (work->under_way)
    return;
  work->under_way = true;
  work->tries = 0;
  work->scans = random_chance(random, 0.3);
  work->whole = work->scans && random_chance(random, 0.4);
  work->group = random_below(random, GROUPS);
  work->number = work->whole ? 0 : (unsigned)random_below(random, work->group == 2 ? 60 : KEYS);
  work->most = random_chance(random, 0.5) ? SIZE_MAX : 1 + random_below(random, 3000);
  try_work(fixture, work);
}

static void give_up(struct fixture *fixture, struct work *work) {
  if (work->under_way)
    tables_give_up(fixture->tables, work->wait);
  work->wait = NULL;
  work->under_way = work->ready = false;
}

static void go_on(struct fixture *fixture) {
  if (random_chance(&fixture->random, 0.1))
    give_up(fixture, &fixture->works[random_below(&fixture->random, WORKS)]);
  delayed_reads_end_some(&fixture->delayed, 0.3);
  row_store_poll(fixture->store);
  for (size_t i = 0; i < WORKS; i++)
    if (fixture->works[i].ready)
      try_work(fixture, &fixture->works[i]);
}

static void reopen(struct fixture *fixture, const char *directory) {
  const struct store_wake waker = {wake, NULL};
  struct error error;
  for (size_t i = 0; i < WORKS; i++)
    give_up(fixture, &fixture->works[i]);
  tables_close(fixture->tables);
  if (directory) {
    row_store_close(fixture->store);
    cr_assert_eq(rocksdb_store_open(directory, &waker, &fixture->store, &error), 0);
    fixture->options.store = fixture->store;
    delayed_reads_begin(&fixture->delayed, fixture->store);
  }
  cr_assert_eq(tables_open(&fixture->options, &fixture->tables, &error), 0);
  const uint64_t from = tables_applied(fixture->tables)->index;
  cr_assert_leq(from, fixture->log_size);
  for (size_t index = from + 1; index <= fixture->log_size; index++)
    apply(fixture, index);
}

static void random_run(uint64_t seed, int steps, const char *directory) {
  const struct store_wake waker = {wake, NULL};
  struct fixture *fixture = xcalloc(1, sizeof *fixture);
  struct error error;
  random_seed(&fixture->random, seed);
  if (directory)
    cr_assert_eq(rocksdb_store_open(directory, &waker, &fixture->store, &error), 0);
  else
    fixture->store = memory_store_new(&waker);
  random_seed(&fixture->delayed.random, seed);
  delayed_reads_begin(&fixture->delayed, fixture->store);
  fixture->options = (struct tables_options){
      .store = fixture->store, .cache_size = seed % 3 * 200000, .write_size = seed % 2 ? 20000 : 200000};
  cr_assert_eq(tables_open(&fixture->options, &fixture->tables, &error), 0);
  change_some(fixture, 20000);
  for (int i = 0; i < steps; i++) {
    const uint64_t dice = random_below(&fixture->random, 100);
    go_on(fixture);
    begin_work(fixture);
    if (dice < 50)
      change_some(fixture, 1 + random_below(&fixture->random, 100));
    else if (dice < 70)
      check_get(fixture);
    else if (dice < 98)
      check_scan(fixture);
    else
      reopen(fixture, directory);
    cr_assert_null(tables_failed(fixture->tables));
  }
  for (size_t i = 0; i < WORKS; i++)
    while (fixture->works[i].under_way)
      go_on(fixture);
  const uint64_t hash = tables_hash(fixture->tables);
  reopen(fixture, directory);
  cr_assert_eq(tables_hash(fixture->tables), hash);
  tables_close(fixture->tables);
  row_store_close(fixture->store);
  for (size_t i = 0; i < fixture->log_size; i++)
    bytes_free(&fixture->log[i]);
  free(fixture->log);
  free(fixture);
}

Test(tables, agree_with_a_model_over_memory) {
  for (uint64_t seed = 0; seed < 6; seed++)
    random_run(seed, 400, NULL);
}

Test(tables, agree_with_a_model_over_rocksdb) {
  for (uint64_t seed = 0; seed < 6; seed++) {
    char directory[] = "/tmp/assay-tables-XXXXXX";
    cr_assert(mkdtemp(directory));
    random_run(seed, 400, directory);
    struct error error;
    cr_assert_eq(directory_remove(directory, &error), 0, "%s", error.message);
  }
}

/* -- one row, one read of it -- */

static struct held_read {
  struct row_store_functions functions;
  store_read_done *done;
  void *context;
} held;

static void hold_read(struct row_store *store, store_read_run *run, store_read_done *done, void *context) {
  run(context, store);
  held.done = done;
  held.context = context;
}

static void change_row(struct fixture *fixture, uint32_t value) {
  struct bytes batch = {0};
  const struct row_key key = make_key(0, 7);
  unsigned char bytes[4];
  le32_store(bytes, value);
  batch_begin(&batch, &(struct batch_header){.term = 1, .counters.next_inode = 2});
  batch_append(&batch, &(struct batch_row){.change = value ? ROW_PUT : ROW_DELETE,
                                           .table = TABLE_EDGES,
                                           .key = {(const char *)key.bytes, key.size},
                                           .value = {(const char *)bytes, value ? 4 : 0}});
  struct error error;
  const uint64_t index = tables_applied(fixture->tables)->index + 1;
  cr_assert_eq(tables_apply(fixture->tables, index, 1, batch.data, batch.size, &error), 0);
  row_store_poll(fixture->store);
  for (int i = 0; i < 3; i++)
    tables_trim(fixture->tables);
  bytes_free(&batch);
}

static void nothing(void *context) {
  (void)context;
}

/* The row is read with its first value; it changes, that is written, and nothing else would keep it in
 * memory; only then what was read comes in. */
static void late_read(uint32_t then, bool gives_up) {
  const struct store_wake waker = {wake, NULL};
  struct fixture fixture = {.store = memory_store_new(&waker)};
  held.functions = *fixture.store->functions;
  held.functions.read = hold_read;
  fixture.store->functions = &held.functions;
  struct error error;
  cr_assert_eq(
      tables_open(&(struct tables_options){.store = fixture.store, .write_size = 1}, &fixture.tables, &error),
      0);
  change_row(&fixture, 1);
  const struct row_key key = make_key(0, 7);
  struct slice value;
  tables_try(fixture.tables, NULL);
  cr_assert(!tables_get(fixture.tables, TABLE_EDGES, &key, &value));
  struct tables_wait *wait = tables_tried(fixture.tables, nothing, NULL);
  cr_assert(wait && held.done, "the row is not in memory");
  if (gives_up)
    tables_give_up(fixture.tables, wait);
  change_row(&fixture, then);
  held.done(held.context);
  tables_try(fixture.tables, gives_up ? NULL : wait);
  const bool found = tables_get(fixture.tables, TABLE_EDGES, &key, &value);
  cr_assert_eq(tables_missed(fixture.tables), 0);
  cr_assert(found == (then != 0) && (!found || le32_load(value.data) == then), "it went back");
  cr_assert_null(tables_tried(fixture.tables, nothing, NULL));
  tables_close(fixture.tables);
  row_store_close(fixture.store);
}

Test(tables, what_is_read_late_is_never_older_than_what_was_committed) {
  late_read(2, false);
  late_read(2, true);
  late_read(0, false);
  late_read(0, true);
}

/* Ever more rows in one directory that is always in use: the memory stays bounded. */
Test(tables, cache_is_bounded) {
  const struct store_wake waker = {wake, NULL};
  struct row_store *store = memory_store_new(&waker);
  struct tables *tables;
  struct error error;
  const struct tables_options options = {.store = store, .cache_size = 8u << 20, .write_size = 500000};
  cr_assert_eq(tables_open(&options, &tables, &error), 0);
  for (unsigned number = 0; number < 250000;) {
    struct bytes batch = {0};
    batch_begin(&batch, &(struct batch_header){.term = 1, .counters.next_inode = 2});
    for (int i = 0; i < 100; i++, number++) {
      const struct row_key key = make_key(0, number);
      struct slice value;
      cr_assert(!tables_get(tables, TABLE_EDGES, &key, &value));
      batch_append(&batch, &(struct batch_row){.change = ROW_PUT,
                                               .table = TABLE_EDGES,
                                               .key = {(const char *)key.bytes, key.size},
                                               .value = {"0123456789", 10}});
    }
    cr_assert_eq(tables_apply(tables, tables_applied(tables)->index + 1, 1, batch.data, batch.size, &error),
                 0);
    bytes_free(&batch);
    row_store_poll(store);
    cr_assert_leq(tables_memory(tables), 2 * options.cache_size);
  }
  tables_close(tables);
  row_store_close(store);
}

Test(tables, entry_that_is_no_batch_is_corrupt) {
  const struct store_wake waker = {wake, NULL};
  struct row_store *store = memory_store_new(&waker);
  struct tables *tables;
  struct error error;
  cr_assert_eq(tables_open(&(struct tables_options){.store = store}, &tables, &error), 0);
  cr_assert_eq(tables_apply(tables, 1, 1, "nonsense", 8, &error), ERR_CORRUPT);
  tables_close(tables);
  row_store_close(store);
}
