/* nemesis.c: does what the schedule says is due, and tells of it.
 *
 * One timer on the loop. Every turn is written to the history twice, when it is about to be done ("invoke")
 * and when it is done or has failed ("info"), so that a history read later shows the whole time in which the
 * cluster may have been hurt.
 *
 * Taken for granted: everything done to the cluster here is short and bounded, so it blocks the loop. */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "histories/histories.h"
#include "nemesis/cluster.h"
#include "nemesis/schedule.h"

struct nemesis {
  uv_loop_t *loop;
  struct cluster *cluster;
  struct schedule schedule;
  uv_timer_t timer;
  int primary;
  struct history_writer *writer; /* NULL when it has failed, which ends the planning of faults */
  void (*event)(void *context, const char *json);
  void *event_context;
  bool started, stopping;
  void (*healed)(void *context, int status, const struct error *error);
  void *healed_context;
};

/* ---- Telling ---- */

static void tell(struct nemesis *nemesis, json_t *event, int64_t time_ns) {
  json_object_set_new(event, "time_ns", json_integer((json_int_t)time_ns));
  char *text = json_dumps(event, JSON_COMPACT);
  assert(text); /* all strings in it are ours, and UTF-8 */
  nemesis->event(nemesis->event_context, text);
  free(text);
  json_decref(event);
}

/* Text that may hold the name of a file, and so anything. */
static json_t *text_of_error(const struct error *error) {
  json_t *text = json_string(error->message);
  return text ? text : json_string("a message that is not UTF-8; see the log");
}

/* Writes one line of the history; the first failure is told. */
static void record(struct nemesis *nemesis, bool start, const char *f, json_t *value, int64_t time_ns) {
  char *text = json_dumps(value, JSON_COMPACT);
  struct error error = {0};
  if (nemesis->writer && history_write_nemesis(nemesis->writer, start, f, text, time_ns, &error) != 0) {
    history_writer_close(nemesis->writer, NULL);
    nemesis->writer = NULL;
    log_error("%s", error.message);
    tell(nemesis, json_pack("{s:s, s:o}", "event", "error", "message", text_of_error(&error)), time_ns);
  }
  free(text);
}

static json_t *name_nodes(const struct nemesis *nemesis, const bool *nodes) {
  json_t *names = json_array();
  for (size_t i = 0; i < cluster_size(nemesis->cluster); i++)
    if (nodes[i])
      json_array_append_new(names, json_string(cluster_node_name(nemesis->cluster, i)));
  return names;
}

/* {"n1": ["n2"]}: n1 drops what n2 sends. */
static json_t *name_grudge(const struct nemesis *nemesis, const struct aim *aim) {
  const size_t nodes = cluster_size(nemesis->cluster);
  json_t *grudge = json_object();
  for (size_t node = 0; node < nodes; node++) {
    bool dropped[CLUSTER_NODES_MAX] = {false}, any = false;
    for (size_t other = 0; other < nodes; other++) {
      dropped[other] = !aim->hears[node * nodes + other];
      any = any || dropped[other];
    }
    if (any)
      json_object_set_new(grudge, cluster_node_name(nemesis->cluster, node), name_nodes(nemesis, dropped));
  }
  return grudge;
}

/* What the history and the events say of a fault; `aim` NULL: it could not be aimed. */
static json_t *describe(const struct nemesis *nemesis, const struct plan *plan, const struct aim *aim) {
  json_t *value = json_pack("{s:I, s:s, s:s, s:o}", "number", (json_int_t)plan->number, "fault",
                            plan->fault->description.name, "family", plan->fault->description.family,
                            "targets", aim ? name_nodes(nemesis, aim->targets) : json_array());
  if (aim && aim->cuts)
    json_object_set_new(value, "grudge", name_grudge(nemesis, aim));
  return value;
}

/* Takes `value`. */
static void tell_fault(struct nemesis *nemesis, const char *phase, json_t *value, int64_t time_ns) {
  json_t *event = json_pack("{s:s, s:s}", "event", "fault", "phase", phase);
  json_object_update(event, value);
  json_decref(value);
  tell(nemesis, event, time_ns);
}

static void tell_node(struct nemesis *nemesis, size_t node, const char *state, const char *reason) {
  const int64_t now_ns = time_monotonic_ns();
  const char *name = cluster_node_name(nemesis->cluster, node);
  json_t *value = json_pack("{s:s, s:s, s:s}", "node", name, "state", state, "reason", reason);
  record(nemesis, false, "node", value, now_ns);
  json_t *event = json_pack("{s:s}", "event", "node");
  json_object_update(event, value);
  json_decref(value);
  tell(nemesis, event, now_ns);
}

static void on_death(void *context, size_t node) {
  struct nemesis *nemesis = context;
  char reason[64];
  process_describe_end(cluster_node_exit_status(nemesis->cluster, node), reason, sizeof reason);
  tell_node(nemesis, node, "died", reason);
}

