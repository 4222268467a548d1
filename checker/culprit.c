/* Looking for a culprit: one answer without which all others can be explained.
 *
 * While a set of operations is made smaller two things are held: with the culprit it is not linearizable, and
 * without it (a read left out, a mutation of unknown outcome) it is. So nothing that the contradiction needs
 * is lost, and no new contradiction comes in: a create whose delete was left out would be one. */
#include "checker/trial.h"

#include <stdlib.h>
#include <string.h>

#include "checker/facts.h"

#define TRY_STATES 20000u
#define RUN_MAX 8
#define PAIRS_MAX 150 /* operations up to which pairs are tried */

struct hunt {
  struct trial *trial;
  uint8_t *kept; /* treatments that hold both */
  uint8_t *tried;
  uint32_t *list; /* operations in `kept` that may go */
  uint32_t culprit;
  bool stranger;       /* it shows what nobody made, from the beginning */
  bool right_sometime; /* the answer would be right at another time */
};

static enum search_end with_culprit(struct hunt *hunt, enum treatment treatment) {
  hunt->tried[hunt->culprit] = (uint8_t)treatment;
  enum search_end end = trial_run(hunt->trial, hunt->tried, TRY_STATES, NULL, NULL);
  hunt->tried[hunt->culprit] = TREAT_KEEP;
  return end;
}

/* Fails, and not just because what somebody saw was made by an operation that was left out. */
static bool fails(struct hunt *hunt) {
  struct search_result result;
  struct problem *problem;
  bool failed = trial_run(hunt->trial, hunt->tried, TRY_STATES, &result, &problem) == SEARCH_IMPOSSIBLE &&
                (hunt->stranger || problem->facts->impossible == NONE || problem->facts->witness != NONE);
  search_result_free(&result);
  problem_free(problem);
  return failed;
}

/* Whether `tried` holds all three. */
static bool holds(struct hunt *hunt) {
  enum treatment without = trial_is_mutation(hunt->trial, hunt->culprit) ? TREAT_UNKNOWN : TREAT_DROP;
  return fails(hunt) && with_culprit(hunt, without) == SEARCH_LINEARIZABLE &&
         (!hunt->right_sometime || with_culprit(hunt, TREAT_ANYTIME) == SEARCH_LINEARIZABLE);
}

static bool take_if_holds(struct hunt *hunt) {
  uint32_t count = hunt->trial->failure->count;
  bool better = !trial_is_over(hunt->trial) && holds(hunt);
  memcpy(better ? hunt->kept : hunt->tried, better ? hunt->tried : hunt->kept, count);
  return better;
}

static uint32_t list_kept(struct hunt *hunt) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < hunt->trial->failure->count; i++) {
    if (hunt->kept[i] != TREAT_DROP && i != hunt->culprit) {
      hunt->list[count++] = i;
    }
  }
  memcpy(hunt->tried, hunt->kept, hunt->trial->failure->count);
  return count;
}

static void drop_observations(struct hunt *hunt) {
  uint32_t count = list_kept(hunt);
  for (uint32_t i = 0; i < count; i++) {
    if (!trial_is_mutation(hunt->trial, hunt->list[i])) {
      hunt->tried[hunt->list[i]] = TREAT_DROP;
    }
  }
  take_if_holds(hunt);
}

static void drop_unanswered(struct hunt *hunt) {
  uint32_t count = list_kept(hunt);
  for (uint32_t i = 0; i < count; i++) {
    if (!trial_is_answered(hunt->trial, hunt->list[i])) {
      hunt->tried[hunt->list[i]] = TREAT_DROP;
    }
  }
  take_if_holds(hunt);
}

static bool drop_chunks(struct hunt *hunt, uint32_t size) {
  uint32_t count = list_kept(hunt);
  bool dropped = false;
  for (uint32_t first = 0; first < count; first += size) {
    for (uint32_t i = first; i < first + size && i < count; i++) {
      hunt->tried[hunt->list[i]] = TREAT_DROP;
    }
    dropped |= take_if_holds(hunt);
  }
  return dropped;
}

static bool same_path(const struct operation *x, const struct operation *y) {
  const struct arguments *a = &x->arguments, *b = &y->arguments;
  return text_equal(a->path, b->path) || text_equal(a->path, b->destination) ||
         text_equal(a->destination, b->path);
}

