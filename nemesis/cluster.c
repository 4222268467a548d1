/* cluster.c: the nodes of a cluster, whatever houses them.
 *
 * A node's process is watched by a descriptor on the loop. An end that the loop sees was asked for by nobody:
 * the functions that end a node on purpose wait for it themselves and take the watch away first. */
#include "nemesis/cluster.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "nemesis/membership.h"

/* Long enough for a kernel under load, short enough to be noticed as a failure of the harness. */
#define STOP_TIMEOUT_MS 2000
#define KILL_TIMEOUT_MS 10000
#define TERM_TIMEOUT_MS 5000

struct node_watch {
  uv_poll_t poll;
  struct cluster_node *node; /* NULL once the watch is being taken away */
};

static int send_signal(struct cluster_node *node, int number, struct error *error) {
  return node->cluster->functions->signal(node->cluster, node->index, number, error);
}

static void watch_closed(uv_handle_t *handle) {
  free(CONTAINER_OF(handle, struct node_watch, poll));
}

static void watch_end(struct cluster_node *node) {
  if (!node->watch)
    return;
  node->watch->node = NULL;
  uv_poll_stop(&node->watch->poll);
  uv_close((uv_handle_t *)&node->watch->poll, watch_closed);
  node->watch = NULL;
}

/* Reaps an ended node. Whatever end is not the one `wanted` is told to the watcher. */
static void node_ended(struct cluster_node *node, enum node_state wanted, bool (*expected)(int wait_status)) {
  watch_end(node);
  const int wait_status = node->cluster->functions->reap(node->cluster, node->index);
  node->state = wanted;
  node->pid = -1;
  if (expected && expected(wait_status))
    return;
  node->exit_status = wait_status;
  struct cluster *cluster = node->cluster;
  if (cluster->died)
    cluster->died(cluster->died_context, node->index);
}

static void on_end(uv_poll_t *poll, int status, int events) {
  (void)status;
  (void)events;
  struct cluster_node *node = CONTAINER_OF(poll, struct node_watch, poll)->node;
  if (node)
    node_ended(node, NODE_DIED, NULL);
}

static int watch_begin(struct cluster_node *node, struct error *error) {
  struct node_watch *watch = xcalloc(1, sizeof *watch);
  const int status = uv_poll_init(node->cluster->loop, &watch->poll,
                                  node->cluster->functions->end_fd(node->cluster, node->index));
  if (status != 0) {
    free(watch);
    return error_set(error, ERR_IO, "cannot watch node %s: %s", node->name, uv_strerror(status));
  }
  watch->node = node;
  node->watch = watch;
  uv_poll_start(&watch->poll, UV_READABLE, on_end);
  return 0;
}

/* ---- Making and taking back ---- */

static char **copy_list(const char *const *list) {
  size_t count = 0;
  while (list && list[count])
    count++;
  char **copy = xcalloc(count + 1, sizeof *copy);
  for (size_t i = 0; i < count; i++)
    copy[i] = xstrdup(list[i]);
  return copy;
}

static void copy_files(struct cluster *cluster, const struct cluster_file *files) {
  for (size_t i = 0; files && files[i].flag; i++) {
    assert(i < CLUSTER_FILES_MAX);
    cluster->files[i] = (struct cluster_file){xstrdup(files[i].flag), path_absolute(files[i].path)};
  }
}

static void forget(struct cluster *cluster) {
  for (size_t i = 0; i < cluster->size; i++) {
    free(cluster->nodes[i].directory);
    free(cluster->nodes[i].home);
    free(cluster->nodes[i].client_address);
  }
  for (char **item = cluster->extra; *item; item++)
    free(*item);
  free((void *)cluster->extra);
  for (const struct cluster_file *file = cluster->files; file->flag; file++) {
    free((void *)(uintptr_t)file->flag);
    free((void *)(uintptr_t)file->path);
  }
  free(cluster->master);
  free(cluster->old_master);
  free(cluster);
}

