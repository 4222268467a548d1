/* wal_internal.h: what the rooms of the write-ahead log share: wal.c (entries and cache), wal_write.c
 * (segments and the write in flight), wal_recover.c (start-up). */
#ifndef ASSAY_MASTER_RAFT_WAL_INTERNAL_H
#define ASSAY_MASTER_RAFT_WAL_INTERNAL_H

#include "master/raft/wal.h"
#include "master/raft/wal_format.h"

struct wal_segment {
  uint64_t number;
  struct disk_file *file;
  uint64_t reserve;    /* bytes set aside */
  uint64_t base_index; /* last entry before it */
  uint64_t size;       /* bytes handed to the disk */
  uint32_t frames;     /* handed to the disk */
};

struct wal_configuration {
  uint64_t index;
  struct bytes encoded;
};

/* The write in flight. */
struct wal_write {
  bool active;
  bool with_term;
  bool resets;
  bool refused; /* the disk was full: waits to be tried again */
  struct wal_segment *segment;
  uint64_t offset;
  uint64_t high;         /* last entry in it that was not truncated since, 0: none */
  struct bytes headers;  /* frame and record headers with the padding before them */
  struct bytes opening;  /* payload of the opening record */
  struct iovec *vectors; /* point into headers, opening and batches */
  size_t vector_count, vector_capacity;
  struct batch **batches; /* kept until it is done */
  size_t batch_count, batch_capacity;
};

struct wal_reset_request {
  bool wanted;
  struct wal_segment *segment; /* while `ready` decides */
  uint64_t index, term, configuration_index;
  struct bytes configuration;
  void (*ready)(void *owner);
  void *owner;
};

struct wal {
  struct wal_options options;
  uint64_t term, vote;
  bool term_unwritten;
  uint64_t base_index, base_term;
  uint64_t last_index, written_index, persisted_index;
  struct wal_entry *ring; /* of index & (ring_size - 1) */
  uint64_t ring_size;
  struct wal_configuration *configurations; /* ascending; the first may be older than the base */
  size_t configuration_count;
  uint64_t configuration_changes; /* counts them */
  uint64_t unwritten_size;        /* bytes of payload not yet handed to the disk */
  size_t cached_size;
  uint64_t cached_from;          /* nothing below is cached */
  struct wal_segment **segments; /* the last one is written to */
  size_t segment_count;
  struct wal_segment *spare; /* created ahead */
  bool creating;
  bool rotate; /* the next write opens a segment: entries below this one's base were truncated */
  uint64_t next_number;
  struct wal_write write;
  struct wal_reset_request reset;
  struct timer *retry;
  bool full;            /* the disk had no room when last asked */
  int64_t tell_full_ns; /* from when on that is news again */
  bool failed;
  struct wal_defects {
    bool promised, sync_armed; /* no-fsync: what is appended was called durable; the timer is set */
    int64_t synced_ns;         /* … when something was last written */
    int64_t term_saved_ns;     /* unpersisted-vote: when a term last was */
    bool adrift;               /* disk-error-continue: nothing is written any more */
  } defects;                   /* docs/bugs.md; unused where there are none */
  /* closing */
  bool closing;
  size_t busy; /* requests to the disk without an answer yet */
  void (*closed)(void *owner);
  void *closed_owner;
};

/* Makes room for the entry after the last one and returns it, zeroed; the last index moves. */
struct wal_entry *wal_push(struct wal *wal);
/* Drops entries from `index` on. */
void wal_truncate(struct wal *wal, uint64_t index);
/* Drops entries up to `index`, which becomes the base. */
void wal_drop_prefix(struct wal *wal, uint64_t index);
void wal_note_configuration(struct wal *wal, uint64_t index, const void *encoded, size_t size);
/* Evicts the oldest durable payloads beyond the cache's bound. */
void wal_trim_cache(struct wal *wal);
/* Gives an entry its payload in memory. */
void wal_cache_entry(struct wal *wal, struct wal_entry *entry, struct batch *batch,
                     const unsigned char *data);

void wal_start_spare(struct wal *wal);
void wal_fail(struct wal *wal, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* One answer of the disk came: true when the log is closing and the caller must not touch it any more. */
bool wal_answered(struct wal *wal);
/* Closes and frees; the file stays. */
void wal_segment_free(struct wal *wal, struct wal_segment *segment);
/* Tries again what a full disk refused. */
void wal_retry(void *owner);
int wal_recover(struct wal *wal, struct error *error);

#endif
