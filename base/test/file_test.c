#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/base.h"

Test(file, replace_read_remove) {
  char directory[] = "/tmp/assay-file-test-XXXXXX";
  struct error error = {0};
  cr_assert(mkdtemp(directory));
  char *deep = path_join(directory, "a/b/c");
  cr_assert_eq(directory_make(deep, &error), 0, "%s", error.message);
  cr_assert_eq(directory_make(deep, &error), 0, "making it again is no error");
  char *file = path_join(deep, "file");
  cr_assert_eq(file_replace(file, "one", 3, &error), 0, "%s", error.message);
  cr_assert_eq(file_replace(file, "second", 6, &error), 0, "%s", error.message);
  struct bytes content = {0};
  cr_assert_eq(file_read(file, &content, &error), 0);
  cr_assert(content.size == 6 && memcmp(content.data, "second", 6) == 0);
  cr_assert_eq(directory_make(file, &error), ERR_IO, "a file in the way");
  cr_assert_eq(directory_remove(directory, &error), 0);
  cr_assert(!file_exists(directory));
  cr_assert_eq(file_read(file, &content, &error), ERR_NOT_FOUND);
  cr_assert_eq(directory_remove(directory, &error), 0, "what is gone is no error");
  bytes_free(&content);
  free(file);
  free(deep);
}

Test(file, a_path_is_made_absolute_once) {
  char *here = path_absolute("."), *file = path_absolute("a/b"), *again = path_absolute(file);
  cr_assert_eq(file[0], '/');
  cr_expect_eq(strncmp(file, here, strlen(here) - 1), 0, "%s is not below %s", file, here);
  cr_expect_str_eq(file + strlen(file) - 4, "/a/b");
  cr_expect_str_eq(again, file);
  free(here);
  free(file);
  free(again);
}
