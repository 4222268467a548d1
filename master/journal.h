/* journal.h: the door that both journals pass: Raft (master/raft) and ZooKeeper + UFS (later).
 *
 * A journal is a replicated, ordered log of opaque batches with one writer at a time. The primary (primary.h)
 * appends batches of effects and applies what comes back committed; the journal decides who may append.
 * Everything here runs on one thread; callbacks come from the event loop, never from inside the call that
 * asked for them.
 *
 *   primary ── append(batch) ──▶ journal ── replicate, fsync ──▶ quorum
 *      ▲                            │
 *      └──── committed(batch) ◀─────┘          role(…) when leadership comes or goes
 */
#ifndef ASSAY_MASTER_JOURNAL_H
#define ASSAY_MASTER_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

enum journal_role {
  JOURNAL_FOLLOWER,
  JOURNAL_LEADER, /* may append; entries of former terms may still be uncommitted */
};

/* What is being done with snapshots just now, and how often since the start. */
struct journal_snapshots {
  bool taking;     /* the state is being made one, to be sent or to cut the log */
  bool sending;    /* to one peer or several, from the offer to the last piece */
  bool installing; /* from the first piece of another node's to the state that it makes */
  uint64_t begun;  /* of all three; those below came to their end */
  uint64_t taken, sent, installed;
};

struct journal_status {
  enum journal_role role;
  uint64_t term;
  uint64_t leader;     /* node id, 0 when unknown */
  uint64_t last_index; /* last entry in this node's log */
  uint64_t commit_index;
  uint64_t first_index;    /* oldest entry that a follower can still be sent; older ones take a snapshot */
  uint64_t snapshot_index; /* of the last snapshot taken or installed, 0: none */
  bool disk_full; /* the log found no room when it last wanted some: nothing is appended until there is */
  struct journal_snapshots snapshots;
};

/* -- membership: who takes part in the journal; it stands in an entry, as everything does -- */

#define JOURNAL_MEMBERS_MAX 64
#define JOURNAL_ADDRESS_SIZE 96

enum journal_member_role {
  MEMBER_VOTER,
  MEMBER_STANDBY, /* is sent all entries, and neither votes nor counts */
  MEMBER_SPARE,   /* is only named */
};

struct journal_member {
  uint64_t id;
  char address[JOURNAL_ADDRESS_SIZE]; /* as it was given, "HOST:PEER_PORT:CLIENT_PORT"; no matter to the
                                         journal, but no two members have the same */
  enum journal_member_role role;
  /* what the leader knows of another member; elsewhere 0 and -1 */
  uint64_t match_index; /* the last entry that it is known to have */
  int64_t heard_ns;     /* time since its last frame; -1: none yet */
};

struct journal_membership {
  uint64_t index, term; /* of the entry it stands in; 0: this node knows of none yet */
  bool committed;
  size_t count;
  struct journal_member members[JOURNAL_MEMBERS_MAX];
};

/* Changes go one server at a time (Raft dissertation, §4.1), so that majorities before and after share one.
 */
enum journal_change_kind {
  CHANGE_ADD,     /* a new member, as standby */
  CHANGE_PROMOTE, /* to voter, once it has all but the last few entries */
  CHANGE_DEMOTE,  /* a voter to standby */
  CHANGE_REMOVE,
};

struct journal_change {
  enum journal_change_kind kind;
  uint64_t id;
  const char *address; /* ADD; copied */
};

/* How a change or a transfer ended. 0: it is committed, or the other node leads. ERR_NOT_PRIMARY,
 * ERR_TIMEOUT: nothing was changed. ERR_UNAVAILABLE: leadership was lost meanwhile, and nobody knows. The
 * message is for people. */
typedef void journal_changed(void *context, int status, const struct error *error);

/* A snapshot is a set of named, immutable byte streams, so that it is never whole in memory. */
struct snapshot_file {
  char name[64];     /* no slash */
  uint64_t size;     /* bytes */
  uint64_t checksum; /* checksum_fold over SNAPSHOT_CHUNK pieces, from 0 */
};
#define SNAPSHOT_CHUNK (256u << 10)

struct snapshot; /* opaque, of the state machine */

/* Bytes of a snapshot that are not here yet: from (file, offset) to the end of the file before `end_file`.
 * `file` is the number of files when nothing is missing. Files of no bytes are never missing. */
struct snapshot_range {
  uint64_t file, offset, end_file;
};

typedef void snapshot_read_done(void *owner, int status, const struct error *error);
/* `missing`: what is to come next; undefined unless `status` is 0. */
typedef void snapshot_receive_done(void *owner, int status, const struct snapshot_range *missing,
                                   const struct error *error);

/* What a journal asks of the state above it; implemented by the tables, called on the loop's thread. */
struct state_machine {
  void *context;

  /* Highest index whose effects are in stable storage: the log may be cut up to there, and after a restart
   * committed() starts at applied_index + 1. `term` is that entry's. */
  void (*durable)(void *context, uint64_t *index, uint64_t *term);

  /* One committed batch, in index order without gaps (indexes of the journal's own entries come with size 0,
   * so that the applied index follows). `token` is what append was given when this process appended it in
   * this term, else NULL. `data` is valid during the call only. */
  void (*committed)(void *context, uint64_t index, uint64_t term, const void *data, size_t size, void *token);

  /* So much of what was committed is not durable yet that nothing more is taken: the journal keeps it, and
   * asks again at durable_moved(). NULL: never. */
  bool (*is_full)(void *context);

  /* Leadership came or went. Every append that has not been reported committed when FOLLOWER is announced has
   * an unknown outcome; its token is not reported again. */
  void (*role)(void *context, enum journal_role role, uint64_t term, uint64_t leader);

