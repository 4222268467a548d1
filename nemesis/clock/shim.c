/* shim.c: libassay-clock.so, loaded before a node's own libraries (LD_PRELOAD): what the node reads of its
 * clocks goes by the page that the nemesis writes (page.h).
 *
 * Bent: CLOCK_REALTIME (offset and rate); CLOCK_MONOTONIC and CLOCK_BOOTTIME (rate); the coarse ones alike.
 * Left alone: CLOCK_MONOTONIC_RAW, CPU time, time stamps of files, timerfd and POSIX timers, and whoever asks
 * the kernel without the C library (programs in Go).
 *
 * Waits last as long as the node's own clock says. Where a node names a moment until which it waits, the time
 * left is counted by the bent clock and waited for by the true one: without that, a thread that waits "until
 * now + 1 s" on a clock an hour ahead would wait for an hour. A wait keeps the length that it had when it
 * began.
 *
 * A node that cannot map its page does not start: a fault that seems to be there and is not would make a
 * verdict worthless. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "nemesis/clock/page.h"

#define EXPORT __attribute__((visibility("default")))
#define SECOND_NS INT64_C(1000000000)
#define MILLISECOND_NS INT64_C(1000000)

static struct clock_page *page; /* NULL before the constructor ran */

/* Declares real_NAME(), the function that this library stands before. Found at the first call, which may come
 * from another library's constructor, before ours. Two threads that look at once find the same. */
#define REAL(type, name, parameters, arguments)                                                              \
  static type real_##name parameters {                                                                       \
    static __typeof__(&(name)) function;                                                                     \
    if (!__atomic_load_n(&function, __ATOMIC_ACQUIRE)) {                                                     \
      __typeof__(&(name)) found;                                                                             \
      *(void **)&found = dlsym(RTLD_NEXT, #name);                                                            \
      __atomic_store_n(&function, found, __ATOMIC_RELEASE);                                                  \
    }                                                                                                        \
    return function arguments;                                                                               \
  }

REAL(int, clock_gettime, (clockid_t clock, struct timespec *now), (clock, now))
REAL(int, clock_nanosleep, (clockid_t clock, int flags, const struct timespec *time, struct timespec *left),
     (clock, flags, time, left))
REAL(int, pthread_cond_clockwait,
     (pthread_cond_t * condition, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until),
     (condition, mutex, clock, until))
REAL(int, sem_clockwait, (sem_t * semaphore, clockid_t clock, const struct timespec *until),
     (semaphore, clock, until))
REAL(int, ppoll, (struct pollfd * fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask),
     (fds, count, timeout, mask))
REAL(int, epoll_pwait, (int epoll, struct epoll_event *events, int max, int timeout_ms, const sigset_t *mask),
     (epoll, events, max, timeout_ms, mask))

static int64_t nanoseconds(const struct timespec *time) {
  return (int64_t)time->tv_sec * SECOND_NS + time->tv_nsec;
}

static struct timespec timespec_of(int64_t time_ns) {
  const int64_t rest_ns = time_ns % SECOND_NS;
  const int64_t fraction_ns = rest_ns < 0 ? rest_ns + SECOND_NS : rest_ns;
  return (struct timespec){.tv_sec = (time_ns - fraction_ns) / SECOND_NS, .tv_nsec = fraction_ns};
}

static int64_t true_ns(clockid_t clock) {
  struct timespec now;
  real_clock_gettime(clock, &now);
  return nanoseconds(&now);
}

/* ---- Reading ---- */

static bool is_set(void) {
  return page && atomic_load_explicit(&page->sequence, memory_order_acquire) != 0;
}

/* How far ahead of the right time a clock is at a moment of the true monotonic clock. False when the page has
 * forgotten the line of that moment. */
static bool shift(bool wall, int64_t monotonic_ns, int64_t *shift_ns) {
  const struct clock_lines lines = clock_page_read(page);
  const struct clock_line *line = clock_line_at(&lines, monotonic_ns);
  *shift_ns = (wall ? line->wall_ns : line->monotonic_ns) + clock_line_drift(line, monotonic_ns);
  return monotonic_ns >= lines.before.from_ns;
}

/* A thread that slept between reading the clock and reading the page asks again. A coarse clock need not: it
 * is late by less than any two settings are apart, or differs by less than it may anyway. */
static struct timespec bend(clockid_t clock, bool wall, clockid_t monotonic) {
  int64_t now_ns, monotonic_ns, shift_ns;
  bool known;
  do {
    now_ns = true_ns(clock);
    monotonic_ns = clock == monotonic ? now_ns : true_ns(monotonic);
    known = shift(wall, monotonic_ns, &shift_ns);
  } while (!known && monotonic == CLOCK_MONOTONIC);
  return timespec_of(now_ns + shift_ns);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *now) {
  if (!is_set())
    return real_clock_gettime(clock, now);
  switch (clock) {
  case CLOCK_MONOTONIC:
  case CLOCK_MONOTONIC_COARSE:
    *now = bend(clock, false, clock);
    return 0;
  case CLOCK_BOOTTIME:
    *now = bend(clock, false, CLOCK_MONOTONIC);
    return 0;
  case CLOCK_REALTIME:
  case CLOCK_REALTIME_COARSE:
    *now = bend(clock, true, CLOCK_MONOTONIC);
    return 0;
  default:
    return real_clock_gettime(clock, now);
  }
}

EXPORT int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  if (zone)
    memset(zone, 0, sizeof(struct timezone));
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  *now = (struct timeval){.tv_sec = time.tv_sec, .tv_usec = time.tv_nsec / 1000};
  return 0;
}

