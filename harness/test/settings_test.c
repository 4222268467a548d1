#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/settings.h"

#define WORDS_MAX 64

/* Parses a line as a shell would split it: words, single quotes, backslash outside of them. */
static int parse(struct settings *settings, const char *line) {
  static char room[8192];
  char *words[WORDS_MAX] = {0};
  int count = 0;
  bool quoted = false, inside = false;
  char *to = room;
  for (const char *at = line; *at; at++) {
    if (*at == ' ' && !quoted) {
      if (inside)
        *to++ = '\0';
      inside = false;
      continue;
    }
    if (!inside) {
      cr_assert_lt(count, WORDS_MAX);
      words[count++] = to;
    }
    inside = true;
    if (*at == '\'')
      quoted = !quoted;
    else if (*at == '\\' && !quoted)
      *to++ = *++at;
    else
      *to++ = *at;
  }
  *to = '\0';
  return settings_parse(settings, count, words);
}

static void expect_repeatable(const char *line) {
  struct settings first, second;
  cr_assert_eq(parse(&first, line), -1, "%s", line);
  json_t *before = settings_to_json(&first);
  char *command = settings_command(&first);
  /* "assay run …": the words after the program's name are what a command gets. */
  cr_assert_eq(strncmp(command, "assay run ", 10), 0);
  cr_assert_eq(parse(&second, command + strlen("assay ")), -1, "%s", command);
  json_t *after = settings_to_json(&second);
  char *text_before = json_dumps(before, JSON_SORT_KEYS), *text_after = json_dumps(after, JSON_SORT_KEYS);
  cr_expect_str_eq(text_before, text_after);
  free(text_before);
  free(text_after);
  free(command);
  json_decref(before);
  json_decref(after);
}

#define BASE "run --provider host --master /bin/true "

Test(settings, the_command_that_repeats_a_run_means_the_same) {
  expect_repeatable(BASE);
  expect_repeatable(BASE "--seed 0");
  expect_repeatable(BASE
                    "--nodes 9 --time 90s --workload moves --nemesis none --clients 5 --client-processes 3");
  expect_repeatable(BASE "--time 1500ms --final 0 --fault-duration 2ms "
                         "--fault-interval 1234567ns --request-timeout 10ms --live-within 5s");
  expect_repeatable(BASE "--rate 0.1 --operations-per-set 17 --bug local-reads --name x --floor 7 "
                         "--time-budget 1s --memory-budget 64M");
  expect_repeatable(BASE "--link tap --pcap");
  expect_repeatable(BASE "--cache-size 0");
  expect_repeatable(BASE "--cache-size 10M");
  expect_repeatable(BASE "--store 'a b/it'\\''s'");
  expect_repeatable(BASE "--master-flag=--snapshot-threshold=400 --master-flag=--snapshot-trailing=40");
}

Test(settings, a_seed_that_nobody_chose_is_drawn) {
  struct settings first, second;
  cr_assert_eq(parse(&first, BASE), -1);
  cr_assert_eq(parse(&second, BASE), -1);
  cr_expect_geq(first.seed, 0);
  cr_expect_neq(first.seed, second.seed);
}

Test(settings, the_test_is_named_after_its_workload) {
  struct settings settings;
  cr_assert_eq(parse(&settings, BASE "--workload names"), -1);
  cr_expect_str_eq(settings.name, "names");
}

Test(settings, what_makes_no_sense_is_wrong_usage) {
  static const char *const lines[] = {
      BASE "--nodes 0",       BASE "--nodes 10",  BASE "--time 0",           BASE "--workload no",
      BASE "--nemesis no",    BASE "--clients 1", BASE "--name latest",      BASE "--seed -1",
      BASE "--provider moon", BASE "--link moon", BASE "--link veth --pcap", BASE "--master /nowhere"};
  cr_redirect_stderr();
  for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
    struct settings settings;
    cr_expect_eq(parse(&settings, lines[i]), EXIT_USAGE, "%s", lines[i]);
  }
}
