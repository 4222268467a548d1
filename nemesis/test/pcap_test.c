#include <criterion/criterion.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "nemesis/link/pcap.h"
#include "nemesis/test/inside.h"

static char *directory, *path, *old_path;

static void setup(void) {
  directory = scratch_make();
  path = path_join(directory, "traffic.pcap");
  old_path = path_join(directory, "traffic.pcap.old");
}

static void teardown(void) {
  free(path);
  free(old_path);
  scratch_remove(directory);
}

TestSuite(pcap, .init = setup, .fini = teardown);

/* Reads one file as the format has it and returns how many frames, numbered from *next on, are in it. */
static size_t expect_frames(const char *file, uint64_t *next) {
  struct bytes content = {0};
  struct error error = {0};
  size_t count = 0;
  cr_assert_eq(file_read(file, &content, &error), 0, "%s", error.message);
  struct reader reader = reader_make(content.data, content.size);
  cr_assert_eq(reader_le32(&reader), 0xa1b23c4du);
  cr_assert_eq(reader_le32(&reader), 2u | 4u << 16);
  reader_bytes(&reader, 8);
  cr_assert_eq(reader_le32(&reader), 65535u);
  cr_assert_eq(reader_le32(&reader), 1u);
  for (; reader_left(&reader) > 0; count++, (*next)++) {
    const uint32_t seconds = reader_le32(&reader), nanoseconds = reader_le32(&reader),
                   stored = reader_le32(&reader), original = reader_le32(&reader);
    cr_assert(seconds == 5 + *next && nanoseconds == 999999999 - *next, "frame %zu", (size_t)*next);
    cr_assert(stored == original && stored == 100 + *next % 100);
    const unsigned char *frame = reader_bytes(&reader, stored);
    cr_assert(frame && le64_load(frame) == *next);
  }
  cr_assert_not(reader.failed);
  bytes_free(&content);
  return count;
}

static void write_frames(struct pcap *pcap, uint64_t count) {
  unsigned char frame[200] = {0};
  for (uint64_t i = 0; i < count; i++) {
    le64_store(frame, i);
    pcap_write(pcap, (int64_t)(5 + i) * NS_PER_S + 999999999 - (int64_t)i, frame, 100 + i % 100);
  }
}

Test(pcap, frames_are_read_back) {
  struct pcap *pcap;
  uint64_t next = 0;
  cr_assert_eq(pcap_open(path, 1 << 20, &pcap, NULL), 0);
  write_frames(pcap, 50);
  pcap_flush(pcap);
  cr_assert_eq(expect_frames(path, &next), 50u);
  pcap_close(pcap);
  cr_assert_not(file_exists(old_path));
}

Test(pcap, the_last_frames_are_kept_within_the_bound) {
  struct pcap *pcap;
  struct bytes newest = {0}, older = {0};
  cr_assert_eq(pcap_open(path, 65536, &pcap, NULL), 0);
  write_frames(pcap, 2000);
  pcap_close(pcap);
  cr_assert(file_read(path, &newest, NULL) == 0 && file_read(old_path, &older, NULL) == 0);
  cr_assert(newest.size <= 32768 && older.size <= 32768 && older.size > 32768 - 300);
  uint64_t next = le64_load(older.data + 24 + 16), first = next;
  const size_t frames = expect_frames(old_path, &next) + expect_frames(path, &next);
  cr_assert(first > 0 && next == 2000 && frames == 2000 - first);
  bytes_free(&newest);
  bytes_free(&older);
}

Test(pcap, a_full_disk_ends_the_recording_only) {
  struct pcap *pcap;
  signal(SIGXFSZ, SIG_IGN);
  cr_assert_eq(pcap_open(path, 1 << 20, &pcap, NULL), 0);
  const struct rlimit limit = {10000, 10000};
  cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
  write_frames(pcap, 2000);
  cr_assert_eq(pcap_fd(pcap), -1);
  pcap_close(pcap);
}

Test(pcap, a_directory_that_is_not_there_is_named) {
  struct pcap *pcap;
  struct error error = {0};
  cr_assert_eq(pcap_open("/nonexistent/traffic.pcap", 1 << 20, &pcap, &error), ERR_IO);
  cr_assert(strstr(error.message, "/nonexistent/traffic.pcap"), "%s", error.message);
}
