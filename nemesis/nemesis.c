/* nemesis.c: does what the schedule says is due, and tells of it.
 *
 * One timer on the loop. Every turn is written to the history twice, when it is about to be done ("invoke")
 * and when it is done or has failed ("info"), so that a history read later shows the whole time in which the
 * cluster may have been hurt.
 *
 * Taken for granted: everything done to the cluster here is short and bounded, so it blocks the loop. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "nemesis/membership.h"
#include "nemesis/mix.h"
#include "nemesis/nemesis_internal.h"
#include "nemesis/pace.h"

/* True when a fault that is present keeps this node down, or lets it end by itself. */
static bool is_held_down(const struct nemesis *nemesis, size_t node) {
  for (size_t i = 0; i < nemesis->schedule.present_count; i++) {
    const struct present *present = &nemesis->schedule.present[i];
    const struct fault *fault = present->plan.fault;
    if (present->aim.targets[node] && ((fault->touches & TOUCHES_PROCESSES) || fault->excuses_end))
      return true;
  }
  return false;
}

/* A call that failed just before its fault was healed takes a moment to end a node. */
#define EXCUSE_NS (3 * NS_PER_S)

static bool ended_by_itself(int wait_status) {
  return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EXIT_HARNESS;
}

/* A fault that is present allows the end; the node stays down until its heal. */
static bool is_excused(const struct nemesis *nemesis, size_t node) {
  for (size_t i = 0; i < nemesis->schedule.present_count; i++)
    if (nemesis->schedule.present[i].plan.fault->excuses_end &&
        nemesis->schedule.present[i].aim.targets[node])
      return true;
  return false;
}

static void excuse_for_a_moment(struct nemesis *nemesis, const struct present *healed, int64_t now_ns) {
  for (size_t i = 0; i < cluster_size(nemesis->cluster); i++)
    if (healed->plan.fault->excuses_end && healed->aim.targets[i])
      nemesis->excused_until_ns[i] = now_ns + EXCUSE_NS;
}

static void on_death(void *context, size_t node) {
  struct nemesis *nemesis = context;
  const int wait_status = cluster_node_exit_status(nemesis->cluster, node);
  const bool excused = ended_by_itself(wait_status) && is_excused(nemesis, node);
  const bool late =
      ended_by_itself(wait_status) && !excused && time_monotonic_ns() < nemesis->excused_until_ns[node];
  char reason[64];
  const char *lost = cluster_node_lost(nemesis->cluster, node);
  process_describe_end(wait_status, reason, sizeof reason);
  if (lost)
    tell_node(nemesis, node, "lost", lost);
  else
    tell_node(nemesis, node, excused || late ? "ended" : "died", reason);
  if (late && cluster_start(nemesis->cluster, node, NULL) == 0)
    tell_node(nemesis, node, "restarted", "it had ended");
}

/* ---- Doing ---- */

static struct facts facts_now(const struct nemesis *nemesis) {
  const struct membership *membership = nemesis->cluster->membership;
  struct facts facts = {.nodes = cluster_size(nemesis->cluster),
                        .founders = cluster_founders(nemesis->cluster),
                        .primary = nemesis->primary,
                        .old_primary = nemesis->old_primary};
  for (size_t i = 0; i < facts.nodes; i++) {
    facts.free[i] = cluster_node_state(nemesis->cluster, i) == NODE_RUNNING;
    facts.node[i] = nemesis->nodes[i];
    facts.outside[i] = membership && membership_seat(membership, i) == SEAT_NONE;
    facts.standby[i] = membership && membership_seat(membership, i) == SEAT_STANDBY;
  }
  for (int i = 0; i < CAPABILITIES; i++)
    facts.lacks[i] = cluster_lacks(nemesis->cluster, (enum capability)i);
  return facts;
}

