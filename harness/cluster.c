/* cluster.c: `assay cluster`: a cluster to play with, that stays when the command returns.
 *
 *   up ──fork──▶ supervisor (holds the lock) ──sandbox──▶ keeper ──▶ masters
 *    ◀── one line on a pipe: up, or why not ──────────────┘ */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <unistd.h>
#include <uv.h>

#include "base/base.h"
#include "harness/cluster_state.h"
#include "harness/commands.h"
#include "harness/control.h"
#include "harness/document.h"
#include "harness/members.h"
#include "harness/observer.h"
#include "harness/secure.h"
#include "harness/settings.h"
#include "harness/store.h"
#include "harness/vagrant.h"
#include "harness/workers.h"
#include "nemesis/nemesis.h"

#define UP_PATIENCE_MS 60000
#define DOWN_PATIENCE_MS 30000
#define UP_VALID_NS (30 * 24 * 3600 * NS_PER_S) /* of certificates */

struct up_settings {
  int64_t nodes, workers;
  struct host_flags hosts;
  const char *provider_name, *link_name, *master, *store, *faults;
  enum link_kind link;
  bool fresh, keep, json, tls;
  enum provider provider;
  char reason[600];
  char master_path[4096];
  char *directory;         /* STORE/cluster, absolute */
  char certificates[4096]; /* in there; "": without TLS */
};

/* What both sides of the sandbox's wall write and read. */
struct shared {
  volatile pid_t supervisor, sandbox;
};

struct keeper {
  const struct up_settings *settings;
  struct shared *shared;
  int report; /* pipe to the command that waits; -1 once it was told */
  uint64_t cluster_id;
  uv_loop_t loop;
  struct cluster *cluster;
  struct observer *observer;
  struct members_asker *members;
  struct tls_context *tls; /* what that proves itself with; NULL: without */
  struct nemesis *nemesis; /* for faults by hand */
  struct control *control;
  struct workers *workers; /* NULL: none */
  uv_signal_t terminate;
  uv_timer_t patience;
  bool stopping;
  int exit_code;
};

/* ---- The keeper: in the sandbox, with the masters ---- */

static void tell(struct keeper *keeper, const char *text) {
  if (keeper->report < 0)
    return;
  if (write(keeper->report, text, strlen(text) + 1) < 0)
    log_warn("nobody waits for the cluster any more");
  close(keeper->report);
  keeper->report = -1;
}

static void on_members_closed(void *context) {
  struct keeper *keeper = context;
  nemesis_free(keeper->nemesis);
  cluster_free(keeper->cluster);
  uv_close((uv_handle_t *)&keeper->terminate, NULL);
  uv_close((uv_handle_t *)&keeper->patience, NULL);
}

static void on_workers_stopped(void *context) {
  struct keeper *keeper = context;
  members_close(keeper->members, on_members_closed, keeper);
}

static void on_observer_closed(void *context) {
  struct keeper *keeper = context;
  if (keeper->workers)
    workers_stop(keeper->workers, on_workers_stopped, keeper);
  else
    on_workers_stopped(keeper);
}

static bool expects(void *context, size_t node) {
  const struct keeper *keeper = context;
  return cluster_node_serves(keeper->cluster, node);
}

/* What faults have left behind is undone, however that goes; then the masters end. */
static void on_healed(void *context, int status, const struct error *error) {
  struct keeper *keeper = context;
  struct observer *observer = keeper->observer;
  keeper->observer = NULL;
  if (status != 0)
    log_error("%s", error->message);
  for (size_t i = 0; i < cluster_size(keeper->cluster); i++) {
    struct error cause = {0};
    if (cluster_node_state(keeper->cluster, i) == NODE_RUNNING &&
        cluster_stop(keeper->cluster, i, &cause) != 0)
      log_error("%s", cause.message);
  }
  observer_close(observer, on_observer_closed, keeper);
}

