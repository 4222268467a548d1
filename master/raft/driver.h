/* driver.h: what the rooms of the Raft journal share. Private to master/raft.
 *
 *   driver.c            the journal's functions, starting and closing, the turn, roles
 *   beginning.c         what a log begins with
 *   step.c              one event into raft_step() and what it asks for
 *   peers.c             frames out
 *   receive.c           frames in
 *   membership.c        who the peers are
 *   change.c            changes of membership and of leadership that were asked for
 *   apply.c             committed entries to the state machine
 *   confirm.c           read index
 *   compact.c           snapshots for cutting the log
 *   snapshot_send.c     a snapshot to a follower that needs entries we no longer have
 *   snapshot_receive.c  the other end
 *
 * raft (canonical's raft_step(), 0.22) is a core without I/O: it gets events with a time and answers with
 * what to persist, send and do. This driver owns the entries; raft knows their indexes and terms only. */
#ifndef ASSAY_MASTER_RAFT_DRIVER_H
#define ASSAY_MASTER_RAFT_DRIVER_H

#include <raft.h>

#include "master/raft/raft_journal.h"
#include "master/raft/wal.h"
#include "master/raft/wire.h"

/* Appended and not yet committed, bytes. */
#define IN_FLIGHT_LIMIT (32u << 20)
/* Entries optimistically on the way to one follower. */
#define FOLLOWER_ENTRIES 64
/* Payload of one AppendEntries frame; more is sent as several. */
#define APPEND_FRAME_SIZE (1u << 20)
/* Frames that wait for a term to become durable, bytes in all. */
#define HELD_LIMIT (1u << 20)
/* Rejections that tell of a lost disk before a snapshot is taken for it: the first may be a late frame. */
#define SHORTFALLS_FOR_SNAPSHOT 3

struct offer; /* a snapshot on its way to a peer, snapshot_send.c */

struct driver_peer {
  uint64_t id;
  char address[JOURNAL_ADDRESS_SIZE]; /* raft wants one */
  bool member, voter;                 /* in the latest configuration; others have sent us something */
  int64_t heard_ns;                   /* its last frame, 0: none yet */
  int64_t acknowledged_ns;            /* when it last said that it has all that we know it to have */
  /* Entries (fill_next … fill_end) that must be fetched before they can be sent; fill_end 0: none. */
  struct driver *driver;
  bool filling; /* the fetch is under way */
  uint64_t fill_term, fill_next, fill_end;
  uint64_t confirmed_round; /* the latest round it answered in our favour */
  unsigned read_queries;    /* of its, that wait for our confirmation */
  struct offer *offer;
  /* It was sent a snapshot, and needs the log from there on: the last entry it is known to have, and since
   * when. */
  bool catching_up;
  uint64_t caught_up_to;
  int64_t progress_ns;
  /* It has fewer entries than it acknowledged, and is sent them once more: peers.c. */
  unsigned shortfalls; /* rejections that said so, since it had them all */
  uint64_t resent_end; /* the last entry sent so, 0: none */
  int64_t resend_not_before_ns;
};

struct confirm_call {
  void (*done)(void *context, int status, uint64_t read_index);
  void *context;
  uint64_t round; /* 0: not begun */
  uint64_t read_index;
  int64_t begun_ns;
};

/* First in, first out. */
struct confirm_queue {
  struct confirm_call *calls;
  size_t first, count, capacity; /* capacity: a power of two */
};

/* A snapshot that is being received. */
struct reception {
  bool active;
  bool begun;      /* its place is made: `missing` says what is to come */
  bool installing; /* all is here; it is made ready, then the log is prepared */
  uint64_t sender;
  struct wire_manifest manifest; /* files owned; configuration points into `configuration` */
  struct bytes configuration;
  struct snapshot_range missing;
  uint64_t file, offset; /* of the piece that comes next; those from `missing` to here are being stored */
  size_t calls;          /* of the state machine, whose callbacks are to come */
  size_t void_calls;     /* the same, of receptions that are over: they come first */
  int64_t progress_ns;   /* when the last piece came or was stored */
  int64_t begun_ns;
  uint64_t received;     /* bytes */
  int64_t not_before_ns; /* after a failure: no new one earlier */
};

enum change_stage {
  CHANGE_NONE,
  CHANGE_WAITING,  /* for an entry of our own term to commit, or for the member to catch up */
  CHANGE_APPENDED, /* its entry is in the log */
  CHANGE_ENDED,    /* to be told in the next turn */
};

/* The change of membership that was asked for: one at a time. */
struct change {
  enum change_stage stage;
  enum journal_change_kind kind;
  uint64_t id;
  char address[JOURNAL_ADDRESS_SIZE];
  uint64_t round_index; /* the member catches up to there, then is looked at again */
  uint64_t match_index; /* of the member, when its removal was appended */
  uint64_t index;       /* of the entry */
  int64_t asked_ns;
  int64_t deadline_ns; /* while it waits */
  int status;
  struct error error;
  journal_changed *changed;
  void *context;
};

