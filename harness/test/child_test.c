#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/child.h"

struct heard {
  struct bytes text;
  char start[100]; /* of the text, once the child has ended */
  size_t lines;
  int ended;
};

static void on_line(struct child *child, const char *text) {
  struct heard *heard = child->context;
  bytes_append_format(&heard->text, "[%s]", text);
  heard->lines++;
  if (strcmp(text, "ready") == 0)
    child_tell(child, "hello\n");
  if (strcmp(text, "hello back") == 0)
    child_close_input(child);
  if (strcmp(text, "kill me") == 0)
    child_signal(child, SIGTERM);
}

static void on_ended(struct child *child) {
  struct heard *heard = child->context;
  heard->ended++;
}

static void run(const char *script, struct child *child, struct heard *heard) {
  char shell[] = "/bin/sh", flag[] = "-c";
  char *arguments[] = {shell, flag, xstrdup(script), NULL};
  uv_loop_t loop;
  uv_loop_init(&loop);
  *heard = (struct heard){0};
  *child = (struct child){.name = "test", .context = heard, .line = on_line, .ended = on_ended};
  struct error error = {0};
  cr_assert_eq(child_start(&loop, child, arguments, "/dev/null", &error), 0, "%s", error.message);
  uv_run(&loop, UV_RUN_DEFAULT);
  cr_expect_eq(uv_loop_close(&loop), 0);
  cr_expect(heard->ended == 1 && !child->running);
  snprintf(heard->start, sizeof heard->start, "%.*s", (int)heard->text.size,
           heard->text.data ? (char *)heard->text.data : "");
  bytes_free(&heard->text);
  free(arguments[2]);
}

Test(child, is_told_heard_and_ends_when_its_input_does) {
  struct child child;
  struct heard heard;
  run("echo ready; read word; echo $word back; cat; exit 7", &child, &heard);
  cr_expect_str_eq(heard.start, "[ready][hello back]");
  cr_expect_eq(child.exit_status, 7);
  cr_expect_eq(child.term_signal, 0);
}

Test(child, all_it_said_is_heard_before_its_end) {
  struct child child;
  struct heard heard;
  run("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done", &child, &heard);
  cr_expect_eq(heard.lines, 5000);
}

Test(child, a_signal_is_told_as_its_ending) {
  struct child child;
  struct heard heard;
  char how[64];
  run("echo 'kill me'; exec sleep 100", &child, &heard);
  cr_expect_str_eq(child_ending(&child, how, sizeof how), "signal 15 (Terminated)");
}

Test(child, one_that_prints_without_end_is_ended) {
  struct child child;
  struct heard heard;
  run("exec cat /dev/zero", &child, &heard);
  cr_expect(child.killed_for_noise);
}

Test(child, a_program_that_is_not_there_is_an_error_and_an_end) {
  char nothing[] = "/nowhere/at/all";
  char *arguments[] = {nothing, NULL};
  uv_loop_t loop;
  uv_loop_init(&loop);
  struct heard heard = {0};
  struct child child = {.name = "test", .context = &heard, .line = on_line, .ended = on_ended};
  struct error error = {0};
  cr_expect_neq(child_start(&loop, &child, arguments, "/dev/null", &error), 0);
  cr_expect_not_null(strstr(error.message, nothing));
  uv_run(&loop, UV_RUN_DEFAULT);
  cr_expect_eq(heard.ended, 1);
  uv_loop_close(&loop);
}
