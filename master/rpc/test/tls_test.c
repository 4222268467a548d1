/* Two ends of a connection in one process, and between them a wire that cuts, damages and ends what it
 * carries. */
#include "master/rpc/tls.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/rpc/test/test_certificates.h"

static char scratch[64];

static void make_scratch(void) {
  log_open("test", LOG_LEVEL_ERROR);
  snprintf(scratch, sizeof scratch, "/tmp/assay-tls-XXXXXX");
  cr_assert(mkdtemp(scratch));
}

static void remove_scratch(void) {
  directory_remove(scratch, NULL);
}

TestSuite(tls, .init = make_scratch, .fini = remove_scratch);

/* Of an authority of this name. */
static struct tls_context *context_of(const char *authority, enum tls_role role) {
  return test_tls_context(scratch, authority, role);
}

/* ---- two ends ---- */

struct end {
  struct tls_context *context;
  struct tls_channel *channel;
  struct bytes output, heard; /* plaintext: to be said, and what was heard */
  bool failed;
};

struct pair {
  struct end ends[2]; /* who dials, who accepts */
  struct random random;
};

static void pair_open(struct pair *pair, struct tls_context *dials, struct tls_context *accepts,
                      unsigned wanted) {
  *pair = (struct pair){.ends = {{.context = dials}, {.context = accepts}}};
  random_seed(&pair->random, 1);
  pair->ends[0].channel = tls_channel_new(dials, TLS_DIALS, TLS_MASTER);
  pair->ends[1].channel = tls_channel_new(accepts, TLS_ACCEPTS, wanted);
}

static void pair_close(struct pair *pair) {
  for (size_t i = 0; i < 2; i++) {
    tls_channel_free(pair->ends[i].channel);
    tls_context_free(pair->ends[i].context);
    bytes_free(&pair->ends[i].output);
    bytes_free(&pair->ends[i].heard);
  }
}

static void hear(struct end *end, const void *data, size_t size) {
  end->failed = !tls_channel_receive(end->channel, data, size, &end->heard);
}

/* Carries up to `most` bytes of what one end wants written to the other. False: there was nothing. */
static bool carry(struct pair *pair, size_t from, size_t most) {
  struct end *sender = &pair->ends[from];
  struct bytes *wire = tls_channel_seal(sender->channel, &sender->output);
  const size_t size = wire->size < most ? wire->size : most;
  if (size == 0)
    return false;
  hear(&pair->ends[1 - from], wire->data, size);
  bytes_consume(wire, size);
  return true;
}

static void carry_all(struct pair *pair) {
  bool moved = true;
  while (moved) {
    moved = carry(pair, 0, SIZE_MAX);
    moved = carry(pair, 1, SIZE_MAX) || moved;
  }
}

/* Whatever its size, carried in pieces of any. */
static void carry_in_pieces(struct pair *pair) {
  size_t idle = 0;
  while (idle < 64) {
    const size_t piece = (size_t)random_between(&pair->random, 1, random_between(&pair->random, 1, 40000));
    idle = carry(pair, (size_t)random_between(&pair->random, 0, 1), piece) ? 0 : idle + 1;
  }
}

static void assert_reason(const struct end *end, enum tls_fault fault, const char *text) {
  const char *reason = tls_channel_reason(end->channel);
  cr_assert_eq(tls_channel_fault(end->channel), fault, "%s: %s",
               tls_fault_name(tls_channel_fault(end->channel)), reason);
  cr_assert(strstr(reason, text), "'%s' does not say '%s'", reason, text);
  cr_assert_eq(tls_context_statistics(end->context)->faults[fault], 1);
}

/* ---- what goes in comes out ---- */

Test(tls, what_one_says_the_other_hears_however_it_is_cut) {
  struct pair pair;
  pair_open(&pair, context_of("a", TLS_CLIENT), context_of("a", TLS_MASTER), TLS_ANYONE);
  struct bytes said[2] = {{0}};
  for (int round = 0; round < 60; round++) {
    for (size_t i = 0; i < 2; i++) {
      const size_t most = round % 10 == 9 ? 3u << 20 : 70000;
      const size_t size =
          (size_t)random_between(&pair.random, 0, random_between(&pair.random, 0, (int64_t)most));
      struct bytes *output = &pair.ends[i].output;
      unsigned char *at = bytes_reserve(output, size);
      for (size_t k = 0; k < size; k++)
        at[k] = (unsigned char)random_next(&pair.random);
      output->size += size;
      bytes_append(&said[i], at, size);
    }
    carry_in_pieces(&pair);
  }
  carry_all(&pair);
  for (size_t i = 0; i < 2; i++) {
    const struct end *end = &pair.ends[1 - i];
    cr_assert(tls_channel_is_ready(end->channel) && !end->failed);
    cr_assert_eq(end->heard.size, said[i].size);
    cr_assert_eq(memcmp(end->heard.data, said[i].data, said[i].size), 0);
    cr_assert_eq(tls_context_statistics(end->context)->established, 1);
    bytes_free(&said[i]);
  }
  pair_close(&pair);
}

