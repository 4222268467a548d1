/* assay-verify HISTORY CERTIFICATE: is the certificate a proof that the history is linearizable?
 *
 * Ends 0: accepted, 1: refused, 3: something cannot be read, 64: wrong usage. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "checker/verify/verify.h"

static void print_json(const struct history *history, const struct verification *verification) {
  json_t *object = json_pack("{s:b, s:I, s:I}", "accepted", verification->accepted, "operations",
                             (json_int_t)history->count, "executed", (json_int_t)verification->executed);
  if (!verification->accepted) {
    json_object_set_new(object, "reason", json_string(verification->message));
    json_object_set_new(object, "index", json_integer((json_int_t)verification->index));
    json_object_set_new(object, "line",
                        verification->line ? json_integer((json_int_t)verification->line) : json_null());
  }
  json_dumpf(object, stdout, JSON_COMPACT);
  putchar('\n');
  json_decref(object);
}

static void print_text(const char *history_path, const char *certificate_path, const struct history *history,
                       const struct verification *verification) {
  if (verification->accepted)
    printf("accepted: in this order, %" PRIu64 " operations explain all %zu of %s\n", verification->executed,
           history->count, history_path);
  else if (verification->line)
    printf("refused: %s:%" PRIu64 ": %s\n", certificate_path, verification->line, verification->message);
  else
    printf("refused: %s: %s\n", certificate_path, verification->message);
}

static int fail(const struct error *error) {
  fprintf(stderr, "assay-verify: %s\n", error->message);
  return EXIT_HARNESS;
}

static int verify(const char *history_path, const char *certificate_path, bool json) {
  struct history *history;
  struct error error, warning;
  if (history_read(history_path, &history, &warning, &error) != 0)
    return fail(&error);
  if (warning.code)
    fprintf(stderr, "assay-verify: %s\n", warning.message);
  int code = EXIT_HARNESS;
  struct bytes certificate = {0};
  struct verification verification;
  if (strcmp(history->model.data, "fs") != 0) {
    error_set(&error, ERR_UNSUPPORTED,
              "%s is a history of model \"%s\"; this program knows the specification of "
              "\"fs\" alone",
              history_path, history->model.data);
    fail(&error);
  } else if (file_read(certificate_path, &certificate, &error) != 0 ||
             verify_certificate(history, certificate_path,
                                (struct text){(char *)certificate.data, certificate.size}, &verification,
                                &error) != 0) {
    fail(&error);
  } else {
    if (json)
      print_json(history, &verification);
    else
      print_text(history_path, certificate_path, history, &verification);
    code = verification.accepted ? EXIT_VALID : EXIT_INVALID;
  }
  bytes_free(&certificate);
  history_free(history);
  return code;
}

int main(int argc, char **argv) {
  bool json = false;
  const struct flag flags[] = {
      {"json", FLAG_BOOL, &json, NULL, "print one JSON object", 0, 0},
  };
  const struct flag_set set = {
      .program = "assay-verify",
      .summary =
          "Checks a certificate of linearizability against the history, with a specification of its own.\n"
          "Ends 0: accepted, 1: refused, 3: cannot read, 64: wrong usage.",
      .positional = "HISTORY CERTIFICATE",
      .flags = flags,
      .count = ARRAY_SIZE(flags),
  };
  int positional;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (code >= 0)
    return code;
  if (positional != 2) {
    fprintf(stderr, "assay-verify: give a history and a certificate: assay-verify HISTORY CERTIFICATE\n");
    return EXIT_USAGE;
  }
  return verify(argv[1], argv[2], json);
}
