/* local.h: the processes, clocks and limits of nodes that live on this machine, for the providers that house
 * them here: members of struct provider_functions, which tells what they do. */
#ifndef ASSAY_NEMESIS_PROVIDER_LOCAL_H
#define ASSAY_NEMESIS_PROVIDER_LOCAL_H

#include "nemesis/cluster.h"
#include "nemesis/provider/local_disks.h"

/* To be called when the cluster's nodes have their directories: makes what `options->needs` says. What cannot
 * be made is lacking, with the reason, and no error. */
void local_prepare(struct cluster *cluster, const struct cluster_options *options);
void local_release(struct cluster *cluster);
struct local_disks *local_disks(const struct cluster *cluster);
/* NULL: clocks can be bent; else why not. */
const char *local_lacks_clock(const struct cluster *cluster);

int local_start(struct cluster *cluster, size_t node, char *const *argv, struct error *error);
int local_signal(struct cluster *cluster, size_t node, int number, struct error *error);
int local_await_stopped(struct cluster *cluster, size_t node, int timeout_ms, struct error *error);
int local_await_end(struct cluster *cluster, size_t node, int timeout_ms, struct error *error);
int local_reap(struct cluster *cluster, size_t node);
int local_end_fd(const struct cluster *cluster, size_t node);
int local_set_clock(struct cluster *cluster, size_t node, const struct clock_setting *setting,
                    struct error *error);
int local_get_clock(struct cluster *cluster, size_t node, struct clock_setting *setting, struct error *error);
int local_wipe(struct cluster *cluster, size_t node, struct error *error);
int local_set_limit(struct cluster *cluster, size_t node, enum limit limit, double more, struct error *error);

#define LOCAL_PROCESSES                                                                                      \
  .start = local_start, .signal = local_signal, .await_stopped = local_await_stopped,                        \
  .await_end = local_await_end, .reap = local_reap, .end_fd = local_end_fd, .set_clock = local_set_clock,    \
  .get_clock = local_get_clock, .wipe = local_wipe, .set_limit = local_set_limit

#endif
