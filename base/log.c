#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *log_name = "assay";
static _Atomic(enum log_level) log_threshold = LOG_LEVEL_INFO;
static const char *const level_names[] = {"debug", "info", "warn", "error"};
static _Thread_local const struct log_sink *log_diversion;

void log_open(const char *name, enum log_level level) {
  log_name = name;
  log_threshold = level;
}

void log_set_level(enum log_level level) {
  log_threshold = level;
}

enum log_level log_level(void) {
  return log_threshold;
}

const char *log_level_name(enum log_level level) {
  return level_names[level];
}

bool log_level_parse(const char *name, enum log_level *level) {
  for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++)
    if (strcmp(name, level_names[i]) == 0) {
      *level = (enum log_level)i;
      return true;
    }
  return false;
}

void log_divert(const struct log_sink *sink) {
  log_diversion = sink;
}

static void write_to_sink(enum log_level level, const char *format, va_list arguments) {
  char text[2048];
  if (!log_diversion->write)
    return;
  vsnprintf(text, sizeof text, format, arguments);
  log_diversion->write(log_diversion->context, level, text);
}

void log_write(enum log_level level, const char *format, ...) {
  if (log_diversion) {
    va_list diverted;
    va_start(diverted, format);
    write_to_sink(level, format, diverted);
    va_end(diverted);
    return;
  }
  if (level < log_threshold)
    return;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  struct tm utc;
  gmtime_r(&now.tv_sec, &utc);
  char line[2048];
  size_t length = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
  length += (size_t)snprintf(line + length, sizeof line - length, ".%06ldZ %s %s: ", now.tv_nsec / 1000,
                             level_names[level], log_name);
  va_list arguments;
  va_start(arguments, format);
  const int text = vsnprintf(line + length, sizeof line - length - 1, format, arguments);
  va_end(arguments);
  if (text > 0)
    length += (size_t)text;
  if (length > sizeof line - 2)
    length = sizeof line - 2;
  line[length++] = '\n';
  /* One write, so that lines of several threads and processes do not mix. */
  if (write(STDERR_FILENO, line, length) < 0)
    return;
}
