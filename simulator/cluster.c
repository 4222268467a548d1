/* cluster.c: the nodes' lives.
 *
 *   journal ──▶ machine (here: observes) ──▶ primary ──▶ store
 *
 * A node's process is a store, a primary and a journal for one life. A crash ends it between two events; an
 * end of its own (fatal) takes hold with the next one. */
#include "simulator/cluster.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/primary.h"
#include "simulator/cluster_internal.h"

#define CLUSTER_ID 77
#define STATE_HASH_EVERY 32
#define DIRTY_WRITES 4 /* more than so many writes of rows wait for no store */
#define PIECE_SIZE 48  /* of a snapshot: small, as its files are, so that many frames carry it */

void cluster_violate(struct sim_cluster *cluster, enum evidence evidence, const char *invariant,
                     const char *format, ...) {
  if (cluster->violated)
    return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(cluster->text, sizeof cluster->text, format, arguments);
  va_end(arguments);
  cluster->violated = true;
  cluster->evidence = evidence;
  snprintf(cluster->invariant, sizeof cluster->invariant, "%s", invariant);
  cluster->violated_at = sim_transitions(cluster->world);
  cluster->violated_ns = sim_now_ns(cluster->world);
  if (sim_traced(cluster->world))
    sim_tell(cluster->world, "violation", -1, -1, 0, "%s: %s",
             *invariant ? invariant : evidence_name(evidence), cluster->text);
}

static void invariant_broken(void *context, const char *invariant, const char *text) {
  cluster_violate(context, EVIDENCE_INVARIANT, invariant, "%s", text);
}

/* -- the state machine between journal and primary --------------------------------------------------------
 */

static void observe_state(struct sim_node *node) {
  const uint64_t hash = primary_state_hash(node->primary);
  sim_fold(node->cluster->world, hash);
  invariants_state(node->cluster->invariants, node->number, hash);
}

static void durable(void *context, uint64_t *index, uint64_t *term) {
  struct sim_node *node = context;
  node->inner->durable(node->inner->context, index, term);
  if (!node->dying)
    invariants_durable(node->cluster->invariants, node->number, *index);
}

static bool is_full(void *context) {
  const struct sim_node *node = context;
  return node->inner->is_full(node->inner->context);
}

static void committed(void *context, uint64_t index, uint64_t term, const void *data, size_t size,
                      void *token) {
  struct sim_node *node = context;
  struct sim_cluster *cluster = node->cluster;
  if (!node->dying) {
    sim_fold(cluster->world, index << 8 | node->number);
    invariants_committed(cluster->invariants, node->number, index, term, data, size);
    cluster_observe_membership(node);
    if (sim_traced(cluster->world))
      sim_tell(cluster->world, "commit", (int)node->number, -1, 0,
               "index %" PRIu64 " of term %" PRIu64 ", %zu bytes", index, term, size);
    if (cluster->violated)
      return; /* the world stops, and what comes now the primary takes for impossible */
  }
  node->inner->committed(node->inner->context, index, term, data, size, token);
  if (!node->dying && !node->ending && index % STATE_HASH_EVERY == 0)
    observe_state(node);
}

static void role(void *context, enum journal_role new_role, uint64_t term, uint64_t leader) {
  struct sim_node *node = context;
  struct sim_cluster *cluster = node->cluster;
  node->role = new_role;
  node->term = term;
  node->leader = leader;
  if (!node->dying) {
    const struct journal_status status = node->journal->functions->status(node->journal);
    sim_fold(cluster->world, term << 8 | (uint64_t)new_role << 4 | leader);
    invariants_role(cluster->invariants, node->number, new_role, term, status.last_index);
    cluster_observe_membership(node);
    if (sim_traced(cluster->world))
      sim_tell(cluster->world, "role", (int)node->number, -1, 0, "%s of term %" PRIu64 ", leader %" PRIu64,
               new_role == JOURNAL_LEADER ? "leader" : "follower", term, leader);
    if (cluster->violated)
      return;
  }
  node->inner->role(node->inner->context, new_role, term, leader);
  if (new_role == JOURNAL_LEADER && !node->dying && cluster->elected)
    cluster->elected(cluster->elected_owner);
}

