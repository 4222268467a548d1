/* primary_internal.h: what the files of the primary share. */
#ifndef ASSAY_MASTER_PRIMARY_INTERNAL_H
#define ASSAY_MASTER_PRIMARY_INTERNAL_H

#include "master/namespace.h"
#include "master/primary.h"
#include "master/under_store.h"
#include "master/worker_registry.h"

/* A request, from submit to its answer. */
struct pending {
  struct pending *next;
  struct pending *previous; /* while it is parked */
  struct primary *primary;
  struct tables_wait *wait; /* NULL: not evaluated yet, or nothing was missing */
  struct request request;   /* its slices point into `bytes` */
  primary_callback *callback;
  void *context;
  int64_t submitted_ns;   /* monotonic, of the turn it came in */
  struct outcome outcome; /* of a mutation, once evaluated */
  size_t size;            /* of `bytes` */
  _Alignas(struct request) char bytes[];
};

/* First in, first out; all zero is empty. */
struct pending_list {
  struct pending *first, *last;
};

static inline void pending_push(struct pending_list *list, struct pending *pending) {
  pending->next = NULL;
  if (list->last)
    list->last->next = pending;
  else
    list->first = pending;
  list->last = pending;
}

static inline struct pending *pending_pop(struct pending_list *list) {
  struct pending *pending = list->first;
  if (pending) {
    list->first = pending->next;
    if (!list->first)
      list->last = NULL;
  }
  return pending;
}

/* A batch between its sealing and its commit, with the answers that leave then. It is its entry's token. */
struct flight {
  struct flight *next;
  struct pending_list waiters;
  bool catches_up; /* the empty batch that begins a term */
  bool reclaims, detaches;
  bool loads;                 /* names of a mounted directory are in it */
  bool first_part, last_part; /* the defect partial-batch: of an operation that is two entries */
  struct bytes own;           /* the defect entry-reorder: what this primary applies in the entry's place */
};

/* What defects of docs/bugs.md have to remember; unused where there are none. */
struct primary_defects {
  struct pending_list postponed; /* rename-early-free, delete-not-atomic: to be evaluated once more */
  struct flight *first_part;     /* partial-batch: not appended yet, with its bytes */
  struct bytes first_bytes;
  bool torn;                /* partial-batch: the first part was appended, the second is not committed */
  int64_t deposed_until_ns; /* step-down-late, old-primary-writes: goes on until then; 0: not deposed */
  int64_t lease_until_ns;   /* lease-clock: by the wall clock */
};

/* Reads that share one confirmation of leadership. */
struct read_round {
  struct read_round *next;
  struct primary *primary;
  struct pending_list reads;
  int64_t begun_wall_ns; /* the defect lease-clock */
  bool confirmed;
  uint64_t read_index;
};

struct primary {
  struct state_machine machine;
  const struct world *world;
  struct row_store *store;
  struct journal *journal;
  struct tables *tables;
  struct overlay *overlay;
  struct namespace space;
  size_t queue_limit;
  size_t pending_count, pending_bytes; /* requests not answered yet */

  enum primary_role role;
  uint64_t term, leader;

  struct pending_list queue;  /* mutations to evaluate */
  struct pending_list parked; /* evaluated in vain: rows they need are on their way into memory */
  struct pending_list retried, retried_reads; /* … are there: mutations, and reads that were confirmed */
  struct tables_wait *house_wait;             /* of reclaiming and expiring */
  bool house_parked;
  struct under_store *under_store;
  struct directory_load *loads; /* of mounted directories, the oldest first; primary_loads.c */
  struct timer *load_timer;     /* NULL without an under-store */
  int64_t load_complained_ns;   /* 0: never */
  struct flight *open;          /* the batch being made; NULL: none */
  struct flight *flights, *flights_end;
  size_t flight_count;
  struct bytes unsent; /* a sealed batch the journal would not take yet, with `open` */
  bool reclaim_wanted, reclaim_in_flight;
  int64_t clock_read_ns; /* monotonic: when counters.clock_ns was brought up to date */
  int64_t expire_due_ns; /* monotonic */

  struct pending_list reads; /* waiting for a round */
  struct read_round *rounds; /* not answered yet, oldest first */
  size_t rounds_unconfirmed;
  struct listing listing;
  struct worker_registry *workers; /* empty in other roles */

  struct pending_list replies; /* answered as their outcome says, in the next turn */
  int64_t turn_ns;             /* monotonic: when the events at hand began, about */
  struct primary_statistics statistics;
  bool turn_scheduled, durable_changed, freed, failed;
  struct primary_defects defects;

  void (*fatal)(void *context, const struct error *error);
  void *fatal_context;
  struct error failure;
};

