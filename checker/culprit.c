/* Looking for the company of a culprit: one answer without which all others can be explained.
 *
 * While a set of operations is made smaller three things are held: with the culprit it is not linearizable;
 * without it (a read left out, a mutation of unknown outcome) it is; and, if it was so at the beginning, with
 * the culprit at any other time it is. So nothing that the contradiction needs is lost, and no new
 * contradiction comes in: a create whose delete was left out would be one.
 *
 * What is dropped is forgotten at once (the hunt's own `failure` shrinks), so a try costs what the company
 * costs, not what the component does, and thousands of them fit in a second. */
#include "checker/trial.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "checker/facts.h"
#include "checker/lineage.h"

/* A try that takes longer than this holds nothing. */
#define TRY_STATES 5000u
#define TRY_STATES_PER_OPERATION 4u
#define RUN_MAX 8
#define PAIRS_MAX 150    /* operations up to which pairs of one path are tried */
#define ALL_PAIRS_MAX 60 /* and all pairs, */
#define TRIPLES_MAX 24   /* and all triples */
#define RESTARTS 24
#define SEED 1

struct hunt {
  struct trial trial;     /* of `failure` */
  struct failure failure; /* what is left */
  uint32_t *positions;    /* its */
  uint8_t *kept;          /* treatments that hold all three */
  uint8_t *tried;
  uint32_t *list; /* operations that may go */
  uint32_t culprit;
  struct random random;
  bool proved;         /* `kept` was seen to fail; the whole may take too long for that */
  bool stranger;       /* it shows what nobody made, from the beginning */
  bool right_sometime; /* the answer would be right at another time */
};

/* ---- What is held ---- */

static uint64_t try_states(const struct hunt *hunt) {
  return TRY_STATES + (uint64_t)TRY_STATES_PER_OPERATION * hunt->failure.count;
}

static enum search_end with_culprit(struct hunt *hunt, enum treatment treatment) {
  hunt->tried[hunt->culprit] = (uint8_t)treatment;
  enum search_end end = trial_run(&hunt->trial, hunt->tried, try_states(hunt), NULL, NULL);
  hunt->tried[hunt->culprit] = TREAT_KEEP;
  return end;
}

/* Fails, and not just because what somebody saw was made by an operation that was left out. */
static bool fails(struct hunt *hunt) {
  struct search_result result;
  struct problem *problem;
  bool failed =
      trial_run(&hunt->trial, hunt->tried, try_states(hunt), &result, &problem) == SEARCH_IMPOSSIBLE &&
      (hunt->stranger || problem->facts->impossible == NONE || problem->facts->witness != NONE);
  search_result_free(&result);
  problem_free(problem);
  return failed;
}

static enum treatment without_culprit(const struct hunt *hunt) {
  return trial_is_mutation(&hunt->trial, hunt->culprit) ? TREAT_UNKNOWN : TREAT_DROP;
}

static bool passes_without(struct hunt *hunt) {
  return with_culprit(hunt, without_culprit(hunt)) == SEARCH_LINEARIZABLE;
}

static bool passes_anytime(struct hunt *hunt) {
  return with_culprit(hunt, TREAT_ANYTIME) == SEARCH_LINEARIZABLE;
}

static bool take_if_holds(struct hunt *hunt) {
  bool better = !trial_is_over(&hunt->trial) && fails(hunt) && passes_without(hunt) &&
                (!hunt->right_sometime || passes_anytime(hunt));
  memcpy(better ? hunt->kept : hunt->tried, better ? hunt->tried : hunt->kept, hunt->failure.count);
  hunt->proved |= better;
  return better;
}

/* ---- Making it smaller ---- */

/* Forgets what is dropped and lists what may go. */
static uint32_t list_kept(struct hunt *hunt) {
  uint32_t count = 0, listed = 0, culprit = NONE;
  for (uint32_t i = 0; i < hunt->failure.count; i++) {
    if (hunt->kept[i] == TREAT_DROP) {
      continue;
    }
    if (i == hunt->culprit) {
      culprit = count;
    } else {
      hunt->list[listed++] = count;
    }
    hunt->positions[count] = hunt->positions[i];
    hunt->kept[count++] = hunt->kept[i];
  }
  assert(culprit != NONE);
  hunt->culprit = culprit;
  hunt->failure.count = count;
  memcpy(hunt->tried, hunt->kept, count);
  return listed;
}

