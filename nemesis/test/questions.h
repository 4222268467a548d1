/* questions.h: what a node that stands in for a master can be asked about itself, in words:
 *
 *   who           its pid
 *   clock         its wall clock and its monotonic clock, in nanoseconds
 */
#ifndef ASSAY_NEMESIS_TEST_QUESTIONS_H
#define ASSAY_NEMESIS_TEST_QUESTIONS_H

#include <stddef.h>

/* The answer, or "what?". */
void question_answer(const char *question, char *reply, size_t size);

#endif
