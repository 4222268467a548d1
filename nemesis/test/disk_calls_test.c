/* What databases and logs call works on the disk, and whoever ends takes the mount along. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "nemesis/test/disk_fixture.h"

TestSuite(disk_calls, .init = disk_setup, .fini = disk_teardown);

static void lose_all(struct disk *disk) {
  const struct disk_loss loss = {.keeps = KEEPS_NOTHING};
  struct error error = {0};
  CHECK(disk_lose_power(disk, &loss, &error) == 0, "%s", error.message);
}

static void expect(const char *name, const char *text) {
  char *content = content_of(name);
  CHECK(!text == !content && (!text || strcmp(text, content) == 0), "%s holds %s, not %s", name,
        content ? content : "nothing", text ? text : "nothing");
  free(content);
}

static void sync_names(const char *directory) {
  const int fd = must_open(on_disk(directory), O_RDONLY | O_DIRECTORY);
  CHECK(fsync(fd) == 0, "%s", strerror(errno));
  close(fd);
}

/* ---- What makes durable, told in the shortest programs ---- */

static int what_is_durable(void *context) {
  (void)context;
  struct disk *disk = disk_make();
  write_content("synced with its name", "abc", true);
  sync_names("");
  write_content("synced", "abc", true);
  write_content("never synced", "abc", false);
  lose_all(disk);
  expect("synced with its name", "abc");
  expect("synced", NULL);
  expect("never synced", NULL);

  /* Replacing a file, with and without each of the syncs it takes. */
  write_content("new", "new", true);
  CHECK(rename(on_disk("new"), on_disk("synced with its name")) == 0, "%s", strerror(errno));
  lose_all(disk);
  expect("synced with its name", "abc");
  expect("new", NULL);
  write_content("new", "new", false);
  CHECK(rename(on_disk("new"), on_disk("synced with its name")) == 0, "%s", strerror(errno));
  sync_names("");
  lose_all(disk);
  expect("synced with its name", "");

  /* Opened for synchronous writing, a file needs no fsync; its name does. */
  const int fd = must_open(on_disk("journal"), O_CREAT | O_WRONLY | O_DSYNC);
  sync_names("");
  CHECK(write(fd, "abc", 3) == 3, "%s", strerror(errno));
  close(fd);
  lose_all(disk);
  expect("journal", "abc");
  disk_unmake(disk);
  return 0;
}

Test(disk_calls, bytes_by_fsync_of_the_file_and_names_by_fsync_of_the_directory) {
  cr_assert_eq(run_inside(USER_AS_IS, what_is_durable, NULL), 0);
}

/* ---- Calls ---- */

static int hard_links(void *context) {
  (void)context;
  struct disk *disk = disk_make();
  struct stat info;
  write_content("a", "abc", true);
  CHECK(link(on_disk("a"), on_disk("b")) == 0, "%s", strerror(errno));
  CHECK(stat(on_disk("b"), &info) == 0 && info.st_nlink == 2, "%zu links", (size_t)info.st_nlink);
  const int fd = must_open(on_disk("a"), O_RDWR);
  CHECK(unlink(on_disk("a")) == 0 && fstat(fd, &info) == 0 && info.st_nlink == 1, "%zu links",
        (size_t)info.st_nlink);
  CHECK(unlink(on_disk("b")) == 0 && fstat(fd, &info) == 0 && info.st_nlink == 0, "%zu links",
        (size_t)info.st_nlink);
  char byte = 0;
  CHECK(pread(fd, &byte, 1, 2) == 1 && byte == 'c', "an open file outlives its names");
  close(fd);
  disk_unmake(disk);
  return 0;
}

Test(disk_calls, hard_links_are_counted) {
  cr_assert_eq(run_inside(USER_AS_IS, hard_links, NULL), 0);
}

