/* sectors.h: which sectors of one file differ from what the disk would hold after a power loss.
 *
 *   sector   0    1    2    3    4    5    6    7
 *            ─    ■    ■    ─    ─    ▣    ✕    ─        ─ clean: durable as it is
 *                 └─ extent ─┘                           ■ DIRTY: written, not synced
 *                    kept: what was durable              ▣ DOOMED: its sync failed: lost unless written again
 *                                                        ✕ CUT: behind a cut of the file, not synced
 *
 * Whatever is not clean keeps its durable content here, once, however often it is written. Sectors of an
 * extent became dirty one after the other: the i-th has the order `order + i`. No I/O here. */
#ifndef ASSAY_NEMESIS_DISK_SECTORS_H
#define ASSAY_NEMESIS_DISK_SECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECTOR_SIZE 512u

enum sector_state { SECTOR_DIRTY, SECTOR_DOOMED, SECTOR_CUT };

struct extent {
  uint64_t first, count; /* sectors */
  uint64_t order;        /* of the first; means nothing unless DIRTY */
  enum sector_state state;
  unsigned char *kept; /* count * SECTOR_SIZE bytes that are durable; NULL: zeros, or nothing */
  bool *survives;      /* while power is being lost: of each sector */
};

/* All zero is a valid empty one. Sorted, without overlaps. */
struct sectors {
  struct extent *extents;
  size_t count, capacity;
  uint64_t kept_bytes;
};

/* The first run of clean sectors in [from, to): false when there is none. */
bool sectors_next_clean(const struct sectors *sectors, uint64_t from, uint64_t to, uint64_t *first,
                        uint64_t *count);
/* Clean sectors become what `extent` says; takes `extent.kept` over. */
void sectors_add(struct sectors *sectors, struct extent extent);
/* The sectors of [from, to) that are DOOMED or CUT become DIRTY; the order of `from` would be `order`. */
void sectors_revive(struct sectors *sectors, uint64_t from, uint64_t to, uint64_t order);
/* All that is not clean from sector `from` on becomes CUT. */
void sectors_cut(struct sectors *sectors, uint64_t from);
/* All that is not clean from sector `from` on becomes clean. */
void sectors_forget(struct sectors *sectors, uint64_t from);
/* Every sector that is `state` becomes `other`. */
void sectors_turn(struct sectors *sectors, enum sector_state state, enum sector_state other);
/* Every sector that is `state` becomes clean; tells how many. */
uint64_t sectors_clean(struct sectors *sectors, enum sector_state state);
uint64_t sectors_count(const struct sectors *sectors, enum sector_state state);
/* No byte from `offset` on is kept: durably, the file has ended there. */
void sectors_blank(struct sectors *sectors, uint64_t offset);
void sectors_free(struct sectors *sectors);

#endif
