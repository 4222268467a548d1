/* disk.c: the nodes' disks: one request after the other, and what a crash leaves of them.
 *
 *   asked ──▶ first (under way, takes its time) ──▶ second ──▶ …
 *               │ power loss: nothing of it, a beginning, or scattered blocks
 *               └ of those behind it: nothing
 *
 * What a write points to is looked at when the write happens, as a real disk's thread does. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "simulator/world_internal.h"

#define BLOCK 64        /* bytes that a torn write keeps or loses together: finer than any disk */
#define STALL_TIMES 100 /* as long as others: a request that stalls */
#define REFUSES_ALL 0.3 /* chance that a full disk takes nothing at all, not even into reserved room */

enum request_kind { REQUEST_CREATE, REQUEST_WRITE, REQUEST_FETCH, REQUEST_REMOVE };

struct request {
  struct request *next;
  enum request_kind kind;
  bool carried_out; /* though not answered */
  int status;
  struct file *file; /* of writes and fetches */
  char name[64];     /* of creations and removals */
  uint64_t offset, size;
  void *buffer; /* to read into */
  void (*done)(void *owner, int status);
  void (*created)(void *owner, int status, struct disk_file *file);
  void *owner;
  size_t vector_count;
  struct iovec vectors[]; /* to write */
};

/* -- files ---------------------------------------------------------------------------------------------- */

static struct file *find_file(const struct node *node, const char *name) {
  for (size_t i = 0; i < node->disk.file_count; i++)
    if (strcmp(node->disk.files[i]->name, name) == 0)
      return node->disk.files[i];
  return NULL;
}

static struct file *make_file(struct node *node, const char *name, uint64_t size) {
  struct disk *disk = &node->disk;
  assert(!find_file(node, name) && strlen(name) < sizeof disk->files[0]->name);
  if (disk->file_count == disk->file_capacity) {
    disk->file_capacity = disk->file_capacity ? disk->file_capacity * 2 : 16;
    disk->files = xrealloc(disk->files, disk->file_capacity * sizeof *disk->files);
  }
  struct file *file = xcalloc(1, sizeof *file);
  disk->files[disk->file_count++] = file;
  snprintf(file->name, sizeof file->name, "%s", name);
  file->references = 1;
  file->content =
      (struct bytes){.data = xcalloc(size + 1, 1), .size = (size_t)size, .capacity = (size_t)size + 1};
  return file;
}

static void release(struct file *file) {
  assert(file->references > 0);
  if (--file->references > 0)
    return;
  bytes_free(&file->content);
  free(file);
}

static void drop_file(struct node *node, const char *name) {
  struct disk *disk = &node->disk;
  for (size_t i = 0; i < disk->file_count; i++)
    if (strcmp(disk->files[i]->name, name) == 0) {
      release(disk->files[i]);
      disk->files[i] = disk->files[--disk->file_count];
      return;
    }
}

static void write_bytes(struct file *file, uint64_t offset, const void *data, size_t size) {
  if (size == 0)
    return;
  assert(data);
  if (offset + size > file->content.size) {
    const size_t more = (size_t)(offset + size - file->content.size);
    memset(bytes_reserve(&file->content, more), 0, more);
    file->content.size += more;
  }
  memcpy(file->content.data + offset, data, size);
}

static size_t write_size(const struct request *request) {
  size_t size = 0;
  for (size_t i = 0; i < request->vector_count; i++)
    size += request->vectors[i].iov_len;
  return size;
}

/* -- carrying out --------------------------------------------------------------------------------------- */

/* What is left of a write whose end nobody knows: nothing, a beginning, or scattered blocks. */
static void write_in_part(struct node *node, const struct request *request) {
  struct random *random = &node->disk.random;
  struct bytes all = {0};
  for (size_t i = 0; i < request->vector_count; i++)
    bytes_append(&all, request->vectors[i].iov_base, request->vectors[i].iov_len);
  const uint64_t how = random_below(random, 4);
  if (how == 1)
    write_bytes(request->file, request->offset, all.data, (size_t)random_below(random, all.size + 1));
  for (size_t at = 0; how > 1 && at < all.size; at += BLOCK)
    if (random_chance(random, how == 2 ? 0.5 : 0.9))
      write_bytes(request->file, request->offset + at, all.data + at,
                  all.size - at < BLOCK ? all.size - at : BLOCK);
  bytes_free(&all);
}

