#include "simulator/test/replicas.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD_SIZE 24 /* file "head" of a snapshot: index, term, hash */

struct replica;

struct state {
  uint64_t index, term, hash;
};

struct replica;

struct snapshot {
  struct replicas *all;
  const struct replica *replica;
  struct state state;
  struct snapshot_file files[3];
};

struct receiving {
  struct state head;
  struct snapshot_file files[3];
  size_t file_count;
  struct bytes content[3];
};

struct replica {
  struct replicas *all;
  size_t number;
  struct journal *journal; /* NULL: down */
  struct state_machine machine;
  struct state applied, durable;
  enum journal_role role;
  uint64_t term;
  struct receiving receiving;
  bool fatal_expected, fatal;
  bool closed;
};

struct slot {
  uint64_t term, hash; /* running, this entry included */
  bool known;
};

struct confirmation {
  struct replicas *all;
  uint64_t floor; /* the highest index committed anywhere when it was asked for */
  size_t node;
};

struct replicas {
  struct replicas_options options;
  struct sim_world *world;
  struct random random;
  struct replica replica[SIMULATOR_NODES_MAX];
  struct slot *slots; /* by index: what was given to whoever was first */
  size_t slot_capacity;
  uint64_t highest;
  uint64_t *leaders; /* by term: node id */
  size_t leader_capacity;
  uint64_t next_value;
  uint64_t acknowledged, confirmed, unconfirmed, installed;
};

static const struct weather calm = {
    .delay_ns = 100000, .jitter_ns = 100000, .disk_ns = 100000, .disk_jitter_ns = 50000};

#define CHECK(all, condition, ...)                                                                           \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "seed %" PRIu64 ": ", (all)->options.seed);                                            \
      fprintf(stderr, __VA_ARGS__);                                                                          \
      fprintf(stderr, "\n");                                                                                 \
      abort();                                                                                               \
    }                                                                                                        \
  } while (0)

static struct slot *slot_at(struct replicas *all, uint64_t index) {
  if (index >= all->slot_capacity) {
    const size_t capacity = (size_t)index * 2 + 64;
    all->slots = xrealloc(all->slots, capacity * sizeof *all->slots);
    memset(all->slots + all->slot_capacity, 0, (capacity - all->slot_capacity) * sizeof *all->slots);
    all->slot_capacity = capacity;
  }
  return &all->slots[index];
}

/* -- the state machine ---------------------------------------------------------------------------------- */

static void check_against_others(struct replica *replica) {
  struct replicas *all = replica->all;
  struct slot *slot = slot_at(all, replica->applied.index);
  if (!slot->known)
    *slot = (struct slot){.known = true, .term = replica->applied.term, .hash = replica->applied.hash};
  CHECK(all, slot->term == replica->applied.term && slot->hash == replica->applied.hash,
        "node %zu has other content at index %" PRIu64 " (term %" PRIu64 ", others %" PRIu64 ")",
        replica->number + 1, replica->applied.index, replica->applied.term, slot->term);
  if (replica->applied.index > all->highest)
    all->highest = replica->applied.index;
}

static void durable(void *context, uint64_t *index, uint64_t *term) {
  const struct replica *replica = context;
  *index = replica->durable.index;
  *term = replica->durable.term;
}

static bool is_full(void *context) {
  const struct replica *replica = context;
  const uint64_t most = replica->all->options.full_after;
  return most > 0 && replica->applied.index - replica->durable.index >= most;
}

static void committed(void *context, uint64_t index, uint64_t term, const void *data, size_t size,
                      void *token) {
  struct replica *replica = context;
  struct replicas *all = replica->all;
  CHECK(all, index == replica->applied.index + 1, "node %zu is given %" PRIu64 " after %" PRIu64,
        replica->number + 1, index, replica->applied.index);
  CHECK(all, !is_full(replica), "node %zu is full, and is given %" PRIu64, replica->number + 1, index);
  CHECK(all, term >= replica->applied.term, "node %zu: terms go back at %" PRIu64, replica->number + 1,
        index);
  const uint64_t with_term = checksum_fold(replica->applied.hash, &term, sizeof term);
  replica->applied =
      (struct state){.index = index, .term = term, .hash = checksum_fold(with_term, data, size)};
  check_against_others(replica);
  if (token) {
    CHECK(all, replica->role == JOURNAL_LEADER && replica->term == term,
          "node %zu: a token of another term is reported", replica->number + 1);
    CHECK(all, size >= 8 && le64_load(data) == (uint64_t)(uintptr_t)token,
          "node %zu: a token of another entry", replica->number + 1);
    all->acknowledged++;
  }
}

