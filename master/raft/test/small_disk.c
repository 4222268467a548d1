/* small_disk.c: the disks of the small world: one request after the other, and what a crash leaves of them.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/raft/test/small_world_internal.h"

#define BLOCK 64 /* bytes that a torn write keeps or loses together: finer than any disk */

static struct file *find_file(struct node *node, const char *name) {
  for (size_t i = 0; i < node->file_count; i++)
    if (strcmp(node->files[i].name, name) == 0)
      return &node->files[i];
  return NULL;
}

static void make_file(struct node *node, const char *name, uint64_t size) {
  assert(!find_file(node, name));
  node->files = xrealloc(node->files, (node->file_count + 1) * sizeof *node->files);
  struct file *file = &node->files[node->file_count++];
  *file = (struct file){0};
  snprintf(file->name, sizeof file->name, "%s", name);
  memset(bytes_reserve(&file->content, size + 1), 0, size);
  file->content.size = size;
}

static void drop_file(struct node *node, const char *name) {
  struct file *file = find_file(node, name);
  if (!file)
    return;
  bytes_free(&file->content);
  *file = node->files[--node->file_count];
}

static void write_bytes(struct file *file, uint64_t offset, const unsigned char *data, size_t size) {
  if (offset + size > file->content.size) {
    const size_t more = (size_t)(offset + size - file->content.size);
    memset(bytes_reserve(&file->content, more), 0, more);
    file->content.size += more;
  }
  memcpy(file->content.data + offset, data, size);
}

static int carry_out(struct node *node, struct request *request) {
  struct file *file = find_file(node, request->name);
  switch (request->kind) {
  case REQUEST_CREATE:
    if (node->full || file)
      return file ? ERR_IO : ERR_NO_SPACE;
    make_file(node, request->name, request->size);
    return 0;
  case REQUEST_WRITE:
    assert(file);
    if (node->sync_broken) {
      node->sync_broken = false;
      return ERR_IO;
    }
    if (node->full && node->refuses_all)
      return ERR_NO_SPACE;
    if (node->full && request->offset + request->data.size > file->content.size)
      return ERR_NO_SPACE;
    write_bytes(file, request->offset, request->data.data, request->data.size);
    return 0;
  case REQUEST_FETCH:
    assert(file);
    if (request->offset + request->size > file->content.size)
      return ERR_IO;
    memcpy(request->buffer, file->content.data + request->offset, request->size);
    return 0;
  case REQUEST_REMOVE:
    drop_file(node, request->name);
    return 0;
  case REQUEST_CLOSE:
    return 0;
  }
  return ERR_IO;
}

void small_disk_leave_half_done(struct node *node) {
  const struct request *request = node->first;
  struct random *random = &node->small->random;
  struct file *file = find_file(node, request->name);
  const size_t size = request->data.size;
  switch (request->kind) {
  case REQUEST_CREATE:
    if (!node->full && !file && random_chance(random, 0.5))
      make_file(node, request->name, random_chance(random, 0.5) ? request->size : 0);
    break;
  case REQUEST_REMOVE:
    if (random_chance(random, 0.5))
      drop_file(node, request->name);
    break;
  case REQUEST_WRITE: {
    const uint64_t how = random_below(random, 4);
    if (how == 0 || size == 0)
      break; /* nothing */
    if (how == 1) {
      write_bytes(file, request->offset, request->data.data, (size_t)random_below(random, size + 1));
      break;
    }
    for (size_t at = 0; at < size; at += BLOCK)
      if (random_chance(random, how == 2 ? 0.5 : 0.9))
        write_bytes(file, request->offset + at, request->data.data + at,
                    size - at < BLOCK ? size - at : BLOCK);
    break;
  }
  case REQUEST_FETCH:
  case REQUEST_CLOSE:
    break;
  }
}

static void answer(struct node *node, struct request *request, int status) {
  if (request->kind == REQUEST_CREATE) {
    struct disk_file *file = NULL;
    if (status == 0) {
      file = xcalloc(1, sizeof *file);
      file->node = node;
      snprintf(file->name, sizeof file->name, "%s", request->name);
    }
    request->created(request->owner, status, file);
  } else if (request->done) {
    request->done(request->owner, status);
  }
  bytes_free(&request->data);
  free(request);
}

static struct request *pop_request(struct node *node) {
  struct request *request = node->first;
  node->first = request->next;
  if (!node->first)
    node->end = &node->first;
  return request;
}

void small_disk_refuse_first(struct node *node) {
  answer(node, pop_request(node), ERR_IO);
}

static void start_request(struct node *node);

static void request_ends(void *owner, bool happens) {
  if (small_put_off(((struct moment *)owner)->node, happens, request_ends, owner))
    return;
  struct node *node = small_end_moment(owner, happens);
  if (!node)
    return;
  struct request *request = pop_request(node);
  const int status = carry_out(node, request);
  if (node->first)
    start_request(node);
  answer(node, request, status);
}

