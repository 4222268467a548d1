/* The namespace on its own: examples of the specification, what is remembered and forgotten of operations and
 * clients, and reclaiming. Random sequences against an oracle are in primary_test.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/namespace.h"

struct fixture {
  struct row_store *store;
  struct tables *tables;
  struct overlay *overlay;
  struct namespace space;
  struct listing listing;
  uint64_t index;
  uint32_t client, sequence; /* of the operations that tell none */
  size_t last_batch;         /* bytes */
};

static struct fixture f;

static void wake(void *context) {
  (void)context;
}

static void begin(void) {
  const struct store_wake waker = {wake, NULL};
  struct error error;
  f = (struct fixture){.client = 1000};
  f.store = memory_store_new(&waker);
  cr_assert_eq(
      tables_open(&(struct tables_options){.store = f.store, .cache_size = 1u << 20}, &f.tables, &error), 0);
  f.overlay = overlay_new();
  namespace_init(&f.space, f.tables, f.overlay);
}

static void end(void) {
  namespace_free(&f.space);
  overlay_free(f.overlay);
  listing_free(&f.listing);
  tables_close(f.tables);
  row_store_close(f.store);
}

/* What was evaluated becomes committed. */
static void commit(void) {
  if (overlay_open_size(f.overlay) == 0)
    return;
  struct bytes batch = {0};
  struct error error;
  batch_begin(&batch, &(struct batch_header){.term = 1, .counters = f.space.counters});
  overlay_seal(f.overlay, &batch);
  f.last_batch = batch.size;
  cr_assert_eq(tables_apply(f.tables, ++f.index, 1, batch.data, batch.size, &error), 0);
  overlay_release(f.overlay);
  cr_assert(overlay_is_empty(f.overlay));
  bytes_free(&batch);
  row_store_poll(f.store);
}

static struct slice text(const char *string) {
  return (struct slice){string, strlen(string)};
}

static struct outcome evaluate(struct request request) {
  struct outcome outcome = {0};
  if (request.op_id == 0)
    request.op_id = (uint64_t)f.client << 32 | ++f.sequence;
  if (request.retry_floor == 0)
    request.retry_floor = request.op_id;
  namespace_evaluate(&f.space, &request, &outcome);
  cr_assert_null(tables_failed(f.tables));
  return outcome;
}

#define EVALUATE(operation, at, ...)                                                                         \
  evaluate((struct request){.code = operation, .path = text(at), __VA_ARGS__})
#define EXPECT(result, operation, at, ...) cr_assert_eq(EVALUATE(operation, at, __VA_ARGS__).status, result)

static struct answer read_at(enum operation_code code, const char *path) {
  struct answer answer;
  commit();
  namespace_read(f.tables, &(struct request){.code = code, .path = text(path)}, &answer, &f.listing);
  cr_assert_null(tables_failed(f.tables));
  return answer;
}

static void expect_directory(const char *path, uint64_t version, uint64_t children) {
  const struct answer answer = read_at(OP_STAT, path);
  cr_assert_eq(answer.status, STATUS_OK, "%s", path);
  cr_assert(!answer.is_file);
  cr_assert_eq(answer.version, version, "%s has version %llu", path, (unsigned long long)answer.version);
  cr_assert_eq(answer.child_count, children);
}

TestSuite(namespace, .init = begin, .fini = end);