static void role(void *context, enum journal_role new_role, uint64_t term, uint64_t leader) {
  struct replica *replica = context;
  struct replicas *all = replica->all;
  CHECK(all, term >= replica->term, "node %zu: its term goes back", replica->number + 1);
  replica->role = new_role;
  replica->term = term;
  if (new_role != JOURNAL_LEADER)
    return;
  CHECK(all, leader == replica->number + 1, "node %zu leads and says that %" PRIu64 " does",
        replica->number + 1, leader);
  if (term >= all->leader_capacity) {
    const size_t capacity = (size_t)term * 2 + 16;
    all->leaders = xrealloc(all->leaders, capacity * sizeof *all->leaders);
    memset(all->leaders + all->leader_capacity, 0, (capacity - all->leader_capacity) * sizeof *all->leaders);
    all->leader_capacity = capacity;
  }
  CHECK(all, all->leaders[term] == 0 || all->leaders[term] == leader,
        "term %" PRIu64 " has two leaders: %" PRIu64 " and %" PRIu64, term, all->leaders[term], leader);
  all->leaders[term] = leader;
}

static void fatal(void *context, const struct error *error) {
  struct replica *replica = context;
  CHECK(replica->all, replica->fatal_expected, "node %zu cannot go on: %s", replica->number + 1,
        error->message);
  replica->fatal = true;
}

/* -- snapshots: an empty file, one with the state, one with bulk ------------------------------------------
 */

static bool fails(struct replicas *all) {
  return random_chance(&all->random, all->options.snapshot_failures);
}

static void fill_piece(const struct snapshot *snapshot, size_t file, uint64_t offset, unsigned char *buffer,
                       size_t size) {
  unsigned char head[HEAD_SIZE];
  if (file == 1) {
    le64_store(head, snapshot->state.index);
    le64_store(head + 8, snapshot->state.term);
    le64_store(head + 16, snapshot->state.hash);
    memcpy(buffer, head + offset, size);
    return;
  }
  for (size_t i = 0; i < size; i++)
    buffer[i] = (unsigned char)((offset + i) * 31 + snapshot->state.index);
}

static uint64_t file_checksum(const struct snapshot *snapshot, size_t file) {
  unsigned char *piece = xmalloc(SNAPSHOT_CHUNK);
  uint64_t sum = 0;
  const uint64_t total = snapshot->files[file].size;
  for (uint64_t at = 0; at < total; at += SNAPSHOT_CHUNK) {
    const size_t size = total - at < SNAPSHOT_CHUNK ? (size_t)(total - at) : SNAPSHOT_CHUNK;
    fill_piece(snapshot, file, at, piece, size);
    sum = checksum_fold(sum, piece, size);
  }
  free(piece);
  return sum;
}

struct opening {
  struct replica *replica;
  struct snapshot *snapshot;
  void (*done)(void *context, struct snapshot *snapshot, const struct error *error);
  void *context;
};

static void opened(void *owner) {
  struct opening *opening = owner;
  struct error error;
  if (fails(opening->replica->all)) {
    free(opening->snapshot);
    error_set(&error, ERR_IO, "drawn");
    opening->done(opening->context, NULL, &error);
  } else {
    opening->done(opening->context, opening->snapshot, NULL);
  }
  free(opening);
}

static void durable_moved(void *owner) {
  const struct replica *replica = owner;
  if (replica->journal)
    replica->journal->functions->durable_moved(replica->journal);
}

