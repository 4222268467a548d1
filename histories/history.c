/* history.c: a history in memory: its arena, and building one event by event. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "histories/arena.h"

/* Chunks are cut from the front; what is larger than half a chunk gets one of its own. */
#define CHUNK_SIZE ((size_t)1 << 18)

struct arena_chunk {
  struct arena_chunk *next;
  _Alignas(16) char data[];
};

struct history *history_new(void) {
  struct history *history = xcalloc(1, sizeof *history);
  history->arena = xcalloc(1, sizeof *history->arena);
  history->arena->last_time_ns = INT64_MIN;
  history->model = text_of("fs");
  return history;
}

void history_free(struct history *history) {
  if (!history)
    return;
  for (struct arena_chunk *chunk = history->arena->chunks, *next; chunk; chunk = next) {
    next = chunk->next;
    free(chunk);
  }
  free(history->arena);
  free(history->operations);
  free(history->nemesis);
  free(history);
}

static void *new_chunk(struct history_arena *arena, size_t size, bool keep_current) {
  struct arena_chunk *chunk = xmalloc(sizeof *chunk + size);
  if (keep_current && arena->chunks) {
    chunk->next = arena->chunks->next;
    arena->chunks->next = chunk;
  } else {
    chunk->next = arena->chunks;
    arena->chunks = chunk;
  }
  return chunk->data;
}

static void *arena_take(struct history_arena *arena, size_t size) {
  if (size > CHUNK_SIZE / 2)
    return new_chunk(arena, size, true);
  if ((size_t)(arena->end - arena->at) < size) {
    arena->at = new_chunk(arena, CHUNK_SIZE, false);
    arena->end = arena->at + CHUNK_SIZE;
  }
  void *taken = arena->at;
  arena->at += size;
  return taken;
}

void *history_allocate(struct history *history, size_t size) {
  struct history_arena *arena = history->arena;
  const size_t gap = (size_t)(-(uintptr_t)arena->at & 15);
  if (gap > 0)
    arena->at = (size_t)(arena->end - arena->at) >= gap ? arena->at + gap : arena->end;
  return arena_take(arena, size);
}

struct text history_text(struct history *history, const char *data, size_t size) {
  if (!data)
    return (struct text){0};
  char *copy = arena_take(history->arena, size + 1);
  if (size > 0)
    memcpy(copy, data, size);
  copy[size] = '\0';
  return (struct text){copy, size};
}

struct operation *history_next_operation(struct history *history) {
  struct history_arena *arena = history->arena;
  if (history->count == arena->operation_capacity) {
    arena->operation_capacity = history->count ? history->count * 2 : 64;
    history->operations =
        xrealloc(history->operations, arena->operation_capacity * sizeof *history->operations);
  }
  struct operation *operation = &history->operations[history->count];
  memset(operation, 0, sizeof *operation);
  return operation;
}

struct nemesis_event *history_next_nemesis(struct history *history) {
  struct history_arena *arena = history->arena;
  if (history->nemesis_count == arena->nemesis_capacity) {
    arena->nemesis_capacity = history->nemesis_count ? history->nemesis_count * 2 : 16;
    history->nemesis = xrealloc(history->nemesis, arena->nemesis_capacity * sizeof *history->nemesis);
  }
  struct nemesis_event *event = &history->nemesis[history->nemesis_count];
  memset(event, 0, sizeof *event);
  return event;
}

static struct text copy_text(struct history *history, struct text text) {
  return history_text(history, text.data, text.size);
}

void history_copy_arguments(struct history *history, struct arguments *to, const struct arguments *from) {
  *to = *from;
  to->path = copy_text(history, from->path);
  to->destination = copy_text(history, from->destination);
  to->value = copy_text(history, from->value);
  if (from->item_count == 0)
    return;
  to->items = history_allocate(history, from->item_count * sizeof *to->items);
  for (size_t i = 0; i < from->item_count; i++)
    history_copy_arguments(history, &to->items[i], &from->items[i]);
}

void history_copy_answer(struct history *history, struct answer *to, const struct answer *from) {
  *to = *from;
  to->value = copy_text(history, from->value);
  if (from->entry_count > 0) {
    to->entries = history_allocate(history, from->entry_count * sizeof *to->entries);
    for (size_t i = 0; i < from->entry_count; i++) {
      to->entries[i] = from->entries[i];
      to->entries[i].name = copy_text(history, from->entries[i].name);
    }
  }
  if (from->block_entry_count > 0) {
    to->blocks = history_allocate(history, from->block_entry_count * sizeof *to->blocks);
    memcpy(to->blocks, from->blocks, from->block_entry_count * sizeof *to->blocks);
  }
  if (from->item_count > 0) {
    to->items = history_allocate(history, from->item_count * sizeof *to->items);
    for (size_t i = 0; i < from->item_count; i++)
      history_copy_answer(history, &to->items[i], &from->items[i]);
  }
}

