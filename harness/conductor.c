#include "harness/conductor.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "harness/bugs.h"
#include "harness/child.h"
#include "harness/document.h"
#include "harness/live.h"
#include "harness/stacks.h"
#include "harness/store.h"
#include "harness/workers.h"

#define READY_PATIENCE_NS (60 * NS_PER_S)
#define HOSTS_READY_PATIENCE_NS (180 * NS_PER_S) /* it takes a login on each of them */
#define HEAL_PATIENCE_NS (60 * NS_PER_S)
#define DRAIN_PATIENCE_NS (30 * NS_PER_S)
#define COMPARE_PATIENCE_NS (90 * NS_PER_S)
#define END_PATIENCE_NS (30 * NS_PER_S)
#define TICK_MS 250
#define RATE_WINDOW 4 /* ticks over which operations a second are averaged */
#define FAULTS_SHOWN_MAX 16

enum phase { STARTING, RUNNING, HEALING, RECOVERING, FINAL, DRAINING, COMPARING, ENDING };

static const char *const phase_names[] = {"starting",
                                          "running",
                                          "healing",
                                          "waiting for the cluster to recover",
                                          "load without faults",
                                          "clients finish",
                                          "comparing replicas",
                                          "stopping the masters"};

struct client {
  struct child child;
  struct conductor *conductor;
  bool ready, done;
  int64_t ok, fail, info, last_ok_ns;
};

struct conductor {
  const struct conduct_plan *plan;
  uv_loop_t loop;
  uv_timer_t tick, deadline;
  uv_signal_t interrupt, terminate;
  struct child nemesis;
  struct client clients[CLIENT_PROCESSES_MAX];
  size_t client_count, clients_running;
  FILE *events;
  struct live live;
  enum phase phase;
  bool cluster_ready, settled, interrupted, failed, finished;
  int64_t began_ns, healed_ns, load_began_ns;
  char primary[16];
  uint64_t term;
  char faults[FAULTS_SHOWN_MAX][96];
  size_t fault_count;
  int64_t totals[RATE_WINDOW];
  size_t ticks;
  json_t *addresses;
  struct workers *workers; /* NULL: none */
};

