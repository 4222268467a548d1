/* log.h: one line a message on standard error: UTC time, level, who, text. Thread-safe. */
#ifndef ASSAY_LOG_H
#define ASSAY_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* `name` stands in every line; it is kept, not copied. The default level is info. */
void log_open(const char *name, enum log_level level);

/* The level from which on messages are written; may be changed at any time, from any thread. */
void log_set_level(enum log_level level);
enum log_level log_level(void);
/* "debug", "info", "warn", "error". */
const char *log_level_name(enum log_level level);
/* False when the name is none of them. */
bool log_level_parse(const char *name, enum log_level *level);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Where the messages of this thread go instead, at whatever level: to `write` (NULL: nowhere, they are not
 * even formatted), for whom the text is valid during the call. It must outlive the diversion; NULL ends it.
 */
struct log_sink {
  void (*write)(void *context, enum log_level level, const char *text);
  void *context;
};
void log_divert(const struct log_sink *sink);

#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)

#endif
