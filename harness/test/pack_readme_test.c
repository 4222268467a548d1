#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/document.h"
#include "harness/pack_readme.h"

static char directory[] = "/tmp/assay-readme-XXXXXX";

static void make_directory(void) {
  cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void) {
  directory_remove(directory, NULL);
}

TestSuite(pack_readme, .init = make_directory, .fini = remove_directory);

static void put(const char *name, json_t *document) {
  char *path = path_join(directory, name);
  cr_assert_eq(document_write(path, document, NULL), 0);
  json_decref(document);
  free(path);
}

static char *page(bool with_data) {
  struct bytes text = {0};
  pack_readme(directory, with_data, &text);
  bytes_append_u8(&text, 0);
  return (char *)text.data;
}

Test(pack_readme, tells_the_result_the_command_and_what_is_there) {
  put("test.json", json_pack("{s:s, s:s, s:{s:s}, s:{s:s, s:s, s:i}}", "command", "assay run --seed 7",
                             "began", "2026-11-30T17:00:00Z", "versions", "assay", "9.8", "machine", "kernel",
                             "6.1", "architecture", "x86_64", "processors", 2));
  put("result.json", json_pack("{s:s}", "sentence", "Not linearizable: no."));
  put("counterexample.jsonl", json_object());
  char *text = page(false);
  static const char *const expected[] = {"Result    Not linearizable: no.\n",
                                         "Again     assay run --seed 7\n",
                                         "Began     2026-11-30T17:00:00Z\n",
                                         "assay 9.8, Linux 6.1 on x86_64, 2",
                                         "\ncounterexample.jsonl  ",
                                         "\ntest.json  ",
                                         "--with-data"};
  for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
    cr_expect_not_null(strstr(text, expected[i]), "'%s' is missing in:\n%s", expected[i], text);
  cr_expect_null(strstr(text, "\ncertificate "), "what is not there is not told:\n%s", text);
  free(text);
}

Test(pack_readme, a_run_without_anything_has_one_too) {
  char *text = page(true);
  cr_expect_not_null(strstr(text, "never came to one"), "%s", text);
  cr_expect_null(strstr(text, "--with-data"), "%s", text);
  free(text);
}
