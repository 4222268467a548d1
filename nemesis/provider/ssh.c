/* ssh.c: every node on a host of its own, where an agent does what is to be done (nemesis/agent).
 *
 *   nemesis ── ssh ──▶ sshd ── assay agent (root) ──▶ assay-master, nftables, … of that host
 *
 * The nodes reach each other, and clients reach them, at the hosts' own addresses; the clients run beside the
 * nemesis, so one monotonic clock stamps the history. All hosts are asked before the first answer is awaited.
 *
 * A connection that fails is a failure of the harness, and never a fault that was survived. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nemesis/agent/protocol.h"
#include "nemesis/clock/host_clock.h"
#include "nemesis/cluster.h"
#include "nemesis/provider/ssh_hosts.h"
#include "nemesis/remote.h"

/* A login on a machine that is emulated may take a minute, and its packet filter some seconds. */
#define HELLO_PATIENCE_MS 120000
#define ANSWER_PATIENCE_MS 30000
#define END_PATIENCE_MS 30000
#define CLOSE_PATIENCE_MS 20000
/* So much of a log is fetched; a node that writes more has a story that its end tells as well. */
#define LOG_MAX (64 << 20)

static const char *const capability_names[CAPABILITIES] = {
    [CAN_FILTER] = "filter", [CAN_SHAPE] = "shape", [CAN_DISK] = "disk",
    [CAN_CLOCK] = "clock",   [CAN_LIMIT] = "limit",
};

struct ssh {
  struct remote remotes[CLUSTER_NODES_MAX];
  int64_t log_next[CLUSTER_NODES_MAX]; /* how much of a node's log was fetched */
  char lacks[CAPABILITIES][400];       /* "": it can */
  struct ssh_stay *stay;
};

/* Its handle is closed after the cluster is gone. */
struct ssh_stay {
  uv_timer_t timer;
  struct cluster *cluster;
};

static struct remote *remote_of(const struct cluster *cluster, size_t node) {
  struct ssh *ssh = cluster->provider;
  return &ssh->remotes[node];
}

/* ---- Asking ---- */

static int ask(const struct cluster *cluster, size_t node, const char *what, json_t *arguments,
               json_t **answer, struct error *error) {
  struct remote *remote = remote_of(cluster, node);
  return remote_finish(remote, remote_begin(remote, what, arguments), ANSWER_PATIENCE_MS, answer, error);
}

/* Asks all of them at once; takes `arguments`, one for each. The first error counts; all answers are awaited.
 */
static int ask_all(const struct cluster *cluster, const char *what, json_t **arguments, json_t **answers,
                   int patience_ms, struct error *error) {
  int64_t ids[CLUSTER_NODES_MAX];
  int first = 0;
  for (size_t i = 0; i < cluster->size; i++)
    ids[i] = remote_begin(remote_of(cluster, i), what, arguments ? arguments[i] : NULL);
  for (size_t i = 0; i < cluster->size; i++) {
    const int status = remote_finish(remote_of(cluster, i), ids[i], patience_ms, answers ? &answers[i] : NULL,
                                     first == 0 ? error : NULL);
    first = first == 0 ? status : first;
  }
  return first;
}

static void forget_answers(json_t **answers, size_t count) {
  for (size_t i = 0; i < count; i++)
    json_decref(answers[i]);
}

/* ---- Logs ---- */

/* Appends what is new in the node's log to the one here. */
static int fetch_log(struct cluster *cluster, size_t index, struct error *error) {
  struct ssh *ssh = cluster->provider;
  char *path = path_join(cluster->nodes[index].directory, "log");
  FILE *log = fopen(path, "ae");
  int status = log ? 0 : error_set_errno(error, ERR_IO, "cannot open %s", path);
  for (bool more = true; more && status == 0 && ssh->log_next[index] < LOG_MAX;) {
    json_t *answer = NULL;
    status = ask(cluster, index, "log", json_pack("{s:I}", "from", (json_int_t)ssh->log_next[index]), &answer,
                 error);
    const json_t *text = json_object_get(answer, "text");
    more = json_string_length(text) > 0;
    if (more && fwrite(json_string_value(text), 1, json_string_length(text), log) != json_string_length(text))
      status = error_set_errno(error, ERR_IO, "cannot write %s", path);
    if (status == 0)
      ssh->log_next[index] = json_integer_value(json_object_get(answer, "next"));
    json_decref(answer);
  }
  if (log && fclose(log) != 0 && status == 0)
    status = error_set_errno(error, ERR_IO, "cannot write %s", path);
  free(path);
  return status;
}

/* ---- Opening and closing ---- */

