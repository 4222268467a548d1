#include "fake_cluster.h"

#include <assert.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct fake_node *node_of(const struct journal *journal) {
  return CONTAINER_OF((struct journal *)journal, struct fake_node, journal);
}

/* -- the journal -- */

static int fake_start(struct journal *journal, struct error *error) {
  (void)journal;
  (void)error;
  return 0;
}

static int fake_append(struct journal *journal, const void *data, size_t size, void *token) {
  struct fake_node *node = node_of(journal);
  struct fake_cluster *cluster = node->cluster;
  assert(token && size > 0);
  if (!node->leads)
    return ERR_NOT_PRIMARY;
  if (node->append_status != 0)
    return node->append_status;
  if (node->unaware)
    return 0; /* it goes nowhere */
  if (cluster->count == cluster->capacity) {
    cluster->capacity = cluster->capacity ? 2 * cluster->capacity : 64;
    cluster->entries = xrealloc(cluster->entries, cluster->capacity * sizeof *cluster->entries);
  }
  struct fake_entry *entry = &cluster->entries[cluster->count++];
  *entry = (struct fake_entry){.term = cluster->term, .token = token, .node = node->number};
  bytes_append(&entry->data, data, size);
  return 0;
}

static void fake_ask_confirm(struct journal *journal,
                             void (*done)(void *context, int status, uint64_t read_index), void *context) {
  struct fake_node *node = node_of(journal);
  assert(node->confirm_count < ARRAY_SIZE(node->confirms));
  node->confirms[node->confirm_count++] = (struct fake_confirm){
      .done = done, .context = context, .term = node->cluster->term, .read_index = node->cluster->commit};
}

static size_t fake_in_flight(const struct journal *journal) {
  const struct fake_cluster *cluster = node_of(journal)->cluster;
  size_t size = 0;
  for (uint64_t i = cluster->commit; i < cluster->count; i++)
    size += cluster->entries[i].data.size;
  return size;
}

static struct journal_status fake_status(const struct journal *journal) {
  const struct fake_node *node = node_of(journal);
  const struct fake_cluster *cluster = node->cluster;
  return (struct journal_status){.role = node->leads ? JOURNAL_LEADER : JOURNAL_FOLLOWER,
                                 .term = cluster->term,
                                 .leader = cluster->leader + 1,
                                 .last_index = cluster->count,
                                 .commit_index = cluster->commit,
                                 .first_index = 1};
}

static void fake_durable_moved(struct journal *journal) {
  struct fake_node *node = node_of(journal);
  uint64_t index, term;
  node->machine->durable(node->machine->context, &index, &term);
  cr_assert_leq(index, node->applied);
}

static void fake_close(struct journal *journal, void (*done)(void *context), void *context) {
  (void)journal;
  done(context);
}

static const struct journal_functions fake_functions = {
    .start = fake_start,
    .append = fake_append,
    .confirm = fake_ask_confirm,
    .in_flight = fake_in_flight,
    .status = fake_status,
    .durable_moved = fake_durable_moved,
    .close = fake_close,
};

/* -- the world: time and deferred calls are all that the primary takes of it -- */

static int64_t fake_now(void *context) {
  const struct fake_node *node = context;
  return node->cluster->now_ns;
}

static void fake_defer(void *context, void (*run)(void *owner), void *owner) {
  struct fake_node *node = context;
  assert(node->deferred_count < ARRAY_SIZE(node->deferred));
  node->deferred[node->deferred_count++] = (struct fake_deferred){run, owner};
}

static struct timer *fake_timer_new(void *context, void (*fired)(void *owner), void *owner) {
  struct fake_node *node = context;
  struct timer *timer = xmalloc(sizeof *timer);
  *timer =
      (struct timer){.next = node->timers, .node = node, .fired = fired, .owner = owner, .at_ns = INT64_MAX};
  node->timers = timer;
  return timer;
}

static void fake_timer_set(struct timer *timer, int64_t at_ns) {
  timer->at_ns = at_ns;
}

static void fake_timer_clear(struct timer *timer) {
  timer->at_ns = INT64_MAX;
}

static void fake_timer_free(struct timer *timer) {
  struct timer **at = &timer->node->timers;
  while (*at != timer)
    at = &(*at)->next;
  *at = timer->next;
  free(timer);
}

static void fire_timers(struct fake_node *node) {
  for (struct timer *timer = node->timers; timer;) {
    if (timer->at_ns > node->cluster->now_ns) {
      timer = timer->next;
      continue;
    }
    timer->at_ns = INT64_MAX;
    timer->fired(timer->owner);
    timer = node->timers;
  }
}

static void fake_wake(void *context) {
  (void)context; /* fake_run() polls anyway */
}

static void fake_fatal(void *context, const struct error *error) {
  (void)context;
  cr_assert_fail("fatal: %s", error->message);
}