/* Names the node and makes its directories. A node works in its own, so their names must be absolute. */
static int node_prepare(struct cluster_node *node, const char *directory, struct error *error) {
  struct bytes path = {0};
  snprintf(node->name, sizeof node->name, "n%zu", node->index + 1);
  bytes_append_format(&path, "%s/nodes/%s", directory, node->name);
  node->directory = path_absolute((const char *)path.data);
  bytes_append_format(&path, "/data");
  const int status = directory_make((const char *)path.data, error);
  bytes_free(&path);
  return status;
}

static const struct provider_functions *const providers[] = {
    [PROVIDER_NETNS] = &provider_netns, [PROVIDER_HOST] = &provider_host, [PROVIDER_SSH] = &provider_ssh};

int cluster_new(uv_loop_t *loop, const struct cluster_options *options, struct cluster **cluster,
                struct error *error) {
  if (options->nodes < 1 || options->nodes > CLUSTER_NODES_MAX)
    return error_set(error, ERR_BAD_INPUT, "a cluster has 1 to %d nodes, not %zu", CLUSTER_NODES_MAX,
                     options->nodes);
  struct cluster *made = xcalloc(1, sizeof *made);
  made->loop = loop;
  made->functions = providers[options->provider];
  made->founders = options->nodes;
  made->size = options->nodes + cluster_count_spares(options);
  made->needs = options->needs;
  made->master = options->master ? path_absolute(options->master) : xstrdup("assay-master");
  made->old_master = options->old_master ? path_absolute(options->old_master) : NULL;
  made->extra = copy_list(options->extra);
  copy_files(made, options->files);
  snprintf(made->cluster_id, sizeof made->cluster_id, "%" PRIu64,
           options->cluster_id ? options->cluster_id : 1);
  int status = 0;
  for (size_t i = 0; i < made->size && status == 0; i++) {
    made->nodes[i] = (struct cluster_node){.cluster = made,
                                           .index = i,
                                           .state = NODE_STOPPED,
                                           .pid = -1,
                                           .network = -1,
                                           .off = i >= made->founders};
    status = node_prepare(&made->nodes[i], options->directory, error);
  }
  if (status == 0)
    status = made->functions->open(made, options, error);
  if (status != 0) {
    forget(made);
    return status;
  }
  for (size_t i = 0; i < made->size; i++) {
    struct cluster_node *node = &made->nodes[i];
    struct bytes address = {0};
    bytes_append_format(&address, "%s:%d", node->host, node->client_port);
    node->client_address = (char *)address.data;
  }
  if (made->needs & CAPABILITY_BIT(CAN_MEMBERS))
    made->membership = membership_new(made);
  *cluster = made;
  return 0;
}

static bool any_end(int wait_status) {
  (void)wait_status;
  return true;
}

void cluster_free(struct cluster *cluster) {
  if (!cluster)
    return;
  cluster->died = NULL;
  for (size_t i = 0; i < cluster->size; i++) {
    struct cluster_node *node = &cluster->nodes[i];
    if (node->pid >= 0)
      send_signal(node, SIGKILL, NULL);
  }
  for (size_t i = 0; i < cluster->size; i++)
    if (cluster->nodes[i].pid >= 0)
      node_ended(&cluster->nodes[i], NODE_STOPPED, any_end);
  cluster->functions->close(cluster);
  membership_free(cluster->membership);
  forget(cluster);
}

/* ---- Telling ---- */

static const struct cluster_node *node_of(const struct cluster *cluster, size_t node) {
  assert(node < cluster->size);
  return &cluster->nodes[node];
}

size_t cluster_size(const struct cluster *cluster) {
  return cluster->size;
}

const char *cluster_node_name(const struct cluster *cluster, size_t node) {
  return node_of(cluster, node)->name;
}

const char *cluster_client_address(const struct cluster *cluster, size_t node) {
  return node_of(cluster, node)->client_address;
}