static void stop(struct keeper *keeper) {
  if (keeper->stopping)
    return;
  keeper->stopping = true;
  control_close(keeper->control);
  nemesis_stop(keeper->nemesis, on_healed, keeper);
}

static void on_signal(uv_signal_t *handle, int number) {
  (void)number;
  stop(handle->data);
}

static void on_patience(uv_timer_t *timer) {
  struct keeper *keeper = timer->data;
  tell(keeper, "the masters did not agree on a primary within 60 s; their logs tell why");
  keeper->exit_code = EXIT_HARNESS;
  stop(keeper);
}

/* Before the cluster is up, the command that waits is told, and all of it ends; later, the log. */
static void on_lost(struct keeper *keeper, const char *text) {
  log_error("%s", text);
  if (keeper->report < 0)
    return;
  tell(keeper, text);
  keeper->exit_code = EXIT_HARNESS;
  stop(keeper);
}

static void on_died(struct keeper *keeper, const char *node) {
  char text[600];
  snprintf(text, sizeof text, "%s/nodes/%s/log", keeper->settings->directory, node);
  char *tail = file_tail(text, 5, "  ");
  snprintf(text, sizeof text, "master %s ended; the end of its log:\n%.400s", node,
           tail[0] ? tail : "  (nothing)");
  free(tail);
  on_lost(keeper, text);
}

static void on_event(void *context, const char *text) {
  json_t *event = json_loads(text, 0, NULL);
  log_info("%s", text);
  if (strcmp(document_string(event, "event", ""), "node") == 0 &&
      strcmp(document_string(event, "state", ""), "died") == 0)
    on_died(context, document_string(event, "node", "?"));
  json_decref(event);
}

static void on_changed(void *context) {
  struct keeper *keeper = context;
  if (keeper->report < 0 || !keeper->observer || !observer_settled(keeper->observer))
    return;
  struct cluster_state state = {.provider = keeper->settings->provider,
                                .supervisor = keeper->shared->supervisor,
                                .sandbox = keeper->shared->sandbox,
                                .cluster_id = keeper->cluster_id,
                                .count = cluster_founders(keeper->cluster)};
  memcpy(state.certificates, keeper->settings->certificates, sizeof state.certificates);
  for (size_t i = 0; i < state.count; i++) {
    snprintf(state.names[i], sizeof state.names[i], "%s", cluster_node_name(keeper->cluster, i));
    snprintf(state.addresses[i], sizeof state.addresses[i], "%s", cluster_client_address(keeper->cluster, i));
  }
  struct error error = {0};
  uv_timer_stop(&keeper->patience);
  if (cluster_state_save(keeper->settings->store, &state, &error) != 0) {
    tell(keeper, error.message);
    stop(keeper);
    return;
  }
  nemesis_start(keeper->nemesis);
  tell(keeper, "up");
}

static void on_node_status(void *context, size_t node, const struct node_status *status) {
  struct keeper *keeper = context;
  const struct node_facts facts = observer_facts(status);
  nemesis_note_node(keeper->nemesis, node, &facts);
  if (keeper->observer)
    observer_hurry(keeper->observer, nemesis_is_watching(keeper->nemesis));
}

static void on_primary(void *context, int node, uint64_t term) {
  struct keeper *keeper = context;
  if (node >= 0)
    log_info("%s is primary in term %" PRIu64, cluster_node_name(keeper->cluster, (size_t)node), term);
  else
    log_info("nobody is primary");
  on_changed(context);
}

static void on_worker_died(void *context, const char *text) {
  on_lost(context, text);
}

static int begin_workers(struct keeper *keeper, const char *const *addresses, struct error *error) {
  if (keeper->settings->workers == 0)
    return 0;
  char *directory = path_join(keeper->settings->directory, "nodes");
  const int status = workers_start(
      &(struct workers_options){.loop = &keeper->loop,
                                .count = (size_t)keeper->settings->workers,
                                .certificates = keeper->settings->tls ? keeper->settings->certificates : NULL,
                                .directory = directory,
                                .masters = addresses,
                                .master_count = cluster_size(keeper->cluster),
                                .died = on_worker_died,
                                .context = keeper},
      &keeper->workers, error);
  free(directory);
  return status;
}

