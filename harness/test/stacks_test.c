#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/stacks.h"

static char directory[] = "/tmp/assay-stacks-XXXXXX";
static pid_t child = -1;

static void make_directory(void) {
  cr_assert_not_null(mkdtemp(directory));
}

/* A child that works in DIRECTORY/`room` and waits there for a signal. */
static void start_child(const char *room) {
  char *where = path_join(directory, room);
  cr_assert_eq(directory_make(where, NULL), 0);
  child = fork();
  if (child == 0) {
    if (chdir(where) == 0 && raise(SIGSTOP) == 0)
      pause();
    _exit(1);
  }
  free(where);
  int wait_status;
  cr_assert_eq(waitpid(child, &wait_status, WUNTRACED), child);
  cr_assert(WIFSTOPPED(wait_status));
}

static void clean(void) {
  if (child > 0) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  directory_remove(directory, NULL);
}

TestSuite(stacks, .init = make_directory, .fini = clean);

/* What was written about `name`; "" when nothing was. To free(). */
static char *written(const char *name) {
  struct bytes path = {0}, content = {0};
  bytes_append_format(&path, "%s/logs/stacks-%s.txt", directory, name);
  file_read((const char *)path.data, &content, NULL);
  bytes_append_u8(&content, 0);
  bytes_free(&path);
  return (char *)content.data;
}

Test(stacks, a_process_is_described_and_left_as_it_was) {
  start_child("nodes/n1");
  const struct stacks stacks = stacks_begin(directory, "it was slow");
  stacks_write(&stacks, "n1", child);
  char *text = written("n1");
  cr_expect_not_null(strstr(text, "n1, process "), "%s", text);
  cr_expect_not_null(strstr(text, ": it was slow\n"), "%s", text);
  cr_expect_not_null(strstr(text, "T (stopped)"), "%s", text);
  free(text);
  kill(child, SIGKILL);
  int wait_status;
  cr_assert_eq(waitpid(child, &wait_status, 0), child);
  cr_expect(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL);
  child = -1;
}

Test(stacks, looks_are_appended) {
  start_child("nodes/n1");
  const struct stacks first = stacks_begin(directory, "first"), second = stacks_begin(directory, "second");
  stacks_write(&first, "n1", child);
  stacks_write(&second, "n1", child);
  char *text = written("n1");
  cr_expect(strstr(text, ": first\n") && strstr(text, ": second\n"), "%s", text);
  free(text);
}

Test(stacks, masters_are_known_by_where_they_work) {
  start_child("nodes/n2");
  const struct stacks stacks = stacks_begin(directory, "why not");
  stacks_write_masters(&stacks, "n1");
  char *other = written("n2");
  cr_expect_str_eq(other, "");
  stacks_write_masters(&stacks, NULL);
  char *text = written("n2");
  cr_expect_not_null(strstr(text, "n2, process "), "%s", text);
  free(other);
  free(text);
}

Test(stacks, who_works_deeper_or_elsewhere_is_no_master) {
  start_child("nodes/n2/data");
  const struct stacks stacks = stacks_begin(directory, "why not");
  stacks_write_masters(&stacks, NULL);
  char *logs = path_join(directory, "logs");
  cr_expect_not(file_exists(logs));
  free(logs);
}

Test(stacks, a_process_that_is_gone_is_told_to_be) {
  start_child("nodes/n1");
  const pid_t gone = child;
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  child = -1;
  const struct stacks stacks = stacks_begin(directory, "too late");
  stacks_write(&stacks, "n1", gone);
  char *text = written("n1");
  cr_expect_not_null(strstr(text, "it is gone"), "%s", text);
  free(text);
}

Test(stacks, when_the_time_is_up_nobody_is_stopped_any_more) {
  start_child("nodes/n1");
  struct stacks stacks = stacks_begin(directory, "late");
  stacks.deadline_ns = time_monotonic_ns();
  stacks_write(&stacks, "n1", child);
  char *text = written("n1");
  cr_expect(strstr(text, "T (stopped)") && strstr(text, "no call stacks"), "%s", text);
  free(text);
}
