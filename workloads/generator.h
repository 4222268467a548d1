/* generator.h: what the workloads share.
 *
 * The logical clients of a generator work in groups of GROUP_SIZE; a group has a working set of its own: a
 * top directory and a few well-known names below it, which its clients, connected to different nodes, create,
 * change, read and remove against each other. After some operations the group rotates to a fresh set, so that
 * no object of a history is ever touched by more than a few clients and a few thousand operations: that keeps
 * the search for a linearization short, and the contention high.
 *
 *   /w0-2-17/b/f1     shard 0, group 2, its set 17, directory b, file f1
 *
 * A set first needs its directories and files: the clients make them (all of them may try) before they draw.
 */
#ifndef ASSAY_WORKLOADS_GENERATOR_H
#define ASSAY_WORKLOADS_GENERATOR_H

#include "workloads/workloads.h"

#define GROUP_SIZE 8
#define OBJECTS_MAX 32
#define PATH_ROOM 160

#define BLOCKS_KEPT 16

/* A block that an answer told of. */
struct known_block {
  uint64_t block;
  int object;      /* the file it belongs to, as far as is known */
  uint64_t length; /* 0: not known to be committed */
};

/* One thing that a set begins with. */
struct setup_step {
  enum operation_kind kind; /* mkdir or create; both make the missing directories above */
  const char *path;         /* below the set's top */
};

struct working_set {
  uint64_t number, drawn; /* operations drawn from it so far */
  char top[64];
  size_t top_size;
  bool made[OBJECTS_MAX];         /* of the set-up steps */
  size_t made_count;              /* the first so many are made for certain */
  uint64_t versions[OBJECTS_MAX]; /* of the workload's objects, as last seen; 0: not seen */
  int parents[OBJECTS_MAX];       /* moves: where each directory is believed to be */
  struct known_block blocks[BLOCKS_KEPT];
  size_t block_count;
  uint64_t lengths[OBJECTS_MAX]; /* of the blocks of a file together, as far as is known */
};

/* What was drawn for a client, to make sense of the answer. */
struct note {
  uint64_t set;      /* its number: an answer that comes after the rotation teaches nothing */
  int step;          /* the set-up step, -1: an ordinary operation */
  int object, other; /* of the workload, -1: none */
  uint64_t values;   /* how many unique values the client was given */
};

/* The text of one operation. */
struct drawn_text {
  char path[PATH_ROOM], destination[PATH_ROOM], value[48];
};

/* One operation being drawn. */
struct draw {
  struct generator *generator;
  struct random *random;
  struct working_set *set;
  struct note *note;
  struct arguments *arguments;
  struct drawn_text *text;
  size_t client;
};

struct workload {
  struct workload_description description;
  const struct setup_step *setup;
  size_t setup_count;
  void (*begin)(struct working_set *set); /* may be NULL */
  void (*draw)(struct draw *draw);
  /* Of an ordinary operation of the present set that was answered; may be NULL. */
  void (*learn)(struct working_set *set, const struct note *note, const struct arguments *arguments,
                enum outcome outcome, const struct answer *answer);
};

extern const struct workload workload_mixed, workload_register, workload_names, workload_moves,
    workload_blocks, workload_batches;

struct weight {
  enum operation_kind kind;
  unsigned weight;
};

/* One of the kinds, each as often as its weight says. */
enum operation_kind draw_kind(struct random *random, const struct weight *weights, size_t count);

/* The arguments' path, or destination, becomes `relative` below the set's top (NULL: the top itself). */
void draw_path(struct draw *draw, const char *relative);
void draw_destination(struct draw *draw, const char *relative);
/* The arguments' value becomes one that no other operation of the run ever sets: "v<client>-<n>". */
void draw_value(struct draw *draw);
/* With the given probability the set becomes conditional on the version last seen of `object`. */
void draw_if_version(struct draw *draw, double probability, int object);

/* The operation becomes a batch: each of `count` operations is drawn as one by itself, with a copy of the
 * batch's note. */
void draw_batch(struct draw *draw, size_t count, void (*draw_item)(struct draw *item, size_t index));

/* blocks_known.c: what the set's clients know of blocks. */

/* One of the known blocks is committed, with one of few lengths, so that it happens twice with the same one;
 * false when none is known. */
bool draw_commit_block(struct draw *draw);
/* The completion of a file, with the length its blocks are believed to have mostly. */
void draw_completion(struct draw *draw, int object);
void learn_blocks(struct working_set *set, const struct note *note, const struct arguments *arguments,
                  enum outcome outcome, const struct answer *answer);

/* The version that an answer shows of the object it is about, 0 when it shows none. */
uint64_t seen_version(const struct arguments *arguments, enum outcome outcome, const struct answer *answer);

#endif
