#include "master/observe.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "master/descriptors.h"

static double seconds(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static uint64_t resident_bytes(void) {
  unsigned long size, resident = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  if (!file)
    return 0;
  if (fscanf(file, "%lu %lu", &size, &resident) != 2)
    resident = 0;
  fclose(file);
  return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void observe_process(struct observation *observation, const char *directory) {
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) == 0)
    observation->cpu_s = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  observation->resident_bytes = resident_bytes();
  observation->descriptors = descriptors_open_count();
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    observation->descriptor_limit = limit.rlim_cur;
  struct statvfs disk;
  if (statvfs(directory, &disk) == 0) {
    observation->disk_size_bytes = (uint64_t)disk.f_blocks * disk.f_frsize;
    observation->disk_free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
  }
}
