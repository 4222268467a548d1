/* tls_context.c: certificate, key and authority: read, checked, read again. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/rpc/tls_internal.h"

/* The fast one first; who has no AES in the processor asks for the last. */
#define CIPHERS "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

const char *tls_role_name(enum tls_role role) {
  return role == TLS_MASTER ? "assay-master" : role == TLS_WORKER ? "assay-worker" : "assay-client";
}

void tls_name_roles(unsigned roles, char *text, size_t size) {
  size_t used = 0;
  text[0] = '\0';
  for (unsigned role = TLS_MASTER; role <= TLS_CLIENT && used < size; role <<= 1)
    if (roles & role)
      used += (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? " or " : "",
                               tls_role_name((enum tls_role)role));
}

bool tls_has_role(X509 *certificate, unsigned roles) {
  const unsigned flags = X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
  for (unsigned role = TLS_MASTER; role <= TLS_CLIENT; role <<= 1)
    if ((roles & role) &&
        X509_check_host(certificate, tls_role_name((enum tls_role)role), 0, flags, NULL) == 1)
      return true;
  return false;
}

int64_t tls_seconds_of(const ASN1_TIME *time) {
  struct tm broken_down;
  return ASN1_TIME_to_tm(time, &broken_down) == 1 ? (int64_t)timegm(&broken_down) : 0;
}

int tls_files_check(const struct tls_files *files, bool *given, struct error *error) {
  *given = files->certificate && files->key && files->authority;
  if (*given || (!files->certificate && !files->key && !files->authority))
    return 0;
  return error_set(error, ERR_BAD_INPUT,
                   "%s is missing: certificate, key and authority (--tls-certificate, --tls-key, "
                   "--tls-authority) are given together",
                   !files->certificate ? "--tls-certificate"
                   : !files->key       ? "--tls-key"
                                       : "--tls-authority");
}

/* ---- reading ---- */

/* Nobody is asked for a passphrase: a master has no terminal. */
static int no_passphrase(char *text, int size, int for_writing, void *context) {
  (void)for_writing;
  if (size > 0)
    text[0] = '\0';
  *(bool *)context = true;
  return -1;
}

static int unreadable(const char *what, const char *path, const char *cure, struct error *error) {
  char reason[160];
  if (access(path, R_OK) != 0)
    return error_set_errno(error, ERR_IO, "cannot read %s %.200s", what, path);
  return error_set(error, ERR_BAD_INPUT, "%.200s is no %s: %s; %s", path, what,
                   tls_library_reason(reason, sizeof reason), cure);
}

static int load_certificate(const struct tls_context *context, SSL_CTX *ssl, struct error *error) {
  if (SSL_CTX_use_certificate_chain_file(ssl, context->certificate) == 1)
    return 0;
  return unreadable("certificate", context->certificate,
                    "it must be PEM, the own certificate first (--tls-certificate)", error);
}

static int load_key(const struct tls_context *context, SSL_CTX *ssl, struct error *error) {
  bool asked = false;
  BIO *file = BIO_new_file(context->key, "r");
  EVP_PKEY *key = file ? PEM_read_bio_PrivateKey(file, NULL, no_passphrase, &asked) : NULL;
  BIO_free(file);
  if (!key && asked) {
    ERR_clear_error();
    return error_set(
        error, ERR_BAD_INPUT,
        "the key %.200s wants a passphrase, and there is nobody to ask: openssl pkey -in %.200s -out FILE "
        "writes it without",
        context->key, context->key);
  }
  if (!key)
    return unreadable("key", context->key, "it must be PEM (--tls-key)", error);
  const bool fits = X509_check_private_key(SSL_CTX_get0_certificate(ssl), key) == 1 &&
                    SSL_CTX_use_PrivateKey(ssl, key) == 1;
  EVP_PKEY_free(key);
  ERR_clear_error();
  if (fits)
    return 0;
  return error_set(
      error, ERR_BAD_INPUT,
      "the key %.200s is not that of the certificate %.200s: give the two that were made together",
      context->key, context->certificate);
}

static int load_authority(const struct tls_context *context, SSL_CTX *ssl, struct error *error) {
  if (SSL_CTX_load_verify_file(ssl, context->authority) == 1) {
    /* What is given is trusted, be it at the root or not. */
    X509_STORE_set_flags(SSL_CTX_get_cert_store(ssl), X509_V_FLAG_PARTIAL_CHAIN);
    return 0;
  }
  return unreadable("certificate of an authority", context->authority, "it must be PEM (--tls-authority)",
                    error);
}

