/* uv_under_store.c: lists directories on libuv's threads.
 *
 * Of a directory's entries regular files and directories are told; symbolic links, devices, sockets and pipes
 * are left out, and what goes away between being read and being looked at as well. A listing belongs to the
 * thread while a piece is being read, and to the loop otherwise. */
#include "master/uv_under_store.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct uv_under_store {
  struct under_store store; /* first */
  uv_loop_t *loop;
  struct under_roots roots;
};

struct under_store_listing {
  uv_work_t work; /* first */
  struct uv_under_store *store;
  struct bytes directory;
  under_store_piece *piece;
  void *context;
  bool busy, closed;
  /* -- of the thread -- */
  DIR *open;
  struct under_store_entry entries[UNDER_STORE_PIECE];
  struct bytes names; /* of the entries, one behind the other */
  size_t count, links;
  bool last;
  int error_number;
};

static struct uv_under_store *store_of(const struct under_store *store) {
  return (struct uv_under_store *)(uintptr_t)store;
}

/* -- on the thread -------------------------------------------------------------------------------------- */

static bool open_directory(struct under_store_listing *listing) {
  const struct slice directory = {(const char *)listing->directory.data, listing->directory.size};
  const int descriptor = under_roots_open(&listing->store->roots, directory);
  if (descriptor >= 0)
    listing->open = fdopendir(descriptor);
  if (!listing->open) {
    listing->error_number = errno;
    if (descriptor >= 0)
      close(descriptor);
  }
  return listing->open != NULL;
}

static void add_entry(struct under_store_listing *listing, const char *name) {
  struct stat status;
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
      fstatat(dirfd(listing->open), name, &status, AT_SYMLINK_NOFOLLOW) != 0)
    return;
  if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
    listing->links++;
    return;
  }
  listing->entries[listing->count++] =
      (struct under_store_entry){.name = {NULL, strlen(name)},
                                 .is_file = S_ISREG(status.st_mode),
                                 .length = (uint64_t)status.st_size,
                                 .mtime_ns = status.st_mtim.tv_sec * NS_PER_S + status.st_mtim.tv_nsec};
  bytes_append(&listing->names, name, strlen(name));
}

static void read_piece(uv_work_t *work) {
  struct under_store_listing *listing = (struct under_store_listing *)work;
  listing->count = 0;
  listing->error_number = 0;
  bytes_clear(&listing->names);
  if (!listing->open && !open_directory(listing))
    return;
  while (listing->count < UNDER_STORE_PIECE) {
    errno = 0;
    const struct dirent *entry = readdir(listing->open);
    if (!entry) {
      listing->last = errno == 0;
      listing->error_number = errno;
      break;
    }
    add_entry(listing, entry->d_name);
  }
  const char *name = (const char *)listing->names.data;
  for (size_t i = 0; i < listing->count; name += listing->entries[i++].name.size)
    listing->entries[i].name.data = name;
}

/* -- on the loop ---------------------------------------------------------------------------------------- */

static void free_listing(struct under_store_listing *listing) {
  if (listing->open)
    closedir(listing->open);
  bytes_free(&listing->directory);
  bytes_free(&listing->names);
  free(listing);
}

static void was_read(uv_work_t *work, int status) {
  (void)status;
  struct under_store_listing *listing = (struct under_store_listing *)work;
  listing->busy = false;
  if (listing->closed) {
    free_listing(listing);
    return;
  }
  if (listing->error_number != 0) {
    struct error error;
    error_set(&error, ERR_IO, "%s", strerror(listing->error_number));
    listing->piece(listing->context, ERR_IO, NULL, 0, false, &error);
    return;
  }
  if (listing->last && listing->links > 0)
    log_info(
        "%zu entries of the mounted directory %.*s are left out: they are symbolic links, devices, sockets or "
        "pipes",
        listing->links, (int)listing->directory.size, (const char *)listing->directory.data);
  listing->piece(listing->context, 0, listing->entries, listing->count, listing->last, NULL);
}

static bool allows(const struct under_store *store, struct slice directory) {
  return under_roots_find(&store_of(store)->roots, directory) != NULL;
}

static struct under_store_listing *list(struct under_store *store, struct slice directory,
                                        under_store_piece *piece, void *context) {
  struct under_store_listing *listing = xcalloc(1, sizeof *listing);
  listing->store = store_of(store);
  listing->piece = piece;
  listing->context = context;
  bytes_append(&listing->directory, directory.data, directory.size);
  return listing;
}

static void next(struct under_store_listing *listing) {
  assert(!listing->busy && !listing->last);
  listing->busy = true;
  uv_queue_work(listing->store->loop, &listing->work, read_piece, was_read);
}

static void close_listing(struct under_store_listing *listing) {
  listing->closed = true;
  if (!listing->busy)
    free_listing(listing);
}

struct under_store *uv_under_store_new(uv_loop_t *loop, const struct under_roots *roots) {
  static const struct under_store_functions functions = {
      .allows = allows, .list = list, .next = next, .close = close_listing};
  struct uv_under_store *store = xcalloc(1, sizeof *store);
  store->store.functions = &functions;
  store->loop = loop;
  store->roots = *roots;
  return &store->store;
}

void uv_under_store_free(struct under_store *store) {
  free(store_of(store));
}