Test(namespace, versions_of_directories) {
  expect_directory("/", 1, 0);
  EXPECT(STATUS_OK, OP_MKDIR, "/a/b/c", .parents = true);
  expect_directory("/", 2, 1);
  expect_directory("/a", 2, 1);
  expect_directory("/a/b", 2, 1);
  expect_directory("/a/b/c", 1, 0);
  EXPECT(STATUS_OK, OP_CREATE, "/a/f");
  EXPECT(STATUS_OK, OP_CREATE, "/a/f", .overwrite = true);
  expect_directory("/a", 4, 2);
  EXPECT(STATUS_OK, OP_RENAME, "/a/f", .destination = text("/a/g"));
  expect_directory("/a", 5, 2);
  EXPECT(STATUS_OK, OP_RENAME, "/a/g", .destination = text("/a/b/g"));
  expect_directory("/a", 6, 1);
  expect_directory("/a/b", 3, 2);
  EXPECT(STATUS_OK, OP_DELETE, "/a/b/g");
  expect_directory("/a/b", 4, 1);
  EXPECT(STATUS_OK, OP_MKDIR, "/a/b", .exist_ok = true);
  expect_directory("/a/b", 4, 1);
}

Test(namespace, overwriting_makes_another_file) {
  const uint64_t first = EVALUATE(OP_CREATE, "/f").creator;
  EXPECT(STATUS_OK, OP_SET, "/f", .value = text("old"));
  EXPECT(STATUS_OK, OP_COMPLETE, "/f", .length = 7);
  EXPECT(STATUS_ALREADY_COMPLETED, OP_COMPLETE, "/f", .length = 7);
  const uint64_t second = EVALUATE(OP_CREATE, "/f", .overwrite = true).creator;
  cr_assert_neq(first, second);
  const struct answer answer = read_at(OP_STAT, "/f");
  cr_assert(answer.is_file && !answer.completed);
  cr_assert_eq(answer.creator, second);
  cr_assert_eq(answer.version, 1);
  cr_assert_eq(answer.value.size, 0);
  cr_assert_eq(answer.length, 0);
  cr_assert_eq(f.space.counters.inodes, 2);
}

Test(namespace, order_of_checks) {
  EXPECT(STATUS_OK, OP_CREATE, "/f");
  EXPECT(STATUS_OK, OP_MKDIR, "/d/e", .parents = true);
  EXPECT(STATUS_NOT_DIRECTORY, OP_MKDIR, "/f/x", .parents = true);
  EXPECT(STATUS_NOT_DIRECTORY, OP_CREATE, "/f/x/y", .parents = true);
  EXPECT(STATUS_NOT_FOUND, OP_CREATE, "/x/y");
  EXPECT(STATUS_IS_DIRECTORY, OP_CREATE, "/");
  EXPECT(STATUS_IS_DIRECTORY, OP_CREATE, "/d", .overwrite = true);
  EXPECT(STATUS_EXISTS, OP_MKDIR, "/f", .exist_ok = true);
  EXPECT(STATUS_EXISTS, OP_MKDIR, "/");
  EXPECT(STATUS_OK, OP_MKDIR, "/", .exist_ok = true);
  EXPECT(STATUS_INVALID, OP_DELETE, "/", .recursive = true);
  EXPECT(STATUS_NOT_EMPTY, OP_DELETE, "/d");
  EXPECT(STATUS_INVALID, OP_RENAME, "/", .destination = text("/x"));
  EXPECT(STATUS_OK, OP_RENAME, "/", .destination = text("/"));
  EXPECT(STATUS_EXISTS, OP_RENAME, "/d", .destination = text("/"));
  EXPECT(STATUS_INVALID, OP_RENAME, "/d", .destination = text("/d/x/y"));
  EXPECT(STATUS_NOT_FOUND, OP_RENAME, "/x", .destination = text("/x/y"));
  EXPECT(STATUS_NOT_FOUND, OP_RENAME, "/d", .destination = text("/x/y"));
  EXPECT(STATUS_NOT_DIRECTORY, OP_RENAME, "/d", .destination = text("/f/y"));
  EXPECT(STATUS_EXISTS, OP_RENAME, "/d", .destination = text("/f"));
  EXPECT(STATUS_OK, OP_RENAME, "/f", .destination = text("/f"));
  EXPECT(STATUS_IS_DIRECTORY, OP_COMPLETE, "/d");
  EXPECT(STATUS_OK, OP_SET, "/", .value = text("root"), .has_if_version = true, .if_version = 3);
  const struct outcome mismatch = EVALUATE(OP_SET, "/d", .has_if_version = true, .if_version = 9);
  cr_assert_eq(mismatch.status, STATUS_VERSION_MISMATCH);
  cr_assert_eq(mismatch.version, 2);
  cr_assert_eq(read_at(OP_LIST, "/f").status, STATUS_NOT_DIRECTORY);
  cr_assert_eq(read_at(OP_STAT, "/f/x").status, STATUS_NOT_DIRECTORY);
  cr_assert_eq(read_at(OP_STAT, "/x/y").status, STATUS_NOT_FOUND);
  cr_assert(!read_at(OP_EXISTS, "/f/x").exists && read_at(OP_EXISTS, "/d/e").exists);
  cr_assert_eq(read_at(OP_EXISTS, "f").status, STATUS_INVALID);
}

