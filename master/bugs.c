#include "master/bugs.h"

#ifdef ASSAY_BUGS

#include <string.h>

#include "base/base.h"

static const char *const bug_names[BUGS] = {
    [BUG_LOCAL_READS] = "local-reads",
    [BUG_EARLY_ACK] = "early-ack",
};

static bool enabled[BUGS];

bool bug_active(enum bug bug) {
  return enabled[bug];
}

bool bug_enable(const char *name) {
  for (size_t i = 0; i < ARRAY_SIZE(bug_names); i++) {
    if (strcmp(bug_names[i], name) == 0) {
      enabled[i] = true;
      return true;
    }
  }
  return false;
}

#endif
