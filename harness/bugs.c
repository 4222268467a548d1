#include "harness/bugs.h"

#include <string.h>

#include "master/bugs.h"

#define PRESET "ci/build bugs programs, then build/bugs/bin/assay"

#ifdef ASSAY_BUGS

int bugs_find(const char *name, struct error *error) {
  struct bytes known = {0};
  const struct bug_description *bug = bug_list();
  for (; bug->name && strcmp(bug->name, name) != 0; bug++)
    if (!bug->waits_for)
      bytes_append_format(&known, "%s%s", known.size > 0 ? ", " : "", bug->name);
  int status = 0;
  if (!bug->name)
    status = error_set(error, ERR_BAD_INPUT, "there is no defect '%s'; there are %.*s", name, (int)known.size,
                       (const char *)known.data);
  else if (bug->waits_for)
    status =
        error_set(error, ERR_BAD_INPUT, "the defect '%s' waits for %s, which the master does not have yet",
                  name, bug->waits_for);
  bytes_free(&known);
  return status;
}

void bugs_enable(const char *name) {
  bug_enable(name);
}

#else

int bugs_find(const char *name, struct error *error) {
  return error_set(error, ERR_BAD_INPUT, "this build has no defects, so none is called '%s': " PRESET, name);
}

void bugs_enable(const char *name) {
  (void)name;
}

#endif
