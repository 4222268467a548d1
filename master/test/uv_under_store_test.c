/* Real directories: what is told of them, what is left out, and what is out of reach. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/uv_under_store.h"

static char root[] = "/tmp/assay-under-XXXXXX";
static uv_loop_t loop;
static struct under_store *store;

struct seen {
  struct under_store_listing *listing;
  int status;
  bool ended;
  size_t files, directories, pieces, stop_after;
  uint64_t length;
  char message[128];
};

static const char *below(const char *name) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", root, name);
  return path;
}

static void write_file(const char *name, size_t size) {
  FILE *file = fopen(below(name), "w");
  cr_assert(file);
  for (size_t i = 0; i < size; i++)
    fputc('x', file);
  fclose(file);
}

static void begin(void) {
  cr_assert(mkdtemp(root));
  uv_loop_init(&loop);
  struct under_roots roots;
  struct error error;
  const char *const items[] = {root};
  cr_assert_eq(under_roots_set(&roots, items, 1, &error), 0);
  store = uv_under_store_new(&loop, &roots);
}

static void end(void) {
  struct error error;
  cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
  uv_under_store_free(store);
  cr_assert_eq(uv_loop_close(&loop), 0);
  cr_assert_eq(directory_remove(root, &error), 0, "%s", error.message);
}

static void on_piece(void *context, int status, const struct under_store_entry *entries, size_t count,
                     bool last, const struct error *error) {
  struct seen *seen = context;
  seen->status = status;
  seen->ended = last || status != 0;
  seen->pieces++;
  if (status != 0)
    snprintf(seen->message, sizeof seen->message, "%.100s", error->message);
  for (size_t i = 0; i < count; i++) {
    seen->files += entries[i].is_file;
    seen->directories += !entries[i].is_file;
    if (entries[i].is_file)
      seen->length += entries[i].length;
    cr_assert(entries[i].name.size > 0 && entries[i].mtime_ns > 0);
  }
  if (seen->ended || seen->pieces == seen->stop_after)
    store->functions->close(seen->listing);
  else
    store->functions->next(seen->listing);
}

static struct seen look(const char *path, size_t stop_after) {
  struct seen seen = {.stop_after = stop_after};
  seen.listing = store->functions->list(store, (struct slice){path, strlen(path)}, on_piece, &seen);
  store->functions->next(seen.listing);
  cr_assert_eq(seen.pieces, 0, "a callback from inside the call");
  uv_run(&loop, UV_RUN_DEFAULT);
  return seen;
}

static bool allowed(const char *path) {
  return store->functions->allows(store, (struct slice){path, strlen(path)});
}

Test(uv_under_store, tells_files_and_directories_and_nothing_else) {
  begin();
  write_file("a", 3);
  write_file("b", 4);
  cr_assert_eq(mkdir(below("d"), 0700), 0);
  write_file("d/c", 5);
  cr_assert_eq(symlink("a", below("link")), 0);
  cr_assert_eq(mkfifo(below("pipe"), 0600), 0);
  const struct seen seen = look(root, 0);
  cr_assert(seen.status == 0 && seen.ended);
  cr_assert(seen.files == 2 && seen.directories == 1 && seen.length == 7);
  cr_assert_eq(look(below("d"), 0).files, 1);
  end();
}

Test(uv_under_store, a_large_directory_comes_in_pieces) {
  begin();
  for (int i = 0; i < 3 * UNDER_STORE_PIECE; i++) {
    char name[16];
    snprintf(name, sizeof name, "%d", i);
    write_file(name, 0);
  }
  const struct seen seen = look(root, 0);
  cr_assert(seen.ended && seen.files == 3 * UNDER_STORE_PIECE);
  cr_assert_geq(seen.pieces, 3);
  const struct seen part = look(root, 1);
  cr_assert(part.pieces == 1 && part.files == UNDER_STORE_PIECE);
  end();
}

Test(uv_under_store, what_lies_outside_of_the_roots_is_out_of_reach) {
  begin();
  char path[300];
  cr_assert_eq(symlink("/etc", below("out")), 0);
  cr_assert_eq(mkdir(below("d"), 0700), 0);
  cr_assert_eq(symlink("d", below("in")), 0);
  cr_assert(allowed(root) && allowed(below("d")));
  cr_assert_not(allowed("/etc") || allowed("/") || allowed("/tmp") || allowed("etc"));
  snprintf(path, sizeof path, "%s/../..", root);
  cr_assert_not(allowed(path));
  snprintf(path, sizeof path, "%sx", root);
  cr_assert_not(allowed(path), "a name that begins alike");
  cr_assert_neq(look("/etc", 0).status, 0);
  cr_assert(look(below("out"), 0).status != 0, "no link is followed");
  cr_assert_neq(look(below("in"), 0).status, 0);
  end();
}

Test(uv_under_store, what_cannot_be_read_is_told) {
  begin();
  write_file("f", 1);
  const struct seen missing = look(below("nothing"), 0);
  cr_assert(missing.status != 0 && missing.pieces == 1);
  cr_assert(strstr(missing.message, "No such file"), "%s", missing.message);
  cr_assert_neq(look(below("f"), 0).status, 0);
  end();
}

Test(uv_under_store, a_listing_may_be_closed_while_it_is_being_read) {
  begin();
  struct seen seen = {0};
  seen.listing = store->functions->list(store, (struct slice){root, strlen(root)}, on_piece, &seen);
  store->functions->next(seen.listing);
  store->functions->close(seen.listing);
  uv_run(&loop, UV_RUN_DEFAULT);
  cr_assert_eq(seen.pieces, 0);
  end();
}

Test(uv_under_store, roots_are_directories_other_than_all) {
  struct under_roots roots;
  struct error error;
  for (size_t i = 0; i < 4; i++) {
    const char *const items[] = {(const char *const[]){"/", "data", "/data/", "/a/../b"}[i]};
    cr_assert_eq(under_roots_set(&roots, items, 1, &error), ERR_BAD_INPUT);
    cr_assert(strstr(error.message, "--mount-root"));
  }
}
