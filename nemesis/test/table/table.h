/* table.h: the table test: for every fault of the catalogue a proof, from outside, that it takes hold and
 * that it is gone after healing.
 *
 *   fault              probe                          expected        before     during     after
 *   partition-halves   UDP between all nodes          8 of 20 pass    20         8          20        holds
 *
 * A proof looks three times and never believes what the nemesis says of itself, but for whom and how hard it
 * has drawn to hit: that is what the probe must find. Every fault is proved in a sandbox and on a cluster of
 * its own (bed.h), so nothing that one leaves behind helps or hurts the next. */
#ifndef ASSAY_NEMESIS_TEST_TABLE_H
#define ASSAY_NEMESIS_TEST_TABLE_H

#include "nemesis/test/table/bed.h"

enum phase { BEFORE, DURING, AFTER, PHASES };

enum verdict {
  BROKE_OFF, /* the proof ended before its end: what it said stands on standard error */
  HOLDS,
  FALLS_SHORT,
  LACKING, /* the cluster cannot do this fault here, and says why */
  VERDICTS,
};

/* What a probe found. */
struct cell {
  bool holds;
  char text[64];
};

struct row {
  char expected[64];
  struct cell cells[PHASES];
  /* Set by a proof that measures time, or shares of many: other work on the machine can spoil that, and makes
   * no fault out of none, nor none out of one, so it may look again when it did not find what it should. Not
   * for what moves a fault on. */
  bool again;
  enum verdict verdict;
  char reason[512];
  unsigned lacks; /* CAPABILITY_BITs */
  char link[16];  /* what joined the nodes: "veth", "netem", "tap" */
};

struct proof {
  const char *fault;
  const char *probe; /* what is measured, for people */
  const char *told; /* JSON: further members of the entry by which it is installed; NULL: it aims by itself */
  /* Fills in the row's cell of this phase, and, in the phase DURING, what was to be expected. */
  void (*measure)(struct bed *bed, enum phase phase, struct row *row);
};

struct proof_table {
  const struct proof *proofs;
  size_t count;
};

/* A room for each family or for several kindred ones, as in the catalogue. */
extern const struct proof_table partition_proofs;
extern const struct proof_table process_proofs;
extern const struct proof_table lifecycle_proofs;
extern const struct proof_table link_proofs;
extern const struct proof_table clock_proofs;
extern const struct proof_table snapshot_proofs;
extern const struct proof_table resource_proofs;
extern const struct proof_table disk_proofs;
extern const struct proof_table membership_proofs;

void row_expect(struct row *row, const char *format, ...) __attribute__((format(printf, 2, 3)));
void row_found(struct row *row, enum phase phase, bool holds, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
