/* primary_loads.c: the names of mounted directories come in when somebody first needs them.
 *
 *   request meets an unloaded directory ─▶ waits ─────────────────────────────▶ is evaluated again
 *                                            │                                        ▲
 *   under-store:  list ─▶ piece, piece, … ─▶ names into batches, some at a time ─▶ the last one committed
 *
 * One load a directory, whoever waits for it; some at one time, so that a file system that hangs holds up
 * few threads. It belongs to the primary alone: who becomes primary in the middle of one begins anew when
 * somebody asks, and passes over the names that are there. Nothing of the directory is seen before all of it
 * is there, so nobody can tell. */
#include <assert.h>
#include <stdlib.h>

#include "master/primary_internal.h"

#define LISTINGS_OPEN 4                      /* at one time */
#define PATIENCE_NS (10 * NS_PER_S)          /* with the under-store, for one piece */
#define COMPLAINT_INTERVAL_NS (5 * NS_PER_S) /* in the log */

#define MESSAGE                                                                                              \
  "a mounted directory on the way cannot be read by the primary: its log says which, and why (assay admin "  \
  "mounts shows what is mounted where)"

struct directory_load {
  struct directory_load *next;
  struct primary *primary;
  uint64_t inode;
  struct bytes path, source; /* where it was asked for; where the under-store has it */
  struct pending_list waiters;
  struct under_store_listing *listing; /* NULL: not begun */
  bool asked;                          /* for a piece that has not come */
  int64_t asked_ns;
  const struct under_store_entry *entries; /* of the piece, with those that were put */
  size_t count, put, left_out;
  bool last;
  struct tables_wait *wait;    /* what the names need, */
  bool parked;                 /* … and it is not there yet */
  const struct flight *flight; /* with the last names; NULL: not yet */
};

static struct slice slice_of(const struct bytes *bytes) {
  return (struct slice){(const char *)bytes->data, bytes->size};
}

static int64_t now_ns(const struct primary *primary) {
  return primary->world->now_ns(primary->world->context);
}

/* -- ends -- */

static void unlink_load(struct directory_load *load) {
  struct directory_load **at = &load->primary->loads;
  while (*at != load) {
    assert(*at);
    at = &(*at)->next;
  }
  *at = load->next;
}

/* Its waiters must have gone elsewhere. */
static void free_load(struct directory_load *load) {
  assert(!load->waiters.first);
  if (load->listing)
    load->primary->under_store->functions->close(load->listing);
  tables_give_up(load->primary->tables, load->wait);
  bytes_free(&load->path);
  bytes_free(&load->source);
  free(load);
}

static void begin_listings(struct primary *primary);

static void end_load(struct directory_load *load) {
  struct primary *primary = load->primary;
  unlink_load(load);
  if (load->left_out > 0)
    log_warn(
        "%zu names of the mounted directory %.*s are left out: a name has at most 255 bytes of UTF-8, and a "
        "path at most 4096; rename them there",
        load->left_out, (int)load->source.size, (const char *)load->source.data);
  for (struct pending *pending; (pending = pending_pop(&load->waiters));)
    primary_retry(primary, pending);
  free_load(load);
  begin_listings(primary);
}

/* Nothing was done for the waiters, and they hear that. */
static void fail_load(struct directory_load *load, const char *why) {
  struct primary *primary = load->primary;
  const int64_t now = now_ns(primary);
  unlink_load(load);
  if (primary->load_complained_ns == 0 || now - primary->load_complained_ns >= COMPLAINT_INTERVAL_NS) {
    log_error(
        "the mounted directory %.*s, %.*s in the namespace, cannot be read: %s; requests that need it are "
        "refused until it can, or until assay admin unmount",
        (int)load->source.size, (const char *)load->source.data, (int)load->path.size,
        (const char *)load->path.data, why);
    primary->load_complained_ns = now;
  }
  for (struct pending *pending; (pending = pending_pop(&load->waiters));) {
    pending->outcome.message = MESSAGE;
    primary_reply(primary, pending, STATUS_OVERLOADED);
  }
  free_load(load);
  begin_listings(primary);
}

/* -- the under-store -- */

static void set_timer(struct primary *primary) {
  int64_t first_ns = INT64_MAX;
  for (const struct directory_load *load = primary->loads; load; load = load->next)
    if (load->asked && load->asked_ns < first_ns)
      first_ns = load->asked_ns;
  if (first_ns < INT64_MAX)
    primary->world->timer_set(primary->load_timer, first_ns + PATIENCE_NS);
  else
    primary->world->timer_clear(primary->load_timer);
}

static void lose_patience(void *owner) {
  struct primary *primary = owner;
  const int64_t now = now_ns(primary);
  for (struct directory_load *load = primary->loads, *next; load; load = next) {
    next = load->next;
    if (load->asked && now - load->asked_ns >= PATIENCE_NS) {
      fail_load(load, "the file system does not answer");
      next = primary->loads; /* the list may have changed */
    }
  }
  set_timer(primary);
}

static void ask_piece(struct directory_load *load) {
  load->asked = true;
  load->asked_ns = now_ns(load->primary);
  load->count = load->put = 0;
  load->primary->under_store->functions->next(load->listing);
  set_timer(load->primary);
}

