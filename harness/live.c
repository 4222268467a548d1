#include "harness/live.h"

#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness/document.h"

/* Without a terminal to rewrite a line on, one every so often. */
#define QUIET_INTERVAL_NS (5 * NS_PER_S)

void live_open(struct live *live, FILE *out) {
  *live = (struct live){.out = out, .terminal = isatty(fileno(out)) == 1};
}

static size_t terminal_columns(FILE *out) {
  struct winsize size;
  if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col < 20)
    return 80;
  return size.ws_col;
}

/* Bytes of the longest beginning that is at most `columns` wide: continuation bytes take none. */
static size_t fitting(const char *text, size_t columns) {
  size_t at = 0;
  for (size_t used = 0; text[at] != '\0'; at++)
    if (((unsigned char)text[at] & 0xc0) != 0x80 && ++used > columns)
      break;
  return at;
}

static void describe(const struct live_facts *facts, char *out, size_t size) {
  char rate[COUNT_TEXT_SIZE], ok[COUNT_TEXT_SIZE], fail[COUNT_TEXT_SIZE], info[COUNT_TEXT_SIZE], primary[64];
  if (facts->primary)
    snprintf(primary, sizeof primary, "primary %s term %llu", facts->primary,
             (unsigned long long)facts->term);
  else
    snprintf(primary, sizeof primary, "no primary");
  snprintf(out, size, "%6.1f s  %s/s  ok %s  fail %s  info %s  %s  %s", (double)facts->elapsed_ns / 1e9,
           count_text(facts->rate, rate), count_text(facts->ok, ok), count_text(facts->fail, fail),
           count_text(facts->info, info), primary,
           facts->phase       ? facts->phase
           : facts->faults[0] ? facts->faults
                              : "no fault");
}

void live_line(struct live *live, const char *line) {
  const int64_t now_ns = time_monotonic_ns();
  if (!live->terminal && now_ns - live->printed_ns < QUIET_INTERVAL_NS)
    return;
  live->printed_ns = now_ns;
  if (live->terminal)
    fprintf(live->out, "\r\033[K%.*s", (int)fitting(line, terminal_columns(live->out) - 1), line);
  else
    fprintf(live->out, "%s\n", line);
  fflush(live->out);
  live->shown = live->terminal;
}

void live_show(struct live *live, const struct live_facts *facts) {
  char line[1024];
  describe(facts, line, sizeof line);
  live_line(live, line);
}

void live_say(struct live *live, const char *format, ...) {
  live_close(live);
  va_list arguments;
  va_start(arguments, format);
  vfprintf(live->out, format, arguments);
  va_end(arguments);
  fputc('\n', live->out);
  fflush(live->out);
}

void live_close(struct live *live) {
  if (live->shown)
    fputs("\r\033[K", live->out);
  live->shown = false;
  fflush(live->out);
}