/* What the others will look at, but for the time. */
static int check_certificate(const struct tls_context *context, SSL_CTX *ssl, struct error *error) {
  X509 *own = SSL_CTX_get0_certificate(ssl);
  STACK_OF(X509) *chain = NULL;
  SSL_CTX_get0_chain_certs(ssl, &chain);
  X509_STORE_CTX *check = X509_STORE_CTX_new();
  if (!check || X509_STORE_CTX_init(check, SSL_CTX_get_cert_store(ssl), own, chain) != 1)
    abort();
  X509_STORE_CTX_set_flags(check, X509_V_FLAG_NO_CHECK_TIME);
  const bool good = X509_verify_cert(check) == 1;
  const int number = X509_STORE_CTX_get_error(check);
  X509_STORE_CTX_free(check);
  ERR_clear_error();
  if (!good)
    return error_set(error, ERR_BAD_INPUT,
                     "the certificate %.180s does not come from the authority in %.180s: %s",
                     context->certificate, context->authority, X509_verify_cert_error_string(number));
  if (tls_has_role(own, context->roles))
    return 0;
  char roles[80];
  tls_name_roles(context->roles, roles, sizeof roles);
  return error_set(
      error, ERR_BAD_INPUT,
      "the certificate %.200s is not good for this program: its subject alternative names must hold "
      "DNS:%s",
      context->certificate, roles);
}

static void warn(const struct tls_context *context, SSL_CTX *ssl) {
  const X509 *own = SSL_CTX_get0_certificate(ssl);
  const int64_t now_s = context->wall_ns() / NS_PER_S;
  const int64_t begins_s = tls_seconds_of(X509_get0_notBefore(own)),
                ends_s = tls_seconds_of(X509_get0_notAfter(own));
  char limit[32], now[32];
  struct stat file;
  tls_name_time(now_s, now, sizeof now);
  tls_name_time(now_s < begins_s ? begins_s : ends_s, limit, sizeof limit);
  if (now_s < begins_s || now_s > ends_s)
    log_warn("the certificate %s is valid %s %s and it is %s by this machine's clock: others will refuse it; "
             "renew it, or set the clock",
             context->certificate, now_s < begins_s ? "from" : "until", limit, now);
  if (stat(context->key, &file) == 0 && (file.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    log_warn("others than its owner may read the key %s: chmod 600 it", context->key);
}

static SSL_CTX *new_library_context(void) {
  SSL_CTX *ssl = SSL_CTX_new(TLS_method());
  if (!ssl || SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(ssl, CIPHERS) != 1 || SSL_CTX_set_num_tickets(ssl, 0) != 1)
    abort(); /* none of it depends on anything but the library */
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
  return ssl;
}

static int load(struct tls_context *context, struct error *error) {
  SSL_CTX *ssl = new_library_context();
  ERR_clear_error();
  int status = load_certificate(context, ssl, error);
  if (status == 0)
    status = load_key(context, ssl, error);
  if (status == 0)
    status = load_authority(context, ssl, error);
  if (status == 0)
    status = check_certificate(context, ssl, error);
  if (status != 0) {
    SSL_CTX_free(ssl);
    return status;
  }
  warn(context, ssl);
  SSL_CTX_free(context->ssl);
  context->ssl = ssl;
  context->expires_s = tls_seconds_of(X509_get0_notAfter(SSL_CTX_get0_certificate(ssl)));
  return 0;
}

/* ---- the context ---- */

int tls_context_new(const struct tls_files *files, unsigned roles, struct tls_context **context,
                    struct error *error) {
  struct tls_context *made = xcalloc(1, sizeof *made);
  made->certificate = xstrdup(files->certificate);
  made->key = xstrdup(files->key);
  made->authority = xstrdup(files->authority);
  made->roles = roles;
  made->wall_ns = time_wall_ns;
  const int status = load(made, error);
  if (status == 0)
    *context = made;
  else
    tls_context_free(made);
  return status;
}

int tls_context_reload(struct tls_context *context, struct error *error) {
  return load(context, error);
}

void tls_context_free(struct tls_context *context) {
  if (!context)
    return;
  SSL_CTX_free(context->ssl);
  free(context->certificate);
  free(context->key);
  free(context->authority);
  free(context);
}

const struct tls_statistics *tls_context_statistics(const struct tls_context *context) {
  return &context->statistics;
}

int64_t tls_context_expires_s(const struct tls_context *context) {
  return context->expires_s;
}

void tls_context_use_clock(struct tls_context *context, int64_t (*wall_ns)(void)) {
  context->wall_ns = wall_ns;
}