static void drop_observations(struct hunt *hunt) {
  uint32_t count = list_kept(hunt);
  for (uint32_t i = 0; i < count; i++) {
    if (!trial_is_mutation(&hunt->trial, hunt->list[i])) {
      hunt->tried[hunt->list[i]] = TREAT_DROP;
    }
  }
  take_if_holds(hunt);
}

static void drop_unanswered(struct hunt *hunt) {
  uint32_t count = list_kept(hunt);
  for (uint32_t i = 0; i < count; i++) {
    if (!trial_is_answered(&hunt->trial, hunt->list[i])) {
      hunt->tried[hunt->list[i]] = TREAT_DROP;
    }
  }
  take_if_holds(hunt);
}

/* All but what has to do with the culprit's paths, and, the wider way, with those of the renames among it. */
static void drop_unrelated(struct hunt *hunt, bool wider) {
  uint32_t count = list_kept(hunt), renames = 0;
  uint32_t *moving = xmalloc((count + (size_t)1) * sizeof *moving);
  const struct arguments *of_culprit = &trial_operation(&hunt->trial, hunt->culprit)->arguments;
  for (uint32_t i = 0; i < count; i++) {
    const struct arguments *asked = &trial_operation(&hunt->trial, hunt->list[i])->arguments;
    const bool stays = arguments_related(of_culprit, asked);
    hunt->tried[hunt->list[i]] = stays ? hunt->kept[hunt->list[i]] : (uint8_t)TREAT_DROP;
    if (stays && asked->kind == OPERATION_RENAME) {
      moving[renames++] = hunt->list[i];
    }
  }
  for (uint32_t i = 0; i < count && wider; i++) {
    const uint32_t at = hunt->list[i];
    const struct arguments *asked = &trial_operation(&hunt->trial, at)->arguments;
    for (uint32_t j = 0; j < renames && hunt->tried[at] == TREAT_DROP; j++) {
      if (arguments_related(&trial_operation(&hunt->trial, moving[j])->arguments, asked)) {
        hunt->tried[at] = hunt->kept[at];
      }
    }
  }
  free(moving);
  take_if_holds(hunt);
}

static bool drop_chunks(struct hunt *hunt, uint32_t size) {
  uint32_t count = list_kept(hunt);
  bool dropped = false;
  for (uint32_t first = 0; first < count && !trial_is_over(&hunt->trial); first += size) {
    for (uint32_t i = first; i < first + size && i < count; i++) {
      hunt->tried[hunt->list[i]] = TREAT_DROP;
    }
    dropped |= take_if_holds(hunt);
  }
  return dropped;
}