static int do_write(struct node *node, const struct request *request) {
  struct disk *disk = &node->disk;
  const size_t size = write_size(request);
  if (disk->sync_broken) {
    disk->sync_broken = false;
    write_in_part(node, request);
    return ERR_IO;
  }
  if (disk->full && (disk->refuses_all || request->offset + size > request->file->content.size))
    return ERR_NO_SPACE;
  uint64_t offset = request->offset;
  for (size_t i = 0; i < request->vector_count; i++) {
    const struct iovec *vector = &request->vectors[i];
    write_bytes(request->file, offset, vector->iov_base, vector->iov_len);
    offset += vector->iov_len;
  }
  if (size > 0)
    sim_fold(node->sim, checksum(request->file->content.data + request->offset, size));
  return 0;
}

static int carry_out(struct node *node, const struct request *request) {
  switch (request->kind) {
  case REQUEST_CREATE:
    if (find_file(node, request->name))
      return ERR_IO;
    if (node->disk.full)
      return ERR_NO_SPACE;
    make_file(node, request->name, request->size);
    return 0;
  case REQUEST_WRITE:
    return do_write(node, request);
  case REQUEST_FETCH:
    if (request->offset + request->size > request->file->content.size)
      return ERR_IO;
    memcpy(request->buffer, request->file->content.data + request->offset, request->size);
    return 0;
  case REQUEST_REMOVE:
    drop_file(node, request->name);
    return 0;
  }
  return ERR_IO;
}

static void note(struct node *node, const struct request *request, const char *what) {
  static const char *const kinds[] = {"create", "write", "fetch", "remove"};
  if (sim_traced(node->sim))
    sim_tell(node->sim, "disk", (int)node->number, -1, 0, "%s %s at %zu, %zu bytes: %s", kinds[request->kind],
             request->file ? request->file->name : request->name, (size_t)request->offset,
             request->kind == REQUEST_WRITE ? write_size(request) : (size_t)request->size, what);
}

static void leave_half_done(struct node *node, const struct request *request) {
  struct random *random = &node->disk.random;
  note(node, request, "a crash");
  switch (request->kind) {
  case REQUEST_CREATE:
    if (!node->disk.full && !find_file(node, request->name) && random_chance(random, 0.5))
      make_file(node, request->name, random_chance(random, 0.5) ? request->size : 0);
    break;
  case REQUEST_REMOVE:
    if (random_chance(random, 0.5))
      drop_file(node, request->name);
    break;
  case REQUEST_WRITE:
    write_in_part(node, request);
    break;
  case REQUEST_FETCH:
    break;
  }
}

static struct disk_file *new_handle(struct node *node, struct file *file) {
  struct disk_file *handle = pool_take(&node->sim->pool, sizeof *handle);
  *handle = (struct disk_file){.node = node, .file = file};
  file->references++;
  return handle;
}

static size_t request_size(const struct request *request) {
  return sizeof *request + request->vector_count * sizeof request->vectors[0];
}

static void answer(struct node *node, struct request *request, int status) {
  if (request->kind == REQUEST_CREATE) {
    struct file *file = status == 0 ? find_file(node, request->name) : NULL;
    request->created(request->owner,
                     file          ? 0
                     : status != 0 ? status
                                   : ERR_IO,
                     file ? new_handle(node, file) : NULL);
  } else if (request->done) {
    request->done(request->owner, status);
  }
  if (request->file)
    release(request->file);
  pool_give(&node->sim->pool, request, request_size(request));
}

static struct request *pop_request(struct disk *disk) {
  struct request *request = disk->first;
  disk->first = request->next;
  if (!disk->first)
    disk->end = &disk->first;
  return request;
}

