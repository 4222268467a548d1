/* child.h: a process of ours on a libuv loop: told things on its standard input, heard line by line on its
 * standard output, its standard error kept in a file. */
#ifndef ASSAY_HARNESS_CHILD_H
#define ASSAY_HARNESS_CHILD_H

#include <stdbool.h>
#include <uv.h>

#include "base/base.h"

struct child {
  /* Set by the owner before child_start. */
  char name[32]; /* "client-0" */
  void *context;
  void (*line)(struct child *child, const char *text); /* one line of output, without its end */
  void (*ended)(
      struct child *child); /* it is gone and all it said was heard; exit_status and signal are set */

  int64_t exit_status;
  int term_signal;
  bool running; /* between child_start and ended */

  uv_process_t process;
  uv_pipe_t input, output;
  struct bytes pending;
  int handles_open;
  bool input_open;
  bool killed_for_noise; /* a line without end: it is not one of ours any more */
};

/* Starts arguments[0] in a session of its own, so that a terminal's Ctrl-C reaches it through us only. */
int child_start(uv_loop_t *loop, struct child *child, char **arguments, const char *error_log,
                struct error *error);

/* Writes text to its standard input; nothing happens when it is gone. */
void child_tell(struct child *child, const char *text);

/* Ends its standard input, which asks a process of Assay to stop cleanly. */
void child_close_input(struct child *child);

void child_signal(struct child *child, int signal);

/* "exit code 3", "signal 9 (Killed)" into `out`, which it returns. */
const char *child_ending(const struct child *child, char *out, size_t size);

#endif