static void start_request(struct node *node) {
  struct small_world *world = node->small;
  int64_t takes_ns = small_draw_ns(world, world->weather.disk_ns, world->weather.disk_jitter_ns);
  if (random_chance(&world->random, world->weather.disk_stall))
    takes_ns *= 100;
  small_schedule(world, world->now_ns + takes_ns, request_ends, small_this_moment(node));
}

static struct request *ask(struct node *node, enum request_kind kind, const char *name) {
  struct request *request = xcalloc(1, sizeof *request);
  request->kind = kind;
  snprintf(request->name, sizeof request->name, "%s", name);
  const bool idle = !node->first;
  *node->end = request;
  node->end = &request->next;
  if (idle && node->alive)
    start_request(node);
  return request;
}

static void disk_create(void *context, const char *name, uint64_t reserve,
                        void (*done)(void *owner, int status, struct disk_file *file), void *owner) {
  struct request *request = ask(context, REQUEST_CREATE, name);
  request->size = reserve;
  request->created = done;
  request->owner = owner;
}

static void disk_write(struct disk_file *file, uint64_t offset, const struct iovec *vectors,
                       size_t vector_count, void (*done)(void *owner, int status), void *owner) {
  struct request *request = ask(file->node, REQUEST_WRITE, file->name);
  request->offset = offset;
  for (size_t i = 0; i < vector_count; i++)
    bytes_append(&request->data, vectors[i].iov_base, vectors[i].iov_len);
  request->done = done;
  request->owner = owner;
}

static void disk_fetch(struct disk_file *file, uint64_t offset, void *buffer, size_t size,
                       void (*done)(void *owner, int status), void *owner) {
  struct request *request = ask(file->node, REQUEST_FETCH, file->name);
  request->offset = offset;
  request->size = size;
  request->buffer = buffer;
  request->done = done;
  request->owner = owner;
}

static void disk_remove(void *context, const char *name) {
  ask(context, REQUEST_REMOVE, name);
}

static void disk_close(struct disk_file *file) {
  free(file);
}

static int disk_list(void *context, char ***names, size_t *count, struct error *error) {
  const struct node *node = context;
  (void)error;
  *names = xcalloc(node->file_count + 1, sizeof(char *));
  *count = node->file_count;
  for (size_t i = 0; i < node->file_count; i++)
    (*names)[i] = xstrdup(node->files[i].name);
  return 0;
}

static int disk_read(void *context, const char *name, struct bytes *content, struct error *error) {
  const struct file *file = find_file(context, name);
  if (!file)
    return error_set(error, ERR_NOT_FOUND, "%s: no such file", name);
  bytes_append(content, file->content.data, file->content.size);
  return 0;
}

static int disk_open(void *context, const char *name, struct disk_file **file, struct error *error) {
  if (!find_file(context, name))
    return error_set(error, ERR_NOT_FOUND, "%s: no such file", name);
  *file = xcalloc(1, sizeof **file);
  (*file)->node = context;
  snprintf((*file)->name, sizeof(*file)->name, "%s", name);
  return 0;
}

static int disk_erase(struct disk_file *file, uint64_t offset, uint64_t size, struct error *error) {
  struct file *content = find_file(file->node, file->name);
  (void)error;
  assert(offset + size <= content->content.size);
  memset(content->content.data + offset, 0, (size_t)size);
  return 0;
}

void small_world_fill_disk(struct small_world *world, size_t node, bool full) {
  world->nodes[node].full = full;
  world->nodes[node].refuses_all = random_chance(&world->random, 0.3);
}

void small_world_break_sync(struct small_world *world, size_t node) {
  world->nodes[node].sync_broken = true;
}

struct bytes *small_world_file(struct small_world *world, size_t node, const char *name) {
  struct file *file = find_file(&world->nodes[node], name);
  return file ? &file->content : NULL;
}

const char *small_world_file_name(struct small_world *world, size_t node, size_t n) {
  return n < world->nodes[node].file_count ? world->nodes[node].files[n].name : NULL;
}

struct bytes *small_world_make_file(struct small_world *world, size_t node, const char *name) {
  make_file(&world->nodes[node], name, 0);
  return &find_file(&world->nodes[node], name)->content;
}

void small_world_drop_file(struct small_world *world, size_t node, const char *name) {
  drop_file(&world->nodes[node], name);
}

void small_world_wipe(struct small_world *world, size_t node) {
  while (world->nodes[node].file_count > 0)
    drop_file(&world->nodes[node], world->nodes[node].files[0].name);
}

void small_disk_functions(struct world *door) {
  door->disk_list = disk_list;
  door->disk_read = disk_read;
  door->disk_open = disk_open;
  door->disk_erase = disk_erase;
  door->disk_create = disk_create;
  door->disk_write = disk_write;
  door->disk_fetch = disk_fetch;
  door->disk_remove = disk_remove;
  door->disk_close = disk_close;
}
