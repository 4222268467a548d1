/* nemesis.c: `assay nemesis`: the process that owns a cluster and hurts it.
 *
 * It is told what to do by words on its standard input and says what happens as JSON lines on its standard
 * output, so the conductor of a run and a person at a terminal can both drive it:
 *
 *   start    begin to break things (without --wait: by itself, once the cluster is ready)
 *   stop     heal everything; answers {"event":"healed"}
 *   operations N   clients have had an ok for so many, for faults that wait for that
 *   compare  compare the state of all replicas; answers {"event":"replicas"}
 *   end      heal, stop the masters, end; so do SIGTERM and the end of standard input */
#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/base.h"
#include "harness/commands.h"
#include "harness/document.h"
#include "harness/members.h"
#include "harness/observer.h"
#include "harness/secure.h"
#include "harness/settings.h"
#include "harness/stacks.h"
#include "harness/vagrant.h"
#include "nemesis/nemesis.h"

#define COMPARE_PATIENCE_NS (30 * NS_PER_S)

struct nemesis_settings {
  int64_t nodes, seed, cluster_id, fault_interval_ns, fault_duration_ns;
  const char *provider_name, *master, *old_master, *directory, *history, *families, *schedule;
  enum provider provider;
  const char *link_name, *pcap, *tls;
  enum link_kind link;
  struct flag_list master_flags, paces;
  struct host_flags hosts;
  char master_path[4096];
  bool wait, inside;
};

struct host {
  const struct nemesis_settings *settings;
  uv_loop_t loop;
  struct cluster *cluster;
  struct observer *observer;
  struct members_asker *members;
  struct tls_context *tls; /* what the observer proves itself with; NULL: without */
  struct nemesis *nemesis;
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_pipe_t pipe;
    uv_tty_t tty;
  } input;
  bool input_used;
  uv_signal_t terminate, interrupt;
  char received[4096];
  struct bytes words;
  bool ready, settled, hurting, stopping, healed, ending, masters_stopped;
  int exit_code;
};

static void say(json_t *event) {
  json_object_set_new(event, "time_ns", json_integer((json_int_t)time_monotonic_ns()));
  document_print_line(event);
  json_decref(event);
}

static void say_error(struct host *host, const char *message) {
  host->exit_code = EXIT_HARNESS;
  say(json_pack("{s:s, s:s}", "event", "error", "message", message));
  log_error("%s", message);
}

static void end(struct host *host);

/* ---- What the observer sees ---- */

static void check_settled(struct host *host) {
  const bool settled = observer_settled(host->observer);
  if (settled == host->settled)
    return;
  host->settled = settled;
  say(json_pack("{s:s, s:b}", "event", "settled", "settled", settled));
  if (settled && !host->ready) {
    host->ready = true;
    say(json_pack("{s:s}", "event", "ready"));
    if (!host->settings->wait && !host->stopping) {
      host->hurting = true;
      nemesis_start(host->nemesis);
    }
  }
}

static void on_status(void *context, size_t node, const struct node_status *status) {
  struct host *host = context;
  const struct node_facts facts = observer_facts(status);
  nemesis_note_node(host->nemesis, node, &facts);
  observer_hurry(host->observer, nemesis_is_watching(host->nemesis));
}

static void on_primary(void *context, int node, uint64_t term) {
  struct host *host = context;
  say(json_pack("{s:s, s:s?, s:I}", "event", "primary", "node",
                node < 0 ? NULL : cluster_node_name(host->cluster, (size_t)node), "term", (json_int_t)term));
  check_settled(host);
}

static void on_changed(void *context) {
  check_settled(context);
}

static void on_disagree(void *context, const char *message) {
  (void)context;
  log_warn("%s", message);
  say(json_pack("{s:s, s:b, s:s}", "event", "members", "agree", false, "message", message));
}

static bool expects(void *context, size_t node) {
  const struct host *host = context;
  return cluster_node_serves(host->cluster, node);
}