static void snapshot_open(void *context,
                          void (*done)(void *done_context, struct snapshot *snapshot,
                                       const struct error *error),
                          void *done_context) {
  struct replica *replica = context;
  struct snapshot *snapshot = xcalloc(1, sizeof *snapshot);
  replica->durable = replica->applied;
  snapshot->all = replica->all;
  snapshot->replica = replica;
  snapshot->state = replica->applied;
  static const char *const names[] = {"empty", "head", "bulk"};
  const uint64_t sizes[] = {0, HEAD_SIZE, replica->all->options.bulk};
  for (size_t i = 0; i < 3; i++) {
    snprintf(snapshot->files[i].name, sizeof snapshot->files[i].name, "%s", names[i]);
    snapshot->files[i].size = sizes[i];
    snapshot->files[i].checksum = file_checksum(snapshot, i);
  }
  struct opening *opening = xmalloc(sizeof *opening);
  *opening =
      (struct opening){.replica = replica, .snapshot = snapshot, .done = done, .context = done_context};
  const struct world *world = sim_door(replica->all->world, replica->number);
  world->defer(world->context, durable_moved, replica);
  world->defer(world->context, opened, opening);
}

static void snapshot_describe(struct snapshot *snapshot, uint64_t *index, uint64_t *term,
                              const struct snapshot_file **files, size_t *file_count) {
  *index = snapshot->state.index;
  *term = snapshot->state.term;
  *files = snapshot->files;
  *file_count = 3;
}

/* What is reported in the next turn. */
struct report {
  snapshot_read_done *read; /* or: */
  snapshot_receive_done *received;
  void *owner;
  struct snapshot_range missing;
  struct error error;
};

static void tell(void *owner) {
  struct report *report = owner;
  const int status = report->error.code;
  const struct error *error = status ? &report->error : NULL;
  if (report->read)
    report->read(report->owner, status, error);
  else
    report->received(report->owner, status, &report->missing, error);
  free(report);
}

static void tell_later(const struct replica *replica, const struct report *told) {
  struct report *report = xmalloc(sizeof *report);
  *report = *told;
  const struct world *world = sim_door(replica->all->world, replica->number);
  world->defer(world->context, tell, report);
}

static void snapshot_read(struct snapshot *snapshot, size_t file, uint64_t offset, void *buffer, size_t size,
                          snapshot_read_done *done, void *owner) {
  struct report report = {.read = done, .owner = owner};
  assert(file < 3 && offset + size <= snapshot->files[file].size);
  if (fails(snapshot->all))
    error_set(&report.error, ERR_IO, "drawn");
  else
    fill_piece(snapshot, file, offset, buffer, size);
  tell_later(snapshot->replica, &report);
}

static void snapshot_close(struct snapshot *snapshot) {
  free(snapshot);
}

static void make_durable(void *context) {
  struct replica *replica = context;
  replica->durable = replica->applied;
  const struct world *world = sim_door(replica->all->world, replica->number);
  world->defer(world->context, durable_moved, replica);
}

static struct snapshot_range missing_of(const struct receiving *receiving) {
  struct snapshot_range missing = {.end_file = 3};
  while (missing.file < 3 && receiving->content[missing.file].size == receiving->files[missing.file].size)
    missing.file++;
  if (missing.file < 3)
    missing.offset = receiving->content[missing.file].size;
  return missing;
}

/* What an earlier attempt at the same snapshot received is kept. */
static void receive_begin(void *context, uint64_t index, uint64_t term, const struct snapshot_file *files,
                          size_t file_count, snapshot_receive_done *done, void *owner) {
  struct replica *replica = context;
  struct receiving *receiving = &replica->receiving;
  struct report report = {.received = done, .owner = owner};
  assert(file_count == 3 && index > replica->applied.index);
  if (fails(replica->all)) {
    error_set(&report.error, ERR_NO_SPACE, "drawn");
  } else {
    for (size_t i = 0; i < 3; i++)
      if (receiving->files[i].checksum != files[i].checksum || receiving->files[i].size != files[i].size)
        bytes_clear(&receiving->content[i]);
    receiving->head = (struct state){.index = index, .term = term};
    memcpy(receiving->files, files, file_count * sizeof *files);
    report.missing = missing_of(receiving);
  }
  tell_later(replica, &report);
}

static void receive_write(void *context, uint64_t file, uint64_t offset, const void *data, size_t size,
                          snapshot_receive_done *done, void *owner) {
  struct replica *replica = context;
  struct receiving *receiving = &replica->receiving;
  struct report report = {.received = done, .owner = owner};
  if (fails(replica->all) || offset != receiving->content[file].size)
    error_set(&report.error, ERR_NO_SPACE, "drawn, or it follows one for which that was drawn");
  else
    bytes_append(&receiving->content[file], data, size);
  report.missing = missing_of(receiving);
  tell_later(replica, &report);
}

