/* live.h: one line about a run while it runs: rewritten in place on a terminal, else printed now and then. */
#ifndef ASSAY_HARNESS_LIVE_H
#define ASSAY_HARNESS_LIVE_H

#include <stdint.h>
#include <stdio.h>

#include "base/base.h"

struct live {
  FILE *out;
  bool terminal;
  bool shown; /* there is a line to rewrite */
  int64_t printed_ns;
};

struct live_facts {
  int64_t elapsed_ns;
  const char *phase; /* NULL: the load runs under faults */
  int64_t rate;      /* operations a second */
  int64_t ok, fail, info;
  const char *primary; /* NULL: nobody */
  uint64_t term;
  const char *faults; /* those present, "" for none */
};

void live_open(struct live *live, FILE *out);
void live_show(struct live *live, const struct live_facts *facts);
/* As live_show, for any text. */
void live_line(struct live *live, const char *line);

/* Prints a message of its own above the line. */
void live_say(struct live *live, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Ends the line, so that other output begins at the left. */
void live_close(struct live *live);

#endif
