/* error.h: errors are values.
 *
 * A function that can fail returns 0 or a negative code of this enum; at the edges (files, sockets, input
 * from people) it also takes a `struct error *`, may be NULL, and leaves a message there that names the place
 * and the cure. Nothing in Assay exits on an error except a program's main(). */
#ifndef ASSAY_ERROR_H
#define ASSAY_ERROR_H

#include <stddef.h>

enum error_code {
  ERR_OK = 0,
  ERR_NO_MEMORY = -1,
  ERR_IO = -2,        /* the operating system refused; errno was in the message */
  ERR_CORRUPT = -3,   /* bytes that should be ours are not what we wrote */
  ERR_BAD_INPUT = -4, /* what a person or another program handed us cannot be understood */
  ERR_NOT_FOUND = -5,
  ERR_NOT_PRIMARY = -6, /* this server cannot append or confirm: another one may */
  ERR_OVERLOADED = -7,
  ERR_NO_SPACE = -8,
  ERR_UNAVAILABLE = -9, /* the outcome is unknown */
  ERR_TIMEOUT = -10,
  ERR_UNSUPPORTED = -11, /* this machine cannot do that */
  ERR_BUDGET = -12,      /* a budget of time or memory is spent */
};

/* The process exit codes of every program of Assay; part of the contract with scripts. */
enum exit_code {
  EXIT_VALID = 0,
  EXIT_INVALID = 1,
  EXIT_UNKNOWN = 2, /* unknown or vacuous */
  EXIT_HARNESS = 3, /* Assay itself failed: never a verdict */
  EXIT_USAGE = 64,
};

struct error {
  enum error_code code;
  char message[600];
};

/* Fills `error` (may be NULL) and returns `code`, so that a failing path reads `return error_set(…)`. */
int error_set(struct error *error, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set, with ": <strerror(errno)>" behind the message. */
int error_set_errno(struct error *error, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The name of a code, for logs; static. */
const char *error_name(enum error_code code);

#endif