/* The times of a history stand in order, an invocation before a completion at equal times: a time that would
 * not is moved forward as little as that takes. */
static int64_t time_in_order(struct history_arena *arena, int64_t time_ns, bool completion) {
  int64_t earliest = arena->last_time_ns;
  if (arena->last_was_completion && !completion)
    earliest++;
  arena->last_time_ns = time_ns > earliest ? time_ns : earliest;
  arena->last_was_completion = completion;
  return arena->last_time_ns;
}

size_t history_invoke(struct history *history, int64_t process, uint64_t op_id,
                      const struct arguments *arguments, int64_t time_ns) {
  assert((unsigned)arguments->kind < OPERATION_KINDS && history->event_count < NO_EVENT - 1);
  struct operation *operation = history_next_operation(history);
  history_copy_arguments(history, &operation->arguments, arguments);
  operation->answer.code = ANSWER_OTHER;
  operation->outcome = OUTCOME_INFO;
  operation->process = process;
  operation->op_id = op_id;
  operation->node = -1;
  operation->invoke_time_ns = time_in_order(history->arena, time_ns, false);
  operation->invoke_event = history->event_count++;
  operation->invoke_index = history->arena->next_index++;
  operation->complete_event = NO_EVENT;
  return history->count++;
}

void history_complete(struct history *history, size_t position, enum outcome outcome,
                      const struct answer *answer, int64_t time_ns) {
  assert(position < history->count && history->event_count < NO_EVENT - 1);
  struct operation *operation = &history->operations[position];
  assert(operation->complete_event == NO_EVENT);
  assert(outcome == OUTCOME_OK     ? answer->code == ANSWER_OK
         : outcome == OUTCOME_FAIL ? answer->code != ANSWER_OK && !answer_is_indefinite(answer->code)
                                   : answer_is_indefinite(answer->code));
  history_copy_answer(history, &operation->answer, answer);
  operation->outcome = outcome;
  operation->complete_time_ns = time_in_order(history->arena, time_ns, true);
  operation->complete_event = history->event_count++;
  operation->complete_index = history->arena->next_index++;
}

/* Gives the kept events new dense positions; `renumber` maps old positions to new ones. */
static uint32_t *renumber_events(const struct history *history, const bool *keep, const bool *weaken,
                                 uint32_t *event_count) {
  uint32_t *renumber = xcalloc((size_t)history->event_count + 1, sizeof *renumber);
  for (size_t i = 0; i < history->count; i++) {
    if (!keep[i])
      continue;
    const struct operation *operation = &history->operations[i];
    renumber[operation->invoke_event] = 1;
    if (operation->complete_event != NO_EVENT && !(weaken && weaken[i]))
      renumber[operation->complete_event] = 1;
  }
  uint32_t next = 0;
  for (uint32_t event = 0; event < history->event_count; event++)
    renumber[event] = renumber[event] ? next++ : NO_EVENT;
  *event_count = next;
  return renumber;
}

static int64_t largest_process(const struct history *history) {
  int64_t largest = 0;
  for (size_t i = 0; i < history->count; i++)
    if (history->operations[i].process > largest)
      largest = history->operations[i].process;
  return largest;
}

/* Takes the completion away. A process number has one open operation and none behind it, so the operation
 * gets a number of its own. */
static void weaken_operation(struct operation *operation, int64_t process) {
  operation->answer = (struct answer){.code = ANSWER_OTHER};
  operation->outcome = OUTCOME_INFO;
  operation->process = process;
  operation->complete_event = NO_EVENT;
  operation->complete_index = 0;
  operation->complete_time_ns = 0;
  operation->commit = operation->term = 0;
  operation->node = -1;
}

struct history *history_subset(const struct history *history, const bool *keep, const bool *weaken) {
  struct history *subset = history_new();
  uint32_t *renumber = renumber_events(history, keep, weaken, &subset->event_count);
  int64_t process = weaken ? largest_process(history) : 0;
  for (size_t i = 0; i < history->count; i++) {
    if (!keep[i])
      continue;
    const struct operation *from = &history->operations[i];
    struct operation *to = history_next_operation(subset);
    *to = *from;
    history_copy_arguments(subset, &to->arguments, &from->arguments);
    to->invoke_event = renumber[from->invoke_event];
    if (weaken && weaken[i]) {
      weaken_operation(to, ++process);
    } else {
      history_copy_answer(subset, &to->answer, &from->answer);
      if (from->complete_event != NO_EVENT)
        to->complete_event = renumber[from->complete_event];
    }
    subset->count++;
  }
  free(renumber);
  subset->model = copy_text(subset, history->model);
  subset->header = copy_text(subset, history->header);
  subset->arena->next_index = history->arena->next_index;
  subset->arena->last_time_ns = history->arena->last_time_ns;
  subset->arena->last_was_completion = history->arena->last_was_completion;
  return subset;
}
