#include "harness/bench/machine.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SPIN_ROUNDS 2000000
#define SYNCS 41
#define SYNC_SIZE 4096

static double spin(void) {
  const int64_t from_ns = time_monotonic_ns();
  uint64_t value = 1;
  for (int round = 0; round < SPIN_ROUNDS; round++) {
    value = value * UINT64_C(6364136223846793005) + 1442695040888963407u;
    __asm__ volatile("" : "+r"(value));
  }
  return (double)(time_monotonic_ns() - from_ns) / NS_PER_US;
}

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int machine_probe(const char *directory, struct machine_probe *probe, struct error *error) {
  static const char block[SYNC_SIZE];
  double times[SYNCS];
  char *path = path_join(directory, "probe");
  const int file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  int status = file < 0 ? error_set_errno(error, ERR_IO, "cannot make %s", path) : 0;
  for (int i = 0; status == 0 && i < SYNCS; i++) {
    const int64_t from_ns = time_monotonic_ns();
    if (pwrite(file, block, SYNC_SIZE, (off_t)i * SYNC_SIZE) != SYNC_SIZE || fdatasync(file) != 0)
      status = error_set_errno(error, ERR_IO, "cannot write %s", path);
    times[i] = (double)(time_monotonic_ns() - from_ns) / NS_PER_US;
  }
  if (file >= 0)
    close(file);
  free(path);
  if (status != 0)
    return status;
  qsort(times, SYNCS, sizeof times[0], compare_doubles);
  probe->sync_us = times[SYNCS / 2];
  probe->spin_us = spin();
  return 0;
}

static double own_time(pid_t pid) {
  char path[64];
  struct bytes content = {0};
  uint64_t user = 0, system = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  if (file_read(path, &content, NULL) == 0) {
    bytes_append_u8(&content, 0);
    /* The name, in brackets, may hold anything; the 11th and 12th field behind it are the times. */
    const char *behind = strrchr((const char *)content.data, ')');
    if (!behind || sscanf(behind + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
                          &user, &system) != 2)
      user = system = 0;
  }
  bytes_free(&content);
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

int machine_time(const pid_t *pids, size_t pid_count, struct machine_time *time, struct error *error) {
  struct bytes content = {0};
  int status = file_read("/proc/stat", &content, error);
  if (status != 0)
    return status;
  bytes_append_u8(&content, 0);
  uint64_t part[8] = {0}; /* user, nice, system, idle, iowait, irq, softirq, steal */
  if (sscanf((const char *)content.data,
             "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
             " %" SCNu64,
             &part[0], &part[1], &part[2], &part[3], &part[4], &part[5], &part[6], &part[7]) != 8)
    status = error_set(error, ERR_UNSUPPORTED, "/proc/stat is not what Linux writes there");
  bytes_free(&content);
  uint64_t all = 0;
  for (size_t i = 0; i < ARRAY_SIZE(part); i++)
    all += part[i];
  const double ticks = (double)sysconf(_SC_CLK_TCK);
  time->all = (double)all / ticks;
  time->busy = (double)(all - part[3] - part[4]) / ticks;
  time->ours = own_time(getpid());
  for (size_t i = 0; i < pid_count; i++)
    time->ours += own_time(pids[i]);
  return status;
}

double machine_foreign_share(const struct machine_time *from, const struct machine_time *to) {
  const double all = to->all - from->all;
  const double foreign = (to->busy - from->busy) - (to->ours - from->ours);
  return all > 0 && foreign > 0 ? foreign / all : 0;
}