Test(namespace, mtime_never_goes_back) {
  f.space.wall_ns = 5000;
  EXPECT(STATUS_OK, OP_CREATE, "/f");
  f.space.wall_ns = 10;
  EXPECT(STATUS_OK, OP_SET, "/f", .value = text("x"));
  commit();
  const struct row_key key = inode_key(2);
  struct slice row;
  struct inode_record record;
  cr_assert(tables_get(f.tables, TABLE_INODES, &key, &row) && inode_decode(row, &record));
  cr_assert_eq(record.mtime_ns, 5000);
  cr_assert_eq(record.version, 2);
}

Test(namespace, value_too_large_for_an_entry_is_invalid) {
  char *value = xcalloc(1, VALUE_SIZE_LIMIT + 1);
  EXPECT(STATUS_OK, OP_SET, "/", .value = {value, VALUE_SIZE_LIMIT});
  EXPECT(STATUS_INVALID, OP_SET, "/", .value = {value, VALUE_SIZE_LIMIT + 1});
  free(value);
}

/* -- at most once -- */

static uint64_t op(uint32_t client, uint32_t sequence) {
  return (uint64_t)client << 32 | sequence;
}

static uint32_t reserve(uint32_t count) {
  const struct outcome outcome = EVALUATE(OP_RESERVE_CLIENTS, "", .count = count);
  cr_assert_eq(outcome.status, STATUS_OK);
  return outcome.first_client;
}

static size_t count_operations(uint32_t client);

Test(namespace, first_answer_is_given_again) {
  const uint32_t client = reserve(1);
  for (int round = 0; round < 2; round++) {
    struct outcome outcome = EVALUATE(OP_CREATE, "/f", .op_id = op(client, 1), .retry_floor = op(client, 1));
    cr_assert_eq(outcome.status, STATUS_OK);
    cr_assert_eq(outcome.creator, op(client, 1));
    outcome = EVALUATE(OP_CREATE, "/f", .op_id = op(client, 2), .retry_floor = op(client, 1));
    cr_assert_eq(outcome.status, STATUS_EXISTS);
    outcome = EVALUATE(OP_SET, "/f", .op_id = op(client, 3), .retry_floor = op(client, 1),
                       .has_if_version = true, .if_version = 9);
    cr_assert_eq(outcome.status, STATUS_VERSION_MISMATCH);
    cr_assert_eq(outcome.version, 1);
    cr_assert_eq(outcome.repeated, round > 0);
    EXPECT(STATUS_OK, OP_DELETE, "/f", .op_id = op(client, 4), .retry_floor = op(client, 1));
    if (round == 0)
      commit();
  }
}

Test(namespace, what_was_forgotten_is_refused) {
  const uint32_t client = reserve(1);
  EXPECT(STATUS_OK, OP_CREATE, "/f", .op_id = op(client, 1));
  EXPECT(STATUS_OK, OP_CREATE, "/g", .op_id = op(client, 2), .retry_floor = op(client, 2));
  EXPECT(STATUS_UNAVAILABLE, OP_CREATE, "/h", .op_id = op(client, 1), .retry_floor = op(client, 1));
  commit();
  EXPECT(STATUS_UNAVAILABLE, OP_CREATE, "/h", .op_id = op(client, 1), .retry_floor = op(client, 1));
  cr_assert(!read_at(OP_EXISTS, "/h").exists);
  cr_assert_eq(count_operations(client), 1);
}