Test(tls, nothing_is_said_in_the_clear) {
  struct pair pair;
  pair_open(&pair, context_of("a", TLS_CLIENT), context_of("a", TLS_MASTER), TLS_ANYONE);
  const char secret[] = "/accounts/of/a/bank";
  bytes_append(&pair.ends[0].output, secret, sizeof secret);
  carry_all(&pair);
  cr_assert_str_eq((const char *)pair.ends[1].heard.data, secret);
  bytes_append(&pair.ends[0].output, secret, sizeof secret);
  const struct bytes *wire = tls_channel_seal(pair.ends[0].channel, &pair.ends[0].output);
  cr_assert_gt(wire->size, sizeof secret);
  cr_assert_null(memmem(wire->data, wire->size, secret, strlen(secret)));
  cr_assert_eq(pair.ends[0].output.size, 0);
  pair_close(&pair);
}

Test(tls, what_is_damaged_is_noticed_and_never_heard) {
  struct random random;
  random_seed(&random, 7);
  for (int round = 0; round < 40; round++) {
    struct pair pair;
    pair_open(&pair, context_of("a", TLS_CLIENT), context_of("a", TLS_MASTER), TLS_ANYONE);
    carry_all(&pair);
    unsigned char said[40000];
    for (size_t i = 0; i < sizeof said; i++)
      said[i] = (unsigned char)random_next(&random);
    bytes_append(&pair.ends[0].output, said, sizeof said);
    struct bytes *wire = tls_channel_seal(pair.ends[0].channel, &pair.ends[0].output);
    wire->data[(size_t)random_between(&random, 0, (int64_t)wire->size - 1)] ^=
        (unsigned char)(1 << random_between(&random, 0, 7));
    carry_all(&pair);
    /* A size that became larger waits for what does not come. */
    const struct end *hearer = &pair.ends[1];
    cr_assert_lt(hearer->heard.size, sizeof said);
    cr_assert(hearer->heard.size == 0 || memcmp(hearer->heard.data, said, hearer->heard.size) == 0);
    pair_close(&pair);
  }
}

Test(tls, an_end_that_comes_too_early_is_no_end_of_what_was_said) {
  for (size_t cut = 0; cut < 3000; cut += 97) {
    struct pair pair;
    pair_open(&pair, context_of("a", TLS_CLIENT), context_of("a", TLS_MASTER), TLS_ANYONE);
    const size_t carried = cut;
    size_t left = carried;
    while (left > 0) { /* the dialler's bytes, as many as the wire lets through */
      const size_t before = tls_channel_seal(pair.ends[0].channel, &pair.ends[0].output)->size;
      if (!carry(&pair, 0, left))
        break;
      left -= before < left ? before : left;
      while (carry(&pair, 1, SIZE_MAX))
        ;
      if (tls_channel_is_ready(pair.ends[0].channel) && pair.ends[0].output.size == 0)
        bytes_append(&pair.ends[0].output, "0123456789", 10);
    }
    struct end *hearer = &pair.ends[1];
    const bool ready = tls_channel_is_ready(hearer->channel);
    cr_assert(!hearer->failed, "nothing was wrong with what came");
    cr_assert_eq(hearer->heard.size % 10, 0, "part of a record was heard");
    tls_channel_cut(hearer->channel);
    cr_assert_eq(tls_channel_fault(hearer->channel), ready ? TLS_FAULT_NONE : TLS_FAULT_CUT);
    pair_close(&pair);
  }
}

/* ---- who is there ---- */

static int64_t shift_ns;
static int64_t shifted_ns(void) {
  return time_wall_ns() + shift_ns;
}

