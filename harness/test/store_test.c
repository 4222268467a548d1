#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/document.h"
#include "harness/store.h"

static char directory[] = "/tmp/assay-store-XXXXXX";

static void make_directory(void) {
  cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void) {
  directory_remove(directory, NULL);
}

TestSuite(store, .init = make_directory, .fini = remove_directory);

static char *new_run(const char *test) {
  char *run = NULL;
  struct error error = {0};
  cr_assert_eq(store_run_new(directory, test, &run, &error), 0, "%s", error.message);
  return run;
}

static void write_document(const char *run, const char *name, json_t *document) {
  char *path = path_join(run, name);
  cr_assert_eq(document_write(path, document, NULL), 0);
  json_decref(document);
  free(path);
}

Test(store, runs_of_the_same_second_have_directories_of_their_own) {
  char *runs[20];
  for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
    runs[i] = new_run("mixed");
  for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
    cr_expect_eq(runs[i][0], '/');
    for (size_t j = 0; j < i; j++)
      cr_expect_str_neq(runs[i], runs[j]);
    char *parts = path_join(runs[i], "parts");
    cr_expect(file_exists(parts));
    free(parts);
  }
  for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
    free(runs[i]);
}

Test(store, latest_points_at_the_newest_run_and_is_found_by_name) {
  free(new_run("first"));
  char *run = new_run("second"), *found = NULL;
  write_document(run, "test.json", json_object());
  cr_assert_eq(store_run_find(directory, "latest", &found, NULL), 0);
  cr_expect_str_eq(found, run);
  free(found);
  cr_assert_eq(store_run_find(directory, run, &found, NULL), 0);
  cr_expect_str_eq(found, run);
  free(found);
  free(run);
}

Test(store, what_is_no_run_is_refused_with_the_cure) {
  char *found = NULL;
  struct error error = {0};
  cr_expect_eq(store_run_find(directory, "nothing", &found, &error), ERR_NOT_FOUND);
  cr_expect_not_null(strstr(error.message, "assay list"));
}

Test(store, names_that_make_no_good_directory_are_refused) {
  static const char *const bad[] = {"", ".", "..", ".x", "a/b", "latest", "cluster", "a b", "ä"};
  static const char *const good[] = {"mixed", "a", "bug-local-reads", "v1.2_x"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    cr_expect_not(store_name_valid(bad[i]), "%s", bad[i]);
  for (size_t i = 0; i < ARRAY_SIZE(good); i++)
    cr_expect(store_name_valid(good[i]), "%s", good[i]);
}

Test(store, the_list_is_by_time_and_skips_what_is_no_run) {
  char *first = new_run("b"), *second = new_run("a"), *third = new_run("c");
  write_document(first, "test.json", json_pack("{s:i}", "seed", 7));
  write_document(first, "result.json", json_pack("{s:s}", "verdict", "valid"));
  write_document(second, "test.json", json_pack("{s:i}", "seed", 8));
  struct store_run *runs;
  size_t count;
  cr_assert_eq(store_list(directory, &runs, &count, NULL), 0);
  cr_assert_eq(count, 2);
  for (size_t i = 1; i < count; i++)
    cr_expect(strcmp(runs[i - 1].time, runs[i].time) <= 0);
  for (size_t i = 0; i < count; i++)
    if (strcmp(runs[i].test, "b") == 0)
      cr_expect_str_eq(document_string(runs[i].result, "verdict", ""), "valid");
    else
      cr_expect_null(runs[i].result);
  store_list_free(runs, count);
  free(first);
  free(second);
  free(third);
}

Test(store, a_store_that_is_not_there_is_an_error_with_the_cure) {
  struct store_run *runs;
  size_t count;
  struct error error = {0};
  cr_expect_eq(store_list("/nowhere/at/all", &runs, &count, &error), ERR_NOT_FOUND);
  cr_expect_not_null(strstr(error.message, "--store"));
}

Test(store, the_tail_of_a_log_is_its_last_lines) {
  char *path = path_join(directory, "log");
  FILE *file = fopen(path, "w");
  for (int i = 0; i < 5000; i++)
    fprintf(file, "line %d\n", i);
  fclose(file);
  char *tail = file_tail(path, 2, "> ");
  cr_expect_str_eq(tail, "> line 4998\n> line 4999\n");
  free(tail);
  tail = file_tail("/nowhere", 2, "");
  cr_expect_str_eq(tail, "");
  free(tail);
  free(path);
}

Test(store, text_for_people) {
  char text[COUNT_TEXT_SIZE];
  cr_expect_str_eq(count_text(0, text), "0");
  cr_expect_str_eq(count_text(999, text), "999");
  cr_expect_str_eq(count_text(1000, text), "1 000");
  cr_expect_str_eq(count_text(1234567, text), "1 234 567");
  cr_expect_str_eq(count_text(-1234, text), "-1 234");
  cr_expect_str_eq(duration_text(0, text), "0 ns");
  cr_expect_str_eq(duration_text(830000, text), "830 µs");
  cr_expect_str_eq(duration_text(4210000, text), "4.21 ms");
  cr_expect_str_eq(duration_text(12340000000, text), "12.3 s");
}
