#include "master/rpc/test/test_certificates.h"

#include <criterion/criterion.h>
#include <stdlib.h>

void test_certificate_paths(const char *directory, const char *name, enum tls_role role,
                            struct certificate_paths *paths) {
  char *authority = path_join(directory, name);
  struct error error = {0};
  if (!file_exists(authority))
    cr_assert_eq(certificates_make(authority, 3600 * NS_PER_S, &error), 0, "%s", error.message);
  certificates_paths(authority, role, paths);
  free(authority);
}

struct tls_context *test_tls_context(const char *directory, const char *name, enum tls_role role) {
  struct certificate_paths paths;
  test_certificate_paths(directory, name, role, &paths);
  const struct tls_files files = certificates_files(&paths);
  struct tls_context *context;
  struct error error = {0};
  cr_assert_eq(tls_context_new(&files, role, &context, &error), 0, "%s", error.message);
  return context;
}
