/* host_clock.h: the clock of a whole machine that houses one node, set off and made to run fast or slow, and
 * put right again.
 *
 * The right time is counted by CLOCK_MONOTONIC_RAW from the moment of opening: it is the only clock that
 * neither a setting nor a rate reaches. The rate is the kernel's own (adjtimex) and reaches 10 % either way.
 * A daemon that keeps the clock right (chrony, systemd-timesyncd) must not run: it would heal the fault. */
#ifndef ASSAY_NEMESIS_HOST_CLOCK_H
#define ASSAY_NEMESIS_HOST_CLOCK_H

#include <sys/timex.h>
#include <time.h>

#include "nemesis/clock/clock.h"

#define HOST_CLOCK_RATE_MIN 0.9
#define HOST_CLOCK_RATE_MAX 1.1

/* The system calls, so that tests need not touch the machine's clock. */
struct host_clock_calls {
  int (*gettime)(clockid_t clock, struct timespec *now);
  int (*settime)(clockid_t clock, const struct timespec *now);
  int (*adjtime)(struct timex *change);
};
extern const struct host_clock_calls host_clock_kernel;

struct host_clock {
  const struct host_clock_calls *calls;
  int64_t wall_ns, raw_ns; /* at the same moment: that of opening */
  long tick, frequency;    /* adjtimex's, then */
  double rate;             /* asked for now, times the machine's own */
};

/* The clock is taken for right. ERR_UNSUPPORTED when this process may not set it (CAP_SYS_TIME). */
int host_clock_open(struct host_clock *clock, const struct host_clock_calls *calls, struct error *error);

/* Heals with CLOCK_RIGHT: the time, and the rate that the machine had. ERR_BAD_INPUT for other rates than the
 * kernel can. */
int host_clock_set(struct host_clock *clock, const struct clock_setting *setting, struct error *error);
struct clock_setting host_clock_get(const struct host_clock *clock);

#endif