static void receive_prepare(void *context, snapshot_receive_done *done, void *owner) {
  struct replica *replica = context;
  struct report report = {.received = done, .owner = owner, .missing = missing_of(&replica->receiving)};
  CHECK(replica->all, report.missing.file == 3, "node %zu installs what is not whole", replica->number + 1);
  if (fails(replica->all))
    error_set(&report.error, ERR_IO, "drawn");
  tell_later(replica, &report);
}

static void receive_forget(void *context, uint64_t index) {
  (void)context;
  (void)index;
}

static int receive_install(void *context, struct error *error) {
  struct replica *replica = context;
  struct receiving *receiving = &replica->receiving;
  if (fails(replica->all))
    return error_set(error, ERR_IO, "drawn");
  for (size_t i = 0; i < 3; i++) {
    uint64_t sum = 0;
    const struct bytes *content = &receiving->content[i];
    for (size_t at = 0; at < content->size; at += SNAPSHOT_CHUNK)
      sum = checksum_fold(sum, content->data + at,
                          content->size - at < SNAPSHOT_CHUNK ? content->size - at : SNAPSHOT_CHUNK);
    CHECK(replica->all, content->size == receiving->files[i].size && sum == receiving->files[i].checksum,
          "node %zu: file %zu of a snapshot arrived damaged", replica->number + 1, i);
  }
  const unsigned char *head = receiving->content[1].data;
  replica->applied =
      (struct state){.index = le64_load(head), .term = le64_load(head + 8), .hash = le64_load(head + 16)};
  CHECK(replica->all,
        replica->applied.index == receiving->head.index && replica->applied.term == receiving->head.term,
        "node %zu: a snapshot is not what its manifest says", replica->number + 1);
  replica->durable = replica->applied;
  for (size_t i = 0; i < 3; i++)
    bytes_clear(&receiving->content[i]);
  check_against_others(replica);
  replica->all->installed++;
  return 0;
}

/* -- lives ---------------------------------------------------------------------------------------------- */

static void forget_received(struct replica *replica) {
  for (size_t i = 0; i < 3; i++)
    bytes_free(&replica->receiving.content[i]);
}

static void journal_closed(void *context) {
  *(bool *)context = true;
}

static void bury(struct replica *replica) {
  replica->closed = false;
  replica->journal->functions->close(replica->journal, journal_closed, &replica->closed);
  sim_bury(replica->all->world, replica->number, &replica->closed);
  replica->journal = NULL;
  replica->role = JOURNAL_FOLLOWER;
  forget_received(replica);
}

void replicas_crash(struct replicas *all, size_t node) {
  struct replica *replica = &all->replica[node];
  assert(replica->journal);
  sim_crash(all->world, node, false);
  bury(replica);
}

void replicas_wipe(struct replicas *all, size_t node) {
  assert(!all->replica[node].journal);
  sim_wipe(all->world, node);
  all->replica[node].durable = (struct state){0};
}

int replicas_try_start(struct replicas *all, size_t node, struct error *error) {
  static const uint64_t members[SIMULATOR_NODES_MAX] = {1, 2, 3, 4, 5};
  struct replica *replica = &all->replica[node];
  const size_t initial = all->options.members ? all->options.members : all->options.nodes;
  assert(!replica->journal);
  replica->applied = replica->durable;
  replica->fatal = false;
  replica->term = 0;
  const struct raft_journal_options options = {.id = node + 1,
                                               .members = members,
                                               .member_count = node < initial ? initial : 0,
                                               .cluster = 77,
                                               .snapshot_threshold = all->options.snapshot_threshold,
                                               .snapshot_trailing = all->options.snapshot_trailing,
                                               .segment_size = all->options.segment_size,
                                               .cache_size = all->options.cache_size};
  replica->journal = raft_journal_new(&options, sim_door(all->world, node), &replica->machine);
  return replica->journal->functions->start(replica->journal, error);
}

void replicas_start(struct replicas *all, size_t node) {
  struct error error = {0};
  sim_revive(all->world, node);
  const int status = replicas_try_start(all, node, &error);
  CHECK(all, status == 0, "node %zu does not start: %s", node + 1, error.message);
}

