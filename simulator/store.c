/* store.c: a node's rows: a memory store that outlives the node's lives, and in front of it, in each life, a
 * queue of writes and checkpoints that take their time, and one of what snapshots read and store.
 *
 * Reads take their time too, each its own, so that they end in any order; what they see is what is stored at
 * their beginning or at their end.
 *
 * A step is taken whole, at the end of its time. A power loss lets the first few of the writes that wait be
 * taken, in their order, and loses the others; of a snapshot's file that is not whole it may take the end, or
 * leave it damaged. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "simulator/world_internal.h"

enum job_kind { JOB_WRITE, JOB_CHECKPOINT, JOB_READ, JOB_BEGIN, JOB_STORE, JOB_PREPARE };

struct job {
  struct job *next;
  enum job_kind kind;
  union {
    store_write_done *written;
    store_checkpoint_done *taken;
    snapshot_read_done *read;
    snapshot_receive_done *received;
  } done;
  void *context;
  const struct store_row **rows;       /* of a write */
  size_t count;                        /* … or files of a snapshot that begins */
  struct store_checkpoint *checkpoint; /* taken, or read */
  uint64_t file, offset, index;
  struct snapshot_file *files;
  unsigned char *data; /* to store: owned */
  void *buffer;        /* to read into */
  size_t size;
  struct snapshot_range missing;
  int status;
};

struct jobs {
  struct job *first, **end;
};

struct read {
  struct event event;
  struct read *next;
  struct sim_store *store;
  store_read_run *run; /* NULL: it has seen what it sees */
  store_read_done *done;
  void *context;
};

/* Jobs that are done one after the other. */
struct lane {
  struct sim_store *store;
  struct event event; /* the first job's end */
  struct jobs asked;
};

struct sim_store {
  struct row_store store;
  struct node *node;
  uint64_t life;
  struct lane writes, transfers;
  struct jobs ended;  /* wait for poll() */
  struct read *reads; /* not ended */
  bool waits_for_room, failed;
};

static struct sim_store *store_of(struct row_store *store) {
  return CONTAINER_OF(store, struct sim_store, store);
}

static struct row_store *kept_of(struct row_store *store) {
  return store_of(store)->node->rows.kept;
}

static bool lives(const struct sim_store *store) {
  return store->node->alive && store->node->life == store->life;
}

/* -- jobs ----------------------------------------------------------------------------------------------- */

static void push(struct jobs *jobs, struct job *job) {
  job->next = NULL;
  *jobs->end = job;
  jobs->end = &job->next;
}

static struct job *pop(struct jobs *jobs) {
  struct job *job = jobs->first;
  jobs->first = job->next;
  if (!jobs->first)
    jobs->end = &jobs->first;
  return job;
}

static void kept_wrote(void *context, int status, const struct error *error) {
  (void)context;
  (void)error;
  assert(status == 0);
}

static void kept_took(void *context, struct store_checkpoint *checkpoint, const struct error *error) {
  (void)error;
  ((struct job *)context)->checkpoint = checkpoint;
}

static void kept_read(void *context, int status, const struct error *error) {
  (void)error;
  ((struct job *)context)->status = status;
}

static void kept_received(void *context, int status, const struct snapshot_range *missing,
                          const struct error *error) {
  struct job *job = context;
  (void)error;
  job->status = status;
  job->missing = *missing;
}

static void take(struct sim_store *store, struct job *job) {
  struct row_store *kept = store->node->rows.kept;
  switch (job->kind) {
  case JOB_WRITE:
    for (size_t i = 0; i < job->count; i++)
      sim_fold(store->node->sim,
               checksum(job->rows[i]->bytes, job->rows[i]->key_size + job->rows[i]->value_size));
    kept->functions->write(kept, job->rows, job->count, kept_wrote, NULL);
    break;
  case JOB_CHECKPOINT:
    kept->functions->checkpoint(kept, kept_took, job);
    break;
  case JOB_READ:
    kept->functions->checkpoint_read(kept, job->checkpoint, (size_t)job->file, job->offset, job->buffer,
                                     job->size, kept_read, job);
    break;
  case JOB_BEGIN:
    kept->functions->receive_begin(kept, job->index, job->files, job->count, kept_received, job);
    break;
  case JOB_STORE:
    kept->functions->receive_write(kept, job->file, job->offset, job->data, job->size, kept_received, job);
    break;
  case JOB_PREPARE:
    kept->functions->receive_prepare(kept, kept_received, job);
    break;
  }
  row_store_poll(kept);
}