static void answer_many(uint32_t client, uint32_t from, uint32_t to, uint32_t commit_every) {
  for (uint32_t i = from; i <= to; i++) {
    EXPECT(STATUS_NOT_FOUND, OP_DELETE, "/none", .op_id = op(client, i), .retry_floor = op(client, 1));
    if (i % commit_every == 0)
      commit();
  }
}

static bool count_row(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                      size_t value_size) {
  (void)key_size;
  (void)value;
  (void)value_size;
  *(size_t *)context += be64_load(key) << 32 != 0;
  return true;
}

static size_t count_operations(uint32_t client) {
  commit();
  unsigned char prefix[8];
  be64_store(prefix, op(client, 0));
  size_t count = 0;
  cr_assert(tables_scan(f.tables, TABLE_OPERATIONS, prefix, 4, NULL, 0, count_row, &count));
  return count;
}

Test(namespace, floor_that_jumps_forgets_committed_and_uncommitted) {
  const uint32_t client = reserve(2);
  answer_many(client, 1, 700, 64); /* the last ones are not committed yet */
  answer_many(client + 1, 1, 10, 64);
  EXPECT(STATUS_OK, OP_CREATE, "/f", .op_id = op(client, 701), .retry_floor = op(client, 690));
  cr_assert_eq(count_operations(client), 12);
  cr_assert_eq(count_operations(client + 1), 10);
  EXPECT(STATUS_UNAVAILABLE, OP_DELETE, "/none", .op_id = op(client, 689));
  EXPECT(STATUS_NOT_FOUND, OP_DELETE, "/none", .op_id = op(client, 690));
}

Test(namespace, answers_of_one_client_are_bounded) {
  const uint32_t client = reserve(1);
  answer_many(client, 1, RETRY_WINDOW + 500, 100);
  cr_assert_leq(count_operations(client), RETRY_WINDOW + 1);
  EXPECT(STATUS_OK, OP_CREATE, "/f", .op_id = op(client, 1000000), .retry_floor = op(client, 1));
  cr_assert_eq(count_operations(client), 1);
}

Test(namespace, idle_clients_expire_and_are_refused) {
  const uint32_t first = reserve(200);
  EXPECT(STATUS_OK, OP_CREATE, "/f", .op_id = op(first, 1));
  EXPECT(STATUS_OK, OP_CREATE, "/g", .op_id = op(first + 1, 1));
  commit();
  f.space.counters.clock_ns += (uint64_t)((CLIENT_IDLE_LIMIT_S - 100) * NS_PER_S);
  EXPECT(STATUS_OK, OP_CREATE, "/h", .op_id = op(first + 1, 2), .retry_floor = op(first + 1, 1));
  commit();
  f.space.counters.clock_ns += (uint64_t)(200 * NS_PER_S);
  for (int i = 0; i < 10; i++) {
    namespace_expire(&f.space);
    commit();
  }
  cr_assert_eq(count_operations(first), 0);
  cr_assert_eq(count_operations(first + 1), 2);
  EXPECT(STATUS_UNAVAILABLE, OP_CREATE, "/f", .op_id = op(first, 1));
  EXPECT(STATUS_UNAVAILABLE, OP_CREATE, "/x", .op_id = op(first + 100, 1));
  EXPECT(STATUS_OK, OP_CREATE, "/g", .op_id = op(first + 1, 1), .retry_floor = op(first + 1, 1));
  cr_assert(!read_at(OP_EXISTS, "/x").exists);
}