bool sim_disk_refuse_first(struct node *node) {
  assert(!node->alive);
  if (!node->disk.first)
    return false;
  struct request *request = pop_request(&node->disk);
  answer(node, request, request->carried_out ? request->status : ERR_IO);
  return true;
}

/* -- time ----------------------------------------------------------------------------------------------- */

static void start_first(struct node *node) {
  struct disk *disk = &node->disk;
  const struct weather *weather = &node->sim->options.weather;
  uint64_t draw = random_next(&disk->random);
  double takes_ns = (double)(weather->disk_ns + draw_up_to(&draw, weather->disk_jitter_ns)) * disk->factor;
  if (draw_chance(&draw, weather->disk_stall))
    takes_ns *= STALL_TIMES;
  disk->event.life = node->life;
  sim_schedule(node->sim, &disk->event, node->sim->now_ns + (int64_t)fmin(takes_ns, DISK_SLOWEST_NS));
}

static void first_ends(struct event *event, bool happens) {
  if (!happens)
    return;
  struct node *node = event->node;
  struct request *request = pop_request(&node->disk);
  const int status = carry_out(node, request);
  note(node, request, status == 0 ? "done" : error_name((enum error_code)status));
  if (node->disk.first)
    start_first(node);
  answer(node, request, status);
}

void sim_disk_crash(struct node *node, bool orderly) {
  struct disk *disk = &node->disk;
  sim_cancel(node->sim, &disk->event);
  if (!orderly && disk->first)
    leave_half_done(node, disk->first);
  for (struct request *request = disk->first; orderly && request; request = request->next) {
    request->carried_out = true;
    request->status = carry_out(node, request);
  }
  disk->sync_broken = false;
}

static void ask(struct node *node, const struct request *asked, const struct iovec *vectors) {
  struct disk *disk = &node->disk;
  struct request *request = pool_take(&node->sim->pool, request_size(asked));
  *request = *asked;
  assert(vectors || request->vector_count == 0);
  if (vectors)
    memcpy(request->vectors, vectors, request->vector_count * sizeof *vectors);
  if (request->file)
    request->file->references++;
  const bool idle = !disk->first;
  *disk->end = request;
  disk->end = &request->next;
  if (idle && node->alive)
    start_first(node);
}

/* -- the door ------------------------------------------------------------------------------------------- */

static void disk_create(void *context, const char *name, uint64_t reserve,
                        void (*done)(void *owner, int status, struct disk_file *file), void *owner) {
  struct request request = {.kind = REQUEST_CREATE, .size = reserve, .created = done, .owner = owner};
  snprintf(request.name, sizeof request.name, "%s", name);
  ask(context, &request, NULL);
}

static void disk_write(struct disk_file *file, uint64_t offset, const struct iovec *vectors,
                       size_t vector_count, void (*done)(void *owner, int status), void *owner) {
  ask(file->node,
      &(struct request){.kind = REQUEST_WRITE,
                        .file = file->file,
                        .offset = offset,
                        .vector_count = vector_count,
                        .done = done,
                        .owner = owner},
      vectors);
}

static void disk_fetch(struct disk_file *file, uint64_t offset, void *buffer, size_t size,
                       void (*done)(void *owner, int status), void *owner) {
  ask(file->node,
      &(struct request){.kind = REQUEST_FETCH,
                        .file = file->file,
                        .offset = offset,
                        .size = size,
                        .buffer = buffer,
                        .done = done,
                        .owner = owner},
      NULL);
}

static void disk_remove(void *context, const char *name) {
  struct request request = {.kind = REQUEST_REMOVE};
  snprintf(request.name, sizeof request.name, "%s", name);
  ask(context, &request, NULL);
}

static void disk_close(struct disk_file *handle) {
  release(handle->file);
  pool_give(&handle->node->sim->pool, handle, sizeof *handle);
}

