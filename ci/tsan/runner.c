/* runner.c: runs the tests of one program, each in a child of its own; see criterion/criterion.h. The exit
 * code is 1 when one failed. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

static struct criterion_test *tests, **tests_end = &tests;
static bool failed; /* in a child: an expectation did not hold */

void criterion_add(struct criterion_test *test) {
  *tests_end = test;
  tests_end = &test->next;
}

void criterion_fail(bool fatal, const char *file, int line, const char *condition, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s:%d: does not hold: %s;", file, line, condition);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  failed = true;
  if (fatal)
    _exit(EXIT_FAILURE);
}

static const struct criterion_test *find_suite(const char *name) {
  static const struct criterion_test none;
  for (const struct criterion_test *suite = tests; suite; suite = suite->next) {
    if (!suite->run && strcmp(suite->suite, name) == 0)
      return suite;
  }
  return &none;
}

static void run_here(const struct criterion_test *test, const struct criterion_test *suite) {
  alarm(test->timeout ? test->timeout : suite->timeout);
  if (suite->init)
    suite->init();
  if (test->init)
    test->init();
  test->run();
  if (test->fini)
    test->fini();
  if (suite->fini)
    suite->fini();
}

/* True when the test passed. */
static bool run_in_child(const struct criterion_test *test) {
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    run_here(test, find_suite(test->suite));
    exit(failed ? EXIT_FAILURE : EXIT_SUCCESS);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child)
    return false;
  if (WIFSIGNALED(status))
    fprintf(stderr, "ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void) {
  size_t count = 0, failures = 0;
  for (const struct criterion_test *test = tests; test; test = test->next) {
    if (!test->run)
      continue;
    const bool passed = run_in_child(test);
    printf("%s %s::%s\n", passed ? "passed" : "FAILED", test->suite, test->name);
    count++;
    failures += !passed;
  }
  printf("%zu tests, %zu failed\n", count, failures);
  return failures == 0 && count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
