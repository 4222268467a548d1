/* certificates.h: an authority, and a certificate of it for each role (master/rpc/tls.h), for clusters that
 * live a day: those of tests. The authority's key is written nowhere, so nobody can make more of them. */
#ifndef ASSAY_MASTER_CERTIFICATES_H
#define ASSAY_MASTER_CERTIFICATES_H

#include "master/rpc/tls.h"

/* Makes, in `directory`, which is made (for its owner alone) if need be: authority.pem, and master.pem and
 * master.key, worker.pem …, client.pem …; all for their owner alone, in the place of what was there. Valid
 * from a day ago, so that clocks may be wrong, until `valid_ns` from now. */
int certificates_make(const char *directory, int64_t valid_ns, struct error *error);

/* The paths of a role's files in such a directory. */
struct certificate_paths {
  char certificate[4096 + 16], key[4096 + 16], authority[4096 + 16];
};
void certificates_paths(const char *directory, enum tls_role role, struct certificate_paths *paths);
struct tls_files certificates_files(const struct certificate_paths *paths);

#endif