static int skip(struct nemesis *nemesis, size_t which, const struct aim *aim, bool try_again,
                const struct error *reason) {
  const int64_t now_ns = time_monotonic_ns();
  json_t *value = tell_describe(nemesis, schedule_plan(&nemesis->schedule, which), aim);
  if (schedule_skipped(&nemesis->schedule, which, try_again, now_ns)) {
    json_decref(value);
    return (int)reason->code;
  }
  json_object_set_new(value, "reason", tell_text(reason));
  tell_history(nemesis, false, "skip", value, now_ns);
  tell_fault(nemesis, "skipped", value, now_ns);
  return (int)reason->code;
}

static int install(struct nemesis *nemesis, size_t which, bool patient, struct error *error) {
  struct schedule *schedule = &nemesis->schedule;
  const struct facts facts = facts_now(nemesis);
  struct aim aim;
  const int aimed = schedule_aim(schedule, which, &facts, &aim, error);
  if (aimed != 0)
    return skip(nemesis, which, NULL, patient && aimed == ERR_UNAVAILABLE, error);
  const struct plan plan = *schedule_plan(schedule, which);
  const struct sight before = nemesis_sight(nemesis, time_monotonic_ns());
  json_t *value = tell_describe(nemesis, &plan, &aim);
  tell_history(nemesis, true, "install", value, time_monotonic_ns());
  const int status = plan.fault->install(nemesis->cluster, &aim, error);
  if (status == GOES_ON) {
    json_decref(value);
    schedule_began(schedule, which, &aim, &before, time_monotonic_ns());
    return 0;
  }
  if (status != 0) {
    struct error undone = {0};
    json_decref(value);
    if (plan.fault->heal(nemesis->cluster, &aim, &undone) < 0)
      log_error("%s is half done and cannot be undone now: %s", plan.fault->description.name, undone.message);
    return skip(nemesis, which, &aim, false, error);
  }
  const int64_t now_ns = time_monotonic_ns();
  tell_history(nemesis, false, "install", value, now_ns);
  const struct sight sight = nemesis_sight(nemesis, now_ns);
  json_object_set_new(value, "seen", tell_seen(nemesis, &sight));
  tell_fault(nemesis, "installed", value, now_ns);
  schedule_installed(schedule, which, &aim, now_ns);
  return 0;
}

int nemesis_restart_dead(struct nemesis *nemesis, struct error *error) {
  int first = 0;
  for (size_t i = 0; i < cluster_size(nemesis->cluster); i++) {
    const enum node_state state = cluster_node_state(nemesis->cluster, i);
    if (state == NODE_RUNNING || is_held_down(nemesis, i) || nemesis->cluster->nodes[i].off)
      continue;
    struct error *report = first == 0 ? error : NULL;
    const int status = state == NODE_PAUSED ? cluster_resume(nemesis->cluster, i, report)
                                            : cluster_start(nemesis->cluster, i, report);
    first = first == 0 ? status : first;
    if (status == 0 && state == NODE_DIED)
      tell_node(nemesis, i, "restarted", "it had ended");
  }
  return first;
}

static json_t *evidence_of(const struct present *present) {
  json_t *evidence = json_object();
  for (size_t i = 0; i < present->evidence_count; i++)
    json_object_set_new(evidence, present->evidence[i].name, json_real(present->evidence[i].value));
  return evidence;
}

/* What precedes the first heal of a fault that is present: some go on for several. */
static void begin_heal(struct nemesis *nemesis, struct present *present, const json_t *value) {
  const struct fault *fault = present->plan.fault;
  if (present->stuck || present->ends || present->failed.code)
    return;
  tell_history(nemesis, true, "heal", value, time_monotonic_ns());
  if (fault->measure)
    present->evidence_count = fault->measure(nemesis->cluster, &present->aim, present->evidence);
}

static void tell_stuck(struct nemesis *nemesis, size_t which, json_t *value, const struct error *error,
                       int64_t now_ns) {
  json_object_set_new(value, "reason", tell_text(error));
  if (!nemesis->schedule.present[which].stuck)
    tell_fault(nemesis, "stuck", json_incref(value), now_ns);
  schedule_stuck(&nemesis->schedule, which, now_ns);
}