/* All operations that name the path of operation `like`. */
static bool drop_paths(struct hunt *hunt) {
  uint32_t count = list_kept(hunt);
  bool dropped = false;
  for (uint32_t i = 0; i < count; i++) {
    if (hunt->kept[hunt->list[i]] == TREAT_DROP) {
      continue;
    }
    const struct operation *like = trial_operation(hunt->trial, hunt->list[i]);
    bool first = true;
    for (uint32_t j = 0; j < i && first; j++) {
      first = !text_equal(trial_operation(hunt->trial, hunt->list[j])->arguments.path, like->arguments.path);
    }
    for (uint32_t j = 0; j < count && first; j++) {
      if (same_path(like, trial_operation(hunt->trial, hunt->list[j]))) {
        hunt->tried[hunt->list[j]] = TREAT_DROP;
      }
    }
    dropped |= first && take_if_holds(hunt);
  }
  return dropped;
}

/* A create and its delete, a rename there and back: neither can go alone. */
static bool drop_pairs(struct hunt *hunt) {
  uint32_t count = list_kept(hunt);
  bool dropped = false;
  for (uint32_t i = 0; i < count && count <= PAIRS_MAX; i++) {
    for (uint32_t j = i + 1; j < count && hunt->kept[hunt->list[i]] != TREAT_DROP; j++) {
      if (hunt->kept[hunt->list[j]] == TREAT_DROP ||
          !same_path(trial_operation(hunt->trial, hunt->list[i]),
                     trial_operation(hunt->trial, hunt->list[j]))) {
        continue;
      }
      hunt->tried[hunt->list[i]] = hunt->tried[hunt->list[j]] = TREAT_DROP;
      dropped |= take_if_holds(hunt);
    }
  }
  return dropped;
}

/* Neighbours: a chain of renames that comes back to where it began can only go as a whole. */
static bool drop_runs(struct hunt *hunt) {
  bool dropped = false;
  for (uint32_t length = RUN_MAX; length > 1; length--) {
    uint32_t count = list_kept(hunt);
    for (uint32_t first = 0; first + length <= count; first++) {
      for (uint32_t i = first; i < first + length; i++) {
        hunt->tried[hunt->list[i]] = TREAT_DROP;
      }
      if (take_if_holds(hunt)) {
        dropped = true;
        first += length - 1;
      }
    }
  }
  return dropped;
}

static void reduce(struct hunt *hunt) {
  drop_unanswered(hunt);
  drop_observations(hunt);
  drop_paths(hunt);
  for (uint32_t size = list_kept(hunt) / 2; size > 1; size /= 2) {
    drop_chunks(hunt, size);
  }
  do {
    while (drop_chunks(hunt, 1)) {
    }
  } while (drop_paths(hunt) || drop_runs(hunt) || drop_pairs(hunt));
}

/* Whether the suspect is the culprit of everything as it stands. The better kind was right at another time.
 */
static bool is_culprit(struct hunt *hunt, uint32_t suspect, bool right_sometime) {
  memset(hunt->tried, TREAT_KEEP, hunt->trial->failure->count);
  memset(hunt->kept, TREAT_KEEP, hunt->trial->failure->count);
  hunt->culprit = suspect;
  hunt->right_sometime = right_sometime;
  hunt->stranger = false;
  if (!trial_is_answered(hunt->trial, suspect)) {
    return false;
  }
  hunt->stranger = !fails(hunt);
  return holds(hunt);
}

bool culprit_find(struct trial *trial, const uint32_t *suspects, uint32_t suspect_count, uint8_t *treatments,
                  uint32_t *culprit) {
  uint32_t count = trial->failure->count;
  struct hunt hunt = {.trial = trial};
  hunt.kept = treatments;
  hunt.tried = xmalloc(count + (size_t)1);
  hunt.list = xmalloc((count + (size_t)1) * sizeof *hunt.list);
  bool found = false;
  for (int better = 1; better >= 0; better--) {
    for (uint32_t i = 0; i < suspect_count && !found && !trial_is_over(trial); i++) {
      found = is_culprit(&hunt, suspects[i], better == 1);
    }
  }
  if (found) {
    *culprit = hunt.culprit;
    reduce(&hunt);
  }
  free(hunt.tried);
  free(hunt.list);
  return found;
}
