/* primary_requests.c: a request is kept in one piece of memory until it is answered. */
#include <stdlib.h>

#include "master/primary_internal.h"

static struct slice copy_slice(char **at, struct slice slice) {
  char *copy = *at;
  if (slice.size)
    memcpy(copy, slice.data, slice.size);
  *at += slice.size;
  return (struct slice){copy, slice.size};
}

static size_t text_size(const struct request *request) {
  return request->path.size + request->destination.size + request->value.size + request->address.size;
}

static void copy_text(char **at, struct request *request) {
  request->path = copy_slice(at, request->path);
  request->destination = copy_slice(at, request->destination);
  request->value = copy_slice(at, request->value);
  request->address = copy_slice(at, request->address);
}

/* The items, room for the number each answers, and their text. Items have no items themselves. */
static char *copy_items(struct pending *pending, const struct request *items, size_t count) {
  struct request *copies = (struct request *)pending->bytes;
  uint64_t *numbers = (uint64_t *)(copies + count);
  char *at = (char *)(numbers + count);
  for (size_t i = 0; i < count; i++) {
    copies[i] = items[i];
    copy_text(&at, &copies[i]);
  }
  pending->request.items = copies;
  pending->outcome.numbers = numbers;
  return at;
}

static const uint64_t *copy_ids(char **at, const uint64_t *ids, size_t count) {
  return (const uint64_t *)(const void *)copy_slice(at,
                                                    (struct slice){(const char *)ids, count * sizeof *ids})
      .data;
}

struct pending *primary_copy_request(struct primary *primary, const struct request *request) {
  size_t size = text_size(request) + request->item_count * (sizeof *request + sizeof(uint64_t)) +
                (request->held_count + request->removed_count) * sizeof(uint64_t);
  for (size_t i = 0; i < request->item_count; i++)
    size += text_size(&request->items[i]);
  struct pending *pending = xmalloc(sizeof *pending + size);
  *pending = (struct pending){.primary = primary, .request = *request, .size = size};
  char *at = pending->bytes;
  if (request->item_count > 0)
    at = copy_items(pending, request->items, request->item_count);
  pending->request.held = copy_ids(&at, request->held, request->held_count);
  pending->request.removed = copy_ids(&at, request->removed, request->removed_count);
  copy_text(&at, &pending->request);
  return pending;
}
