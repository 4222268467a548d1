#include <criterion/criterion.h>
#include <stdio.h>

#include "base/base.h"

static char seen[64];

static void keep(void *context, enum log_level level, const char *text) {
  snprintf(seen, sizeof seen, "%d %d %s", *(int *)context, (int)level, text);
}

Test(log, a_diverted_thread_writes_to_its_sink_at_every_level) {
  int who = 7;
  const struct log_sink sink = {keep, &who};
  log_divert(&sink);
  log_debug("term %d", 3);
  log_divert(NULL);
  cr_assert_str_eq(seen, "7 0 term 3");
}

Test(log, a_sink_without_a_writer_drops_everything) {
  const struct log_sink nowhere = {0};
  log_divert(&nowhere);
  log_error("nobody hears this");
  log_divert(NULL);
  cr_assert_str_eq(seen, "");
}
