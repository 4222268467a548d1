/* bugs.h: named defects, for proving that the harness finds them.
 *
 * Only a build with -DASSAY_BUGS=ON (preset `bugs`, never installed) contains them; in every other build
 * bug_active() is the constant false and the names are not in the binary (a test searches for them). The
 * names are those of docs/bugs.md, where each is told with the real system it comes from. */
#ifndef ASSAY_MASTER_BUGS_H
#define ASSAY_MASTER_BUGS_H

#include <stdbool.h>
#include <stddef.h>

enum bug {
  /* reads */
  BUG_LOCAL_READS,          /* the primary answers reads without confirming its leadership */
  BUG_DIRTY_READS,          /* … and what it has changed and not committed, too */
  BUG_STEP_DOWN_LATE,       /* … and for a while after it was deposed */
  BUG_LEASE_CLOCK,          /* a confirmation of leadership serves reads for a time told by the wall clock */
  BUG_FOLLOWER_LOCAL_READS, /* a standby answers reads without asking its leader */
  BUG_READ_INDEX_EARLY, /* a leader tells a standby a read index without a majority, or before it knows one */
  BUG_READ_UNAPPLIED,   /* a standby does not wait until it has applied up to the read index */
  BUG_STALE_WORKER_REPORT, /* a worker's report is answered without confirming leadership */
  BUG_LISTING_CACHE,       /* listings are cached, and a rename does not invalidate them */
  BUG_RESET_CACHE,         /* uncommitted changes survive the loss of leadership in the cache */
  /* operations */
  BUG_RETRY_TWICE,            /* first answers are remembered by the primary alone */
  BUG_DEDUPE_NOT_IN_SNAPSHOT, /* … and are no part of a snapshot */
  BUG_PARTIAL_BATCH,          /* an operation is more than one journal entry */
  BUG_RENAME_EARLY_FREE,      /* rename frees the source name before its entry is logged */
  BUG_NO_PARENT_LOCK,         /* operations on one name are evaluated against the same state */
  BUG_DELETE_NOT_ATOMIC,      /* recursive delete is many entries */
  BUG_RENAME_CYCLE,           /* rename looks for its destination in a state without other renames */
  BUG_ID_REUSE,               /* the counter of inode ids is not recovered */
  /* journal and snapshots */
  BUG_EARLY_ACK,      /* the primary answers before a quorum has the entry */
  BUG_ENTRY_REORDER,  /* changes are merged into an entry that has been logged already */
  BUG_SNAPSHOT_AHEAD, /* a snapshot names an index that it does not hold whole */
  BUG_SNAPSHOT_BACK,  /* an older snapshot is loaded over newer state */
  BUG_REPLAY_TWICE,   /* entries that the restored state holds are applied once more */
  /* consensus */
  BUG_NO_FSYNC,            /* term, vote and entries count as durable before they are synced */
  BUG_UNPERSISTED_VOTE,    /* votes are given before they are durable */
  BUG_DISK_ERROR_CONTINUE, /* the log goes on in memory after a failed write */
  BUG_COMMIT_OLD_TERM,     /* entries of an older term are committed by counting */
  BUG_OLD_PRIMARY_WRITES,  /* a deposed primary still appends */
  BUG_CONFIG_ROLLBACK,     /* members that were cut off the log are gone by all the same */
  /* the client library */
  BUG_INFO_AS_FAIL, /* an unknown outcome is reported as a failure */
  BUGS
};

#ifdef ASSAY_BUGS

/* A row of the catalogue. */
struct bug_description {
  const char *name;
  const char *summary;   /* one line: the defect */
  const char *origin;    /* where it happened */
  const char *evidence;  /* what shows it: "history", "invariant" or both */
  const char *waits_for; /* NULL, or the feature without which it cannot be had: enabling it is refused */
};

/* All rows, those that wait for a feature last; ends with a row whose name is NULL. */
const struct bug_description *bug_list(void);

bool bug_active(enum bug bug);
/* True while any is. With a defect inside, replicas may hold anything; the checks by which a master would
 * find that out itself, and stop, are left to the harness then. */
bool bug_any_active(void);
/* Switches the bug of that name on; false when there is none of that name, or it waits for a feature. */
bool bug_enable(const char *name);
void bug_disable_all(void);

#else

/* Constants, so that even an unoptimised build drops what they guard. */
#define bug_active(bug) false
#define bug_any_active() false

#endif

#endif
