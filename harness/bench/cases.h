/* cases.h: what `assay bench master` can measure: the cases, and how they are written.
 *
 *   CASE     = OPERATION ":" CONNECTIONS "x" OUTSTANDING [ ":" NAMES ]
 *   create:8x32       8 connections with 32 requests outstanding on each
 *   list:8x32:1000    the same, of directories of 1000 names (100 if not said; list and mixed only)
 *   all               every operation at 1x1, 64x1, 8x32 and 8x128
 *
 * mixed is what a busy file system does: of 100 requests 50 stat, 10 list, 25 create and 15 set. */
#ifndef ASSAY_HARNESS_BENCH_CASES_H
#define ASSAY_HARNESS_BENCH_CASES_H

#include "base/base.h"

enum load_kind {
  LOAD_CREATE,
  LOAD_STAT,
  LOAD_LIST,
  LOAD_RENAME,
  LOAD_DELETE,
  LOAD_SET,
  LOAD_MIXED,
  LOAD_KINDS
};
#define LOAD_BIT(kind) (1u << (kind))

#define CASES_MAX 32u
#define CASE_NAME_SIZE 48u
#define CONNECTIONS_MAX 1024u
#define OUTSTANDING_MAX 128u
#define NAMES_MAX 10000u
#define NAMES_DEFAULT 100u

struct load_case {
  enum load_kind kind;
  unsigned connections, outstanding;
  unsigned names; /* in a directory that is listed */
};

const char *load_name(enum load_kind kind);

/* Cases, comma-separated. ERR_BAD_INPUT names the case that is none, and what one is. */
int cases_parse(const char *text, struct load_case cases[CASES_MAX], size_t *count, struct error *error);

/* As it is written, NAMES only when they are not the default; returns `out`. */
const char *case_name(const struct load_case *item, char out[CASE_NAME_SIZE]);

/* What the next request of the mixed load does; `face` from 0 to 99. */
enum load_kind mixed_kind(unsigned face);

#endif
