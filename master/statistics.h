/* statistics.h: what the parts of a master count as they work, for metrics (master/http).
 *
 * Plain numbers that only the loop's thread changes and reads; they grow from the start of the process. */
#ifndef ASSAY_MASTER_STATISTICS_H
#define ASSAY_MASTER_STATISTICS_H

#include <stdint.h>

/* How long things took, by powers of two: counts[i] of them at most 2^i µs, and more than the half of it; the
 * last one all that took longer. */
#define DURATION_BUCKETS 25 /* 1 µs … 8.4 s, and longer */
struct durations {
  uint64_t counts[DURATION_BUCKETS];
  uint64_t sum_ns;
};

static inline void durations_add(struct durations *durations, int64_t duration_ns) {
  const uint64_t ns = duration_ns > 0 ? (uint64_t)duration_ns : 0;
  const uint64_t us = (ns + 999) / 1000;
  const int power = us <= 1 ? 0 : 64 - __builtin_clzll(us - 1);
  durations->counts[power < DURATION_BUCKETS ? power : DURATION_BUCKETS - 1]++;
  durations->sum_ns += ns;
}

/* Numbers of enum operation_code and of enum answer_status, with room for those to come. */
#define STATISTICS_OPERATIONS 32
#define STATISTICS_STATUSES 16

struct primary_statistics {
  uint64_t answers[STATISTICS_OPERATIONS][STATISTICS_STATUSES];
  uint64_t standby_reads; /* answered from the tables while another node, or none, was the primary */
  struct durations reads, mutations; /* from submit to answer, of those that had one from the tables */
  uint64_t batches, batch_bytes;     /* that the journal took */
  uint64_t no_space;                 /* batches it would not take for want of room on the disk */
  uint64_t terms;      /* that began, as far as this node knows: elections that somebody won or lost */
  uint64_t promotions; /* of this node, to primary */
};

struct tables_statistics {
  uint64_t hits, misses; /* rows and listings asked for: found in memory, or fetched from the store */
  uint64_t evictions;    /* of rows */
  uint64_t writes, written_rows;
  uint64_t durable_index;                           /* up to where the store is complete */
  uint64_t memory_bytes, dirty_bytes, frozen_bytes; /* now: of all rows; to be written; being written */
};

struct disk_statistics {
  uint64_t writes, bytes;  /* of the log, durable */
  struct durations syncs;  /* of those writes */
  uint64_t full, failures; /* requests that found no room; that failed otherwise */
};

struct server_statistics {
  uint64_t sessions;                       /* now */
  uint64_t accepted, turned_away, dropped; /* clients: in all; at the door; for what they did or did not */
};

#endif
