/* A transition as a line, and a run as a picture. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "simulator/simulator.h"

static struct transition at(uint64_t number, const char *kind, int node, int peer, uint64_t frame,
                            const char *text) {
  return (struct transition){.number = number,
                             .time_ns = (int64_t)number * NS_PER_MS,
                             .kind = kind,
                             .node = node,
                             .peer = peer,
                             .frame = frame,
                             .text = text};
}

static void expect_line(struct transition transition, const char *line) {
  char text[TRANSITION_TEXT_SIZE];
  transition_print(&transition, text);
  cr_expect_str_eq(text, line);
}

Test(trace, a_line_tells_number_time_who_and_what) {
  expect_line(at(12, "role", 0, -1, 0, "leader of term 2"),
              "      12    0.012000  n1       role       leader of term 2");
  expect_line(at(13, "fault", -1, -1, 0, "storm"), "      13    0.013000  -        fault      storm");
  expect_line(at(14, "invoke", -2, -1, 0, "stat /a"), "      14    0.014000  c1       invoke     stat /a");
}

Test(trace, messages_go_from_their_sender_to_their_receiver) {
  expect_line(at(1, "send", 0, 2, 7, "vote"), "       1    0.001000  n1 > n3  send       vote  #7");
  expect_line(at(2, "deliver", 2, 0, 7, "9 bytes"), "       2    0.002000  n1 > n3  deliver    9 bytes  #7");
  expect_line(at(3, "drop", 2, 0, 8, "lost"), "       3    0.003000  n1 > n3  drop       lost  #8");
  expect_line(at(4, "send", -3, 0, (UINT64_C(1) << 40) + 5, "request"),
              "       4    0.004000  c2 > n1  send       request  #c5");
}

Test(trace, a_text_without_end_is_cut) {
  char *endless = xcalloc(4000, 1), text[TRANSITION_TEXT_SIZE];
  memset(endless, 'x', 3999);
  const struct transition transition = at(1, "log", -1, -1, 0, endless);
  transition_print(&transition, text);
  cr_expect_eq(strlen(text), TRANSITION_TEXT_SIZE - 1);
  free(endless);
}

/* ---- Pictures ---- */

static char *draw(const struct sequence_options *options, const struct transition *transitions,
                  size_t count) {
  char path[] = "/tmp/assay-sequence-XXXXXX";
  const int handle = mkstemp(path);
  cr_assert_geq(handle, 0);
  close(handle);
  struct sequence *sequence = sequence_new(options);
  for (size_t i = 0; i < count; i++)
    sequence_add(sequence, &transitions[i]);
  struct error error = {0};
  cr_assert_eq(sequence_write(sequence, "a <title>", path, &error), 0, "%s", error.message);
  sequence_free(sequence);
  struct bytes content = {0};
  cr_assert_eq(file_read(path, &content, &error), 0);
  bytes_append_u8(&content, 0);
  unlink(path);
  return (char *)content.data;
}

static size_t occurrences(const char *text, const char *what) {
  size_t count = 0;
  for (const char *found = text; (found = strstr(found, what)) != NULL; found += strlen(what))
    count++;
  return count;
}

Test(sequence, messages_are_drawn_by_what_became_of_them) {
  const struct transition all[] = {
      at(1, "send", 0, 1, 1, "append a"),   at(1, "send", 0, 2, 2, "append b"),
      at(2, "deliver", 1, 0, 1, "9 bytes"), at(3, "drop", 2, 0, 2, "lost"),
      at(4, "deliver", 1, 0, 1, "9 bytes"), at(5, "send", 1, 0, 3, "never heard of"),
  };
  const struct sequence_options options = {.nodes = 3, .clients = 1};
  char *svg = draw(&options, all, ARRAY_SIZE(all));
  cr_expect_eq(occurrences(svg, "marker-end"), 2, "twice delivered is twice drawn");
  cr_expect_eq(occurrences(svg, "<path class=\"lost\""), 1);
  cr_expect_eq(occurrences(svg, "class=\"name\""), 6, "three nodes above and below; the client does nothing");
  cr_expect_eq(occurrences(svg, "never heard of"), 0);
  free(svg);
}

Test(sequence, nothing_in_a_text_becomes_markup) {
  const struct transition all[] = {at(1, "role", 0, -1, 0, "<b>&\x01")};
  const struct sequence_options options = {.nodes = 3};
  char *svg = draw(&options, all, ARRAY_SIZE(all));
  cr_expect_eq(occurrences(svg, "<b>"), 0);
  cr_expect_geq(occurrences(svg, "&lt;b&gt;&amp;"), 1);
  cr_expect_eq(occurrences(svg, "a &lt;title&gt;"), 1);
  cr_expect_eq(occurrences(svg, "\x01"), 0);
  free(svg);
}

Test(sequence, heartbeats_that_say_nothing_new_are_left_out) {
  const struct transition all[] = {
      at(1, "send", 0, 1, 1, "heartbeat term 1, commit 1, 72 bytes"), at(2, "deliver", 1, 0, 1, "72 bytes"),
      at(3, "send", 0, 1, 2, "heartbeat term 1, commit 1, 72 bytes"), at(4, "deliver", 1, 0, 2, "72 bytes"),
      at(5, "send", 0, 1, 3, "heartbeat term 1, commit 2, 72 bytes"), at(6, "deliver", 1, 0, 3, "72 bytes"),
  };
  struct sequence_options options = {.nodes = 3};
  char *svg = draw(&options, all, ARRAY_SIZE(all));
  cr_expect_eq(occurrences(svg, "marker-end"), 2);
  free(svg);
  options.heartbeats = true;
  svg = draw(&options, all, ARRAY_SIZE(all));
  cr_expect_eq(occurrences(svg, "marker-end"), 3);
  free(svg);
}

Test(sequence, a_window_knows_who_led_before_it) {
  const struct transition all[] = {at(1, "role", 0, -1, 0, "leader of term 1"),
                                   at(2, "crash", 1, -1, 0, "ends"), at(9, "fault", -1, -1, 0, "storm")};
  const struct sequence_options options = {.nodes = 3, .from = 5};
  char *svg = draw(&options, all, ARRAY_SIZE(all));
  cr_expect_eq(occurrences(svg, "\"life leader\""), 1);
  cr_expect_eq(occurrences(svg, "\"life down\""), 1);
  cr_expect_eq(occurrences(svg, "\"life follower\""), 1);
  cr_expect_eq(occurrences(svg, "leader of term 1"), 0);
  free(svg);
}

Test(sequence, of_many_rows_the_last_are_shown) {
  const struct sequence_options options = {.nodes = 3, .rows_max = 10};
  struct transition *all = xcalloc(5000, sizeof *all);
  for (size_t i = 0; i < 5000; i++)
    all[i] = at(i + 1, "fault", -1, -1, 0, "storm");
  char *svg = draw(&options, all, 5000);
  cr_expect_eq(occurrences(svg, "<rect class=\"fault\""), 10);
  cr_expect_eq(occurrences(svg, ">5000<"), 1);
  cr_expect_eq(occurrences(svg, ">4990<"), 0);
  free(svg);
  free(all);
}
