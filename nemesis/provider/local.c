/* local.c: see local.h. */
#include "nemesis/provider/local.h"

#include <stdlib.h>
#include <time.h>

/* A program that has just been started needs a moment until its loader has come to the shim. */
#define SHIM_TIMEOUT_NS (2 * NS_PER_S)

struct local {
  char *clock_shim; /* NULL: clocks cannot be bent, because … */
  struct error no_clock;
  struct clock_page *clocks[CLUSTER_NODES_MAX];
  struct local_disks *disks;
  struct limit_before limits[CLUSTER_NODES_MAX][LIMITS];
};

/* ---- Making and taking back ---- */

static char *clock_path(const struct cluster_node *node) {
  return path_join(node->directory, "clock");
}

static int open_clocks(struct cluster *cluster, struct local *local) {
  int status = 0;
  for (size_t i = 0; i < cluster->size && status == 0; i++) {
    char *path = clock_path(&cluster->nodes[i]);
    status = clock_page_open(path, &local->clocks[i], &local->no_clock);
    free(path);
  }
  return status;
}

void local_prepare(struct cluster *cluster, const struct cluster_options *options) {
  struct local *local = xcalloc(1, sizeof *local);
  cluster->local = local;
  local->disks = local_disks_new(cluster, options->needs);
  if (!(options->needs & CAPABILITY_BIT(CAN_CLOCK))) {
    error_set(&local->no_clock, ERR_UNSUPPORTED,
              "the nodes were started without what bends clocks: name a fault of clocks at the start");
    return;
  }
  char *shim = clock_shim_path(&local->no_clock);
  if (shim && open_clocks(cluster, local) == 0)
    local->clock_shim = shim;
  else
    free(shim);
}

void local_release(struct cluster *cluster) {
  struct local *local = cluster->local;
  for (size_t i = 0; i < cluster->size; i++)
    clock_page_close(local->clocks[i]);
  local_disks_free(local->disks);
  free(local->clock_shim);
  free(local);
  cluster->local = NULL;
}

struct local_disks *local_disks(const struct cluster *cluster) {
  return cluster->local->disks;
}

const char *local_lacks_clock(const struct cluster *cluster) {
  return cluster->local->clock_shim ? NULL : cluster->local->no_clock.message;
}

/* ---- Processes ---- */

int local_start(struct cluster *cluster, size_t index, char *const *argv, struct error *error) {
  struct cluster_node *node = &cluster->nodes[index];
  char *path = clock_path(node);
  char **environment =
      cluster->local->clock_shim ? clock_environment(cluster->local->clock_shim, path) : NULL;
  const struct process_options options = {
      .argv = argv, .directory = node->directory, .network = node->network, .environment = environment};
  const int status = process_start(&node->process, &options, error);
  clock_environment_free(environment);
  free(path);
  node->pid = node->process.pid;
  return status;
}

int local_signal(struct cluster *cluster, size_t node, int number, struct error *error) {
  return process_signal(&cluster->nodes[node].process, number, error);
}

int local_await_stopped(struct cluster *cluster, size_t node, int timeout_ms, struct error *error) {
  return process_await_stopped(&cluster->nodes[node].process, timeout_ms, error);
}

int local_await_end(struct cluster *cluster, size_t node, int timeout_ms, struct error *error) {
  return process_await_end(&cluster->nodes[node].process, timeout_ms, error);
}

int local_reap(struct cluster *cluster, size_t node) {
  return process_reap(&cluster->nodes[node].process);
}

int local_end_fd(const struct cluster *cluster, size_t node) {
  return cluster->nodes[node].process.pidfd;
}

int local_wipe(struct cluster *cluster, size_t node, struct error *error) {
  char *data = path_join(cluster->nodes[node].directory, "data");
  const int status = directory_clear(data, error);
  free(data);
  return status;
}

/* ---- Clocks ---- */

/* A node whose program reads no page would be believed to be off and be right. */
static int await_reader(const struct cluster_node *node, const struct clock_page *page, struct error *error) {
  const int64_t deadline_ns = time_monotonic_ns() + SHIM_TIMEOUT_NS;
  while (node->state == NODE_RUNNING && clock_page_reader(page) != node->pid) {
    if (time_monotonic_ns() >= deadline_ns)
      return error_set(
          error, ERR_UNSUPPORTED,
          "node %s does not look at the clock it was given: its program must be linked dynamically "
          "and have no privileges of its own",
          node->name);
    nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
  }
  return 0;
}

int local_set_clock(struct cluster *cluster, size_t node, const struct clock_setting *setting,
                    struct error *error) {
  struct clock_page *page = cluster->local->clocks[node];
  const int status = clock_page_set(page, setting, error);
  return status != 0 ? status : await_reader(&cluster->nodes[node], page, error);
}

int local_get_clock(struct cluster *cluster, size_t node, struct clock_setting *setting,
                    struct error *error) {
  (void)error;
  *setting = clock_page_get(cluster->local->clocks[node]);
  return 0;
}

/* ---- Limits ---- */

int local_set_limit(struct cluster *cluster, size_t node, enum limit limit, double more,
                    struct error *error) {
  struct limit_before *before = &cluster->local->limits[node][limit];
  if (more < 0)
    return limit_lift(limit, before, error);
  if (cluster->nodes[node].pid < 0)
    return error_set(error, ERR_NOT_FOUND, "node %s does not run", cluster->nodes[node].name);
  return limit_lower(cluster->nodes[node].pid, limit, (uint64_t)more, before, error);
}