/* Leadership on its way to another node. */
struct transfer {
  bool active;
  bool told; /* to stand for election, when it had all of our log */
  uint64_t target, term;
  int64_t deadline_ns;
  journal_changed *changed;
  void *context;
};

enum driver_state { DRIVER_NEW, DRIVER_BOOTSTRAPPING, DRIVER_RUNNING, DRIVER_FAILED, DRIVER_CLOSING };

struct driver {
  struct journal door;
  struct raft_journal_options options; /* defaults filled in; members: own copy */
  const struct world *world;
  const struct state_machine *state_machine;
  enum driver_state state;
  struct raft raft;
  bool raft_open;
  struct wal *wal;
  /* All members but this node, all that once were, and others that frames came from. They stay until the end,
   * for fetches that are under way. */
  struct driver_peer **peers;
  size_t peer_count;
  bool answers_withheld;    /* what raft answers to a vote request, or to entries, is not sent */
  int64_t leader_heard_ns;  /* when a leader's entries or heartbeat last came */
  uint64_t membership_seen; /* what wal_configuration_changes() was */
  struct journal_recovery recovery;
  struct change change;
  struct transfer transfer;
  struct wire_scratch scratch;
  struct bytes head;                 /* of the frame being encoded */
  struct wal_entry **append_entries; /* of the AppendEntries being encoded: WIRE_ENTRIES of them */
  struct iovec *append_vectors;      /* 1 + WIRE_ENTRIES */
  struct bytes held;                 /* frames that wait for the term: peer, size, bytes */
  /* the turn: everything that is done once, after the events of a loop turn */
  bool turn_deferred;
  bool appending; /* the append flushes by itself */
  bool flush_wanted, tick_wanted, compact_wanted, cut_wanted, begin_wanted, apply_wanted;
  struct timer *tick;
  int64_t tick_at_ns; /* what the timer is set to, 0: not set */
  /* roles */
  enum journal_role role;
  uint64_t role_term, role_leader; /* as announced */
  uint64_t inherited_index;        /* last entry when leadership began */
  /* commits */
  uint64_t applied_index;
  bool applying, fetching;
  size_t in_flight; /* bytes */
  /* confirmation */
  struct confirm_queue calls;
  uint64_t round; /* the latest begun */
  struct timer *confirm_retry;
  /* snapshots */
  uint64_t snapshot_index; /* the last one raft was told of */
  uint64_t first_index;    /* the first entry raft has; the log's files may hold older ones yet */
  uint64_t checked_at;     /* applied index when compaction was last considered */
  bool forcing;
  size_t opens;  /* snapshot_open() and snapshot_read() calls without their callback yet */
  size_t offers; /* snapshots on the way to peers */
  uint64_t next_transfer;
  struct reception reception;
  uint64_t snapshots_begun, snapshots_taken, snapshots_sent, snapshots_installed;
  struct timer *reception_retry;
  /* the defect commit-old-term: entries of its own term leave then */
  int64_t own_entries_ns;
  /* the defect replay-twice: what the state held when it was restored, 0 once that was applied again */
  uint64_t restored_index;
  /* closing */
  bool wal_closed;
  void (*closed)(void *context);
  void *closed_context;
};

/* -- driver.c -- */
int64_t driver_now_ns(const struct driver *driver);
/* Asks for a turn of the driver after the events that are ready now. */
void driver_wake(struct driver *driver);
/* Wakes and writes the log in that turn. */
void driver_flush_soon(struct driver *driver);
/* The journal is at its end: tells the state machine. */
void driver_fail(struct driver *driver, const struct error *error);
/* After a step: tells the state machine of a change of role. */
void driver_update_role(struct driver *driver);
void driver_arm_tick(struct driver *driver);
/* Frees when nothing is under way any more. */
void driver_closing_progress(struct driver *driver);
static inline bool driver_leads(const struct driver *driver) {
  return driver->state == DRIVER_RUNNING && driver->role == JOURNAL_LEADER;
}

/* -- beginning.c -- */
/* Appends the membership of the options as raft encodes it: the same on every member. */
void driver_encode_members(const struct raft_journal_options *options, struct bytes *encoded);

/* -- step.c -- */
/* Entries that an event brings along, as raft sees them and as the log stores them; the step takes the
 * reference to their batch. */
struct step_entries {
  struct raft_entry *raft;
  const struct wal_entry *log;
  size_t count;
};
/* Feeds an event (type and its part filled in) and does what it asks for. Returns raft's code; codes that
 * mean the end of this journal have been dealt with. */
int driver_step(struct driver *driver, struct raft_event *event, const struct step_entries *entries);
/* Tells raft of a snapshot that the state machine has just installed and that the log was prepared for. */
void driver_step_installed(struct driver *driver, const struct wire_manifest *manifest, uint64_t sender);
/* Submits an entry of the present term, a copy of the data; `token` NULL but for commands. Returns raft's
 * code, and nothing was appended then. */
int driver_submit(struct driver *driver, unsigned short type, const void *data, size_t size, void *token);
/* Decodes a membership that is known to be sound. */
void driver_decode_configuration(const void *encoded, size_t size, struct raft_configuration *configuration);

