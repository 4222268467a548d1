/* Each operation of docs/specification.md, its checks in their order, its effect and its answer. */
#include <criterion/criterion.h>

#include "checker/verify/specification.h"

static struct specification *state;
static uint64_t next_op;

static void begin(void) {
  state = specification_new();
  next_op = 0;
}

static void end(void) {
  specification_free(state);
}

TestSuite(specification, .init = begin, .fini = end);

#define OPERATION(name, ...) ((struct arguments){.kind = OPERATION_##name, __VA_ARGS__})
#define PATH(text) .path = {text, sizeof(text) - 1}
#define TO(text) .destination = {text, sizeof(text) - 1}
#define VALUE(text) .value = {text, sizeof(text) - 1}

/* Executes with the next op id: 1, 2, 3, … */
static void run(const struct arguments *arguments, const char *expected, int line) {
  struct answer answer;
  char text[2000];
  specification_execute(state, arguments, ++next_op, &answer);
  answer_print(arguments->kind, &answer, text, sizeof text);
  cr_assert_str_eq(text, expected, "line %d: %s", line, text);
}

#define EXPECT(expected, name, ...) run(&OPERATION(name, __VA_ARGS__), expected, __LINE__)

Test(specification, mkdir) {
  EXPECT("ok creator 1", MKDIR, PATH("/a"));
  EXPECT("exists", MKDIR, PATH("/a"));
  EXPECT("ok creator 1", MKDIR, PATH("/a"), .exist_ok = true);
  EXPECT("not-found", MKDIR, PATH("/b/c"));
  EXPECT("ok creator 5", MKDIR, PATH("/b/c/d"), .parents = true);
  EXPECT("ok directory, creator 5, version 2, value \"\", children 1", STAT, PATH("/b"));
  EXPECT("ok directory, creator 5, version 2, value \"\", children 1", STAT, PATH("/b/c"));
  EXPECT("ok directory, creator 5, version 1, value \"\"", STAT, PATH("/b/c/d"));
  EXPECT("ok directory, creator 0, version 3, value \"\", children 2", STAT, PATH("/"));
  EXPECT("exists", MKDIR, PATH("/"));
  EXPECT("ok creator 0", MKDIR, PATH("/"), .exist_ok = true);
  EXPECT("ok creator 12", CREATE, PATH("/f"));
  EXPECT("exists", MKDIR, PATH("/f"), .exist_ok = true);
  EXPECT("not-directory", MKDIR, PATH("/f/x/y"), .parents = true);
  EXPECT("not-directory", MKDIR, PATH("/f/x"));
  EXPECT("ok directory, creator 0, version 4, value \"\", children 3", STAT, PATH("/"));
}

Test(specification, create_and_overwrite) {
  EXPECT("is-directory", CREATE, PATH("/"), .overwrite = true);
  EXPECT("ok creator 2", CREATE, PATH("/f"));
  EXPECT("ok version 2", SET, PATH("/f"), VALUE("x"));
  EXPECT("exists", CREATE, PATH("/f"), .parents = true);
  EXPECT("ok creator 5", CREATE, PATH("/f"), .overwrite = true);
  EXPECT("ok file, creator 5, version 1, value \"\"", STAT, PATH("/f"));
  EXPECT("ok directory, creator 0, version 3, value \"\", children 1", STAT, PATH("/"));
  EXPECT("ok creator 8", CREATE, PATH("/d/e/f"), .parents = true);
  EXPECT("is-directory", CREATE, PATH("/d/e"), .overwrite = true);
  EXPECT("not-directory", CREATE, PATH("/f/g"));
  EXPECT("not-found", CREATE, PATH("/x/g"));
}

Test(specification, overwriting_drops_the_blocks) {
  EXPECT("ok creator 1", CREATE, PATH("/f"));
  EXPECT("ok block 2", ADD_BLOCK, PATH("/f"));
  EXPECT("ok creator 3", CREATE, PATH("/f"), .overwrite = true);
  EXPECT("not-found", COMMIT_BLOCK, .block = 2, .length = 5);
  EXPECT("ok []", BLOCKS, PATH("/f"));
}

