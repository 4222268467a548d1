/* What a disk keeps and what it loses, against an oracle that knows every byte. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "nemesis/test/disk_fixture.h"
#include "nemesis/test/disk_oracle.h"

TestSuite(disk, .init = disk_setup, .fini = disk_teardown);

#define PATH_SIZE 512

/* ---- Random work, done to the disk and told to the oracle ---- */

struct play {
  struct disk *disk;
  struct oracle *oracle;
  struct random random;
  char root[256];
};

/* The path of a directory or of a name in it, as the oracle knows them: false when it cannot be reached. */
static bool path_to(const struct play *play, int object, int directory, const char *so_far, char *path) {
  for (int name = 0; name < ORACLE_NAMES; name++) {
    const int at = oracle_at(play->oracle, directory, name);
    char longer[PATH_SIZE];
    if (at < 0)
      continue;
    snprintf(longer, sizeof longer, "%s/%c", so_far, 'a' + name);
    if (at == object) {
      snprintf(path, PATH_SIZE, "%s", longer);
      return true;
    }
    if (play->oracle->objects[at].directory && path_to(play, object, at, longer, path))
      return true;
  }
  return false;
}

static bool find_path(const struct play *play, int object, char *path) {
  snprintf(path, PATH_SIZE, "%s", play->root);
  return object == 0 || path_to(play, object, 0, play->root, path);
}

/* A random object that has a path. */
static int pick(struct play *play, bool directory, char *path) {
  for (int tries = 0; tries < 200; tries++) {
    const int object = (int)random_below(&play->random, (uint64_t)play->oracle->count);
    if (play->oracle->objects[object].directory == directory && find_path(play, object, path))
      return object;
  }
  snprintf(path, PATH_SIZE, "%s", play->root);
  return directory ? 0 : -1;
}

static int below(struct play *play, size_t bound) {
  return (int)random_below(&play->random, bound);
}

static void make_something(struct play *play) {
  char path[PATH_SIZE];
  const int directory = pick(play, true, path), name = below(play, ORACLE_NAMES);
  const bool makes_directory = below(play, 3) == 0;
  if (oracle_at(play->oracle, directory, name) >= 0)
    return;
  snprintf(path + strlen(path), 3, "/%c", 'a' + name);
  if (makes_directory)
    CHECK(mkdir(path, 0755) == 0, "%s: %s", path, strerror(errno));
  else
    close(must_open(path, O_CREAT | O_EXCL | O_WRONLY));
  oracle_make(play->oracle, directory, name, makes_directory);
}

static void link_something(struct play *play) {
  char from[PATH_SIZE], path[PATH_SIZE];
  const int object = pick(play, false, from), directory = pick(play, true, path);
  const int name = below(play, ORACLE_NAMES);
  if (object < 0 || oracle_at(play->oracle, directory, name) >= 0)
    return;
  snprintf(path + strlen(path), 3, "/%c", 'a' + name);
  CHECK(link(from, path) == 0, "%s to %s: %s", from, path, strerror(errno));
  oracle_link(play->oracle, object, directory, name);
}

static bool holds_something(const struct play *play, int object) {
  for (int name = 0; name < ORACLE_NAMES; name++)
    if (play->oracle->objects[object].directory && oracle_at(play->oracle, object, name) >= 0)
      return true;
  return false;
}

static void remove_something(struct play *play) {
  char path[PATH_SIZE];
  const int directory = pick(play, true, path), name = below(play, ORACLE_NAMES);
  const int object = oracle_at(play->oracle, directory, name);
  if (object < 0)
    return;
  snprintf(path + strlen(path), 3, "/%c", 'a' + name);
  if (holds_something(play, object)) {
    CHECK(rmdir(path) != 0 && errno == ENOTEMPTY, "%s: %s", path, strerror(errno));
    return;
  }
  CHECK(remove(path) == 0, "%s: %s", path, strerror(errno));
  oracle_remove(play->oracle, directory, name);
}

static void move_something(struct play *play) {
  char from[PATH_SIZE], to[PATH_SIZE];
  const int directory = pick(play, true, from), name = below(play, ORACLE_NAMES);
  const int to_directory = pick(play, true, to), to_name = below(play, ORACLE_NAMES);
  const int object = oracle_at(play->oracle, directory, name);
  const int replaced = oracle_at(play->oracle, to_directory, to_name);
  if (object < 0 || object == replaced)
    return;
  snprintf(from + strlen(from), 3, "/%c", 'a' + name);
  snprintf(to + strlen(to), 3, "/%c", 'a' + to_name);
  const bool into_itself = strncmp(to, from, strlen(from)) == 0 && to[strlen(from)] == '/';
  const bool unlike =
      replaced >= 0 && play->oracle->objects[object].directory != play->oracle->objects[replaced].directory;
  const bool refused = into_itself || unlike || (replaced >= 0 && holds_something(play, replaced));
  CHECK((rename(from, to) != 0) == refused, "%s to %s: %s", from, to, strerror(errno));
  if (!refused)
    oracle_move(play->oracle, directory, name, to_directory, to_name);
}