static void on_compared(void *context, const struct replica_report *report) {
  struct host *host = context;
  json_t *nodes = json_array();
  for (size_t i = 0; i < cluster_size(host->cluster); i++) {
    if (!report->compared[i])
      continue;
    const struct node_status *status = &report->nodes[i];
    char hash[20];
    snprintf(hash, sizeof hash, "%016" PRIx64, status->state_hash);
    json_array_append_new(
        nodes, json_pack("{s:s, s:s, s:I, s:s, s:I}", "node", cluster_node_name(host->cluster, i), "role",
                         node_role_name(status->role), "applied", (json_int_t)status->applied_index, "hash",
                         hash, "inodes", (json_int_t)status->inodes));
  }
  say(json_pack("{s:s, s:b, s:b, s:o}", "event", "replicas", "comparable", report->comparable, "equal",
                report->equal, "nodes", nodes));
}

/* ---- The nemesis ---- */

static void on_event(void *context, const char *text) {
  (void)context;
  printf("%s\n", text);
  fflush(stdout);
}

static void on_healed(void *context, int status, const struct error *error) {
  struct host *host = context;
  host->healed = true;
  say(json_pack("{s:s, s:b, s:s?}", "event", "healed", "ok", status == 0, "message",
                status == 0 ? NULL : error->message));
  if (status != 0)
    host->exit_code = EXIT_HARNESS;
  if (host->ending)
    end(host);
}

static void stop(struct host *host) {
  if (host->stopping)
    return;
  host->stopping = true;
  nemesis_stop(host->nemesis, on_healed, host);
}

/* ---- The end: heal, stop the masters, close everything, in this order ---- */

static void on_members_closed(void *context) {
  struct host *host = context;
  nemesis_free(host->nemesis);
  cluster_free(host->cluster);
  say(json_pack("{s:s}", "event", "ended"));
  uv_close((uv_handle_t *)&host->terminate, NULL);
  uv_close((uv_handle_t *)&host->interrupt, NULL);
  if (host->input_used && !uv_is_closing(&host->input.handle))
    uv_close(&host->input.handle, NULL);
}

static void on_observer_closed(void *context) {
  struct host *host = context;
  members_close(host->members, on_members_closed, host);
}

static void end(struct host *host) {
  host->ending = true;
  if (!host->healed) {
    stop(host);
    return;
  }
  if (host->masters_stopped)
    return;
  host->masters_stopped = true;
  for (size_t i = 0; i < cluster_size(host->cluster); i++) {
    struct error error = {0};
    if (cluster_node_state(host->cluster, i) == NODE_RUNNING && cluster_stop(host->cluster, i, &error) != 0)
      say_error(host, error.message);
  }
  observer_close(host->observer, on_observer_closed, host);
}

/* ---- What it is told ---- */

static void obey(struct host *host, const char *word) {
  if (strcmp(word, "start") == 0) {
    if (!host->hurting && !host->stopping) {
      host->hurting = true;
      nemesis_start(host->nemesis);
    }
  } else if (strcmp(word, "stop") == 0) {
    stop(host);
  } else if (strncmp(word, "operations ", 11) == 0) {
    nemesis_note_operations(host->nemesis, strtoull(word + 11, NULL, 10));
  } else if (strcmp(word, "compare") == 0) {
    observer_compare(host->observer, COMPARE_PATIENCE_NS, on_compared, host);
  } else if (strcmp(word, "end") == 0) {
    end(host);
  } else if (word[0] != '\0') {
    log_warn("'%s' is none of start, stop, operations N, compare, end", word);
  }
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  struct host *host = handle->data;
  (void)suggested;
  *buffer = uv_buf_init(host->received, sizeof host->received);
}