static void snapshot_open(void *context,
                          void (*done)(void *done_context, struct snapshot *snapshot,
                                       const struct error *error),
                          void *done_context) {
  struct sim_node *node = context;
  if (!node->dying && !node->ending)
    observe_state(node);
  node->inner->snapshot_open(node->inner->context, done, done_context);
}

static void make_durable(void *context) {
  struct sim_node *node = context;
  if (!node->dying && !node->ending)
    observe_state(node);
  node->inner->make_durable(node->inner->context);
}

static void receive_begin(void *context, uint64_t index, uint64_t term, const struct snapshot_file *files,
                          size_t file_count, snapshot_receive_done *done, void *owner) {
  struct sim_node *node = context;
  node->receiving_index = index;
  node->receiving_term = term;
  node->inner->receive_begin(node->inner->context, index, term, files, file_count, done, owner);
}

static void receive_write(void *context, uint64_t file, uint64_t offset, const void *data, size_t size,
                          snapshot_receive_done *done, void *owner) {
  const struct sim_node *node = context;
  node->inner->receive_write(node->inner->context, file, offset, data, size, done, owner);
}

static void receive_prepare(void *context, snapshot_receive_done *done, void *owner) {
  const struct sim_node *node = context;
  node->inner->receive_prepare(node->inner->context, done, owner);
}

static int receive_install(void *context, struct error *error) {
  struct sim_node *node = context;
  struct sim_cluster *cluster = node->cluster;
  const int status = node->inner->receive_install(node->inner->context, error);
  if (status != 0 || node->dying)
    return status;
  cluster->snapshots_installed++;
  invariants_installed(cluster->invariants, node->number, node->receiving_index, node->receiving_term);
  observe_state(node);
  if (sim_traced(cluster->world))
    sim_tell(cluster->world, "snapshot", (int)node->number, -1, 0, "installed, up to index %" PRIu64,
             node->receiving_index);
  return 0;
}

static void receive_forget(void *context, uint64_t index) {
  const struct sim_node *node = context;
  node->inner->receive_forget(node->inner->context, index);
}

static void journal_fatal(void *context, const struct error *error) {
  struct sim_node *node = context;
  node->inner->fatal(node->inner->context, error);
}

static void watch(struct sim_node *node) {
  node->inner = primary_state_machine(node->primary);
  node->machine = *node->inner;
  node->machine.context = node;
  node->machine.durable = durable;
  node->machine.committed = committed;
  node->machine.is_full = is_full;
  node->machine.role = role;
  node->machine.snapshot_open = snapshot_open;
  node->machine.receive_begin = receive_begin;
  node->machine.receive_write = receive_write;
  node->machine.make_durable = make_durable;
  node->machine.receive_prepare = receive_prepare;
  node->machine.receive_install = receive_install;
  node->machine.receive_forget = receive_forget;
  node->machine.fatal = journal_fatal;
}

/* -- ends ----------------------------------------------------------------------------------------------- */

static void set_flag(void *owner) {
  *(bool *)owner = true;
}

/* What the primary deferred before it went runs once more. */
static void run_last_turn(struct sim_node *node) {
  struct sim_world *world = node->cluster->world;
  const struct world *door = sim_door(world, node->number);
  bool done = false;
  door->defer(door->context, set_flag, &done);
  sim_bury(world, node->number, &done);
}

/* The primary must be gone before it has another turn. */
static void journal_closed(void *context) {
  struct sim_node *node = context;
  node->journal = NULL;
  primary_free(node->primary);
  node->primary = NULL;
  node->closed = true;
}