static void on_stay(uv_timer_t *timer) {
  const struct cluster *cluster = CONTAINER_OF(timer, struct ssh_stay, timer)->cluster;
  for (size_t i = 0; i < cluster->size; i++)
    remote_tell(remote_of(cluster, i), "stay", NULL);
}

static void stay_closed(uv_handle_t *handle) {
  free(CONTAINER_OF(handle, struct ssh_stay, timer));
}

static void begin_stay(struct cluster *cluster, struct ssh *ssh) {
  ssh->stay = xcalloc(1, sizeof *ssh->stay);
  ssh->stay->cluster = cluster;
  uv_timer_init(cluster->loop, &ssh->stay->timer);
  uv_unref((uv_handle_t *)&ssh->stay->timer);
  uv_timer_start(&ssh->stay->timer, on_stay, AGENT_STAY_EVERY_MS, AGENT_STAY_EVERY_MS);
}

static int connect_node(struct cluster_node *node, struct remote *remote, const struct cluster_hosts *hosts,
                        struct error *error) {
  struct ssh_host host;
  int status = ssh_host_find(hosts, node->name, &host, error);
  if (status != 0)
    return status;
  snprintf(node->host, sizeof node->host, "%s", host.address);
  node->peer_port = SSH_PEER_PORT;
  node->client_port = SSH_CLIENT_PORT;
  node->home = ssh_host_directory(hosts, node->cluster->cluster_id, node->name);
  char name[240], *log = path_join(node->directory, "ssh.log"), **argv = ssh_argv(hosts, &host, "");
  snprintf(name, sizeof name, "%s (%s)", node->name, host.login);
  status = remote_open(remote, name, argv, log, error);
  cluster_command_free(argv);
  free(log);
  return status;
}

/* What a host lacks, all lack. */
static void note_lacks(struct ssh *ssh, const struct remote *remote, const json_t *answer) {
  const json_t *lacks = json_object_get(answer, "lacks");
  for (int i = 0; i < CAPABILITIES; i++) {
    const json_t *why = json_object_get(lacks, capability_names[i]);
    if (json_is_null(why) || ssh->lacks[i][0] != '\0')
      continue;
    snprintf(ssh->lacks[i], sizeof ssh->lacks[i], "%s: %s", remote->name,
             why ? json_string_value(why) : "its agent cannot do that");
  }
}

/* {"master.key": its text}; NULL when one cannot be read. */
static json_t *files_json(const struct cluster *cluster, struct error *error) {
  json_t *files = json_object();
  for (const struct cluster_file *file = cluster->files; file->flag; file++) {
    struct bytes content = {0};
    int status = file_read(file->path, &content, error);
    json_t *text = json_stringn((const char *)content.data, content.size);
    bytes_free(&content);
    if (status == 0 && !text)
      status = error_set(error, ERR_BAD_INPUT, "%s is no text: it cannot be sent to the hosts", file->path);
    if (status != 0) {
      json_decref(text);
      json_decref(files);
      return NULL;
    }
    json_object_set_new(files, cluster_file_name(file), text);
  }
  return files;
}

static int greet(struct cluster *cluster, const struct cluster_options *options, struct error *error) {
  struct ssh *ssh = cluster->provider;
  json_t *arguments[CLUSTER_NODES_MAX], *answers[CLUSTER_NODES_MAX] = {NULL};
  json_t *files = files_json(cluster, error);
  if (!files)
    return ERR_IO;
  for (size_t i = 0; i < cluster->size; i++)
    arguments[i] = json_pack("{s:i, s:s, s:s, s:s, s:b, s:b, s:s?, s:O}", "protocol", AGENT_PROTOCOL, "node",
                             cluster->nodes[i].name, "address", cluster->nodes[i].host, "directory",
                             cluster->nodes[i].home, "own_clock", (int)options->hosts.own_clocks, "keep",
                             (int)options->keep, "master", options->master, "files", files);
  json_decref(files);
  const int status = ask_all(cluster, "hello", arguments, answers, HELLO_PATIENCE_MS, error);
  for (size_t i = 0; i < cluster->size && status == 0; i++)
    note_lacks(ssh, &ssh->remotes[i], answers[i]);
  forget_answers(answers, cluster->size);
  return status;
}

static void hang_up(struct cluster *cluster) {
  struct ssh *ssh = cluster->provider;
  for (size_t i = 0; i < cluster->size; i++)
    remote_hang_up(&ssh->remotes[i]);
  for (size_t i = 0; i < cluster->size; i++)
    remote_close(&ssh->remotes[i], CLOSE_PATIENCE_MS);
  free(ssh);
  cluster->provider = NULL;
}