/* The first job's step is taken, or fails. After a write that failed, no later one is taken. */
static void end_first(struct lane *lane, int status) {
  struct sim_store *store = lane->store;
  struct job *job = pop(&lane->asked);
  const bool steps = lane == &store->writes;
  job->status = status == 0 && steps && store->failed ? ERR_IO : status;
  if (job->status == 0)
    take(store, job);
  else if (job->kind == JOB_WRITE)
    store->failed = true;
  push(&store->ended, job);
}

/* What happens to the first job when it must end now. */
static int forced_status(const struct lane *lane) {
  const enum job_kind kind = lane->asked.first->kind;
  return lane->store->node->disk.full && (kind == JOB_WRITE || kind == JOB_STORE) ? ERR_NO_SPACE : 0;
}

static void start_first(struct lane *lane) {
  struct node *node = lane->store->node;
  uint64_t draw = random_next(&node->rows.random);
  const int64_t most_ns = node->sim->options.weather.store_ns / (lane == &lane->store->writes ? 1 : 8);
  const int64_t drawn_ns = most_ns / 2 + draw_up_to(&draw, most_ns);
  const double takes_ns = (double)drawn_ns * node->disk.factor;
  sim_schedule(node->sim, &lane->event, node->sim->now_ns + (int64_t)fmin(takes_ns, DISK_SLOWEST_NS));
}

static void first_ends(struct event *event, bool happens) {
  struct lane *lane = CONTAINER_OF(event, struct lane, event);
  struct sim_store *store = lane->store;
  if (!happens)
    return;
  if (lane->asked.first->kind == JOB_WRITE && store->node->disk.full) {
    store->waits_for_room = true;
    if (sim_traced(store->node->sim))
      sim_tell(store->node->sim, "disk", (int)store->node->number, -1, 0, "the rows wait for room");
    return;
  }
  end_first(lane, forced_status(lane));
  if (lane->asked.first)
    start_first(lane);
  row_store_poll(&store->store);
}

static void ask(struct lane *lane, const struct job *asked) {
  struct job *job = pool_take(&lane->store->node->sim->pool, sizeof *job);
  *job = *asked;
  const bool idle = !lane->asked.first;
  push(&lane->asked, job);
  if (idle && lives(lane->store))
    start_first(lane);
}

static const char *reason(int status) {
  return status == ERR_NO_SPACE  ? "the disk of the tables is full"
         : status == ERR_CORRUPT ? "what was received is not what was announced"
                                 : "the disk of the tables is gone";
}

static void report(const struct job *job) {
  struct error error;
  if (job->status != 0)
    error_set(&error, (enum error_code)job->status, "%s", reason(job->status));
  const struct error *told = job->status ? &error : NULL;
  switch (job->kind) {
  case JOB_WRITE:
    job->done.written(job->context, job->status, told);
    break;
  case JOB_CHECKPOINT:
    job->done.taken(job->context, job->checkpoint, told);
    break;
  case JOB_READ:
    job->done.read(job->context, job->status, told);
    break;
  case JOB_BEGIN:
  case JOB_STORE:
  case JOB_PREPARE:
    job->done.received(job->context, job->status, &job->missing, told);
    break;
  }
}

/* -- reads ---------------------------------------------------------------------------------------------- */

static void see(struct read *read) {
  if (read->run)
    read->run(read->context, &read->store->store);
  read->run = NULL;
}

static void end_read(struct read *read) {
  struct sim_world *sim = read->store->node->sim;
  struct read **at = &read->store->reads;
  while (*at != read)
    at = &(*at)->next;
  *at = read->next;
  see(read);
  store_read_done *const done = read->done;
  void *const context = read->context;
  pool_give(&sim->pool, read, sizeof *read);
  done(context);
}

static void read_ends(struct event *event, bool happens) {
  if (happens)
    end_read(CONTAINER_OF(event, struct read, event));
}

static void end_reads(struct sim_store *store) {
  while (store->reads) {
    sim_cancel(store->node->sim, &store->reads->event);
    end_read(store->reads);
  }
}