enum node_state cluster_node_state(const struct cluster *cluster, size_t node) {
  return node_of(cluster, node)->state;
}

int cluster_node_exit_status(const struct cluster *cluster, size_t node) {
  return node_of(cluster, node)->exit_status;
}

const char *cluster_node_lost(const struct cluster *cluster, size_t node) {
  return cluster->functions->lost ? cluster->functions->lost(cluster, node_of(cluster, node)->index) : NULL;
}

pid_t cluster_node_pid(const struct cluster *cluster, size_t node) {
  return node_of(cluster, node)->pid;
}

void cluster_watch(struct cluster *cluster, void (*died)(void *context, size_t node), void *context) {
  cluster->died = died;
  cluster->died_context = context;
}

void cluster_watch_hung(struct cluster *cluster, void (*hung)(void *context, size_t node), void *context) {
  cluster->hung = hung;
  cluster->hung_context = context;
}

/* ---- Starting, ending, pausing ---- */

/* Snapshots every few hundred entries, so that there are some in a run of a minute. */
static size_t add_often(char **argv, size_t count) {
  static const char *const flags[] = {"--snapshot-threshold", "300", "--snapshot-trailing", "50"};
  for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
    argv[count++] = xstrdup(flags[i]);
  return count;
}

const char *cluster_file_name(const struct cluster_file *file) {
  return strrchr(file->path, '/') + 1;
}

/* The command line of a node: assay-master's flags. To be freed with argv_free. */
static char **node_argv(const struct cluster_node *node) {
  const struct cluster *cluster = node->cluster;
  size_t extra = 0, count = 0;
  while (cluster->extra[extra])
    extra++;
  char **argv = xcalloc(13 + 2 * cluster->size + 2 * CLUSTER_FILES_MAX + extra, sizeof *argv);
  char text[128];
  argv[count++] = xstrdup(node->old_build ? cluster->old_master : cluster->master);
  argv[count++] = xstrdup("--id");
  snprintf(text, sizeof text, "%zu", node->index + 1);
  argv[count++] = xstrdup(text);
  argv[count++] = xstrdup("--data");
  argv[count++] = path_join(node->home ? node->home : node->directory, "data");
  argv[count++] = xstrdup("--cluster-id");
  argv[count++] = xstrdup(cluster->cluster_id);
  if (node->joins)
    argv[count++] = xstrdup("--join");
  for (size_t i = 0; i < cluster->size; i++) {
    const struct cluster_node *member = &cluster->nodes[i];
    if (node->joins ? i != node->index : i >= cluster->founders)
      continue;
    snprintf(text, sizeof text, "%zu=%s:%d:%d", i + 1, member->host, member->peer_port, member->client_port);
    argv[count++] = xstrdup("--member");
    argv[count++] = xstrdup(text);
  }
  if (cluster->needs & CAPABILITY_BIT(CAN_SNAPSHOT))
    count = add_often(argv, count);
  for (const struct cluster_file *file = cluster->files; file->flag; file++) {
    argv[count++] = xstrdup(file->flag);
    argv[count++] = node->home ? path_join(node->home, cluster_file_name(file)) : xstrdup(file->path);
  }
  for (size_t i = 0; i < extra; i++)
    argv[count++] = xstrdup(cluster->extra[i]); /* the last of two equal flags counts */
  assert(argv[count] == NULL);
  return argv;
}

static void argv_free(char **argv) {
  for (char **item = argv; *item; item++)
    free(*item);
  free((void *)argv);
}

static int refuse(const struct cluster_node *node, const char *what, struct error *error) {
  static const char *const states[] = {"stopped", "running", "paused", "dead"};
  return error_set(error, ERR_NOT_FOUND, "cannot %s node %s: it is %s", what, node->name,
                   states[node->state]);
}

