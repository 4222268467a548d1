/* Mounted directories: what is refused, failover in the middle of loading, directories that cannot be read,
 * and large ones. That a mount shows what a batch would have made is the property of primary_test.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "fake_cluster.h"

struct got {
  enum answer_status status;
  uint64_t creator, version, child_count, length;
  size_t entry_count, mount_count;
  bool exists, has_message;
  char source[64];
  unsigned answers;
};

static struct fake_cluster *cluster;
static uint32_t sequence;

static void begin(size_t cache_size) {
  log_set_level(LOG_LEVEL_ERROR);
  sequence = 0;
  cluster = fake_cluster_new(NULL, cache_size, 0);
  fake_lead(cluster, 0, 0, false);
  fake_quiesce(cluster);
}

static void end(void) {
  fake_quiesce(cluster);
  for (size_t i = 0; i < FAKE_NODES; i++) {
    struct error error;
    cr_assert_eq(primary_audit(cluster->nodes[i].primary, &error), 0, "%s", error.message);
  }
  fake_cluster_free(cluster);
}

static struct slice text(const char *string) {
  return (struct slice){string, strlen(string)};
}

static void answered(void *context, const struct answer *answer) {
  struct got *got = context;
  *got = (struct got){.status = answer->status,
                      .creator = answer->creator,
                      .version = answer->version,
                      .child_count = answer->child_count,
                      .length = answer->length,
                      .entry_count = answer->entry_count,
                      .mount_count = answer->mount_count,
                      .exists = answer->exists,
                      .has_message = answer->message != NULL,
                      .answers = got->answers + 1};
  cr_assert_lt(answer->source.size, sizeof got->source);
  if (answer->source.size > 0)
    memcpy(got->source, answer->source.data, answer->source.size);
}

static void submit(struct request request, struct got *got) {
  got->answers = 0;
  if (!op_is_read(request.code) && request.op_id == 0)
    request.op_id = UINT64_C(1) << 32 | ++sequence;
  primary_submit(cluster->nodes[cluster->leader].primary, &request, answered, got);
}

static struct got done(struct request request) {
  static struct got got;
  submit(request, &got);
  fake_quiesce(cluster);
  cr_assert_eq(got.answers, 1);
  return got;
}

static struct got at(enum operation_code code, const char *path) {
  return done((struct request){.code = code, .path = text(path)});
}

static struct got mounted(const char *path, const char *directory) {
  return done((struct request){.code = OP_MOUNT, .path = text(path), .destination = text(directory)});
}

static struct got renamed(const char *from, const char *to) {
  return done((struct request){.code = OP_RENAME, .path = text(from), .destination = text(to)});
}

static void small_tree(void) {
  under_tree_add(&cluster->under, "/u/f", true, 7);
  under_tree_add(&cluster->under, "/u/d", false, 0);
  under_tree_add(&cluster->under, "/u/d/g", true, 8);
  under_tree_add(&cluster->under, "/v/h", true, 9);
}

Test(mounts, shows_what_is_there) {
  begin(0);
  small_tree();
  const struct got mount = mounted("/m", "/u");
  cr_assert_eq(mount.status, STATUS_OK);
  const struct got file = at(OP_STAT, "/m/d/g"), directory = at(OP_STAT, "/m");
  cr_assert(file.status == STATUS_OK && file.length == 8 && file.version == 2);
  cr_assert_str_eq(file.source, "/u/d/g");
  cr_assert(file.creator == mount.creator && directory.creator == mount.creator);
  cr_assert(directory.version == 3 && directory.child_count == 2);
  cr_assert_eq(at(OP_LIST, "/m").entry_count, 2);
  cr_assert_eq(at(OP_MOUNTS, "").mount_count, 1);
  cr_assert_eq(at(OP_STAT, "/m/nothing").status, STATUS_NOT_FOUND);
  end();
}

Test(mounts, refuses_what_makes_no_sense) {
  begin(0);
  small_tree();
  cr_assert_eq(at(OP_MKDIR, "/p").status, STATUS_OK);
  cr_assert_eq(mounted("/", "/u").status, STATUS_INVALID);
  cr_assert_eq(mounted("/m", "u").status, STATUS_INVALID);
  cr_assert_eq(mounted("/m", "/").status, STATUS_INVALID);
  cr_assert_eq(mounted("/x/m", "/u").status, STATUS_NOT_FOUND);
  cr_assert_eq(mounted("/p", "/u").status, STATUS_EXISTS);
  cr_assert_eq(mounted("/p/m", "/u").status, STATUS_OK);
  cr_assert(mounted("/p/m/n", "/v").status == STATUS_INVALID, "a mount below a mount");
  cr_assert(mounted("/n", "/u/d").status == STATUS_INVALID, "a directory that is mounted already");
  cr_assert_eq(mounted("/n", "/v").status, STATUS_OK);
  cr_assert_eq(at(OP_UNMOUNT, "/p").status, STATUS_NOT_FOUND);
  for (int recursive = 0; recursive < 2; recursive++) {
    cr_assert_eq(
        done((struct request){.code = OP_DELETE, .path = text("/p/m"), .recursive = recursive}).status,
        STATUS_INVALID);
    cr_assert_eq(done((struct request){.code = OP_DELETE, .path = text("/p"), .recursive = recursive}).status,
                 STATUS_INVALID);
  }
  cr_assert(renamed("/p/m", "/q").status == STATUS_INVALID, "a mount is not moved");
  cr_assert(renamed("/p", "/q").status == STATUS_INVALID, "nor what is above one");
  cr_assert(renamed("/p/m/f", "/n/f").status == STATUS_INVALID, "nor anything from one to another");
  cr_assert(renamed("/p/m/f", "/f").status == STATUS_INVALID, "or out of it");
  cr_assert_eq(renamed("/p/m/f", "/p/m/d/f").status, STATUS_OK);
  cr_assert_str_eq(at(OP_STAT, "/p/m/d/f").source, "/u/f", "its content is where it was");
  cr_assert_eq(at(OP_UNMOUNT, "/p/m").status, STATUS_OK);
  cr_assert_not(at(OP_EXISTS, "/p/m/d/f").exists);
  cr_assert_eq(renamed("/p", "/q").status, STATUS_OK);
  end();
}

Test(mounts, what_was_deleted_does_not_come_back) {
  begin(0);
  small_tree();
  mounted("/m", "/u");
  cr_assert_eq(at(OP_DELETE, "/m/f").status, STATUS_OK);
  cr_assert_eq(done((struct request){.code = OP_DELETE, .path = text("/m/d"), .recursive = true}).status,
               STATUS_OK);
  cr_assert_eq(at(OP_LIST, "/m").entry_count, 0);
  cr_assert_eq(at(OP_STAT, "/m").version, 5, "two children more, and two less");
  fake_lead(cluster, 1, 0, false);
  cr_assert_eq(at(OP_LIST, "/m").entry_count, 0);
  end();
}

Test(mounts, a_repeat_is_answered_as_the_first) {
  begin(0);
  small_tree();
  const struct request mount = {
      .code = OP_MOUNT, .op_id = UINT64_C(7) << 32 | 1, .path = text("/m"), .destination = text("/u")};
  cr_assert_eq(done(mount).creator, mount.op_id);
  fake_lead(cluster, 2, 0, false);
  fake_quiesce(cluster);
  cr_assert(done(mount).status == STATUS_OK && done(mount).creator == mount.op_id);
  const struct request unmount = {.code = OP_UNMOUNT, .op_id = UINT64_C(7) << 32 | 2, .path = text("/m")};
  cr_assert_eq(done(unmount).status, STATUS_OK);
  cr_assert_eq(done(unmount).status, STATUS_OK);
  end();
}

Test(mounts, persisted_is_noted_of_the_right_file) {
  begin(0);
  small_tree();
  mounted("/m", "/u");
  const struct got file = at(OP_CREATE, "/m/new");
  struct request note = {.code = OP_PERSISTED, .path = text("/m/new"), .destination = text("/u/new")};
  note.creator = file.creator;
  cr_assert(done(note).status == STATUS_INVALID, "it is not complete");
  at(OP_COMPLETE, "/m/new");
  cr_assert_str_eq(at(OP_STAT, "/m/new").source, "");
  note.creator++;
  cr_assert(done(note).status == STATUS_NOT_FOUND, "it is another one now");
  note.creator--;
  note.destination = text("/v/new");
  cr_assert(done(note).status == STATUS_INVALID, "that is not where it is mounted");
  note.destination = text("/u/new");
  cr_assert_eq(done(note).status, STATUS_OK);
  cr_assert_str_eq(at(OP_STAT, "/m/new").source, "/u/new");
  cr_assert_eq(at(OP_STAT, "/m/new").version, 2, "no change that a client of the specification sees");
  end();
}

Test(mounts, a_directory_that_cannot_be_read_is_a_clear_refusal) {
  begin(0);
  small_tree();
  cr_assert_eq(mounted("/m", "/u").status, STATUS_OK);
  log_set_level(LOG_LEVEL_ERROR);
  cluster->under_fails = 1;
  const struct got read = at(OP_STAT, "/m/f"), change = at(OP_CREATE, "/m/new");
  cr_assert(read.status == STATUS_OVERLOADED && read.has_message);
  cr_assert(change.status == STATUS_OVERLOADED && change.has_message);
  cluster->under_fails = 0;
  cr_assert_eq(at(OP_STAT, "/m/f").status, STATUS_OK);
  cr_assert(at(OP_STAT, "/m/new").status == STATUS_NOT_FOUND, "what was refused did not happen");
  end();
}

Test(mounts, a_file_system_that_hangs_is_given_up) {
  begin(0);
  small_tree();
  mounted("/m", "/u");
  cluster->under_hangs = true;
  struct got read = {0};
  submit((struct request){.code = OP_STAT, .path = text("/m/f")}, &read);
  fake_quiesce(cluster);
  cr_assert(read.answers == 0, "it waits");
  cr_assert(at(OP_MKDIR, "/else").status == STATUS_OK, "and nobody else does");
  cluster->now_ns += 60 * NS_PER_S;
  fake_quiesce(cluster);
  cr_assert(read.answers == 1 && read.status == STATUS_OVERLOADED && read.has_message);
  cluster->under_hangs = false;
  cr_assert_eq(at(OP_STAT, "/m/f").status, STATUS_OK);
  end();
}

#define MANY 20000

static void many_names(void) {
  under_tree_add(&cluster->under, "/u/d", false, 0);
  for (int i = 0; i < MANY; i++) {
    char path[32];
    snprintf(path, sizeof path, "/u/file-%06d", i);
    under_tree_add(&cluster->under, path, true, (uint64_t)i);
  }
}

/* One step of everything but time: some of the load goes on. */
static void move(void) {
  fake_settle(cluster);
  cluster->commit = cluster->count;
  for (size_t i = 0; i < FAKE_NODES; i++) {
    while (fake_deliver(&cluster->nodes[i]))
      continue;
    fake_confirm(&cluster->nodes[i]);
  }
}

