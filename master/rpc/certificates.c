#include "master/rpc/certificates.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define EARLIER_S (24 * 60 * 60)

struct authority {
  X509 *certificate;
  EVP_PKEY *key;
  int64_t begins_s, ends_s;
};

/* ---- making ---- */

static void add_extension(X509 *certificate, X509 *issuer, int kind, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
  if (!extension || X509_add_ext(certificate, extension, -1) != 1)
    abort(); /* the values are ours */
  X509_EXTENSION_free(extension);
}

static void set_serial(X509 *certificate) {
  unsigned char random[16];
  if (RAND_bytes(random, sizeof random) != 1)
    abort();
  random[0] = (unsigned char)(random[0] & 0x7f); /* positive */
  BIGNUM *number = BN_bin2bn(random, sizeof random, NULL);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
  BN_free(number);
}

/* Everything but what distinguishes an authority from the others; not signed. */
static X509 *begin(const struct authority *authority, EVP_PKEY *key, const char *name) {
  X509 *certificate = X509_new();
  if (!certificate)
    abort();
  X509_set_version(certificate, X509_VERSION_3);
  set_serial(certificate);
  ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)authority->begins_s);
  ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)authority->ends_s);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             (const unsigned char *)name, -1, -1, 0);
  X509_set_issuer_name(certificate,
                       X509_get_subject_name(authority->certificate ? authority->certificate : certificate));
  X509_set_pubkey(certificate, key);
  return certificate;
}

static void sign(X509 *certificate, EVP_PKEY *key) {
  if (X509_sign(certificate, key, EVP_sha256()) == 0)
    abort();
}

static EVP_PKEY *new_key(void) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  if (!key)
    abort();
  return key;
}

static void make_authority(struct authority *authority) {
  authority->key = new_key();
  X509 *certificate = begin(authority, authority->key, "Assay test authority");
  add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign");
  add_extension(certificate, certificate, NID_subject_key_identifier, "hash");
  sign(certificate, authority->key);
  authority->certificate = certificate;
}

static X509 *make_certificate(const struct authority *authority, EVP_PKEY *key, enum tls_role role) {
  char names[64];
  X509 *certificate = begin(authority, key, tls_role_name(role));
  snprintf(names, sizeof names, "DNS:%s", tls_role_name(role));
  add_extension(certificate, authority->certificate, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(certificate, authority->certificate, NID_key_usage, "critical,digitalSignature");
  add_extension(certificate, authority->certificate, NID_ext_key_usage, "serverAuth,clientAuth");
  add_extension(certificate, authority->certificate, NID_subject_key_identifier, "hash");
  add_extension(certificate, authority->certificate, NID_authority_key_identifier, "keyid");
  add_extension(certificate, authority->certificate, NID_subject_alt_name, names);
  sign(certificate, authority->key);
  return certificate;
}

/* ---- writing ---- */

/* In the place of what was there, and never readable by others, not for a moment. */
static int write_private(const char *path, BIO *pem, struct error *error) {
  char *data;
  const long size = BIO_get_mem_data(pem, &data);
  unlink(path);
  const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  int status = 0;
  if (file < 0 || write(file, data, (size_t)size) != size)
    status = error_set_errno(error, ERR_IO, "cannot write %s", path);
  if (file >= 0)
    close(file);
  return status;
}

static int write_certificate(const char *path, X509 *certificate, struct error *error) {
  BIO *pem = BIO_new(BIO_s_mem());
  if (!pem || PEM_write_bio_X509(pem, certificate) != 1)
    abort();
  const int status = write_private(path, pem, error);
  BIO_free(pem);
  return status;
}

static int write_key(const char *path, EVP_PKEY *key, struct error *error) {
  BIO *pem = BIO_new(BIO_s_mem());
  if (!pem || PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL) != 1)
    abort();
  const int status = write_private(path, pem, error);
  BIO_free(pem);
  return status;
}

static int make_role(const struct authority *authority, const char *directory, enum tls_role role,
                     struct error *error) {
  struct certificate_paths paths;
  certificates_paths(directory, role, &paths);
  EVP_PKEY *key = new_key();
  X509 *certificate = make_certificate(authority, key, role);
  int status = write_certificate(paths.certificate, certificate, error);
  if (status == 0)
    status = write_key(paths.key, key, error);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return status;
}

int certificates_make(const char *directory, int64_t valid_ns, struct error *error) {
  const int64_t now_s = time_wall_ns() / NS_PER_S;
  struct authority authority = {.begins_s = now_s - EARLIER_S, .ends_s = now_s + valid_ns / NS_PER_S};
  struct certificate_paths paths;
  int status = directory_make(directory, error);
  if (status != 0)
    return status;
  if (chmod(directory, 0700) != 0)
    return error_set_errno(error, ERR_IO, "cannot keep others out of %s", directory);
  make_authority(&authority);
  certificates_paths(directory, TLS_MASTER, &paths);
  status = write_certificate(paths.authority, authority.certificate, error);
  for (unsigned role = TLS_MASTER; role <= TLS_CLIENT && status == 0; role <<= 1)
    status = make_role(&authority, directory, (enum tls_role)role, error);
  X509_free(authority.certificate);
  EVP_PKEY_free(authority.key);
  return status;
}

/* ---- finding ---- */

void certificates_paths(const char *directory, enum tls_role role, struct certificate_paths *paths) {
  const char *name = tls_role_name(role) + sizeof "assay-" - 1;
  snprintf(paths->certificate, sizeof paths->certificate, "%.4000s/%s.pem", directory, name);
  snprintf(paths->key, sizeof paths->key, "%.4000s/%s.key", directory, name);
  snprintf(paths->authority, sizeof paths->authority, "%.4000s/authority.pem", directory);
}

struct tls_files certificates_files(const struct certificate_paths *paths) {
  return (struct tls_files){
      .certificate = paths->certificate, .key = paths->key, .authority = paths->authority};
}