/* -- peers.c -- */
void driver_send(struct driver *driver, uint64_t peer, const struct wire_message *message);
/* With payload vectors behind the head; `vectors[0]` is filled in. */
void driver_send_payload(struct driver *driver, uint64_t peer, const struct wire_message *message,
                         struct iovec *vectors, size_t vector_count);
void driver_send_messages(struct driver *driver, const struct raft_message *messages, unsigned count);
/* A frame of a term that is over: `previous` is the entry it builds on. */
void driver_answer_stale(struct driver *driver, uint64_t peer, uint64_t previous);
void driver_release_held(struct driver *driver);
/* raft names the entries, the log has them. What must be fetched is sent later, as if the network were slow;
 * what comes up for this peer meanwhile is lost, unless it follows. */
void driver_send_entries(struct driver *driver, struct driver_peer *peer,
                         const struct raft_append_entries *append);
/* Sends entries (next … end) that are in memory, in frames of a bounded size. Returns the first that is not.
 */
uint64_t driver_send_cached(struct driver *driver, uint64_t peer, uint64_t next, uint64_t end);

/* -- receive.c -- */
void driver_frame_received(void *owner, uint64_t peer, const void *frame, size_t size);

/* -- apply.c -- */
/* Up to where entries are committed: as raft says, unless a defect knows better. */
uint64_t driver_commit_index(const struct driver *driver);
void driver_apply(struct driver *driver);
/* The outcome of what this leader appended is unknown from now on. */
void driver_forget_tokens(struct driver *driver);

/* -- membership.c -- */
struct driver_peer *driver_peer(struct driver *driver, uint64_t id);
/* The same, made if there is none. */
struct driver_peer *driver_meet(struct driver *driver, uint64_t id);
/* After a step: the peers are those of the latest configuration. */
void driver_update_membership(struct driver *driver);
void driver_membership(const struct journal *journal, struct journal_membership *membership);
const char *driver_member_address(const struct journal *journal, uint64_t id);
/* The defect config-rollback: the configuration as it is before a step, if it is uncommitted, and after it,
 * if its entry was cut off. */
struct kept_configuration {
  uint64_t index; /* 0: none */
  struct raft_configuration configuration;
};
struct kept_configuration driver_keep_configuration(struct driver *driver);
void driver_restore_configuration(struct driver *driver, struct kept_configuration *kept);
/* This node's part in the latest configuration; NULL: none. */
const struct raft_server *driver_own_server(const struct driver *driver);
bool driver_is_voter(const struct raft_server *server); /* NULL: no */
/* Whether it is the only voter there. */
bool driver_is_sole_voter(const struct driver *driver);
/* Before this node elects itself: raises the term, which raft leaves as it is then. */
void driver_raise_term(struct driver *driver);

/* -- change.c -- */
int driver_change(struct journal *journal, const struct journal_change *change, journal_changed *changed,
                  void *context, struct error *error);
int driver_transfer(struct journal *journal, uint64_t id, journal_changed *changed, void *context,
                    struct error *error);
/* Each turn: does what has become possible, tells what has ended. */
void driver_progress_changes(struct driver *driver);
bool driver_has_changes(const struct driver *driver);
/* The entry at `index` is committed. */
void driver_change_committed(struct driver *driver, uint64_t index);
/* Leadership is lost. */
void driver_lose_change(struct driver *driver);
void driver_end_changes(struct driver *driver);

/* -- confirm.c -- */
void driver_confirm(struct driver *driver, void (*done)(void *context, int status, uint64_t read_index),
                    void *context);
void driver_begin_round(struct driver *driver);
void driver_fail_confirms(struct driver *driver);
void driver_answer_query(struct driver *driver, uint64_t peer, const struct wire_query *query);
void driver_take_reply(struct driver *driver, uint64_t peer, const struct wire_query *query);
void driver_retry_confirm(void *owner);
void driver_take_read_query(struct driver *driver, uint64_t peer, const struct wire_read *query);
void driver_take_read_reply(struct driver *driver, uint64_t peer, const struct wire_read *reply);

/* -- compact.c -- */
void driver_compact(struct driver *driver);

/* -- snapshot_send.c -- */
void driver_offer_snapshot(struct driver *driver, uint64_t peer);
void driver_send_pieces(struct driver *driver, uint64_t peer, const struct wire_pieces *pieces);
void driver_expire_offers(struct driver *driver);
void driver_drop_offers(struct driver *driver);
bool driver_takes_snapshot(const struct driver *driver);
bool driver_sends_snapshot(const struct driver *driver);
/* Whether a follower that is sent a snapshot, or was just now, needs what follows it in the log. */
bool driver_log_is_needed(const struct driver *driver);

/* -- snapshot_receive.c -- */
void driver_take_manifest(struct driver *driver, uint64_t sender, struct wire_manifest *manifest);
void driver_take_piece(struct driver *driver, uint64_t sender, const struct wire_piece *piece);
void driver_retry_reception(void *owner);
void driver_drop_reception(struct driver *driver);
/* Frees what was received of snapshots that are of no use any more. */
void driver_forget_reception(struct driver *driver);

#endif