static int room_set_aside(void *context) {
  (void)context;
  struct disk *disk = disk_make();
  struct stat info;
  const int fd = must_open(on_disk("log"), O_CREAT | O_EXCL | O_RDWR);
  CHECK(fallocate(fd, 0, 0, 1 << 20) == 0 && fstat(fd, &info) == 0 && info.st_size == 1 << 20, "%s",
        strerror(errno));
  CHECK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 1 << 20, 1 << 20) == 0 && fstat(fd, &info) == 0 &&
            info.st_size == 1 << 20,
        "%s", strerror(errno));
  CHECK(pwrite(fd, "abc", 3, 4096) == 3 && fsync(fd) == 0, "%s", strerror(errno));
  sync_names("");
  CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192) == 0, "%s", strerror(errno));
  CHECK(pwrite(fd, "xyz", 3, 9000) == 3 && sync_file_range(fd, 0, 1 << 20, SYNC_FILE_RANGE_WRITE) == 0, "%s",
        strerror(errno));
  close(fd);
  lose_all(disk);
  char bytes[3], after[3];
  const int again = must_open(on_disk("log"), O_RDONLY);
  CHECK(pread(again, bytes, 3, 4096) == 3 && memcmp(bytes, "abc", 3) == 0, "a hole was not taken back");
  CHECK(pread(again, after, 3, 9000) == 3 && memcmp(after, "\0\0", 3) == 0,
        "sync_file_range() makes nothing durable");
  CHECK(fstat(again, &info) == 0 && info.st_size == 1 << 20, "%zu bytes", (size_t)info.st_size);
  close(again);
  disk_unmake(disk);
  return 0;
}

Test(disk_calls, room_is_set_aside_and_holes_are_punched) {
  cr_assert_eq(run_inside(USER_AS_IS, room_set_aside, NULL), 0);
}

static int locks_and_maps(void *context) {
  (void)context;
  struct disk *disk = disk_make();
  const int first = must_open(on_disk("f"), O_CREAT | O_RDWR | O_APPEND),
            second = must_open(on_disk("f"), O_RDWR);
  CHECK(flock(first, LOCK_EX | LOCK_NB) == 0, "%s", strerror(errno));
  CHECK(flock(second, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK, "locked twice");
  const int directory = must_open(on_disk(""), O_RDONLY | O_DIRECTORY);
  CHECK(flock(directory, LOCK_EX | LOCK_NB) == 0, "%s", strerror(errno));
  close(directory);
  CHECK(pwrite(second, "abc", 3, 0) == 3 && write(first, "def", 3) == 3, "%s", strerror(errno));
  char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, second, 0);
  CHECK(map != MAP_FAILED && memcmp(map, "abcdef", 6) == 0, "%s", strerror(errno));
  map[0] = 'x';
  CHECK(msync(map, 4096, MS_SYNC) == 0, "%s", strerror(errno));
  sync_names("");
  munmap(map, 4096);
  close(first);
  close(second);
  lose_all(disk);
  expect("f", "xbcdef");
  disk_unmake(disk);
  return 0;
}

Test(disk_calls, locks_maps_and_appends) {
  cr_assert_eq(run_inside(USER_AS_IS, locks_and_maps, NULL), 0);
}

static int large_directory(void *context) {
  (void)context;
  struct disk *disk = disk_make();
  size_t seen = 0;
  CHECK(mkdir(on_disk("d"), 0755) == 0, "%s", strerror(errno));
  for (int i = 0; i < 3000; i++) {
    char name[64];
    snprintf(name, sizeof name, "d/a-name-that-is-not-short-%d", i);
    write_content(name, "", false);
  }
  DIR *stream = opendir(on_disk("d"));
  CHECK(stream, "%s", strerror(errno));
  while (readdir(stream))
    seen++;
  closedir(stream);
  CHECK(seen == 3002, "%zu entries", seen);
  CHECK(rmdir(on_disk("d")) != 0 && errno == ENOTEMPTY, "%s", strerror(errno));
  struct statvfs room;
  CHECK(statvfs(on_disk(""), &room) == 0 && room.f_bavail > 0, "%s", strerror(errno));
  CHECK(symlink("a", on_disk("s")) != 0, "a symbolic link was made");
  disk_unmake(disk);
  return 0;
}

Test(disk_calls, large_directories_are_listed) {
  cr_assert_eq(run_inside(USER_AS_IS, large_directory, NULL), 0);
}

/* Much more than is remembered, in few and in many pieces: written back, so a loss takes some of it at most.
 */
