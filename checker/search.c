/* Engine A: return-driven ("just-in-time", Lowe 2017) depth-first search.
 *
 * The search walks the events. An invocation makes its step pending. When a step is due and not yet placed,
 * pending steps are placed until it is. What may be tried there is cut down to a stubborn set (Valmari 1990):
 *
 *   start with the due step; then for each member
 *     that cannot be placed now: add the pending steps that can make its false guard true,
 *     that can be placed now:    add the pending steps in conflict with it.
 *
 * Any way to go on contains a first member of that set, which can be placed now and commutes with all that
 * comes before it, so it may as well come first: only members that can be placed now are tried.
 * An observation that fits is placed as soon as it does: whatever comes later stays valid.
 *
 *   frames   one for each choice: what may be tried, what was
 *   trail    what happened since the start: steps invoked and placed; taken back to a frame's mark
 *
 * A failure comes with its reason: what the stubborn sets that led to it read, and what their members would
 * have changed. A step that has nothing to do with either commutes with the whole failed attempt, so the same
 * failure waits behind every other choice in its place: the search jumps back over it (backjumping, exact).
 */
#include "checker/search.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "checker/facts.h"
#include "checker/footprint.h"
#include "checker/hash.h"
#include "checker/memo.h"
#include "checker/model.h"
#include "checker/tree.h"

enum trail_kind { TRAIL_INVOKED, TRAIL_PLACED };

struct trail_entry {
  enum trail_kind kind;
  uint32_t step;
  uint32_t event;
  uint32_t tree_mark;
};

struct frame {
  uint32_t event;
  uint32_t trail_mark;
  uint32_t first, count, next; /* candidates */
  struct hash key;
  struct reason reason; /* of the stubborn set, and of the candidates that failed */
};

enum pending_list { PENDING_OBSERVATIONS, PENDING_MUTATIONS, PENDING_LISTS };

struct link {
  uint32_t next, previous;
};

struct search {
  const struct problem *problem;
  struct budget *budget;
  struct check_counters *counters;
  struct tree tree;
  struct watch watch;
  struct memo memo;
  bool *placed;
  /* Pending steps not placed yet, as doubly linked lists; heads stand behind the steps. Taken out and put
   * back in reverse order, so an element keeps its place (Knuth, "Dancing links"). */
  struct link *links;
  struct trail_entry *trail;
  uint32_t trail_count, trail_capacity;
  struct frame *frames;
  uint32_t frame_count, frame_capacity;
  uint32_t *candidates;
  uint32_t candidate_count, candidate_capacity;
  uint32_t *stubborn; /* the set being computed, in the order it grew */
  uint32_t *stubborn_stamp, stamp;
  uint32_t *class_stamp, *class_best, *stubborn_class_stamp;
  struct hash placed_hash;
  uint32_t event;
  uint32_t deepest_event, deepest_stuck;
  struct reason reason; /* why the latest attempt has no future */
  struct search_result *result;
  uint64_t states;
  uint64_t work; /* events walked and pending steps looked at: what takes time */
};

/* ---- Lists and the trail ---- */

static uint32_t list_head(const struct search *search, enum pending_list list) {
  return search->problem->step_count + (uint32_t)list;
}

static enum pending_list list_of(const struct step *step) {
  return step->role == ROLE_OBSERVATION ? PENDING_OBSERVATIONS : PENDING_MUTATIONS;
}

static void list_append(struct search *search, uint32_t step) {
  uint32_t head = list_head(search, list_of(&search->problem->steps[step]));
  struct link *links = search->links;
  links[step] = (struct link){.next = head, .previous = links[head].previous};
  links[links[head].previous].next = step;
  links[head].previous = step;
}

static void list_take_out(struct search *search, uint32_t step) {
  struct link *link = &search->links[step];
  search->links[link->previous].next = link->next;
  search->links[link->next].previous = link->previous;
}

static void list_put_back(struct search *search, uint32_t step) {
  struct link *link = &search->links[step];
  search->links[link->previous].next = step;
  search->links[link->next].previous = step;
}

