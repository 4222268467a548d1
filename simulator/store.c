/* store.c: a node's rows: a memory store that outlives the node's lives, and in front of it, in each life, a
 * queue of writes and checkpoints that take their time.
 *
 * Reads take their time too, each its own, so that they end in any order; what they see is what is stored at
 * their beginning or at their end.
 *
 * A step is taken whole, at the end of its time. A power loss lets the first few of those that wait be taken,
 * in their order, and loses the others. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "simulator/world_internal.h"

struct job {
  struct job *next;
  const struct store_row **rows; /* of a write */
  size_t count;
  store_write_done *written; /* or: */
  store_checkpoint_done *taken;
  void *context;
  struct store_checkpoint *checkpoint;
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

struct sim_store {
  struct row_store store;
  struct node *node;
  uint64_t life;
  struct event event;       /* the first job's end */
  struct jobs asked, ended; /* ended: wait for poll() */
  struct read *reads;       /* not ended */
  bool waits_for_room, failed, receiving;
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

static void take(struct sim_store *store, struct job *job) {
  struct row_store *kept = store->node->rows.kept;
  if (job->written) {
    for (size_t i = 0; i < job->count; i++)
      sim_fold(store->node->sim,
               checksum(job->rows[i]->bytes, job->rows[i]->key_size + job->rows[i]->value_size));
    kept->functions->write(kept, job->rows, job->count, kept_wrote, NULL);
  } else {
    kept->functions->checkpoint(kept, kept_took, job);
  }
  row_store_poll(kept);
}

/* The first job's step is taken, or fails: then no later one is taken. */
static void end_first(struct sim_store *store, int status) {
  struct job *job = pop(&store->asked);
  job->status = status == 0 && store->failed ? ERR_IO : status;
  if (job->status == 0)
    take(store, job);
  else if (job->written)
    store->failed = true;
  push(&store->ended, job);
}

/* What happens to the first job when it must end now. */
static int forced_status(const struct sim_store *store) {
  return store->node->disk.full && store->asked.first->written ? ERR_NO_SPACE : 0;
}

static void start_first(struct sim_store *store) {
  struct node *node = store->node;
  uint64_t draw = random_next(&node->rows.random);
  const int64_t most_ns = node->sim->options.weather.store_ns;
  const int64_t drawn_ns = most_ns / 2 + draw_up_to(&draw, most_ns);
  const double takes_ns = (double)drawn_ns * node->disk.factor;
  sim_schedule(node->sim, &store->event, node->sim->now_ns + (int64_t)fmin(takes_ns, DISK_SLOWEST_NS));
}

static void first_ends(struct event *event, bool happens) {
  struct sim_store *store = CONTAINER_OF(event, struct sim_store, event);
  if (!happens)
    return;
  if (store->asked.first->written && store->node->disk.full) {
    store->waits_for_room = true;
    if (sim_traced(store->node->sim))
      sim_tell(store->node->sim, "disk", (int)store->node->number, -1, 0, "the rows wait for room");
    return;
  }
  end_first(store, 0);
  if (store->asked.first)
    start_first(store);
  row_store_poll(&store->store);
}

static void ask(struct sim_store *store, const struct job *asked) {
  struct job *job = pool_take(&store->node->sim->pool, sizeof *job);
  *job = *asked;
  const bool idle = !store->asked.first;
  push(&store->asked, job);
  if (idle && lives(store))
    start_first(store);
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
    struct error error;
    if (job.status != 0)
      error_set(&error, (enum error_code)job.status, "%s",
                job.status == ERR_NO_SPACE ? "the disk of the tables is full"
                                           : "the disk of the tables is gone");
    if (job.written)
      job.written(job.context, job.status, job.status ? &error : NULL);
    else
      job.taken(job.context, job.checkpoint, job.status ? &error : NULL);
  }
}

static void store_drain(struct row_store *base, bool ending) {
  struct sim_store *store = store_of(base);
  sim_cancel(store->node->sim, &store->event);
  store->waits_for_room = false;
  while (store->asked.first || store->ended.first) {
    while (store->asked.first)
      end_first(store, !lives(store) ? ERR_IO : ending ? forced_status(store) : 0);
    store_poll(base);
  }
  sim_cancel(store->node->sim, &store->event);
  if (ending)
    end_reads(store);
}

/* -- the door ------------------------------------------------------------------------------------------- */

static void store_write(struct row_store *base, const struct store_row **rows, size_t count,
                        store_write_done *done, void *context) {
  ask(store_of(base), &(struct job){.rows = rows, .count = count, .written = done, .context = context});
}

static void store_checkpoint(struct row_store *base, store_checkpoint_done *done, void *context) {
  ask(store_of(base), &(struct job){.taken = done, .context = context});
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

static int receive_begin(struct row_store *base, const struct snapshot_file *files, size_t file_count,
                         struct error *error) {
  struct row_store *kept = kept_of(base);
  const int status = kept->functions->receive_begin(kept, files, file_count, error);
  store_of(base)->receiving = status == 0;
  return status;
}

static int receive_write(struct row_store *base, size_t file, uint64_t offset, const void *data, size_t size,
                         struct error *error) {
  struct row_store *kept = kept_of(base);
  if (!store_of(base)->receiving)
    return error_set(error, ERR_BAD_INPUT, "a piece of a snapshot that was not begun");
  if (store_of(base)->node->disk.full)
    return error_set(error, ERR_NO_SPACE, "the disk is full");
  return kept->functions->receive_write(kept, file, offset, data, size, error);
}

static int receive_install(struct row_store *base, struct error *error) {
  struct sim_store *store = store_of(base);
  struct row_store *kept = kept_of(base);
  if (!store->receiving)
    return error_set(error, ERR_BAD_INPUT, "a snapshot that was not begun is to be installed");
  store_drain(base, true);
  if (store->failed)
    return error_set(error, ERR_IO, "the store failed before the snapshot could be installed");
  store->receiving = false;
  return kept->functions->receive_install(kept, error);
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

/* Checkpoints are the memory store's own. */
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
                                                 .checkpoint_read = rows->kept->functions->checkpoint_read,
                                                 .checkpoint_close = rows->kept->functions->checkpoint_close,
                                                 .receive_begin = receive_begin,
                                                 .receive_write = receive_write,
                                                 .receive_install = receive_install,
                                                 .poll = store_poll,
                                                 .close = store_close};
}

struct row_store *sim_store(struct sim_world *world, size_t number) {
  struct node *node = &world->nodes[number];
  assert(node->alive && !node->rows.open);
  struct sim_store *store = xcalloc(1, sizeof *store);
  *store =
      (struct sim_store){.store = {.functions = &node->rows.functions},
                         .node = node,
                         .life = node->life,
                         .event = {.kind = EVENT_STORE, .run = first_ends, .node = node, .life = node->life}};
  store->asked.end = &store->asked.first;
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
    start_first(store);
}

/* The callers hear of it when they drain the store. */
void sim_rows_crash(struct node *node, bool orderly) {
  struct sim_store *store = node->rows.open;
  if (!store)
    return;
  sim_cancel(node->sim, &store->event);
  store->waits_for_room = false;
  if (orderly) {
    while (store->asked.first)
      end_first(store, forced_status(store));
    return;
  }
  for (struct job *job = store->asked.first; job && job->written && !store->failed && !node->disk.full;
       job = job->next) {
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