static int ssh_open(struct cluster *cluster, const struct cluster_options *options, struct error *error) {
  struct ssh *ssh = xcalloc(1, sizeof *ssh);
  int status = 0;
  cluster->provider = ssh;
  for (size_t i = 0; i < cluster->size; i++)
    ssh->remotes[i].pid = -1;
  for (size_t i = 0; i < cluster->size && status == 0; i++)
    status = connect_node(&cluster->nodes[i], &ssh->remotes[i], &options->hosts, error);
  if (status == 0)
    status = greet(cluster, options, error);
  if (status == 0)
    begin_stay(cluster, ssh);
  else
    hang_up(cluster);
  return status;
}

static void ssh_close(struct cluster *cluster) {
  struct ssh *ssh = cluster->provider;
  uv_close((uv_handle_t *)&ssh->stay->timer, stay_closed);
  for (size_t i = 0; i < cluster->size; i++) {
    struct error error = {0};
    if (!ssh->remotes[i].failed && fetch_log(cluster, i, &error) != 0)
      log_warn("the log of %s could not be fetched whole: %s", cluster->nodes[i].name, error.message);
  }
  hang_up(cluster);
}

static const char *ssh_lacks(const struct cluster *cluster, enum capability capability) {
  const struct ssh *ssh = cluster->provider;
  return ssh->lacks[capability][0] == '\0' ? NULL : ssh->lacks[capability];
}

static const char *ssh_lost(const struct cluster *cluster, size_t node) {
  const struct remote *remote = remote_of(cluster, node);
  return remote->failed ? remote->why.message : NULL;
}

/* ---- Processes ---- */

static int ssh_start(struct cluster *cluster, size_t node, char *const *argv, struct error *error) {
  json_t *arguments = json_array(), *answer = NULL;
  for (size_t i = 1; argv[i]; i++)
    json_array_append_new(arguments, json_string(argv[i]));
  /* Another master than the agent's own was named by where it is there. */
  json_t *request =
      json_pack("{s:s?, s:o}", "program", argv[0][0] == '/' ? argv[0] : NULL, "arguments", arguments);
  const int status = ask(cluster, node, "start", request, &answer, error);
  cluster->nodes[node].pid = status == 0 ? (pid_t)json_integer_value(json_object_get(answer, "pid")) : -1;
  json_decref(answer);
  return status;
}

/* Of those whose effect is awaited afterwards no answer is: so all nodes that are to be hit are, and only
 * then is the first waited for. */
static int ssh_signal(struct cluster *cluster, size_t node, int number, struct error *error) {
  json_t *arguments = json_pack("{s:i}", "number", number);
  if (number != SIGKILL && number != SIGSTOP && number != SIGTERM)
    return ask(cluster, node, "signal", arguments, NULL, error);
  remote_tell(remote_of(cluster, node), "signal", arguments);
  return 0;
}

static int ssh_await_stopped(struct cluster *cluster, size_t node, int timeout_ms, struct error *error) {
  return ask(cluster, node, "await-stopped", json_pack("{s:i}", "timeout_ms", timeout_ms), NULL, error);
}

static int ssh_await_end(struct cluster *cluster, size_t node, int timeout_ms, struct error *error) {
  return remote_await_end(remote_of(cluster, node), timeout_ms, error);
}

/* The log of a node that has not ended as it should will be wanted at once. */
static int ssh_reap(struct cluster *cluster, size_t node) {
  struct remote *remote = remote_of(cluster, node);
  const int status = remote_take_end(remote, END_PATIENCE_MS);
  if (status != 0 && status != SIGKILL && !remote->failed)
    fetch_log(cluster, node, NULL);
  return status;
}

static int ssh_wipe(struct cluster *cluster, size_t node, struct error *error) {
  return ask(cluster, node, "wipe", NULL, NULL, error);
}

static int ssh_end_fd(const struct cluster *cluster, size_t node) {
  return remote_end_fd(remote_of(cluster, node));
}

/* ---- Links ---- */

static int ssh_set_links(struct cluster *cluster, const bool *hears, struct error *error) {
  json_t *arguments[CLUSTER_NODES_MAX];
  for (size_t i = 0; i < cluster->size; i++) {
    json_t *hosts = json_array();
    for (size_t other = 0; other < cluster->size; other++)
      if (other != i && !hears[i * cluster->size + other])
        json_array_append_new(hosts, json_string(cluster->nodes[other].host));
    arguments[i] = json_pack("{s:o}", "hosts", hosts);
  }
  return ask_all(cluster, "filter", arguments, NULL, ANSWER_PATIENCE_MS, error);
}