static int much_unsynced(void *context) {
  (void)context;
  struct disk *disk = disk_make();
  struct disk_counters counters;
  struct error error = {0};
  const size_t size = 48u << 20, piece = 1u << 20;
  char *ones = xmalloc(piece);
  memset(ones, 1, piece);
  const int fd = must_open(on_disk("f"), O_CREAT | O_RDWR);
  for (int pass = 0; pass < 2; pass++) /* the second time there is something to remember */
    for (size_t at = 0; at < size; at += piece)
      CHECK(pwrite(fd, ones, piece, (off_t)at) == (ssize_t)piece && (pass == 1 || fsync(fd) == 0), "%s",
            strerror(errno));
  CHECK(disk_read_counters(disk, &counters, &error) == 0, "%s", error.message);
  CHECK(counters.bytes_written == 2 * size && counters.bytes_synced == size, "%zu written, %zu synced",
        (size_t)counters.bytes_written, (size_t)counters.bytes_synced);
  CHECK(counters.bytes_dirty <= 33u << 20, "%zu bytes are kept in suspense", (size_t)counters.bytes_dirty);
  free(ones);
  close(fd);
  disk_unmake(disk);
  return 0;
}

Test(disk_calls, what_is_remembered_is_bounded) {
  cr_assert_eq(run_inside(USER_AS_IS, much_unsynced, NULL), 0);
}

/* ---- Ends ---- */

static bool is_mounted(void) {
  char above[512];
  struct stat here, there;
  snprintf(above, sizeof above, "%s/..", disk_mount_point());
  return stat(disk_mount_point(), &here) != 0 || stat(above, &there) != 0 || here.st_dev != there.st_dev;
}

static int process_is_killed(void *context) {
  const int number = *(const int *)context;
  struct disk *disk = disk_make();
  struct error error = {0};
  CHECK(is_mounted(), "no mount");
  CHECK(kill(disk_process(disk), number) == 0, "%s", strerror(errno));
  int status = 0;
  while (status == 0 && number == SIGKILL) /* until the kernel has told it */
    status = disk_set(disk, NULL, &error);
  if (number == SIGSTOP)
    status = disk_set(disk, NULL, &error);
  CHECK(status == (number == SIGKILL ? ERR_IO : ERR_TIMEOUT), "%d", status);
  CHECK(strstr(error.message, "the disk of node n1") && strstr(error.message, "start it again"), "%s",
        error.message);
  disk_unmake(disk);
  return 0;
}

Test(disk_calls, a_disk_that_is_killed_or_hangs_is_told_of) {
  int numbers[] = {SIGKILL, SIGSTOP};
  for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
    cr_assert_eq(run_inside(USER_AS_IS, process_is_killed, &numbers[i]), 0);
}

static int owner_is_killed(void *context) {
  (void)context;
  int told[2];
  CHECK(pipe(told) == 0, "%s", strerror(errno));
  const pid_t owner = fork();
  if (owner == 0) {
    const struct disk *disk = disk_make();
    const pid_t process = disk_process(disk);
    CHECK(write(told[1], &process, sizeof process) == sizeof process, "cannot tell");
    while (pause() != 0)
      ;
  }
  pid_t process;
  CHECK(read(told[0], &process, sizeof process) == sizeof process, "not told");
  CHECK(is_mounted() && kill(process, 0) == 0, "no mount");
  kill(owner, SIGKILL);
  waitpid(owner, NULL, 0);
  for (int i = 0; i < 5000 && (is_mounted() || kill(process, 0) == 0); i++)
    poll(NULL, 0, 1);
  CHECK(!is_mounted(), "the mount outlives its owner");
  CHECK(kill(process, 0) != 0, "the process outlives its owner");
  return 0;
}

Test(disk_calls, nothing_outlives_the_owner) {
  cr_assert_eq(run_inside(USER_AS_IS, owner_is_killed, NULL), 0);
}

static int leave_it(void *context) {
  (void)context;
  disk_make();
  write_content("f", "abc", false);
  return is_mounted() ? 0 : 1;
}

Test(disk_calls, a_mount_vanishes_with_its_sandbox) {
  cr_assert_eq(run_inside(USER_AS_IS, leave_it, NULL), 0);
  cr_assert_not(is_mounted());
  char *content = content_of("f");
  cr_assert_str_eq(content, "abc"); /* the end of a disk's process is no power loss */
  free(content);
}

static int lacking_device(void *context) {
  (void)context;
  struct error error = {0};
  const int status = disk_supported(&error);
  CHECK(status == 0 || (status == ERR_UNSUPPORTED && strstr(error.message, "/dev/fuse")), "%s",
        error.message);
  return status == 0 ? access("/dev/fuse", R_OK | W_OK) != 0 : 0;
}

Test(disk_calls, a_device_that_is_not_ours_to_open_is_told_of) {
  cr_assert_eq(run_as(USER_ORDINARY, lacking_device, NULL), 0);
}
