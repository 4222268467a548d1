/* tls_internal.h: what tls_context.c (files), tls_channel.c (bytes) and tls_reason.c (words) share. */
#ifndef ASSAY_MASTER_RPC_TLS_INTERNAL_H
#define ASSAY_MASTER_RPC_TLS_INTERNAL_H

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "master/rpc/tls.h"

struct tls_context {
  char *certificate, *key, *authority; /* paths */
  unsigned roles;
  SSL_CTX *ssl;
  int64_t expires_s;
  int64_t (*wall_ns)(void);
  struct tls_statistics statistics;
};

struct tls_channel {
  struct tls_context *context;
  SSL *ssl;
  enum tls_side side;
  unsigned roles;
  const unsigned char *input; /* during tls_channel_receive */
  size_t input_size;
  struct bytes wire; /* to be written */
  unsigned char first[2];
  size_t heard; /* bytes of `first` */
  bool ready, ended;
  enum tls_fault fault;
  char reason[480];
};

/* False: a certificate has none of these roles. */
bool tls_has_role(X509 *certificate, unsigned roles);

/* "assay-master", or "assay-master or assay-worker", into `text`. */
void tls_name_roles(unsigned roles, char *text, size_t size);

/* "2026-12-01 09:30:00 UTC" into `text`. */
void tls_name_time(int64_t seconds, char *text, size_t size);
int64_t tls_seconds_of(const ASN1_TIME *time);

/* The first error that OpenSSL has queued, for people; forgets all of them. */
const char *tls_library_reason(char *text, size_t size);

/* Sets fault and reason of a channel whose handshake, or whose records, went wrong: by what OpenSSL has
 * queued. */
void tls_explain(struct tls_channel *channel);
/* … whose other side does not speak TLS. */
void tls_explain_plain(struct tls_channel *channel);
/* … whose other side has a certificate that will not do: `number` is an X509_V_ERR_. */
void tls_explain_certificate(struct tls_channel *channel, X509 *certificate, int number);

#endif