static void open_replica(struct replicas *all, size_t node) {
  struct replica *replica = &all->replica[node];
  replica->all = all;
  replica->number = node;
  replica->machine = (struct state_machine){.context = replica,
                                            .durable = durable,
                                            .committed = committed,
                                            .is_full = is_full,
                                            .role = role,
                                            .snapshot_open = snapshot_open,
                                            .snapshot_describe = snapshot_describe,
                                            .snapshot_read = snapshot_read,
                                            .snapshot_close = snapshot_close,
                                            .receive_begin = receive_begin,
                                            .make_durable = make_durable,
                                            .receive_write = receive_write,
                                            .receive_prepare = receive_prepare,
                                            .receive_forget = receive_forget,
                                            .receive_install = receive_install,
                                            .fatal = fatal};
  struct error error = {0};
  const int status = replicas_try_start(all, node, &error);
  CHECK(all, status == 0, "node %zu does not start: %s", node + 1, error.message);
}

struct replicas *replicas_new(const struct replicas_options *options) {
  struct replicas *all = xcalloc(1, sizeof *all);
  all->options = *options;
  all->world = sim_world_new(
      &(struct sim_world_options){.seed = options->seed, .nodes = options->nodes, .weather = calm});
  sim_stream(all->world, "snapshots", 0, &all->random);
  all->next_value = 1;
  for (size_t i = 0; i < options->nodes; i++)
    open_replica(all, i);
  return all;
}

void replicas_free(struct replicas *all) {
  for (size_t i = 0; i < all->options.nodes; i++) {
    if (all->replica[i].journal)
      replicas_crash(all, i);
    forget_received(&all->replica[i]);
  }
  sim_world_free(all->world);
  free(all->slots);
  free(all->leaders);
  free(all);
}

/* -- what tests do -------------------------------------------------------------------------------------- */

struct sim_world *replicas_world(struct replicas *all) {
  return all->world;
}

struct journal *replicas_journal(struct replicas *all, size_t node) {
  return all->replica[node].journal;
}

static bool has_part(const struct replicas *all, size_t of, size_t node, bool as_voter) {
  struct journal_membership membership;
  const struct journal *journal = all->replica[of].journal;
  if (!journal->functions->membership) /* a journal whose members never change */
    return node < all->options.nodes;
  journal->functions->membership(journal, &membership);
  for (size_t i = 0; i < membership.count; i++)
    if (membership.members[i].id == node + 1)
      return !as_voter || membership.members[i].role == MEMBER_VOTER;
  return false;
}

bool replicas_votes(struct replicas *all, size_t node) {
  return has_part(all, node, node, true);
}

void replicas_heal(struct replicas *all) {
  for (size_t from = 0; from < all->options.nodes; from++)
    for (size_t to = 0; to < all->options.nodes; to++)
      sim_link(all->world, from, to, true);
}

void replicas_run(struct replicas *all, int64_t for_ns) {
  sim_run(all->world, sim_now_ns(all->world) + for_ns, NULL);
}

bool replicas_alive(const struct replicas *all, size_t node) {
  return all->replica[node].journal && !all->replica[node].fatal;
}

int replicas_leader(const struct replicas *all) {
  int leader = -1;
  for (size_t i = 0; i < all->options.nodes; i++) {
    const struct replica *replica = &all->replica[i];
    if (replicas_alive(all, i) && replica->role == JOURNAL_LEADER &&
        (leader < 0 || replica->term > all->replica[leader].term))
      leader = (int)i;
  }
  return leader;
}

size_t replicas_wait_for_leader(struct replicas *all, int64_t within_ns) {
  const int64_t end_ns = sim_now_ns(all->world) + within_ns;
  while (replicas_leader(all) < 0) {
    CHECK(all, sim_now_ns(all->world) < end_ns, "no leader");
    replicas_run(all, 10 * NS_PER_MS);
  }
  return (size_t)replicas_leader(all);
}

int replicas_append(struct replicas *all, size_t node, size_t size) {
  struct journal *journal = all->replica[node].journal;
  assert(size >= 8);
  unsigned char *value = xcalloc(1, size);
  le64_store(value, all->next_value);
  const int status = journal->functions->append(journal, value, size, (void *)(uintptr_t)all->next_value);
  free(value);
  if (status == 0)
    all->next_value++;
  return status;
}