static void store_read(struct row_store *base, store_read_run *run, store_read_done *done, void *context) {
  struct sim_store *store = store_of(base);
  struct node *node = store->node;
  struct read *read = pool_take(&node->sim->pool, sizeof *read);
  *read = (struct read){.event = {.kind = EVENT_STORE, .run = read_ends, .node = node, .life = store->life},
                        .next = store->reads,
                        .store = store,
                        .run = run,
                        .done = done,
                        .context = context};
  store->reads = read;
  if (!lives(store))
    return;
  uint64_t draw = random_next(&node->rows.random);
  if (draw_chance(&draw, 0.5))
    see(read);
  const int64_t most_ns = node->sim->options.weather.store_ns;
  const double takes_ns = (double)draw_up_to(&draw, draw_chance(&draw, 0.5) ? most_ns / 10 : 2 * most_ns);
  sim_schedule(node->sim, &read->event,
               node->sim->now_ns + (int64_t)fmin(takes_ns * node->disk.factor, DISK_SLOWEST_NS));
}

static void store_poll(struct row_store *base) {
  struct sim_store *store = store_of(base);
  struct jobs due = store->ended;
  store->ended = (struct jobs){.end = &store->ended.first};
  while (due.first) {
    struct job job = *due.first;
    struct job *next = job.next;
    pool_give(&store->node->sim->pool, due.first, sizeof job);
    due.first = next;
    free(job.files);
    free(job.data);
    report(&job);
  }
}

static void store_drain(struct row_store *base, bool ending) {
  struct sim_store *store = store_of(base);
  struct lane *const lanes[] = {&store->writes, &store->transfers};
  store->waits_for_room = false;
  for (bool more = true; more;) {
    more = false;
    for (size_t i = 0; i < (ending ? 2u : 1u); i++) {
      sim_cancel(store->node->sim, &lanes[i]->event);
      more = more || lanes[i]->asked.first;
      while (lanes[i]->asked.first)
        end_first(lanes[i], !lives(store) ? ERR_IO : ending ? forced_status(lanes[i]) : 0);
    }
    more = more || store->ended.first;
    store_poll(base);
  }
  if (ending)
    end_reads(store);
}

/* -- the door ------------------------------------------------------------------------------------------- */

static void store_write(struct row_store *base, const struct store_row **rows, size_t count,
                        store_write_done *done, void *context) {
  ask(&store_of(base)->writes,
      &(struct job){
          .kind = JOB_WRITE, .rows = rows, .count = count, .done.written = done, .context = context});
}

static void store_checkpoint(struct row_store *base, store_checkpoint_done *done, void *context) {
  ask(&store_of(base)->writes, &(struct job){.kind = JOB_CHECKPOINT, .done.taken = done, .context = context});
}

static int store_get(struct row_store *base, enum table table, const void *key, size_t key_size,
                     struct bytes *value, struct error *error) {
  struct row_store *kept = kept_of(base);
  return kept->functions->get(kept, table, key, key_size, value, error);
}

static int store_scan(struct row_store *base, enum table table, const void *prefix, size_t prefix_size,
                      const void *from, size_t from_size, store_row_found *found, void *context,
                      struct error *error) {
  struct row_store *kept = kept_of(base);
  return kept->functions->scan(kept, table, prefix, prefix_size, from, from_size, found, context, error);
}

static void checkpoint_read(struct row_store *base, struct store_checkpoint *checkpoint, size_t file,
                            uint64_t offset, void *buffer, size_t size, snapshot_read_done *done,
                            void *owner) {
  ask(&store_of(base)->transfers, &(struct job){.kind = JOB_READ,
                                                .checkpoint = checkpoint,
                                                .file = file,
                                                .offset = offset,
                                                .buffer = buffer,
                                                .size = size,
                                                .done.read = done,
                                                .context = owner});
}

static void checkpoint_close(struct row_store *base, struct store_checkpoint *checkpoint) {
  struct row_store *kept = kept_of(base);
  kept->functions->checkpoint_close(kept, checkpoint);
}

static void receive_begin(struct row_store *base, uint64_t index, const struct snapshot_file *files,
                          size_t file_count, snapshot_receive_done *done, void *owner) {
  struct job job = {
      .kind = JOB_BEGIN, .count = file_count, .index = index, .done.received = done, .context = owner};
  job.files = xcalloc(file_count + 1, sizeof *job.files);
  if (file_count)
    memcpy(job.files, files, file_count * sizeof *files);
  ask(&store_of(base)->transfers, &job);
}

