/* data_directory.h: the directory of one node: one process at a time, one node of one cluster for ever.
 *
 *   DATA/lock      held while a master runs; says which
 *   DATA/identity  the cluster and the node whose data this is
 *   DATA/journal/  the Raft log
 *   DATA/tables/   RocksDB */
#ifndef ASSAY_MASTER_DATA_DIRECTORY_H
#define ASSAY_MASTER_DATA_DIRECTORY_H

#include <stdint.h>

#include "base/base.h"

struct data_directory {
  char *journal, *tables; /* paths */
  int lock;               /* descriptor */
};

/* Makes what is missing and takes the lock. Errors name the directory and what to do: it cannot be written,
 * another process has it, or it belongs to another cluster or node. */
int data_directory_open(const char *path, uint64_t cluster, uint64_t node, struct data_directory *directory,
                        struct error *error);

void data_directory_close(struct data_directory *directory);

#endif
