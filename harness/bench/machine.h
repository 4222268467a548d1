/* bench_machine.h: how quiet the machine is: without it, no figure of a benchmark means anything. */
#ifndef ASSAY_HARNESS_BENCH_MACHINE_H
#define ASSAY_HARNESS_BENCH_MACHINE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/base.h"

struct machine_probe {
  double spin_us; /* of a fixed piece of arithmetic: grows when the processor is shared or slowed down */
  double sync_us; /* median of writing 4 KiB and fdatasync */
};

/* Takes about 40 ms. `directory` is where the fsyncs go. */
int machine_probe(const char *directory, struct machine_probe *probe, struct error *error);

/* Processor time, in seconds since boot or since the process began. */
struct machine_time {
  double all;  /* of all processors, idle or not */
  double busy; /* not idle, stolen time included */
  double ours; /* of this process and `pids` */
};

/* ERR_UNSUPPORTED without /proc. */
int machine_time(const pid_t *pids, size_t pid_count, struct machine_time *time, struct error *error);

/* Share of the machine, 0 to 1, that others used (or the hypervisor took) between two readings. */
double machine_foreign_share(const struct machine_time *from, const struct machine_time *to);

#endif
