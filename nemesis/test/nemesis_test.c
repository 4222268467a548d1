/* The nemesis on real processes: what it says it does is seen from outside. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "histories/histories.h"
#include "nemesis/test/inside.h"
#include "nemesis/test/probe.h"

#define NODES 5

static char *directory;

static void setup(void) {
  directory = scratch_make();
  cr_assert(directory);
}

static void teardown(void) {
  scratch_remove(directory);
}

TestSuite(nemesis, .init = setup, .fini = teardown);

/* What the test knows from the events alone. */
struct watcher {
  uv_loop_t loop;
  struct cluster *cluster;
  struct nemesis *nemesis;
  struct probe *probe;
  bool hears[NODES * NODES];
  enum node_state states[NODES];
  size_t installed, healed, skipped, died, restarted, errors;
  bool stopping, stopped;
  int status;
  struct error error;
  char kinds[2048], reason[256];
};

static size_t node_index(const char *name) {
  return (size_t)strtoul(name + 1, NULL, 10) - 1;
}

static void note_grudge(struct watcher *watcher, json_t *grudge) {
  const char *node;
  json_t *others, *other;
  size_t i;
  json_object_foreach(grudge, node, others) json_array_foreach(others, i, other)
      watcher->hears[node_index(node) * NODES + node_index(json_string_value(other))] = false;
}

static void check_from_outside(struct watcher *watcher) {
  for (size_t i = 0; i < NODES; i++)
    CHECK(cluster_node_state(watcher->cluster, i) == watcher->states[i], "node %zu is in state %d, not %d",
          i + 1, (int)cluster_node_state(watcher->cluster, i), (int)watcher->states[i]);
  struct error error = {0};
  bool cut = false;
  for (size_t i = 0; i < NODES * NODES; i++)
    cut = cut || !watcher->hears[i];
  CHECK(cluster_links_clear(watcher->cluster, &error) == !cut, "%s", error.message);
  probe_expect(watcher->probe, watcher->hears);
}

static void note_primary(struct watcher *watcher, int primary) {
  for (int i = 0; i < NODES; i++)
    nemesis_note_node(watcher->nemesis, (size_t)i,
                      &(struct node_facts){.known = true, .primary = i == primary, .term = 1});
}

static void on_healed(void *context, int status, const struct error *error) {
  struct watcher *watcher = context;
  watcher->stopped = true;
  watcher->status = status;
  watcher->error = *error;
  uv_stop(&watcher->loop);
}

static void on_fault(struct watcher *watcher, json_t *event, const char *phase) {
  const char *family = json_string_value(json_object_get(event, "family"));
  const char *name = json_string_value(json_object_get(event, "fault"));
  const bool installed = strcmp(phase, "installed") == 0;
  json_t *target;
  size_t i;
  if (strcmp(phase, "skipped") == 0) {
    watcher->skipped++;
    snprintf(watcher->reason, sizeof watcher->reason, "%s",
             json_string_value(json_object_get(event, "reason")));
    return;
  }
  const bool healed = strcmp(phase, "healed") == 0, act = strcmp(phase, "act") == 0;
  CHECK(installed + healed + act == 1, "phase %s", phase);
  watcher->installed += installed;
  watcher->healed += healed;
  if (!strstr(watcher->kinds, name)) {
    const size_t length = strlen(watcher->kinds);
    snprintf(watcher->kinds + length, sizeof watcher->kinds - length, "%s,", name);
  }
  CHECK(json_array_size(json_object_get(event, "targets")) > 0, "%s without targets", name);
  if (strcmp(family, "partition") == 0) {
    memset(watcher->hears, true, sizeof watcher->hears);
    if (!healed)
      note_grudge(watcher, json_object_get(event, "grudge"));
    else
      CHECK(json_is_number(json_object_get(json_object_get(event, "evidence"), "packets_dropped")),
            "no evidence");
  }
  if (strcmp(family, "partition") != 0 || strcmp(name, "partition-stalled") == 0) {
    const enum node_state hurt = strcmp(family, "kill") == 0 ? NODE_STOPPED : NODE_PAUSED;
    json_array_foreach(json_object_get(event, "targets"), i, target)
        watcher->states[node_index(json_string_value(target))] = installed ? hurt : NODE_RUNNING;
  }
  check_from_outside(watcher);
}

