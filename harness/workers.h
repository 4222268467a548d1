/* workers.h: processes of assay-worker beside the masters of a cluster, on the loopback of where its clients
 * are.
 *
 * Each has DIRECTORY/worker-N with its blocks and its log. Their links to the masters are those of clients:
 * no fault of the nemesis cuts them. */
#ifndef ASSAY_HARNESS_WORKERS_H
#define ASSAY_HARNESS_WORKERS_H

#include <uv.h>

#include "base/base.h"

#define WORKERS_AT_ONCE 16

struct workers;

struct workers_options {
  uv_loop_t *loop;
  const char *certificates; /* directory of theirs (secure.h); NULL: they have no TLS */
  size_t count;
  const char *directory;      /* made if missing */
  const char *const *masters; /* client addresses */
  size_t master_count;
  /* One ended though nobody asked it to: what a person should know. */
  void (*died)(void *context, const char *text);
  void *context;
};

/* Starts them; they register when there is a primary. */
int workers_start(const struct workers_options *options, struct workers **workers, struct error *error);

/* Ends them, in order, or by force after some seconds; `stopped` is called when all are gone, and so is this.
 */
void workers_stop(struct workers *workers, void (*stopped)(void *context), void *context);

#endif