static int begin_nemesis(struct keeper *keeper, struct error *error) {
  char *history = path_join(keeper->settings->directory, "nemesis.jsonl");
  const struct nemesis_options options = {.families = "none", .history = history};
  int status =
      nemesis_new(&keeper->loop, keeper->cluster, &options, on_event, keeper, &keeper->nemesis, error);
  free(history);
  if (status == 0)
    status =
        control_open(&keeper->loop, keeper->settings->directory, keeper->nemesis, &keeper->control, error);
  return status;
}

static int keeper_begin(struct keeper *keeper, struct error *error) {
  const struct up_settings *settings = keeper->settings;
  struct secure_files files;
  const struct cluster_options options = {
      .provider = settings->provider,
      .link = settings->link,
      .needs = nemesis_needs(settings->faults, 1),
      .nodes = (size_t)settings->nodes,
      .master = settings->master_path[0] ? settings->master_path : NULL,
      .hosts = host_flags_hosts(&settings->hosts),
      .keep = true,
      .directory = settings->directory,
      .files = settings->tls ? secure_files(settings->certificates, TLS_MASTER, &files) : NULL,
      .cluster_id = keeper->cluster_id};
  int status = settings->tls ? secure_open(NULL, settings->certificates, &keeper->tls, error) : 0;
  if (status == 0)
    status = cluster_new(&keeper->loop, &options, &keeper->cluster, error);
  if (status != 0)
    return status;
  const char *addresses[CLUSTER_NODES_MAX];
  for (size_t i = 0; i < cluster_size(keeper->cluster); i++)
    addresses[i] = cluster_client_address(keeper->cluster, i);
  const struct observer_events events = {.context = keeper,
                                         .primary = on_primary,
                                         .status = on_node_status,
                                         .changed = on_changed,
                                         .expects = expects};
  status = members_open(&keeper->loop, keeper->cluster, keeper->tls, NULL, NULL, &keeper->members, error);
  if (status == 0)
    status = begin_nemesis(keeper, error);
  for (size_t i = 0; status == 0 && i < cluster_size(keeper->cluster); i++)
    status = cluster_start(keeper->cluster, i, error);
  if (status == 0)
    status = begin_workers(keeper, addresses, error);
  if (status == 0)
    status = observer_new(&keeper->loop, addresses, cluster_size(keeper->cluster), keeper->tls, &events,
                          &keeper->observer, error);
  if (status != 0) {
    members_close(keeper->members, NULL, NULL);
    nemesis_free(keeper->nemesis);
    cluster_free(keeper->cluster);
  }
  return status;
}

static int keep(void *context) {
  struct keeper *keeper = context;
  struct error error = {0};
  signal(SIGPIPE, SIG_IGN);
  uv_loop_init(&keeper->loop);
  if (keeper_begin(keeper, &error) != 0) {
    tell(keeper, error.message);
    return EXIT_HARNESS;
  }
  uv_signal_init(&keeper->loop, &keeper->terminate);
  uv_timer_init(&keeper->loop, &keeper->patience);
  keeper->terminate.data = keeper->patience.data = keeper;
  uv_signal_start(&keeper->terminate, on_signal, SIGTERM);
  uv_timer_start(&keeper->patience, on_patience, UP_PATIENCE_MS, 0);
  uv_run(&keeper->loop, UV_RUN_DEFAULT);
  uv_loop_close(&keeper->loop);
  tls_context_free(keeper->tls);
  return keeper->exit_code;
}

/* ---- The supervisor: outside, detached from the terminal ---- */

