/* canonical.h: what the rooms of the journal on libraft 0.15 share. Private to simulator/canonical.
 *
 *   journal.c    the journal's functions: starting, appending, confirming, closing; what libraft committed
 *   io.c         the `struct raft_io` that libraft drives: log, time, chance
 *   messages.c   its messages, to frames and back
 *   snapshots.c  its snapshots, from and to the state machine
 *   disk_log.c   the log on disk; knows nothing of libraft
 *
 * What is taken for granted. libraft is called from one thread and never from inside itself; what it tells us
 * (committed entries, a change of role) is passed on after its call has returned, read from its public
 * structures. Its transport is TCP, so a peer's frames arrive in the order they were sent or not at all. A
 * term or vote must be durable when set_term() or set_vote() returns; ours return at once and hold every
 * frame back until it is, which nobody outside can tell apart. */
#ifndef ASSAY_SIMULATOR_CANONICAL_H
#define ASSAY_SIMULATOR_CANONICAL_H

#include <raft.h>

#include "simulator/canonical/canonical_journal.h"
#include "simulator/canonical/disk_log.h"

/* Appended and not yet committed, bytes. */
#define IN_FLIGHT_LIMIT (32u << 20)
#define SERVERS_LIMIT 64
#define ADDRESS_SIZE 24

enum canonical_state {
  CANONICAL_NEW,
  CANONICAL_STARTING,
  CANONICAL_RUNNING,
  CANONICAL_FAILED,
  CANONICAL_CLOSING
};

/* An append that libraft has taken. */
struct proposal {
  struct raft_apply request;
  struct canonical *canonical;
  struct proposal *next;
  void *token;
  size_t size;
  bool committed;
};

struct confirmation {
  void (*done)(void *context, int status, uint64_t read_index);
  void *context;
};

struct confirmations {
  struct confirmation *calls;
  size_t count, capacity;
};

/* A write of entries that libraft waits for. */
struct pending_append {
  struct pending_append *next;
  struct canonical *canonical;
  struct raft_io_append *request;
  uint64_t index;
};

struct canonical_peer {
  uint64_t id;
  char address[ADDRESS_SIZE];
  struct peer_life {
    uint64_t life, number; /* of its last frame */
  } lives[16];             /* the last ones heard of, a ring */
  size_t life_count;
};

struct canonical {
  struct journal door;
  struct raft_journal_options options; /* defaults filled in; members: own copy, ascending */
  const struct world *world;
  const struct state_machine *machine;
  enum canonical_state state;
  struct raft raft;
  struct raft_io io;
  struct raft_fsm fsm;
  bool raft_open;
  char address[ADDRESS_SIZE];
  struct canonical_peer *peers; /* all members, this node too, in the order of options.members */
  struct disk_log *log;
  struct logged logged; /* what the log held, until libraft has loaded it */
  uint64_t next_index;  /* the index after the last entry that the log was asked to hold */
  /* the turn: what is done once, after the events of a loop turn */
  bool turn_deferred;
  /* time */
  struct timer *tick;
  raft_io_tick_cb ticked;
  raft_io_recv_cb received;
  int64_t tick_ns; /* between two ticks */
  /* frames */
  uint64_t life, frame_number;
  struct bytes frame;
  struct bytes held;           /* frames that wait for a term or a vote to be durable: peer, size, bytes */
  struct raft_io_send **sends; /* whose callbacks are due */
  size_t send_count, send_capacity;
  struct pending_append *appends, **appends_end;
  /* what was told to the state machine */
  enum journal_role role;
  uint64_t role_term, role_leader;
  uint64_t applied_index;
  uint64_t durable_at_start, durable_term_at_start;
  /* proposals, in the order of their indexes */
  struct proposal *proposals, **proposals_end;
  size_t in_flight;
  bool proposal_refused; /* since the last tick the disk refused one, and libraft goes on leading */
  /* confirmation */
  struct confirmations waiting, asked, answered;
  struct raft_barrier barrier;
  bool barrier_out;
  int answered_status;
  uint64_t answered_index;
  /* snapshots */
  struct raft_io_snapshot_put *put;
  raft_io_snapshot_put_cb put_done;
  struct logged_snapshot put_snapshot;
  const struct raft_buffer *put_data; /* of a snapshot to install; NULL: a local one */
  unsigned put_trailing;
  bool put_writing;
  bool forcing;
  size_t opens; /* calls of the state machine without their callback yet */
  /* closing */
  raft_io_close_cb io_closed;
  bool raft_closed, log_closed;
  void (*closed)(void *context);
  void *closed_context;
};

/* -- journal.c -- */
void canonical_wake(struct canonical *canonical);
void canonical_fail(struct canonical *canonical, const struct error *error);
/* After every call into libraft: passes on what has become of it. */
void canonical_after(struct canonical *canonical);
static inline bool canonical_runs(const struct canonical *canonical) {
  return canonical->state == CANONICAL_RUNNING;
}
/* The entry at an index of libraft's log, NULL when it is not there. */
const struct raft_entry *canonical_entry(const struct canonical *canonical, uint64_t index);
uint64_t canonical_last_index(const struct canonical *canonical);
struct canonical_peer *canonical_peer(struct canonical *canonical, uint64_t id);

/* -- io.c -- */
void canonical_fill_io(struct canonical *canonical);
void canonical_finish_sends(struct canonical *canonical);
/* Ends the writes that libraft still waits for, without a result; only once it is unavailable. */
void canonical_end_appends(struct canonical *canonical);
/* More of what was asked of the log is durable. */
void canonical_log_written(void *owner);

/* -- messages.c -- */
void canonical_encode_configuration(const struct raft_configuration *configuration, struct bytes *to);
int canonical_decode_configuration(const void *data, size_t size, struct raft_configuration *configuration);
int canonical_send(struct raft_io *io, struct raft_io_send *request, const struct raft_message *message,
                   raft_io_send_cb done);
void canonical_release_held(struct canonical *canonical);
void canonical_frame_received(void *owner, uint64_t peer, const void *frame, size_t size);

/* -- snapshots.c -- */
int canonical_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *request,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done);
int canonical_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                           raft_io_snapshot_get_cb done);
int canonical_fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *buffers[], unsigned *count);
int canonical_fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buffer);
/* The state machine's durable index may have moved. */
void canonical_snapshot_progress(struct canonical *canonical);
/* Ends a snapshot libraft still waits for; only once it is unavailable. */
void canonical_end_snapshots(struct canonical *canonical);

#endif
