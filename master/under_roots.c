#include "master/under_roots.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "master/path.h"

static struct slice slice_of(const char *text) {
  return (struct slice){text, strlen(text)};
}

int under_roots_set(struct under_roots *roots, const char *const *items, size_t count, struct error *error) {
  if (count > UNDER_ROOTS_LIMIT)
    return error_set(error, ERR_BAD_INPUT, "--mount-root may be given %d times at most", UNDER_ROOTS_LIMIT);
  for (size_t i = 0; i < count; i++) {
    const struct slice root = slice_of(items[i]);
    if (!path_valid(root) || path_is_root(root))
      return error_set(
          error, ERR_BAD_INPUT,
          "--mount-root takes an absolute directory other than /, without empty, '.' or '..' parts "
          "and without a slash at its end, not '%.400s'",
          items[i]);
    roots->items[i] = items[i];
  }
  roots->count = count;
  return 0;
}

const char *under_roots_find(const struct under_roots *roots, struct slice path) {
  for (size_t i = 0; i < roots->count; i++) {
    const struct slice root = slice_of(roots->items[i]);
    if (path_valid(path) && ((path.size == root.size && memcmp(path.data, root.data, root.size) == 0) ||
                             path_lies_under(path, root)))
      return roots->items[i];
  }
  return NULL;
}

int under_roots_open(const struct under_roots *roots, struct slice directory) {
  const char *root = under_roots_find(roots, directory);
  if (!root) {
    errno = EACCES;
    return -1;
  }
  int at = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct slice rest = {directory.data + strlen(root), directory.size - strlen(root)}, name;
  while (at >= 0 && path_next(&rest, &name)) {
    char text[NAME_SIZE_LIMIT + 1];
    memcpy(text, name.data, name.size);
    text[name.size] = '\0';
    const int below = openat(at, text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const int error_number = errno;
    close(at);
    at = below;
    errno = error_number;
  }
  return at;
}