static void on_sandbox(void *context, pid_t pid) {
  struct keeper *keeper = context;
  keeper->shared->sandbox = pid;
}

static void detach(const struct up_settings *settings) {
  char *path = path_join(settings->directory, "log");
  setsid();
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (null >= 0)
    dup2(null, STDIN_FILENO);
  if (log >= 0) {
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
  }
  free(path);
}

static int supervise(const struct up_settings *settings, uint64_t cluster_id, struct shared *shared,
                     int report) {
  struct keeper keeper = {.settings = settings, .shared = shared, .report = report, .cluster_id = cluster_id};
  struct error error = {0};
  detach(settings);
  log_open("cluster", LOG_LEVEL_INFO);
  shared->supervisor = getpid();
  int exit_code = 0;
  if (settings->provider != PROVIDER_NETNS)
    exit_code = keep(&keeper);
  else if (sandbox_run(keep, &keeper, on_sandbox, &exit_code, &error) != 0) {
    tell(&keeper, error.message);
    exit_code = EXIT_HARNESS;
  }
  cluster_state_remove(settings->store);
  return exit_code;
}

/* ---- up ---- */

/* The data of an earlier `up` is continued when it fits; its identity is kept beside it. */
static int prepare_data(const struct up_settings *settings, uint64_t *cluster_id, struct error *error) {
  char *nodes = path_join(settings->directory, "nodes");
  char *path = path_join(settings->directory, "data.json");
  int status = 0;
  if (settings->fresh)
    status = directory_remove(nodes, error);
  json_t *data = settings->fresh || !file_exists(nodes) ? NULL : document_read(path, NULL);
  if (data && document_integer(data, "nodes", 0) != settings->nodes)
    status = error_set(
        error, ERR_BAD_INPUT, "%s holds the data of %lld nodes: give --nodes %lld, or --fresh to begin anew",
        nodes, (long long)document_integer(data, "nodes", 0), (long long)document_integer(data, "nodes", 0));
  if (data)
    *cluster_id = (uint64_t)document_integer(data, "cluster_id", 1);
  else if (status == 0) {
    *cluster_id = random_seed_from_system() >> 12;
    status = directory_remove(nodes, error);
    json_t *fresh =
        json_pack("{s:I, s:I}", "nodes", (json_int_t)settings->nodes, "cluster_id", (json_int_t)*cluster_id);
    if (status == 0)
      status = document_write(path, fresh, error);
    json_decref(fresh);
  }
  json_decref(data);
  free(nodes);
  free(path);
  return status;
}

/* New ones each time: those of yesterday have expired. */
static int prepare_certificates(struct up_settings *settings, struct error *error) {
  char *directory = path_join(settings->directory, "tls");
  int status = directory_remove(directory, error);
  if (status == 0 && settings->tls) {
    snprintf(settings->certificates, sizeof settings->certificates, "%s", directory);
    status = secure_make(directory, UP_VALID_NS, error);
  }
  free(directory);
  return status;
}

/* What the supervisor says, up to a NUL: "up" or why not. Nothing when all of it died. */
static void read_report(int report, char *out, size_t size) {
  size_t used = 0;
  ssize_t got;
  memset(out, 0, size);
  while (used + 1 < size && (got = read(report, out + used, size - used - 1)) > 0) {
    used += (size_t)got;
    if (out[used - 1] == '\0')
      return;
  }
}

static void print_nodes(const struct cluster_state *state, bool json) {
  json_t *nodes = json_array();
  for (size_t i = 0; i < state->count; i++) {
    if (!json)
      printf("%-6s %s\n", state->names[i], state->addresses[i]);
    json_array_append_new(nodes,
                          json_pack("{s:s, s:s}", "node", state->names[i], "address", state->addresses[i]));
  }
  json_t *object =
      json_pack("{s:s, s:I, s:I, s:o}", "provider", provider_name(state->provider), "supervisor",
                (json_int_t)state->supervisor, "sandbox", (json_int_t)state->sandbox, "nodes", nodes);
  if (json)
    document_print_line(object);
  json_decref(object);
}