static void bury(struct sim_node *node) {
  struct sim_world *world = node->cluster->world;
  node->dying = true;
  node->up = false;
  node->ending = false;
  const uint64_t last_index = node->journal->functions->status(node->journal).last_index;
  if (last_index > 0) /* else it never came to read its log */
    node->last_index = last_index;
  node->role = JOURNAL_FOLLOWER;
  node->closed = false;
  node->journal->functions->close(node->journal, journal_closed, node);
  node->store->functions->drain(node->store, true); /* snapshots it waits for */
  sim_bury(world, node->number, &node->closed);
  run_last_turn(node);
  row_store_close(node->store);
  node->store = NULL;
}

static void end_life(struct sim_node *node, bool orderly) {
  struct sim_cluster *cluster = node->cluster;
  sim_crash(cluster->world, node->number, orderly);
  bury(node);
  if (cluster->sessions)
    sessions_node_died(cluster->sessions, node->number);
  if (cluster->reports)
    reports_node_died(cluster->reports, node->number);
}

void sim_cluster_crash(struct sim_cluster *cluster, size_t number, bool orderly) {
  struct sim_node *node = &cluster->nodes[number];
  if (!node->up)
    return;
  if (!orderly)
    cluster->crashes++;
  if (sim_traced(cluster->world))
    sim_tell(cluster->world, orderly ? "stop" : "crash", (int)number, -1, 0, "life %" PRIu64 " ends",
             node->life);
  end_life(node, orderly);
}

/* A node's own end; runs as an event of its own. */
struct ending {
  struct sim_cluster *cluster;
  size_t number;
  uint64_t life;
};

static void end_by_itself(void *owner, bool happens) {
  const struct ending ending = *(struct ending *)owner;
  free(owner);
  if (!happens)
    return;
  struct sim_node *node = &ending.cluster->nodes[ending.number];
  if (node->up && node->life == ending.life)
    end_life(node, false);
}

static bool excused(const struct sim_node *node) {
  return sim_now_ns(node->cluster->world) <= node->excused_until_ns;
}

static void blame(struct sim_node *node, const char *what, const struct error *error) {
  cluster_violate(node->cluster, EVIDENCE_FATAL, "", "node %zu %s: %s", node->number + 1, what,
                  error->message);
}

static void node_fatal(void *context, const struct error *error) {
  struct sim_node *node = context;
  struct sim_cluster *cluster = node->cluster;
  if (node->dying || node->ending)
    return;
  node->ending = true;
  if (sim_traced(cluster->world))
    sim_tell(cluster->world, "fatal", (int)node->number, -1, 0, "%s", error->message);
  if (!excused(node))
    blame(node, "ended by itself", error);
  struct ending *ending = xmalloc(sizeof *ending);
  *ending = (struct ending){cluster, node->number, node->life};
  sim_at(cluster->world, sim_now_ns(cluster->world), end_by_itself, ending);
}

/* -- beginnings ----------------------------------------------------------------------------------------- */

static int open_primary(struct sim_node *node, struct error *error) {
  const struct plan *plan = node->cluster->plan;
  const struct primary_options options = {.world = sim_door(node->cluster->world, node->number),
                                          .store = node->store,
                                          .cache_size = plan->row_cache_size,
                                          .write_size = plan->write_size,
                                          .dirty_limit = DIRTY_WRITES * plan->write_size};
  const int status = primary_new(&options, &node->primary, error);
  if (status == 0)
    primary_on_fatal(node->primary, node_fatal, node);
  return status;
}

static int open_journal(struct sim_node *node, struct error *error) {
  static const uint64_t members[SIMULATOR_NODES_MAX] = {1, 2, 3, 4, 5};
  const struct sim_cluster *cluster = node->cluster;
  const struct plan *plan = cluster->plan;
  const struct raft_journal_options options = {.id = node->number + 1,
                                               .members = members,
                                               .member_count = node->joins ? 0
                                                               : cluster->options->members_fixed
                                                                   ? plan->nodes
                                                                   : plan->members,
                                               .cluster = CLUSTER_ID,
                                               .election_timeout_ms = plan->election_timeout_ms,
                                               .heartbeat_ms = plan->heartbeat_ms,
                                               .snapshot_threshold = plan->snapshot_threshold,
                                               .snapshot_trailing = plan->snapshot_trailing,
                                               .piece_size = PIECE_SIZE,
                                               .segment_size = plan->segment_size,
                                               .cache_size = plan->cache_size};
  watch(node);
  node->journal = cluster->options->journal(&options, sim_door(cluster->world, node->number), &node->machine);
  primary_attach(node->primary, node->journal);
  return node->journal->functions->start(node->journal, error);
}