static void trail_add(struct search *search, enum trail_kind kind, uint32_t step) {
  if (search->trail_count == search->trail_capacity) {
    search->trail_capacity = search->trail_capacity == 0 ? 256 : 2 * search->trail_capacity;
    search->trail = xrealloc(search->trail, search->trail_capacity * sizeof *search->trail);
  }
  search->trail[search->trail_count++] =
      (struct trail_entry){kind, step, search->event, tree_mark(&search->tree)};
}

static void place(struct search *search, uint32_t index) {
  const struct step *step = &search->problem->steps[index];
  assert(!search->placed[index]);
  trail_add(search, TRAIL_PLACED, index);
  search->placed[index] = true;
  search->placed_hash = hash_sum(search->placed_hash, step->key);
  list_take_out(search, index);
  watch_place(&search->watch, search->problem, step);
}

static void trail_undo(struct search *search, uint32_t mark) {
  while (search->trail_count > mark) {
    const struct trail_entry *entry = &search->trail[--search->trail_count];
    const struct step *step = &search->problem->steps[entry->step];
    if (entry->kind == TRAIL_INVOKED) {
      list_take_out(search, entry->step);
      continue;
    }
    tree_undo(&search->tree, entry->tree_mark);
    list_put_back(search, entry->step);
    watch_take_back(&search->watch, search->problem, step);
    search->placed[entry->step] = false;
    search->placed_hash = hash_difference(search->placed_hash, step->key);
  }
}

/* ---- Placing ---- */

static enum fit try_step(struct search *search, uint32_t index, struct guard *guard) {
  const struct step *step = &search->problem->steps[index];
  enum fit fit = model_try(&search->tree, step, search->placed, guard);
  if (fit != FIT_QUIET || step->role != ROLE_UNKNOWN) {
    return fit;
  }
  /* An unknown step that would change nothing is not worth placing; it may be later. */
  enum operation_kind kind = step->actions[0].kind;
  guard->kind = step->batch ? GUARD_FOOTPRINT : kind == OPERATION_MKDIR ? GUARD_ABSENT : GUARD_NEVER;
  guard->path = step->actions[0].path;
  return FIT_NO;
}

/* ---- What to tell people ---- */

static bool same_obstacle(const struct obstacle *x, const struct obstacle *y) {
  return x->step == y->step && x->doomed == y->doomed &&
         (x->doomed ? x->objection.kind == y->objection.kind && x->objection.observer == y->objection.observer
                    : x->guard.kind == y->guard.kind && x->guard.path == y->guard.path);
}

static void note_obstacle(struct search *search, struct obstacle obstacle) {
  struct search_result *result = search->result;
  if (search->event != search->deepest_event || result->obstacle_count == OBSTACLES_MAX) {
    return;
  }
  for (uint32_t i = 0; i < result->obstacle_count; i++) {
    if (same_obstacle(&obstacle, &result->obstacles[i])) {
      return;
    }
  }
  const struct step *step = &search->problem->steps[obstacle.step];
  obstacle.maker = NONE;
  if (!obstacle.doomed && obstacle.guard.path != NONE) {
    uint32_t node = tree_walk(&search->tree, obstacle.guard.path).node;
    obstacle.maker = node == NONE || node == TREE_ROOT
                         ? NONE
                         : search->problem->creator_step[search->tree.nodes[node].creator];
  }
  if (!step->batch && step->actions[0].path != NONE) {
    uint32_t node = tree_walk(&search->tree, step->actions[0].path).node;
    obstacle.version = node == NONE ? 0 : search->tree.nodes[node].inode.version;
  }
  result->obstacles[result->obstacle_count++] = obstacle;
}

static void note_depth(struct search *search, uint32_t stuck) {
  if (search->deepest_stuck == NONE || search->event > search->deepest_event) {
    search->deepest_event = search->event;
    search->deepest_stuck = stuck;
    search->result->obstacle_count = 0;
  }
}

