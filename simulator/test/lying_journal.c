#include "simulator/test/lying_journal.h"

#include <stdlib.h>

#define LIAR 2       /* node id */
#define LIES_AFTER 8 /* committed entries */

struct lying_journal {
  struct journal door;
  struct journal *inner;
  const struct world *world;
  const struct state_machine *state;
  struct state_machine machine;
  enum lie lie; /* NONE: an honest node */
  uint64_t commits;
  bool short_log;
  void (*closed)(void *context);
  void *closed_context;
};

static enum lie present;

void lying_journal_lie(enum lie lie) {
  present = lie;
}

static struct lying_journal *lying_of(const struct journal *journal) {
  return CONTAINER_OF(journal, struct lying_journal, door);
}

/* -- what the state machine hears ----------------------------------------------------------------------- */

static void role(void *context, enum journal_role role, uint64_t term, uint64_t leader) {
  struct lying_journal *lying = context;
  if (lying->lie == LIE_NEVER_LEADS)
    role = JOURNAL_FOLLOWER;
  lying->state->role(lying->state->context, role, term, leader);
  if (lying->lie == LIE_LEADS_TOO && leader != 0 && leader != LIAR)
    lying->state->role(lying->state->context, JOURNAL_LEADER, term, LIAR);
}

static void lie_now(struct lying_journal *lying) {
  const struct state_machine *state = lying->state;
  struct error error;
  if (lying->lie == LIE_SHORT_LOG) {
    lying->short_log = true;
    state->role(state->context, JOURNAL_LEADER, lying->inner->functions->status(lying->inner).term + 1, LIAR);
  } else if (lying->lie == LIE_FATAL) {
    error_set(&error, ERR_IO, "no reason");
    state->fatal(state->context, &error);
  }
}

static void committed(void *context, uint64_t index, uint64_t term, const void *data, size_t size,
                      void *token) {
  struct lying_journal *lying = context;
  const struct state_machine *state = lying->state;
  lying->commits += size > 0;
  const bool now = lying->commits == LIES_AFTER && size > 0;
  if (now && lying->lie == LIE_SKIPS)
    return;
  const bool empty = now && lying->lie == LIE_EMPTIES;
  state->committed(state->context, index, term, empty ? NULL : data, empty ? 0 : size, token);
  if (now)
    lie_now(lying);
}

static bool is_full(void *context) {
  const struct state_machine *state = ((struct lying_journal *)context)->state;
  return state->is_full(state->context);
}

static void durable(void *context, uint64_t *index, uint64_t *term) {
  const struct state_machine *state = ((struct lying_journal *)context)->state;
  state->durable(state->context, index, term);
}

static void snapshot_open(void *context,
                          void (*done)(void *done_context, struct snapshot *snapshot,
                                       const struct error *error),
                          void *done_context) {
  const struct state_machine *state = ((struct lying_journal *)context)->state;
  state->snapshot_open(state->context, done, done_context);
}

static void make_durable(void *context) {
  const struct state_machine *state = ((struct lying_journal *)context)->state;
  state->make_durable(state->context);
}

static void receive_begin(void *context, uint64_t index, uint64_t term, const struct snapshot_file *files,
                          size_t file_count, snapshot_receive_done *done, void *owner) {
  const struct state_machine *state = ((struct lying_journal *)context)->state;
  state->receive_begin(state->context, index, term, files, file_count, done, owner);
}

static void receive_write(void *context, uint64_t file, uint64_t offset, const void *data, size_t size,
                          snapshot_receive_done *done, void *owner) {
  const struct state_machine *state = ((struct lying_journal *)context)->state;
  state->receive_write(state->context, file, offset, data, size, done, owner);
}

static void receive_prepare(void *context, snapshot_receive_done *done, void *owner) {
  const struct state_machine *state = ((struct lying_journal *)context)->state;
  state->receive_prepare(state->context, done, owner);
}

static void receive_forget(void *context, uint64_t index) {
  const struct state_machine *state = ((struct lying_journal *)context)->state;
  state->receive_forget(state->context, index);
}

static int receive_install(void *context, struct error *error) {
  const struct state_machine *state = ((struct lying_journal *)context)->state;
  return state->receive_install(state->context, error);
}

static void fatal(void *context, const struct error *error) {
  const struct state_machine *state = ((struct lying_journal *)context)->state;
  state->fatal(state->context, error);
}

/* -- what the primary asks ------------------------------------------------------------------------------ */