/* ---- Doing ---- */

static struct facts facts_now(const struct nemesis *nemesis) {
  struct facts facts = {.nodes = cluster_size(nemesis->cluster), .primary = nemesis->primary};
  for (size_t i = 0; i < facts.nodes; i++)
    facts.free[i] = cluster_node_state(nemesis->cluster, i) == NODE_RUNNING;
  facts.no_links = nemesis->cluster->functions->set_links ? NULL : "provider host cannot cut links";
  return facts;
}

static void skip(struct nemesis *nemesis, const struct aim *aim, bool try_another,
                 const struct error *reason) {
  const int64_t now_ns = time_monotonic_ns();
  json_t *value = describe(nemesis, &nemesis->schedule.next, aim);
  json_object_set_new(value, "reason", text_of_error(reason));
  record(nemesis, false, "skip", value, now_ns);
  tell_fault(nemesis, "skipped", value, now_ns);
  schedule_skipped(&nemesis->schedule, try_another, now_ns);
}

static void install_next(struct nemesis *nemesis) {
  struct plan *plan = &nemesis->schedule.next;
  const struct facts facts = facts_now(nemesis);
  struct aim aim;
  struct error error = {0};
  const int aimed = fault_aim(plan->fault, &facts, &plan->aim, &aim, &error);
  if (aimed != 0) {
    skip(nemesis, NULL, aimed == ERR_UNAVAILABLE, &error);
    return;
  }
  json_t *value = describe(nemesis, plan, &aim);
  record(nemesis, true, "install", value, time_monotonic_ns());
  if (plan->fault->install(nemesis->cluster, &aim, &error) != 0) {
    struct error undone = {0};
    json_decref(value);
    if (plan->fault->heal(nemesis->cluster, &aim, &undone) != 0)
      log_error("%s is half done and cannot be undone now: %s", plan->fault->description.name,
                undone.message);
    skip(nemesis, &aim, false, &error);
    return;
  }
  const int64_t now_ns = time_monotonic_ns();
  record(nemesis, false, "install", value, now_ns);
  tell_fault(nemesis, "installed", value, now_ns);
  schedule_installed(&nemesis->schedule, &aim, now_ns);
}

/* True when a fault that is present keeps this node down. */
static bool held_down(const struct nemesis *nemesis, size_t node) {
  for (size_t i = 0; i < nemesis->schedule.present_count; i++)
    if (!nemesis->schedule.present[i].aim.cuts && nemesis->schedule.present[i].aim.targets[node])
      return true;
  return false;
}

/* Nodes that died unasked, and those that a half-done fault has left behind. */
static int restart_dead(struct nemesis *nemesis, struct error *error) {
  int first = 0;
  for (size_t i = 0; i < cluster_size(nemesis->cluster); i++) {
    const enum node_state state = cluster_node_state(nemesis->cluster, i);
    if (state == NODE_RUNNING || held_down(nemesis, i))
      continue;
    struct error *report = first == 0 ? error : NULL;
    const int status = state == NODE_PAUSED ? cluster_resume(nemesis->cluster, i, report)
                                            : cluster_start(nemesis->cluster, i, report);
    first = first == 0 ? status : first;
    if (status == 0 && state == NODE_DIED)
      tell_node(nemesis, i, "restarted", "it had died");
  }
  return first;
}

static void heal_present(struct nemesis *nemesis, size_t which) {
  const struct present present = nemesis->schedule.present[which];
  const struct fault *fault = present.plan.fault;
  struct error error = {0};
  size_t rules = 0;
  uint64_t dropped = 0;
  json_t *value = describe(nemesis, &present.plan, &present.aim);
  if (!present.stuck)
    record(nemesis, true, "heal", value, time_monotonic_ns());
  const bool counted = present.aim.cuts && cluster_count_rules(nemesis->cluster, &rules, &dropped, NULL) == 0;
  const int status = fault->heal(nemesis->cluster, &present.aim, &error);
  const int64_t now_ns = time_monotonic_ns();
  if (status != 0) {
    json_object_set_new(value, "reason", text_of_error(&error));
    if (!present.stuck)
      tell_fault(nemesis, "stuck", json_incref(value), now_ns);
    schedule_stuck(&nemesis->schedule, which, now_ns);
    json_decref(value);
    return;
  }
  if (counted)
    json_object_set_new(value, "packets_dropped", json_integer((json_int_t)dropped));
  schedule_healed(&nemesis->schedule, which, now_ns);
  record(nemesis, false, "heal", value, now_ns);
  tell_fault(nemesis, "healed", value, now_ns);
  restart_dead(nemesis, NULL);
}