  /* Takes a snapshot of the applied state for sending; calls `done` (later, from the loop) with a handle or
   * NULL and an error. The snapshot's index is what was applied when it was taken. Any number may be open. */
  void (*snapshot_open)(void *context,
                        void (*done)(void *done_context, struct snapshot *snapshot,
                                     const struct error *error),
                        void *done_context);
  /* The manifest of an open snapshot: index, term and files; owned by the snapshot. */
  void (*snapshot_describe)(struct snapshot *snapshot, uint64_t *index, uint64_t *term,
                            const struct snapshot_file **files, size_t *file_count);
  /* Reads [offset, offset + size) of a file into `buffer`, which must stay until `done`; size <=
   * SNAPSHOT_CHUNK. Off the loop. */
  void (*snapshot_read)(struct snapshot *snapshot, size_t file, uint64_t offset, void *buffer, size_t size,
                        snapshot_read_done *done, void *owner);
  /* Not while a read is under way. */
  void (*snapshot_close)(struct snapshot *snapshot);
  /* Sees to it that what is applied now becomes durable soon; the journal hears of it by durable_moved(). */
  void (*make_durable)(void *context);

  /* The receiving side, off the loop; the callbacks come in the order of the calls, one for each.
   *   begin    makes a place beside the live state, in which what an earlier reception left (also one of a
   *            process before this) or the live state itself holds is kept, file by file, where size and
   * checksum are the same; the rest of what was there is dropped. write    the next piece, `data` is copied.
   * It begins where `missing` said, or where the last piece ended. A file that is whole is verified, and
   * durable before the callback; one whose checksum is wrong is dropped (ERR_CORRUPT) and missing again from
   * its beginning. prepare  when nothing is missing: everything that takes time before it can be installed.
   */
  void (*receive_begin)(void *context, uint64_t index, uint64_t term, const struct snapshot_file *files,
                        size_t file_count, snapshot_receive_done *done, void *owner);
  void (*receive_write)(void *context, uint64_t file, uint64_t offset, const void *data, size_t size,
                        snapshot_receive_done *done, void *owner);
  void (*receive_prepare)(void *context, snapshot_receive_done *done, void *owner);
  /* Publishes what was prepared in one step and makes it the live state; then, and only then, returns 0.
   * Blocks for a moment. */
  int (*receive_install)(void *context, struct error *error);
  /* Drops, in the background, what was received of a snapshot up to `index` or an earlier one; nothing of it
   * is being received or installed. */
  void (*receive_forget)(void *context, uint64_t index);

  /* The journal cannot go on (failed fsync, corrupt log): the process must stop acknowledging and end with
   * `error`. */
  void (*fatal)(void *context, const struct error *error);
};

/* The most bytes one append takes. */
#define JOURNAL_APPEND_LIMIT (4u << 20)

/* The journal as the primary sees it: a table of functions over an opaque object. */
struct journal {
  const struct journal_functions *functions;
};

struct journal_functions {
  /* Starts: recovers the log and begins to replay and vote. Reports an unusable log as an error. */
  int (*start)(struct journal *journal, struct error *error);

  /* Appends one batch (copied), 1 to JOURNAL_APPEND_LIMIT bytes. ERR_NOT_PRIMARY when this node does not
   * lead, ERR_OVERLOADED when too much is in flight, ERR_NO_SPACE when the disk has no room; nothing was
   * appended then. `token` must not be NULL.
   */
  int (*append)(struct journal *journal, const void *data, size_t size, void *token);

  /* Confirms, with a majority and after this call, that no other leader can have committed anything this node
   * does not know of (Raft dissertation, §6.4): `done` gets status 0 and a commit index that covers all
   * that was committed anywhere before the call, or ERR_NOT_PRIMARY. A leader that came to power with entries
   * of former terms uncommitted confirms only once an entry of its own term has committed them; the journal
   * sees to that. A node that follows has its leader do it, and gets ERR_NOT_PRIMARY when it knows none, when
   * the leader changes meanwhile, or does not answer in time; the index may be ahead of what it has applied.
   * Calls that wait at the same time share one round, or one message to the leader. */
  void (*confirm)(struct journal *journal, void (*done)(void *context, int status, uint64_t read_index),
                  void *context);

  /* Bytes appended and not yet committed: the primary paces itself by it. */
  size_t (*in_flight)(const struct journal *journal);

  struct journal_status (*status)(const struct journal *journal);

  /* The state machine's durable index moved: the log may be compacted. */
  void (*durable_moved)(struct journal *journal);

  /* The latest membership in this node's log, committed or not. NULL: this journal's never changes. */
  void (*membership)(const struct journal *journal, struct journal_membership *membership);
  /* The address of a member of it, "" for any other id; valid until the next event. NULL as above. */
  const char *(*member_address)(const struct journal *journal, uint64_t id);

  /* Asks for a change. ERR_NOT_PRIMARY: this node does not lead; ERR_BAD_INPUT: it makes no sense;
   * ERR_OVERLOADED: another one is under way: `changed` is not called then. Else it is, once, from the loop.
   * NULL as above. */
  int (*change)(struct journal *journal, const struct journal_change *change, journal_changed *changed,
                void *context, struct error *error);
  /* Hands leadership over to a voter, 0: the one that is furthest; nothing is appended meanwhile. As
   * change(), and when it is done the other node leads. NULL as above. */
  int (*transfer)(struct journal *journal, uint64_t id, journal_changed *changed, void *context,
                  struct error *error);
  /* A person wants the log cut at the durable index, however short it is. Soon, not now. NULL: a
   * journal that is not asked. */
  void (*cut)(struct journal *journal);

  /* Stops and frees; `done` is called when nothing of the journal is left. */
  void (*close)(struct journal *journal, void (*done)(void *context), void *context);
};

#endif
