/* flags.h: command lines. A program lists its flags once; parsing, checking and --help come from that list.
 *
 * `--name value` and `--name=value` both work; a boolean takes no value (`--json`) or `--json=false`; `--`
 * ends the flags. Flags may stand between positional arguments. */
#ifndef ASSAY_FLAGS_H
#define ASSAY_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum flag_kind {
  FLAG_BOOL,     /* bool * */
  FLAG_INT,      /* int64_t *, within [low, high] */
  FLAG_DOUBLE,   /* double *, within [low, high] */
  FLAG_STRING,   /* const char **: points into argv */
  FLAG_DURATION, /* int64_t *, nanoseconds, within [low, high] ns; "30", "30s", "250ms", "2m", "1h" (bare:
                    seconds) */
  FLAG_SIZE,     /* int64_t *, bytes; "64K", "16M", "2G" (powers of 1024) */
  FLAG_LIST,     /* struct flag_list *: the flag may be repeated */
};

struct flag_list {
  const char *items[64]; /* point into argv */
  size_t count;
};

struct flag {
  const char *name; /* without the dashes */
  enum flag_kind kind;
  void *target;            /* keeps its value as the default when the flag is not given */
  const char *placeholder; /* what --help shows for the value, NULL for booleans */
  const char *help;        /* one line */
  double low, high;        /* bounds of a number; both 0: only the type's own */
};

struct flag_set {
  const char *program;    /* "assay run" */
  const char *summary;    /* one line: what it does */
  const char *positional; /* "FILE…", or NULL when there are none */
  const struct flag *flags;
  size_t count;
};

/* Parses argv[1…]. On success the positional arguments stand in argv[1…] in their order, `*positional_count`
 * tells how many, and 0 is returned. `--help` prints the help and sets *help. Any error is ERR_BAD_INPUT with
 * a message that names the flag, what it takes, and the nearest known flag for an unknown one. */
int flags_parse(const struct flag_set *set, int argc, char **argv, int *positional_count, bool *help,
                struct error *error);

/* Levenshtein distance, for "did you mean": names are short, so `b` has at most 64 characters (else
 * SIZE_MAX). */
size_t flags_name_distance(const char *a, const char *b);

/* As flags_parse, for a main(): prints the error or the help itself. Returns -1 to go on, or the exit code.
 */
int flags_parse_or_exit_code(const struct flag_set *set, int argc, char **argv, int *positional_count);

#endif
