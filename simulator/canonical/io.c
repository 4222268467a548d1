/* io.c: the `struct raft_io` that libraft 0.15 drives: its log, its time and its chance. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "simulator/canonical/canonical.h"

/* -- time and chance ------------------------------------------------------------------------------------ */

static int64_t now_ns(const struct canonical *canonical) {
  return canonical->world->now_ns(canonical->world->context);
}

static raft_time time_ms(struct raft_io *io) {
  return (raft_time)(now_ns(io->impl) / 1000000);
}

static int draw(struct raft_io *io, int min, int max) {
  const struct canonical *canonical = io->impl;
  assert(min <= max);
  const uint64_t width = (uint64_t)(max - min) + 1;
  return min + (int)(canonical->world->random(canonical->world->context) % width);
}

static int start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb receive) {
  struct canonical *canonical = io->impl;
  canonical->ticked = tick;
  canonical->received = receive;
  canonical->tick_ns = (int64_t)msecs * 1000000;
  canonical->world->timer_set(canonical->tick, now_ns(canonical) + canonical->tick_ns);
  canonical->world->receive(canonical->world->context, canonical_frame_received, canonical);
  return 0;
}

/* -- frames that left ----------------------------------------------------------------------------------- */

void canonical_finish_sends(struct canonical *canonical) {
  /* libraft may send more from its callbacks; those end in the next turn. */
  struct raft_io_send **sends = canonical->sends;
  const size_t count = canonical->send_count;
  canonical->sends = NULL;
  canonical->send_count = canonical->send_capacity = 0;
  for (size_t i = 0; i < count; i++)
    if (sends[i]->cb)
      sends[i]->cb(sends[i], 0);
  free(sends);
}

/* -- the log -------------------------------------------------------------------------------------------- */

static int init(struct raft_io *io, raft_id id, const char *address) {
  (void)io, (void)id, (void)address;
  return 0;
}

static void close_io(struct raft_io *io, raft_io_close_cb done) {
  struct canonical *canonical = io->impl;
  canonical->io_closed = done;
  canonical_wake(canonical);
}

static struct raft_snapshot *load_snapshot(const struct logged_snapshot *from) {
  if (from->index == 0)
    return NULL;
  struct raft_snapshot *snapshot = raft_calloc(1, sizeof *snapshot);
  snapshot->index = from->index;
  snapshot->term = from->term;
  snapshot->configuration_index = from->configuration_index;
  const int status = canonical_decode_configuration(from->configuration.data, from->configuration.size,
                                                    &snapshot->configuration);
  assert(status == 0);
  /* The state machine holds it already: nothing is handed to restore(). */
  snapshot->bufs = raft_calloc(1, sizeof *snapshot->bufs);
  snapshot->n_bufs = 1;
  return snapshot;
}

static struct raft_entry *load_entries(const struct logged *logged) {
  if (logged->count == 0)
    return NULL;
  unsigned char *batch = raft_malloc(logged->payloads.size + 1);
  memcpy(batch, logged->payloads.data, logged->payloads.size);
  struct raft_entry *entries = raft_calloc(logged->count, sizeof *entries);
  for (size_t i = 0; i < logged->count; i++) {
    const struct logged_entry *from = &logged->entries[i];
    entries[i] = (struct raft_entry){.term = from->term,
                                     .type = from->type,
                                     .buf = {.base = batch + from->offset, .len = from->size},
                                     .batch = batch};
  }
  return entries;
}

static int load(struct raft_io *io, raft_term *term, raft_id *voted_for, struct raft_snapshot **snapshot,
                raft_index *start_index, struct raft_entry *entries[], size_t *n_entries) {
  struct canonical *canonical = io->impl;
  struct logged *logged = &canonical->logged;
  *term = logged->term;
  *voted_for = logged->vote;
  *snapshot = load_snapshot(&logged->snapshot);
  *start_index = logged->base + 1;
  *entries = load_entries(logged);
  *n_entries = logged->count;
  canonical->next_index = logged->base + logged->count + 1;
  logged_free(logged);
  return 0;
}

/* The same first entry on every node, so that each may write it by itself. */
static int bootstrap(struct raft_io *io, const struct raft_configuration *configuration) {
  struct canonical *canonical = io->impl;
  struct logged *logged = &canonical->logged;
  struct raft_buffer encoded;
  if (logged->term != 0)
    return RAFT_CANTBOOTSTRAP;
  const int status = raft_configuration_encode(configuration, &encoded);
  if (status != 0)
    return status;
  const struct new_entry entry = {.term = 1, .type = RAFT_CHANGE, .data = encoded.base, .size = encoded.len};
  disk_log_set_term(canonical->log, 1);
  disk_log_append(canonical->log, 1, &entry, 1, NULL, NULL);
  logged->term = 1;
  logged->entries = xcalloc(1, sizeof *logged->entries);
  logged->entries[0] = (struct logged_entry){.term = 1, .type = RAFT_CHANGE, .size = encoded.len};
  logged->count = logged->capacity = 1;
  bytes_append(&logged->payloads, encoded.base, encoded.len);
  raft_free(encoded.base);
  return 0;
}