/* -- primary_requests.c -- */
struct pending *primary_copy_request(struct primary *primary, const struct request *request);

/* -- primary.c -- */
/* Ends the work of this process: nothing is answered any more. */
void primary_fail(struct primary *primary, const struct error *error);
/* True, and failed, when the tables are. */
bool primary_check_tables(struct primary *primary);
/* Runs primary's turn once, after the events that are ready now. */
void primary_schedule(struct primary *primary);
/* Answers in the next turn. */
void primary_reply(struct primary *primary, struct pending *pending, enum answer_status status);
void primary_reply_all(struct primary *primary, struct pending_list *list, enum answer_status status);
/* Makes the flight that the open batch will be, if there is none yet. */
struct flight *primary_open_flight(struct primary *primary);
/* Puts a sealed flight behind those that are in flight. */
void primary_push_flight(struct primary *primary, struct flight *flight);
/* Frees a flight whose waiters were answered. */
void primary_flight_free(struct flight *flight);
/* Evaluates what waits, up to one batch; closes it, into `unsent`. */
void primary_fill_batch(struct primary *primary);
void primary_seal_batch(struct primary *primary);
/* Appends the open batch to `batch` and closes it. */
void primary_encode_batch(struct primary *primary, struct bytes *batch);
/* True: to be evaluated again, once what `pending` missed is there. */
bool primary_park(struct primary *primary, struct pending *pending);
void primary_drop_parked(struct primary *primary, enum answer_status status);
/* Calls back and frees. */
void primary_deliver(struct primary *primary, struct pending *pending, const struct answer *answer);

/* Puts a request that waits no longer for what it needs back to those that are evaluated again. */
void primary_retry(struct primary *primary, struct pending *pending);

/* -- primary_loads.c: the names of mounted directories -- */
void primary_open_loads(struct primary *primary);
/* True: the request was in need of a directory that is not loaded, and comes again when it is, or is refused.
 */
bool primary_await_load(struct primary *primary, struct unloaded *unloaded, struct pending *pending);
/* Whether primary_put_loads() has something to do. */
bool primary_loads_wait(const struct primary *primary);
/* Puts names that came into the open batch. */
void primary_put_loads(struct primary *primary);
void primary_loads_committed(struct primary *primary, const struct flight *flight);
void primary_drop_loads(struct primary *primary, enum answer_status status);
/* After primary_drop_loads(). */
void primary_close_loads(struct primary *primary);

/* -- primary_reads.c -- */
/* Each turn: asks for confirmation of leadership for the reads that wait, if not too many rounds are on their
 * way; answers parked reads for which everything is there now. */
void primary_advance_reads(struct primary *primary);
/* Answers what the applied index allows. */
void primary_finish_reads(struct primary *primary);
void primary_drop_reads(struct primary *primary, enum answer_status status);
/* Answers all reads that wait, from the tables as they are. */
void primary_answer_unconfirmed(struct primary *primary);

/* -- primary_workers.c -- */
/* A mutation is done: what that tells of workers. */
void primary_note_workers(struct primary *primary, const struct pending *pending, struct answer *answer);
/* Adds what was heard of workers to what the tables answer. */
void primary_answer_workers(struct primary *primary, const struct request *request, struct answer *answer);

/* -- primary_defects.c, empty in a build without defects -- */
/* dirty-reads: answers the reads that uncommitted changes make a difference to. */
void primary_answer_dirty_reads(struct primary *primary);
/* snapshot-back: on stepping down. */
void primary_go_back(struct primary *primary);
/* rename-early-free: frees the source's name, and leaves the rename for later. False: nothing is postponed.
 */
bool primary_postpone_rename(struct primary *primary, struct pending *pending);
void primary_resume_postponed(struct primary *primary);
/* partial-batch: what is evaluated so far becomes an entry of its own; */
void primary_cut_batch(void *context);
/* … true when it is committed, or there is none; */
bool primary_first_part_committed(struct primary *primary);
/* … and is lost with leadership. */
void primary_drop_first_part(struct primary *primary, enum answer_status status);
/* lease-clock: the wall clock says that nobody else can lead, whatever the journal says. */
bool primary_holds_lease(const struct primary *primary);
/* step-down-late, old-primary-writes: `deposed` says that it was primary until now; */
void primary_note_role(struct primary *primary, enum journal_role role, bool deposed);
/* … takes this request all the same; */
bool primary_lingers(const struct primary *primary, const struct request *request);
/* … answers reads, appends what waits and says that it is done. */
void primary_linger(struct primary *primary);

/* -- primary_snapshots.c -- */
void primary_snapshot_hooks(struct state_machine *machine);

#endif