static void confirmation_done(void *context, int status, uint64_t read_index) {
  struct confirmation *confirmation = context;
  struct replicas *all = confirmation->all;
  CHECK(all, status == 0 || status == ERR_NOT_PRIMARY, "a confirmation ends with %d", status);
  if (status == 0) {
    CHECK(all, read_index >= confirmation->floor,
          "node %zu confirmed read index %" PRIu64 ", but %" PRIu64 " was committed before",
          confirmation->node + 1, read_index, confirmation->floor);
    all->confirmed++;
  }
  all->unconfirmed += status != 0;
  free(confirmation);
}

void replicas_confirm(struct replicas *all, size_t node) {
  struct journal *journal = all->replica[node].journal;
  struct confirmation *confirmation = xmalloc(sizeof *confirmation);
  *confirmation = (struct confirmation){.all = all, .floor = all->highest, .node = node};
  journal->functions->confirm(journal, confirmation_done, confirmation);
}

void replicas_make_durable(struct replicas *all, size_t node) {
  struct replica *replica = &all->replica[node];
  replica->durable = replica->applied;
  replica->journal->functions->durable_moved(replica->journal);
}

uint64_t replicas_applied(const struct replicas *all, size_t node) {
  return all->replica[node].applied.index;
}

uint64_t replicas_highest_committed(const struct replicas *all) {
  return all->highest;
}

uint64_t replicas_acknowledged(const struct replicas *all) {
  return all->acknowledged;
}

uint64_t replicas_confirmed(const struct replicas *all) {
  return all->confirmed;
}

uint64_t replicas_unconfirmed(const struct replicas *all) {
  return all->unconfirmed;
}

uint64_t replicas_installed(const struct replicas *all) {
  return all->installed;
}

struct journal_status replicas_status(const struct replicas *all, size_t node) {
  struct journal *journal = all->replica[node].journal;
  return journal->functions->status(journal);
}

void replicas_expect_fatal(struct replicas *all, size_t node) {
  all->replica[node].fatal_expected = true;
}

static bool settled(const struct replicas *all, uint64_t acknowledged, uint64_t committed_before) {
  if (all->acknowledged == acknowledged)
    return false;
  const int leader = replicas_leader(all);
  for (size_t i = 0; i < all->options.nodes; i++)
    if (leader < 0 || (has_part(all, (size_t)leader, i, false) &&
                       (all->replica[i].applied.index != all->highest || all->highest <= committed_before)))
      return false;
  return true;
}

static void describe_all(const struct replicas *all) {
  for (size_t i = 0; i < all->options.nodes; i++) {
    const struct journal_status status = replicas_status(all, i);
    fprintf(stderr,
            "node %zu: %s of term %" PRIu64 ", leader %" PRIu64 ", log %" PRIu64 "..%" PRIu64
            ", committed %" PRIu64 ", applied %" PRIu64 ", durable %" PRIu64 ", snapshot %" PRIu64 "\n",
            i + 1, status.role == JOURNAL_LEADER ? "leader" : "follower", status.term, status.leader,
            status.first_index, status.last_index, status.commit_index, all->replica[i].applied.index,
            all->replica[i].durable.index, status.snapshot_index);
  }
}

void replicas_settle(struct replicas *all, int64_t within_ns) {
  const int64_t until_ns = sim_now_ns(all->world) + within_ns;
  const uint64_t before = all->highest;
  all->options.snapshot_failures = 0;
  replicas_heal(all);
  sim_set_weather(all->world, &calm);
  for (size_t i = 0; i < all->options.nodes; i++) {
    sim_fill_disk(all->world, i, false);
    if (all->replica[i].journal && all->replica[i].fatal)
      replicas_crash(all, i);
    if (!all->replica[i].journal)
      replicas_start(all, i);
  }
  const uint64_t acknowledged = all->acknowledged;
  while (!settled(all, acknowledged, before)) {
    if (sim_now_ns(all->world) >= until_ns)
      describe_all(all);
    CHECK(all, sim_now_ns(all->world) < until_ns, "no common state %" PRId64 " s after everything healed",
          within_ns / 1000000000);
    for (size_t i = 0; i < all->options.nodes; i++)
      if (is_full(&all->replica[i]))
        replicas_make_durable(all, i);
    const int leader = replicas_leader(all);
    if (leader >= 0 && (all->acknowledged == acknowledged || all->highest <= before))
      replicas_append(all, (size_t)leader, 16);
    replicas_run(all, 20 * 1000 * 1000);
  }
}
