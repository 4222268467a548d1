/* The replicas of simulator/test make their journals with raft_journal_new(); here that is libraft 0.15's. */
#include "simulator/canonical/canonical_journal.h"

struct journal *raft_journal_new(const struct raft_journal_options *options, const struct world *world,
                                 const struct state_machine *state) {
  return canonical_journal_new(options, world, state);
}