Test(namespace, client_numbers_are_given_once) {
  cr_assert_eq(reserve(5), 1);
  cr_assert_eq(reserve(1), 6);
  EXPECT(STATUS_OK, OP_CREATE, "/f", .op_id = op(9, 1)); /* took its number itself */
  cr_assert_eq(reserve(3), 10);
  cr_assert_eq(EVALUATE(OP_RESERVE_CLIENTS, "", .count = 0).status, STATUS_INVALID);
  cr_assert_eq(EVALUATE(OP_RESERVE_CLIENTS, "", .count = RESERVE_LIMIT + 1).status, STATUS_INVALID);
}

/* -- blocks -- */

static uint64_t add_block(const char *path) {
  const struct outcome outcome = EVALUATE(OP_ADD_BLOCK, path);
  cr_assert_eq(outcome.status, STATUS_OK);
  return outcome.block;
}

static void expect_commit(enum answer_status status, uint64_t block, uint64_t length) {
  EXPECT(status, OP_COMMIT_BLOCK, "", .block = block, .length = length, .worker = 1);
}

Test(namespace, blocks_are_added_in_order_and_committed_once) {
  EXPECT(STATUS_OK, OP_CREATE, "/f");
  const uint64_t first = add_block("/f"), second = add_block("/f");
  cr_assert_neq(first, second);
  expect_commit(STATUS_OK, second, 5);
  expect_commit(STATUS_OK, second, 5);
  expect_commit(STATUS_INVALID, second, 6);
  expect_commit(STATUS_NOT_FOUND, second + 1000, 5);
  EXPECT(STATUS_BLOCK_UNCOMMITTED, OP_COMPLETE, "/f", .length = 5);
  struct answer answer = read_at(OP_BLOCKS, "/f");
  cr_assert_eq(answer.block_entry_count, 2);
  cr_assert(answer.blocks[0].block == first && !answer.blocks[0].committed);
  cr_assert(answer.blocks[1].block == second && answer.blocks[1].committed && answer.blocks[1].length == 5);
  expect_commit(STATUS_OK, first, 10);
  EXPECT(STATUS_INVALID, OP_COMPLETE, "/f", .length = 16);
  EXPECT(STATUS_OK, OP_COMPLETE, "/f", .length = 15);
  EXPECT(STATUS_ALREADY_COMPLETED, OP_ADD_BLOCK, "/f");
  expect_commit(STATUS_OK, first, 10);
  answer = read_at(OP_STAT, "/f");
  cr_assert_eq(answer.version, 6);
  cr_assert_eq(answer.block_count, 2);
  cr_assert_eq(answer.length, 15);
  EXPECT(STATUS_IS_DIRECTORY, OP_ADD_BLOCK, "/");
  cr_assert_eq(read_at(OP_BLOCKS, "/").status, STATUS_IS_DIRECTORY);
}

/* Whether a worker is told that the block exists; nothing is reclaimed meanwhile. */
static bool is_reported(uint64_t block) {
  struct answer answer;
  commit();
  namespace_read(f.tables, &(struct request){.code = OP_WORKER_REPORT, .held = &block, .held_count = 1},
                 &answer, &f.listing);
  cr_assert_eq(answer.status, STATUS_OK);
  return answer.gone_count == 0;
}

Test(namespace, workers_are_told_what_is_detached_before_it_is_reclaimed) {
  EXPECT(STATUS_OK, OP_CREATE, "/d/e/f", .parents = true);
  EXPECT(STATUS_OK, OP_CREATE, "/d/e/g");
  EXPECT(STATUS_OK, OP_CREATE, "/h");
  const uint64_t deep = add_block("/d/e/f"), other = add_block("/d/e/g"), top = add_block("/h");
  cr_assert(is_reported(deep) && is_reported(other) && is_reported(top) && !is_reported(top + 1000));
  EXPECT(STATUS_OK, OP_RENAME, "/d/e/g", .destination = text("/g"));
  EXPECT(STATUS_OK, OP_DELETE, "/d", .recursive = true);
  cr_assert(!is_reported(deep));
  cr_assert(is_reported(other));
  EXPECT(STATUS_OK, OP_CREATE, "/h", .overwrite = true);
  cr_assert(!is_reported(top));
}