static int begin_life(struct sim_node *node, struct error *error) {
  struct sim_cluster *cluster = node->cluster;
  node->life++;
  node->dying = false;
  node->term = node->leader = 0;
  node->store = sim_store(cluster->world, node->number);
  const int status = open_primary(node, error);
  if (status != 0) {
    sim_crash(cluster->world, node->number, false);
    row_store_close(node->store);
    node->store = NULL;
    return status;
  }
  node->up = true;
  invariants_born(cluster->invariants, node->number, primary_status(node->primary).applied_index);
  return open_journal(node, error);
}

int sim_cluster_start(struct sim_cluster *cluster, size_t number, bool is_excused) {
  struct sim_node *node = &cluster->nodes[number];
  struct error error = {0};
  if (node->up)
    return 0;
  if (!sim_alive(cluster->world, number))
    sim_revive(cluster->world, number);
  const int status = begin_life(node, &error);
  if (status == 0) {
    if (sim_traced(cluster->world))
      sim_tell(cluster->world, "start", (int)number, -1, 0, "life %" PRIu64 " begins", node->life);
    return 0;
  }
  if (sim_traced(cluster->world))
    sim_tell(cluster->world, "refuse", (int)number, -1, 0, "%s", error.message);
  if (!is_excused && !excused(node))
    blame(node, "does not start", &error);
  if (node->up)
    end_life(node, false);
  return status;
}

static void open_node(struct sim_cluster *cluster, size_t number) {
  cluster->nodes[number] =
      (struct sim_node){.cluster = cluster,
                        .number = number,
                        .joins = !cluster->options->members_fixed && number >= cluster->plan->members,
                        .excused_until_ns = INT64_MIN};
  sim_cluster_start(cluster, number, false);
}

struct sim_cluster *sim_cluster_new(struct sim_world *world, const struct plan *plan,
                                    const struct simulation_options *options) {
  struct sim_cluster *cluster = xcalloc(1, sizeof *cluster);
  cluster->world = world;
  cluster->plan = plan;
  cluster->options = options;
  cluster->invariants = invariants_new(plan->nodes, invariant_broken, cluster);
  for (size_t i = 0; i < plan->nodes; i++)
    open_node(cluster, i);
  cluster->sessions = sessions_new(cluster);
  if (plan->reports)
    cluster->reports = reports_new(cluster);
  return cluster;
}

void sim_cluster_free(struct sim_cluster *cluster) {
  for (size_t i = 0; i < cluster->plan->nodes; i++)
    if (cluster->nodes[i].up)
      end_life(&cluster->nodes[i], false);
  reports_free(cluster->reports);
  sim_sessions_free(cluster->sessions);
  invariants_free(cluster->invariants);
  free(cluster);
}

/* -- what clients find ---------------------------------------------------------------------------------- */

bool cluster_serves(const struct sim_cluster *cluster, size_t number, uint64_t life) {
  const struct sim_node *node = &cluster->nodes[number];
  return node->up && !node->ending && node->life == life;
}

struct greeting cluster_greet(const struct sim_cluster *cluster, size_t number) {
  const struct sim_node *node = &cluster->nodes[number];
  const struct primary_status status = primary_status(node->primary);
  return (struct greeting){.life = node->life,
                           .leader = status.journal.leader,
                           .serves = status.role != ROLE_STANDBY && status.role != ROLE_STEPPING_DOWN};
}