static void on_piece(void *context, int status, const struct under_store_entry *entries, size_t count,
                     bool last, const struct error *error) {
  struct directory_load *load = context;
  struct primary *primary = load->primary;
  assert(load->asked && count <= UNDER_STORE_PIECE);
  load->asked = false;
  load->entries = entries;
  load->count = count;
  load->last = last;
  if (status != 0)
    fail_load(load, error->message);
  set_timer(primary);
  primary_schedule(primary);
}

static void begin_listings(struct primary *primary) {
  size_t open = 0;
  for (const struct directory_load *load = primary->loads; load; load = load->next)
    open += load->listing != NULL;
  for (struct directory_load *load = primary->loads; load && open < LISTINGS_OPEN; load = load->next) {
    if (load->listing)
      continue;
    load->listing =
        primary->under_store->functions->list(primary->under_store, slice_of(&load->source), on_piece, load);
    ask_piece(load);
    open++;
  }
}

static struct directory_load *load_of(struct primary *primary, const struct unloaded *unloaded) {
  struct directory_load **at = &primary->loads;
  for (; *at; at = &(*at)->next)
    if ((*at)->inode == unloaded->inode)
      return *at;
  struct directory_load *load = *at = xcalloc(1, sizeof *load);
  load->primary = primary;
  load->inode = unloaded->inode;
  bytes_append(&load->path, unloaded->path.data, unloaded->path.size);
  bytes_append(&load->source, unloaded->source.data, unloaded->source.size);
  return load;
}

bool primary_await_load(struct primary *primary, struct unloaded *unloaded, struct pending *pending) {
  if (unloaded->inode == 0)
    return false;
  if (primary->role != ROLE_PRIMARY) {
    primary_reply(primary, pending, STATUS_NOT_PRIMARY);
  } else if (!primary->under_store) {
    pending->outcome.message =
        "the path lies below a mount, and the primary was started without --mount-root";
    primary_reply(primary, pending, STATUS_OVERLOADED);
  } else {
    struct directory_load *load = load_of(primary, unloaded);
    pending_push(&load->waiters, pending);
    begin_listings(primary);
  }
  unloaded->inode = 0;
  return true;
}

/* -- into batches -- */

static bool has_names(const struct directory_load *load) {
  return load->listing && !load->asked && !load->parked && !load->flight;
}

bool primary_loads_wait(const struct primary *primary) {
  for (const struct directory_load *load = primary->loads; load; load = load->next)
    if (has_names(load))
      return true;
  return false;
}

static void names_rows_came(void *context) {
  struct directory_load *load = context;
  load->parked = false;
  primary_schedule(load->primary);
}

/* Puts names, and behind the last one that there are no more. False: the load is of no use any more. */
static bool put_names(struct directory_load *load) {
  struct namespace *space = &load->primary->space;
  size_t taken = 0;
  if (!namespace_load(space, load->inode, load->entries + load->put, load->count - load->put, &taken,
                      &load->left_out))
    return false;
  load->put += taken;
  if (load->put < load->count || !load->last || tables_missed(space->tables) > 0)
    return true;
  const bool goes_on = namespace_load_end(space, load->inode, slice_of(&load->path));
  if (goes_on && tables_missed(space->tables) == 0)
    load->flight = primary_open_flight(load->primary);
  return goes_on;
}

/* Others loaded it, or took it away: waiters that read are to see that. */
static void await_commit(struct directory_load *load) {
  struct flight *last = load->primary->open ? load->primary->open : load->primary->flights_end;
  load->flight = last;
  if (last)
    last->loads = true;
  else
    end_load(load);
}

static void step(struct directory_load *load) {
  struct primary *primary = load->primary;
  const size_t before = overlay_open_size(primary->overlay);
  tables_try(primary->tables, load->wait);
  const bool goes_on = put_names(load);
  load->wait = tables_tried(primary->tables, names_rows_came, load);
  load->parked = load->wait != NULL;
  if (overlay_open_size(primary->overlay) > before)
    primary_open_flight(primary)->loads = true;
  if (tables_failed(primary->tables))
    return;
  if (!goes_on)
    await_commit(load);
  else if (!load->parked && !load->flight && load->put == load->count)
    ask_piece(load);
}

void primary_put_loads(struct primary *primary) {
  for (struct directory_load *load = primary->loads, *next; load; load = next) {
    next = load->next;
    if (has_names(load))
      step(load);
  }
}

void primary_loads_committed(struct primary *primary, const struct flight *flight) {
  for (struct directory_load *load = primary->loads, *next; load; load = next) {
    next = load->next;
    if (load->flight == flight)
      end_load(load);
  }
}

/* -- beginning and end -- */

void primary_drop_loads(struct primary *primary, enum answer_status status) {
  while (primary->loads) {
    struct directory_load *load = primary->loads;
    primary->loads = load->next;
    primary_reply_all(primary, &load->waiters, status);
    free_load(load);
  }
  if (primary->load_timer)
    primary->world->timer_clear(primary->load_timer);
}

void primary_open_loads(struct primary *primary) {
  primary->space.under_store = primary->under_store;
  if (primary->under_store)
    primary->load_timer = primary->world->timer_new(primary->world->context, lose_patience, primary);
}

void primary_close_loads(struct primary *primary) {
  if (primary->load_timer)
    primary->world->timer_free(primary->load_timer);
  primary->load_timer = NULL;
}
