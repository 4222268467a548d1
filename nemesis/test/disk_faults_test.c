/* What goes wrong when it is set to go wrong, seen from outside; and nothing does afterwards. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "nemesis/test/disk_fixture.h"

TestSuite(disk_faults, .init = disk_setup, .fini = disk_teardown);

static void set(struct disk *disk, const struct disk_fault *fault) {
  struct error error = {0};
  CHECK(disk_set(disk, fault, &error) == 0, "%s", error.message);
}

static struct disk_counters counters_of(struct disk *disk) {
  struct disk_counters counters;
  struct error error = {0};
  CHECK(disk_read_counters(disk, &counters, &error) == 0, "%s", error.message);
  return counters;
}

/* ---- Errors ---- */

static int errors(void *context) {
  (void)context;
  struct disk *disk = disk_make();
  char byte;
  write_content("f", "abc", true);
  const int fd = must_open(on_disk("f"), O_RDWR);
  CHECK(pread(fd, &byte, 1, 0) == 1, "%s", strerror(errno));
  set(disk, &(struct disk_fault){.read_error = 1});
  CHECK(pread(fd, &byte, 1, 0) < 0 && errno == EIO, "what the kernel had in memory was read");
  CHECK(pwrite(fd, "x", 1, 0) == 1 && fsync(fd) == 0, "%s", strerror(errno));
  set(disk, &(struct disk_fault){.write_error = 1});
  CHECK(pread(fd, &byte, 1, 0) == 1 && byte == 'x', "%s", strerror(errno));
  CHECK(pwrite(fd, "y", 1, 0) < 0 && errno == EIO, "it was written");
  set(disk, &(struct disk_fault){.sync_error = 1});
  CHECK(pwrite(fd, "z", 1, 0) == 1, "%s", strerror(errno));
  CHECK(fsync(fd) < 0 && errno == EIO && fdatasync(fd) < 0 && errno == EIO, "it was synced");
  const int directory = must_open(on_disk(""), O_RDONLY | O_DIRECTORY);
  CHECK(fsync(directory) < 0 && errno == EIO, "it was synced");
  set(disk, NULL);
  CHECK(fsync(directory) == 0 && fsync(fd) == 0 && pwrite(fd, "w", 1, 1) == 1, "%s", strerror(errno));
  close(directory);
  close(fd);
  const struct disk_counters counters = counters_of(disk);
  CHECK(counters.read_errors >= 1 && counters.write_errors == 1 && counters.sync_errors == 3,
        "%zu, %zu, %zu errors", (size_t)counters.read_errors, (size_t)counters.write_errors,
        (size_t)counters.sync_errors);
  disk_unmake(disk);
  return 0;
}

Test(disk_faults, reads_writes_and_syncs_fail_while_they_are_set_to) {
  cr_assert_eq(run_inside(USER_AS_IS, errors, NULL), 0);
}

static int some_errors(void *context) {
  (void)context;
  struct disk *disk = disk_make();
  int failures[2] = {0};
  for (int round = 0; round < 2; round++) {
    const int fd = must_open(on_disk("f"), O_CREAT | O_RDWR);
    set(disk, &(struct disk_fault){.write_error = 0.25, .draw = 7});
    for (int i = 0; i < 1000; i++)
      failures[round] += pwrite(fd, "x", 1, i) < 0;
    close(fd);
  }
  CHECK(failures[0] > 150 && failures[0] < 350, "%d of 1000", failures[0]);
  CHECK(failures[0] == failures[1], "the same draw, %d and %d failures", failures[0], failures[1]);
  disk_unmake(disk);
  return 0;
}

Test(disk_faults, chances_are_kept_and_drawn) {
  cr_assert_eq(run_inside(USER_AS_IS, some_errors, NULL), 0);
}

/* PostgreSQL's fsync of 2018: a sync that succeeds after one that failed promises nothing of what that one
 * covered; what is written again, it does. */
