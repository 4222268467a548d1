#include "master/path.h"

#include <assert.h>
#include <string.h>

/* The number of bytes of the UTF-8 sequence at `at`, 0 when it is none (RFC 3629: no overlong form, no
 * surrogate, nothing above U+10FFFF). */
static size_t utf8_sequence(const unsigned char *at, size_t left) {
  const unsigned char lead = at[0];
  size_t size;
  unsigned char low = 0x80, high = 0xbf; /* of the second byte */
  if (lead < 0x80)
    return 1;
  if (lead >= 0xc2 && lead <= 0xdf) {
    size = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    size = 3;
    if (lead == 0xe0)
      low = 0xa0;
    if (lead == 0xed)
      high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    size = 4;
    if (lead == 0xf0)
      low = 0x90;
    if (lead == 0xf4)
      high = 0x8f;
  } else {
    return 0;
  }
  if (left < size || at[1] < low || at[1] > high)
    return 0;
  for (size_t i = 2; i < size; i++)
    if (at[i] < 0x80 || at[i] > 0xbf)
      return 0;
  return size;
}

static bool name_valid(const unsigned char *name, size_t size) {
  if (size == 0 || size > NAME_SIZE_LIMIT)
    return false;
  if (name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.')))
    return false;
  for (size_t i = 0; i < size;) {
    const size_t step = utf8_sequence(name + i, size - i);
    if (step == 0 || name[i] == '\0')
      return false;
    i += step;
  }
  return true;
}

bool path_valid(struct slice path) {
  if (path.size == 0 || path.size > PATH_SIZE_LIMIT || path.data[0] != '/')
    return false;
  if (path.size == 1)
    return true;
  const char *at = path.data + 1, *const end = path.data + path.size;
  for (;;) {
    const char *slash = memchr(at, '/', (size_t)(end - at));
    const char *stop = slash ? slash : end;
    if (!name_valid((const unsigned char *)at, (size_t)(stop - at)))
      return false;
    if (!slash)
      return true;
    at = slash + 1;
  }
}

bool path_next(struct slice *path, struct slice *name) {
  if (path->size <= 1)
    return false;
  assert(path->data[0] == '/');
  const char *at = path->data + 1, *const end = path->data + path->size;
  const char *slash = memchr(at, '/', (size_t)(end - at));
  const char *stop = slash ? slash : end;
  *name = (struct slice){at, (size_t)(stop - at)};
  *path = (struct slice){stop, (size_t)(end - stop)};
  return true;
}

bool path_lies_under(struct slice path, struct slice ancestor) {
  assert(!path_is_root(ancestor));
  return path.size > ancestor.size && path.data[ancestor.size] == '/' &&
         memcmp(path.data, ancestor.data, ancestor.size) == 0;
}
