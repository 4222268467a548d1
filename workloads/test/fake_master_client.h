/* fake_master_client.h: stands in for the master's client library: a cluster that is one list of paths in
 * this process, with the moods that a test asks for. */
#ifndef ASSAY_WORKLOADS_TEST_FAKE_MASTER_CLIENT_H
#define ASSAY_WORKLOADS_TEST_FAKE_MASTER_CLIENT_H

#include "master/client/client.h"

struct fake_cluster {
  double unknown, unchecked; /* shares of the operations that end so */
  bool silent;               /* never answers an operation */
  bool no_numbers;           /* refuses every client number */
  int refusals;              /* of numbers before the first is granted */
};

extern struct fake_cluster fake_cluster;

#endif
