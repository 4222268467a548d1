/* local.h: the processes of nodes that live on this machine, for the providers that house them here: members
 * of struct provider_functions, which tells what they do. */
#ifndef ASSAY_NEMESIS_PROVIDER_LOCAL_H
#define ASSAY_NEMESIS_PROVIDER_LOCAL_H

#include "nemesis/cluster.h"

int local_start(struct cluster *cluster, size_t node, char *const *argv, struct error *error);
int local_signal(struct cluster *cluster, size_t node, int number, struct error *error);
int local_await_stopped(struct cluster *cluster, size_t node, int timeout_ms, struct error *error);
int local_await_end(struct cluster *cluster, size_t node, int timeout_ms, struct error *error);
int local_reap(struct cluster *cluster, size_t node);
int local_end_fd(const struct cluster *cluster, size_t node);

#define LOCAL_PROCESSES                                                                                      \
  .start = local_start, .signal = local_signal, .await_stopped = local_await_stopped,                        \
  .await_end = local_await_end, .reap = local_reap, .end_fd = local_end_fd

#endif