/* The file's rows may still be there: nobody can name them. */
Test(namespace, a_block_goes_with_its_file) {
  EXPECT(STATUS_OK, OP_CREATE, "/d/e/f", .parents = true);
  EXPECT(STATUS_OK, OP_CREATE, "/g");
  const uint64_t deep = add_block("/d/e/f"), overwritten = add_block("/g"), moved = add_block("/d/e/f");
  EXPECT(STATUS_OK, OP_RENAME, "/d/e", .destination = text("/e"));
  EXPECT(STATUS_OK, OP_DELETE, "/d", .recursive = true);
  expect_commit(STATUS_OK, moved, 1);
  EXPECT(STATUS_OK, OP_RENAME, "/e", .destination = text("/e2"));
  EXPECT(STATUS_OK, OP_CREATE, "/g", .overwrite = true);
  expect_commit(STATUS_NOT_FOUND, overwritten, 1);
  cr_assert_eq(read_at(OP_BLOCKS, "/g").block_entry_count, 0);
  EXPECT(STATUS_OK, OP_DELETE, "/e2", .recursive = true);
  expect_commit(STATUS_NOT_FOUND, deep, 1);
  commit();
  expect_commit(STATUS_NOT_FOUND, deep, 1);
  for (int i = 0; namespace_reclaim(&f.space); i++) {
    commit();
    expect_commit(STATUS_NOT_FOUND, deep, 1);
    expect_commit(STATUS_NOT_FOUND, moved, 1);
    cr_assert_lt(i, 10);
  }
  cr_assert_eq(f.space.counters.blocks, 0);
  cr_assert_eq(f.space.counters.inodes, 2);
}

Test(namespace, many_blocks_are_reclaimed_in_steps) {
  EXPECT(STATUS_OK, OP_CREATE, "/f");
  for (int i = 0; i < 2000; i++) {
    add_block("/f");
    if (i % 100 == 0)
      commit();
  }
  cr_assert_eq(f.space.counters.blocks, 2000);
  commit();
  EXPECT(STATUS_OK, OP_DELETE, "/f");
  commit();
  cr_assert_lt(f.last_batch, 200);
  int steps = 0;
  for (; namespace_reclaim(&f.space); steps++) {
    commit();
    if (steps == 1)
      namespace_reset(&f.space); /* another primary goes on */
  }
  cr_assert_gt(steps, 3);
  cr_assert_eq(f.space.counters.blocks, 0);
  cr_assert_eq(f.space.counters.inodes, 1);
}

/* -- batches -- */

static struct outcome evaluate_batch(uint64_t op_id, const struct request *items, size_t count,
                                     uint64_t *numbers) {
  const struct request request = {
      .code = OP_BATCH, .op_id = op_id, .retry_floor = op_id, .items = items, .item_count = count};
  struct outcome outcome = {0};
  outcome.numbers = numbers;
  namespace_evaluate(&f.space, &request, &outcome);
  return outcome;
}

Test(namespace, a_batch_sees_its_own_changes) {
  const struct request items[] = {
      {.code = OP_MKDIR, .path = text("/a/b"), .parents = true},
      {.code = OP_CREATE, .path = text("/a/b/f")},
      {.code = OP_SET, .path = text("/a/b/f"), .value = text("v"), .has_if_version = true, .if_version = 1},
      {.code = OP_RENAME, .path = text("/a/b"), .destination = text("/b")},
      {.code = OP_COMPLETE, .path = text("/b/f"), .length = 3},
      {.code = OP_DELETE, .path = text("/a")},
  };
  uint64_t numbers[ARRAY_SIZE(items)];
  const struct outcome outcome = evaluate_batch(op(7, 1), items, ARRAY_SIZE(items), numbers);
  cr_assert_eq(outcome.status, STATUS_OK);
  cr_assert_eq(outcome.number_count, ARRAY_SIZE(items));
  const uint64_t expected[] = {op(7, 1), op(7, 1), 2, 0, 3, 0};
  cr_assert_arr_eq(numbers, expected, sizeof expected);
  cr_assert(!read_at(OP_EXISTS, "/a").exists);
  const struct answer answer = read_at(OP_STAT, "/b/f");
  cr_assert_eq(answer.version, 3);
  cr_assert_eq(answer.creator, op(7, 1));
  cr_assert_eq(f.space.counters.inodes, 3);
}