Test(specification, complete_and_blocks) {
  EXPECT("not-found", COMPLETE, PATH("/f"), .length = 3);
  EXPECT("is-directory", COMPLETE, PATH("/"), .length = 3);
  EXPECT("ok creator 3", CREATE, PATH("/f"));
  EXPECT("ok block 4", ADD_BLOCK, PATH("/f"));
  EXPECT("ok block 5", ADD_BLOCK, PATH("/f"));
  EXPECT("ok", COMMIT_BLOCK, .block = 5, .length = 7);
  EXPECT("block-uncommitted", COMPLETE, PATH("/f"), .length = 7);
  EXPECT("ok [4 uncommitted, 5 length 7]", BLOCKS, PATH("/f"));
  EXPECT("ok", COMMIT_BLOCK, .block = 4, .length = 1);
  EXPECT("ok", COMMIT_BLOCK, .block = 4, .length = 1);
  EXPECT("invalid", COMMIT_BLOCK, .block = 4, .length = 2);
  EXPECT("ok file, creator 3, version 5, value \"\", blocks 2", STAT, PATH("/f"));
  EXPECT("invalid", COMPLETE, PATH("/f"), .length = 9);
  EXPECT("ok version 6", COMPLETE, PATH("/f"), .length = 8);
  EXPECT("already-completed", COMPLETE, PATH("/f"), .length = 9);
  EXPECT("already-completed", ADD_BLOCK, PATH("/f"));
  EXPECT("ok file, creator 3, version 6, value \"\", completed, length 8, blocks 2", STAT, PATH("/f"));
  EXPECT("is-directory", BLOCKS, PATH("/"));
  EXPECT("is-directory", ADD_BLOCK, PATH("/"));
  EXPECT("ok", RENAME, PATH("/f"), TO("/g"));
  EXPECT("ok", COMMIT_BLOCK, .block = 4, .length = 1);
  EXPECT("ok", DELETE, PATH("/g"));
  EXPECT("not-found", COMMIT_BLOCK, .block = 4, .length = 1);
  EXPECT("ok creator 24", CREATE, PATH("/h"));
  EXPECT("ok version 2", COMPLETE, PATH("/h"), .length = 99);
}

Test(specification, delete) {
  EXPECT("invalid", DELETE, PATH("/"), .recursive = true);
  EXPECT("ok creator 2", CREATE, PATH("/a/b/f"), .parents = true);
  EXPECT("not-empty", DELETE, PATH("/a"));
  EXPECT("not-directory", DELETE, PATH("/a/b/f/g"));
  EXPECT("ok", DELETE, PATH("/a/b"), .recursive = true);
  EXPECT("not-found", DELETE, PATH("/a/b"), .recursive = true);
  EXPECT("ok false", EXISTS, PATH("/a/b/f"));
  EXPECT("ok directory, creator 2, version 3, value \"\"", STAT, PATH("/a"));
  EXPECT("ok", DELETE, PATH("/a"));
}

Test(specification, rename) {
  EXPECT("ok creator 1", CREATE, PATH("/a/f"), .parents = true);
  EXPECT("ok creator 2", MKDIR, PATH("/b"));
  EXPECT("invalid", RENAME, PATH("/x"), TO("b"));
  EXPECT("not-found", RENAME, PATH("/x"), TO("/"));
  EXPECT("ok", RENAME, PATH("/a"), TO("/a"));
  EXPECT("ok", RENAME, PATH("/"), TO("/"));
  EXPECT("invalid", RENAME, PATH("/"), TO("/x"));
  EXPECT("exists", RENAME, PATH("/a"), TO("/"));
  EXPECT("invalid", RENAME, PATH("/a"), TO("/a/b"));
  EXPECT("invalid", RENAME, PATH("/a"), TO("/a/f/b"));
  EXPECT("not-found", RENAME, PATH("/a"), TO("/ab/c"));
  EXPECT("not-directory", RENAME, PATH("/b"), TO("/a/f/b"));
  EXPECT("exists", RENAME, PATH("/a"), TO("/b"));
  EXPECT("exists", RENAME, PATH("/a/f"), TO("/a"));
  EXPECT("ok", RENAME, PATH("/a"), TO("/b/c"));
  EXPECT("ok version 4, [b/ by 2]", LIST, PATH("/"));
}

Test(specification, rename_and_versions) {
  EXPECT("ok creator 1", CREATE, PATH("/a/f"), .parents = true);
  EXPECT("ok", RENAME, PATH("/a/f"), TO("/a/g"));
  EXPECT("ok version 3, [g by 1]", LIST, PATH("/a"));
  EXPECT("ok file, creator 1, version 1, value \"\"", STAT, PATH("/a/g"));
  EXPECT("ok", RENAME, PATH("/a/g"), TO("/h"));
  EXPECT("ok version 4, []", LIST, PATH("/a"));
  EXPECT("ok version 3, [a/ by 1, h by 1]", LIST, PATH("/"));
}

