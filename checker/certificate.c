/* Writing the certificate of a valid history. */
#include "checker/checker.h"

#include <inttypes.h>
#include <stdio.h>

int certificate_write(const struct history *history, const struct check_result *result, const char *path,
                      struct error *error) {
  if (result->verdict != VERDICT_VALID) {
    return error_set(error, ERR_BAD_INPUT, "%s: only a valid history has a certificate, this one is %s", path,
                     verdict_name(result->verdict));
  }
  FILE *file = fopen(path, "w");
  if (file == NULL) {
    return error_set_errno(error, ERR_IO, "%s: cannot write the certificate", path);
  }
  fprintf(file, "# index of each invocation, in linearization order; operations left out took no effect\n");
  for (size_t i = 0; i < result->linearization_count; i++) {
    fprintf(file, "%" PRIu64 "\n", history->operations[result->linearization[i]].invoke_index);
  }
  bool failed = ferror(file) != 0;
  failed = fclose(file) != 0 || failed;
  return failed ? error_set_errno(error, ERR_IO, "%s: cannot write the certificate", path) : 0;
}