static int ssh_count_rules(struct cluster *cluster, size_t *rules, uint64_t *dropped, struct error *error) {
  json_t *answers[CLUSTER_NODES_MAX] = {NULL};
  const int status = ask_all(cluster, "count", NULL, answers, ANSWER_PATIENCE_MS, error);
  for (size_t i = 0; i < cluster->size; i++) {
    *rules += (size_t)json_integer_value(json_object_get(answers[i], "rules"));
    *dropped += (uint64_t)json_integer_value(json_object_get(answers[i], "dropped"));
  }
  forget_answers(answers, cluster->size);
  return status;
}

static const char *ssh_link_kind(const struct cluster *cluster) {
  return ssh_lacks(cluster, CAN_SHAPE) ? "hosts" : "hosts with netem";
}

static json_t *shape_json(const struct link_shape *shape) {
  return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I}", "delay_ns", (json_int_t)shape->delay_ns,
                   "jitter_ns", (json_int_t)shape->jitter_ns, "loss", shape->loss, "duplicate",
                   shape->duplicate, "reorder", shape->reorder, "corrupt", shape->corrupt, "rate_bytes_per_s",
                   (json_int_t)shape->rate_bytes_per_s, "limit", (json_int_t)shape->limit);
}

/* Every host shapes what it sends. */
static int ssh_shape_links(struct cluster *cluster, const struct link_shape *shape, const bool *shaped,
                           struct error *error) {
  json_t *arguments[CLUSTER_NODES_MAX];
  const struct link_shape plain = link_shape_plain();
  for (size_t from = 0; from < cluster->size; from++) {
    json_t *hosts = json_array();
    for (size_t to = 0; shape && to < cluster->size; to++)
      if (to != from && shaped[to * cluster->size + from])
        json_array_append_new(hosts, json_string(cluster->nodes[to].host));
    arguments[from] = json_pack("{s:o, s:o}", "hosts", hosts, "shape", shape_json(shape ? shape : &plain));
  }
  return ask_all(cluster, "shape", arguments, NULL, ANSWER_PATIENCE_MS, error);
}

static int ssh_count_shapes(struct cluster *cluster, size_t *shaped, struct link_counters *counters,
                            struct error *error) {
  json_t *answers[CLUSTER_NODES_MAX] = {NULL};
  const int status = ask_all(cluster, "count-shapes", NULL, answers, ANSWER_PATIENCE_MS, error);
  *shaped = 0;
  *counters = (struct link_counters){0};
  for (size_t i = 0; i < cluster->size; i++) {
    *shaped += (size_t)json_integer_value(json_object_get(answers[i], "shaped"));
    counters->seen += (uint64_t)json_integer_value(json_object_get(answers[i], "seen"));
    counters->lost += (uint64_t)json_integer_value(json_object_get(answers[i], "lost"));
  }
  forget_answers(answers, cluster->size);
  return status;
}

/* ---- Clocks ---- */

/* The kernel's own rates reach 10 %: what is faster or slower becomes that, and the history's evidence says
 * so. */
static int ssh_set_clock(struct cluster *cluster, size_t node, const struct clock_setting *setting,
                         struct error *error) {
  const double rate = setting->rate > HOST_CLOCK_RATE_MAX   ? HOST_CLOCK_RATE_MAX
                      : setting->rate < HOST_CLOCK_RATE_MIN ? HOST_CLOCK_RATE_MIN
                                                            : setting->rate;
  json_t *request = json_pack("{s:I, s:f}", "offset_ns", (json_int_t)setting->offset_ns, "rate", rate);
  return ask(cluster, node, "set-clock", request, NULL, error);
}

static int ssh_get_clock(struct cluster *cluster, size_t node, struct clock_setting *setting,
                         struct error *error) {
  json_t *answer = NULL;
  const int status = ask(cluster, node, "read-clock", NULL, &answer, error);
  setting->offset_ns = json_integer_value(json_object_get(answer, "offset_ns"));
  setting->rate = json_number_value(json_object_get(answer, "rate"));
  json_decref(answer);
  return status;
}

const struct provider_functions provider_ssh = {.name = "ssh",
                                                .open = ssh_open,
                                                .close = ssh_close,
                                                .lacks = ssh_lacks,
                                                .lost = ssh_lost,
                                                .start = ssh_start,
                                                .signal = ssh_signal,
                                                .await_stopped = ssh_await_stopped,
                                                .await_end = ssh_await_end,
                                                .reap = ssh_reap,
                                                .end_fd = ssh_end_fd,
                                                .wipe = ssh_wipe,
                                                .set_links = ssh_set_links,
                                                .count_rules = ssh_count_rules,
                                                .link_kind = ssh_link_kind,
                                                .shape_links = ssh_shape_links,
                                                .count_shapes = ssh_count_shapes,
                                                .set_clock = ssh_set_clock,
                                                .get_clock = ssh_get_clock};