Test(specification, set_and_reads) {
  EXPECT("not-found", SET, PATH("/f"), VALUE("x"));
  EXPECT("ok version 2", SET, PATH("/"), VALUE("root"));
  EXPECT("version-mismatch version 2", SET, PATH("/"), VALUE("y"), .has_if_version = true, .if_version = 1);
  EXPECT("ok version 3", SET, PATH("/"), VALUE("y"), .has_if_version = true, .if_version = 2);
  EXPECT("ok directory, creator 0, version 3, value \"y\"", STAT, PATH("/"));
  EXPECT("ok creator 6", CREATE, PATH("/f"));
  EXPECT("not-directory", LIST, PATH("/f"));
  EXPECT("not-directory", LIST, PATH("/f/g"));
  EXPECT("ok false", EXISTS, PATH("/f/g"));
  EXPECT("ok true", EXISTS, PATH("/"));
}

Test(specification, entries_stand_in_byte_order) {
  EXPECT("ok creator 1", CREATE, PATH("/b"));
  EXPECT("ok creator 2", CREATE, PATH("/ab"));
  EXPECT("ok creator 3", CREATE, PATH("/\u00e4"));
  EXPECT("ok creator 4", MKDIR, PATH("/B"));
  EXPECT("ok creator 5", CREATE, PATH("/a"));
  EXPECT("ok version 6, [B/ by 4, a by 5, ab by 2, b by 1, \u00e4 by 3]", LIST, PATH("/"));
}

Test(specification, invalid_paths) {
  static const struct text bad[] = {{"", 0},      {"a", 1},  {"//", 2},      {"/a/", 3},
                                    {"/a//b", 5}, {"/.", 2}, {"/a/../b", 7}, {"/a\0", 3}};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    run(&OPERATION(EXISTS, .path = bad[i]), "invalid", (int)i);
    run(&OPERATION(MKDIR, .path = bad[i], .parents = true), "invalid", (int)i);
    run(&OPERATION(RENAME, .path = {"/", 1}, .destination = bad[i]), "invalid", (int)i);
  }
}

Test(specification, long_paths) {
  char name[300], path[5000];
  memset(name, 'n', sizeof name);
  memset(path, '/', sizeof path);
  name[0] = '/';
  run(&OPERATION(MKDIR, .path = {name, 257}), "invalid", __LINE__);
  run(&OPERATION(EXISTS, .path = {name, 256}), "ok false", __LINE__);
  for (size_t i = 1; i < sizeof path; i += 2)
    path[i] = 'p';
  run(&OPERATION(EXISTS, .path = {path, 4098}), "invalid", __LINE__);
  run(&OPERATION(EXISTS, .path = {path, 4096}), "ok false", __LINE__);
  run(&OPERATION(EXISTS, .path = {"/...", 4}), "ok false", __LINE__);
}

Test(specification, a_batch_is_all_or_nothing) {
  EXPECT("ok creator 1", CREATE, PATH("/f"));
  EXPECT("ok block 2", ADD_BLOCK, PATH("/f"));
  EXPECT("ok version 3", SET, PATH("/f"), VALUE("before"));
  struct arguments items[] = {
      OPERATION(MKDIR, PATH("/d/e"), .parents = true),  OPERATION(RENAME, PATH("/f"), TO("/d/e/g")),
      OPERATION(SET, PATH("/d/e/g"), VALUE("after")),   OPERATION(COMMIT_BLOCK, .block = 2, .length = 4),
      OPERATION(DELETE, PATH("/d"), .recursive = true), OPERATION(COMMIT_BLOCK, .block = 2, .length = 4),
  };
  struct arguments batch = {.kind = OPERATION_BATCH, .items = items, .item_count = 6};
  run(&batch, "not-found at 5", __LINE__);
  EXPECT("ok version 2, [f by 1]", LIST, PATH("/"));
  EXPECT("ok file, creator 1, version 3, value \"before\", blocks 1", STAT, PATH("/f"));
  EXPECT("ok [2 uncommitted]", BLOCKS, PATH("/f"));
  batch.item_count = 4;
  run(&batch, "ok [ok creator 8; ok; ok version 4; ok]", __LINE__);
  EXPECT("ok [2 length 4]", BLOCKS, PATH("/d/e/g"));
  EXPECT("ok directory, creator 8, version 2, value \"\", children 1", STAT, PATH("/d/e"));
  struct arguments mismatch[] = {
      OPERATION(SET, PATH("/d"), VALUE("x"), .has_if_version = true, .if_version = 9)};
  run(&(struct arguments){.kind = OPERATION_BATCH, .items = mismatch, .item_count = 1},
      "version-mismatch version 2, at 0", __LINE__);
  run(&(struct arguments){.kind = OPERATION_BATCH}, "ok []", __LINE__);
}