static void absorb(struct search *search, uint32_t index) {
  struct guard guard;
  const struct step *step = &search->problem->steps[index];
  if (model_stays_quiet(step) && model_try(&search->tree, step, search->placed, &guard) == FIT_QUIET) {
    if (step->role != ROLE_UNKNOWN) {
      place(search, index);
      search->counters->absorbed++;
    }
  }
}

/* After a change: observations that depend on it may fit now. */
static void absorb_all(struct search *search, const struct step *changed) {
  uint32_t head = list_head(search, PENDING_OBSERVATIONS);
  for (uint32_t at = search->links[head].next; at != head;) {
    uint32_t next = search->links[at].next;
    if (search->problem->steps[at].read_mask & changed->write_mask) {
      absorb(search, at);
    }
    at = next;
  }
}

/* Places a step and what it lets be absorbed. False when that has no future. */
static bool fire(struct search *search, uint32_t index, enum fit fit) {
  const struct step *step = &search->problem->steps[index];
  search->states++;
  place(search, index);
  if (fit == FIT_QUIET) {
    return true;
  }
  model_apply(&search->tree, step, search->placed);
  struct obstacle obstacle = {.step = index, .doomed = true};
  if (!facts_permit(&search->watch, &search->tree, search->placed, search->event, &obstacle.objection)) {
    note_obstacle(search, obstacle);
    search->reason = (struct reason){step->read_mask | step->doom_mask, step->write_mask};
    return false;
  }
  absorb_all(search, step);
  return true;
}

/* ---- Stubborn sets ---- */

/* Whether the step is in the set, or another of its class that can stand for it: of unknown steps that are
 * alike one is enough, because they are never due. */
static bool is_in_stubborn(const struct search *search, uint32_t index) {
  const struct step *step = &search->problem->steps[index];
  return search->stubborn_stamp[index] == search->stamp ||
         (step->deadline == NONE && search->stubborn_class_stamp[step->class] == search->stamp);
}

static void stubborn_add(struct search *search, uint32_t index, uint32_t *count) {
  if (!is_in_stubborn(search, index)) {
    search->stubborn_stamp[index] = search->stamp;
    search->stubborn_class_stamp[search->problem->steps[index].class] = search->stamp;
    search->stubborn[(*count)++] = index;
  }
}

static void add_conflicts(struct search *search, uint32_t index, uint32_t *count) {
  const struct step *steps = search->problem->steps;
  for (enum pending_list list = 0; list < PENDING_LISTS; list++) {
    uint32_t head = list_head(search, list);
    for (uint32_t at = search->links[head].next; at != head; at = search->links[at].next) {
      search->work++;
      if (!is_in_stubborn(search, at) && footprint_conflict(&search->tree, &steps[index], &steps[at])) {
        stubborn_add(search, at, count);
      }
    }
  }
}

/* Adds the pending steps that can make the guard of step `index` true. */
static void add_writers(struct search *search, uint32_t index, struct guard guard, uint32_t *count) {
  const struct step *steps = search->problem->steps;
  struct write_query query = {.path = guard.path};
  switch (guard.kind) {
  case GUARD_NEVER:
    return;
  case GUARD_PLACED:
    if (!search->placed[guard.step] && steps[guard.step].invoke < search->event) {
      stubborn_add(search, guard.step, count);
    }
    return;
  case GUARD_FOOTPRINT:
    add_conflicts(search, index, count);
    return;
  case GUARD_PRESENT:
    query.makes = true;
    break;
  case GUARD_ABSENT:
    query.removes = true;
    break;
  case GUARD_PLACE:
    query.makes = query.removes = true;
    break;
  case GUARD_INODE:
    query.makes = query.removes = query.inode = true;
    break;
  }
  uint32_t head = list_head(search, PENDING_MUTATIONS);
  for (uint32_t at = search->links[head].next; at != head; at = search->links[at].next) {
    search->work++;
    if (!is_in_stubborn(search, at) && footprint_writes(&search->tree, &steps[at], query)) {
      stubborn_add(search, at, count);
    }
  }
}

