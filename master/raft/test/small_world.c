#include "master/raft/test/small_world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK 64 /* bytes that a torn write keeps or loses together: finer than any disk */

struct node;

/* `happens` is false when the world ends before the event's time: it only frees what it owns then. */
struct event {
  int64_t at_ns;
  uint64_t sequence;
  void (*run)(void *owner, bool happens);
  void *owner;
};

struct timer {
  struct node *node;
  void (*fired)(void *owner);
  void *owner;
  uint64_t setting; /* an alarm of an earlier one is void */
  size_t alarms;    /* events that know of it */
  bool freed;
};

struct alarm {
  struct timer *timer;
  uint64_t setting;
  uint64_t life;
};

struct file {
  char name[64];
  struct bytes content; /* what is durable */
};

struct disk_file {
  struct node *node;
  char name[64];
};

enum request_kind { REQUEST_CREATE, REQUEST_WRITE, REQUEST_FETCH, REQUEST_REMOVE, REQUEST_CLOSE };

struct request {
  struct request *next;
  enum request_kind kind;
  struct disk_file *file;
  char name[64];
  uint64_t offset, size;
  struct bytes data; /* to write */
  void *buffer;      /* to read into */
  void (*done)(void *owner, int status);
  void (*created)(void *owner, int status, struct disk_file *file);
  void *owner;
};

struct call {
  void (*run)(void *owner);
  void *owner;
};

struct node {
  struct small_world *small;
  struct world door;
  size_t number;
  bool alive;
  uint64_t life;
  int64_t paused_until_ns;
  void (*received)(void *owner, uint64_t peer, const void *frame, size_t size);
  void *receiver;
  struct call *calls; /* deferred */
  size_t call_count, call_capacity;
  struct file *files;
  size_t file_count;
  struct request *first, **end; /* of the disk; the first one is under way */
  bool full, refuses_all, sync_broken;
};

struct small_world {
  struct random random;
  int64_t now_ns;
  uint64_t sequence;
  struct event *heap;
  size_t event_count, event_capacity;
  struct small_world_weather weather;
  bool link[NODES_MAX][NODES_MAX]; /* from, to */
  struct node nodes[NODES_MAX];
  size_t node_count;
};

/* An event of one life of a node. */
struct moment {
  struct node *node;
  uint64_t life;
};

/* -- events: a binary heap ------------------------------------------------------------------------------ */

static bool earlier(const struct event *left, const struct event *right) {
  return left->at_ns != right->at_ns ? left->at_ns < right->at_ns : left->sequence < right->sequence;
}

static void schedule(struct small_world *world, int64_t at_ns, void (*run)(void *owner, bool happens),
                     void *owner) {
  if (world->event_count == world->event_capacity) {
    world->event_capacity = world->event_capacity ? world->event_capacity * 2 : 256;
    world->heap = xrealloc(world->heap, world->event_capacity * sizeof *world->heap);
  }
  const struct event event = {.at_ns = at_ns < world->now_ns ? world->now_ns : at_ns,
                              .sequence = world->sequence++,
                              .run = run,
                              .owner = owner};
  size_t i = world->event_count++;
  for (; i > 0 && earlier(&event, &world->heap[(i - 1) / 2]); i = (i - 1) / 2)
    world->heap[i] = world->heap[(i - 1) / 2];
  world->heap[i] = event;
}

static struct event pop_event(struct small_world *world) {
  const struct event first = world->heap[0];
  const struct event last = world->heap[--world->event_count];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= world->event_count)
      break;
    if (child + 1 < world->event_count && earlier(&world->heap[child + 1], &world->heap[child]))
      child++;
    if (!earlier(&world->heap[child], &last))
      break;
    world->heap[i] = world->heap[child];
    i = child;
  }
  world->heap[i] = last;
  return first;
}

void small_world_run(struct small_world *world, int64_t until_ns) {
  while (world->event_count > 0 && world->heap[0].at_ns <= until_ns) {
    const struct event event = pop_event(world);
    world->now_ns = event.at_ns;
    event.run(event.owner, true);
  }
  if (world->now_ns < until_ns)
    world->now_ns = until_ns;
}

static void outside_call(void *owner, bool happens) {
  struct call *call = owner;
  if (happens)
    call->run(call->owner);
  free(call);
}

void small_world_at(struct small_world *world, int64_t at_ns, void (*run)(void *owner), void *owner) {
  struct call *call = xmalloc(sizeof *call);
  *call = (struct call){.run = run, .owner = owner};
  schedule(world, at_ns, outside_call, call);
}

int64_t small_world_now_ns(const struct small_world *world) {
  return world->now_ns;
}

struct random *small_world_random(struct small_world *world) {
  return &world->random;
}

void small_world_set_weather(struct small_world *world, const struct small_world_weather *weather) {
  world->weather = *weather;
}

static int64_t draw_ns(struct small_world *world, int64_t base_ns, int64_t jitter_ns) {
  return base_ns + (int64_t)random_below(&world->random, (uint64_t)jitter_ns + 1);
}

