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
  struct outcome outcome;
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