static void on_event(void *context, const char *text) {
  struct watcher *watcher = context;
  json_t *event = json_loads(text, 0, NULL);
  CHECK(event, "%s", text);
  const char *kind = json_string_value(json_object_get(event, "event"));
  CHECK(json_integer_value(json_object_get(event, "time_ns")) > 0, "%s", text);
  if (strcmp(kind, "fault") == 0) {
    on_fault(watcher, event, json_string_value(json_object_get(event, "phase")));
  } else if (strcmp(kind, "node") == 0) {
    const bool died = strcmp(json_string_value(json_object_get(event, "state")), "died") == 0;
    watcher->died += died;
    watcher->restarted += !died;
    watcher->states[node_index(json_string_value(json_object_get(event, "node")))] =
        died ? NODE_DIED : NODE_RUNNING;
    snprintf(watcher->reason, sizeof watcher->reason, "%s",
             json_string_value(json_object_get(event, "reason")));
  } else {
    CHECK(strcmp(kind, "error") == 0, "%s", text);
    watcher->errors++;
  }
  /* The one with the greatest number runs for primary. */
  int primary = -1;
  for (size_t i = 0; i < NODES; i++)
    if (watcher->states[i] == NODE_RUNNING)
      primary = (int)i;
  if (watcher->nemesis)
    note_primary(watcher, primary);
  json_decref(event);
  uv_stop(&watcher->loop); /* the test looks whether it has seen enough */
}

static void watcher_open(struct watcher *watcher, enum provider provider, const char *families,
                         const char *history) {
  char *program = test_program("assay-echo-node");
  const struct cluster_options cluster = {
      .provider = provider, .nodes = NODES, .master = program, .directory = directory};
  const struct nemesis_options options = {.families = families,
                                          .seed = 3,
                                          .interval_ns = 10 * NS_PER_MS,
                                          .duration_ns = 60 * NS_PER_MS,
                                          .history = history};
  struct error error = {0};
  memset(watcher->hears, true, sizeof watcher->hears);
  CHECK(uv_loop_init(&watcher->loop) == 0, "no loop");
  CHECK(cluster_new(&watcher->loop, &cluster, &watcher->cluster, &error) == 0, "%s", error.message);
  for (size_t i = 0; i < NODES; i++) {
    watcher->states[i] = NODE_RUNNING;
    CHECK(cluster_start(watcher->cluster, i, &error) == 0, "%s", error.message);
  }
  watcher->probe = probe_new(watcher->cluster);
  CHECK(nemesis_new(&watcher->loop, watcher->cluster, &options, on_event, watcher, &watcher->nemesis,
                    &error) == 0,
        "%s", error.message);
  free(program);
}

static void watcher_stop(struct watcher *watcher) {
  nemesis_stop(watcher->nemesis, on_healed, watcher);
  while (!watcher->stopped)
    uv_run(&watcher->loop, UV_RUN_DEFAULT);
}

static void watcher_close(struct watcher *watcher) {
  probe_free(watcher->probe);
  nemesis_free(watcher->nemesis);
  cluster_free(watcher->cluster);
  uv_run(&watcher->loop, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&watcher->loop) == 0, "handles are left on the loop");
}

/* The history tells the same: an invocation before, an info after, a heal for every installation. */
static void check_history(const struct watcher *watcher, const char *path) {
  struct history *history;
  struct error error = {0}, warning = {0};
  CHECK(history_read(path, &history, &warning, &error) == 0, "%s", error.message);
  CHECK(history->count == 0, "client operations in the history of the nemesis");
  size_t counts[2][3] = {{0}};
  for (size_t i = 0; i < history->nemesis_count; i++) {
    const struct nemesis_event *event = &history->nemesis[i];
    const size_t f = text_equal(event->f, text_of("install")) ? 0
                     : text_equal(event->f, text_of("heal"))  ? 1
                                                              : 2;
    counts[event->start][f]++;
    CHECK(f == 2 || event->text.data, "no value");
  }
  CHECK(counts[true][0] == watcher->installed && counts[false][0] == watcher->installed &&
            counts[true][1] == watcher->installed && counts[false][1] == watcher->installed,
        "%zu %zu %zu %zu of %zu", counts[true][0], counts[false][0], counts[true][1], counts[false][1],
        watcher->installed);
  history_free(history);
}