static struct moment *this_moment(struct node *node) {
  struct moment *moment = xmalloc(sizeof *moment);
  *moment = (struct moment){.node = node, .life = node->life};
  return moment;
}

/* The node, when the moment's life is still the present one. */
static struct node *end_moment(struct moment *moment, bool happens) {
  struct node *node = moment->node;
  const bool current = happens && node->alive && node->life == moment->life;
  free(moment);
  return current ? node : NULL;
}

void small_world_pause(struct small_world *world, size_t node, int64_t until_ns) {
  world->nodes[node].paused_until_ns = until_ns;
}

bool small_world_paused(const struct small_world *world, size_t node) {
  return world->now_ns < world->nodes[node].paused_until_ns;
}

/* What happens to a paused node is put off. */
static bool put_off(struct node *node, bool happens, void (*run)(void *owner, bool happens), void *owner) {
  if (!happens || !node->alive || !small_world_paused(node->small, node->number))
    return false;
  schedule(node->small, node->paused_until_ns, run, owner);
  return true;
}

/* -- time, chance, deferred calls ----------------------------------------------------------------------- */

static int64_t now_ns(void *context) {
  return ((struct node *)context)->small->now_ns;
}

static int64_t wall_ns(void *context) {
  return now_ns(context) + INT64_C(1700000000000000000);
}

static uint64_t random_bits(void *context) {
  return random_next(&((struct node *)context)->small->random);
}

static struct timer *timer_new(void *context, void (*fired)(void *owner), void *owner) {
  struct timer *timer = xcalloc(1, sizeof *timer);
  *timer = (struct timer){.node = context, .fired = fired, .owner = owner};
  return timer;
}

static void ring(void *owner, bool happens) {
  struct alarm *alarm = owner;
  struct timer *timer = alarm->timer;
  if (!timer->freed && put_off(timer->node, happens, ring, owner))
    return;
  timer->alarms--;
  if (timer->freed) {
    if (timer->alarms == 0)
      free(timer);
  } else if (happens && timer->setting == alarm->setting && timer->node->alive &&
             timer->node->life == alarm->life) {
    timer->fired(timer->owner);
  }
  free(alarm);
}

static void timer_set(struct timer *timer, int64_t at_ns) {
  struct alarm *alarm = xmalloc(sizeof *alarm);
  timer->alarms++;
  *alarm = (struct alarm){.timer = timer, .setting = ++timer->setting, .life = timer->node->life};
  schedule(timer->node->small, at_ns, ring, alarm);
}

static void timer_clear(struct timer *timer) {
  timer->setting++;
}

static void timer_free(struct timer *timer) {
  timer->freed = true;
  if (timer->alarms == 0)
    free(timer);
}

static void run_calls(struct node *node) {
  struct call *calls = node->calls;
  const size_t count = node->call_count;
  node->calls = NULL;
  node->call_count = node->call_capacity = 0;
  for (size_t i = 0; i < count; i++)
    calls[i].run(calls[i].owner);
  free(calls);
}

static void turn(void *owner, bool happens) {
  if (put_off(((struct moment *)owner)->node, happens, turn, owner))
    return;
  struct node *node = end_moment(owner, happens);
  if (node)
    run_calls(node);
}

static void defer(void *context, void (*run)(void *owner), void *owner) {
  struct node *node = context;
  if (node->call_count == node->call_capacity) {
    node->call_capacity = node->call_capacity ? node->call_capacity * 2 : 8;
    node->calls = xrealloc(node->calls, node->call_capacity * sizeof *node->calls);
  }
  node->calls[node->call_count++] = (struct call){.run = run, .owner = owner};
  if (node->call_count == 1 && node->alive)
    schedule(node->small, node->small->now_ns + draw_ns(node->small, 0, 20000), turn, this_moment(node));
}

/* -- network -------------------------------------------------------------------------------------------- */

struct frame {
  struct small_world *world;
  size_t from, to;
  size_t size;
  unsigned char data[];
};

static void deliver(void *owner, bool happens) {
  struct frame *frame = owner;
  struct node *node = &frame->world->nodes[frame->to];
  if (put_off(node, happens, deliver, owner))
    return;
  if (happens && node->alive && node->received && frame->world->link[frame->from][frame->to])
    node->received(node->receiver, frame->from + 1, frame->data, frame->size);
  free(frame);
}

static void send_copy(struct node *node, size_t to, const struct iovec *vectors, size_t vector_count,
                      size_t size) {
  struct small_world *world = node->small;
  struct frame *frame = xmalloc(sizeof *frame + size);
  *frame = (struct frame){.world = world, .from = node->number, .to = to, .size = size};
  unsigned char *at = frame->data;
  for (size_t i = 0; i < vector_count; i++) {
    if (vectors[i].iov_len > 0)
      memcpy(at, vectors[i].iov_base, vectors[i].iov_len);
    at += vectors[i].iov_len;
  }
  schedule(world, world->now_ns + draw_ns(world, world->weather.delay_ns, world->weather.jitter_ns), deliver,
           frame);
}