static void receive_write(struct row_store *base, uint64_t file, uint64_t offset, const void *data,
                          size_t size, snapshot_receive_done *done, void *owner) {
  struct job job = {.kind = JOB_STORE,
                    .file = file,
                    .offset = offset,
                    .size = size,
                    .done.received = done,
                    .context = owner};
  job.data = memcpy(xmalloc(size), data, size);
  ask(&store_of(base)->transfers, &job);
}

static void receive_prepare(struct row_store *base, snapshot_receive_done *done, void *owner) {
  ask(&store_of(base)->transfers,
      &(struct job){.kind = JOB_PREPARE, .done.received = done, .context = owner});
}

static int receive_install(struct row_store *base, struct error *error) {
  struct sim_store *store = store_of(base);
  struct row_store *kept = kept_of(base);
  store_drain(base, false);
  if (store->failed)
    return error_set(error, ERR_IO, "the store failed before the snapshot could be installed");
  return kept->functions->receive_install(kept, error);
}

static void receive_forget(struct row_store *base, uint64_t index) {
  struct row_store *kept = kept_of(base);
  kept->functions->receive_forget(kept, index);
}

static void store_close(struct row_store *base) {
  struct sim_store *store = store_of(base);
  store_drain(base, true);
  if (store->node->rows.open == store)
    store->node->rows.open = NULL;
  free(store);
}

/* -- lives ---------------------------------------------------------------------------------------------- */

static void never_wake(void *context) {
  (void)context;
}

static void open_kept(struct rows *rows) {
  rows->kept = memory_store_new(&(struct store_wake){.wake = never_wake});
}

void sim_rows_open(struct node *node) {
  struct rows *rows = &node->rows;
  sim_stream(node->sim, "rows", node->number, &rows->random);
  open_kept(rows);
  rows->functions = (struct row_store_functions){.write = store_write,
                                                 .drain = store_drain,
                                                 .get = store_get,
                                                 .scan = store_scan,
                                                 .read = store_read,
                                                 .checkpoint = store_checkpoint,
                                                 .checkpoint_read = checkpoint_read,
                                                 .checkpoint_close = checkpoint_close,
                                                 .receive_begin = receive_begin,
                                                 .receive_write = receive_write,
                                                 .receive_prepare = receive_prepare,
                                                 .receive_install = receive_install,
                                                 .receive_forget = receive_forget,
                                                 .poll = store_poll,
                                                 .close = store_close};
}

static void open_lane(struct sim_store *store, struct lane *lane) {
  const struct node *node = store->node;
  lane->store = store;
  lane->event =
      (struct event){.kind = EVENT_STORE, .run = first_ends, .node = store->node, .life = node->life};
  lane->asked.end = &lane->asked.first;
}

struct row_store *sim_store(struct sim_world *world, size_t number) {
  struct node *node = &world->nodes[number];
  assert(node->alive && !node->rows.open);
  struct sim_store *store = xcalloc(1, sizeof *store);
  *store =
      (struct sim_store){.store = {.functions = &node->rows.functions}, .node = node, .life = node->life};
  open_lane(store, &store->writes);
  open_lane(store, &store->transfers);
  store->ended.end = &store->ended.first;
  node->rows.open = store;
  return &store->store;
}

void sim_rows_have_room(struct node *node) {
  struct sim_store *store = node->rows.open;
  if (!store || !store->waits_for_room)
    return;
  store->waits_for_room = false;
  if (lives(store))
    start_first(&store->writes);
}

/* The callers hear of it when they drain the store. */
void sim_rows_crash(struct node *node, bool orderly) {
  struct sim_store *store = node->rows.open;
  if (!store)
    return;
  sim_cancel(node->sim, &store->writes.event);
  sim_cancel(node->sim, &store->transfers.event);
  store->waits_for_room = false;
  if (orderly) {
    while (store->writes.asked.first)
      end_first(&store->writes, forced_status(&store->writes));
    return;
  }
  memory_store_lose_power(node->rows.kept, &node->rows.random);
  for (struct job *job = store->writes.asked.first;
       job && job->kind == JOB_WRITE && !store->failed && !node->disk.full; job = job->next) {
    if (random_chance(&node->rows.random, 0.5))
      break;
    take(store, job);
  }
}

void sim_rows_wipe(struct node *node) {
  assert(!node->rows.open);
  row_store_close(node->rows.kept);
  open_kept(&node->rows);
}

void sim_rows_free(struct node *node) {
  assert(!node->rows.open);
  row_store_close(node->rows.kept);
}