static int all_faults(void *context) {
  struct watcher watcher = {0};
  char *history = path_join(directory, "nemesis.jsonl");
  (void)context;
  watcher_open(&watcher, PROVIDER_NETNS, "partition,pause,kill", history);
  check_from_outside(&watcher);
  note_primary(&watcher, 0);
  nemesis_start(watcher.nemesis);
  size_t kinds = 0;
  while (kinds < 17) {
    uv_run(&watcher.loop, UV_RUN_DEFAULT);
    kinds = 0;
    for (const struct fault_description *fault = fault_list(); fault->name; fault++)
      kinds += strstr(watcher.kinds, fault->name) != NULL;
    CHECK(watcher.installed < 400, "after %zu faults only %s came", watcher.installed, watcher.kinds);
  }
  watcher_stop(&watcher);
  CHECK(watcher.status == 0, "%s", watcher.error.message);
  CHECK(watcher.installed == watcher.healed && watcher.died == 0, "%zu installed, %zu healed",
        watcher.installed, watcher.healed);
  check_from_outside(&watcher);
  for (size_t i = 0; i < NODES; i++)
    CHECK(watcher.states[i] == NODE_RUNNING, "node %zu does not run", i + 1);
  watcher_close(&watcher);
  check_history(&watcher, history);
  free(history);
  return 0;
}

Test(nemesis, every_fault_is_what_it_says_and_is_gone_after) {
  cr_assert_eq(run_inside(USER_ORDINARY, all_faults, NULL), 0);
}

static int stopped_in_the_middle(void *context) {
  const char *const families = context;
  struct watcher watcher = {0};
  char *history = path_join(directory, "nemesis.jsonl");
  watcher_open(&watcher, PROVIDER_NETNS, families, history);
  note_primary(&watcher, 0);
  nemesis_start(watcher.nemesis);
  while (watcher.installed == watcher.healed)
    uv_run(&watcher.loop, UV_RUN_DEFAULT);
  watcher_stop(&watcher);
  CHECK(watcher.status == 0, "%s", watcher.error.message);
  CHECK(watcher.installed == watcher.healed && watcher.installed > 0, "not healed");
  check_from_outside(&watcher);
  watcher_close(&watcher);
  free(history);
  return 0;
}

Test(nemesis, stop_heals_what_is_present) {
  const char *const families[] = {"partition", "pause-all", "kill-all"};
  for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
    cr_assert_eq(run_inside(USER_AS_IS, stopped_in_the_middle, (void *)families[i]), 0);
    scratch_empty(directory);
  }
}

static int never_started(void *context) {
  struct watcher watcher = {0};
  char *history = path_join(directory, "nemesis.jsonl");
  (void)context;
  watcher_open(&watcher, PROVIDER_HOST, "none", history);
  nemesis_start(watcher.nemesis);
  watcher_stop(&watcher);
  CHECK(watcher.status == 0 && watcher.installed == 0, "%s", watcher.error.message);
  watcher_close(&watcher);
  free(history);
  return 0;
}

Test(nemesis, none_hurts_nobody) {
  cr_assert_eq(run_as(USER_AS_IS, never_started, NULL), 0);
}

static int node_dies(void *context) {
  struct watcher watcher = {0};
  char *history = path_join(directory, "nemesis.jsonl");
  (void)context;
  watcher_open(&watcher, PROVIDER_HOST, "pause-one", history);
  CHECK(kill(cluster_node_pid(watcher.cluster, 2), SIGABRT) == 0, "no node");
  while (watcher.died == 0)
    uv_run(&watcher.loop, UV_RUN_DEFAULT);
  CHECK(strstr(watcher.reason, "signal 6"), "%s", watcher.reason);
  CHECK(cluster_node_state(watcher.cluster, 2) == NODE_DIED && watcher.restarted == 0,
        "restarted in silence");
  nemesis_start(watcher.nemesis);
  while (watcher.restarted == 0)
    uv_run(&watcher.loop, UV_RUN_DEFAULT);
  CHECK(watcher.healed == 1 && watcher.died == 1, "%zu heals", watcher.healed);
  CHECK(cluster_node_state(watcher.cluster, 2) == NODE_RUNNING, "not restarted");
  watcher_stop(&watcher);
  CHECK(watcher.status == 0 && watcher.restarted == 1, "%s", watcher.error.message);
  watcher_close(&watcher);
  free(history);
  return 0;
}

