/* node.h: one node's process: started in a network namespace, signalled by pidfd, waited for. Blocking, but
 * for short and bounded times. */
#ifndef ASSAY_NEMESIS_NODE_H
#define ASSAY_NEMESIS_NODE_H

#include <sys/types.h>

#include "base/base.h"

struct process {
  pid_t pid;
  int pidfd; /* readable when the process has ended; closed by process_reap */
};

/* Longest core that a process may leave: what is beyond is cut off. */
#define CORE_BYTES_MAX (1u << 30)

struct process_options {
  char *const *argv; /* argv[0] must be absolute */
  /* It works there, its output is appended to `log` there, and a core of it lands there if the kernel's
   * core_pattern is a plain name. */
  const char *directory;
  int network; /* its network namespace; -1: ours */
  /* Added to our environment, or in place of what has the same name there: "NAME=value", ending with NULL;
   * may be NULL. */
  char *const *environment;
};

/* Starts argv[0] with no input, in a session of its own, dead as soon as the calling thread is. Returns when
 * the program runs, or an error that says why it does not. */
int process_start(struct process *process, const struct process_options *options, struct error *error);

/* ERR_NOT_FOUND when it has ended. */
int process_signal(const struct process *process, int number, struct error *error);

/* Waits until every thread is stopped by a SIGSTOP sent before. ERR_NOT_FOUND when it ended instead,
 * ERR_TIMEOUT. */
int process_await_stopped(const struct process *process, int timeout_ms, struct error *error);

/* Waits for the end, without reaping. ERR_TIMEOUT. */
int process_await_end(const struct process *process, int timeout_ms, struct error *error);

/* Of a process that has ended: its status as wait() tells. The process is gone afterwards. */
int process_reap(struct process *process);

/* "exit status 3", "signal 6 (Aborted)": what a wait status means. */
void process_describe_end(int wait_status, char *out, size_t size);

#endif
