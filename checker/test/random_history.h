/* random_history.h: small histories for property tests. */
#ifndef ASSAY_CHECKER_TEST_RANDOM_HISTORY_H
#define ASSAY_CHECKER_TEST_RANDOM_HISTORY_H

#include "base/base.h"
#include "histories/histories.h"

/* 4 to 12 operations of 2 to 4 clients over a handful of paths: every kind of operation, answer and outcome.
 * Some are what a correct server answered; in some of those a few answers were changed; some are noise. The
 * same seed makes the same history. */
struct history *random_history(uint64_t seed);

/* The same history with every operation printed, for a failing test. */
void random_history_print(const struct history *history);

#endif
