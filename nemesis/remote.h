/* remote.h: the connection with the agent on a node's host (agent/protocol.h): a child process, ssh for one,
 * whose standard input and output lead to it.
 *
 * Asking several hosts at once is to begin on all of them before the first is finished. Everything here
 * blocks, for a bounded time. A connection that has failed once, by ending, by taking too long or by saying
 * what makes no sense, has failed for ever: every later call says why. */
#ifndef ASSAY_NEMESIS_REMOTE_H
#define ASSAY_NEMESIS_REMOTE_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/base.h"

struct remote {
  char name[240]; /* of the node and its host, for messages */
  char *log;      /* what the child says on its standard error */
  pid_t pid;      /* of the child; -1: none */
  int to, from;
  int raised; /* an eventfd: an end is known of, or the connection has failed */
  int ready;  /* an epoll of `from` and `raised`: between requests, only an end makes `from` readable */
  struct bytes heard;
  int64_t last_id;
  bool greeted; /* before that, whatever a login says is skipped */
  bool failed;
  struct error why;
  int64_t life; /* of the node's process that was started last */
  bool ended;   /* it has, with `status` */
  int status;
};

/* Starts the child; it says on `log` what it has to complain about. */
int remote_open(struct remote *remote, const char *name, char *const *argv, const char *log,
                struct error *error);

/* Ends the agent's input, upon which it undoes what it has done. */
void remote_hang_up(struct remote *remote);

/* The same, and waits for the child; kills it when that takes longer. Nothing happens when it was never
 * opened. */
void remote_close(struct remote *remote, int timeout_ms);

/* Sends a request; takes `arguments`, may be NULL. Returns its number, for remote_finish. */
int64_t remote_begin(struct remote *remote, const char *what, json_t *arguments);

/* Awaits the answer. `*answer`, may be NULL, is the caller's. An error's code and message are the agent's,
 * behind the remote's name; ERR_UNAVAILABLE: the connection has failed. */
int remote_finish(struct remote *remote, int64_t id, int timeout_ms, json_t **answer, struct error *error);

/* An order, which has no answer; takes `arguments`. */
void remote_tell(struct remote *remote, const char *what, json_t *arguments);

/* ---- The end of the node's process ---- */

/* Readable once it has ended, or the connection has failed. */
int remote_end_fd(const struct remote *remote);

/* ERR_TIMEOUT; ERR_UNAVAILABLE. */
int remote_await_end(struct remote *remote, int timeout_ms, struct error *error);

/* Its status, as wait() tells; of a connection that has failed, that of a kill: the agent ends its node. */
int remote_take_end(struct remote *remote, int timeout_ms);

#endif