static int disk_list(void *context, char ***names, size_t *count, struct error *error) {
  const struct node *node = context;
  (void)error;
  *names = xcalloc(node->disk.file_count + 1, sizeof(char *));
  *count = node->disk.file_count;
  for (size_t i = 0; i < node->disk.file_count; i++)
    (*names)[i] = xstrdup(node->disk.files[i]->name);
  return 0;
}

static int disk_read(void *context, const char *name, struct bytes *content, struct error *error) {
  const struct file *file = find_file(context, name);
  if (!file)
    return error_set(error, ERR_NOT_FOUND, "%s: no such file", name);
  bytes_append(content, file->content.data, file->content.size);
  return 0;
}

static int disk_open(void *context, const char *name, struct disk_file **handle, struct error *error) {
  struct file *file = find_file(context, name);
  if (!file)
    return error_set(error, ERR_NOT_FOUND, "%s: no such file", name);
  *handle = new_handle(context, file);
  return 0;
}

static int disk_settle(struct disk_file *handle, uint64_t offset, const void *data, uint64_t size,
                       struct error *error) {
  struct bytes *content = &handle->file->content;
  (void)error;
  assert(offset + size <= content->size);
  if (data && size > 0)
    memmove(content->data + offset, data, (size_t)size);
  else if (size > 0)
    memset(content->data + offset, 0, (size_t)size);
  return 0;
}

void sim_disk_functions(struct world *door) {
  door->disk_list = disk_list;
  door->disk_read = disk_read;
  door->disk_open = disk_open;
  door->disk_settle = disk_settle;
  door->disk_create = disk_create;
  door->disk_write = disk_write;
  door->disk_fetch = disk_fetch;
  door->disk_remove = disk_remove;
  door->disk_close = disk_close;
}

void sim_disk_open(struct node *node) {
  node->disk = (struct disk){
      .event = {.kind = EVENT_DISK, .run = first_ends, .node = node}, .end = &node->disk.first, .factor = 1};
  sim_stream(node->sim, "disk", node->number, &node->disk.random);
}

/* The world ends: whoever waits for an answer is gone. */
void sim_disk_free(struct node *node) {
  struct disk *disk = &node->disk;
  while (disk->first) {
    struct request *request = pop_request(disk);
    if (request->file)
      release(request->file);
    pool_give(&node->sim->pool, request, request_size(request));
  }
  while (disk->file_count > 0)
    drop_file(node, disk->files[0]->name);
  free(disk->files);
}

/* -- what faults do ------------------------------------------------------------------------------------- */

void sim_fill_disk(struct sim_world *world, size_t node, bool full) {
  struct disk *disk = &world->nodes[node].disk;
  if (full && !disk->full)
    disk->refuses_all = random_chance(&disk->random, REFUSES_ALL);
  disk->full = full;
  if (!full)
    sim_rows_have_room(&world->nodes[node]);
}

void sim_break_sync(struct sim_world *world, size_t node) {
  world->nodes[node].disk.sync_broken = true;
}

/* What is left of the request under way takes its time at the new speed. */
void sim_slow_disk(struct sim_world *world, size_t node, double factor) {
  struct disk *disk = &world->nodes[node].disk;
  assert(factor > 0);
  if (disk->event.position > 0) {
    const int64_t left_ns = world->queue.heap[disk->event.position - 1].at_ns - world->now_ns;
    sim_schedule(world, &disk->event, world->now_ns + (int64_t)((double)left_ns * factor / disk->factor));
  }
  disk->factor = factor;
}

struct bytes *sim_file(struct sim_world *world, size_t node, const char *name) {
  struct file *file = find_file(&world->nodes[node], name);
  return file ? &file->content : NULL;
}

const char *sim_file_name(struct sim_world *world, size_t node, size_t n) {
  const struct disk *disk = &world->nodes[node].disk;
  return n < disk->file_count ? disk->files[n]->name : NULL;
}

struct bytes *sim_make_file(struct sim_world *world, size_t node, const char *name) {
  return &make_file(&world->nodes[node], name, 0)->content;
}

void sim_drop_file(struct sim_world *world, size_t node, const char *name) {
  drop_file(&world->nodes[node], name);
}
