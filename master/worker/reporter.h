/* reporter.h: a worker and the primary: registration, heartbeats, reports, and what follows from them.
 *
 *   number (reserved once, on the disk) ─▶ register ─▶ report 512 blocks, 512 blocks, … all ─▶ heartbeats
 *                                             ▲                                                   │
 *                                             └──── another primary: it does not know us ─────────┘
 *
 * A heartbeat is a report too: it tells of what came and went, and goes on with the round through all blocks;
 * a round takes ten minutes at most. Blocks that the answer says do not exist are removed. The answer is that
 * of a linearizable read, so it holds for good: ids are given once, and a client writes a block here after it
 * was added there.
 *
 * The lease: a worker that no primary has answered for so long takes no new blocks. Nothing would be wrong
 * with them; but the primary counts this worker as lost by then and tells nobody of what is here, so a client
 * that wrote here would see its file unreadable. It had better be told to write elsewhere. Reads go on. */
#ifndef ASSAY_WORKER_REPORTER_H
#define ASSAY_WORKER_REPORTER_H

#include <uv.h>

#include "base/base.h"
#include "master/worker/block_store.h"

struct reporter;
struct tls_context;

struct reporter_options {
  uv_loop_t *loop;
  const char *const *masters; /* "host:port" of client ports */
  size_t master_count;
  struct tls_context *tls;   /* as in master_client_options */
  struct block_store *store; /* not owned */
  const char *address;       /* where clients reach this worker; copied */
  /* The worker cannot go on. */
  void (*fatal)(void *context, const struct error *error);
  /* It is registered for the first time. */
  void (*registered)(void *context, uint64_t cluster, uint64_t worker);
  void *context;
};

int reporter_open(const struct reporter_options *options, struct reporter **reporter, struct error *error);

/* As in struct data_server_options. */
bool reporter_may_write(struct reporter *reporter, char *why, size_t size);
void reporter_added(struct reporter *reporter, uint64_t block);
void reporter_lost(struct reporter *reporter, uint64_t block);

/* `closed` is called when nothing is under way any more, and the reporter is gone. */
void reporter_close(struct reporter *reporter, void (*closed)(void *context), void *context);

#endif
