/* internal.h: what the rooms of master/client share.
 *
 * A request is a *call*. It waits, is sent (an *attempt*), and waits again when the attempt ended without an
 * answer that settles it. What its attempts left behind decides the outcome when time is up (conclude.h).
 *
 * Reads and reservations go the same way: they are harmless to repeat. */
#ifndef ASSAY_MASTER_CLIENT_INTERNAL_H
#define ASSAY_MASTER_CLIENT_INTERNAL_H

#include "master/client/client.h"
#include "master/client/conclude.h"
#include "master/client/connection.h"
#include "master/client/floors.h"
#include "master/rpc/list.h"
#include "master/rpc/rpc.h"

#define NEVER INT64_MAX
#define CALL_INLINE_TEXT 176u

typedef void reserve_callback(void *context, uint32_t first, const struct master_answer *answer);
typedef void worker_callback(void *context, const struct master_answer *answer,
                             const Rpc__Response *response);
typedef void status_callback(void *context, const struct node_status *status);

struct call {
  struct list by_deadline; /* all calls; the time-out is one for all, so the order is that of submission */
  struct list by_state;    /* client->waiting or client->in_flight */
  struct floor_item floor; /* mutations with an op id only: floor.floor is set */
  Rpc__Request message;    /* points into `text` */
  char *text;              /* `inline_text`, or memory of its own; a batch's items are there too */
  _Alignas(Rpc__Item) char inline_text[CALL_INLINE_TEXT];
  master_answer_callback *answered; /* one of the three */
  reserve_callback *reserved;
  worker_callback *worker_answered;
  void *context;
  int64_t deadline_ns;
  uint32_t slot;
  bool in_flight;
  struct attempts attempts;
};

/* What one node is asked for itself (its status, administration), and the connection for it. */
struct probe {
  struct master_client *client;
  size_t node;
  struct connection *connection; /* NULL: none */
  bool greeted;
  struct list queries; /* in order of deadline */
  uint64_t next_id;
};

struct node {
  struct sockaddr_storage address;
  char *text;
  uint64_t id; /* 0 until it has said hello */
  int64_t failed_ns;
  int64_t complained_ns;
  struct probe probe;
};

struct master_client {
  uv_loop_t *loop;
  struct tls_context *tls; /* NULL: without */
  struct node *nodes;      /* never move */
  size_t node_count, node_capacity;
  int64_t request_timeout_ns, connect_timeout_ns, attempt_timeout_ns;
  bool only_given, retry, any_node;
  uint64_t cluster; /* 0 until the first hello */

  /* calls */
  struct list by_deadline, waiting, in_flight, spare;
  size_t spare_count;
  struct call **slots;
  size_t slot_count;
  uint32_t *free_slots;
  size_t free_slot_count;
  uint32_t attempts; /* the high half of request ids: a late response to an old attempt matches nothing */
  struct floors floors;

  /* the connection */
  struct connection *connection; /* NULL: none */
  size_t at;                     /* the node it goes to, or the next will */
  bool greeted;
  int64_t dialled_ns;
  uint64_t unanswered;    /* requests sent on it without a response, forgotten ones included */
  int64_t quiet_since_ns; /* since when nothing came though something is unanswered; NEVER */
  bool suspected;         /* of silence: certain when nothing has come by the next turn */
  int64_t leave_by_ns;    /* it said not-primary: leave when all is answered, or then; NEVER: stay */
  size_t leave_for;       /* the node to go to then */
  int64_t not_before_ns;  /* back-off: neither dial nor send earlier */
  unsigned failures;      /* dials and hops since the last settled call */
  unsigned overloads;     /* since the last settled call */
  struct random random;

  struct rpc_arena arena; /* of the response being read */
  struct master_entry *entries;
  size_t entry_capacity;
  struct master_block *blocks;
  size_t block_capacity;

  uv_idle_t pump;   /* active while there is something to do in the next turn */
  uv_timer_t timer; /* one for everything */
  int64_t timer_ns; /* what it is set to; NEVER: not set */

  bool closing;
  unsigned handles; /* open handles that point here */
  void (*closed)(void *context);
  void *closed_context;
};

/* Nodes that a client hears of from others, beyond those it was given. */
#define NODES_LEARNT_MAX 64u

/* client.c */
/* Makes a node known that another one named; node_count as it was before when the address is none, or there
 * is no room. */
size_t client_learn_node(struct master_client *client, const char *address);
Rpc__Operation wire_operation(enum master_operation operation);
void client_pump_soon(struct master_client *client);
/* Logs what is wrong with a node, not more often than every ten seconds. */
void client_complain(struct master_client *client, size_t node, const char *text);
/* The last handle is gone: so is the client. */
void client_release(struct master_client *client);

/* calls.c */
struct call *call_new(struct master_client *client, Rpc__Operation operation);
/* Copies strings and items. */
void call_set_text(struct call *call, const struct master_request *request);
/* Makes room for what a message points to. */
char *call_text_room(struct call *call, size_t size);
/* Bytes that the call's strings and items take in a frame, about. */
size_t call_text_size(const struct call *call);
struct call *call_find(struct master_client *client, uint64_t id);
/* Takes the call off the lists; it stays readable until call_recycle. */
void call_forget(struct master_client *client, struct call *call);
void call_recycle(struct master_client *client, struct call *call);
/* In flight → waiting. */
void call_wait(struct master_client *client, struct call *call);
void calls_free(struct master_client *client);

/* outcome.c */
/* Answers the call as its time-out would. */
void call_end_by_time(struct master_client *client, struct call *call);
/* Answers it as refused, or in doubt. */
void call_end_unanswered(struct master_client *client, struct call *call);
/* The attempt came to nothing that is known: retry, or end in doubt. */
void call_lose(struct master_client *client, struct call *call, enum master_error how);
/* Settles the call by a response, or makes it wait. */
void call_receive(struct master_client *client, struct call *call, const Rpc__Response *response);

/* link.c: the connection to the primary */
/* Dials, sends what waits, leaves: whatever is due at `now_ns`. */
void link_pump(struct master_client *client, int64_t now_ns);
/* When the link next has something to do by itself after link_pump at `now_ns`; NEVER. */
int64_t link_next_ns(const struct master_client *client, int64_t now_ns);
void link_close(struct master_client *client);
/* The node said that it is not the primary and, maybe, who is. */
void link_refused(struct master_client *client, uint64_t leader, const char *leader_address);

/* probe.c: status requests, administration */
/* Dials, sends, gives up: whatever is due at `now_ns`. */
void probes_pump(struct master_client *client, int64_t now_ns);
int64_t probes_next_ns(const struct master_client *client);
void probes_close(struct master_client *client);

#endif
