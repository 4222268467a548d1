/* descriptors.c: see descriptors.h. */
#include "master/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

#define LOOK_EVERY_MS 10
/* When fewer are free, the next thing that the tables do may want more. */
#define ENOUGH 24
/* Numbers are handed out from below: when the lowest free one is so far from the limit, nobody need count. */
#define FAR 4096

static void give_up(struct descriptors *descriptors) {
  while (descriptors->held > 0)
    close(descriptors->put_by[--descriptors->held]);
}

/* All of them, or none. */
static void take(struct descriptors *descriptors) {
  while (descriptors->held < DESCRIPTORS_PUT_BY) {
    const int descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
      give_up(descriptors);
      return;
    }
    descriptors->put_by[descriptors->held++] = descriptor;
  }
}

/* Counted, not tried: while it tried, the tables would have none. */
size_t descriptors_open_count(void) {
  struct stat info;
  if (stat("/proc/self/fd", &info) == 0 && info.st_size > 0)
    return (size_t)info.st_size; /* Linux >= 6.2 tells at once */
  DIR *directory = opendir("/proc/self/fd");
  size_t open = 0;
  while (directory && readdir(directory))
    open++;
  if (directory)
    closedir(directory);
  return directory ? open : SIZE_MAX;
}

static size_t count_free(void) {
  struct rlimit limit;
  const int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (lowest < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return 0;
  close(lowest);
  if (limit.rlim_cur > (rlim_t)lowest + FAR)
    return FAR;
  const size_t open = descriptors_open_count();
  return open < limit.rlim_cur ? (size_t)limit.rlim_cur - open : 0;
}

static void on_look(uv_timer_t *look) {
  struct descriptors *descriptors = look->data;
  const size_t available = count_free();
  if (descriptors->held > 0 && available < ENOUGH) {
    give_up(descriptors);
    log_warn(
        "hardly a descriptor is left: new clients are turned away; raise the limit of open files (ulimit -n)");
  } else if (descriptors->held == 0 && available >= DESCRIPTORS_PUT_BY + 2 * ENOUGH) {
    take(descriptors);
    log_info("there are descriptors again");
  }
}

void descriptors_open(struct descriptors *descriptors, uv_loop_t *loop) {
  take(descriptors);
  uv_timer_init(loop, &descriptors->look);
  descriptors->look.data = descriptors;
  uv_timer_start(&descriptors->look, on_look, LOOK_EVERY_MS, LOOK_EVERY_MS);
  /* It keeps no loop alive that has nothing else to do. */
  uv_unref((uv_handle_t *)&descriptors->look);
}

void descriptors_close(struct descriptors *descriptors) {
  give_up(descriptors);
  uv_close((uv_handle_t *)&descriptors->look, NULL);
}

bool descriptors_are_short(const struct descriptors *descriptors) {
  return descriptors->held == 0;
}