void cluster_ask(struct sim_cluster *cluster, size_t number, const struct request *request,
                 void (*answered)(void *context, const struct answer *answer), void *context) {
  primary_submit(cluster->nodes[number].primary, request, answered, context);
}

void cluster_check_answer(struct sim_cluster *cluster, size_t number, const struct request *request,
                          const struct answer *answer) {
  const bool settled = answer->status <= STATUS_VERSION_MISMATCH;
  sim_fold(cluster->world, (uint64_t)answer->status << 56 ^ answer->commit << 8 ^ number);
  if (op_is_read(request->code)) {
    if (settled)
      invariants_read(cluster->invariants, number, answer->commit);
  } else if (settled && request->op_id != 0 && answer->status != STATUS_INVALID) {
    /* A path that is none is invalid whatever the state is. */
    invariants_answered(cluster->invariants, number, request->op_id, answer->commit);
  }
}

/* -- what faults ask and say ---------------------------------------------------------------------------- */

void sim_cluster_excuse(struct sim_cluster *cluster, size_t node, int64_t until_ns) {
  if (cluster->nodes[node].excused_until_ns < until_ns)
    cluster->nodes[node].excused_until_ns = until_ns;
}

bool sim_cluster_up(const struct sim_cluster *cluster, size_t node) {
  return cluster->nodes[node].up;
}

void sim_cluster_on_election(struct sim_cluster *cluster, void (*elected)(void *owner), void *owner) {
  cluster->elected = elected;
  cluster->elected_owner = owner;
}

int sim_cluster_primary(const struct sim_cluster *cluster) {
  int primary = -1;
  for (size_t i = 0; i < cluster->plan->nodes; i++) {
    const struct sim_node *node = &cluster->nodes[i];
    if (node->up && !node->ending && node->role == JOURNAL_LEADER &&
        (primary < 0 || node->term > cluster->nodes[primary].term))
      primary = (int)i;
  }
  return primary;
}

static uint64_t log_end(const struct sim_node *node) {
  return node->up ? node->journal->functions->status(node->journal).last_index : node->last_index;
}

/* Applied is committed and durable in the node's own log, or in its store. */
static bool holds(const struct sim_cluster *cluster, size_t node, uint64_t index) {
  return cluster->nodes[node].up && invariants_applied(cluster->invariants, node) >= index;
}

/* Whose copies and votes count: the voters, as the leader has them; all where that never changes. */
bool sim_cluster_may_wipe(const struct sim_cluster *cluster, size_t number) {
  const struct sim_node *first = NULL;
  const uint64_t end = log_end(&cluster->nodes[number]);
  const int primary = sim_cluster_primary(cluster);
  if (primary < 0 || cluster->changes_asked > 0 || !cluster_is_settled(cluster, (size_t)primary))
    return false;
  size_t others = 0, voters = 0;
  const bool counts = cluster_is_member(cluster, (size_t)primary, number, false);
  for (size_t i = 0; i < cluster->plan->nodes; i++) {
    const struct sim_node *node = &cluster->nodes[i];
    const bool votes = cluster_is_member(cluster, (size_t)primary, i, true);
    voters += votes;
    if (i == number || !votes)
      continue;
    others++;
    if ((counts && !holds(cluster, i, end)) || !node->up || node->ending || node->leader == 0 ||
        node->leader == number + 1)
      return false;
    if (!first)
      first = node;
    if (node->term != first->term || node->leader != first->leader)
      return false;
  }
  /* One that knows nothing gives no vote: the others must be enough. */
  return 2 * others > voters;
}

void sim_cluster_wiped(struct sim_cluster *cluster, size_t node) {
  invariants_wiped(cluster->invariants, node);
  if (cluster->nodes[node].lost_index < cluster->nodes[node].last_index) /* else it had not caught up */
    cluster->nodes[node].lost_index = cluster->nodes[node].last_index;
  cluster->nodes[node].last_index = 0;
  cluster->nodes[node].joins |= cluster->changed;
}
