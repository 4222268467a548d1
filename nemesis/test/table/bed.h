/* bed.h: what a fault is proved on: a cluster of echo nodes (of real masters, where a fault is done by asking
 * those) with a nemesis that does what it is told, and nothing else.
 *
 * Everything here is called inside a sandbox and ends the process, with a word on standard error, when
 * something that is no matter of the fault goes wrong (CHECK in inside.h). */
#ifndef ASSAY_NEMESIS_TEST_BED_H
#define ASSAY_NEMESIS_TEST_BED_H

#include <jansson.h>

#include "nemesis/cluster.h"
#include "nemesis/fault.h"

#define BED_NODES 5
/* The node that is made known as the primary: not the first one, that anything might hit by accident. */
#define BED_PRIMARY 1

/* What the name of the nodes' old program ends in. */
#define BED_OLD_PROGRAM "old-echo-node"

struct masters;

struct bed {
  uv_loop_t loop;
  uv_timer_t deadline;
  struct cluster *cluster;
  struct nemesis *nemesis;
  uint64_t fault;          /* the number of what was installed */
  json_t *installed;       /* the event; NULL before */
  json_t *healed;          /* the event; NULL before */
  size_t acts;             /* further acts of the fault so far */
  char problem[256];       /* what went wrong beside the fault: a node that died, a heal that stuck */
  unsigned token;          /* the last one that nodes sent to each other */
  unsigned questions;      /* asked so far */
  struct masters *masters; /* the nodes are real ones; NULL: they are echo nodes */
  pid_t pids[BED_NODES];   /* of the nodes when the bed was opened */
};

struct bed_options {
  const char *directory; /* empty */
  unsigned needs;        /* CAPABILITY_BITs */
  enum link_kind link;
};

/* All nodes run and answer when this returns. */
void bed_open(struct bed *bed, const struct bed_options *options);
/* Stops the nemesis, which verifies that everything is healed: what it says against that is a problem. */
void bed_close(struct bed *bed);

/* By hand, as a person would. False with the reason when it is skipped. */
bool bed_install(struct bed *bed, const char *fault, const char *told, struct error *error);
bool bed_heal(struct bed *bed, struct error *error);

/* Lets the nemesis do what is due now. */
void bed_turn(struct bed *bed);
/* Lets the nemesis act until it has acted so often. False after the patience. */
bool bed_await_acts(struct bed *bed, size_t acts, int patience_ms);
/* Lets it act until the fault has no further acts. False after the patience. */
bool bed_await_over(struct bed *bed, int patience_ms);

/* ---- What the fault is, as the nemesis told when it was installed ---- */

double bed_number(const struct bed *bed, const char *name);
bool bed_is_target(const struct bed *bed, size_t node);
size_t bed_targets(const struct bed *bed);
size_t bed_first_target(const struct bed *bed);
/* Whether packets from `other` to `node` shall pass. */
bool bed_hears(const struct bed *bed, size_t node, size_t other);
/* Whether packets from `from` to `to` shall be treated. */
bool bed_shapes(const struct bed *bed, size_t from, size_t to);

/* ---- Asking nodes, from where the clients are ---- */

#define BED_REPLY_SIZE 512

/* A question (questions.h) that is carried out once, however often it must be sent. False when the patience
 * came to its end before an answer. */
bool bed_ask(struct bed *bed, size_t node, int patience_ms, char reply[BED_REPLY_SIZE], const char *format,
             ...) __attribute__((format(printf, 5, 6)));

/* As bed_ask, of a node that must answer. */
void bed_must_ask(struct bed *bed, size_t node, char reply[BED_REPLY_SIZE], const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Has every node that answers send to every other: heard[a * BED_NODES + b] tells whether a has heard b.
 * Waits for what bed_hears() says shall pass (everything, unless a fault is installed), at most 5 s. */
void bed_listen(struct bed *bed, bool heard[BED_NODES * BED_NODES]);

#endif