static int failed_sync(void *context) {
  (void)context;
  struct disk *disk = disk_make();
  struct error error = {0};
  char *content;
  write_content("f", "old", true);
  const int directory = must_open(on_disk(""), O_RDONLY | O_DIRECTORY);
  CHECK(fsync(directory) == 0, "%s", strerror(errno));
  close(directory);
  for (int written_again = 0; written_again < 2; written_again++) {
    const int fd = must_open(on_disk("f"), O_RDWR);
    CHECK(pwrite(fd, "new", 3, 0) == 3, "%s", strerror(errno));
    set(disk, &(struct disk_fault){.sync_error = 1});
    CHECK(fsync(fd) < 0 && errno == EIO, "it was synced");
    set(disk, NULL);
    CHECK(!written_again || pwrite(fd, "new", 3, 0) == 3, "%s", strerror(errno));
    CHECK(fsync(fd) == 0, "%s", strerror(errno));
    close(fd);
    content = content_of("f");
    CHECK(strcmp(content, "new") == 0, "before the loss: %s", content);
    free(content);
    CHECK(disk_lose_power(disk, &(struct disk_loss){.keeps = KEEPS_NOTHING}, &error) == 0, "%s",
          error.message);
    content = content_of("f");
    CHECK(strcmp(content, written_again ? "new" : "old") == 0, "after the loss: %s", content);
    free(content);
  }
  CHECK(counters_of(disk).bytes_lost == 512, "%zu bytes lost", (size_t)counters_of(disk).bytes_lost);
  disk_unmake(disk);
  return 0;
}

Test(disk_faults, a_later_sync_does_not_cover_what_a_failed_one_lost) {
  cr_assert_eq(run_inside(USER_AS_IS, failed_sync, NULL), 0);
}

static int full(void *context) {
  (void)context;
  struct disk *disk = disk_make();
  struct statvfs room;
  write_content("f", "abc", true);
  const int fd = must_open(on_disk("f"), O_RDWR);
  set(disk, &(struct disk_fault){.full = true});
  CHECK(pwrite(fd, "x", 1, 0) == 1 && fsync(fd) == 0, "writing over needs no room: %s", strerror(errno));
  CHECK(pwrite(fd, "x", 1, 3) < 0 && errno == ENOSPC, "it grew");
  CHECK(fallocate(fd, 0, 0, 1 << 20) != 0 && errno == ENOSPC, "room was set aside");
  CHECK(open(on_disk("g"), O_CREAT | O_WRONLY, 0644) < 0 && errno == ENOSPC, "a file was made");
  CHECK(mkdir(on_disk("d"), 0755) != 0 && errno == ENOSPC, "a directory was made");
  CHECK(statvfs(on_disk(""), &room) == 0 && room.f_bavail == 0, "there is room");
  set(disk, &(struct disk_fault){.full = true, .full_for_all = true});
  CHECK(pwrite(fd, "x", 1, 0) < 0 && errno == ENOSPC, "it was written over");
  set(disk, NULL);
  CHECK(pwrite(fd, "x", 1, 3) == 1 && fsync(fd) == 0, "%s", strerror(errno));
  CHECK(counters_of(disk).no_space == 5, "%zu refusals", (size_t)counters_of(disk).no_space);
  close(fd);
  disk_unmake(disk);
  return 0;
}

Test(disk_faults, a_full_disk_refuses_what_needs_room) {
  cr_assert_eq(run_inside(USER_AS_IS, full, NULL), 0);
}

/* ---- A slow sync ---- */

struct syncing {
  int fd;
  _Atomic bool over;
  int64_t took_ns;
};

static void *sync_it(void *argument) {
  struct syncing *syncing = argument;
  const int64_t began_ns = time_monotonic_ns();
  CHECK(fsync(syncing->fd) == 0, "%s", strerror(errno));
  syncing->took_ns = time_monotonic_ns() - began_ns;
  syncing->over = true;
  return NULL;
}