static int start(struct journal *journal, struct error *error) {
  struct journal *inner = lying_of(journal)->inner;
  return inner->functions->start(inner, error);
}

static int append(struct journal *journal, const void *data, size_t size, void *token) {
  struct journal *inner = lying_of(journal)->inner;
  return inner->functions->append(inner, data, size, token);
}

struct confirmation {
  void (*done)(void *context, int status, uint64_t read_index);
  void *context;
  uint64_t index;
};

static void confirmed(void *owner) {
  const struct confirmation confirmation = *(struct confirmation *)owner;
  free(owner);
  confirmation.done(confirmation.context, 0, confirmation.index);
}

static void confirm(struct journal *journal, void (*done)(void *context, int status, uint64_t read_index),
                    void *context) {
  const struct lying_journal *lying = lying_of(journal);
  struct journal *inner = lying->inner;
  if (lying->lie != LIE_CONFIRMS) {
    inner->functions->confirm(inner, done, context);
    return;
  }
  struct confirmation *confirmation = xmalloc(sizeof *confirmation);
  *confirmation = (struct confirmation){done, context, inner->functions->status(inner).commit_index};
  lying->world->defer(lying->world->context, confirmed, confirmation);
}

static void membership(const struct journal *journal, struct journal_membership *now) {
  const struct journal *inner = lying_of(journal)->inner;
  inner->functions->membership(inner, now);
}

static int change(struct journal *journal, const struct journal_change *asked, journal_changed *changed,
                  void *context, struct error *error) {
  struct journal *inner = lying_of(journal)->inner;
  return inner->functions->change(inner, asked, changed, context, error);
}

static int transfer(struct journal *journal, uint64_t id, journal_changed *changed, void *context,
                    struct error *error) {
  struct journal *inner = lying_of(journal)->inner;
  return inner->functions->transfer(inner, id, changed, context, error);
}

static size_t in_flight(const struct journal *journal) {
  const struct journal *inner = lying_of(journal)->inner;
  return inner->functions->in_flight(inner);
}

static struct journal_status status(const struct journal *journal) {
  const struct lying_journal *lying = lying_of(journal);
  struct journal_status status = lying->inner->functions->status(lying->inner);
  if (lying->short_log)
    status.last_index = 0;
  return status;
}

static void durable_moved(struct journal *journal) {
  struct journal *inner = lying_of(journal)->inner;
  inner->functions->durable_moved(inner);
}

static void inner_closed(void *context) {
  struct lying_journal *lying = context;
  void (*closed)(void *context) = lying->closed;
  void *closed_context = lying->closed_context;
  free(lying);
  closed(closed_context);
}

static void close_journal(struct journal *journal, void (*done)(void *context), void *context) {
  struct lying_journal *lying = lying_of(journal);
  lying->closed = done;
  lying->closed_context = context;
  lying->inner->functions->close(lying->inner, inner_closed, lying);
}

struct journal *lying_journal_new(const struct raft_journal_options *options, const struct world *world,
                                  const struct state_machine *state) {
  static const struct journal_functions functions = {.start = start,
                                                     .append = append,
                                                     .confirm = confirm,
                                                     .in_flight = in_flight,
                                                     .membership = membership,
                                                     .change = change,
                                                     .transfer = transfer,
                                                     .status = status,
                                                     .durable_moved = durable_moved,
                                                     .close = close_journal};
  struct lying_journal *lying = xcalloc(1, sizeof *lying);
  const bool everybody = present == LIE_CONFIRMS || present == LIE_NEVER_LEADS;
  lying->door.functions = &functions;
  lying->world = world;
  lying->state = state;
  lying->lie = everybody || options->id == LIAR ? present : LIE_NONE;
  lying->machine = *state;
  lying->machine.context = lying;
  lying->machine.durable = durable;
  lying->machine.committed = committed;
  lying->machine.is_full = is_full;
  lying->machine.role = role;
  lying->machine.snapshot_open = snapshot_open;
  lying->machine.receive_begin = receive_begin;
  lying->machine.receive_write = receive_write;
  lying->machine.make_durable = make_durable;
  lying->machine.receive_prepare = receive_prepare;
  lying->machine.receive_install = receive_install;
  lying->machine.receive_forget = receive_forget;
  lying->machine.fatal = fatal;
  lying->inner = raft_journal_new(options, world, &lying->machine);
  return &lying->door;
}