static void add_candidate(struct search *search, uint32_t index, uint32_t first) {
  uint32_t class = search->problem->steps[index].class;
  const struct step *steps = search->problem->steps;
  if (search->class_stamp[class] == search->stamp) {
    /* One of its class is there: the one that is due first can stand for both. */
    uint32_t *best = &search->candidates[first + search->class_best[class]];
    if (steps[index].deadline < steps[*best].deadline) {
      *best = index;
    }
    return;
  }
  if (search->candidate_count == search->candidate_capacity) {
    search->candidate_capacity *= 2;
    search->candidates =
        xrealloc(search->candidates, search->candidate_capacity * sizeof *search->candidates);
  }
  search->class_stamp[class] = search->stamp;
  search->class_best[class] = search->candidate_count - first;
  search->candidates[search->candidate_count++] = index;
}

/* What may be tried for the step that is due, best first. True when it is the step alone. */
static bool find_candidates(struct search *search, uint32_t due, struct frame *frame) {
  uint32_t count = 0;
  search->stamp++;
  frame->first = search->candidate_count;
  stubborn_add(search, due, &count);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t index = search->stubborn[i];
    struct guard guard;
    enum fit fit = try_step(search, index, &guard);
    frame->reason.reads |= search->problem->steps[index].read_mask;
    if (fit == FIT_NO) {
      add_writers(search, index, guard, &count);
    } else {
      frame->reason.writes |= search->problem->steps[index].write_mask;
      add_candidate(search, index, frame->first);
      add_conflicts(search, index, &count);
    }
  }
  frame->count = search->candidate_count - frame->first;
  frame->next = 0;
  /* Earliest due first, unknown ones last: few, so insertion sort. */
  const struct step *steps = search->problem->steps;
  uint32_t *candidates = search->candidates + frame->first;
  for (uint32_t i = 1; i < frame->count; i++) {
    uint32_t moving = candidates[i], j = i;
    for (; j > 0 && steps[candidates[j - 1]].deadline > steps[moving].deadline; j--) {
      candidates[j] = candidates[j - 1];
    }
    candidates[j] = moving;
  }
  return count == 1 && frame->count == 1;
}

/* ---- The walk ---- */

static struct hash configuration(const struct search *search) {
  struct hash state = search->tree.nodes[TREE_ROOT].self;
  struct hash key = hash_pair(search->event, state.a);
  key = hash_with(hash_with(key, state.b), search->placed_hash.a);
  return hash_with(key, search->placed_hash.b);
}

static void push_frame(struct search *search, const struct frame *frame) {
  if (search->frame_count == search->frame_capacity) {
    search->frame_capacity = search->frame_capacity == 0 ? 64 : 2 * search->frame_capacity;
    search->frames = xrealloc(search->frames, search->frame_capacity * sizeof *search->frames);
  }
  search->frames[search->frame_count++] = *frame;
}

/* Whether the failure may have to do with the step's being placed. */
static bool touches(const struct reason *reason, const struct step *step) {
  return ((reason->reads | reason->writes) & step->write_mask) || (reason->writes & step->read_mask);
}

static void add_to_reason(struct reason *reason, const struct step *step) {
  reason->reads |= step->read_mask;
  reason->writes |= step->write_mask;
}

/* Takes back what followed the choice of the top frame, so that the reason speaks of the state right after
 * it. Returns whether the choice itself has to do with it. */
static bool regress(struct search *search, const struct frame *frame) {
  const struct step *steps = search->problem->steps;
  for (uint32_t i = search->trail_count; i-- > frame->trail_mark + 1;) {
    const struct trail_entry *entry = &search->trail[i];
    if (entry->kind == TRAIL_PLACED && touches(&search->reason, &steps[entry->step])) {
      add_to_reason(&search->reason, &steps[entry->step]);
    }
  }
  const struct step *chosen = &steps[search->candidates[frame->first + frame->next - 1]];
  bool relevant = touches(&search->reason, chosen);
  trail_undo(search, frame->trail_mark);
  search->event = frame->event;
  if (relevant) {
    add_to_reason(&search->reason, chosen);
  }
  return relevant;
}