static void send_frame(void *context, uint64_t peer, const struct iovec *vectors, size_t vector_count) {
  struct node *node = context;
  struct small_world *world = node->small;
  assert(peer >= 1 && peer <= world->node_count && peer != node->number + 1);
  const size_t to = (size_t)peer - 1;
  size_t size = 0;
  for (size_t i = 0; i < vector_count; i++)
    size += vectors[i].iov_len;
  if (!node->alive || !world->link[node->number][to] || random_chance(&world->random, world->weather.loss))
    return;
  send_copy(node, to, vectors, vector_count, size);
  if (random_chance(&world->random, world->weather.duplication))
    send_copy(node, to, vectors, vector_count, size);
}

static bool peer_ready(void *context, uint64_t peer) {
  const struct node *node = context;
  return node->small->link[node->number][peer - 1];
}

static void receive(void *context,
                    void (*received)(void *owner, uint64_t peer, const void *frame, size_t size),
                    void *owner) {
  struct node *node = context;
  node->received = received;
  node->receiver = owner;
}

void small_world_link(struct small_world *world, size_t from, size_t to, bool up) {
  world->link[from][to] = up;
}

void small_world_heal(struct small_world *world) {
  memset(world->link, true, sizeof world->link);
}

/* -- disk ----------------------------------------------------------------------------------------------- */

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

/* What the power leaves of the request under way. */
static void leave_half_done(struct node *node, struct request *request) {
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

static void start_request(struct node *node);

static void request_ends(void *owner, bool happens) {
  if (put_off(((struct moment *)owner)->node, happens, request_ends, owner))
    return;
  struct node *node = end_moment(owner, happens);
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
  int64_t takes_ns = draw_ns(world, world->weather.disk_ns, world->weather.disk_jitter_ns);
  if (random_chance(&world->random, world->weather.disk_stall))
    takes_ns *= 100;
  schedule(world, world->now_ns + takes_ns, request_ends, this_moment(node));
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

/* -- lives ---------------------------------------------------------------------------------------------- */

void small_world_crash(struct small_world *world, size_t number) {
  struct node *node = &world->nodes[number];
  assert(node->alive);
  node->alive = false;
  node->paused_until_ns = 0;
  node->received = NULL;
  node->sync_broken = false;
  if (node->first)
    leave_half_done(node, node->first);
}

void small_world_bury(struct small_world *world, size_t number, const bool *done) {
  struct node *node = &world->nodes[number];
  assert(!node->alive);
  while (!*done) {
    assert(node->first || node->call_count > 0);
    if (node->first)
      answer(node, pop_request(node), ERR_IO);
    else
      run_calls(node);
  }
  while (node->first) /* removals nobody waits for */
    answer(node, pop_request(node), ERR_IO);
}

void small_world_revive(struct small_world *world, size_t number) {
  struct node *node = &world->nodes[number];
  assert(!node->alive && !node->first && node->call_count == 0);
  node->alive = true;
  node->life++;
}

const struct world *small_world_door(struct small_world *world, size_t node) {
  return &world->nodes[node].door;
}

static void open_node(struct small_world *world, size_t number) {
  struct node *node = &world->nodes[number];
  *node = (struct node){.small = world, .number = number, .alive = true};
  node->end = &node->first;
  node->door = (struct world){.context = node,
                              .now_ns = now_ns,
                              .wall_ns = wall_ns,
                              .random = random_bits,
                              .timer_new = timer_new,
                              .timer_set = timer_set,
                              .timer_clear = timer_clear,
                              .timer_free = timer_free,
                              .defer = defer,
                              .disk_list = disk_list,
                              .disk_read = disk_read,
                              .disk_open = disk_open,
                              .disk_erase = disk_erase,
                              .disk_create = disk_create,
                              .disk_write = disk_write,
                              .disk_fetch = disk_fetch,
                              .disk_remove = disk_remove,
                              .disk_close = disk_close,
                              .send = send_frame,
                              .peer_ready = peer_ready,
                              .receive = receive};
}

struct small_world *small_world_new(uint64_t seed, size_t nodes) {
  assert(nodes >= 1 && nodes <= NODES_MAX);
  struct small_world *world = xcalloc(1, sizeof *world);
  random_seed(&world->random, seed);
  world->now_ns = 1000 * 1000 * 1000;
  world->node_count = nodes;
  world->weather = (struct small_world_weather){
      .delay_ns = 100000, .jitter_ns = 100000, .disk_ns = 100000, .disk_jitter_ns = 50000};
  small_world_heal(world);
  for (size_t i = 0; i < nodes; i++)
    open_node(world, i);
  return world;
}

void small_world_free(struct small_world *world) {
  while (world->event_count > 0) {
    const struct event event = pop_event(world);
    event.run(event.owner, false);
  }
  for (size_t i = 0; i < world->node_count; i++) {
    while (world->nodes[i].first)
      answer(&world->nodes[i], pop_request(&world->nodes[i]), ERR_IO);
    small_world_wipe(world, i);
    free(world->nodes[i].files);
    free(world->nodes[i].calls);
  }
  free(world->heap);
  free(world);
}
