/* schedule.h: when the requests of an open loop are due: N a second, evenly, whatever the answers do.
 *
 * The time of a request counts from when it was due, not from when it could be sent: a server that stalls for
 * a second is charged with every request of that second, not with the few that a waiting client had under way
 * ("coordinated omission"). Pure: it is handed the time. */
#ifndef ASSAY_HARNESS_BENCH_SCHEDULE_H
#define ASSAY_HARNESS_BENCH_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_MAX 10000000u

struct schedule {
  int64_t start_ns;
  uint64_t rate;  /* a second, 1 to RATE_MAX */
  uint64_t taken; /* requests */
};

/* When the next one is due. */
int64_t schedule_next_ns(const struct schedule *schedule);

/* Takes the next one if it is due; *due_ns gets since when. */
bool schedule_take(struct schedule *schedule, int64_t now_ns, int64_t *due_ns);

#endif
