/* lying_journal.h: the Raft journal, with one lie: what an invariant is for. One node tells it, or all. */
#ifndef ASSAY_SIMULATOR_TEST_LYING_JOURNAL_H
#define ASSAY_SIMULATOR_TEST_LYING_JOURNAL_H

#include "master/raft/raft_journal.h"

enum lie {
  LIE_NONE,
  LIE_LEADS_TOO,   /* node 2 leads whatever term another node leads */
  LIE_SHORT_LOG,   /* node 2 leads a later term with an empty log */
  LIE_SKIPS,       /* node 2 is not given an entry */
  LIE_EMPTIES,     /* node 2 is given an entry without its bytes */
  LIE_CONFIRMS,    /* everybody confirms leadership without asking anybody */
  LIE_NEVER_LEADS, /* nobody hears that it leads */
  LIE_FATAL,       /* node 2 cannot go on */
};

/* What journals made from now on do. */
void lying_journal_lie(enum lie lie);
struct journal *lying_journal_new(const struct raft_journal_options *options, const struct world *world,
                                  const struct state_machine *state);

#endif