Test(mounts, others_go_on_while_a_large_directory_comes_in) {
  begin(1 << 20);
  many_names();
  mounted("/m", "/u");
  struct got list = {0}, other = {0};
  size_t others = 0, entries = cluster->count;
  submit((struct request){.code = OP_LIST, .path = text("/m")}, &list);
  while (list.answers == 0) {
    char path[32];
    snprintf(path, sizeof path, "/other-%zu", others);
    submit((struct request){.code = OP_MKDIR, .path = text(path)}, &other);
    for (int turns = 0; other.answers == 0; turns++) {
      cr_assert_lt(turns, 50);
      move();
    }
    cr_assert_eq(other.status, STATUS_OK);
    others++;
    cr_assert_lt(others, 100000u);
  }
  cr_assert(list.status == STATUS_OK && list.entry_count == MANY + 1);
  cr_assert_gt(others, 5u, "it came in one piece");
  for (; entries < cluster->count; entries++)
    cr_assert_lt(cluster->entries[entries].data.size, 300u << 10, "an entry stays small");
  cr_assert_eq(at(OP_STAT, "/m").child_count, MANY + 1);
  end();
}

Test(mounts, failover_in_the_middle_of_loading) {
  for (size_t cache = 0; cache < 2; cache++) {
    begin(cache);
    many_names();
    mounted("/m", "/u");
    struct got first = {0};
    const uint64_t before = primary_status(cluster->nodes[0].primary).inodes;
    submit((struct request){.code = OP_LIST, .path = text("/m")}, &first);
    while (primary_status(cluster->nodes[0].primary).inodes < before + 2000)
      move();
    cr_assert_eq(first.answers, 0, "nobody sees a part");
    /* Some of what is under way is lost. */
    fake_settle(cluster);
    fake_lead(cluster, 1, (cluster->count - cluster->commit) / 2, false);
    fake_quiesce(cluster);
    cr_assert(first.answers == 1 && first.status == STATUS_NOT_PRIMARY);
    const struct got stat = at(OP_STAT, "/m");
    cr_assert(stat.child_count == MANY + 1 && stat.version == MANY + 2, "%zu children, version %zu",
              (size_t)stat.child_count, (size_t)stat.version);
    cr_assert_eq(at(OP_LIST, "/m").entry_count, MANY + 1);
    cr_assert_eq(at(OP_UNMOUNT, "/m").status, STATUS_OK);
    fake_quiesce(cluster);
    cr_assert_eq(primary_status(cluster->nodes[1].primary).inodes, 1, "all of it is reclaimed");
    end();
  }
}

