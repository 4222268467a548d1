/* members_record.h: what nodes have said of the members of the journal, held against each other: a committed
 * entry of the journal names one set of members, whoever tells it and whenever. */
#ifndef ASSAY_HARNESS_MEMBERS_RECORD_H
#define ASSAY_HARNESS_MEMBERS_RECORD_H

#include "nemesis/nemesis.h"

/* Older ones are forgotten. */
#define MEMBERS_RECORD_SIZE 256

struct members_record {
  struct {
    uint64_t index;
    size_t node; /* who said so first */
    enum seat seats[CLUSTER_NODES_MAX];
  } said[MEMBERS_RECORD_SIZE];
  size_t count;
};

/* False, with a sentence, when somebody has told other members of the same entry. What is not committed may
 * be taken back, and is passed over. */
bool members_record_take(struct members_record *record, size_t node, const struct members *members,
                         struct error *error);

#endif