Test(namespace, a_batch_that_fails_leaves_no_trace) {
  EXPECT(STATUS_OK, OP_CREATE, "/f");
  EXPECT(STATUS_OK, OP_SET, "/f", .value = text("before"));
  commit();
  EXPECT(STATUS_OK, OP_SET, "/f", .value = text("a longer value than the one before"));
  const uint64_t block = add_block("/f");
  const struct counters before = f.space.counters;
  const struct request items[] = {
      {.code = OP_SET, .path = text("/f"), .value = text("in the batch")},
      {.code = OP_COMMIT_BLOCK, .block = block, .length = 9},
      {.code = OP_COMPLETE, .path = text("/f"), .length = 9},
      {.code = OP_RENAME, .path = text("/f"), .destination = text("/g")},
      {.code = OP_MKDIR, .path = text("/x/y"), .parents = true},
      {.code = OP_DELETE, .path = text("/g")},
      {.code = OP_CREATE, .path = text("/x/y")},
  };
  uint64_t numbers[ARRAY_SIZE(items)];
  for (int round = 0; round < 2; round++) { /* the second is a repeat */
    const struct outcome outcome = evaluate_batch(op(7, 1), items, ARRAY_SIZE(items), numbers);
    cr_assert_eq(outcome.status, STATUS_IS_DIRECTORY);
    cr_assert_eq(outcome.at, 6);
    cr_assert_eq(outcome.repeated, round == 1);
    cr_assert(!outcome.detached);
  }
  cr_assert_eq(memcmp(&before, &f.space.counters, sizeof before), 0);
  const struct answer answer = read_at(OP_STAT, "/f");
  cr_assert_eq(answer.version, 4);
  cr_assert_eq(answer.value.size, strlen("a longer value than the one before"));
  cr_assert(!answer.completed && !read_at(OP_EXISTS, "/x").exists);
  expect_commit(STATUS_OK, block, 10);
  cr_assert(!namespace_reclaim(&f.space));
}

Test(namespace, the_first_answer_of_a_batch_is_given_again) {
  const struct request items[] = {{.code = OP_CREATE, .path = text("/f"), .overwrite = true},
                                  {.code = OP_SET, .path = text("/f"), .value = text("v")}};
  for (int round = 0; round < 3; round++) {
    uint64_t numbers[2] = {0};
    const struct outcome outcome = evaluate_batch(op(7, 1), items, 2, numbers);
    cr_assert_eq(outcome.status, STATUS_OK);
    cr_assert_eq(outcome.repeated, round > 0);
    cr_assert(outcome.number_count == 2 && numbers[0] == op(7, 1) && numbers[1] == 2);
    if (round == 1)
      commit();
  }
  cr_assert_eq(f.space.counters.inodes, 2);
  uint64_t number;
  cr_assert_eq(evaluate_batch(op(7, 1), items, 1, &number).status, STATUS_UNAVAILABLE,
               "another operation under the op id of one that was done is refused");
}