static void pop_frame(struct search *search) {
  const struct frame *frame = &search->frames[--search->frame_count];
  if (frame->count > 1) {
    memo_add(&search->memo, frame->key, search->reason);
  }
  search->candidate_count = frame->first;
}

/* Tries the next candidate of the top frame. */
static bool try_next(struct search *search) {
  struct frame *frame = &search->frames[search->frame_count - 1];
  uint32_t index = search->candidates[frame->first + frame->next++];
  struct guard guard;
  enum fit fit = try_step(search, index, &guard);
  assert(fit != FIT_NO);
  return fire(search, index, fit);
}

/* The latest attempt failed, and search->reason says why: goes back to where another choice may help, and
 * makes it. False when there is none. */
static bool recover(struct search *search) {
  while (search->frame_count > 0) {
    struct frame *frame = &search->frames[search->frame_count - 1];
    if (!regress(search, frame)) {
      pop_frame(search);
      continue;
    }
    frame->reason.reads |= search->reason.reads;
    frame->reason.writes |= search->reason.writes;
    if (frame->next == frame->count) {
      search->reason = frame->reason;
      pop_frame(search);
    } else if (try_next(search)) {
      return true;
    }
  }
  return false;
}

/* A step is due that is not placed. False when the search is over. */
static bool choose(struct search *search, uint32_t due) {
  note_depth(search, due);
  struct frame frame = {.event = search->event, .trail_mark = search->trail_count};
  bool alone = find_candidates(search, due, &frame);
  if (frame.count == 0) {
    struct obstacle obstacle = {.step = due};
    try_step(search, due, &obstacle.guard);
    note_obstacle(search, obstacle);
    search->reason = frame.reason;
    return recover(search);
  }
  if (alone) {
    /* It conflicts with nothing: no choice, and no reason but its own. */
    search->candidate_count = frame.first;
    struct guard guard;
    return fire(search, due, try_step(search, due, &guard)) || recover(search);
  }
  if (frame.count > 1) {
    frame.key = configuration(search);
    const struct reason *known = memo_find(&search->memo, frame.key);
    if (known != NULL) {
      search->counters->memo_hits++;
      search->candidate_count = frame.first;
      search->reason = *known;
      return recover(search);
    }
    search->counters->branches++;
  }
  push_frame(search, &frame);
  return try_next(search) || recover(search);
}

static void invoke(struct search *search, uint32_t index) {
  list_append(search, index);
  trail_add(search, TRAIL_INVOKED, index);
  if (search->problem->steps[index].role != ROLE_UNKNOWN) {
    search->event++; /* what is absorbed now stands behind its invocation */
    absorb(search, index);
    search->event--;
  }
}

static uint64_t search_bytes(const struct search *search) {
  return search->problem->bytes + tree_bytes(&search->tree) + memo_bytes(&search->memo) +
         search->trail_capacity * sizeof *search->trail + search->frame_capacity * sizeof *search->frames +
         search->problem->step_count * (sizeof *search->links + 16);
}

static uint64_t note_bytes(const struct search *search) {
  struct budget *budget = search->budget;
  uint64_t bytes = search_bytes(search) + budget->bytes_outside;
  if (bytes > budget->bytes_peak) {
    budget->bytes_peak = bytes;
  }
  return bytes;
}

static bool over_budget(struct search *search) {
  const struct budget *budget = search->budget;
  uint64_t bytes = note_bytes(search);
  bool over =
      time_monotonic_ns() > budget->deadline_ns || (budget->memory_limit > 0 && bytes > budget->memory_limit);
  if (over) {
    search->result->end = SEARCH_BUDGET;
  }
  return over;
}

#define BUDGET_INTERVAL 16384 /* of work between looks at the clock */
#define WORK_OF_EVENT 16

