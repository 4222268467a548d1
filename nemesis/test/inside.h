/* inside.h: tests whose body runs in a sandbox, where Criterion's own assertions do not reach.
 *
 * A body returns 0; CHECK ends it with 1 and says why on standard error. */
#ifndef ASSAY_NEMESIS_TEST_INSIDE_H
#define ASSAY_NEMESIS_TEST_INSIDE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "nemesis/nemesis.h"

#define CHECK(condition, ...)                                                                                \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                        \
      fprintf(stderr, __VA_ARGS__);                                                                          \
      fputc('\n', stderr);                                                                                   \
      fflush(stderr);                                                                                        \
      _exit(1);                                                                                              \
    }                                                                                                        \
  } while (0)

enum user { USER_AS_IS, USER_ORDINARY, USERS };

/* Runs `function` in a child that is, when root runs the tests and `user` says so, nobody. Returns its exit
 * code, or 128 + the signal that ended it. */
int run_as(enum user user, int (*function)(void *context), void *context);

/* Runs `body` in a sandbox of such a child. Prints the error if there is no sandbox. */
int run_inside(enum user user, int (*body)(void *context), void *context);

/* A new directory that everybody may write, removed by scratch_remove. */
char *scratch_make(void);
void scratch_remove(char *directory);
/* Removes what is in it, as whoever made that; returns 0. */
int scratch_empty(void *directory);

/* Counts the processes that live in the pid namespace with this inode number. */
size_t processes_in(ino_t pid_namespace);
ino_t namespace_of(const char *pid, const char *kind); /* "self", "net"; 0 when it cannot be read */

/* The path of a program that the build made beside the tests; to free(). */
char *test_program(const char *name);

#endif
