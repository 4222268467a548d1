/* The connection with an agent: what comes over it, in whatever pieces, and how it fails. The other end is a
 * shell. */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "nemesis/remote.h"
#include "nemesis/test/inside.h"

static char *directory;

static void setup(void) {
  directory = scratch_make();
  cr_assert(directory);
  signal(SIGPIPE, SIG_IGN);
}

static void teardown(void) {
  scratch_remove(directory);
}

TestSuite(remote, .init = setup, .fini = teardown, .timeout = 30);

static struct remote connect_to(const char *script) {
  char shell[] = "sh", flag[] = "-c", *text = xstrdup(script), *log = path_join(directory, "ssh.log");
  char *argv[] = {shell, flag, text, NULL};
  struct remote remote;
  struct error error = {0};
  cr_assert_eq(remote_open(&remote, "n1 (shell)", argv, log, &error), 0, "%s", error.message);
  free(text);
  free(log);
  return remote;
}

static bool end_is_told(const struct remote *remote, int timeout_ms) {
  struct pollfd end = {.fd = remote_end_fd(remote), .events = POLLIN};
  return poll(&end, 1, timeout_ms) == 1;
}

static void expect_failure(const char *script, int timeout_ms, const char *text) {
  struct remote remote = connect_to(script);
  struct error error = {0};
  cr_expect_eq(remote_finish(&remote, remote_begin(&remote, "hello", NULL), timeout_ms, NULL, &error),
               ERR_UNAVAILABLE, "%s", script);
  cr_expect(strstr(error.message, text), "'%s' is not in '%s'", text, error.message);
  cr_expect(strstr(error.message, "n1 (shell)"), "%s", error.message);
  cr_expect(end_is_told(&remote, 0), "%s: nobody would hear of it", script);
  cr_expect_eq(remote_finish(&remote, remote_begin(&remote, "count", NULL), timeout_ms, NULL, &error),
               ERR_UNAVAILABLE, "it has failed for ever");
  cr_expect_eq(remote_take_end(&remote, 0), SIGKILL);
  remote_close(&remote, 1000);
}

Test(remote, says_why_it_failed) {
  expect_failure("echo 'Permission denied (publickey).' >&2; exit 255", 20000,
                 "Permission denied (publickey).");
  expect_failure("read line", 20000, "the connection has ended");
  expect_failure("read line; cat >/dev/null", 50, "no answer within");
  expect_failure("read line; echo '{\"id\":77,\"ok\":true}'; cat >/dev/null", 20000, "what it was not asked");
}

Test(remote, skips_what_a_login_says_before_the_first_answer) {
  struct remote remote = connect_to(
      "echo Welcome; echo; read line; printf '{\"id\":1,'; sleep 0.05; echo '\"ok\":true,\"a\":5}';"
      "read line; echo Welcome; cat >/dev/null");
  struct error error = {0};
  json_t *answer = NULL;
  cr_assert_eq(remote_finish(&remote, remote_begin(&remote, "hello", NULL), 20000, &answer, &error), 0, "%s",
               error.message);
  cr_expect_eq(json_integer_value(json_object_get(answer, "a")), 5);
  json_decref(answer);
  cr_expect_eq(remote_finish(&remote, remote_begin(&remote, "count", NULL), 20000, NULL, &error),
               ERR_UNAVAILABLE);
  cr_expect(strstr(error.message, "what is not of an agent: Welcome"), "%s", error.message);
  remote_close(&remote, 0);
}

Test(remote, an_error_is_the_agents_own) {
  struct remote remote = connect_to(
      "read line; echo '{\"id\":1,\"ok\":false,\"code\":-5,\"error\":\"no such node\"}'; read line");
  struct error error = {0};
  cr_expect_eq(remote_finish(&remote, remote_begin(&remote, "start", NULL), 20000, NULL, &error),
               ERR_NOT_FOUND);
  cr_expect_str_eq(error.message, "n1 (shell): no such node");
  cr_expect(!remote.failed);
  remote_close(&remote, 20000);
}

/* The end comes in one piece with the answer, or long after it, or is that of a process before. */
Test(remote, the_end_of_a_node_is_told_whenever_it_comes) {
  struct remote remote = connect_to(
      "read line; printf '{\"id\":1,\"ok\":true,\"life\":1}\\n{\"event\":\"ended\",\"life\":1,\"status\":256}\\n';"
      "read line; printf '{\"event\":\"ended\",\"life\":1,\"status\":9}\\n{\"id\":2,\"ok\":true,\"life\":2}\\n';"
      "read line; echo '{\"event\":\"ended\",\"life\":2,\"status\":134}'; cat >/dev/null");
  struct error error = {0};
  cr_assert_eq(remote_finish(&remote, remote_begin(&remote, "start", NULL), 20000, NULL, &error), 0);
  cr_expect(end_is_told(&remote, 20000));
  cr_expect_eq(remote_await_end(&remote, 20000, &error), 0, "%s", error.message);
  cr_expect_eq(remote_take_end(&remote, 0), 256);
  cr_assert_eq(remote_finish(&remote, remote_begin(&remote, "start", NULL), 20000, NULL, &error), 0);
  cr_expect(!end_is_told(&remote, 0), "an end of the first was taken for one of the second");
  cr_expect_eq(remote_await_end(&remote, 20, &error), ERR_TIMEOUT);
  remote_tell(&remote, "signal", NULL);
  cr_expect(end_is_told(&remote, 20000));
  cr_expect_eq(remote_take_end(&remote, 20000), 134);
  remote_close(&remote, 0);
}

/* Takes nothing at all: an order must not wait for ever. */
Test(remote, a_host_that_reads_nothing_has_failed) {
  struct remote remote = connect_to("exec sleep 60");
  char *much = xmalloc(1 << 20);
  memset(much, 'x', (1 << 20) - 1);
  much[(1 << 20) - 1] = '\0';
  remote_tell(&remote, "log", json_pack("{s:s}", "text", much));
  cr_expect(remote.failed);
  cr_expect(strstr(remote.why.message, "took nothing"), "%s", remote.why.message);
  free(much);
  remote_close(&remote, 0);
}

Test(remote, a_child_that_ends_at_the_end_of_its_input_is_waited_for) {
  char *done = path_join(directory, "done");
  struct bytes script = {0};
  bytes_append_format(&script, "cat >/dev/null; sleep 0.1; touch %s", done);
  struct remote remote = connect_to((const char *)script.data);
  remote_close(&remote, 20000);
  cr_expect(file_exists(done), "it was cut off");
  bytes_free(&script);
  free(done);
}