/* When it began, and what was known then: what it took to be installed is its own doing. */
static void tell_beginning(const struct nemesis *nemesis, const struct present *present, json_t *value) {
  if (present->began_ns == 0)
    return;
  json_object_set_new(value, "began_ns", json_integer((json_int_t)present->began_ns));
  json_object_set_new(value, "seen", tell_seen(nemesis, &present->sight));
}

/* It is healed, or was never whole and is undone. */
static void tell_healed(struct nemesis *nemesis, const struct present *healed, json_t *value,
                        int64_t now_ns) {
  const bool failed = healed->failed.code != 0;
  if (failed) {
    json_object_set_new(value, "reason", tell_text(&healed->failed));
    nemesis->failed_number = healed->plan.number;
    nemesis->failed = healed->failed;
  } else if (healed->plan.fault->measure) {
    json_object_set_new(value, "evidence", evidence_of(healed));
  }
  tell_history(nemesis, false, failed ? "skip" : "heal", value, now_ns);
  if (failed)
    tell_beginning(nemesis, healed, value);
  tell_fault(nemesis, failed ? "skipped" : "healed", json_incref(value), now_ns);
}

int nemesis_heal_present(struct nemesis *nemesis, size_t which, struct error *error) {
  struct schedule *schedule = &nemesis->schedule;
  struct present *present = &schedule->present[which];
  if (present->begins) {
    struct error why = {0};
    error_set(&why, ERR_UNAVAILABLE, "it was to end before it had taken hold");
    schedule_failed(schedule, which, &why, time_monotonic_ns());
  }
  json_t *value = tell_describe(nemesis, &present->plan, &present->aim);
  begin_heal(nemesis, present, value);
  const int status = present->plan.fault->heal(nemesis->cluster, &present->aim, error);
  const int64_t now_ns = time_monotonic_ns();
  if (status == GOES_ON) {
    schedule_ends(schedule, which, now_ns);
  } else if (status != 0) {
    tell_stuck(nemesis, which, value, error, now_ns);
  } else {
    const struct present healed = *present;
    schedule_healed(schedule, which, now_ns);
    excuse_for_a_moment(nemesis, &healed, now_ns);
    tell_healed(nemesis, &healed, value, now_ns);
    nemesis_restart_dead(nemesis, NULL);
  }
  json_decref(value);
  return status;
}

/* How an installation that goes on stands. */
static void await_present(struct nemesis *nemesis, size_t which) {
  struct schedule *schedule = &nemesis->schedule;
  const struct present *present = &schedule->present[which];
  struct error error = {0};
  const int status = present->plan.fault->await(nemesis->cluster, &present->aim, &error);
  const int64_t now_ns = time_monotonic_ns();
  if (status == GOES_ON && now_ns < present->give_up_ns) {
    schedule_waits(schedule, which, now_ns);
    return;
  }
  if (status != 0) {
    if (error.code == 0)
      error_set(&error, ERR_TIMEOUT, "it did not take hold in time");
    schedule_failed(schedule, which, &error, now_ns);
    return;
  }
  json_t *value = tell_describe(nemesis, &present->plan, &present->aim);
  tell_history(nemesis, false, "install", value, now_ns);
  tell_beginning(nemesis, present, value);
  tell_fault(nemesis, "installed", value, now_ns);
  schedule_took_hold(schedule, which, now_ns);
}

/* An act that failed is no reason to stop: the heal undoes the fault whole. */
static void act(struct nemesis *nemesis, size_t which) {
  struct present *present = &nemesis->schedule.present[which];
  const struct fault *fault = present->plan.fault;
  struct facts facts = facts_now(nemesis);
  facts.stage = &present->stage;
  struct error error = {0};
  const int64_t began_ns = time_monotonic_ns();
  const int status = fault->act(nemesis->cluster, &facts, &present->aim, present->acts, &error);
  const int64_t now_ns = time_monotonic_ns();
  if (status != ACT_QUIET) {
    json_t *value = tell_describe(nemesis, &present->plan, &present->aim);
    json_object_set_new(value, "step", json_integer((json_int_t)present->acts));
    tell_history(nemesis, true, "act", value, began_ns);
    if (status < 0) {
      json_object_set_new(value, "reason", tell_text(&error));
      log_warn("act %zu of %s failed: %s", present->acts, fault->description.name, error.message);
    }
    tell_history(nemesis, false, "act", value, now_ns);
    tell_fault(nemesis, "act", value, now_ns);
  }
  schedule_act_done(&nemesis->schedule, which, status == ACT_OVER, now_ns);
}

