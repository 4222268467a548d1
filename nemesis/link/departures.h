/* departures.h: frames that wait for the time at which they leave: a bounded pool of frames and a heap of
 * their times.
 *
 *   heap, earliest first      [ 12.3 ms | 12.9 ms | 14.0 ms | … ]
 *                                  |         └──────┐
 *   pool, of `capacity` frames [ bytes | free | bytes | free … ]
 *
 * Frames of the same time leave in the order in which they came. Clock-free; memory that was never used by a
 * frame is never touched. */
#ifndef ASSAY_NEMESIS_LINK_DEPARTURES_H
#define ASSAY_NEMESIS_LINK_DEPARTURES_H

#include <stddef.h>
#include <stdint.h>

/* Ethernet's header and the MTU of every interface here, with room to spare. */
#define FRAME_BYTES_MAX 2048

struct departures;

struct departure {
  int64_t at_ns;
  uint32_t tag; /* the caller's */
  uint32_t size;
  unsigned char *frame;
};

/* NULL when there is no memory. */
struct departures *departures_new(size_t capacity);
void departures_free(struct departures *departures);

/* Copies the frame; NULL when the pool is full. The copy may be changed until it is taken. */
unsigned char *departures_add(struct departures *departures, int64_t at_ns, uint32_t tag, const void *frame,
                              size_t size);

/* When the first one leaves; INT64_MAX: nobody waits. */
int64_t departures_next_ns(const struct departures *departures);

size_t departures_count(const struct departures *departures);

/* Takes out the first one, if it leaves at `now_ns` or before, else NULL. Valid until the next add or take.
 */
const struct departure *departures_take(struct departures *departures, int64_t now_ns);

#endif
