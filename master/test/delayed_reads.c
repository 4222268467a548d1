#include "delayed_reads.h"

#include <stdlib.h>

struct delayed_read {
  struct delayed_read *next;
  store_read_run *run; /* NULL: it has seen */
  store_read_done *done;
  void *context;
};

static struct delayed_reads *delayed_of(const struct row_store *store) {
  return CONTAINER_OF((struct row_store_functions *)store->functions, struct delayed_reads, functions);
}

static void delayed_read(struct row_store *store, store_read_run *run, store_read_done *done, void *context) {
  struct delayed_reads *delayed = delayed_of(store);
  struct delayed_read *read = xmalloc(sizeof *read);
  *read = (struct delayed_read){.next = delayed->reads, .run = run, .done = done, .context = context};
  delayed->reads = read;
  if (random_chance(&delayed->random, 0.5)) {
    run(context, store);
    read->run = NULL;
  }
}

static void end_read(struct delayed_reads *delayed, struct delayed_read **at) {
  struct delayed_read *read = *at;
  *at = read->next;
  if (read->run)
    read->run(read->context, delayed->store);
  read->done(read->context);
  free(read);
}

bool delayed_reads_end_some(struct delayed_reads *delayed, double chance) {
  const bool any = delayed->reads != NULL;
  for (struct delayed_read **at = &delayed->reads; *at;) {
    if (random_chance(&delayed->random, chance))
      end_read(delayed, at);
    else
      at = &(*at)->next;
  }
  return any;
}

static void delayed_drain(struct row_store *store, bool ending) {
  struct delayed_reads *delayed = delayed_of(store);
  delayed->own->drain(store, ending);
  while (ending && delayed->reads)
    end_read(delayed, &delayed->reads);
}

void delayed_reads_begin(struct delayed_reads *delayed, struct row_store *store) {
  if (store->functions == &delayed->functions)
    return;
  delayed->store = store;
  delayed->own = store->functions;
  delayed->functions = *store->functions;
  delayed->functions.read = delayed_read;
  delayed->functions.drain = delayed_drain;
  store->functions = &delayed->functions;
}
