/* Files of the under-store: whole or not there, never replaced, and nothing outside of the roots. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/rpc/block_sum.h"
#include "master/worker/under_file.h"

static char root[] = "/tmp/assay-under-file-XXXXXX";
static struct under_roots roots;
static struct error error;

static void begin(void) {
  const char *const items[] = {root};
  cr_assert(mkdtemp(root));
  cr_assert_eq(under_roots_set(&roots, items, 1, &error), 0);
}

static void end(void) {
  cr_assert_eq(directory_remove(root, &error), 0, "%s", error.message);
}

static const char *below(const char *name) {
  static char path[300];
  snprintf(path, sizeof path, "%s/%s", root, name);
  return path;
}

static struct slice slice(const char *path) {
  return (struct slice){path, strlen(path)};
}

static size_t count_entries(void) {
  DIR *directory = opendir(root);
  size_t count = 0;
  cr_assert(directory);
  while (readdir(directory))
    count++;
  closedir(directory);
  return count - 2; /* itself, and what is above it */
}

static uint64_t sum_of(const char *content) {
  static struct block_sum sum;
  sum = (struct block_sum){0};
  block_sum_add(&sum, content, strlen(content), NULL, NULL);
  block_sum_end(&sum, NULL, NULL);
  return sum.whole;
}

static int make(const char *path, const char *content, uint64_t sum) {
  struct under_writer *writer;
  const int status = under_writer_open(&roots, slice(path), &writer, &error);
  if (status != 0)
    return status;
  cr_assert_eq(under_writer_add(writer, content, strlen(content), &error), 0);
  return under_writer_finish(writer, strlen(content), sum, &error);
}

static bool holds(const char *path, const char *content) {
  uint64_t length;
  int descriptor;
  struct bytes data = {0};
  if (under_file_open(&roots, slice(path), &length, &descriptor, &error) != 0)
    return false;
  const bool same = length == strlen(content) &&
                    under_file_read(descriptor, 0, (size_t)length, &data, &error) == 0 &&
                    memcmp(data.data, content, (size_t)length) == 0;
  cr_assert_neq(under_file_read(descriptor, 1, (size_t)length, &data, &error), 0, "more than there is");
  bytes_free(&data);
  close(descriptor);
  return same;
}

Test(under_file, is_there_when_it_is_whole) {
  begin();
  struct under_writer *writer;
  cr_assert_eq(make(below("d/e/f"), "hello", sum_of("hello")), 0, "%s", error.message);
  cr_assert(holds(below("d/e/f"), "hello"));
  cr_assert_eq(under_writer_open(&roots, slice(below("g")), &writer, &error), 0);
  cr_assert_eq(under_writer_add(writer, "hel", 3, &error), 0);
  cr_assert_neq(access(below("g"), F_OK), 0, "it has a name before its end");
  under_writer_abort(writer);
  cr_assert_eq(make(below("g"), "hello", 17), ERR_BAD_INPUT);
  cr_assert_neq(access(below("g"), F_OK), 0, "damaged on the way, and there all the same");
  cr_assert_eq(count_entries(), 1, "only d is left");
  end();
}

Test(under_file, nothing_is_replaced) {
  begin();
  cr_assert_eq(make(below("f"), "hello", sum_of("hello")), 0);
  cr_assert_eq(make(below("f"), "hello", sum_of("hello")), 0, "a repeat");
  cr_assert_eq(make(below("f"), "other", sum_of("other")), ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "nothing there is replaced"), "%s", error.message);
  cr_assert(holds(below("f"), "hello"));
  cr_assert_eq(mkdir(below("d"), 0700), 0);
  cr_assert_neq(make(below("d"), "hello", sum_of("hello")), 0);
  cr_assert_neq(make(below("f/g"), "hello", sum_of("hello")), 0);
  end();
}

Test(under_file, nothing_outside_of_the_roots) {
  begin();
  uint64_t length;
  int descriptor;
  char path[320];
  cr_assert_eq(symlink("/etc", below("out")), 0);
  cr_assert_eq(symlink("/etc/passwd", below("link")), 0);
  snprintf(path, sizeof path, "%s/../assay-outside", root);
  const char *const outside[] = {"/etc/passwd", path, root, "relative", ""};
  for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
    cr_assert_eq(under_file_open(&roots, slice(outside[i]), &length, &descriptor, &error), ERR_BAD_INPUT,
                 "%s", outside[i]);
    cr_assert_eq(make(outside[i], "x", sum_of("x")), ERR_BAD_INPUT);
  }
  cr_assert_neq(under_file_open(&roots, slice(below("link")), &length, &descriptor, &error), 0);
  cr_assert_neq(under_file_open(&roots, slice(below("out/passwd")), &length, &descriptor, &error), 0);
  cr_assert_neq(make(below("out/assay"), "x", sum_of("x")), 0);
  cr_assert_neq(make(below("link"), "x", sum_of("x")), 0);
  cr_assert_eq(under_file_open(&roots, slice(below("nothing")), &length, &descriptor, &error), ERR_NOT_FOUND);
  cr_assert_eq(mkfifo(below("pipe"), 0600), 0);
  cr_assert_neq(under_file_open(&roots, slice(below("pipe")), &length, &descriptor, &error), 0);
  end();
}