static int start(struct up_settings *settings, struct error *error) {
  const int lock = cluster_state_lock(settings->store, error);
  if (lock < 0)
    return lock;
  char *relative = path_join(settings->store, "cluster");
  settings->directory = realpath(relative, NULL);
  free(relative);
  uint64_t cluster_id = 0;
  int report[2], status = prepare_data(settings, &cluster_id, error);
  if (status == 0)
    status = prepare_certificates(settings, error);
  struct shared *shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (status == 0 && (shared == MAP_FAILED || pipe2(report, O_CLOEXEC) != 0))
    status = error_set_errno(error, ERR_IO, "cannot prepare a supervisor");
  if (status != 0) {
    close(lock);
    return status;
  }
  fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0) {
    close(report[0]);
    _exit(supervise(settings, cluster_id, shared, report[1]));
  }
  close(report[1]);
  close(lock);
  char said[1000] = "";
  if (pid > 0)
    read_report(report[0], said, sizeof said);
  close(report[0]);
  if (strcmp(said, "up") == 0)
    return 0;
  return error_set(error, ERR_UNAVAILABLE, "the cluster did not come up: %s (log: %s/log)",
                   said[0] ? said : "its supervisor ended", settings->directory);
}

static int up_command(int argc, char **argv) {
  struct up_settings s = {.provider_name = "auto", .link_name = "auto", .store = "store", .faults = "all"};
  const struct flag flags[] = {
      {"nodes", FLAG_INT, &s.nodes, "N", "master nodes (default 3; provider ssh: one a host)", 1,
       CLUSTER_NODES_MAX},
      {"workers", FLAG_INT, &s.workers, "N", "assay-workers beside them, for data of files (default 0)", 0,
       WORKERS_AT_ONCE},
      {"provider", FLAG_STRING, &s.provider_name, "NAME",
       "netns, host, ssh, vagrant (on control) or auto (default auto)", 0, 0},
      HOST_FLAGS(&s.hosts),
      {"link", FLAG_STRING, &s.link_name, "NAME", "what joins nodes of netns: veth, tap or auto (default)", 0,
       0},
      {"master", FLAG_STRING, &s.master, "PROGRAM", "the master (default: assay-master beside assay)", 0, 0},
      {"faults", FLAG_STRING, &s.faults, "FAULTS",
       "what assay nemesis start may break: some takes disks and links that are slower (default all)", 0, 0},
      {"tls", FLAG_BOOL, &s.tls, NULL,
       "everybody speaks TLS, with certificates for a month in DIR/cluster/tls, which assay fs and admin find there",
       0, 0},
      {"keep", FLAG_BOOL, &s.keep, NULL, "go on with the data of the cluster that was up before (default)", 0,
       0},
      {"fresh", FLAG_BOOL, &s.fresh, NULL, "forget the data of the cluster that was up before", 0, 0},
      {"store", FLAG_STRING, &s.store, "DIR", "its data and state are in DIR/cluster (default store)", 0, 0},
      {"json", FLAG_BOOL, &s.json, NULL, "one JSON object", 0, 0},
  };
  const struct flag_set set = {.program = "assay cluster up",
                               .summary =
                                   "Starts a cluster that stays until assay cluster down, and returns.",
                               .flags = flags,
                               .count = ARRAY_SIZE(flags)};
  int positional;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (code >= 0)
    return code;
  struct error error = {0};
  struct cluster_state state;
  int status = nemesis_check_families(s.faults, &error);
  if (status == 0 && s.keep && s.fresh)
    status = error_set(&error, ERR_BAD_INPUT, "--keep and --fresh exclude each other");
  if (status == 0)
    status = settings_choose_provider(s.provider_name, &s.provider, s.reason, &error);
  if (status == 0)
    status = settings_check_workers(s.workers, s.provider, &error);
  if (status == 0)
    status = settings_choose_link(s.link_name, &s.link, &error);
  if (status == 0 && strcmp(s.provider_name, "vagrant") == 0)
    status = vagrant_hosts(&s.hosts, &error);
  s.nodes = host_flags_nodes(&s.hosts, s.nodes);
  if (status == 0)
    status = host_flags_check(&s.hosts, s.provider, s.nodes, &error);
  if (status == 0)
    status =
        settings_find_master(s.master, "master", s.provider, s.master_path, sizeof s.master_path, &error);
  if (status == 0)
    status = start(&s, &error);
  free(s.directory);
  if (status == 0)
    status = cluster_state_load(s.store, &state, &error);
  if (status != 0) {
    fprintf(stderr, "assay cluster up: %s\n", error.message);
    return status == ERR_BAD_INPUT ? EXIT_USAGE : EXIT_HARNESS;
  }
  if (s.reason[0] != '\0')
    fprintf(stderr, "nodes are plain processes on loopback, because: %s\n", s.reason);
  print_nodes(&state, s.json);
  return 0;
}