static void on_input(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  struct host *host = stream->data;
  if (size < 0) {
    uv_close((uv_handle_t *)stream, NULL);
    end(host);
    return;
  }
  for (ssize_t i = 0; i < size; i++) {
    if (buffer->base[i] != '\n') {
      if (host->words.size < sizeof host->received)
        bytes_append_u8(&host->words, (uint8_t)buffer->base[i]);
      continue;
    }
    bytes_append_u8(&host->words, 0);
    obey(host, (const char *)host->words.data);
    bytes_clear(&host->words);
  }
}

static void on_signal(uv_signal_t *handle, int number) {
  (void)number;
  end(handle->data);
}

static void listen_to_input(struct host *host) {
  const uv_handle_type type = uv_guess_handle(STDIN_FILENO);
  int status = -1;
  if (type == UV_TTY)
    status = uv_tty_init(&host->loop, &host->input.tty, STDIN_FILENO, 0);
  else if (type == UV_NAMED_PIPE) {
    uv_pipe_init(&host->loop, &host->input.pipe, 0);
    status = uv_pipe_open(&host->input.pipe, STDIN_FILENO);
  }
  if (type != UV_TTY && type != UV_NAMED_PIPE)
    return;
  host->input_used = true;
  host->input.handle.data = host;
  if (status == 0)
    uv_read_start(&host->input.stream, on_allocate, on_input);
}

/* ---- The beginning ---- */

static int make_cluster(struct host *host, struct error *error) {
  const struct nemesis_settings *settings = host->settings;
  const char *extra[ARRAY_SIZE(settings->master_flags.items) + 1] = {NULL};
  memcpy(extra, settings->master_flags.items, settings->master_flags.count * sizeof *extra);
  struct secure_files files;
  unsigned told = 0;
  if (settings->schedule &&
      nemesis_schedule_needs(settings->schedule, (size_t)settings->nodes, &told, error) != 0)
    return ERR_BAD_INPUT;
  const struct cluster_options options = {
      .provider = settings->provider,
      .link = settings->link,
      .pcap = settings->pcap,
      .seed = (uint64_t)settings->seed,
      .nodes = (size_t)settings->nodes,
      .needs = nemesis_needs(settings->families, (uint64_t)settings->seed) | told,
      .master = settings->master_path[0] ? settings->master_path : NULL,
      .hosts = host_flags_hosts(&settings->hosts),
      .old_master = settings->old_master,
      .directory = settings->directory,
      .extra = extra,
      .files = settings->tls ? secure_files(settings->tls, TLS_MASTER, &files) : NULL,
      .cluster_id = settings->cluster_id ? (uint64_t)settings->cluster_id : random_seed_from_system() >> 12};
  int status = cluster_new(&host->loop, &options, &host->cluster, error);
  for (size_t i = 0; status == 0 && i < cluster_size(host->cluster); i++)
    status = cluster_start(host->cluster, i, error);
  return status;
}

static int make_observers(struct host *host, struct error *error) {
  const struct nemesis_settings *settings = host->settings;
  const char *addresses[CLUSTER_NODES_MAX], *paces[ARRAY_SIZE(settings->paces.items) + 1] = {NULL};
  for (size_t i = 0; i < cluster_size(host->cluster); i++)
    addresses[i] = cluster_client_address(host->cluster, i);
  memcpy(paces, settings->paces.items, settings->paces.count * sizeof *paces);
  const struct nemesis_options options = {.families = settings->families,
                                          .seed = (uint64_t)settings->seed,
                                          .interval_ns = settings->fault_interval_ns,
                                          .duration_ns = settings->fault_duration_ns,
                                          .paces = paces,
                                          .schedule = settings->schedule,
                                          .history = settings->history};
  const struct observer_events events = {
      .context = host, .primary = on_primary, .status = on_status, .changed = on_changed, .expects = expects};
  int status = settings->tls ? secure_open(NULL, settings->tls, &host->tls, error) : 0;
  if (status == 0)
    status = members_open(&host->loop, host->cluster, host->tls, on_disagree, host, &host->members, error);
  if (status == 0)
    status = nemesis_new(&host->loop, host->cluster, &options, on_event, host, &host->nemesis, error);
  if (status == 0)
    status = observer_new(&host->loop, addresses, cluster_size(host->cluster), host->tls, &events,
                          &host->observer, error);
  return status;
}

