/* queue.c: a heap with four children a node, lists, and free lists by size class. */
#include "simulator/queue.h"

#include <assert.h>
#include <stdlib.h>

#include "base/base.h"

#define CHILDREN 4

static bool earlier(const struct queued *left, const struct queued *right) {
  return left->at_ns != right->at_ns ? left->at_ns < right->at_ns : left->sequence < right->sequence;
}

static void put(struct queue *queue, size_t at, const struct queued *item) {
  queue->heap[at] = *item;
  item->event->position = at + 1;
}

static void rise(struct queue *queue, size_t at, const struct queued *item) {
  while (at > 0) {
    const size_t parent = (at - 1) / CHILDREN;
    if (!earlier(item, &queue->heap[parent]))
      break;
    put(queue, at, &queue->heap[parent]);
    at = parent;
  }
  put(queue, at, item);
}

static void sink(struct queue *queue, size_t at, const struct queued *item) {
  for (;;) {
    const size_t begin = at * CHILDREN + 1;
    if (begin >= queue->count)
      break;
    const size_t end = begin + CHILDREN < queue->count ? begin + CHILDREN : queue->count;
    size_t least = begin;
    for (size_t child = begin + 1; child < end; child++)
      if (earlier(&queue->heap[child], &queue->heap[least]))
        least = child;
    if (!earlier(&queue->heap[least], item))
      break;
    put(queue, at, &queue->heap[least]);
    at = least;
  }
  put(queue, at, item);
}

static void settle(struct queue *queue, size_t at, const struct queued *item) {
  if (at > 0 && earlier(item, &queue->heap[(at - 1) / CHILDREN]))
    rise(queue, at, item);
  else
    sink(queue, at, item);
}

void queue_set(struct queue *queue, struct event *event, int64_t at_ns) {
  assert(!event->list);
  const struct queued item = {.at_ns = at_ns, .sequence = queue->sequence++, .event = event};
  if (event->position > 0) {
    settle(queue, event->position - 1, &item);
    return;
  }
  if (queue->count == queue->capacity) {
    queue->capacity = queue->capacity ? queue->capacity * 2 : 256;
    queue->heap = xrealloc(queue->heap, queue->capacity * sizeof *queue->heap);
  }
  rise(queue, queue->count++, &item);
}

void queue_remove(struct queue *queue, struct event *event) {
  assert(event->position > 0 && event->position <= queue->count);
  const size_t at = event->position - 1;
  assert(queue->heap[at].event == event);
  event->position = 0;
  const struct queued last = queue->heap[--queue->count];
  if (last.event != event)
    settle(queue, at, &last);
}

void queue_free(struct queue *queue) {
  free(queue->heap);
  *queue = (struct queue){0};
}

void list_append(struct event_list *list, struct event *event) {
  assert(!event->list && event->position == 0);
  event->list = list;
  event->previous = list->last;
  event->next = NULL;
  if (list->last)
    list->last->next = event;
  else
    list->first = event;
  list->last = event;
}

void list_remove(struct event *event) {
  struct event_list *list = event->list;
  assert(list);
  if (event->previous)
    event->previous->next = event->next;
  else
    list->first = event->next;
  if (event->next)
    event->next->previous = event->previous;
  else
    list->last = event->previous;
  event->list = NULL;
}

void list_move(struct event_list *from, struct event_list *to) {
  while (from->first) {
    struct event *event = from->first;
    list_remove(event);
    list_append(to, event);
  }
}

/* -- memory --------------------------------------------------------------------------------------------- */

struct pool_block {
  struct pool_block *next;
};

#define SMALLEST_BITS 6

static size_t class_of(size_t size) {
  if (size <= (size_t)1 << SMALLEST_BITS)
    return 0;
  return (size_t)(64 - __builtin_clzll(size - 1)) - SMALLEST_BITS;
}

void *pool_take(struct pool *pool, size_t size) {
  const size_t class = class_of(size);
  if (class >= POOL_CLASSES)
    return xmalloc(size);
  struct pool_block *block = pool->free[class];
  if (!block)
    return xmalloc((size_t)1 << (class + SMALLEST_BITS));
  pool->free[class] = block->next;
  return block;
}

void pool_give(struct pool *pool, void *memory, size_t size) {
  const size_t class = class_of(size);
  if (class >= POOL_CLASSES) {
    free(memory);
    return;
  }
  struct pool_block *block = memory;
  block->next = pool->free[class];
  pool->free[class] = block;
}

void pool_free(struct pool *pool) {
  for (size_t i = 0; i < POOL_CLASSES; i++)
    while (pool->free[i]) {
      struct pool_block *block = pool->free[i];
      pool->free[i] = block->next;
      free(block);
    }
}