int cluster_start(struct cluster *cluster, size_t index, struct error *error) {
  struct cluster_node *node = &cluster->nodes[node_of(cluster, index)->index];
  if (node->off)
    return 0;
  if (node->state != NODE_STOPPED && node->state != NODE_DIED)
    return refuse(node, "start", error);
  char **argv = node_argv(node);
  int status = cluster->functions->start(cluster, index, argv, error);
  argv_free(argv);
  if (status != 0)
    return status;
  status = watch_begin(node, error);
  if (status != 0) {
    send_signal(node, SIGKILL, NULL);
    cluster->functions->reap(cluster, index);
    node->pid = -1;
    return status;
  }
  node->state = NODE_RUNNING;
  return 0;
}

void cluster_use_old_build(struct cluster *cluster, size_t index, bool old) {
  assert(!old || cluster->old_master);
  cluster->nodes[node_of(cluster, index)->index].old_build = old;
}

static bool ended_by_kill(int wait_status) {
  return WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL;
}

static bool ended_cleanly(int wait_status) {
  return (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) ||
         (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGTERM);
}

int cluster_kill_many(struct cluster *cluster, const bool *nodes, struct error *error) {
  int first = 0;
  for (size_t i = 0; i < cluster->size; i++) {
    struct cluster_node *node = &cluster->nodes[i];
    if (nodes[i] && node->state != NODE_RUNNING && node->state != NODE_PAUSED)
      return refuse(node, "kill", error);
  }
  for (size_t i = 0; i < cluster->size; i++)
    if (nodes[i]) /* one that has just ended by itself is seen below */
      send_signal(&cluster->nodes[i], SIGKILL, NULL);
  for (size_t i = 0; i < cluster->size; i++) {
    if (!nodes[i])
      continue;
    const int status = cluster->functions->await_end(cluster, i, KILL_TIMEOUT_MS, first == 0 ? error : NULL);
    first = first == 0 ? status : first;
    if (status == 0)
      node_ended(&cluster->nodes[i], NODE_STOPPED, ended_by_kill);
  }
  return first;
}

int cluster_kill(struct cluster *cluster, size_t index, struct error *error) {
  bool nodes[CLUSTER_NODES_MAX] = {false};
  nodes[node_of(cluster, index)->index] = true;
  return cluster_kill_many(cluster, nodes, error);
}

int cluster_stop(struct cluster *cluster, size_t index, struct error *error) {
  struct cluster_node *node = &cluster->nodes[node_of(cluster, index)->index];
  if (node->state != NODE_RUNNING && node->state != NODE_PAUSED)
    return refuse(node, "stop", error);
  send_signal(node, SIGTERM, NULL);
  send_signal(node, SIGCONT, NULL);
  if (cluster->functions->await_end(cluster, index, TERM_TIMEOUT_MS, NULL) == 0) {
    node_ended(node, NODE_STOPPED, ended_cleanly);
    return 0;
  }
  node->state = NODE_RUNNING;
  if (cluster->hung)
    cluster->hung(cluster->hung_context, index);
  const int status = cluster_kill(cluster, index, error);
  return status != 0
             ? status
             : error_set(error, ERR_TIMEOUT, "node %s did not end within %d ms of SIGTERM; it was killed",
                         node->name, TERM_TIMEOUT_MS);
}

int cluster_pause_many(struct cluster *cluster, const bool *nodes, struct error *error) {
  int first = 0;
  for (size_t i = 0; i < cluster->size; i++)
    if (nodes[i] && cluster->nodes[i].state != NODE_RUNNING)
      return refuse(&cluster->nodes[i], "pause", error);
  for (size_t i = 0; i < cluster->size; i++) {
    struct cluster_node *node = &cluster->nodes[i];
    const int status = nodes[i] ? send_signal(node, SIGSTOP, first == 0 ? error : NULL) : 0;
    first = first == 0 ? status : first;
    if (nodes[i] && status == 0)
      node->state = NODE_PAUSED; /* when it leaves the kernel at the latest: it must be resumed in any case */
  }
  for (size_t i = 0; i < cluster->size; i++) {
    if (!nodes[i] || cluster->nodes[i].state != NODE_PAUSED)
      continue;
    const int status =
        cluster->functions->await_stopped(cluster, i, STOP_TIMEOUT_MS, first == 0 ? error : NULL);
    first = first == 0 ? status : first;
  }
  return first;
}