static void write_something(struct play *play) {
  char path[PATH_SIZE];
  unsigned char data[ORACLE_FILE_SIZE];
  const int object = pick(play, false, path);
  if (object < 0)
    return;
  const size_t most = below(play, 4) == 0 ? 4096 : 700;
  const size_t size = 1 + (size_t)below(play, most);
  const size_t offset =
      below(play, 2) ? (size_t)below(play, ORACLE_FILE_SIZE - size + 1) : play->oracle->objects[object].size;
  if (offset + size > ORACLE_FILE_SIZE)
    return;
  for (size_t i = 0; i < size; i++)
    data[i] = (unsigned char)random_next(&play->random);
  const int fd = must_open(path, O_WRONLY);
  CHECK(pwrite(fd, data, size, (off_t)offset) == (ssize_t)size, "%s: %s", path, strerror(errno));
  close(fd);
  oracle_write(play->oracle, object, data, size, offset);
}

static void resize_something(struct play *play) {
  char path[PATH_SIZE];
  const int object = pick(play, false, path);
  const size_t size = below(play, 4) == 0 ? 0 : (size_t)below(play, ORACLE_FILE_SIZE + 1);
  if (object < 0)
    return;
  CHECK(truncate(path, (off_t)size) == 0, "%s: %s", path, strerror(errno));
  oracle_resize(play->oracle, object, size);
}

static void sync_something(struct play *play) {
  char path[PATH_SIZE];
  struct error error = {0};
  const bool directory = below(play, 2), fails = below(play, 4) == 0;
  const int object = pick(play, directory, path);
  if (object < 0)
    return;
  const struct disk_fault failing = {.sync_error = 1};
  CHECK(!fails || disk_set(play->disk, &failing, &error) == 0, "%s", error.message);
  const int fd = must_open(path, directory ? O_RDONLY | O_DIRECTORY : O_WRONLY);
  const int status = below(play, 2) ? fsync(fd) : fdatasync(fd);
  CHECK((status != 0) == fails, "%s: %s", path, strerror(errno));
  close(fd);
  CHECK(!fails || disk_set(play->disk, NULL, &error) == 0, "%s", error.message);
  oracle_sync(play->oracle, object, fails);
}

/* ---- Comparing ---- */

static void compare_file(const struct oracle_object *expected, const char *path) {
  unsigned char bytes[ORACLE_FILE_SIZE + 1] = {0};
  const int fd = must_open(path, O_RDONLY);
  const ssize_t size = read(fd, bytes, sizeof bytes);
  close(fd);
  CHECK(size == (ssize_t)expected->size, "%s has %zd bytes, not %zu", path, size, expected->size);
  for (size_t i = 0; i < expected->size; i++)
    CHECK(bytes[i] == expected->bytes[i], "byte %zu of %s is %02x, not %02x", i, path, bytes[i],
          expected->bytes[i]);
}

static void compare(const struct play *play, int directory, const char *path) {
  DIR *stream = opendir(path);
  CHECK(stream, "%s: %s", path, strerror(errno));
  size_t seen = 0, expected = 0;
  for (const struct dirent *entry; (entry = readdir(stream));)
    seen += entry->d_name[0] != '.';
  closedir(stream);
  for (int name = 0; name < ORACLE_NAMES; name++) {
    const int object = oracle_at(play->oracle, directory, name);
    char below_it[PATH_SIZE];
    if (object < 0)
      continue;
    expected++;
    snprintf(below_it, sizeof below_it, "%s/%c", path, 'a' + name);
    if (play->oracle->objects[object].directory)
      compare(play, object, below_it);
    else
      compare_file(&play->oracle->objects[object], below_it);
  }
  CHECK(seen == expected, "%s has %zu names, not %zu", path, seen, expected);
}

static void lose_power(struct play *play) {
  struct error error = {0};
  const struct disk_loss loss = {.keeps = (enum disk_keeps)below(play, 3),
                                 .draw = random_next(&play->random)};
  CHECK(disk_lose_power(play->disk, &loss, &error) == 0, "%s", error.message);
  oracle_lose_power(play->oracle, &loss);
  compare(play, 0, play->root);
}

static int random_play(void *context) {
  static void (*const acts[])(struct play * play) = {
      make_something,  make_something,  link_something,   remove_something, move_something, write_something,
      write_something, write_something, resize_something, sync_something,   sync_something};
  for (uint64_t seed = 1; seed <= *(const uint64_t *)context; seed++) {
    struct play play = {.disk = disk_make(), .oracle = oracle_new()};
    random_seed(&play.random, seed);
    snprintf(play.root, sizeof play.root, "%s", disk_mount_point());
    for (int round = 0; round < 6; round++) {
      for (int step = below(&play, 80); step >= 0; step--)
        acts[below(&play, ARRAY_SIZE(acts))](&play);
      compare(&play, 0, play.root);
      lose_power(&play);
    }
    disk_unmake(play.disk);
    oracle_free(play.oracle);
  }
  return 0;
}

Test(disk, keeps_and_loses_what_the_oracle_says) {
  uint64_t seeds = 120;
  cr_assert_eq(run_inside(USER_AS_IS, random_play, &seeds), 0);
}

/* As the root of a user namespace that maps nobody. */
Test(disk, keeps_and_loses_as_an_ordinary_user) {
  uint64_t seeds = 3;
  cr_assert_eq(run_with_fuse(random_play, &seeds), 0);
}