/* ---- down ---- */

/* True when the process ended in time. */
static bool await_end(int process, int patience_ms) {
  struct pollfd waiting = {.fd = process, .events = POLLIN};
  return poll(&waiting, 1, patience_ms) == 1;
}

static int stop_supervisor(const struct cluster_state *state, struct error *error) {
  const int process = pidfd_open(state->supervisor, 0);
  if (process < 0)
    return error_set_errno(error, ERR_IO, "cannot reach process %d", (int)state->supervisor);
  int status = 0;
  if (pidfd_send_signal(process, SIGTERM, NULL, 0) != 0) {
    status = error_set_errno(error, ERR_IO, "cannot end process %d; be the user who started it",
                             (int)state->supervisor);
  } else if (!await_end(process, DOWN_PATIENCE_MS)) {
    pidfd_send_signal(process, SIGKILL, NULL, 0);
    if (!await_end(process, DOWN_PATIENCE_MS))
      status = error_set(error, ERR_TIMEOUT, "process %d does not end", (int)state->supervisor);
  }
  close(process);
  return status;
}

static int down_command(int argc, char **argv) {
  const char *store = "store";
  bool json = false;
  const int code = cluster_command_flags("assay cluster down",
                                         "Ends the cluster; its data stays for the next assay cluster up.",
                                         NULL, &argc, argv, &store, &json);
  if (code >= 0)
    return code;
  struct error error = {0};
  struct cluster_state state;
  int status = cluster_state_load(store, &state, &error);
  if (status == 0)
    status = stop_supervisor(&state, &error);
  if (status != 0) {
    fprintf(stderr, "assay cluster down: %s\n", error.message);
    return EXIT_HARNESS;
  }
  cluster_state_remove(store);
  if (json)
    printf("{\"down\":true,\"nodes\":%zu}\n", state.count);
  else
    printf("%zu nodes stopped; their data stays in %s/cluster\n", state.count, store);
  return 0;
}

/* ---- status ---- */

struct inquiry {
  struct node_status nodes[CLUSTER_NODES_MAX];
  size_t left;
  uv_loop_t loop;
  struct tls_context *tls;
  struct master_client *client;
};

struct inquired {
  struct inquiry *inquiry;
  size_t node;
};

static void on_status(void *context, const struct node_status *status) {
  struct inquired *inquired = context;
  struct inquiry *inquiry = inquired->inquiry;
  inquiry->nodes[inquired->node] = *status;
  if (--inquiry->left == 0)
    master_client_close(inquiry->client, NULL, NULL);
}

