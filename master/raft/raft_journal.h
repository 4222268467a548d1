/* raft_journal.h: the door of master/raft: the Raft journal (Ongaro 2014; canonical raft's raft_step()
 * inside). */
#ifndef ASSAY_MASTER_RAFT_JOURNAL_H
#define ASSAY_MASTER_RAFT_JOURNAL_H

#include "master/journal.h"
#include "master/world.h"

/* What a node has whose log is to go on with other members. */
struct journal_recovery {
  uint64_t last_index, last_term; /* of its log: what others had committed behind that is lost */
  uint64_t applied_index; /* known to be committed; what stands between may not have been, and will be */
  uint64_t members[JOURNAL_MEMBERS_MAX];
  size_t member_count; /* the latest in the log */
};

enum recovery_mode { RECOVERY_NONE, RECOVERY_LOOK, RECOVERY_WRITE };

struct raft_journal_options {
  uint64_t id;             /* this node's, 1 or more */
  const uint64_t *members; /* ids of the first configuration's voters, this node's among them */
  /* Their addresses in the same order, for struct world's meet(); NULL: the ids, in decimal. The same on
   * every member: they stand in the first entry, which each writes by itself. */
  const char *const *addresses;
  size_t member_count; /* 0: this node waits until a leader sends it a configuration */
  /* Not NONE: nothing is served. The members above are made those of this node's log, whatever it says, by an
   * entry of a new term (WRITE); or nothing is written (LOOK). Then `recovered` is called, once, from the
   * loop. For a cluster whose voters are lost for good: all that is left of them must be in this log. */
  enum recovery_mode recovery;
  void (*recovered)(void *context, const struct journal_recovery *recovery);
  void *recovered_context;
  uint64_t cluster;             /* identity of the cluster: frames and logs of another are refused */
  unsigned election_timeout_ms; /* 0: the default; randomised between 1x and 2x */
  unsigned heartbeat_ms;        /* 0: the default */
  uint64_t
      snapshot_threshold; /* log entries kept before a snapshot is taken and the log cut; 0: the default */
  uint64_t
      snapshot_trailing; /* entries kept behind a snapshot for followers that lag a little; 0: the default */
  uint64_t segment_size; /* bytes of one log file; 0: the default */
  size_t cache_size;     /* bytes of entries kept in memory; 0: the default */
  size_t piece_size;     /* bytes of a snapshot in one frame, SNAPSHOT_CHUNK at most; 0: that */
};

/* Makes the journal; nothing happens before its start(). `world` and `state` must outlive it. */
struct journal *raft_journal_new(const struct raft_journal_options *options, const struct world *world,
                                 const struct state_machine *state);

/* The log of a node that is to begin with a state it has been given (applied up to `index`, of `term`), for
 * its first file: RAFT_JOURNAL_FIRST_FILE in the world's directory. The members are those of the options, at
 * that index; every node that is given the state must be given the same ones. */
#define RAFT_JOURNAL_FIRST_FILE "log-0000000000000001"
void raft_journal_encode_beginning(const struct raft_journal_options *options, uint64_t index, uint64_t term,
                                   struct bytes *segment);

/* A frame of this journal's in words, for traces: "append term 3, 13/3 after 12/3, commit 12". */
void raft_frame_print(const void *frame, size_t frame_size, char *out, size_t size);

#endif