Test(tls, another_authority_is_refused_by_both) {
  struct pair pair;
  pair_open(&pair, context_of("a", TLS_CLIENT), context_of("b", TLS_MASTER), TLS_ANYONE);
  carry_all(&pair);
  assert_reason(&pair.ends[0], TLS_FAULT_AUTHORITY, "authority.pem does not vouch for");
  assert_reason(&pair.ends[1], TLS_FAULT_REFUSED, "it does not come from the authority");
  pair_close(&pair);
}

/* A client that takes the master's for good is refused all the same. */
Test(tls, a_client_of_another_authority_learns_why) {
  char *mixed = path_join(scratch, "mixed");
  tls_context_free(context_of("a", TLS_MASTER));
  tls_context_free(context_of("b", TLS_MASTER));
  struct certificate_paths a, b;
  struct error error = {0};
  char *first = path_join(scratch, "a"), *second = path_join(scratch, "b");
  certificates_paths(first, TLS_CLIENT, &a);
  certificates_paths(second, TLS_CLIENT, &b);
  struct bytes both = {0}; /* trusts both */
  cr_assert_eq(file_read(a.authority, &both, &error), 0);
  cr_assert_eq(file_read(b.authority, &both, &error), 0);
  cr_assert_eq(file_replace(mixed, both.data, both.size, &error), 0);
  const struct tls_files files = {.certificate = b.certificate, .key = b.key, .authority = mixed};
  struct tls_context *context;
  cr_assert_eq(tls_context_new(&files, TLS_CLIENT, &context, &error), 0, "%s", error.message);
  struct pair pair;
  pair_open(&pair, context, context_of("a", TLS_MASTER), TLS_ANYONE);
  bytes_append(&pair.ends[0].output, "hello", 5);
  carry_all(&pair);
  assert_reason(&pair.ends[1], TLS_FAULT_AUTHORITY, "does not vouch for");
  assert_reason(&pair.ends[0], TLS_FAULT_REFUSED,
                "refuses our certificate: it does not come from the authority");
  cr_assert_eq(pair.ends[1].heard.size, 0, "it was heard before it was looked at");
  pair_close(&pair);
  bytes_free(&both);
  free(mixed);
  free(first);
  free(second);
}