/* One by one in a random order: which of several that would do the same service stays depends on it. */
static bool drop_singles(struct hunt *hunt) {
  uint32_t count = list_kept(hunt);
  bool dropped = false;
  for (uint32_t left = count; left > 0 && !trial_is_over(&hunt->trial); left--) {
    uint32_t *drawn = &hunt->list[random_below(&hunt->random, left)], at = *drawn;
    *drawn = hunt->list[left - 1];
    hunt->tried[at] = TREAT_DROP;
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
  for (uint32_t i = 0; i < count && !trial_is_over(&hunt->trial); i++) {
    if (hunt->kept[hunt->list[i]] == TREAT_DROP) {
      continue;
    }
    const struct operation *like = trial_operation(&hunt->trial, hunt->list[i]);
    bool first = true;
    for (uint32_t j = 0; j < i && first; j++) {
      first = !text_equal(trial_operation(&hunt->trial, hunt->list[j])->arguments.path, like->arguments.path);
    }
    for (uint32_t j = 0; j < count && first; j++) {
      if (same_path(like, trial_operation(&hunt->trial, hunt->list[j]))) {
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
      bool alike = same_path(trial_operation(&hunt->trial, hunt->list[i]),
                             trial_operation(&hunt->trial, hunt->list[j]));
      if (hunt->kept[hunt->list[j]] != TREAT_DROP && (alike || count <= ALL_PAIRS_MAX)) {
        hunt->tried[hunt->list[i]] = hunt->tried[hunt->list[j]] = TREAT_DROP;
        dropped |= take_if_holds(hunt);
      }
    }
  }
  return dropped;
}

static bool drop_triples(struct hunt *hunt) {
  uint32_t count = list_kept(hunt);
  for (uint32_t i = 0; i < count && count <= TRIPLES_MAX; i++) {
    for (uint32_t j = i + 1; j < count; j++) {
      for (uint32_t k = j + 1; k < count; k++) {
        hunt->tried[hunt->list[i]] = hunt->tried[hunt->list[j]] = hunt->tried[hunt->list[k]] = TREAT_DROP;
        if (take_if_holds(hunt)) {
          return true;
        }
      }
    }
  }
  return false;
}

/* Neighbours: a chain of renames that comes back to where it began can only go as a whole. */
static bool drop_runs(struct hunt *hunt) {
  bool dropped = false;
  for (uint32_t length = RUN_MAX; length > 1; length--) {
    uint32_t count = list_kept(hunt);
    for (uint32_t first = 0; first + length <= count && !trial_is_over(&hunt->trial); first++) {
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

/* ---- Inodes ---- */

/* Traces what is kept through the order in which it is fine without the culprit. False when that cannot be
 * had. */
static bool trace(struct hunt *hunt, struct lineage *lineage) {
  struct search_result found;
  struct problem *problem;
  memcpy(hunt->tried, hunt->kept, hunt->failure.count);
  hunt->tried[hunt->culprit] = (uint8_t)without_culprit(hunt);
  trial_run(&hunt->trial, hunt->tried, try_states(hunt), &found, &problem);
  hunt->tried[hunt->culprit] = TREAT_KEEP;
  const bool traced = found.end == SEARCH_LINEARIZABLE;
  if (traced) {
    lineage_trace(lineage, problem, &found, hunt->positions, hunt->failure.count);
  }
  search_result_free(&found);
  problem_free(problem);
  return traced;
}

/* Delta debugging over inodes: with each go all operations that belong to it. Most have nothing to do with
 * the culprit, so large parts go at once. */
static bool drop_inodes(struct hunt *hunt) {
  struct lineage lineage;
  list_kept(hunt);
  if (!trace(hunt, &lineage)) {
    return false;
  }
  bool dropped = false;
  bool *chosen = xcalloc(lineage.inode_count + (size_t)1, sizeof *chosen);
  for (uint32_t size = (lineage.inode_count + 1) / 2; size > 0; size /= 2) {
    for (uint32_t first = 0; first < lineage.inode_count && !trial_is_over(&hunt->trial); first += size) {
      const uint32_t chunk = lineage.inode_count - first < size ? lineage.inode_count - first : size;
      bool some = false;
      memset(chosen + first, true, chunk * sizeof *chosen);
      for (uint32_t i = 0; i < hunt->failure.count; i++) {
        if (hunt->kept[i] != TREAT_DROP && i != hunt->culprit && lineage_belongs(&lineage, i, chosen)) {
          hunt->tried[i] = TREAT_DROP;
          some = true;
        }
      }
      memset(chosen + first, false, chunk * sizeof *chosen);
      dropped |= some && take_if_holds(hunt);
    }
  }
  free(chosen);
  lineage_free(&lineage);
  return dropped;
}

/* From thousands to some dozens. */
static void reduce_roughly(struct hunt *hunt) {
  drop_unanswered(hunt);
  drop_observations(hunt);
  drop_unrelated(hunt, false);
  if (!hunt->proved) {
    drop_unrelated(hunt, true);
  }
  while (drop_inodes(hunt)) {
  }
}

static void reduce_finely(struct hunt *hunt) {
  for (uint32_t size = list_kept(hunt) / 2; size > 1; size /= 2) {
    drop_chunks(hunt, size);
  }
  do {
    while (drop_singles(hunt)) {
    }
  } while (!trial_is_over(&hunt->trial) &&
           (drop_paths(hunt) || drop_runs(hunt) || drop_pairs(hunt) || drop_triples(hunt)));
  list_kept(hunt);
}

/* ---- Starting again ---- */

/* What is left of the company at one moment. */
struct company {
  uint32_t *positions;
  uint8_t *treatments;
  uint32_t count, culprit;
};

static void company_save(struct company *company, const struct hunt *hunt) {
  company->count = hunt->failure.count;
  company->culprit = hunt->culprit;
  memcpy(company->positions, hunt->positions, company->count * sizeof *company->positions);
  memcpy(company->treatments, hunt->kept, company->count);
}

static void company_load(const struct company *company, struct hunt *hunt) {
  hunt->failure.count = company->count;
  hunt->culprit = company->culprit;
  memcpy(hunt->positions, company->positions, company->count * sizeof *company->positions);
  memcpy(hunt->kept, company->treatments, company->count);
}

static void company_init(struct company *company, uint32_t count) {
  company->positions = xmalloc((count + (size_t)1) * sizeof *company->positions);
  company->treatments = xmalloc(count + (size_t)1);
}

static void company_free(struct company *company) {
  free(company->positions);
  free(company->treatments);
}

/* The fine work again and again in other orders, as long as it is worth it; the smallest company stays. */
static void reduce(struct hunt *hunt, uint32_t enough) {
  struct company rough, best;
  reduce_roughly(hunt);
  list_kept(hunt);
  company_init(&rough, hunt->failure.count);
  company_init(&best, hunt->failure.count);
  company_save(&rough, hunt);
  company_save(&best, hunt);
  for (uint32_t i = 0; i < RESTARTS && best.count > enough && !trial_is_over(&hunt->trial); i++) {
    company_load(&rough, hunt);
    reduce_finely(hunt);
    if (hunt->failure.count < best.count) {
      company_save(&best, hunt);
    }
  }
  company_load(&best, hunt);
  company_free(&rough);
  company_free(&best);
}

/* ---- In and out ---- */

/* What of the whole holds, as far as that can be told without proving that it fails. */
static bool is_suspect(struct hunt *hunt) {
  if (!trial_is_answered(&hunt->trial, hunt->culprit) || !passes_without(hunt)) {
    return false;
  }
  struct search_result result;
  struct problem *problem;
  trial_run(&hunt->trial, hunt->tried, 1, &result, &problem);
  hunt->stranger = problem->facts->impossible != NONE && problem->facts->witness == NONE;
  search_result_free(&result);
  problem_free(problem);
  hunt->right_sometime = passes_anytime(hunt);
  return true;
}

static void write_back(const struct hunt *hunt, const struct failure *failure, uint8_t *treatments) {
  memset(treatments, TREAT_DROP, failure->count);
  uint32_t at = 0;
  for (uint32_t i = 0; i < failure->count && at < hunt->failure.count; i++) {
    if (failure->positions[i] == hunt->positions[at]) {
      treatments[i] = hunt->kept[at++];
    }
  }
  assert(at == hunt->failure.count);
}

bool culprit_company(const struct trial *trial, uint32_t culprit, uint32_t enough, uint8_t *treatments) {
  const uint32_t count = trial->failure->count;
  struct hunt hunt = {.trial = *trial, .failure = *trial->failure, .culprit = culprit};
  random_seed(&hunt.random, SEED);
  hunt.positions = xmalloc((count + (size_t)1) * sizeof *hunt.positions);
  memcpy(hunt.positions, trial->failure->positions, count * sizeof *hunt.positions);
  hunt.failure.positions = hunt.positions;
  hunt.trial.failure = &hunt.failure;
  hunt.kept = xmalloc(count + (size_t)1);
  hunt.tried = xmalloc(count + (size_t)1);
  hunt.list = xmalloc((count + (size_t)1) * sizeof *hunt.list);
  memcpy(hunt.kept, treatments, count);
  memcpy(hunt.tried, treatments, count);
  if (is_suspect(&hunt)) {
    reduce(&hunt, enough);
    hunt.proved = hunt.proved || fails(&hunt);
  }
  if (hunt.proved) {
    write_back(&hunt, trial->failure, treatments);
  }
  free(hunt.positions);
  free(hunt.kept);
  free(hunt.tried);
  free(hunt.list);
  return hunt.proved;
}