static void on_timer(uv_timer_t *timer);

static void wait_for_turn(struct nemesis *nemesis) {
  const int64_t when_ns = schedule_when(&nemesis->schedule);
  if (when_ns == NEVER)
    return;
  const int64_t wait_ns = when_ns - time_monotonic_ns();
  /* Rounded up: a timer that came early would find nothing due. */
  const uint64_t wait_ms = wait_ns > 0 ? (uint64_t)((wait_ns + NS_PER_MS - 1) / NS_PER_MS) : 0;
  uv_update_time(nemesis->loop);
  uv_timer_start(&nemesis->timer, on_timer, wait_ms, 0);
}

static void on_timer(uv_timer_t *timer) {
  struct nemesis *nemesis = CONTAINER_OF(timer, struct nemesis, timer);
  size_t which = 0;
  struct error error = {0};
  switch (schedule_turn(&nemesis->schedule, time_monotonic_ns(), &which)) {
  case TURN_NONE:
    break;
  case TURN_INSTALL:
    install(nemesis, which, true, &error);
    break;
  case TURN_ACT:
    (nemesis->schedule.present[which].begins ? await_present : act)(nemesis, which);
    break;
  case TURN_HEAL:
    nemesis_heal_present(nemesis, which, &error);
    break;
  }
  if (!nemesis->writer)
    schedule_end(&nemesis->schedule, time_monotonic_ns());
  wait_for_turn(nemesis);
}

/* ---- Life ---- */

static void on_closed(uv_handle_t *handle) {
  struct nemesis *nemesis = CONTAINER_OF(handle, struct nemesis, timer);
  script_free(&nemesis->schedule.script);
  free(nemesis);
}

static int read_schedule(const char *path, size_t nodes, struct script *script, struct error *error) {
  struct bytes text = {0};
  int status = file_read(path, &text, error);
  if (status == 0)
    status = script_read((const char *)text.data, text.size, path, nodes, script, error);
  bytes_free(&text);
  return status;
}

int nemesis_schedule_needs(const char *path, size_t nodes, unsigned *needs, struct error *error) {
  struct script script = {0};
  const int status = read_schedule(path, nodes, &script, error);
  *needs = 0;
  for (size_t i = 0; i < script.count; i++)
    *needs |= script.entries[i].fault->needs;
  script_free(&script);
  return status;
}

int nemesis_new(uv_loop_t *loop, struct cluster *cluster, const struct nemesis_options *options,
                void (*event)(void *context, const char *json), void *context, struct nemesis **nemesis,
                struct error *error) {
  const struct fault *faults[FAULTS_MAX];
  size_t count;
  int status = catalogue_select(options->families, faults, &count, error);
  if (status != 0)
    return status;
  struct nemesis *made = xcalloc(1, sizeof *made);
  made->loop = loop;
  made->cluster = cluster;
  made->primary = made->old_primary = -1;
  made->event = event;
  made->event_context = context;
  if (options->schedule)
    status = read_schedule(options->schedule, cluster_founders(cluster), &made->schedule.script, error);
  if (status == 0)
    status = history_writer_open(options->history, "fs", NULL, &made->writer, error);
  if (status != 0) {
    script_free(&made->schedule.script);
    free(made);
    return status;
  }
  const struct facts facts = facts_now(made);
  struct tempo tempo = {options->interval_ns, options->duration_ns};
  mix_tempo(options->families, &tempo);
  if (catalogue_is_swarm(options->families))
    swarm_draw(options->seed, faults, &count, &tempo);
  pace_plan(options->paces, options->seed, tempo.duration_ns, faults, &count, &made->schedule.script);
  planner_init(&made->schedule.planner, options->seed, faults, count, &facts, tempo.interval_ns,
               tempo.duration_ns);
  made->schedule.next_ns = NEVER;
  uv_timer_init(loop, &made->timer);
  cluster_watch(cluster, on_death, made);
  *nemesis = made;
  return 0;
}

