/* step.h: operations as the search sees them.
 *
 * A `struct problem` is one part of a history (a component, or what the minimiser has left of it) compiled:
 * texts are numbers, paths are nodes of a static trie, events are counted within the problem. Each kept
 * operation is one `struct step`.
 *
 *   history operation      step
 *   ok or observing error  what it asked (action), what it saw (expectation), due at its completion
 *   outcome unknown        what it asked; due never, or before the first one that saw its effect
 *   says nothing           none: refused operations, reads without an answer */
#ifndef ASSAY_CHECKER_STEP_H
#define ASSAY_CHECKER_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "checker/hash.h"
#include "checker/intern.h"
#include "histories/histories.h"

#define PATH_ROOT 0u
#define ROOT_CREATOR 0u /* dense number of op id 0 */

/* A node of the trie of all paths a problem mentions. */
struct path {
  uint32_t parent; /* NONE for the root */
  uint32_t name;
  uint32_t depth;
  uint32_t first,
      last; /* preorder numbers of the subtree: q is at or above p iff q.first <= p.first <= q.last */
};

struct entry {
  uint32_t name;
  uint32_t path;
  uint32_t creator; /* NONE: unobserved */
  uint8_t kind;
  bool has_kind, has_creator;
};

/* What an answer said, in dense numbers. */
struct expectation {
  enum answer_code code;
  unsigned seen;    /* of enum answer_member */
  uint32_t creator; /* dense */
  uint32_t value;
  enum inode_kind kind;
  bool completed, exists;
  uint64_t version, length, block_count, child_count, at;
  uint32_t block;        /* dense */
  bool entries_complete; /* every entry has kind and creator */
  bool impossible;       /* no state gives this answer */
  struct entry *entries;
  uint32_t entry_count;
  uint64_t entries_hash; /* of all entries when entries_complete, see tree.h */
  const struct block_entry *blocks;
  uint32_t *block_ids; /* dense, one for each of `blocks` */
  uint32_t block_entry_count;
};

struct action {
  enum operation_kind kind;
  bool parents, exist_ok, overwrite, recursive, has_if_version;
  uint32_t path; /* NONE: not a valid path */
  uint32_t destination;
  uint32_t value;
  uint32_t block; /* dense; NONE: no add-block of the problem makes it */
  uint64_t if_version, length;
  bool expects; /* false: any successful outcome will do (outcome unknown) */
  struct expectation expected;
};

enum role {
  ROLE_OBSERVATION, /* can only be placed where it changes nothing */
  ROLE_MUTATION,
  ROLE_UNKNOWN, /* may be placed where it changes something, or never */
};

/* What an operation depends on and changes, as (path, aspect). Existence also stands for everything below. */
enum aspect {
  ASPECT_EXISTENCE,
  ASPECT_ATTRIBUTES,
  ASPECT_MEMBERS, /* of a directory: its children, and with them its version; writes of it commute */
};

/* Sets of (path, aspect). Bits are given out in turn, so sets over up to 128 keys are exact; beyond, keys
 * share bits and sets are larger than they need be, which is safe. */
typedef unsigned __int128 mask;
#define MASK_ALL (~(mask)0)

struct access {
  uint32_t path;
  uint32_t if_missing; /* only while this path does not resolve (parents=true); NONE: always */
  uint8_t aspect;
  bool write;
};

struct step {
  struct action *actions; /* one, or the items of a batch */
  uint32_t action_count;
  bool batch;
  bool dynamic; /* commit-block: its path is where the block is */
  bool unique;  /* takes part in no symmetry */
  enum role role;
  uint32_t operation;                /* position in the history */
  uint32_t invoked_at, completed_at; /* events of the history */
  uint32_t creator;                  /* dense: what it makes carries this */
  uint32_t made_block;               /* add-block: dense */
  uint32_t invoke;                   /* event of the problem */
  uint32_t deadline;                 /* event by which it must be placed; NONE: never */
  uint32_t class;                    /* steps of one class are interchangeable */
  uint32_t life;  /* first of the lives it may begin, see facts.h; NONE: a batch or no creation */
  uint32_t group; /* the fact it observes, see facts.h */
  uint32_t access_first, access_count;
  mask doom_mask; /* what decides whether facts permit it: all about the inodes whose versions it raises */
  mask read_mask, write_mask; /* what it depends on and changes, a bit for each key */
  struct hash key;            /* of this step in the hash of a set of steps */
};

enum event_kind { EVENT_INVOKE, EVENT_DUE };

struct event {
  uint32_t step;
  enum event_kind kind;
  uint32_t original; /* position in the history's client events */
};

struct problem {
  const struct history *history;
  bool versions;
  struct text_table names, values;
  struct key_table path_table, creator_table, block_table;
  struct path *paths;
  uint32_t path_count, path_capacity;
  struct step *steps;
  uint32_t step_count;
  struct access *accesses;
  uint32_t access_count, access_capacity;
  struct event *events;
  uint32_t event_count;
  uint32_t creator_count, block_count;
  uint32_t *creator_step; /* dense creator to step, NONE for the root's and for strangers */
  uint32_t *block_step;   /* dense block to the step that adds it */
  bool *creator_public;   /* somebody else saw it; others are all alike */
  bool *value_public;
  bool versions_matter; /* somebody saw a version */
  uint32_t class_count;
  uint64_t promoted;        /* unknown steps that somebody saw the effect of */
  uint64_t dropped;         /* unknown operations that cannot change anything */
  struct fact_table *facts; /* see facts.h */
  struct region *region;    /* memory that lives as long as the problem */
  uint64_t bytes;
};

static inline bool path_covers(const struct problem *problem, uint32_t above, uint32_t path) {
  uint32_t at = problem->paths[path].first;
  return problem->paths[above].first <= at && at <= problem->paths[above].last;
}

/* The trie node of child `name` of `parent`, NONE when nobody mentions it. */
uint32_t path_child(const struct problem *problem, uint32_t parent, uint32_t name);

/* What the minimiser does to an operation. */
enum treatment {
  TREAT_KEEP,
  TREAT_DROP,
  TREAT_UNKNOWN, /* as if its answer had been lost */
  TREAT_ANYTIME, /* as if it had been asked first and answered last of all */
};

/* Compiles the operations at `positions` (ascending). `treatments` (one for each of them, or NULL) leaves out
 * or weakens. `versions` false: as if no answer had shown a version and no set had asked for one. Never
 * fails: the history was screened before (check.c). */
struct problem *problem_new(const struct history *history, const uint32_t *positions, uint32_t count,
                            const uint8_t *treatments, bool versions);
void problem_free(struct problem *problem);

/* Whether the operation says or may have done anything at all. */
bool operation_matters(const struct operation *operation);

#endif