static int node_dies_last(void *context) {
  struct watcher watcher = {0};
  char *history = path_join(directory, "nemesis.jsonl");
  (void)context;
  watcher_open(&watcher, PROVIDER_HOST, "none", history);
  CHECK(kill(cluster_node_pid(watcher.cluster, 2), SIGABRT) == 0, "no node");
  while (watcher.died == 0)
    uv_run(&watcher.loop, UV_RUN_DEFAULT);
  watcher_stop(&watcher);
  CHECK(watcher.status == 0 && watcher.restarted == 1, "%s", watcher.error.message);
  CHECK(cluster_node_state(watcher.cluster, 2) == NODE_RUNNING, "not restarted");
  watcher_close(&watcher);
  free(history);
  return 0;
}

Test(nemesis, node_that_dies_unasked_is_told_then_restarted_at_the_heal) {
  cr_assert_eq(run_as(USER_AS_IS, node_dies, NULL), 0);
  scratch_empty(directory);
  cr_assert_eq(run_as(USER_AS_IS, node_dies_last, NULL), 0);
}

static int host_skips(void *context) {
  struct watcher watcher = {0};
  char *history = path_join(directory, "nemesis.jsonl");
  (void)context;
  watcher_open(&watcher, PROVIDER_HOST, "partition,kill", history);
  nemesis_start(watcher.nemesis);
  while (watcher.skipped < 2 || watcher.installed < 2)
    uv_run(&watcher.loop, UV_RUN_DEFAULT);
  CHECK(strcmp(watcher.reason, "provider host cannot cut links") == 0, "%s", watcher.reason);
  CHECK(!strstr(watcher.kinds, "partition"), "%s", watcher.kinds);
  watcher_stop(&watcher);
  CHECK(watcher.status == 0, "%s", watcher.error.message);
  watcher_close(&watcher);
  free(history);
  return 0;
}

Test(nemesis, host_provider_skips_partitions_and_says_why) {
  cr_assert_eq(run_as(USER_AS_IS, host_skips, NULL), 0);
}

static int full_disk(void *context) {
  struct watcher watcher = {0};
  (void)context;
  CHECK(mkdir("/run/small", 0755) == 0, "no directory");
  CHECK(mount("tmpfs", "/run/small", "tmpfs", 0, "size=8k") == 0, "no tmpfs");
  watcher_open(&watcher, PROVIDER_NETNS, "pause", "/run/small/nemesis.jsonl");
  nemesis_start(watcher.nemesis);
  while (watcher.errors == 0)
    uv_run(&watcher.loop, UV_RUN_DEFAULT);
  watcher_stop(&watcher);
  CHECK(watcher.status != 0 && watcher.errors == 1, "%zu errors", watcher.errors);
  for (size_t i = 0; i < NODES; i++)
    CHECK(cluster_node_state(watcher.cluster, i) == NODE_RUNNING, "node %zu was left hurt", i + 1);
  watcher_close(&watcher);
  return 0;
}

Test(nemesis, full_disk_is_told_and_everything_healed) {
  cr_assert_eq(run_inside(USER_AS_IS, full_disk, NULL), 0);
}

static int restart_fails(void *context) {
  struct watcher watcher = {0};
  char *history = path_join(directory, "nemesis.jsonl");
  (void)context;
  watcher_open(&watcher, PROVIDER_HOST, "none", history);
  char *log = path_join(directory, "nodes/n2/log");
  CHECK(unlink(log) == 0 && mkdir(log, 0755) == 0, "cannot obstruct the log");
  CHECK(kill(cluster_node_pid(watcher.cluster, 1), SIGABRT) == 0, "no node");
  while (watcher.died == 0)
    uv_run(&watcher.loop, UV_RUN_DEFAULT);
  watcher_stop(&watcher);
  CHECK(watcher.status != 0 && strstr(watcher.error.message, "n2/log"), "%s", watcher.error.message);
  watcher_close(&watcher);
  free(log);
  free(history);
  return 0;
}

Test(nemesis, what_cannot_be_undone_is_reported) {
  cr_assert_eq(run_as(USER_AS_IS, restart_fails, NULL), 0);
}
