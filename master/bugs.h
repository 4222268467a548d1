/* bugs.h: named defects, for proving that the harness finds them.
 *
 * Only a build with -DASSAY_BUGS=ON (preset `bugs`, never installed) contains them; in every other build
 * bug_active() is the constant false and the names are not in the binary (a test searches for them). The
 * names are those of docs/bugs.md, where each is told with the real system it comes from. */
#ifndef ASSAY_MASTER_BUGS_H
#define ASSAY_MASTER_BUGS_H

#include <stdbool.h>

enum bug {
  BUG_LOCAL_READS, /* the primary answers reads without confirming its leadership */
  BUG_EARLY_ACK,   /* the primary answers before a quorum has the entry */
  BUGS
};

#ifdef ASSAY_BUGS
bool bug_active(enum bug bug);
/* Switches the bug of that name on; false when there is none of that name. */
bool bug_enable(const char *name);
#else
static inline bool bug_active(enum bug bug) {
  (void)bug;
  return false;
}
#endif

#endif
