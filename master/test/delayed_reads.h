/* delayed_reads.h: makes the reads of a row store end by chance, in any order; they see what is there when
 * they begin or when they end. */
#ifndef ASSAY_MASTER_TEST_DELAYED_READS_H
#define ASSAY_MASTER_TEST_DELAYED_READS_H

#include "base/base.h"
#include "master/store.h"

struct delayed_read;

struct delayed_reads {
  struct row_store_functions functions; /* of the store; may be changed */
  const struct row_store_functions *own;
  struct row_store *store;
  struct delayed_read *reads;
  struct random random;
};

/* From now on; again for a store opened anew. What is still out then must have been drained. */
void delayed_reads_begin(struct delayed_reads *delayed, struct row_store *store);

/* Ends some of those that are out, each with that chance. True when there were any. */
bool delayed_reads_end_some(struct delayed_reads *delayed, double chance);

#endif
