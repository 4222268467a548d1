/* worker_calls.h: what a worker tells the primary; the client finds it, as for any other request. */
#ifndef ASSAY_MASTER_CLIENT_WORKER_CALLS_H
#define ASSAY_MASTER_CLIENT_WORKER_CALLS_H

#include "master/client/client.h"

#define WORKER_REPORT_LIMIT 512 /* blocks of one report, held and removed ones each */

struct worker_registration {
  uint64_t worker;     /* a client number that it reserved */
  const char *address; /* where its clients connect */
  uint64_t capacity, nonce;
};

struct worker_report {
  uint64_t worker, epoch; /* the epoch of its registration */
  uint64_t free_bytes, stored_bytes;
  const uint64_t *held, *removed; /* blocks: some that it has, and some that it has no more */
  size_t held_count, removed_count;
};

/* Beyond the outcome only with MASTER_OK; valid during the callback only. */
struct worker_answer {
  enum master_outcome outcome;
  enum master_error error;
  uint64_t node;
  int64_t lease_ns;
  uint64_t epoch;       /* of a registration */
  bool registered;      /* of a report: the primary knows the worker by this epoch; else it has to register */
  const uint64_t *gone; /* of a report: of the held ones those that do not exist, and never will again */
  size_t gone_count;
};

typedef void master_worker_callback(void *context, const struct worker_answer *answer);

/* Both are harmless to repeat, and are, until the request's time-out. What they point to is copied. */
void master_client_register_worker(struct master_client *client, const struct worker_registration *worker,
                                   master_worker_callback *callback, void *context);
void master_client_report(struct master_client *client, const struct worker_report *report,
                          master_worker_callback *callback, void *context);

#endif
