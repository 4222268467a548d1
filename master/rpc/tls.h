/* tls.h: TLS between masters, workers and clients, over whatever carries the bytes: knows no socket and no
 * thread.
 *
 *   plaintext ──▶ tls_channel_seal ──▶ records to write        records read ──▶ tls_channel_receive ──▶
 * plaintext
 *
 * Both sides present a certificate of one authority, and a certificate says what its holder may be: its DNS
 * names (subject alternative names) hold "assay-master", "assay-worker" or "assay-client". The authority
 * alone is not enough: a client's certificate must not be good for speaking as a member of the journal, nor
 * for posing as a master.
 *
 * TLS 1.3 alone: every program that talks here is ours, so there is no older one to please, and what older
 * versions allow (renegotiation, certificates in the clear, resumption without forward secrecy) needs no
 * thought. Sessions are not resumed: a certificate is looked at again for each connection.
 *
 * That a connection was cut short is not told apart from an orderly end: frames carry their size, so what is
 * incomplete is lost either way, and an end of the stream proves nothing in both.
 *
 * Whether a certificate is in its time is decided by this machine's wall clock (base/time.h), once a
 * connection. */
#ifndef ASSAY_MASTER_RPC_TLS_H
#define ASSAY_MASTER_RPC_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

/* Bits. */
enum tls_role { TLS_MASTER = 1, TLS_WORKER = 2, TLS_CLIENT = 4 };
/* Who may ask a master: whoever is one of us. */
#define TLS_ANYONE (TLS_MASTER | TLS_WORKER | TLS_CLIENT)

/* The DNS name of a role. */
const char *tls_role_name(enum tls_role role);

/* ---- what one proves oneself with ---- */

/* Paths of PEM files. */
struct tls_files {
  const char *certificate; /* the own one, with those between it and the authority's behind it */
  const char *key;         /* of the own certificate, without a passphrase */
  const char *authority;   /* the certificates that others' must come from */
};

/* False: none is given. ERR_BAD_INPUT when some are and others are not. */
int tls_files_check(const struct tls_files *files, bool *given, struct error *error);

/* Why a connection did not come about. */
enum tls_fault {
  TLS_FAULT_NONE,
  TLS_FAULT_PLAIN,          /* the other side does not speak TLS */
  TLS_FAULT_NO_CERTIFICATE, /* it has none */
  TLS_FAULT_AUTHORITY,      /* its certificate is not of our authority, or not what a certificate must be */
  TLS_FAULT_TIME,           /* … is not valid yet or no more, by our clock */
  TLS_FAULT_ROLE,           /* … is good, for something else */
  TLS_FAULT_REFUSED,        /* it does not like ours */
  TLS_FAULT_CUT,            /* it ended the connection without a word */
  TLS_FAULT_OTHER,
  TLS_FAULTS,
};
const char *tls_fault_name(enum tls_fault fault); /* "plain", "no-certificate", … */

struct tls_statistics {
  uint64_t established;        /* handshakes that were done on this side */
  uint64_t faults[TLS_FAULTS]; /* by kind: of handshakes that were not done, or refused afterwards */
};

struct tls_context;

/* Reads the files and checks that they fit: the key is the certificate's, the certificate comes from the
 * authority (its time is not looked at) and has one of `roles`. An error names the file and the cure. A key
 * that others may read and a certificate that is not valid now are warnings in the log. */
int tls_context_new(const struct tls_files *files, unsigned roles, struct tls_context **context,
                    struct error *error);

/* Reads the same files again, for connections from now on. On an error everything stays as it was. */
int tls_context_reload(struct tls_context *context, struct error *error);

/* NULL is fine. */
void tls_context_free(struct tls_context *context);

const struct tls_statistics *tls_context_statistics(const struct tls_context *context);

/* The end of the own certificate's time, seconds since the epoch. */
int64_t tls_context_expires_s(const struct tls_context *context);

/* For tests: what is taken for the wall clock, nanoseconds since the epoch. */
void tls_context_use_clock(struct tls_context *context, int64_t (*wall_ns)(void));

/* ---- one connection ---- */

struct tls_channel;

enum tls_side { TLS_DIALS, TLS_ACCEPTS };

/* `roles`: the other side must have one of them. The side that dials has something to write at once. The
 * context must outlive the channel. */
struct tls_channel *tls_channel_new(struct tls_context *context, enum tls_side side, unsigned roles);
void tls_channel_free(struct tls_channel *channel); /* NULL is fine */

/* Takes what was read and appends what it says to `plain`. There may be something to write afterwards,
 * whatever is returned: a part of the handshake, or the reason of a refusal. False: the channel is at its
 * end; what was appended counts, nothing is taken any more, and tls_channel_fault tells why. */
bool tls_channel_receive(struct tls_channel *channel, const void *data, size_t size, struct bytes *plain);

/* What is to be written, to be consumed by the caller: takes the plaintext along when the handshake is done,
 * and leaves it where it is before. */
struct bytes *tls_channel_seal(struct tls_channel *channel, struct bytes *plain);

/* What goes out for `output` on a connection with or without TLS (NULL). */
static inline struct bytes *tls_outgoing(struct tls_channel *channel, struct bytes *output) {
  return channel ? tls_channel_seal(channel, output) : output;
}

/* The handshake is done on this side. The one that dialled may still be refused. */
bool tls_channel_is_ready(const struct tls_channel *channel);

/* The connection has ended under it: before the handshake was done, that is a fault. */
void tls_channel_cut(struct tls_channel *channel);

/* TLS_FAULT_NONE after an orderly end. */
enum tls_fault tls_channel_fault(const struct tls_channel *channel);

/* What is wrong with the other side and the cure, for people, to follow its name: "presents no certificate:
 * …". */
const char *tls_channel_reason(const struct tls_channel *channel);

/* True: the first bytes of a connection (2 of them at least) are those of a TLS handshake. */
static inline bool tls_is_spoken(const void *data, size_t size) {
  const unsigned char *at = data;
  return size >= 2 && at[0] == 0x16 && at[1] == 0x03;
}

#endif