/* ---- What the caller sees of the cluster ---- */

static void observe(struct nemesis *nemesis) {
  if (!nemesis->started || nemesis->stopping)
    return;
  schedule_observe(&nemesis->schedule, &nemesis->seen, time_monotonic_ns());
  wait_for_turn(nemesis);
}

static void raise_to(uint64_t *counter, uint64_t value) {
  if (value > *counter)
    *counter = value;
}

/* The primary of the highest term; a deposed one that cannot know it may still say that it is one. */
static void elect(struct nemesis *nemesis) {
  int primary = -1;
  uint64_t term = 0;
  for (size_t i = 0; i < cluster_size(nemesis->cluster); i++)
    if (nemesis->nodes[i].known && nemesis->nodes[i].primary && nemesis->nodes[i].term > term) {
      primary = (int)i;
      term = nemesis->nodes[i].term;
    }
  if (primary >= 0 && (primary != nemesis->primary || term != nemesis->primary_term)) {
    if (nemesis->primary_term != 0 && nemesis->started) {
      nemesis->seen.counts[COUNTER_ELECTION]++;
      nemesis->elected_ns = time_monotonic_ns();
    }
    nemesis->primary_term = term;
  }
  if (nemesis->primary >= 0 && nemesis->primary != primary)
    nemesis->old_primary = nemesis->primary;
  nemesis->primary = primary;
  if (nemesis->cluster->membership)
    membership_note_primary(nemesis->cluster->membership, primary);
}

void nemesis_note_node(struct nemesis *nemesis, size_t node, const struct node_facts *facts) {
  assert(node < cluster_size(nemesis->cluster));
  struct node_facts *known = &nemesis->nodes[node];
  if (facts->known) {
    /* A node that was started again counts from nothing. */
    const uint64_t before = facts->snapshots_begun >= known->snapshots_begun ? known->snapshots_begun : 0;
    if (nemesis->started)
      nemesis->seen.counts[COUNTER_SNAPSHOT] += facts->snapshots_begun - before;
    *known = *facts;
    raise_to(&nemesis->seen.counts[COUNTER_LOG_INDEX], facts->last_index);
    raise_to(&nemesis->seen.counts[COUNTER_TERM], facts->term);
  }
  known->known = facts->known;
  elect(nemesis);
  observe(nemesis);
}

void nemesis_note_operations(struct nemesis *nemesis, uint64_t operations) {
  raise_to(&nemesis->seen.counts[COUNTER_OPERATION], operations);
  observe(nemesis);
}

bool nemesis_is_watching(const struct nemesis *nemesis) {
  const struct schedule *schedule = &nemesis->schedule;
  if (!nemesis->started || nemesis->stopping)
    return false;
  for (size_t i = 0; i < schedule->script.count; i++)
    if (!schedule->script.entries[i].done && schedule->script.entries[i].on.set)
      return true;
  for (size_t i = 0; i < schedule->present_count; i++)
    if (schedule->present[i].until.set || schedule->present[i].act_ns != NEVER)
      return true;
  return false;
}

/* ---- By hand ---- */

int nemesis_install(struct nemesis *nemesis, const char *entry, uint64_t *number, struct error *error) {
  json_error_t where;
  json_t *object = json_loads(entry, JSON_REJECT_DUPLICATES, &where);
  struct scripted scripted;
  size_t which = 0;
  if (!object)
    return error_set(error, ERR_BAD_INPUT, "not JSON at column %d: %s", where.column, where.text);
  int status = script_read_entry(object, "the fault", nemesis->schedule.script.count + 1,
                                 cluster_founders(nemesis->cluster), &scripted, error);
  json_decref(object);
  if (status == 0 && (!nemesis->started || nemesis->stopping))
    status = error_set(error, ERR_UNAVAILABLE, "the cluster is starting or ending");
  if (status == 0)
    status = script_add(&nemesis->schedule.script, &scripted, time_monotonic_ns(), &which, error);
  if (status != 0)
    return status;
  *number = schedule_plan(&nemesis->schedule, which)->number;
  if (script_due(&nemesis->schedule.script, time_monotonic_ns()) == which)
    status = install(nemesis, which, false, error);
  wait_for_turn(nemesis);
  return status;
}

