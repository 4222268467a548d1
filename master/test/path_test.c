#include <criterion/criterion.h>
#include <string.h>

#include "master/path.h"

static struct slice text(const char *string) {
  return (struct slice){string, strlen(string)};
}

Test(path, valid_ones) {
  static const char *const paths[] = {"/",     "/a",   "/a/b",      "/...",          "/.a",
                                      "/a.",   "/ ",   "/\xc3\xa9", "/\xe2\x82\xac", "/\xf0\x9f\x98\x80/x",
                                      "/\x01", "/a\\b"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
    cr_assert(path_valid(text(paths[i])), "%s", paths[i]);
}

Test(path, invalid_ones) {
  static const char *const paths[] = {"",
                                      "a",
                                      "a/b",
                                      "//",
                                      "/a/",
                                      "/a//b",
                                      "/.",
                                      "/..",
                                      "/a/./b",
                                      "/a/../b",
                                      "/a/..",
                                      "/\xff",
                                      "/\xc0\x80" /* overlong */,
                                      "/\xed\xa0\x80" /* surrogate */,
                                      "/\xe2\x82" /* cut off */,
                                      "/\xf4\x90\x80\x80" /* above U+10FFFF */,
                                      "/\x80",
                                      "/\xe2\x82/x"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
    cr_assert(!path_valid(text(paths[i])), "%zu: %s", i, paths[i]);
  cr_assert(!path_valid((struct slice){"/a\0b", 4}));
  cr_assert(!path_valid((struct slice){"/\0", 2}));
}

Test(path, lengths) {
  char path[PATH_SIZE_LIMIT + 2];
  memset(path, 'x', sizeof path);
  path[0] = '/';
  cr_assert(path_valid((struct slice){path, 1 + NAME_SIZE_LIMIT}));
  cr_assert(!path_valid((struct slice){path, 2 + NAME_SIZE_LIMIT}));
  for (size_t i = 0; i < sizeof path; i += 16)
    path[i] = '/';
  cr_assert(path_valid((struct slice){path, PATH_SIZE_LIMIT}));
  path[PATH_SIZE_LIMIT] = 'x';
  cr_assert(!path_valid((struct slice){path, PATH_SIZE_LIMIT + 1}));
}

Test(path, components) {
  struct slice path = text("/a/bc/d"), name;
  cr_assert(path_next(&path, &name) && name.size == 1 && memcmp(name.data, "a", 1) == 0);
  cr_assert(path_next(&path, &name) && name.size == 2 && memcmp(name.data, "bc", 2) == 0);
  cr_assert(path_next(&path, &name) && name.size == 1 && memcmp(name.data, "d", 1) == 0);
  cr_assert(!path_next(&path, &name));
  path = text("/");
  cr_assert(!path_next(&path, &name));
}

Test(path, lies_under) {
  cr_assert(path_lies_under(text("/a/b"), text("/a")));
  cr_assert(path_lies_under(text("/a/b/c"), text("/a/b")));
  cr_assert(!path_lies_under(text("/a"), text("/a")));
  cr_assert(!path_lies_under(text("/ab"), text("/a")));
  cr_assert(!path_lies_under(text("/b/a"), text("/a")));
}