int cluster_pause(struct cluster *cluster, size_t index, struct error *error) {
  bool nodes[CLUSTER_NODES_MAX] = {false};
  nodes[node_of(cluster, index)->index] = true;
  return cluster_pause_many(cluster, nodes, error);
}

int cluster_resume(struct cluster *cluster, size_t index, struct error *error) {
  struct cluster_node *node = &cluster->nodes[node_of(cluster, index)->index];
  if (node->state != NODE_PAUSED)
    return refuse(node, "resume", error);
  const int status = send_signal(node, SIGCONT, error);
  if (status == 0)
    node->state = NODE_RUNNING;
  return status;
}

/* ---- What else can be done to nodes ---- */

const char *cluster_lacks(const struct cluster *cluster, enum capability capability) {
  if (capability == CAN_MEMBERS || capability == CAN_SPARE)
    return cluster_lacks_members(cluster, capability);
  if (capability == CAN_OLD_BUILD)
    return cluster->old_master ? NULL : "no old build was named (--old-master)";
  if (capability == CAN_SNAPSHOT)
    return cluster->needs & CAPABILITY_BIT(CAN_SNAPSHOT)
               ? NULL
               : "the nodes were started to take snapshots seldom: name a fault of snapshots at the start";
  return cluster->functions->lacks(cluster, capability);
}

/* ---- Links ---- */

int cluster_set_links(struct cluster *cluster, const bool *hears, struct error *error) {
  if (!cluster->functions->set_links)
    return error_set(error, ERR_UNSUPPORTED, "provider %s cannot cut links", cluster->functions->name);
  return cluster->functions->set_links(cluster, hears, error);
}

int cluster_open_links(struct cluster *cluster, struct error *error) {
  bool all[CLUSTER_NODES_MAX * CLUSTER_NODES_MAX];
  memset(all, true, sizeof all);
  return cluster_set_links(cluster, all, error);
}

int cluster_count_rules(struct cluster *cluster, size_t *rules, uint64_t *dropped, struct error *error) {
  *rules = 0;
  *dropped = 0;
  if (!cluster->functions->count_rules)
    return 0;
  return cluster->functions->count_rules(cluster, rules, dropped, error);
}

int cluster_shape_links(struct cluster *cluster, const struct link_shape *shape, const bool *shaped,
                        struct error *error) {
  const char *lack = cluster_lacks(cluster, CAN_SHAPE);
  if (lack)
    return error_set(error, ERR_UNSUPPORTED, "%s", lack);
  return cluster->functions->shape_links(cluster, shape, shaped, error);
}

int cluster_count_shapes(struct cluster *cluster, size_t *shaped, struct link_counters *counters,
                         struct error *error) {
  *shaped = 0;
  *counters = (struct link_counters){0};
  if (!cluster->functions->count_shapes || cluster_lacks(cluster, CAN_SHAPE))
    return 0;
  return cluster->functions->count_shapes(cluster, shaped, counters, error);
}

const char *cluster_link_kind(const struct cluster *cluster) {
  return cluster->functions->link_kind ? cluster->functions->link_kind(cluster) : NULL;
}

bool cluster_links_clear(struct cluster *cluster, struct error *error) {
  size_t rules, shaped;
  uint64_t dropped;
  struct link_counters counters;
  if (cluster_count_rules(cluster, &rules, &dropped, error) != 0 ||
      cluster_count_shapes(cluster, &shaped, &counters, error) != 0)
    return false;
  if (rules > 0)
    error_set(error, ERR_IO, "%zu packet filter rules of ours are still there", rules);
  if (shaped > 0)
    error_set(error, ERR_IO, "%zu links are still shaped", shaped);
  return rules == 0 && shaped == 0;
}