bool fake_run(struct fake_node *node) {
  struct fake_deferred due[ARRAY_SIZE(node->deferred)];
  const size_t count = node->deferred_count;
  memcpy(due, node->deferred, count * sizeof *due);
  node->deferred_count = 0;
  for (size_t i = 0; i < count; i++)
    due[i].run(due[i].owner);
  fire_timers(node);
  row_store_poll(node->store);
  return delayed_reads_end_some(&node->delayed, 0.6) || count > 0;
}

void fake_settle(struct fake_cluster *cluster) {
  for (size_t i = 0; i < FAKE_NODES; i++)
    while (fake_run(&cluster->nodes[i]))
      continue;
}

/* -- nodes -- */

static void open_node(struct fake_node *node) {
  const struct store_wake wake = {fake_wake, node};
  struct error error;
  if (node->directory)
    cr_assert_eq(rocksdb_store_open(node->directory, &wake, &node->store, &error), 0, "%s", error.message);
  else if (!node->store)
    node->store = memory_store_new(&wake);
  delayed_reads_begin(&node->delayed, node->store);
  node->under_store = memory_under_store_new(
      &(struct memory_under_store_options){.world = &node->world,
                                           .tree = &node->cluster->under,
                                           .seed = node->cluster->count + node->number,
                                           .piece_max = node->cluster->cache_size == 0 ? 0 : 4,
                                           .fail_chance = &node->cluster->under_fails,
                                           .hangs = &node->cluster->under_hangs});
  const struct primary_options options = {.world = &node->world,
                                          .store = node->store,
                                          .under_store = node->under_store,
                                          .cache_size = node->cluster->cache_size,
                                          .write_size = node->cluster->write_size};
  cr_assert_eq(primary_new(&options, &node->primary, &error), 0, "%s", error.message);
  primary_on_fatal(node->primary, fake_fatal, NULL);
  primary_attach(node->primary, &node->journal);
  node->machine = primary_state_machine(node->primary);
  uint64_t term;
  node->machine->durable(node->machine->context, &node->applied, &term);
}

static void close_node(struct fake_node *node) {
  node->leads = node->unaware = false;
  node->confirm_count = 0;
  primary_free(node->primary);
  while (fake_run(node))
    continue;
  memory_under_store_free(node->under_store);
}

struct fake_cluster *fake_cluster_new(const char *directory, size_t cache_size, size_t write_size) {
  struct fake_cluster *cluster = xcalloc(1, sizeof *cluster);
  cluster->cache_size = cache_size;
  cluster->write_size = write_size;
  cluster->leader = FAKE_NODES;
  for (size_t i = 0; i < FAKE_NODES; i++) {
    struct fake_node *node = &cluster->nodes[i];
    node->journal.functions = &fake_functions;
    node->cluster = cluster;
    node->number = i;
    random_seed(&node->delayed.random, cache_size + write_size + i);
    node->world = (struct world){.context = node,
                                 .now_ns = fake_now,
                                 .wall_ns = fake_now,
                                 .timer_new = fake_timer_new,
                                 .timer_set = fake_timer_set,
                                 .timer_clear = fake_timer_clear,
                                 .timer_free = fake_timer_free,
                                 .defer = fake_defer};
    if (directory) {
      char name[16];
      snprintf(name, sizeof name, "%zu", i);
      node->directory = path_join(directory, name);
    }
    open_node(node);
  }
  return cluster;
}

void fake_cluster_free(struct fake_cluster *cluster) {
  for (size_t i = 0; i < FAKE_NODES; i++) {
    close_node(&cluster->nodes[i]);
    row_store_close(cluster->nodes[i].store);
    free(cluster->nodes[i].directory);
  }
  for (size_t i = 0; i < cluster->count; i++)
    bytes_free(&cluster->entries[i].data);
  free(cluster->entries);
  under_tree_free(&cluster->under);
  free(cluster);
}

void fake_tell(struct fake_node *node) {
  if (!node->unaware)
    return;
  node->unaware = node->leads = false;
  node->machine->role(node->machine->context, JOURNAL_FOLLOWER, node->cluster->term, 0);
}

bool fake_deliver(struct fake_node *node) {
  struct fake_cluster *cluster = node->cluster;
  if (node->applied >= cluster->commit)
    return false;
  fake_tell(node);
  struct fake_entry *entry = &cluster->entries[node->applied++];
  void *token = NULL;
  if (node->leads && entry->node == node->number && entry->term == cluster->term) {
    token = entry->token;
    entry->token = NULL;
  }
  node->machine->committed(node->machine->context, node->applied, entry->term, entry->data.data,
                           entry->data.size, token);
  return true;
}

void fake_confirm(struct fake_node *node) {
  struct fake_confirm confirms[ARRAY_SIZE(node->confirms)];
  const size_t count = node->confirm_count;
  memcpy(confirms, node->confirms, count * sizeof *confirms);
  node->confirm_count = 0;
  for (size_t i = 0; i < count; i++) {
    const struct fake_cluster *cluster = node->cluster;
    const bool has_leader = node->leads || cluster->leader < FAKE_NODES;
    const bool good = has_leader && !node->unaware && confirms[i].term == cluster->term;
    confirms[i].done(confirms[i].context, good ? 0 : ERR_NOT_PRIMARY, confirms[i].read_index);
  }
}

