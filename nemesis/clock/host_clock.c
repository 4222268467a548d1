/* host_clock.c: see host_clock.h. */
#include "nemesis/clock/host_clock.h"

#include <errno.h>
#include <math.h>

/* adjtimex counts a rate twice: microseconds of a tick, of which there are 100 in a second, and for the rest
 * parts of a million, shifted by 16 bits. */
#define TICK_US 10000L
#define FREQUENCY_UNIT (65536.0 * 1e6)

const struct host_clock_calls host_clock_kernel = {
    .gettime = clock_gettime, .settime = clock_settime, .adjtime = adjtimex};

static int64_t read_ns(const struct host_clock *clock, clockid_t id) {
  struct timespec now = {0};
  clock->calls->gettime(id, &now);
  return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* What the machine counted in a second of its oscillator before anybody touched it. */
static double own_rate(const struct host_clock *clock) {
  return (double)clock->tick / TICK_US + (double)clock->frequency / FREQUENCY_UNIT;
}

static int64_t right_ns(const struct host_clock *clock) {
  const int64_t passed_ns = read_ns(clock, CLOCK_MONOTONIC_RAW) - clock->raw_ns;
  return clock->wall_ns + passed_ns + (int64_t)((own_rate(clock) - 1) * (double)passed_ns);
}

int host_clock_open(struct host_clock *clock, const struct host_clock_calls *calls, struct error *error) {
  struct timex state = {.modes = 0};
  *clock = (struct host_clock){.calls = calls, .rate = 1};
  if (calls->adjtime(&state) < 0)
    return error_set_errno(error, ERR_UNSUPPORTED, "the kernel does not tell how its clock runs");
  clock->tick = state.tick;
  clock->frequency = state.freq;
  /* Changes nothing, and needs the right to. */
  if (calls->adjtime(&(struct timex){.modes = ADJ_TICK, .tick = state.tick}) < 0)
    return error_set_errno(error, ERR_UNSUPPORTED,
                           "this machine's clock cannot be set; be root outside of containers");
  clock->raw_ns = read_ns(clock, CLOCK_MONOTONIC_RAW);
  clock->wall_ns = read_ns(clock, CLOCK_REALTIME);
  return 0;
}

static int set_rate(struct host_clock *clock, double rate, struct error *error) {
  struct timex change = {.modes = ADJ_TICK | ADJ_FREQUENCY, .tick = clock->tick, .freq = clock->frequency};
  if (rate != 1) {
    const double wanted = rate * own_rate(clock);
    change.tick = lround(fmin(fmax(wanted, HOST_CLOCK_RATE_MIN), HOST_CLOCK_RATE_MAX) * TICK_US);
    change.freq = lround((wanted - (double)change.tick / TICK_US) * FREQUENCY_UNIT);
  }
  if (clock->calls->adjtime(&change) < 0)
    return error_set_errno(error, ERR_IO, "cannot let this machine's clock run %g times as fast", rate);
  clock->rate = rate;
  return 0;
}

int host_clock_set(struct host_clock *clock, const struct clock_setting *setting, struct error *error) {
  int status = clock_setting_check(setting, error);
  if (status == 0 && !(setting->rate >= HOST_CLOCK_RATE_MIN && setting->rate <= HOST_CLOCK_RATE_MAX))
    status = error_set(error, ERR_BAD_INPUT,
                       "the kernel lets a machine's clock run between %g and %g times as fast, not %g",
                       HOST_CLOCK_RATE_MIN, HOST_CLOCK_RATE_MAX, setting->rate);
  if (status == 0)
    status = set_rate(clock, setting->rate, error);
  if (status != 0)
    return status;
  const int64_t wanted_ns = right_ns(clock) + setting->offset_ns;
  const struct timespec wanted = {.tv_sec = wanted_ns / NS_PER_S, .tv_nsec = wanted_ns % NS_PER_S};
  if (clock->calls->settime(CLOCK_REALTIME, &wanted) != 0)
    return error_set_errno(error, ERR_IO, "cannot set this machine's clock");
  return 0;
}

struct clock_setting host_clock_get(const struct host_clock *clock) {
  return (struct clock_setting){.offset_ns = read_ns(clock, CLOCK_REALTIME) - right_ns(clock),
                                .rate = clock->rate};
}
