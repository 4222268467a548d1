#include "harness/bench/schedule.h"

#include "base/base.h"

int64_t schedule_next_ns(const struct schedule *schedule) {
  const uint64_t seconds = schedule->taken / schedule->rate, rest = schedule->taken % schedule->rate;
  return schedule->start_ns + (int64_t)seconds * NS_PER_S +
         (int64_t)(rest * (uint64_t)NS_PER_S / schedule->rate);
}

bool schedule_take(struct schedule *schedule, int64_t now_ns, int64_t *due_ns) {
  *due_ns = schedule_next_ns(schedule);
  if (*due_ns > now_ns)
    return false;
  schedule->taken++;
  return true;
}
