/* secure.h: what a command proves itself with to masters that speak TLS, and certificates for clusters of our
 * own. */
#ifndef ASSAY_HARNESS_SECURE_H
#define ASSAY_HARNESS_SECURE_H

#include "base/base.h"
#include "master/rpc/tls.h"
#include "nemesis/nemesis.h"

/* The flags of a command that talks to masters; `files` is a struct tls_files *. */
#define TLS_FLAGS(files)                                                                                     \
  {"tls-certificate",                                                                                        \
   FLAG_STRING,                                                                                              \
   &(files)->certificate,                                                                                    \
   "FILE",                                                                                                   \
   "masters speak TLS: the certificate to show them (PEM; default: ASSAY_TLS_CERTIFICATE)",                  \
   0,                                                                                                        \
   0},                                                                                                       \
      {"tls-key", FLAG_STRING, &(files)->key, "FILE", "its key (PEM; default: ASSAY_TLS_KEY)", 0, 0}, {      \
    "tls-authority", FLAG_STRING, &(files)->authority, "FILE",                                               \
        "the authority that masters' certificates come from (PEM; default: ASSAY_TLS_AUTHORITY)", 0, 0       \
  }

/* The files of these flags; what is not given is taken from the environment, and when nothing is given at
 * all, from `directory` (secure_make; NULL or "": none). *context becomes NULL when there are none: no TLS.
 */
int secure_open(const struct tls_files *given, const char *directory, struct tls_context **context,
                struct error *error);

/* Makes certificates for a day, and `time_ns` more, in a directory, for a cluster of ours and those who talk
 * to it. */
int secure_make(const char *directory, int64_t time_ns, struct error *error);

/* What a program of such a cluster is given of them, for cluster_options.files. */
struct secure_files {
  char paths[3][4096 + 16];
  struct cluster_file files[4];
};
const struct cluster_file *secure_files(const char *directory, enum tls_role role,
                                        struct secure_files *files);

#endif