static int recover(struct raft_io *io, const struct raft_configuration *configuration) {
  (void)io, (void)configuration;
  return RAFT_INVALID;
}

static int set_term(struct raft_io *io, raft_term term) {
  disk_log_set_term(((struct canonical *)io->impl)->log, term);
  return 0;
}

static int set_vote(struct raft_io *io, raft_id server) {
  disk_log_set_vote(((struct canonical *)io->impl)->log, server);
  return 0;
}

static struct pending_append *pop_append(struct canonical *canonical) {
  struct pending_append *append = canonical->appends;
  canonical->appends = append->next;
  if (!canonical->appends)
    canonical->appends_end = &canonical->appends;
  return append;
}

/* Writes end in their order; libraft is told of each by itself, as its own I/O does. */
static void appended(void *owner, int status) {
  struct pending_append *append = owner;
  struct canonical *canonical = append->canonical;
  if (!canonical_runs(canonical))
    return; /* ended with all others, when libraft is closed */
  assert(canonical->appends == append);
  pop_append(canonical);
  if (status != 0 && append->index < canonical->next_index)
    canonical->next_index = append->index; /* neither this nor what was asked for after it is on the disk */
  struct raft_io_append *request = append->request;
  free(append);
  request->cb(request, status == 0 ? 0 : status == ERR_NO_SPACE ? RAFT_NOSPACE : RAFT_IOERR);
  if (status == 0)
    canonical_after(canonical);
  else
    canonical_wake(canonical); /* once every write that failed with this one has ended */
}

/* libraft passes no index: the entries are always the last ones of its log. */
static int append(struct raft_io *io, struct raft_io_append *request, const struct raft_entry entries[],
                  unsigned count, raft_io_append_cb done) {
  struct canonical *canonical = io->impl;
  const uint64_t index = canonical_last_index(canonical) - count + 1;
  if (index != canonical->next_index) {
    snprintf(io->errmsg, sizeof io->errmsg,
             "entries from %llu on would leave a hole in the log, which ends at %llu",
             (unsigned long long)index, (unsigned long long)canonical->next_index - 1);
    return RAFT_IOERR;
  }
  struct pending_append *append = xmalloc(sizeof *append);
  *append = (struct pending_append){.canonical = canonical, .request = request, .index = index};
  request->cb = done;
  *canonical->appends_end = append;
  canonical->appends_end = &append->next;
  struct new_entry *copies = xcalloc(count, sizeof *copies);
  for (unsigned i = 0; i < count; i++)
    copies[i] = (struct new_entry){.term = entries[i].term,
                                   .type = (uint8_t)entries[i].type,
                                   .data = entries[i].buf.base,
                                   .size = entries[i].buf.len};
  canonical->next_index = index + count;
  disk_log_append(canonical->log, index, copies, count, appended, append);
  free(copies);
  return 0;
}

static int truncate_from(struct raft_io *io, raft_index index) {
  struct canonical *canonical = io->impl;
  if (index < canonical->next_index)
    canonical->next_index = index;
  disk_log_truncate(canonical->log, index);
  return 0;
}

/* A result other than 0 would make it cut its log once more, and once too often. */
void canonical_end_appends(struct canonical *canonical) {
  while (canonical->appends) {
    struct pending_append *append = pop_append(canonical);
    append->request->cb(append->request, 0);
    free(append);
  }
}

void canonical_log_written(void *owner) {
  struct canonical *canonical = owner;
  canonical_release_held(canonical);
  canonical_wake(canonical);
}

void canonical_fill_io(struct canonical *canonical) {
  canonical->io = (struct raft_io){.version = 1,
                                   .impl = canonical,
                                   .init = init,
                                   .close = close_io,
                                   .load = load,
                                   .start = start,
                                   .bootstrap = bootstrap,
                                   .recover = recover,
                                   .set_term = set_term,
                                   .set_vote = set_vote,
                                   .send = canonical_send,
                                   .append = append,
                                   .truncate = truncate_from,
                                   .snapshot_put = canonical_snapshot_put,
                                   .snapshot_get = canonical_snapshot_get,
                                   .time = time_ms,
                                   .random = draw};
}