/* A second act that failed is no reason to stop: the heal undoes the fault whole. */
static void second_act(struct nemesis *nemesis, size_t which) {
  const struct present *present = &nemesis->schedule.present[which];
  const struct fault *fault = present->plan.fault;
  struct error error = {0};
  json_t *value = describe(nemesis, &present->plan, &present->aim);
  record(nemesis, true, "second", value, time_monotonic_ns());
  if (fault->second(nemesis->cluster, &present->aim, &error) != 0) {
    json_object_set_new(value, "reason", text_of_error(&error));
    log_warn("the second act of %s failed: %s", fault->description.name, error.message);
  }
  const int64_t now_ns = time_monotonic_ns();
  record(nemesis, false, "second", value, now_ns);
  tell_fault(nemesis, "second", value, now_ns);
  schedule_second_done(&nemesis->schedule, which);
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
  switch (schedule_turn(&nemesis->schedule, time_monotonic_ns(), &which)) {
  case TURN_NONE:
    break;
  case TURN_INSTALL:
    install_next(nemesis);
    break;
  case TURN_SECOND:
    second_act(nemesis, which);
    break;
  case TURN_HEAL:
    heal_present(nemesis, which);
    break;
  }
  if (!nemesis->writer)
    schedule_end(&nemesis->schedule, time_monotonic_ns());
  wait_for_turn(nemesis);
}

/* ---- Life ---- */

static void on_closed(uv_handle_t *handle) {
  free(CONTAINER_OF(handle, struct nemesis, timer));
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
  made->primary = -1;
  made->event = event;
  made->event_context = context;
  status = history_writer_open(options->history, "fs", NULL, &made->writer, error);
  if (status != 0) {
    free(made);
    return status;
  }
  const struct facts facts = facts_now(made);
  planner_init(&made->schedule.planner, options->seed, faults, count, &facts, options->interval_ns,
               options->duration_ns);
  made->schedule.next_ns = NEVER;
  uv_timer_init(loop, &made->timer);
  cluster_watch(cluster, on_death, made);
  *nemesis = made;
  return 0;
}

void nemesis_note_primary(struct nemesis *nemesis, int node) {
  assert(node < (int)cluster_size(nemesis->cluster));
  nemesis->primary = node < 0 ? -1 : node;
}

void nemesis_start(struct nemesis *nemesis) {
  assert(!nemesis->started);
  nemesis->started = true;
  if (nemesis->stopping)
    return;
  schedule_begin(&nemesis->schedule, time_monotonic_ns());
  wait_for_turn(nemesis);
}

/* All that nemesis_stop promises, whatever state the faults have left behind. */
static int restore(struct nemesis *nemesis, struct error *error) {
  bool all[CLUSTER_NODES_MAX * CLUSTER_NODES_MAX];
  memset(all, true, sizeof all);
  int status = restart_dead(nemesis, error);
  if (!cluster_links_clear(nemesis->cluster, NULL) && cluster_set_links(nemesis->cluster, all, NULL) == 0)
    log_warn("links were still cut, and are no more");
  if (status == 0 && !cluster_links_clear(nemesis->cluster, error))
    status = ERR_IO;
  for (size_t i = 0; i < cluster_size(nemesis->cluster) && status == 0; i++)
    if (cluster_node_state(nemesis->cluster, i) != NODE_RUNNING)
      status = error_set(error, ERR_IO, "node %s does not run", cluster_node_name(nemesis->cluster, i));
  return status;
}

static void on_stop(uv_timer_t *timer) {
  struct nemesis *nemesis = CONTAINER_OF(timer, struct nemesis, timer);
  struct schedule *schedule = &nemesis->schedule;
  struct error error = {0};
  /* The last one first: it stands on what the first has left. */
  while (schedule->present_count > 0) {
    const size_t before = schedule->present_count;
    heal_present(nemesis, before - 1);
    if (schedule->present_count == before)
      heal_present(nemesis, before - 1);
    if (schedule->present_count == before)
      schedule->present_count--; /* restore() tries without knowing the fault, or says what is left */
  }
  if (restore(nemesis, &error) == 0 && !nemesis->writer)
    error_set(&error, ERR_IO, "the history of the nemesis could not be written");
  nemesis->healed(nemesis->healed_context, error.code, &error);
}

void nemesis_stop(struct nemesis *nemesis,
                  void (*healed)(void *context, int status, const struct error *error), void *context) {
  assert(!nemesis->stopping);
  nemesis->stopping = true;
  nemesis->healed = healed;
  nemesis->healed_context = context;
  uv_timer_start(&nemesis->timer, on_stop, 0, 0);
}

void nemesis_free(struct nemesis *nemesis) {
  if (!nemesis)
    return;
  cluster_watch(nemesis->cluster, NULL, NULL);
  if (nemesis->writer)
    history_writer_close(nemesis->writer, NULL);
  uv_close((uv_handle_t *)&nemesis->timer, on_closed);
}