Test(namespace, what_no_batch_may_hold_is_invalid) {
  uint64_t numbers[2];
  const struct request nested[] = {{.code = OP_CREATE, .path = text("/f")}, {.code = OP_BATCH}},
                       block[] = {{.code = OP_ADD_BLOCK, .path = text("/f")}},
                       read[] = {{.code = OP_STAT, .path = text("/")}};
  const struct outcome outcome = evaluate_batch(op(7, 1), nested, 2, numbers);
  cr_assert(outcome.status == STATUS_INVALID && outcome.at == 1);
  cr_assert_eq(evaluate_batch(op(7, 2), block, 1, numbers).status, STATUS_INVALID);
  cr_assert_eq(evaluate_batch(op(7, 3), read, 1, numbers).status, STATUS_INVALID);
  cr_assert_eq(evaluate_batch(op(7, 4), nested, BATCH_ITEMS_LIMIT + 1, numbers).status, STATUS_INVALID);
  cr_assert_eq(evaluate_batch(op(7, 5), NULL, 0, numbers).status, STATUS_OK);
  cr_assert(!read_at(OP_EXISTS, "/f").exists);
}

/* Every completion rewrites a large value: the entry would be too large for the journal. */
Test(namespace, a_batch_that_changes_too_much_is_overloaded) {
  char *value = xcalloc(1, VALUE_SIZE_LIMIT), paths[8][8];
  struct request items[8];
  uint64_t numbers[8];
  for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
    snprintf(paths[i], sizeof paths[i], "/%zu", i);
    EXPECT(STATUS_OK, OP_CREATE, paths[i]);
    EXPECT(STATUS_OK, OP_SET, paths[i], .value = {value, VALUE_SIZE_LIMIT});
    commit();
    items[i] = (struct request){.code = OP_COMPLETE, .path = text(paths[i])};
  }
  const struct outcome outcome = evaluate_batch(op(7, 1), items, ARRAY_SIZE(items), numbers);
  cr_assert(outcome.status == STATUS_OVERLOADED && outcome.stateless);
  cr_assert_eq(overlay_open_size(f.overlay), 0);
  cr_assert(!read_at(OP_STAT, "/0").completed);
  free(value);
}

/* -- reclaiming -- */

static void make_subtree(const char *top, int directories, int files) {
  char path[64];
  EXPECT(STATUS_OK, OP_MKDIR, top);
  for (int i = 0; i < directories; i++) {
    for (int j = 0; j < files; j++) {
      snprintf(path, sizeof path, "%s/%d/%d", top, i, j);
      EXPECT(STATUS_OK, OP_CREATE, path, .parents = true);
    }
    commit();
  }
}

Test(namespace, large_subtree_goes_in_one_small_step) {
  make_subtree("/top", 20, 150);
  make_subtree("/stays", 2, 2);
  cr_assert_eq(f.space.counters.inodes, 1 + 1 + 20 + 20 * 150 + 1 + 2 + 4);
  EXPECT(STATUS_OK, OP_DELETE, "/top", .recursive = true);
  commit();
  cr_assert_lt(f.last_batch, 200);
  cr_assert(!read_at(OP_EXISTS, "/top").exists && !read_at(OP_EXISTS, "/top/3/3").exists);
  EXPECT(STATUS_OK, OP_MKDIR, "/top"); /* the name is free */
  for (int i = 0; namespace_reclaim(&f.space); i++) {
    commit();
    cr_assert_lt(f.last_batch, 256u << 10);
    cr_assert_lt(i, 200);
    if (i % 3 == 2)
      namespace_reset(&f.space); /* another primary goes on */
  }
  cr_assert_eq(f.space.counters.inodes, 1 + 1 + 1 + 2 + 4);
  expect_directory("/top", 1, 0);
  expect_directory("/stays", 3, 2);
}

Test(namespace, large_directory_is_reclaimed_in_steps) {
  make_subtree("/top", 1, 6000);
  EXPECT(STATUS_OK, OP_DELETE, "/top", .recursive = true);
  commit();
  int steps = 0;
  for (; namespace_reclaim(&f.space); steps++)
    commit();
  cr_assert_gt(steps, 10);
  cr_assert_eq(f.space.counters.inodes, 1);
}
