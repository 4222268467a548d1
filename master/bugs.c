#include "master/bugs.h"

#ifdef ASSAY_BUGS

#include <string.h>

#include "base/base.h"

#define HISTORY "history"
#define INVARIANT "invariant"
#define EITHER "history or invariant"

/* name, defect, origin, evidence; docs/bugs.md tells each at length. */
static const struct bug_description catalogue[] = {
    [BUG_LOCAL_READS] = {"local-reads", "the primary answers reads without confirming that it leads",
                         "Alluxio #14563, etcd before 3.0, Consul's default mode", HISTORY, NULL},
    [BUG_DIRTY_READS] = {"dirty-reads", "reads see changes whose entry is not committed",
                         "Alluxio #18558, #16046, #14806", HISTORY, NULL},
    [BUG_STEP_DOWN_LATE] = {"step-down-late", "a deposed primary goes on answering reads for a while",
                            "Alluxio #13730, #14779", HISTORY, NULL},
    [BUG_LEASE_CLOCK] = {"lease-clock", "a read lease is measured by the wall clock",
                         "CockroachDB, YugabyteDB", HISTORY, NULL},
    [BUG_FOLLOWER_LOCAL_READS] = {"follower-local-reads", "a standby answers reads from what it has",
                                  "ZooKeeper's reads, Consul's stale mode, HDFS's observers without msync",
                                  HISTORY, NULL},
    [BUG_READ_INDEX_EARLY] = {"read-index-early", "a leader gives a read index that nobody has confirmed",
                              "etcd #7331, TiKV #6340", HISTORY, NULL},
    [BUG_READ_UNAPPLIED] = {"read-unapplied", "a standby reads before it has applied up to the read index",
                            "braft's recipe for reads, before #315", HISTORY, NULL},
    [BUG_STALE_WORKER_REPORT] = {"stale-worker-report",
                                 "a deposed primary tells workers which blocks to remove", "HDFS-1972",
                                 INVARIANT, NULL},
    [BUG_LISTING_CACHE] = {"listing-cache", "cached listings survive a rename, and a change of primary",
                           "Alluxio #8447, #16681", HISTORY, NULL},
    [BUG_RESET_CACHE] = {"reset-cache", "uncommitted changes survive the change of primary in a cache",
                         "Alluxio, CachingInodeStore.clear()", EITHER, NULL},
    [BUG_RETRY_TWICE] = {"retry-twice", "op ids are not replicated, so a retry after failover applies again",
                         "Alluxio #14113", HISTORY, NULL},
    [BUG_DEDUPE_NOT_IN_SNAPSHOT] = {"dedupe-not-in-snapshot", "the table of op ids is no part of a snapshot",
                                    "Alluxio's retry cache", EITHER, NULL},
    [BUG_PARTIAL_BATCH] = {"partial-batch", "an operation of several entries is torn by a crash",
                           "Alluxio #16310", HISTORY, NULL},
    [BUG_RENAME_EARLY_FREE] = {"rename-early-free", "rename frees the source name before its entry is logged",
                               "Alluxio #8618", HISTORY, NULL},
    [BUG_NO_PARENT_LOCK] = {"no-parent-lock", "operations on one name are evaluated against the same state",
                            "Alluxio #9094", HISTORY, NULL},
    [BUG_DELETE_NOT_ATOMIC] = {"delete-not-atomic", "recursive delete is many entries",
                               "Alluxio, a flush every 100 inodes", HISTORY, NULL},
    [BUG_RENAME_CYCLE] = {"rename-cycle", "two renames make a directory its own ancestor", "JuiceFS #3476",
                          HISTORY, NULL},
    [BUG_ID_REUSE] = {"id-reuse", "the counter of inode ids is not recovered", "Alluxio #14209", HISTORY,
                      NULL},
    [BUG_EARLY_ACK] = {"early-ack", "the answer leaves before a quorum has the entry",
                       "Alluxio #16610, #12667", HISTORY, NULL},
    [BUG_ENTRY_REORDER] = {"entry-reorder", "changes are merged into an entry that was logged already",
                           "Alluxio #14306", EITHER, NULL},
    [BUG_SNAPSHOT_AHEAD] = {"snapshot-ahead", "a snapshot's index covers entries it does not hold",
                            "Alluxio #12100", EITHER, NULL},
    [BUG_SNAPSHOT_BACK] = {"snapshot-back", "an older snapshot is loaded over newer state", "Alluxio #12179",
                           EITHER, NULL},
    [BUG_REPLAY_TWICE] = {"replay-twice", "entries are applied again after a restore", "Alluxio #12214",
                          EITHER, NULL},
    [BUG_NO_FSYNC] = {"no-fsync", "term, vote and entries are synced after the answer, once a second",
                      "Redis, appendfsync everysec", EITHER, NULL},
    [BUG_UNPERSISTED_VOTE] = {"unpersisted-vote", "votes are given before they are durable",
                              "canonical raft #386", INVARIANT, NULL},
    [BUG_DISK_ERROR_CONTINUE] = {"disk-error-continue", "after a failed write the log goes on in memory",
                                 "canonical raft #320, PostgreSQL's fsync", EITHER, NULL},
    [BUG_COMMIT_OLD_TERM] = {"commit-old-term", "entries of an older term are committed by counting",
                             "Raft's figure 8, canonical raft #336", INVARIANT, NULL},
    [BUG_OLD_PRIMARY_WRITES] = {"old-primary-writes", "a deposed primary still appends",
                                "Alluxio #12785, #11415", EITHER, NULL},
    [BUG_CONFIG_ROLLBACK] = {"config-rollback", "membership is not rolled back with a truncated log",
                             "canonical raft #250, #354", EITHER, NULL},
    [BUG_INFO_AS_FAIL] = {"info-as-fail", "the client library reports an unknown outcome as a failure",
                          "Jepsen #596", HISTORY, NULL},
    {0},
};

static bool enabled[BUGS];

const struct bug_description *bug_list(void) {
  return catalogue;
}

bool bug_active(enum bug bug) {
  return enabled[bug];
}

bool bug_any_active(void) {
  for (size_t i = 0; i < BUGS; i++)
    if (enabled[i])
      return true;
  return false;
}

bool bug_enable(const char *name) {
  for (size_t i = 0; i < BUGS; i++) {
    if (strcmp(catalogue[i].name, name) == 0) {
      enabled[i] = true;
      return true;
    }
  }
  return false;
}

void bug_disable_all(void) {
  memset(enabled, 0, sizeof enabled);
}

#endif
