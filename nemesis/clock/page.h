/* page.h: the page of memory through which the clock of a running node is bent: written by the nemesis
 * (clock.c), read at every call by the library that is loaded into the node (shim.c).
 *
 * A clock that drifts is a straight line over true time, and every setting begins a new one:
 *
 *   how far off  │            ╱ now: rate 2, from `from_ns` on
 *                │           ╱
 *                │──────────┘ before
 *                └──────────┬──────────── true CLOCK_MONOTONIC
 *                        from_ns, a moment after it was published
 *
 * The page keeps the line before, too: the lines meet in a point that lies ahead when they are published, so
 * the monotonic clock of a node has bends and no steps, whoever reads it at what time. The wall clock may
 * step there.
 *
 * No lock: the writer fills the pair that nobody is sent to, then moves `sequence` on; a reader that was
 * overtaken reads again. A writer that dies in between holds nobody up. */
#ifndef ASSAY_NEMESIS_CLOCK_PAGE_H
#define ASSAY_NEMESIS_CLOCK_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

/* Names the page's file to the shim. */
#define CLOCK_PAGE_VARIABLE "ASSAY_CLOCK_PAGE"
/* Of this layout; a shim of another build refuses the page. */
#define CLOCK_PAGE_MAGIC UINT64_C(0x31656761706b6c63)

struct clock_line {
  int64_t from_ns;      /* true CLOCK_MONOTONIC from which it holds */
  int64_t wall_ns;      /* how far CLOCK_REALTIME is off at that moment */
  int64_t monotonic_ns; /* and CLOCK_MONOTONIC */
  double rate;          /* seconds of the node's clocks to a true second */
};

struct clock_lines {
  struct clock_line before, now;
};

struct clock_page {
  uint64_t magic;
  _Atomic uint64_t sequence; /* of settings; its lowest bit names the pair that counts. 0: never set */
  _Atomic int32_t reader;    /* pid of the program that mapped it last */
  struct clock_lines lines[2];
};

/* Whoever wants the line of a moment reads the true clock before this: a line that is too new still knows the
 * one before it. */
static inline struct clock_lines clock_page_read(const struct clock_page *page) {
  struct clock_lines lines;
  uint64_t sequence;
  do {
    sequence = atomic_load_explicit(&page->sequence, memory_order_acquire);
    lines = page->lines[sequence & 1];
    atomic_thread_fence(memory_order_acquire);
  } while (atomic_load_explicit(&page->sequence, memory_order_relaxed) != sequence);
  return lines;
}

/* The line that holds at a moment of true CLOCK_MONOTONIC. */
static inline const struct clock_line *clock_line_at(const struct clock_lines *lines, int64_t true_ns) {
  return true_ns < lines->now.from_ns ? &lines->before : &lines->now;
}

/* What drift alone has added since the line's beginning. A double is exact to the nanosecond for months. */
static inline int64_t clock_line_drift(const struct clock_line *line, int64_t true_ns) {
  return (int64_t)((line->rate - 1) * (double)(true_ns - line->from_ns));
}

#endif