static void walk(struct search *search) {
  const struct problem *problem = search->problem;
  uint64_t next_look = BUDGET_INTERVAL;
  search->result->end = SEARCH_LINEARIZABLE;
  while (search->event < problem->event_count) {
    search->work += WORK_OF_EVENT;
    if (search->work >= next_look) {
      next_look = search->work + BUDGET_INTERVAL;
      if (over_budget(search)) {
        return;
      }
    }
    const struct event *event = &problem->events[search->event];
    if (event->kind == EVENT_INVOKE) {
      invoke(search, event->step);
      search->event++;
    } else if (search->placed[event->step]) {
      search->event++;
    } else if (search->budget->state_limit > 0 && search->states > search->budget->state_limit) {
      search->result->end = SEARCH_LIMIT;
      return;
    } else if (!choose(search, event->step)) {
      search->result->end = SEARCH_IMPOSSIBLE;
      return;
    }
  }
}

/* ---- In and out ---- */

static void open_search(struct search *search) {
  uint32_t steps = search->problem->step_count;
  tree_init(&search->tree, search->problem);
  watch_init(&search->watch, search->problem);
  search->placed = xcalloc(steps + 1, sizeof *search->placed);
  search->links = xmalloc((steps + PENDING_LISTS) * sizeof *search->links);
  for (uint32_t list = 0; list < PENDING_LISTS; list++) {
    search->links[steps + list] = (struct link){steps + list, steps + list};
  }
  search->stubborn = xmalloc((steps + 1) * sizeof *search->stubborn);
  search->stubborn_stamp = xcalloc(steps + 1, sizeof *search->stubborn_stamp);
  search->class_stamp = xcalloc(search->problem->class_count + 1, sizeof *search->class_stamp);
  search->stubborn_class_stamp =
      xcalloc(search->problem->class_count + 1, sizeof *search->stubborn_class_stamp);
  search->class_best = xcalloc(search->problem->class_count + 1, sizeof *search->class_best);
  search->candidate_capacity = 64;
  search->candidates = xmalloc(search->candidate_capacity * sizeof *search->candidates);
  search->deepest_stuck = NONE;
}

static void close_search(struct search *search) {
  tree_free(&search->tree);
  watch_free(&search->watch);
  memo_free(&search->memo);
  free(search->placed);
  free(search->links);
  free(search->trail);
  free(search->frames);
  free(search->candidates);
  free(search->stubborn);
  free(search->stubborn_stamp);
  free(search->class_stamp);
  free(search->class_best);
  free(search->stubborn_class_stamp);
}

static void report(struct search *search) {
  struct search_result *result = search->result;
  bool whole = result->end == SEARCH_LINEARIZABLE;
  result->event = whole ? search->problem->event_count : search->deepest_event;
  result->stuck = whole ? NONE : search->deepest_stuck;
  result->order = xmalloc((search->trail_count + 1) * sizeof *result->order);
  result->order_events = xmalloc((search->trail_count + 1) * sizeof *result->order_events);
  for (uint32_t i = 0; i < search->trail_count; i++) {
    if (search->trail[i].kind == TRAIL_PLACED) {
      result->order[result->order_count] = search->trail[i].step;
      result->order_events[result->order_count++] = search->trail[i].event;
    }
  }
}

void search_run(const struct problem *problem, struct budget *budget, struct check_counters *counters,
                struct search_result *result) {
  struct search search = {.problem = problem, .budget = budget, .counters = counters, .result = result};
  *result = (struct search_result){.stuck = NONE};
  if (problem->facts->impossible != NONE) {
    result->end = SEARCH_IMPOSSIBLE;
    result->stuck = problem->facts->impossible;
    result->event = problem->steps[result->stuck].deadline;
    return;
  }
  open_search(&search);
  walk(&search);
  note_bytes(&search);
  report(&search);
  counters->states += search.states;
  close_search(&search);
}

void search_result_free(struct search_result *result) {
  free(result->order);
  free(result->order_events);
  *result = (struct search_result){0};
}
