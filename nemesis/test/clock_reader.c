/* clock_reader.c: a program that knows nothing of shims: tells what its clocks show, and how long it waits.
 *
 *   read           one line: the clocks of `clocks[]`, in nanoseconds
 *   wait HOW MS    waits for so long by its own clocks, then tells how many true nanoseconds that took
 *   spin MS        reads the monotonic clock for so long, then tells how many times it went back
 *
 * True is CLOCK_MONOTONIC_RAW, which nothing bends. */
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)

static int64_t ns(struct timespec time) {
  return (int64_t)time.tv_sec * SECOND_NS + time.tv_nsec;
}

static int64_t now_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return ns(now);
}

static struct timespec after(clockid_t clock, int64_t duration_ns) {
  const int64_t then_ns = now_ns(clock) + duration_ns;
  return (struct timespec){.tv_sec = then_ns / SECOND_NS, .tv_nsec = then_ns % SECOND_NS};
}

static void read_clocks(void) {
  struct timeval day;
  struct timespec utc;
  gettimeofday(&day, NULL);
  timespec_get(&utc, TIME_UTC);
  printf("%lld %lld %lld %lld %lld %lld %lld %lld\n", (long long)now_ns(CLOCK_REALTIME),
         (long long)day.tv_sec * SECOND_NS + day.tv_usec * 1000, (long long)ns(utc),
         (long long)now_ns(CLOCK_REALTIME_COARSE), (long long)time(NULL) * SECOND_NS,
         (long long)now_ns(CLOCK_MONOTONIC), (long long)now_ns(CLOCK_BOOTTIME),
         (long long)now_ns(CLOCK_MONOTONIC_COARSE));
}

static void wait_on_condition(clockid_t clock, int64_t duration_ns, int named) {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, clock);
  pthread_cond_init(&condition, &attributes);
  const struct timespec until = after(clock, duration_ns);
  pthread_mutex_lock(&mutex);
  while ((named ? pthread_cond_clockwait(&condition, &mutex, clock, &until)
                : pthread_cond_timedwait(&condition, &mutex, &until)) == 0)
    ;
  pthread_mutex_unlock(&mutex);
  pthread_cond_destroy(&condition);
}

static void wait_on_semaphore(clockid_t clock, int64_t duration_ns) {
  sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  const struct timespec until = after(clock, duration_ns);
  if (clock == CLOCK_REALTIME)
    sem_timedwait(&semaphore, &until);
  else
    sem_clockwait(&semaphore, clock, &until);
}

static void wait_by(const char *how, int64_t duration_ns) {
  const struct timespec duration = {.tv_sec = duration_ns / SECOND_NS, .tv_nsec = duration_ns % SECOND_NS};
  const int duration_ms = (int)(duration_ns / 1000000);
  struct epoll_event event;
  if (strcmp(how, "condition-wall") == 0) {
    wait_on_condition(CLOCK_REALTIME, duration_ns, 0);
  } else if (strcmp(how, "condition-monotonic") == 0) {
    wait_on_condition(CLOCK_MONOTONIC, duration_ns, 0);
  } else if (strcmp(how, "clockwait-wall") == 0) {
    wait_on_condition(CLOCK_REALTIME, duration_ns, 1);
  } else if (strcmp(how, "clockwait-monotonic") == 0) {
    wait_on_condition(CLOCK_MONOTONIC, duration_ns, 1);
  } else if (strcmp(how, "semaphore-wall") == 0) {
    wait_on_semaphore(CLOCK_REALTIME, duration_ns);
  } else if (strcmp(how, "semaphore-monotonic") == 0) {
    wait_on_semaphore(CLOCK_MONOTONIC, duration_ns);
  } else if (strcmp(how, "until-wall") == 0) {
    const struct timespec until = after(CLOCK_REALTIME, duration_ns);
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL);
  } else if (strcmp(how, "until-monotonic") == 0) {
    const struct timespec until = after(CLOCK_MONOTONIC, duration_ns);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
  } else if (strcmp(how, "nanosleep") == 0) {
    nanosleep(&duration, NULL);
  } else if (strcmp(how, "usleep") == 0) {
    usleep((useconds_t)(duration_ns / 1000));
  } else if (strcmp(how, "poll") == 0) {
    poll(NULL, 0, duration_ms);
  } else if (strcmp(how, "epoll") == 0) {
    epoll_wait(epoll_create1(0), &event, 1, duration_ms);
  } else {
    exit(64);
  }
}

static long count_steps_back(int64_t duration_ns) {
  long back = 0;
  const int64_t end_ns = now_ns(CLOCK_MONOTONIC_RAW) + duration_ns;
  for (int64_t last = now_ns(CLOCK_MONOTONIC); now_ns(CLOCK_MONOTONIC_RAW) < end_ns;) {
    const int64_t now = now_ns(CLOCK_MONOTONIC);
    back += now < last;
    last = now;
  }
  return back;
}

int main(void) {
  char line[64], how[32];
  long long duration_ms;
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin)) {
    if (strcmp(line, "read\n") == 0) {
      read_clocks();
    } else if (sscanf(line, "wait %31s %lld", how, &duration_ms) == 2) {
      const int64_t begun_ns = now_ns(CLOCK_MONOTONIC_RAW);
      wait_by(how, duration_ms * 1000000);
      printf("%lld\n", (long long)(now_ns(CLOCK_MONOTONIC_RAW) - begun_ns));
    } else if (sscanf(line, "spin %lld", &duration_ms) == 1) {
      printf("%ld\n", count_steps_back(duration_ms * 1000000));
    } else {
      return 64;
    }
  }
  return 0;
}