EXPORT time_t time(time_t *now) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME_COARSE, &time);
  if (now)
    *now = time.tv_sec;
  return time.tv_sec;
}

EXPORT int timespec_get(struct timespec *now, int base) {
  return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

/* ---- Waiting ---- */

/* True time that passes while the node's clocks count `own_ns`. */
static int64_t true_duration_ns(int64_t own_ns) {
  if (!is_set())
    return own_ns;
  const int64_t now_ns = true_ns(CLOCK_MONOTONIC);
  const struct clock_lines lines = clock_page_read(page);
  return (int64_t)((double)own_ns / clock_line_at(&lines, now_ns)->rate);
}

static int64_t own_duration_ns(int64_t passed_ns) {
  const int64_t now_ns = true_ns(CLOCK_MONOTONIC);
  const struct clock_lines lines = clock_page_read(page);
  return (int64_t)((double)passed_ns * clock_line_at(&lines, now_ns)->rate);
}

/* The moment of true CLOCK_MONOTONIC at which the node's `clock` will show `until`. */
static struct timespec true_deadline(clockid_t clock, const struct timespec *until) {
  struct timespec now;
  clock_gettime(clock, &now);
  const int64_t left_ns = nanoseconds(until) - nanoseconds(&now);
  return timespec_of(true_ns(CLOCK_MONOTONIC) + (left_ns > 0 ? true_duration_ns(left_ns) : 0));
}

/* A time-out in milliseconds, rounded up so that no wait is too short; -1: for ever. */
static int true_timeout_ms(int own_ms) {
  if (own_ms <= 0 || !is_set())
    return own_ms;
  const int64_t needed_ns = true_duration_ns(own_ms * MILLISECOND_NS);
  const int64_t needed_ms = (needed_ns + MILLISECOND_NS - 1) / MILLISECOND_NS;
  return needed_ms > INT32_MAX ? INT32_MAX : (int)needed_ms;
}

EXPORT int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left) {
  if (!is_set())
    return real_clock_nanosleep(clock, flags, time, left);
  if (flags & TIMER_ABSTIME) {
    const struct timespec until = true_deadline(clock, time);
    return real_clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
  }
  const struct timespec duration = timespec_of(true_duration_ns(nanoseconds(time)));
  const int status = real_clock_nanosleep(clock, flags, &duration, left);
  if (status == EINTR && left)
    *left = timespec_of(own_duration_ns(nanoseconds(left)));
  return status;
}

EXPORT int nanosleep(const struct timespec *duration, struct timespec *left) {
  const int status = clock_nanosleep(CLOCK_REALTIME, 0, duration, left);
  if (status != 0)
    errno = status;
  return status == 0 ? 0 : -1;
}

EXPORT int usleep(useconds_t duration_us) {
  const struct timespec duration = timespec_of((int64_t)duration_us * 1000);
  return nanosleep(&duration, NULL);
}

EXPORT int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
                                  const struct timespec *until) {
  if (!is_set())
    return real_pthread_cond_clockwait(condition, mutex, clock, until);
  const struct timespec deadline = true_deadline(clock, until);
  return real_pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &deadline);
}

/* Which clock a condition variable waits by is told to nobody; glibc keeps it in this bit. */
static clockid_t clock_of(const pthread_cond_t *condition) {
  return condition->__data.__wrefs & 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

EXPORT int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                                  const struct timespec *restrict until) {
  return pthread_cond_clockwait(condition, mutex, clock_of(condition), until);
}

EXPORT int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict until) {
  if (!is_set())
    return real_sem_clockwait(semaphore, clock, until);
  const struct timespec deadline = true_deadline(clock, until);
  return real_sem_clockwait(semaphore, CLOCK_MONOTONIC, &deadline);
}

EXPORT int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
  return sem_clockwait(semaphore, CLOCK_REALTIME, until);
}

EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
  if (!timeout || !is_set())
    return real_ppoll(fds, count, timeout, mask);
  const struct timespec needed = timespec_of(true_duration_ns(nanoseconds(timeout)));
  return real_ppoll(fds, count, &needed, mask);
}

EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
  const struct timespec timeout = timespec_of(timeout_ms * MILLISECOND_NS);
  return ppoll(fds, count, timeout_ms < 0 ? NULL : &timeout, NULL);
}

EXPORT int epoll_pwait(int epoll, struct epoll_event *events, int max, int timeout_ms, const sigset_t *mask) {
  return real_epoll_pwait(epoll, events, max, true_timeout_ms(timeout_ms), mask);
}

EXPORT int epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms) {
  return epoll_pwait(epoll, events, max, timeout_ms, NULL);
}

/* ---- Beginning ---- */

__attribute__((noreturn)) static void refuse(const char *path, const char *why) {
  fprintf(stderr, "libassay-clock: the clock page %s cannot be used: %s\n", path, why);
  _exit(3);
}

__attribute__((constructor)) static void map_page(void) {
  const char *path = getenv(CLOCK_PAGE_VARIABLE);
  if (!path)
    refuse("(none)", "the environment does not name it in " CLOCK_PAGE_VARIABLE);
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0)
    refuse(path, strerror(errno));
  void *mapped = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED)
    refuse(path, strerror(errno));
  close(fd);
  struct clock_page *found = mapped;
  if (found->magic != CLOCK_PAGE_MAGIC)
    refuse(path, "another build made it");
  atomic_store_explicit(&found->reader, getpid(), memory_order_release);
  page = found;
}