static void enter(struct conductor *conductor, enum phase phase);
static void finish(struct conductor *conductor);
static void fail(struct conductor *conductor, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- What is kept ---- */

static void note(struct conductor *conductor, json_t *event) {
  if (!json_object_get(event, "time_ns"))
    json_object_set_new(event, "time_ns", json_integer((json_int_t)time_monotonic_ns()));
  char *text = json_dumps(event, JSON_COMPACT | JSON_PRESERVE_ORDER);
  json_decref(event);
  const bool written =
      !text || (fprintf(conductor->events, "%s\n", text) >= 0 && fflush(conductor->events) == 0);
  free(text);
  if (!written && !conductor->failed)
    fail(conductor, "cannot write %s/events.jsonl: %s; make room on that disk", conductor->plan->run,
         strerror(errno));
}

static void fail(struct conductor *conductor, const char *format, ...) {
  if (conductor->failed)
    return;
  conductor->failed = true;
  struct conduct_outcome *outcome = conductor->plan->outcome;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(outcome->message, sizeof outcome->message, format, arguments);
  va_end(arguments);
  outcome->ending = CONDUCT_FAILED;
  note(conductor, json_pack("{s:s, s:s}", "event", "failed", "message", outcome->message));
  live_say(&conductor->live, "the test failed: ending it, keeping what was recorded");
  /* Clients that are draining go on doing so: what they record is worth having. */
  if (conductor->phase < DRAINING)
    enter(conductor, DRAINING);
  else if (conductor->phase == COMPARING)
    enter(conductor, ENDING);
}

/* ---- Phases ---- */

static void set_deadline(struct conductor *conductor, int64_t after_ns);

static int64_t ready_patience_ns(const struct conductor *conductor) {
  return conductor->plan->settings->provider == PROVIDER_SSH ? HOSTS_READY_PATIENCE_NS : READY_PATIENCE_NS;
}

static bool all_clients_ready(const struct conductor *conductor) {
  for (size_t i = 0; i < conductor->client_count; i++)
    if (!conductor->clients[i].ready)
      return false;
  return true;
}

static bool all_clients_ok_since(const struct conductor *conductor, int64_t since_ns) {
  for (size_t i = 0; i < conductor->client_count; i++)
    if (conductor->clients[i].last_ok_ns <= since_ns)
      return false;
  return true;
}

static void advance(struct conductor *conductor);

static void on_workers_stopped(void *context) {
  struct conductor *conductor = context;
  conductor->workers = NULL;
  advance(conductor);
}

/* Whatever was heard last: is the present phase over by it? */
static void advance(struct conductor *conductor) {
  switch (conductor->phase) {
  case STARTING:
    if (conductor->cluster_ready && conductor->client_count > 0 && all_clients_ready(conductor))
      enter(conductor, RUNNING);
    break;
  case HEALING:
    if (conductor->healed_ns != 0)
      enter(conductor, RECOVERING);
    break;
  case RECOVERING:
    if (conductor->settled && all_clients_ok_since(conductor, conductor->healed_ns))
      enter(conductor, FINAL);
    break;
  case DRAINING:
    if (conductor->clients_running == 0)
      enter(conductor, conductor->failed || !conductor->cluster_ready ? ENDING : COMPARING);
    break;
  case RUNNING:
  case FINAL:
  case COMPARING:
    break;
  case ENDING:
    finish(conductor);
    break;
  }
}

static void enter(struct conductor *conductor, enum phase phase) {
  assert(phase > conductor->phase);
  conductor->phase = phase;
  const int64_t now_ns = time_monotonic_ns();
  note(conductor, json_pack("{s:s, s:s}", "event", "phase", "phase", phase_names[phase]));
  if (conductor->phase != phase)
    return;
  switch (phase) {
  case STARTING:
    break;
  case RUNNING:
    conductor->load_began_ns = now_ns;
    conductor->plan->outcome->ending = CONDUCT_RUNNING;
    child_tell(&conductor->nemesis, "start\n");
    set_deadline(conductor, conductor->plan->settings->time_ns);
    break;
  case HEALING:
    child_tell(&conductor->nemesis, "stop\n");
    set_deadline(conductor, HEAL_PATIENCE_NS);
    break;
  case RECOVERING:
    set_deadline(conductor, conductor->plan->settings->live_within_ns);
    break;
  case FINAL:
    note(conductor, json_pack("{s:s, s:b}", "event", "live", "live", true));
    set_deadline(conductor, conductor->plan->settings->final_ns);
    break;
  case DRAINING:
    for (size_t i = 0; i < conductor->client_count; i++)
      child_close_input(&conductor->clients[i].child);
    set_deadline(conductor, DRAIN_PATIENCE_NS);
    break;
  case COMPARING:
    child_tell(&conductor->nemesis, "compare\n");
    set_deadline(conductor, COMPARE_PATIENCE_NS);
    break;
  case ENDING:
    if (conductor->workers)
      workers_stop(conductor->workers, on_workers_stopped, conductor);
    child_tell(&conductor->nemesis, "end\n");
    set_deadline(conductor, END_PATIENCE_NS);
    break;
  }
  advance(conductor);
}

/* Where everybody is may be why a phase took too long; afterwards somebody may be ended. */
static void write_stacks(struct conductor *conductor) {
  char why[100];
  snprintf(why, sizeof why, "\"%s\" took too long", phase_names[conductor->phase]);
  const struct stacks stacks = stacks_begin(conductor->plan->run, why);
  stacks_write_masters(&stacks, NULL);
  if (conductor->nemesis.running)
    stacks_write(&stacks, conductor->nemesis.name, conductor->nemesis.process.pid);
  for (size_t i = 0; i < conductor->client_count; i++)
    if (conductor->clients[i].child.running)
      stacks_write(&stacks, conductor->clients[i].child.name, conductor->clients[i].child.process.pid);
}

static void on_deadline(uv_timer_t *timer) {
  struct conductor *conductor = timer->data;
  if (conductor->phase != RUNNING && conductor->phase != FINAL)
    write_stacks(conductor);
  switch (conductor->phase) {
  case STARTING:
    fail(conductor, "the cluster was not ready within %d s: %s; the masters' logs are in %s/nodes",
         (int)(ready_patience_ns(conductor) / NS_PER_S),
         conductor->cluster_ready ? "a client got no ok"
                                  : "not every node answered, or nobody became primary",
         conductor->plan->run);
    break;
  case RUNNING:
    enter(conductor, HEALING);
    break;
  case HEALING:
    fail(conductor, "the nemesis did not heal what it broke within %d s: see %s/logs/nemesis.log",
         (int)(HEAL_PATIENCE_NS / NS_PER_S), conductor->plan->run);
    break;
  case RECOVERING:
    note(conductor,
         json_pack("{s:s, s:b, s:b}", "event", "live", "live", false, "settled", conductor->settled));
    enter(conductor, DRAINING);
    break;
  case FINAL:
    enter(conductor, DRAINING);
    break;
  case DRAINING:
    for (size_t i = 0; i < conductor->client_count; i++)
      child_signal(&conductor->clients[i].child, SIGKILL);
    fail(conductor, "a client did not end within %d s of being told: see %s/logs",
         (int)(DRAIN_PATIENCE_NS / NS_PER_S), conductor->plan->run);
    break;
  case COMPARING:
    fail(conductor, "the nemesis did not answer while it compared replicas: see %s/logs/nemesis.log",
         conductor->plan->run);
    break;
  case ENDING:
    child_signal(&conductor->nemesis, SIGKILL);
    fail(conductor, "the nemesis did not end within %d s: see %s/logs/nemesis.log",
         (int)(END_PATIENCE_NS / NS_PER_S), conductor->plan->run);
    break;
  }
}

static void set_deadline(struct conductor *conductor, int64_t after_ns) {
  const int64_t after_ms = (after_ns + NS_PER_MS - 1) / NS_PER_MS;
  uv_update_time(&conductor->loop);
  uv_timer_start(&conductor->deadline, on_deadline, (uint64_t)after_ms, 0);
}

/* ---- What the nemesis says ---- */

static void fault_text(const json_t *event, char *out, size_t size) {
  const json_t *targets = json_object_get(event, "targets");
  struct bytes text = {0};
  bytes_append_format(&text, "%s", document_string(event, "fault", "?"));
  size_t i;
  const json_t *target;
  json_array_foreach(targets, i, target) bytes_append_format(&text, " %s", json_string_value(target));
  snprintf(out, size, "%.*s", (int)text.size, (const char *)text.data);
  bytes_free(&text);
}

static void hear_fault(struct conductor *conductor, const json_t *event) {
  char text[sizeof conductor->faults[0]];
  fault_text(event, text, sizeof text);
  const char *phase = document_string(event, "phase", "");
  if (strcmp(phase, "installed") == 0 && conductor->fault_count < FAULTS_SHOWN_MAX)
    memcpy(conductor->faults[conductor->fault_count++], text, sizeof text);
  if (strcmp(phase, "healed") != 0)
    return;
  for (size_t i = 0; i < conductor->fault_count; i++)
    if (strcmp(conductor->faults[i], text) == 0) {
      conductor->fault_count--;
      memmove(conductor->faults[i], conductor->faults[conductor->fault_count], sizeof text);
      return;
    }
}

static void hear_node(struct conductor *conductor, const json_t *event) {
  const char *node = document_string(event, "node", "?"), *state = document_string(event, "state", "");
  if (strcmp(state, "lost") == 0)
    fail(conductor, "the host of %s cannot be reached any more: %s", node,
         document_string(event, "reason", "no reason known"));
  if (strcmp(state, "died") != 0)
    return;
  char path[4096 + 64];
  snprintf(path, sizeof path, "%s/nodes/%s/log", conductor->plan->run, node);
  char *tail = file_tail(path, 5, "  ");
  fail(conductor, "master %s ended though nobody asked it to (%s); the end of %s:\n%s", node,
       document_string(event, "reason", "no reason known"), path, tail[0] ? tail : "  (nothing)\n");
  free(tail);
}

static void start_clients(struct conductor *conductor);
static void start_workers(struct conductor *conductor);

static void hear_replicas(struct conductor *conductor) {
  if (conductor->phase == COMPARING)
    enter(conductor, ENDING);
}

static void hear_healed(struct conductor *conductor, const json_t *event) {
  conductor->healed_ns = document_integer(event, "time_ns", time_monotonic_ns());
  conductor->fault_count = 0;
  if (!document_boolean(event, "ok", true))
    fail(conductor, "the nemesis could not undo a fault: %s", document_string(event, "message", "no reason"));
}

static void hear_primary(struct conductor *conductor, const json_t *event) {
  snprintf(conductor->primary, sizeof conductor->primary, "%s", document_string(event, "node", ""));
  conductor->term = (uint64_t)document_integer(event, "term", 0);
}

static void on_nemesis_line(struct child *child, const char *text) {
  struct conductor *conductor = child->context;
  json_t *event = json_loads(text, 0, NULL);
  if (!event) {
    fail(conductor, "the nemesis said something that is not JSON: %.200s", text);
    return;
  }
  const char *kind = document_string(event, "event", "");
  note(conductor, json_incref(event));
  if (strcmp(kind, "cluster") == 0) {
    struct conduct_outcome *outcome = conductor->plan->outcome;
    outcome->cluster_made = true;
    conductor->addresses = json_incref(json_object_get(event, "nodes"));
    snprintf(outcome->link, sizeof outcome->link, "%s", document_string(event, "link", ""));
    start_workers(conductor);
  } else if (strcmp(kind, "ready") == 0) {
    conductor->cluster_ready = true;
    if (conductor->phase == STARTING)
      start_clients(conductor);
  } else if (strcmp(kind, "primary") == 0)
    hear_primary(conductor, event);
  else if (strcmp(kind, "settled") == 0)
    conductor->settled = document_boolean(event, "settled", false);
  else if (strcmp(kind, "fault") == 0)
    hear_fault(conductor, event);
  else if (strcmp(kind, "node") == 0)
    hear_node(conductor, event);
  else if (strcmp(kind, "healed") == 0)
    hear_healed(conductor, event);
  else if (strcmp(kind, "replicas") == 0)
    hear_replicas(conductor);
  else if (strcmp(kind, "error") == 0)
    fail(conductor, "nemesis: %s", document_string(event, "message", text));
  json_decref(event);
  advance(conductor);
}

static void finish(struct conductor *conductor) {
  if (conductor->clients_running > 0 || conductor->nemesis.running || conductor->workers ||
      conductor->finished)
    return;
  conductor->finished = true;
  uv_close((uv_handle_t *)&conductor->tick, NULL);
  uv_close((uv_handle_t *)&conductor->deadline, NULL);
  uv_close((uv_handle_t *)&conductor->interrupt, NULL);
  uv_close((uv_handle_t *)&conductor->terminate, NULL);
}

static void fail_by_ending(struct conductor *conductor, const struct child *child) {
  char how[128], path[4096 + 64];
  snprintf(path, sizeof path, "%s/logs/%s.log", conductor->plan->run, child->name);
  char *tail = file_tail(path, 5, "  ");
  fail(conductor, "%s ended with %s; the end of %s:\n%s", child->name, child_ending(child, how, sizeof how),
       path, tail[0] ? tail : "  (nothing)\n");
  free(tail);
}

static void on_nemesis_ended(struct child *child) {
  struct conductor *conductor = child->context;
  if (conductor->phase < ENDING || child->exit_status != 0 || child->term_signal != 0)
    fail_by_ending(conductor, child);
  advance(conductor);
}

/* ---- What the clients say ---- */

/* Some faults wait for the n-th operation. */
static void tell_operations(struct conductor *conductor) {
  char text[48];
  int64_t ok = 0;
  for (size_t i = 0; i < conductor->client_count; i++)
    ok += conductor->clients[i].ok;
  snprintf(text, sizeof text, "operations %" PRId64 "\n", ok);
  child_tell(&conductor->nemesis, text);
}

static void on_client_line(struct child *child, const char *text) {
  struct client *client = CONTAINER_OF(child, struct client, child);
  struct conductor *conductor = client->conductor;
  json_t *event = json_loads(text, 0, NULL);
  if (!event) {
    fail(conductor, "%s said something that is not JSON: %.200s", child->name, text);
    return;
  }
  const char *kind = document_string(event, "event", "");
  const bool stats = strcmp(kind, "stats") == 0, done = strcmp(kind, "done") == 0;
  if (stats || done) {
    client->ok = document_integer(event, "ok", client->ok);
    client->fail = document_integer(event, "fail", client->fail);
    client->info = document_integer(event, "info", client->info);
    client->last_ok_ns = document_integer(event, "last_ok_ns", client->last_ok_ns);
    tell_operations(conductor);
  }
  if (strcmp(kind, "ready") == 0)
    client->ready = true;
  if (strcmp(kind, "error") == 0)
    fail(conductor, "%s: %s", child->name, document_string(event, "message", text));
  if (!stats) {
    json_object_set_new(event, "client", json_string(child->name));
    note(conductor, json_incref(event));
  }
  json_decref(event);
  advance(conductor);
}

static void on_client_ended(struct child *child) {
  struct client *client = CONTAINER_OF(child, struct client, child);
  struct conductor *conductor = client->conductor;
  conductor->clients_running--;
  if (conductor->phase < DRAINING || child->exit_status != 0 || child->term_signal != 0)
    fail_by_ending(conductor, child);
  advance(conductor);
}

/* ---- Starting them ---- */

/* A command line: the text is owned, the pointers are made when it is complete. */
struct command_line {
  char *items[224]; /* --master-flag and --fault-every may each be given 64 times */
  size_t count;
};

static void add(struct command_line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct command_line *line, const char *format, ...) {
  assert(line->count + 1 < ARRAY_SIZE(line->items));
  va_list arguments;
  va_start(arguments, format);
  if (vasprintf(&line->items[line->count++], format, arguments) < 0)
    abort();
  va_end(arguments);
}

static void clear(struct command_line *line) {
  for (size_t i = 0; i < line->count; i++)
    free(line->items[i]);
}

/* `running`, may be NULL, counts those of which the end will be heard. */
static void start(struct conductor *conductor, struct child *child, struct command_line *line,
                  size_t *running) {
  char log[4096 + 64];
  struct error error = {0};
  snprintf(log, sizeof log, "%s/logs/%s.log", conductor->plan->run, child->name);
  line->items[line->count] = NULL;
  const int status = child_start(&conductor->loop, child, line->items, log, &error);
  clear(line);
  if (running)
    *running += child->running;
  if (status != 0)
    fail(conductor, "%s", error.message);
}

static void add_program(struct command_line *line, const char *command) {
  char *directory = program_directory();
  add(line, "%s/assay", directory ? directory : ".");
  add(line, "%s", command);
  free(directory);
}

static void start_nemesis(struct conductor *conductor) {
  const struct settings *settings = conductor->plan->settings;
  struct command_line line = {0};
  struct child *child = &conductor->nemesis;
  *child = (struct child){
      .name = "nemesis", .context = conductor, .line = on_nemesis_line, .ended = on_nemesis_ended};
  add_program(&line, "nemesis");
  add(&line, "--wait");
  if (settings->provider == PROVIDER_NETNS)
    add(&line, "--inside");
  else
    add(&line, "--provider=%s", provider_name(settings->provider));
  if (settings->link != LINK_AUTO)
    add(&line, "--link=%s", settings->link_name);
  if (settings->pcap)
    add(&line, "--pcap=%s/traffic.pcap", conductor->plan->run);
  struct host_flag hosts[HOST_FLAGS_MAX];
  const size_t host_flags = host_flags_given(&settings->hosts, hosts);
  for (size_t i = 0; i < host_flags; i++)
    add(&line, "--%s=%s", hosts[i].name, hosts[i].value);
  add(&line, "--cluster-id=%" PRId64, settings->cluster_id);
  add(&line, "--nodes=%" PRId64, settings->nodes);
  if (settings->master_path[0] != '\0')
    add(&line, "--master=%s", settings->master_path);
  if (settings->old_master)
    add(&line, "--old-master=%s", settings->old_master_path);
  add(&line, "--directory=%s", conductor->plan->run);
  add(&line, "--history=%s/parts/nemesis.jsonl", conductor->plan->run);
  add(&line, "--nemesis=%s", settings->nemesis);
  if (settings->schedule)
    add(&line, "--schedule=%s", settings->schedule);
  for (size_t i = 0; i < settings->paces.count; i++)
    add(&line, "--fault-every=%s", settings->paces.items[i]);
  add(&line, "--seed=%" PRId64, settings->seed);
  if (settings->fault_interval_ns != 0)
    add(&line, "--fault-interval=%" PRId64 "ns", settings->fault_interval_ns);
  if (settings->fault_duration_ns != 0)
    add(&line, "--fault-duration=%" PRId64 "ns", settings->fault_duration_ns);
  if (settings->bug) {
    add(&line, "--master-flag=--bug");
    add(&line, "--master-flag=%s", settings->bug);
  }
  if (settings->tls)
    add(&line, "--tls=%s/tls", conductor->plan->run);
  if (settings->cache_size >= 0)
    add(&line, "--master-flag=--cache-size=%" PRId64, settings->cache_size);
  for (size_t i = 0; i < settings->master_flags.count; i++)
    add(&line, "--master-flag=%s", settings->master_flags.items[i]);
  start(conductor, child, &line, NULL);
}

static void start_client(struct conductor *conductor, size_t index) {
  const struct settings *settings = conductor->plan->settings;
  const int64_t processes = settings->client_processes, number = (int64_t)index;
  struct client *client = &conductor->clients[index];
  *client =
      (struct client){.conductor = conductor, .child = {.line = on_client_line, .ended = on_client_ended}};
  snprintf(client->child.name, sizeof client->child.name, "client-%zu", index);
  struct command_line line = {0};
  add_program(&line, "client");
  size_t i;
  const json_t *node;
  json_array_foreach(conductor->addresses, i, node)
      add(&line, "--address=%s", document_string(node, "address", ""));
  if (settings->tls)
    add(&line, "--tls=%s/tls", conductor->plan->run);
  add(&line, "--workload=%s", settings->workload);
  add(&line, "--history=%s/parts/%s.jsonl", conductor->plan->run, client->child.name);
  add(&line, "--seed=%" PRId64, settings->seed);
  add(&line, "--clients=%" PRId64, settings->clients / processes + (number < settings->clients % processes));
  add(&line, "--shard=%" PRId64, number);
  add(&line, "--shard-count=%" PRId64, processes);
  add(&line, "--rate=%.17g", settings->rate / (double)processes);
  add(&line, "--operations-per-set=%" PRId64, settings->operations_per_set);
  add(&line, "--request-timeout=%" PRId64 "ns", settings->request_timeout_ns);
  add(&line, "--reads=%s", settings->reads_name);
  if (settings->bug && bugs_find(settings->bug, NULL) == 0)
    add(&line, "--bug=%s", settings->bug);
  start(conductor, &client->child, &line, &conductor->clients_running);
}

static void start_clients(struct conductor *conductor) {
  conductor->client_count = (size_t)conductor->plan->settings->client_processes;
  for (size_t i = 0; i < conductor->client_count && !conductor->failed; i++)
    start_client(conductor, i);
}

static void on_worker_died(void *context, const char *text) {
  fail(context, "%s", text);
}

static void start_workers(struct conductor *conductor) {
  const struct settings *settings = conductor->plan->settings;
  const char *masters[CLUSTER_NODES_MAX];
  struct error error;
  size_t i, count = 0;
  const json_t *node;
  if (settings->workers == 0)
    return;
  json_array_foreach(conductor->addresses, i, node) if (count < ARRAY_SIZE(masters)) masters[count++] =
      document_string(node, "address", "");
  char *directory = path_join(conductor->plan->run, "workers");
  if (workers_start(&(struct workers_options){.loop = &conductor->loop,
                                              .count = (size_t)settings->workers,
                                              .directory = directory,
                                              .masters = masters,
                                              .master_count = count,
                                              .died = on_worker_died,
                                              .context = conductor},
                    &conductor->workers, &error) != 0)
    fail(conductor, "%s", error.message);
  free(directory);
}

/* ---- The loop ---- */

static void on_tick(uv_timer_t *timer) {
  struct conductor *conductor = timer->data;
  struct live_facts facts = {
      .elapsed_ns =
          time_monotonic_ns() - (conductor->load_began_ns ? conductor->load_began_ns : conductor->began_ns),
      .phase = conductor->phase == RUNNING ? NULL : phase_names[conductor->phase],
      .primary = conductor->primary[0] ? conductor->primary : NULL,
      .term = conductor->term,
  };
  for (size_t i = 0; i < conductor->client_count; i++) {
    facts.ok += conductor->clients[i].ok;
    facts.fail += conductor->clients[i].fail;
    facts.info += conductor->clients[i].info;
  }
  const int64_t total = facts.ok + facts.fail + facts.info;
  int64_t *oldest = &conductor->totals[conductor->ticks++ % RATE_WINDOW];
  if (conductor->ticks > RATE_WINDOW)
    facts.rate = (total - *oldest) * 1000 / (TICK_MS * RATE_WINDOW);
  *oldest = total;
  char faults[FAULTS_SHOWN_MAX * sizeof conductor->faults[0]] = "";
  size_t used = 0;
  for (size_t i = 0; i < conductor->fault_count; i++)
    used += (size_t)snprintf(faults + used, sizeof faults - used, "%s%s", i > 0 ? ", " : "",
                             conductor->faults[i]);
  facts.faults = faults;
  live_show(&conductor->live, &facts);
}

static void on_signal(uv_signal_t *handle, int number) {
  struct conductor *conductor = handle->data;
  (void)number;
  if (conductor->interrupted)
    return;
  conductor->interrupted = conductor->plan->outcome->interrupted = true;
  live_say(&conductor->live,
           "interrupted: healing, stopping, then checking what there is (again: all at once)");
  note(conductor, json_pack("{s:s}", "event", "interrupted"));
  if (conductor->phase == STARTING)
    enter(conductor, DRAINING);
  else if (conductor->phase == RUNNING)
    enter(conductor, HEALING);
}

static int open_events(struct conductor *conductor) {
  char *path = path_join(conductor->plan->run, "events.jsonl");
  conductor->events = fopen(path, "we");
  if (!conductor->events) {
    struct conduct_outcome *outcome = conductor->plan->outcome;
    outcome->ending = CONDUCT_FAILED;
    snprintf(outcome->message, sizeof outcome->message, "cannot create %s: %s", path, strerror(errno));
  }
  free(path);
  return conductor->events ? 0 : -1;
}

int conduct(void *context) {
  struct conductor conductor = {.plan = context, .began_ns = time_monotonic_ns()};
  struct conduct_outcome *outcome = conductor.plan->outcome;
  signal(SIGPIPE, SIG_IGN);
  if (open_events(&conductor) != 0)
    return EXIT_HARNESS;
  live_open(&conductor.live, conductor.plan->settings->json ? stderr : stdout);
  uv_loop_init(&conductor.loop);
  uv_timer_init(&conductor.loop, &conductor.tick);
  uv_timer_init(&conductor.loop, &conductor.deadline);
  uv_signal_init(&conductor.loop, &conductor.interrupt);
  uv_signal_init(&conductor.loop, &conductor.terminate);
  conductor.tick.data = conductor.deadline.data = &conductor;
  conductor.interrupt.data = conductor.terminate.data = &conductor;
  uv_signal_start(&conductor.interrupt, on_signal, SIGINT);
  uv_signal_start(&conductor.terminate, on_signal, SIGTERM);
  uv_timer_start(&conductor.tick, on_tick, TICK_MS, TICK_MS);
  set_deadline(&conductor, ready_patience_ns(&conductor));
  start_nemesis(&conductor);
  uv_run(&conductor.loop, UV_RUN_DEFAULT);
  uv_loop_close(&conductor.loop);
  live_close(&conductor.live);
  if (!conductor.failed)
    outcome->ending = conductor.interrupted ? CONDUCT_INTERRUPTED : CONDUCT_FINISHED;
  fclose(conductor.events);
  json_decref(conductor.addresses);
  return conductor.failed ? EXIT_HARNESS : 0;
}
