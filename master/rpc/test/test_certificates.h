/* test_certificates.h: certificates for tests, of authorities that are made when they are first asked for. */
#ifndef ASSAY_MASTER_RPC_TEST_CERTIFICATES_H
#define ASSAY_MASTER_RPC_TEST_CERTIFICATES_H

#include "master/rpc/certificates.h"
#include "master/rpc/tls.h"

/* Where those of the authority `name` are, below `directory`. */
void test_certificate_paths(const char *directory, const char *name, enum tls_role role,
                            struct certificate_paths *paths);

/* Of the role's certificate of that authority; to be freed. */
struct tls_context *test_tls_context(const char *directory, const char *name, enum tls_role role);

#endif
