/* questions.h: what a node that stands in for a master can be asked about itself, in words:
 *
 *   who                               its pid
 *   clock                             its wall clock and its monotonic clock, in nanoseconds
 *   descriptors                       how many more files it can open; it stops at QUESTION_DESCRIPTORS
 *   memory                            how many more KiB it can write to; it stops at QUESTION_MEMORY_KIB
 *   write FILE OFFSET SIZE LETTER     writes so many of that letter into a file of its data directory
 *   sync FILE                         fsync() of the file and of the directory
 *   read FILE                         what is in it, past the kernel's cache, as runs of letters, '.' for
 *                                     zeros: 4096A512B
 *
 * Those of files are answered by the errno, 0 for none, and the nanoseconds that it took; `read` by the runs,
 * too. */
#ifndef ASSAY_NEMESIS_TEST_QUESTIONS_H
#define ASSAY_NEMESIS_TEST_QUESTIONS_H

#include <stddef.h>

#define QUESTION_DESCRIPTORS 100
#define QUESTION_MEMORY_KIB 4096

/* The answer, or "what?". */
void question_answer(const char *data_directory, const char *question, char *reply, size_t size);

#endif
