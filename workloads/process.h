/* process.h: the client process from inside.
 *
 * One libuv loop. Every logical client (`struct session`) has a connection of its own, prefers a node of its
 * own, and does one operation after the other (with `reads_any` it has a second connection, for reads, to
 * that node or the next that answers, while changes go to the primary):
 *
 *   IDLE --draw, stamp, record, submit--> BUSY --answer, stamp, record--> IDLE, or NUMBERLESS after an info
 *
 * What stands in the history about an operation is written before the first byte of it can leave, and its
 * completion after the whole answer has come, both in one order of strictly rising times. A session whose
 * operation ended in info goes on under a new client number, which is also its process number in the history,
 * and starts again at sequence 1; numbers are reserved from the cluster in blocks and belong to nobody else,
 * ever.
 *
 * Taken for granted: CLOCK_MONOTONIC is one clock for all processes of the machine. */
#ifndef ASSAY_WORKLOADS_PROCESS_H
#define ASSAY_WORKLOADS_PROCESS_H

#include <uv.h>

#include "master/client/client.h"
#include "workloads/workloads.h"

enum session_state {
  SESSION_NUMBERLESS, /* waits for a client number */
  SESSION_IDLE,
  SESSION_BUSY,
};

struct session {
  struct client_process *process;
  size_t index; /* which logical client of this process */
  enum session_state state;
  struct session *next; /* in the queue of idle or of numberless sessions */
  struct master_client *client;
  struct master_client *reader; /* for reads; NULL: `client` does those too */
  uint32_t number, sequence;    /* number 0: none yet */
  /* The operation under way. */
  struct arguments arguments;
  uint64_t op_id;
  struct bytes text; /* what `arguments` points into */
};

struct session_queue {
  struct session *first, *last;
};

struct client_process {
  const struct client_options *options;
  uv_loop_t loop;
  uv_timer_t stats_timer, pace_timer, end_timer, number_timer;
  uv_signal_t terminate, interrupt;
  uv_poll_t standard_input;
  struct generator *generator;
  struct history_writer *writer;
  struct session *sessions;
  size_t session_count;
  struct session_queue idle, numberless;
  struct answer_room answers;
  struct request_room *request;

  struct master_client *control; /* asks for client numbers */
  uint32_t next_number, number_count;
  bool reserving;

  int64_t start_ns, last_event_ns;
  uint64_t started; /* operations; `busy` of them have no answer yet */
  size_t busy;
  uint64_t ok, fail, info;
  int64_t last_ok_ns;
  bool stopping; /* nothing new is started */
  bool closing;  /* nothing is waited for any more */
  bool polling;  /* standard input is watched */
  int exit_code;
};

/* process.c */

/* Starts nothing any more; ends when what is outstanding is answered, or when the grace is over. */
void process_stop(struct client_process *process);
/* The history cannot be written, or the like: says so, and ends at once with `exit_code`. */
void process_fail(struct client_process *process, int exit_code, const struct error *error);
/* Called when a session has ended its operation, after a stop too. */
void process_session_ended(struct client_process *process);

/* session.c */

/* Opens the sessions' connections; none has a number yet. */
int sessions_open(struct client_process *process, struct error *error);
void sessions_close(struct client_process *process);
void sessions_free(struct client_process *process);
/* Starts as many operations as the rate, the bounds and idle sessions allow. */
void sessions_start_due(struct client_process *process);
/* The completion time, or invocation time, of an event that happens now: later than any before. */
int64_t process_now_ns(struct client_process *process);

/* numbers.c */

/* Asks for more client numbers if few are left, and hands out what is there. */
void numbers_provide(struct client_process *process);

/* queue */
void session_queue_push(struct session_queue *queue, struct session *session);
struct session *session_queue_pop(struct session_queue *queue);

/* events.c: the JSON lines on standard output. */

void event_ready(void);
void event_counts(const struct client_process *process, const char *event);
void event_error(const char *message);

#endif
