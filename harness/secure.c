#include "harness/secure.h"

#include <stdio.h>
#include <stdlib.h>

#include "master/rpc/certificates.h"

#define VALID_NS (24 * 3600 * NS_PER_S)

static const char *or_environment(const char *given, const char *name) {
  const char *value = given ? given : getenv(name);
  return value && value[0] != '\0' ? value : NULL;
}

int secure_open(const struct tls_files *given, const char *directory, struct tls_context **context,
                struct error *error) {
  struct tls_files files = {
      .certificate = or_environment(given ? given->certificate : NULL, "ASSAY_TLS_CERTIFICATE"),
      .key = or_environment(given ? given->key : NULL, "ASSAY_TLS_KEY"),
      .authority = or_environment(given ? given->authority : NULL, "ASSAY_TLS_AUTHORITY")};
  struct certificate_paths paths;
  bool there;
  *context = NULL;
  int status = tls_files_check(&files, &there, error);
  if (status == 0 && !there && directory && directory[0] != '\0') {
    certificates_paths(directory, TLS_CLIENT, &paths);
    files = certificates_files(&paths);
    there = true;
  }
  /* Whoever may speak to a master may do so as an operator, too. */
  return status != 0 || !there ? status : tls_context_new(&files, TLS_ANYONE, context, error);
}

int secure_make(const char *directory, int64_t time_ns, struct error *error) {
  return certificates_make(directory, VALID_NS + time_ns, error);
}

const struct cluster_file *secure_files(const char *directory, enum tls_role role,
                                        struct secure_files *files) {
  static const char *const flags[] = {"--tls-certificate", "--tls-key", "--tls-authority"};
  struct certificate_paths paths;
  certificates_paths(directory, role, &paths);
  const char *const all[] = {paths.certificate, paths.key, paths.authority};
  for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
    snprintf(files->paths[i], sizeof files->paths[i], "%s", all[i]);
    files->files[i] = (struct cluster_file){flags[i], files->paths[i]};
  }
  files->files[ARRAY_SIZE(flags)] = (struct cluster_file){0};
  return files->files;
}