/* What a master that does not end is doing is written down before it is killed. */
static void on_hung(void *context, size_t node) {
  struct host *host = context;
  const struct stacks stacks = stacks_begin(host->settings->directory, "it did not end when told to");
  stacks_write_masters(&stacks, cluster_node_name(host->cluster, node));
}

static void say_cluster(struct host *host) {
  json_t *nodes = json_array();
  for (size_t i = 0; i < cluster_founders(host->cluster); i++)
    json_array_append_new(nodes, json_pack("{s:s, s:s, s:I}", "node", cluster_node_name(host->cluster, i),
                                           "address", cluster_client_address(host->cluster, i), "pid",
                                           (json_int_t)cluster_node_pid(host->cluster, i)));
  say(json_pack("{s:s, s:s, s:s*, s:o}", "event", "cluster", "provider",
                provider_name(host->settings->provider), "link",
                host->cluster ? cluster_link_kind(host->cluster) : NULL, "nodes", nodes));
}

static int host_run(void *context) {
  struct host host = {.settings = context};
  struct error error = {0};
  signal(SIGPIPE, SIG_IGN);
  uv_loop_init(&host.loop);
  int status = make_cluster(&host, &error);
  if (status == 0)
    status = make_observers(&host, &error);
  if (status != 0) {
    say_error(&host, error.message);
    members_close(host.members, NULL, NULL);
    if (host.nemesis)
      nemesis_free(host.nemesis);
    if (host.cluster)
      cluster_free(host.cluster);
    return EXIT_HARNESS;
  }
  uv_signal_init(&host.loop, &host.terminate);
  uv_signal_init(&host.loop, &host.interrupt);
  host.terminate.data = host.interrupt.data = &host;
  uv_signal_start(&host.terminate, on_signal, SIGTERM);
  uv_signal_start(&host.interrupt, on_signal, SIGINT);
  cluster_watch_hung(host.cluster, on_hung, &host);
  say_cluster(&host);
  listen_to_input(&host);
  uv_run(&host.loop, UV_RUN_DEFAULT);
  uv_loop_close(&host.loop);
  tls_context_free(host.tls);
  bytes_free(&host.words);
  return host.exit_code;
}