static int slow_sync(void *context) {
  (void)context;
  struct disk *disk = disk_make();
  pthread_t thread;
  char byte;
  write_content("f", "abc", false);
  write_content("g", "abc", false);
  struct syncing syncing = {.fd = must_open(on_disk("f"), O_RDWR)};
  set(disk, &(struct disk_fault){.sync_delay_ns = 50 * NS_PER_MS});
  sync_it(&syncing);
  CHECK(syncing.took_ns >= 50 * NS_PER_MS, "%zu ns", (size_t)syncing.took_ns);

  /* One that would take a minute holds nobody up, and ends when it is healed. */
  syncing.over = false;
  set(disk, &(struct disk_fault){.sync_delay_ns = 60 * NS_PER_S});
  CHECK(pthread_create(&thread, NULL, sync_it, &syncing) == 0, "no thread");
  while (counters_of(disk).syncs_delayed < 2)
    poll(NULL, 0, 1);
  const int fd = must_open(on_disk("g"), O_RDWR);
  CHECK(pread(fd, &byte, 1, 0) == 1 && pwrite(fd, "x", 1, 0) == 1, "%s", strerror(errno));
  CHECK(pread(syncing.fd, &byte, 1, 0) == 1, "%s", strerror(errno));
  CHECK(!syncing.over, "the sync is over already");
  set(disk, NULL);
  pthread_join(thread, NULL);
  close(fd);
  close(syncing.fd);
  disk_unmake(disk);
  return 0;
}

Test(disk_faults, a_slow_sync_holds_nobody_else_up) {
  cr_assert_eq(run_inside(USER_AS_IS, slow_sync, NULL), 0);
}

/* ---- Rot ---- */

static void expect_rot(const struct disk_rotten *rotten, const char *healthy) {
  char *content = content_of(rotten->path);
  const size_t size = strlen(healthy);
  if (rotten->cut) {
    CHECK(strlen(content) == rotten->offset && rotten->offset + rotten->size == size, "%s: %s", rotten->path,
          content);
  } else {
    for (size_t i = 0; i < size; i++) {
      const int flipped = __builtin_popcount((unsigned)(content[i] ^ healthy[i]) & 0xffu);
      CHECK(flipped == (i == rotten->offset), "%d bits of byte %zu of %s", flipped, i, rotten->path);
    }
  }
  free(content);
}

static int rot(void *context) {
  (void)context;
  static const char healthy[] = "a text that is long enough to be hit somewhere";
  struct disk *disk = disk_make();
  struct error error = {0};
  CHECK(mkdir(on_disk("journal"), 0755) == 0, "%s", strerror(errno));
  for (int i = 0; i < 5; i++) {
    char name[32];
    snprintf(name, sizeof name, "journal/log-%d", i);
    write_content(name, healthy, i % 2);
  }
  for (uint64_t draw = 0; draw < 20; draw++) {
    const struct disk_rot wanted = {.pattern = "journal/log-*", .share = 0.5, .cut = draw % 2, .draw = draw};
    struct disk_rotten rotten;
    CHECK(disk_rot(disk, &wanted, &rotten, &error) == 0, "%s", error.message);
    CHECK(rotten.cut || rotten.offset < sizeof healthy / 2, "%zu was to be spared", (size_t)rotten.offset);
    expect_rot(&rotten, healthy);
    CHECK(disk_restore(disk, &rotten, &error) == 0, "%s", error.message);
    char *content = content_of(rotten.path);
    CHECK(strcmp(content, healthy) == 0, "%s: %s", rotten.path, content);
    free(content);
  }
  const struct disk_rot nothing = {.pattern = "journal/log-*", .least = sizeof healthy};
  struct disk_rotten rotten;
  CHECK(disk_rot(disk, &nothing, &rotten, &error) == ERR_UNAVAILABLE, "%s", error.message);
  char *content = content_of("journal/log-4");
  CHECK(content && strcmp(content, healthy) == 0, "what was not synced went with the rot");
  free(content);
  disk_unmake(disk);
  return 0;
}

Test(disk_faults, rot_is_told_to_the_byte_and_can_be_put_right) {
  cr_assert_eq(run_inside(USER_AS_IS, rot, NULL), 0);
}
