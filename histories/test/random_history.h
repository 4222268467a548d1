/* random_history.h: histories that nobody ran: any operation, any answer, any text that is UTF-8. */
#ifndef ASSAY_HISTORIES_TEST_RANDOM_HISTORY_H
#define ASSAY_HISTORIES_TEST_RANDOM_HISTORY_H

#include "histories/histories.h"

struct history *random_history(uint64_t seed, size_t operations);

/* Compares everything that stands in a file; says the first difference with cr_assert. */
void assert_histories_equal(const struct history *a, const struct history *b);

/* A path below the directory of this test run's temporary files; static. */
const char *temporary_path(const char *name);

#endif