static int parse(struct nemesis_settings *s, int argc, char **argv) {
  const struct flag flags[] = {
      {"nodes", FLAG_INT, &s->nodes, "N", "master nodes (default 3; provider ssh: one a host)", 1,
       CLUSTER_NODES_MAX},
      {"provider", FLAG_STRING, &s->provider_name, "NAME",
       "netns, host, ssh, vagrant (on control) or auto (default auto)", 0, 0},
      {"link", FLAG_STRING, &s->link_name, "NAME", "what joins nodes of netns: veth, tap or auto (default)",
       0, 0},
      {"pcap", FLAG_STRING, &s->pcap, "FILE", "record the cluster's traffic there (takes TAP links)", 0, 0},
      HOST_FLAGS(&s->hosts),
      {"master", FLAG_STRING, &s->master, "PROGRAM", "the master (default: assay-master beside assay)", 0, 0},
      {"old-master", FLAG_STRING, &s->old_master, "PROGRAM", "an older master, for the fault old-build", 0,
       0},
      {"master-flag", FLAG_LIST, &s->master_flags, "ARGUMENT", "a further argument for every master", 0, 0},
      {"tls", FLAG_STRING, &s->tls, "DIR", "everybody speaks TLS, with the certificates that were made there",
       0, 0},
      {"directory", FLAG_STRING, &s->directory, "DIR", "nodes/<name>/ is made there (default .)", 0, 0},
      {"history", FLAG_STRING, &s->history, "FILE", "what it records (default nemesis.jsonl)", 0, 0},
      {"nemesis", FLAG_STRING, &s->families, "FAULTS",
       "families, faults and mixes, comma-separated, swarm or none (default partition,pause,kill)", 0, 0},
      {"seed", FLAG_INT, &s->seed, "N", "of the fault schedule (default 1)", 0, 9e15},
      {"cluster-id", FLAG_INT, &s->cluster_id, "N", "of the masters (default: drawn)", 1, 9e15},
      {"schedule", FLAG_STRING, &s->schedule, "FILE", "carry out the faults of this schedule, too", 0, 0},
      {"fault-interval", FLAG_DURATION, &s->fault_interval_ns, "TIME",
       "mean time between the heal of a fault and the next fault", 1e6, 3600e9},
      {"fault-duration", FLAG_DURATION, &s->fault_duration_ns, "TIME", "mean time a fault stays", 1e6,
       3600e9},
      {"fault-every", FLAG_LIST, &s->paces, "FAULTS=TIME",
       "a pace of their own for these faults, as kill=20s", 0, 0},
      {"wait", FLAG_BOOL, &s->wait, NULL, "break nothing before 'start' comes on standard input", 0, 0},
      {"inside", FLAG_BOOL, &s->inside, NULL, "already in a sandbox: make none", 0, 0},
  };
  const struct flag_set set = {
      .program = "assay nemesis",
      .summary =
          "Starts a cluster and hurts it. Prints one JSON object a line; listens on standard input\n"
          "for start, stop, compare and end. With a command, list, start, heal or status, it is for the\n"
          "cluster of assay cluster up.",
      .flags = flags,
      .count = ARRAY_SIZE(flags),
  };
  int positional;
  return flags_parse_or_exit_code(&set, argc, argv, &positional);
}

int nemesis_command(int argc, char **argv) {
  if (argc > 1 && argv[1][0] != '-')
    return nemesis_by_hand_command(argc, argv);
  struct nemesis_settings settings = {.seed = 1,
                                      .provider_name = "auto",
                                      .link_name = "auto",
                                      .directory = ".",
                                      .history = "nemesis.jsonl",
                                      .families = "partition,pause,kill"};
  const int code = parse(&settings, argc, argv);
  if (code >= 0)
    return code;
  log_open("nemesis", LOG_LEVEL_INFO);
  struct error error = {0};
  char reason[600] = "";
  int status = nemesis_check_families(settings.families, &error);
  for (size_t i = 0; i < settings.paces.count && status == 0; i++)
    status = nemesis_check_pace(settings.paces.items[i], &error);
  if (status == 0)
    status = settings_choose_link(settings.link_name, &settings.link, &error);
  if (settings.inside)
    settings.provider = PROVIDER_NETNS;
  else if (status == 0)
    status = settings_choose_provider(settings.provider_name, &settings.provider, reason, &error);
  if (status == 0 && strcmp(settings.provider_name, "vagrant") == 0)
    status = vagrant_hosts(&settings.hosts, &error);
  settings.nodes = host_flags_nodes(&settings.hosts, settings.nodes);
  if (status == 0)
    status = host_flags_check(&settings.hosts, settings.provider, settings.nodes, &error);
  if (status == 0)
    status = settings_find_master(settings.master, "master", settings.provider, settings.master_path,
                                  sizeof settings.master_path, &error);
  if (status != 0) {
    fprintf(stderr, "assay nemesis: %s\n", error.message);
    return status == ERR_BAD_INPUT ? EXIT_USAGE : EXIT_HARNESS;
  }
  if (reason[0] != '\0')
    log_warn("provider host, without partitions: %s", reason);
  if (settings.inside || settings.provider != PROVIDER_NETNS)
    return host_run(&settings);
  int exit_code = EXIT_HARNESS;
  if (sandbox_run(host_run, &settings, NULL, &exit_code, &error) != 0) {
    fprintf(stderr, "assay nemesis: %s\n", error.message);
    return EXIT_HARNESS;
  }
  return exit_code;
}
