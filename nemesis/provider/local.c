/* local.c: see local.h. */
#include "nemesis/provider/local.h"

int local_start(struct cluster *cluster, size_t index, char *const *argv, struct error *error) {
  struct cluster_node *node = &cluster->nodes[index];
  const struct process_options options = {
      .argv = argv, .directory = node->directory, .network = node->network};
  const int status = process_start(&node->process, &options, error);
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
