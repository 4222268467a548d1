/* criterion/criterion.h: what our tests use of Criterion, for builds under the thread sanitizer, where the
 * memory that Criterion shares with its children has no place. Found before Criterion's own header in such
 * builds only. */
#ifndef ASSAY_TSAN_CRITERION_H
#define ASSAY_TSAN_CRITERION_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A test; or, without `run`, what its whole suite does before and after each test. */
struct criterion_test {
  const char *suite, *name;
  void (*run)(void);
  void (*init)(void), (*fini)(void);
  unsigned timeout; /* seconds; 0: the suite's, or none */
  struct criterion_test *next;
};

/* Registers a test of static storage; runner.c runs all of them. */
void criterion_add(struct criterion_test *test);

/* Says what did not hold, and ends the test at once when `fatal`. */
__attribute__((format(printf, 5, 6))) void criterion_fail(bool fatal, const char *file, int line,
                                                          const char *condition, const char *format, ...);

#define CRITERION_ADD(symbol, ...)                                                                           \
  __attribute__((constructor)) static void symbol(void) {                                                    \
    static struct criterion_test test = {__VA_ARGS__};                                                       \
    criterion_add(&test);                                                                                    \
  }

#define TestSuite(Suite, ...) CRITERION_ADD(Suite##_add, .suite = #Suite, __VA_ARGS__)
#define Test(Suite, Name, ...)                                                                               \
  static void Suite##_##Name(void);                                                                          \
  CRITERION_ADD(Suite##_##Name##_add, .suite = #Suite, .name = #Name, .run = Suite##_##Name, __VA_ARGS__)    \
  static void Suite##_##Name(void)

#define CRITERION_CHECK(fatal, condition, ...)                                                               \
  ((condition) ? (void)0 : criterion_fail(fatal, __FILE__, __LINE__, #condition, " " __VA_ARGS__))
#define cr_assert(condition, ...) CRITERION_CHECK(true, condition, __VA_ARGS__)
#define cr_assert_not(condition, ...) CRITERION_CHECK(true, !(condition), __VA_ARGS__)
#define cr_assert_null(pointer, ...) CRITERION_CHECK(true, !(pointer), __VA_ARGS__)
#define cr_assert_not_null(pointer, ...) CRITERION_CHECK(true, (pointer), __VA_ARGS__)
#define cr_assert_eq(a, b, ...) CRITERION_CHECK(true, (a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...) CRITERION_CHECK(true, (a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...) CRITERION_CHECK(true, (a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...) CRITERION_CHECK(true, (a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...) CRITERION_CHECK(true, (a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...) CRITERION_CHECK(true, (a) >= (b), __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) CRITERION_CHECK(true, strcmp(a, b) == 0, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, size, ...) CRITERION_CHECK(true, memcmp(a, b, size) == 0, __VA_ARGS__)
#define cr_assert_fail(...) CRITERION_CHECK(true, false, __VA_ARGS__)
#define cr_expect(condition, ...) CRITERION_CHECK(false, condition, __VA_ARGS__)
#define cr_expect_eq(a, b, ...) CRITERION_CHECK(false, (a) == (b), __VA_ARGS__)

#endif