int nemesis_heal(struct nemesis *nemesis, uint64_t number, struct error *error) {
  struct schedule *schedule = &nemesis->schedule;
  const size_t which = schedule_find(schedule, number);
  int status = 0;
  if (number != 0 && which == SIZE_MAX)
    return error_set(error, ERR_NOT_FOUND, "no fault %llu is present; assay nemesis status shows them",
                     (unsigned long long)number);
  if (number != 0)
    status = nemesis_heal_present(nemesis, which, error);
  /* The last one first: it stands on what the first has left. */
  for (size_t i = schedule->present_count; number == 0 && status >= 0 && i-- > 0;)
    status = nemesis_heal_present(nemesis, i, error);
  status = status == GOES_ON ? 0 : status;
  if (number == 0 && status == 0)
    status = nemesis_restart_dead(nemesis, error);
  wait_for_turn(nemesis);
  return status;
}

int nemesis_progress(const struct nemesis *nemesis, uint64_t number, struct error *error) {
  for (size_t i = 0; i < nemesis->schedule.present_count; i++) {
    const struct present *present = &nemesis->schedule.present[i];
    if ((number == 0 || present->plan.number == number) &&
        (present->begins || present->ends || present->failed.code))
      return 1;
  }
  if (number == 0 || nemesis->failed_number != number)
    return 0;
  *error = nemesis->failed;
  return (int)nemesis->failed.code;
}

char *nemesis_describe(const struct nemesis *nemesis) {
  static const char *const states[] = {"stopped", "running", "paused", "died"};
  static const char *const seats[] = {"none", "standby", "voter"};
  const struct membership *membership = nemesis->cluster->membership;
  const int64_t now_ns = time_monotonic_ns();
  json_t *faults = json_array(), *nodes = json_array();
  for (size_t i = 0; i < nemesis->schedule.present_count; i++) {
    const struct present *present = &nemesis->schedule.present[i];
    json_t *fault = tell_describe(nemesis, &present->plan, &present->aim);
    json_object_set_new(fault, "since_ms",
                        json_integer((json_int_t)((now_ns - present->installed_ns) / NS_PER_MS)));
    json_array_append_new(faults, fault);
  }
  for (size_t i = 0; i < cluster_size(nemesis->cluster); i++) {
    const bool off = nemesis->cluster->nodes[i].off;
    json_array_append_new(
        nodes, json_pack("{s:s, s:s, s:b, s:I, s:s*}", "node", cluster_node_name(nemesis->cluster, i),
                         "state", off ? "off" : states[cluster_node_state(nemesis->cluster, i)], "primary",
                         (int)i == nemesis->primary, "pid", (json_int_t)cluster_node_pid(nemesis->cluster, i),
                         "member", membership ? seats[membership_seat(membership, i)] : NULL));
  }
  json_t *object = json_pack("{s:o, s:o}", "faults", faults, "nodes", nodes);
  char *text = json_dumps(object, JSON_COMPACT);
  json_decref(object);
  return text;
}

void nemesis_start(struct nemesis *nemesis) {
  assert(!nemesis->started);
  nemesis->started = true;
  if (nemesis->stopping)
    return;
  schedule_begin(&nemesis->schedule, time_monotonic_ns());
  observe(nemesis);
}

void nemesis_free(struct nemesis *nemesis) {
  if (!nemesis)
    return;
  cluster_watch(nemesis->cluster, NULL, NULL);
  if (nemesis->writer)
    history_writer_close(nemesis->writer, NULL);
  uv_close((uv_handle_t *)&nemesis->timer, on_closed);
}