void fake_depose(struct fake_cluster *cluster) {
  if (cluster->leader == FAKE_NODES)
    return;
  struct fake_node *old = &cluster->nodes[cluster->leader];
  cluster->leader = FAKE_NODES;
  if (!old->leads)
    return;
  old->leads = false;
  old->machine->role(old->machine->context, JOURNAL_FOLLOWER, cluster->term, 0);
}

void fake_lead(struct fake_cluster *cluster, size_t number, size_t kept, bool silently) {
  if (silently && cluster->leader != number && cluster->leader < FAKE_NODES)
    cluster->nodes[cluster->leader].unaware = true;
  else
    fake_depose(cluster);
  fake_tell(&cluster->nodes[number]);
  while (cluster->count > cluster->commit + kept)
    bytes_free(&cluster->entries[--cluster->count].data);
  cluster->term++;
  cluster->leader = number;
  struct fake_node *node = &cluster->nodes[number];
  node->leads = true;
  node->machine->role(node->machine->context, JOURNAL_LEADER, cluster->term, number + 1);
}

void fake_quiesce(struct fake_cluster *cluster) {
  for (bool moved = true; moved;) {
    moved = false;
    fake_settle(cluster);
    if (cluster->commit < cluster->count) {
      cluster->commit = cluster->count;
      moved = true;
    }
    for (size_t i = 0; i < FAKE_NODES; i++) {
      fake_tell(&cluster->nodes[i]);
      while (fake_deliver(&cluster->nodes[i]))
        moved = true;
      if (cluster->nodes[i].confirm_count > 0)
        moved = true;
      fake_confirm(&cluster->nodes[i]);
      while (fake_run(&cluster->nodes[i]))
        moved = true;
    }
  }
}

void fake_crash(struct fake_node *node) {
  if (node->cluster->leader == node->number)
    node->cluster->leader = FAKE_NODES;
  close_node(node);
  if (node->directory)
    row_store_close(node->store);
  open_node(node);
}

/* -- snapshots -- */

struct transfer {
  struct snapshot *snapshot;
  bool done;
};

static void snapshot_opened(void *context, struct snapshot *snapshot, const struct error *error) {
  struct transfer *transfer = context;
  cr_assert(snapshot, "%s", error ? error->message : "");
  transfer->snapshot = snapshot;
  transfer->done = true;
}

struct call {
  bool done;
  struct snapshot_range missing;
};

static void was_read(void *owner, int status, const struct error *error) {
  cr_assert_eq(status, 0, "%s", error ? error->message : "");
  ((struct call *)owner)->done = true;
}

static void was_received(void *owner, int status, const struct snapshot_range *missing,
                         const struct error *error) {
  cr_assert_eq(status, 0, "%s", error ? error->message : "");
  *(struct call *)owner = (struct call){true, *missing};
}

static void await(struct fake_node *node, const struct call *call) {
  cr_assert(!call->done, "a callback from inside the call");
  while (!call->done) {
    fake_run(node);
    row_store_poll(node->store);
  }
}

/* Everything that is missing, piece by piece. */
static void copy_files(struct fake_node *from, struct snapshot *snapshot, const struct snapshot_file *files,
                       size_t file_count, struct fake_node *to, struct snapshot_range missing, size_t piece) {
  const struct state_machine *source = from->machine, *target = to->machine;
  unsigned char *buffer = xmalloc(SNAPSHOT_CHUNK);
  while (missing.file < file_count) {
    const uint64_t left = files[missing.file].size - missing.offset;
    const size_t size = left < piece ? (size_t)left : piece;
    struct call read = {0}, stored = {0};
    source->snapshot_read(snapshot, (size_t)missing.file, missing.offset, buffer, size, was_read, &read);
    await(from, &read);
    target->receive_write(target->context, missing.file, missing.offset, buffer, size, was_received, &stored);
    await(to, &stored);
    missing = stored.missing;
  }
  free(buffer);
}

void fake_transfer(struct fake_node *from, struct fake_node *to, size_t piece) {
  struct transfer transfer = {0};
  const struct state_machine *source = from->machine, *target = to->machine;
  source->snapshot_open(source->context, snapshot_opened, &transfer);
  while (!transfer.done) {
    fake_run(from);
    if (!transfer.done && from->directory)
      from->store->functions->drain(from->store, false);
  }
  uint64_t index, term;
  const struct snapshot_file *files;
  size_t file_count;
  source->snapshot_describe(transfer.snapshot, &index, &term, &files, &file_count);
  struct error error;
  if (index > to->applied) {
    struct call begun = {0}, prepared = {0};
    target->receive_begin(target->context, index, term, files, file_count, was_received, &begun);
    await(to, &begun);
    copy_files(from, transfer.snapshot, files, file_count, to, begun.missing, piece);
    target->receive_prepare(target->context, was_received, &prepared);
    await(to, &prepared);
    cr_assert_eq(target->receive_install(target->context, &error), 0, "%s", error.message);
    to->applied = index;
  }
  source->snapshot_close(transfer.snapshot);
}
