/* arena.h: what is behind struct history: its memory, and the growth of its arrays. */
#ifndef ASSAY_HISTORIES_ARENA_H
#define ASSAY_HISTORIES_ARENA_H

#include "histories/histories.h"

struct history_arena {
  struct arena_chunk *chunks; /* newest first; small things are cut from the newest */
  char *at, *end;             /* what is left of it */
  size_t operation_capacity, nemesis_capacity;
  uint64_t next_index;      /* the smallest that the next event may have */
  int64_t last_time_ns;     /* of the last event */
  bool last_was_completion; /* a completion has that time */
};

/* A zeroed operation behind the last one. It counts only once `history->count` is raised. */
struct operation *history_next_operation(struct history *history);
/* The same for an event of the nemesis. */
struct nemesis_event *history_next_nemesis(struct history *history);

/* Deep copies into `history`. */
void history_copy_arguments(struct history *history, struct arguments *to, const struct arguments *from);
void history_copy_answer(struct history *history, struct answer *to, const struct answer *from);

#endif
