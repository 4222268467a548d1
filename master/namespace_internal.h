/* namespace_internal.h: what the files of the namespace share. */
#ifndef ASSAY_MASTER_NAMESPACE_INTERNAL_H
#define ASSAY_MASTER_NAMESPACE_INTERNAL_H

#include "master/namespace.h"

/* -- rows through the overlay: namespace.c -- */
bool namespace_get(struct namespace *space, enum table table, const struct row_key *key, struct slice *value);
void namespace_put_scratch(struct namespace *space, enum table table, const struct row_key *key,
                           enum row_change change);
void namespace_delete(struct namespace *space, enum table table, const struct row_key *key);
/* Marks the tables failed because of a row that no encoder made, or that must be there and is not. */
void namespace_corrupt(struct tables *tables, const char *what);
/* What was read may not be what is there: nothing that is done now will stay. */
static inline bool namespace_is_lost(const struct namespace *space) {
  return tables_failed(space->tables) || tables_missed(space->tables) > 0;
}

/* -- steps that are taken back when they miss something: namespace.c -- */
struct namespace_mark {
  struct counters counters;
  struct namespace_defects defects;
  size_t missed;
};
void namespace_begin(struct namespace *space, struct namespace_mark *mark);
/* False when something was missed since namespace_begin: then all is as it was there. */
bool namespace_end(struct namespace *space, const struct namespace_mark *mark);

/* -- at most once: retries.c -- */
enum retry_verdict { RETRY_NEW, RETRY_REPEATED, RETRY_REFUSED };

struct retry {
  uint32_t client, sequence;
  bool known; /* the client has a row */
  struct client_record record;
};

/* Is the operation new? REPEATED fills `outcome` with the first answer. */
enum retry_verdict retry_check(struct namespace *space, const struct request *request, struct retry *retry,
                               struct outcome *outcome);
/* Notes the answer of a new operation, and forgets those that the client will not ask for again. */
void retry_record(struct namespace *space, const struct request *request, const struct retry *retry,
                  const struct outcome *outcome);
/* Allocates client numbers and introduces them. */
void clients_reserve(struct namespace *space, uint32_t count, struct outcome *outcome);

#endif