Test(mounts, is_taken_away_in_the_middle_of_loading) {
  begin(0);
  many_names();
  mounted("/m", "/u");
  struct got read = {0};
  submit((struct request){.code = OP_STAT, .path = text("/m/d")}, &read);
  while (primary_status(cluster->nodes[0].primary).inodes < 3000)
    move();
  cr_assert_eq(at(OP_UNMOUNT, "/m").status, STATUS_OK);
  fake_quiesce(cluster);
  cr_assert(read.answers == 1 && read.status == STATUS_NOT_FOUND);
  cr_assert_eq(primary_status(cluster->nodes[0].primary).inodes, 1);
  end();
}

Test(mounts, what_the_journal_refuses_is_loaded_again) {
  begin(0);
  many_names();
  mounted("/m", "/u");
  struct got read = {0};
  submit((struct request){.code = OP_STAT, .path = text("/m")}, &read);
  while (primary_status(cluster->nodes[0].primary).inodes < 3000)
    move();
  cluster->nodes[0].append_status = ERR_NO_SPACE;
  fake_quiesce(cluster);
  cr_assert(read.answers == 1 && read.status == STATUS_OVERLOADED);
  cluster->nodes[0].append_status = 0;
  cr_assert_eq(at(OP_STAT, "/m").child_count, MANY + 1);
  cr_assert_eq(at(OP_LIST, "/m").entry_count, MANY + 1);
  end();
}

Test(mounts, names_that_are_none_are_left_out) {
  begin(0);
  log_set_level(LOG_LEVEL_ERROR);
  char lengthy[300] = "/u/";
  memset(lengthy + 3, 'x', 256);
  under_tree_add(&cluster->under, lengthy, true, 1);
  under_tree_add(&cluster->under, "/u/\xff\xfe", true, 1);
  under_tree_add(&cluster->under, "/u/f", true, 1);
  mounted("/m", "/u");
  cr_assert_eq(at(OP_LIST, "/m").entry_count, 1);
  cr_assert_eq(at(OP_STAT, "/m").version, 2);
  end();
}
