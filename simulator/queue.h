/* queue.h: what will happen, in the order of time and then of scheduling; and the memory events live in.
 *
 * An event is a member of whatever it is about (a timer, a frame, a disk): nothing is allocated to schedule
 * it. It knows its place in the heap, so that moving or cancelling it leaves nothing dead behind.
 *
 *     heap, four children each:   [0]  at 5 ns, 3rd ──▶ struct event (position 0)
 *                                 [1…4] …
 */
#ifndef ASSAY_SIMULATOR_QUEUE_H
#define ASSAY_SIMULATOR_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node;
struct event;

enum event_kind {
  EVENT_OUTSIDE, /* sim_at() */
  EVENT_RESUME,  /* the end of a pause */
  EVENT_TIMER,
  EVENT_TURN, /* deferred calls */
  EVENT_FRAME,
  EVENT_MESSAGE, /* of a client */
  EVENT_DISK,
  EVENT_STORE
};

/* Events that wait for something else than a time, in order. */
struct event_list {
  struct event *first, *last;
};

struct event {
  /* `happens` is false when the world, or the life of the node it belongs to, ends before: it only frees what
   * it owns then. The event is in no queue while it runs. */
  void (*run)(struct event *event, bool happens);
  struct node *node;       /* whose pause puts it off, whose death undoes it; NULL: nobody's */
  uint64_t life;           /* of the node; 0: any */
  struct event_list *list; /* it waits in, or NULL */
  struct event *previous, *next;
  size_t position; /* in the heap, from 1; 0: not there */
  enum event_kind kind;
};

struct queued {
  int64_t at_ns;
  uint64_t sequence;
  struct event *event;
};

struct queue {
  struct queued *heap; /* from 0 */
  size_t count, capacity;
  uint64_t sequence;
};

/* Schedules an event that is in no list, or moves one that is scheduled; it comes after others of that time.
 */
void queue_set(struct queue *queue, struct event *event, int64_t at_ns);
void queue_remove(struct queue *queue, struct event *event);
void queue_free(struct queue *queue);

void list_append(struct event_list *list, struct event *event);
void list_remove(struct event *event);
/* Moves all to the end of another list. */
void list_move(struct event_list *from, struct event_list *to);

/* -- memory by size class: what comes and goes with every event -- */
#define POOL_CLASSES 8 /* 64 bytes … 8 KiB; larger blocks come from malloc */

struct pool {
  struct pool_block *free[POOL_CLASSES];
};

/* Not cleared. */
void *pool_take(struct pool *pool, size_t size);
/* `size` is what it was taken with. */
void pool_give(struct pool *pool, void *block, size_t size);
void pool_free(struct pool *pool);

#endif