static int inquire(const struct cluster_state *state, struct inquiry *inquiry, struct error *error) {
  const char *addresses[CLUSTER_NODES_MAX];
  struct inquired inquired[CLUSTER_NODES_MAX];
  for (size_t i = 0; i < state->count; i++)
    addresses[i] = state->addresses[i];
  uv_loop_init(&inquiry->loop);
  int status = secure_open(NULL, state->certificates, &inquiry->tls, error);
  if (status == 0)
    status = cluster_state_join(state, error);
  const struct master_client_options options = {
      .addresses = addresses, .address_count = state->count, .tls = inquiry->tls};
  if (status == 0)
    status = master_client_open(&inquiry->loop, &options, &inquiry->client, error);
  if (status != 0)
    return status;
  inquiry->left = state->count;
  for (size_t i = 0; i < state->count; i++) {
    inquired[i] = (struct inquired){inquiry, i};
    master_client_status(inquiry->client, i, false, on_status, &inquired[i]);
  }
  uv_run(&inquiry->loop, UV_RUN_DEFAULT);
  uv_loop_close(&inquiry->loop);
  tls_context_free(inquiry->tls);
  return 0;
}

static json_t *status_json(const struct cluster_state *state, const struct inquiry *inquiry) {
  json_t *nodes = json_array();
  for (size_t i = 0; i < state->count; i++) {
    const struct node_status *node = &inquiry->nodes[i];
    json_array_append_new(
        nodes, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "node", state->names[i], "address",
                         state->addresses[i], "role", node_role_name(node->role), "term",
                         (json_int_t)node->term, "commit", (json_int_t)node->commit_index, "applied",
                         (json_int_t)node->applied_index, "inodes", (json_int_t)node->inodes, "uptime_ms",
                         (json_int_t)(node->uptime_ns / NS_PER_MS)));
  }
  return json_pack("{s:s, s:I, s:I, s:o}", "provider", provider_name(state->provider), "supervisor",
                   (json_int_t)state->supervisor, "sandbox", (json_int_t)state->sandbox, "nodes", nodes);
}

static void print_status(const struct cluster_state *state, const struct inquiry *inquiry) {
  printf("%-6s %-18s %-14s %8s %12s %12s %12s %10s\n", "node", "address", "role", "term", "commit", "applied",
         "inodes", "up");
  for (size_t i = 0; i < state->count; i++) {
    const struct node_status *node = &inquiry->nodes[i];
    char up[COUNT_TEXT_SIZE];
    if (node->role == NODE_UNREACHABLE)
      printf("%-6s %-18s %s\n", state->names[i], state->addresses[i], node_role_name(node->role));
    else
      printf("%-6s %-18s %-14s %8" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %10s\n",
             state->names[i], state->addresses[i], node_role_name(node->role), node->term, node->commit_index,
             node->applied_index, node->inodes, duration_text(node->uptime_ns, up));
  }
}

static int status_command(int argc, char **argv) {
  const char *store = "store";
  bool json = false;
  const int code =
      cluster_command_flags("assay cluster status", "What every node of the cluster says of itself.", NULL,
                            &argc, argv, &store, &json);
  if (code >= 0)
    return code;
  struct error error = {0};
  struct cluster_state state;
  struct inquiry inquiry = {0};
  int status = cluster_state_load(store, &state, &error);
  if (status == 0)
    status = inquire(&state, &inquiry, &error);
  if (status != 0) {
    fprintf(stderr, "assay cluster status: %s\n", error.message);
    return EXIT_HARNESS;
  }
  if (json) {
    json_t *object = status_json(&state, &inquiry);
    document_print_line(object);
    json_decref(object);
  } else {
    print_status(&state, &inquiry);
  }
  return 0;
}

int cluster_command(int argc, char **argv) {
  static const struct command commands[] = {
      {"up", "start a cluster and leave it running", up_command},
      {"down", "end it", down_command},
      {"status", "what every node says of itself", status_command},
  };
  return command_dispatch("assay cluster", "A cluster to play with (assay fs works on it).", commands,
                          ARRAY_SIZE(commands), argc, argv);
}
