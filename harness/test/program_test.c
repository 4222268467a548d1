#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/program.h"

/* Runs a shell's script, for what it takes a program to do things; what it printed is in `out`. */
static int run(const char *script, int64_t patience_ns, int *wait_status, char *out, size_t size) {
  char shell[] = "sh", flag[] = "-c", *text = xstrdup(script);
  char *argv[] = {shell, flag, text, NULL};
  FILE *file = tmpfile();
  cr_assert_not_null(file);
  struct error error = {0};
  const int status = program_run(argv, "/usr", fileno(file), fileno(file), patience_ns, wait_status, &error);
  rewind(file);
  out[fread(out, 1, size - 1, file)] = '\0';
  fclose(file);
  free(text);
  return status;
}

Test(program, says_its_end_and_writes_where_it_shall) {
  char out[100];
  int wait_status = 0;
  cr_assert_eq(run("pwd; echo oh >&2; cat; exit 7", 10 * NS_PER_S, &wait_status, out, sizeof out), 0);
  cr_expect(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 7);
  cr_expect_str_eq(out, "/usr\noh\n");
}

Test(program, one_that_takes_too_long_is_killed) {
  char out[100];
  int wait_status = 0;
  const int64_t began_ns = time_monotonic_ns();
  cr_assert_eq(run("exec sleep 100", 50 * NS_PER_MS, &wait_status, out, sizeof out), ERR_TIMEOUT);
  cr_expect(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL);
  cr_expect_geq(time_monotonic_ns() - began_ns, 50 * NS_PER_MS);
}

Test(program, gets_no_signal_settings_of_ours) {
  char out[100];
  int wait_status = 0;
  sigset_t terminate;
  signal(SIGPIPE, SIG_IGN);
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  sigprocmask(SIG_BLOCK, &terminate, NULL);
  cr_assert_eq(run("kill -TERM $$; echo still here", 10 * NS_PER_S, &wait_status, out, sizeof out), 0);
  cr_expect(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGTERM, "it said '%s'", out);
  cr_assert_eq(run("kill -PIPE $$; echo still here", 10 * NS_PER_S, &wait_status, out, sizeof out), 0);
  cr_expect(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGPIPE, "it said '%s'", out);
}

Test(program, one_that_is_not_there_is_an_error_that_names_it) {
  char nothing[] = "no-such-program";
  char *argv[] = {nothing, NULL};
  struct error error = {0};
  int wait_status = 0;
  cr_assert_eq(program_run(argv, NULL, 1, 2, NS_PER_S, &wait_status, &error), ERR_NOT_FOUND);
  cr_expect_not_null(strstr(error.message, nothing));
}
