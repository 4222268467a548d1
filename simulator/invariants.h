/* invariants.h: what must hold among the masters, at every step.
 *
 *   election-safety       a term has one leader
 *   leader-completeness   a leader's log reaches as far as what had been committed in terms before its own
 *   log-matching          along the log terms never go back, and a batch stands in an entry of the term of
 * the primary that made it state-machine-safety  all replicas are given the same bytes at the same index,
 * over crashes and snapshots commit-monotonic      no replica's index goes back or skips; after a crash it
 * begins where its store is state-hash            equal tables at equal indexes at-most-once          an
 * operation's effects are in one entry unique-ids            an inode id is never given out twice
 *   answered-committed    no answer leaves before what it tells of is committed somewhere
 *   acknowledged-durable  what was answered is in the end in everybody's tables
 *   membership            the members that a node goes by are those that everybody's log has at that entry
 *   tree                  the tables are a tree (primary_audit)
 *   gone-for-good         what one report was told does not exist, no later one finds (reports.c)
 *
 * The first four are those of the Raft paper's Figure 3 (Ongaro and Ousterhout, 2014). Knows what it is told
 * and nothing else; who is told of a violation stops the world, so that only the first one counts. */
#ifndef ASSAY_SIMULATOR_INVARIANTS_H
#define ASSAY_SIMULATOR_INVARIANTS_H

#include "master/journal.h"
#include "simulator/simulator.h"

struct invariants;

typedef void invariant_violated(void *context, const char *invariant, const char *text);

struct invariants *invariants_new(size_t nodes, invariant_violated *violated, void *context);
void invariants_free(struct invariants *invariants);

/* A life begins with a store that is complete up to `index`. */
void invariants_born(struct invariants *invariants, size_t node, uint64_t index);
/* The store is gone for good, and with it all promises. */
void invariants_wiped(struct invariants *invariants, size_t node);
/* `last_index`: of the node's log. */
void invariants_role(struct invariants *invariants, size_t node, enum journal_role role, uint64_t term,
                     uint64_t last_index);
void invariants_committed(struct invariants *invariants, size_t node, uint64_t index, uint64_t term,
                          const void *data, size_t size);
void invariants_installed(struct invariants *invariants, size_t node, uint64_t index, uint64_t term);
/* The membership that a node goes by: a hash of it, and the entry it stands in; index 0: none. */
void invariants_membership(struct invariants *invariants, size_t node, uint64_t index, uint64_t term,
                           uint64_t hash);
void invariants_durable(struct invariants *invariants, size_t node, uint64_t index);
/* The hash of the node's tables at what it applied last. */
void invariants_state(struct invariants *invariants, size_t node, uint64_t hash);
/* The node answers a mutation, ok or with an observation that needs a commit; `index` is what the answer
 * names, 0: none. */
void invariants_answered(struct invariants *invariants, size_t node, uint64_t op_id, uint64_t index);
/* … a read, from its tables at `index`. */
void invariants_read(struct invariants *invariants, size_t node, uint64_t index);
/* At the end: the replicas agree on having `index`. */
void invariants_settled(struct invariants *invariants, uint64_t index);

uint64_t invariants_highest(const struct invariants *invariants); /* index committed anywhere */
uint64_t invariants_applied(const struct invariants *invariants, size_t node);
uint64_t invariants_elections(const struct invariants *invariants);

#endif
