/* tls_channel.c: bytes through OpenSSL, by a BIO that reads from what was received and appends to what is to
 * be written: no copy is made on either way but the one that enciphers. */
#include <assert.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/rpc/tls_internal.h"

/* The most that one record holds, and what is added to it. */
#define RECORD_SIZE (16u << 10)
#define RECORD_EXTRA 32u

/* ---- the BIO ---- */

static int wire_write(BIO *bio, const char *data, int size) {
  struct tls_channel *channel = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  bytes_append(&channel->wire, data, (size_t)size);
  return size;
}

static int wire_read(BIO *bio, char *data, int size) {
  struct tls_channel *channel = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (channel->input_size == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const size_t taken = channel->input_size < (size_t)size ? channel->input_size : (size_t)size;
  memcpy(data, channel->input, taken);
  channel->input += taken;
  channel->input_size -= taken;
  return (int)taken;
}

static long wire_control(BIO *bio, int command, long number, void *pointer) {
  (void)bio;
  (void)number;
  (void)pointer;
  return command == BIO_CTRL_FLUSH;
}

static BIO *wire_new(struct tls_channel *channel) {
  static BIO_METHOD *method; /* for as long as the process lives */
  if (!method) {
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "assay wire");
    if (!method)
      abort();
    BIO_meth_set_write(method, wire_write);
    BIO_meth_set_read(method, wire_read);
    BIO_meth_set_ctrl(method, wire_control);
  }
  BIO *bio = BIO_new(method);
  if (!bio)
    abort(); /* no memory */
  BIO_set_data(bio, channel);
  BIO_set_init(bio, 1);
  return bio;
}

/* ---- who is there ---- */

/* Called for each certificate of the other side's chain, the authority's first; 0 refuses. */
static int look_at(int good, X509_STORE_CTX *check) {
  const SSL *ssl = X509_STORE_CTX_get_ex_data(check, SSL_get_ex_data_X509_STORE_CTX_idx());
  struct tls_channel *channel = SSL_get_app_data(ssl);
  X509 *certificate = X509_STORE_CTX_get_current_cert(check);
  if (good && X509_STORE_CTX_get_error_depth(check) == 0 && !tls_has_role(certificate, channel->roles)) {
    X509_STORE_CTX_set_error(check, X509_V_ERR_APPLICATION_VERIFICATION);
    good = 0;
  }
  if (!good)
    tls_explain_certificate(channel, certificate, X509_STORE_CTX_get_error(check));
  return good;
}

/* ---- life ---- */

/* For good. */
static bool end(struct tls_channel *channel) {
  channel->ended = true;
  if (channel->fault != TLS_FAULT_NONE)
    channel->context->statistics.faults[channel->fault]++;
  return false;
}

/* Goes on with the handshake. False: it has failed. */
static bool shake(struct tls_channel *channel) {
  ERR_clear_error();
  const int result = SSL_do_handshake(channel->ssl);
  if (result == 1) {
    channel->ready = true;
    channel->context->statistics.established++;
    return true;
  }
  if (SSL_get_error(channel->ssl, result) == SSL_ERROR_WANT_READ)
    return true;
  tls_explain(channel);
  return end(channel);
}

struct tls_channel *tls_channel_new(struct tls_context *context, enum tls_side side, unsigned roles) {
  struct tls_channel *channel = xcalloc(1, sizeof *channel);
  channel->context = context;
  channel->side = side;
  channel->roles = roles;
  channel->ssl = SSL_new(context->ssl);
  if (!channel->ssl)
    abort(); /* no memory */
  SSL_set_app_data(channel->ssl, channel);
  SSL_set_verify(channel->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, look_at);
  X509_VERIFY_PARAM_set_time(SSL_get0_param(channel->ssl), (time_t)(context->wall_ns() / NS_PER_S));
  BIO *bio = wire_new(channel);
  SSL_set_bio(channel->ssl, bio, bio);
  if (side == TLS_ACCEPTS) {
    SSL_set_accept_state(channel->ssl);
  } else {
    SSL_set_connect_state(channel->ssl);
    shake(channel);
  }
  return channel;
}

void tls_channel_free(struct tls_channel *channel) {
  if (!channel)
    return;
  SSL_free(channel->ssl);
  bytes_free(&channel->wire);
  free(channel);
}

/* ---- bytes in ---- */

/* False: what has come is no TLS. */
static bool look_at_first(struct tls_channel *channel, const unsigned char *data, size_t size) {
  for (size_t i = 0; i < size && channel->heard < sizeof channel->first; i++)
    channel->first[channel->heard++] = data[i];
  /* An alert instead of a handshake is an answer as well. */
  const bool known = channel->heard == 0 || channel->first[0] == 0x16 || channel->first[0] == 0x15;
  return known && (channel->heard < 2 || channel->first[1] == 0x03);
}

bool tls_channel_receive(struct tls_channel *channel, const void *data, size_t size, struct bytes *plain) {
  if (channel->ended)
    return false;
  if (!channel->ready && !look_at_first(channel, data, size)) {
    tls_explain_plain(channel);
    return end(channel);
  }
  channel->input = data;
  channel->input_size = size;
  if (!channel->ready && !shake(channel))
    return false;
  while (channel->ready) {
    ERR_clear_error();
    size_t got = 0;
    if (SSL_read_ex(channel->ssl, bytes_reserve(plain, RECORD_SIZE), RECORD_SIZE, &got) == 1) {
      plain->size += got;
      continue;
    }
    const int why = SSL_get_error(channel->ssl, 0);
    if (why == SSL_ERROR_WANT_READ)
      break;
    if (why != SSL_ERROR_ZERO_RETURN)
      tls_explain(channel);
    return end(channel);
  }
  assert(channel->input_size == 0);
  return true;
}

void tls_channel_cut(struct tls_channel *channel) {
  if (channel->ready || channel->ended)
    return;
  channel->fault = TLS_FAULT_CUT;
  snprintf(
      channel->reason, sizeof channel->reason, "%s",
      channel->side == TLS_DIALS
          ? "ends the connection instead of a TLS handshake: does it have TLS (--tls-certificate and so on), and "
            "does it answer others?"
          : "ended the connection before the TLS handshake was done");
  end(channel);
}

/* ---- bytes out ---- */

struct bytes *tls_channel_seal(struct tls_channel *channel, struct bytes *plain) {
  if (!channel->ready || channel->ended || plain->size == 0)
    return &channel->wire;
  const size_t records = plain->size / RECORD_SIZE + 1;
  bytes_reserve(&channel->wire, plain->size + records * RECORD_EXTRA);
  ERR_clear_error();
  size_t taken = 0;
  /* Nothing that is written can block, so all of it is taken, unless the other side has said its last word.
   */
  if (SSL_write_ex(channel->ssl, plain->data, plain->size, &taken) != 1) {
    tls_explain(channel);
    end(channel);
  }
  bytes_clear(plain);
  return &channel->wire;
}

/* ---- telling ---- */

bool tls_channel_is_ready(const struct tls_channel *channel) {
  return channel->ready && !channel->ended;
}

enum tls_fault tls_channel_fault(const struct tls_channel *channel) {
  return channel->fault;
}

const char *tls_channel_reason(const struct tls_channel *channel) {
  return channel->reason;
}