/* ---- Clocks ---- */

static int refuse_lacking(const struct cluster *cluster, enum capability capability, struct error *error) {
  const char *lacks = cluster_lacks(cluster, capability);
  return lacks ? error_set(error, ERR_UNSUPPORTED, "%s", lacks) : 0;
}

int cluster_set_clock(struct cluster *cluster, size_t index, const struct clock_setting *setting,
                      struct error *error) {
  const int status = refuse_lacking(cluster, CAN_CLOCK, error);
  return status != 0 ? status
                     : cluster->functions->set_clock(cluster, node_of(cluster, index)->index, setting, error);
}

int cluster_get_clock(struct cluster *cluster, size_t index, struct clock_setting *setting,
                      struct error *error) {
  const int status = refuse_lacking(cluster, CAN_CLOCK, error);
  return status != 0 ? status
                     : cluster->functions->get_clock(cluster, node_of(cluster, index)->index, setting, error);
}

/* ---- Disks ---- */

int cluster_set_disk(struct cluster *cluster, size_t index, const struct disk_fault *fault,
                     struct error *error) {
  const int status = refuse_lacking(cluster, CAN_DISK, error);
  return status != 0 ? status
                     : cluster->functions->set_disk(cluster, node_of(cluster, index)->index, fault, error);
}

int cluster_lose_power(struct cluster *cluster, const bool *nodes, const struct disk_loss *loss,
                       struct error *error) {
  bool living[CLUSTER_NODES_MAX] = {false};
  int first = refuse_lacking(cluster, CAN_DISK, error);
  if (first != 0)
    return first;
  for (size_t i = 0; i < cluster->size; i++)
    living[i] = nodes[i] && cluster->nodes[i].pid >= 0;
  first = cluster_kill_many(cluster, living, error);
  for (size_t i = 0; i < cluster->size; i++) {
    if (!nodes[i] || cluster->nodes[i].pid >= 0)
      continue;
    const struct disk_loss own = {.keeps = loss->keeps, .draw = loss->draw + i};
    const int status = cluster->functions->lose_power(cluster, i, &own, first == 0 ? error : NULL);
    first = first == 0 ? status : first;
  }
  return first;
}

int cluster_rot_disk(struct cluster *cluster, size_t index, const struct disk_rot *rot, struct error *error) {
  const struct cluster_node *node = node_of(cluster, index);
  int status = refuse_lacking(cluster, CAN_DISK, error);
  if (status == 0 && !cluster->functions->can_rot(cluster, index, rot, error))
    status = ERR_UNAVAILABLE;
  if (status == 0 && node->pid >= 0)
    status = cluster_kill(cluster, index, error);
  return status != 0 ? status : cluster->functions->rot_disk(cluster, index, rot, error);
}

int cluster_restore_disk(struct cluster *cluster, size_t index, struct error *error) {
  const struct cluster_node *node = node_of(cluster, index);
  const int status = refuse_lacking(cluster, CAN_DISK, error);
  if (status != 0)
    return status;
  return node->pid >= 0 ? refuse(node, "restore the disk of", error)
                        : cluster->functions->restore_disk(cluster, index, error);
}

int cluster_count_disk(struct cluster *cluster, size_t index, struct disk_counters *counters,
                       struct error *error) {
  const int status = refuse_lacking(cluster, CAN_DISK, error);
  return status != 0
             ? status
             : cluster->functions->count_disk(cluster, node_of(cluster, index)->index, counters, error);
}

/* ---- Limits ---- */

int cluster_set_limit(struct cluster *cluster, size_t index, enum limit limit, double more,
                      struct error *error) {
  const int status = refuse_lacking(cluster, CAN_LIMIT, error);
  return status != 0
             ? status
             : cluster->functions->set_limit(cluster, node_of(cluster, index)->index, limit, more, error);
}
