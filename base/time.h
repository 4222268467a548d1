/* time.h: the clocks. Code that must run in the simulator is handed the time instead and does not include
 * this. */
#ifndef ASSAY_TIME_H
#define ASSAY_TIME_H

#include <stdint.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* CLOCK_MONOTONIC: the same for all processes of one machine, never goes back. */
int64_t time_monotonic_ns(void);

/* CLOCK_REALTIME: nanoseconds since the epoch; may jump. */
int64_t time_wall_ns(void);

#endif