Test(tls, a_clock_outside_the_time_of_certificates_is_told_on_both_sides) {
  static const struct {
    int64_t shift_s;
    const char *seen, *told;
  } cases[] = {{90000, "valid until", "it has expired, by the clock there"},
               {-100000, "valid from", "it is not valid yet, by the clock there"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct pair pair;
    shift_ns = cases[i].shift_s * NS_PER_S;
    pair_open(&pair, context_of("a", TLS_CLIENT), context_of("a", TLS_MASTER), TLS_ANYONE);
    tls_channel_free(pair.ends[1].channel);
    tls_context_use_clock(pair.ends[1].context, shifted_ns);
    pair.ends[1].channel = tls_channel_new(pair.ends[1].context, TLS_ACCEPTS, TLS_ANYONE);
    carry_all(&pair);
    assert_reason(&pair.ends[1], TLS_FAULT_TIME, cases[i].seen);
    assert_reason(&pair.ends[1], TLS_FAULT_TIME, "by this machine's clock");
    assert_reason(&pair.ends[0], TLS_FAULT_REFUSED, cases[i].told);
    pair_close(&pair);
  }
}

Test(tls, a_certificate_is_good_for_its_role_alone) {
  static const struct {
    enum tls_role dials, accepts;
    unsigned wanted;
    bool good;
  } cases[] = {
      {TLS_MASTER, TLS_MASTER, TLS_MASTER, true},  {TLS_CLIENT, TLS_MASTER, TLS_MASTER, false},
      {TLS_WORKER, TLS_MASTER, TLS_MASTER, false}, {TLS_WORKER, TLS_MASTER, TLS_ANYONE, true},
      {TLS_MASTER, TLS_MASTER, TLS_ANYONE, true},  {TLS_CLIENT, TLS_CLIENT, TLS_ANYONE, false},
      {TLS_CLIENT, TLS_WORKER, TLS_ANYONE, false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct pair pair;
    pair_open(&pair, context_of("a", cases[i].dials), context_of("a", cases[i].accepts), cases[i].wanted);
    carry_all(&pair);
    if (cases[i].good) {
      cr_assert(tls_channel_is_ready(pair.ends[0].channel) && tls_channel_is_ready(pair.ends[1].channel),
                "case %zu", i);
    } else {
      const size_t refuses = cases[i].accepts == TLS_MASTER ? 1 : 0;
      assert_reason(&pair.ends[refuses], TLS_FAULT_ROLE, "DNS:assay-master");
      assert_reason(&pair.ends[1 - refuses], TLS_FAULT_REFUSED, "another role");
    }
    pair_close(&pair);
  }
}

/* ---- who does not speak as we do ---- */

Test(tls, who_does_not_speak_tls_is_told_apart) {
  static const char hello[] = "\x12\0\0\0\x01\x0d\x41\x53\x41\x59";
  for (size_t side = 0; side < 2; side++)
    for (size_t piece = 1; piece < sizeof hello; piece++) {
      struct pair pair;
      pair_open(&pair, context_of("a", TLS_CLIENT), context_of("a", TLS_MASTER), TLS_ANYONE);
      for (size_t at = 0; at + piece < sizeof hello && !pair.ends[side].failed; at += piece)
        hear(&pair.ends[side], hello + at, piece);
      assert_reason(&pair.ends[side], TLS_FAULT_PLAIN,
                    side == 0 ? "start it with --tls-certificate" : "give it --tls-certificate");
      cr_assert_eq(pair.ends[side].heard.size, 0);
      pair_close(&pair);
    }
  cr_assert(tls_is_spoken("\x16\x03\x01", 3) && !tls_is_spoken(hello, sizeof hello) &&
            !tls_is_spoken("\x16", 1));
}

/* A client of OpenSSL's own making, with memory BIOs; what it was told comes by its error queue. */
static void meet_foreigner(struct pair *pair, SSL_CTX *foreign, SSL **ssl) {
  *ssl = SSL_new(foreign);
  SSL_set_bio(*ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_connect_state(*ssl);
  struct end *end = &pair->ends[1];
  for (int turn = 0; turn < 8; turn++) {
    char data[20000];
    int size;
    SSL_do_handshake(*ssl);
    SSL_read(*ssl, data, sizeof data);
    while (!end->failed && (size = BIO_read(SSL_get_wbio(*ssl), data, sizeof data)) > 0)
      hear(end, data, (size_t)size);
    struct bytes *wire = tls_channel_seal(end->channel, &end->output);
    BIO_write(SSL_get_rbio(*ssl), wire->data, (int)wire->size);
    bytes_clear(wire);
  }
}

Test(tls, who_has_no_certificate_or_an_older_tls_is_refused) {
  for (int old = 0; old < 2; old++) {
    struct pair pair;
    pair_open(&pair, context_of("a", TLS_CLIENT), context_of("a", TLS_MASTER), TLS_ANYONE);
    SSL_CTX *foreign = SSL_CTX_new(TLS_method());
    if (old)
      SSL_CTX_set_max_proto_version(foreign, TLS1_2_VERSION);
    SSL *ssl;
    meet_foreigner(&pair, foreign, &ssl);
    if (old)
      assert_reason(&pair.ends[1], TLS_FAULT_OTHER, "unsupported protocol");
    else
      assert_reason(&pair.ends[1], TLS_FAULT_NO_CERTIFICATE, "presents no certificate");
    cr_assert(!tls_channel_is_ready(pair.ends[1].channel));
    SSL_free(ssl);
    SSL_CTX_free(foreign);
    pair_close(&pair);
  }
}

/* TLS 1.3 has no renegotiation; what has come in its place, new keys, goes on unnoticed. */
Test(tls, new_keys_change_nothing_and_a_new_handshake_is_refused) {
  struct pair pair;
  pair_open(&pair, context_of("a", TLS_CLIENT), context_of("a", TLS_MASTER), TLS_ANYONE);
  char *directory = path_join(scratch, "a");
  struct certificate_paths paths;
  certificates_paths(directory, TLS_CLIENT, &paths);
  SSL_CTX *foreign = SSL_CTX_new(TLS_method());
  SSL_CTX_use_certificate_chain_file(foreign, paths.certificate);
  SSL_CTX_use_PrivateKey_file(foreign, paths.key, SSL_FILETYPE_PEM);
  SSL *ssl;
  meet_foreigner(&pair, foreign, &ssl);
  struct end *end = &pair.ends[1];
  cr_assert(tls_channel_is_ready(end->channel), "%s", tls_channel_reason(end->channel));
  cr_assert_eq(SSL_renegotiate(ssl), 0);
  char data[20000];
  cr_assert_eq(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
  cr_assert_eq(SSL_write(ssl, "after", 5), 5);
  const int size = BIO_read(SSL_get_wbio(ssl), data, sizeof data);
  hear(end, data, (size_t)size);
  cr_assert(!end->failed && end->heard.size == 5 && memcmp(end->heard.data, "after", 5) == 0);
  bytes_append(&end->output, "answer", 6);
  struct bytes *wire = tls_channel_seal(end->channel, &end->output);
  BIO_write(SSL_get_rbio(ssl), wire->data, (int)wire->size);
  bytes_clear(wire);
  cr_assert_eq(SSL_read(ssl, data, sizeof data), 6);
  /* Its orderly end is an end without a fault. */
  SSL_shutdown(ssl);
  hear(end, data, (size_t)BIO_read(SSL_get_wbio(ssl), data, sizeof data));
  cr_assert(end->failed && tls_channel_fault(end->channel) == TLS_FAULT_NONE);
  SSL_free(ssl);
  SSL_CTX_free(foreign);
  free(directory);
  pair_close(&pair);
}

/* Handshakes with bytes changed, doubled and lost, on either side: nothing is heard, nothing crashes. */
Test(tls, whatever_comes_instead_of_a_handshake_is_survived) {
  struct random random;
  random_seed(&random, 11);
  struct tls_context *client = context_of("a", TLS_CLIENT), *master = context_of("a", TLS_MASTER);
  for (int round = 0; round < 400; round++) {
    struct pair pair;
    pair_open(&pair, client, master, TLS_ANYONE);
    const int64_t harmed = random_between(&random, 0, 3); /* which piece */
    for (int64_t piece = 0; piece < 6; piece++) {
      const size_t from = (size_t)piece % 2;
      struct bytes *wire = tls_channel_seal(pair.ends[from].channel, &pair.ends[from].output);
      if (piece == harmed && wire->size > 0) {
        const size_t at = (size_t)random_between(&random, 0, (int64_t)wire->size - 1);
        const int64_t how = random_between(&random, 0, 2);
        if (how == 0)
          wire->data[at] = (unsigned char)random_next(&random);
        else if (how == 1)
          bytes_consume(wire, at);
        else
          bytes_append(wire, scratch, sizeof scratch);
      }
      carry(&pair, from, SIZE_MAX);
    }
    cr_assert_eq(pair.ends[0].heard.size + pair.ends[1].heard.size, 0);
    for (size_t i = 0; i < 2; i++)
      tls_channel_free(pair.ends[i].channel);
  }
  unsigned char noise[4096];
  for (int round = 0; round < 400; round++) {
    struct tls_channel *channel = tls_channel_new(master, TLS_ACCEPTS, TLS_ANYONE);
    struct bytes heard = {0};
    for (size_t i = 0; i < sizeof noise; i++)
      noise[i] = (unsigned char)random_next(&random);
    memcpy(noise, "\x16\x03\x01", 3);
    while (tls_channel_receive(channel, noise, (size_t)random_between(&random, 1, sizeof noise), &heard))
      ;
    cr_assert_eq(heard.size, 0);
    bytes_free(&heard);
    tls_channel_free(channel);
  }
  tls_context_free(client);
  tls_context_free(master);
}

/* ---- files ---- */

static void assert_not_loaded(const struct tls_files *files, enum tls_role role, int code, const char *text) {
  struct tls_context *context;
  struct error error = {0};
  cr_assert_eq(tls_context_new(files, role, &context, &error), code, "%s", error.message);
  cr_assert(strstr(error.message, text), "'%s' does not say '%s'", error.message, text);
}

Test(tls, files_that_do_not_fit_are_named) {
  tls_context_free(context_of("a", TLS_MASTER));
  tls_context_free(context_of("b", TLS_MASTER));
  struct certificate_paths a, b, client;
  char *first = path_join(scratch, "a"), *second = path_join(scratch, "b"),
       *none = path_join(scratch, "none");
  certificates_paths(first, TLS_MASTER, &a);
  certificates_paths(second, TLS_MASTER, &b);
  certificates_paths(first, TLS_CLIENT, &client);
  struct tls_files files = {a.certificate, b.key, a.authority};
  assert_not_loaded(&files, TLS_MASTER, ERR_BAD_INPUT, "b/master.key is not that of the certificate");
  files = (struct tls_files){a.certificate, a.key, b.authority};
  assert_not_loaded(&files, TLS_MASTER, ERR_BAD_INPUT, "does not come from the authority in");
  files = certificates_files(&client);
  assert_not_loaded(&files, TLS_MASTER, ERR_BAD_INPUT, "must hold DNS:assay-master");
  files = (struct tls_files){none, a.key, a.authority};
  assert_not_loaded(&files, TLS_MASTER, ERR_IO, "cannot read certificate");
  files = (struct tls_files){a.certificate, none, a.authority};
  assert_not_loaded(&files, TLS_MASTER, ERR_IO, "cannot read key");
  files = (struct tls_files){a.certificate, a.key, none};
  assert_not_loaded(&files, TLS_MASTER, ERR_IO, "cannot read certificate of an authority");
  files = (struct tls_files){a.key, a.key, a.authority};
  assert_not_loaded(&files, TLS_MASTER, ERR_BAD_INPUT, "master.key is no certificate");
  files = (struct tls_files){a.certificate, a.certificate, a.authority};
  assert_not_loaded(&files, TLS_MASTER, ERR_BAD_INPUT, "master.pem is no key");
  files = (struct tls_files){a.certificate, a.key, a.key};
  assert_not_loaded(&files, TLS_MASTER, ERR_BAD_INPUT, "master.key is no certificate of an authority");
  /* A key that wants a passphrase asks nobody. */
  BIO *plain = BIO_new_file(a.key, "r");
  EVP_PKEY *key = PEM_read_bio_PrivateKey(plain, NULL, NULL, NULL);
  BIO *locked = BIO_new_file(none, "w");
  cr_assert_eq(
      PEM_write_bio_PrivateKey(locked, key, EVP_aes_128_cbc(), NULL, 0, NULL, (char *)(uintptr_t) "word"), 1);
  BIO_free(plain);
  BIO_free(locked);
  EVP_PKEY_free(key);
  files = (struct tls_files){a.certificate, none, a.authority};
  assert_not_loaded(&files, TLS_MASTER, ERR_BAD_INPUT, "wants a passphrase");
  bool given;
  struct error error = {0};
  cr_assert_eq(tls_files_check(&(struct tls_files){0}, &given, &error), 0);
  cr_assert(!given);
  cr_assert_eq(tls_files_check(&(struct tls_files){.key = none}, &given, &error), ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "--tls-certificate is missing"), "%s", error.message);
  struct stat file;
  cr_assert(stat(a.key, &file) == 0 && (file.st_mode & 0777) == 0600);
  cr_assert(stat(first, &file) == 0 && (file.st_mode & 0777) == 0700);
  free(first);
  free(second);
  free(none);
}

Test(tls, new_files_are_for_new_connections_and_bad_ones_for_none) {
  struct tls_context *client = context_of("a", TLS_CLIENT), *master = context_of("a", TLS_MASTER);
  struct pair before, after;
  struct error error = {0};
  char *directory = path_join(scratch, "a");
  pair_open(&before, client, master, TLS_ANYONE);
  carry_all(&before);
  cr_assert_eq(certificates_make(directory, 3600 * NS_PER_S, &error), 0); /* another authority */
  cr_assert_eq(tls_context_reload(master, &error), 0, "%s", error.message);
  bytes_append(&before.ends[0].output, "still", 5);
  carry_all(&before);
  cr_assert_eq(before.ends[1].heard.size, 5);
  pair_open(&after, client, master, TLS_ANYONE);
  carry_all(&after);
  assert_reason(&after.ends[0], TLS_FAULT_AUTHORITY, "does not vouch");
  for (size_t i = 0; i < 2; i++)
    tls_channel_free(after.ends[i].channel);
  cr_assert_eq(tls_context_reload(client, &error), 0);
  struct certificate_paths paths;
  certificates_paths(directory, TLS_MASTER, &paths);
  cr_assert_eq(unlink(paths.key), 0);
  cr_assert_eq(tls_context_reload(master, &error), ERR_IO);
  pair_open(&after, client, master, TLS_ANYONE);
  carry_all(&after);
  cr_assert(tls_channel_is_ready(after.ends[1].channel), "the files that were good before are kept");
  for (size_t i = 0; i < 2; i++)
    tls_channel_free(after.ends[i].channel);
  pair_close(&before);
  free(directory);
}
