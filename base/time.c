#include "base/time.h"

#include <time.h>

static int64_t read_clock(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t time_monotonic_ns(void) {
  return read_clock(CLOCK_MONOTONIC);
}

int64_t time_wall_ns(void) {
  return read_clock(CLOCK_REALTIME);
}
