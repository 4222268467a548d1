/* clock.c: the nemesis's side of clock.h and page.h. */
#include "nemesis/clock/clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "nemesis/clock/page.h"

/* How far ahead a new line is published: more than a preempted writer usually loses in between. */
#define LEAD_NS (1 * NS_PER_MS)

int clock_setting_check(const struct clock_setting *setting, struct error *error) {
  if (setting->offset_ns > CLOCK_OFFSET_MAX_NS || setting->offset_ns < -CLOCK_OFFSET_MAX_NS)
    return error_set(error, ERR_BAD_INPUT, "a clock can be set off by ten years at most, either way");
  if (!(setting->rate >= CLOCK_RATE_MIN && setting->rate <= CLOCK_RATE_MAX))
    return error_set(error, ERR_BAD_INPUT, "a clock can run between %g and %g times as fast, not %g",
                     CLOCK_RATE_MIN, CLOCK_RATE_MAX, setting->rate);
  return 0;
}

char *clock_shim_path(struct error *error) {
#ifdef ASSAY_THREAD_SANITIZER
  error_set(error, ERR_UNSUPPORTED,
            "the thread sanitizer must see every wait itself: use another build to bend clocks");
  return NULL;
#else
  char *directory = program_directory();
  if (!directory) {
    error_set(error, ERR_UNSUPPORTED, "the system does not tell where this program lies: is /proc mounted?");
    return NULL;
  }
  char *path = path_join(directory, "../lib/assay/libassay-clock.so");
  char *found = realpath(path, NULL);
  if (!found)
    error_set_errno(error, ERR_UNSUPPORTED, "%s, which bends the clocks of nodes, cannot be loaded", path);
  free(directory);
  free(path);
  return found;
#endif
}

/* "name=value", and behind `separator` what the variable holds already. */
static char *variable(const char *name, const char *value, char separator) {
  struct bytes text = {0};
  const char *before = separator ? getenv(name) : NULL;
  bytes_append_format(&text, "%s=%s", name, value);
  if (before && *before)
    bytes_append_format(&text, "%c%s", separator, before);
  return (char *)text.data;
}

char **clock_environment(const char *shim, const char *page_path) {
  char **environment = xcalloc(4, sizeof *environment);
  environment[0] = variable("LD_PRELOAD", shim, ':');
  environment[1] = variable(CLOCK_PAGE_VARIABLE, page_path, 0);
  /* A node with the address sanitizer must put up with a library before it. */
  environment[2] = variable("ASAN_OPTIONS", "verify_asan_link_order=0", ':');
  return environment;
}

void clock_environment_free(char **environment) {
  for (char **entry = environment; entry && *entry; entry++)
    free(*entry);
  free((void *)environment);
}

int clock_page_open(const char *path, struct clock_page **opened, struct error *error) {
  /* A new file each time: whatever still has the last one mapped keeps its own. */
  unlink(path);
  const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0)
    return error_set_errno(error, ERR_IO, "cannot make %s", path);
  struct clock_page *page = MAP_FAILED;
  if (ftruncate(fd, sizeof *page) == 0)
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int status = page == MAP_FAILED ? error_set_errno(error, ERR_IO, "cannot map %s", path) : 0;
  close(fd);
  if (status != 0)
    return status;
  const struct clock_line right = {.from_ns = time_monotonic_ns(), .rate = 1};
  page->lines[0] = page->lines[1] = (struct clock_lines){.before = right, .now = right};
  page->magic = CLOCK_PAGE_MAGIC;
  *opened = page;
  return 0;
}

void clock_page_close(struct clock_page *page) {
  if (page)
    munmap(page, sizeof *page);
}

static void wait_until(int64_t true_ns) {
  const struct timespec until = {.tv_sec = true_ns / NS_PER_S, .tv_nsec = true_ns % NS_PER_S};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
    ;
}

int clock_page_set(struct clock_page *page, const struct clock_setting *setting, struct error *error) {
  const int status = clock_setting_check(setting, error);
  if (status != 0)
    return status;
  const uint64_t sequence = atomic_load_explicit(&page->sequence, memory_order_relaxed);
  struct clock_lines next = {.before = page->lines[sequence & 1].now};
  const int64_t from_ns = time_monotonic_ns() + LEAD_NS;
  next.now =
      (struct clock_line){.from_ns = from_ns,
                          .wall_ns = setting->offset_ns,
                          .monotonic_ns = next.before.monotonic_ns + clock_line_drift(&next.before, from_ns),
                          .rate = setting->rate};
  page->lines[(sequence + 1) & 1] = next;
  atomic_store_explicit(&page->sequence, sequence + 1, memory_order_release);
  wait_until(from_ns);
  return 0;
}

struct clock_setting clock_page_get(const struct clock_page *page) {
  const struct clock_lines lines = clock_page_read(page);
  const int64_t now_ns = time_monotonic_ns();
  const struct clock_line *line = clock_line_at(&lines, now_ns);
  return (struct clock_setting){.offset_ns = line->wall_ns + clock_line_drift(line, now_ns),
                                .rate = line->rate};
}

pid_t clock_page_reader(const struct clock_page *page) {
  return atomic_load_explicit(&page->reader, memory_order_acquire);
}
