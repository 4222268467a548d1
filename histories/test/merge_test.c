/* Merging, against sorting everything. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "histories/test/random_history.h"

#define PARTS 4

struct event {
  int64_t time_ns, process;
  bool completion;
  size_t part, place; /* where it came from */
};

static int compare(const void *a, const void *b) {
  const struct event *left = a, *right = b;
  if (left->time_ns != right->time_ns)
    return left->time_ns < right->time_ns ? -1 : 1;
  if (left->completion != right->completion)
    return left->completion ? 1 : -1;
  if (left->part != right->part)
    return left->part < right->part ? -1 : 1;
  return left->place < right->place ? -1 : left->place > right->place;
}

static char *part_path(size_t part) {
  char name[32];
  snprintf(name, sizeof name, "part-%zu.jsonl", part);
  return xstrdup(temporary_path(name));
}

/* Adds the events of `history` in their order. */
static size_t collect(const struct history *history, size_t part, struct event *events) {
  for (size_t i = 0; i < history->count; i++) {
    const struct operation *operation = &history->operations[i];
    events[operation->invoke_event] =
        (struct event){operation->invoke_time_ns, operation->process, false, part, operation->invoke_event};
    if (operation->complete_event != NO_EVENT)
      events[operation->complete_event] = (struct event){operation->complete_time_ns, operation->process,
                                                         true, part, operation->complete_event};
  }
  return history->event_count;
}

static struct history *random_part(uint64_t seed, size_t part) {
  struct history *history = random_history(seed, 10 + seed % 30);
  for (size_t i = 0; i < history->count; i++) {
    history->operations[i].process = history->operations[i].process * PARTS + (int64_t)part;
    history->operations[i].op_id =
        history->operations[i].op_id ? history->operations[i].op_id * PARTS + part : 0;
  }
  return history;
}

Test(merge, equals_sorting_all_events) {
  char *paths[PARTS];
  for (size_t part = 0; part < PARTS; part++)
    paths[part] = part_path(part);
  char *merged_path = xstrdup(temporary_path("merged.jsonl"));
  for (uint64_t seed = 0; seed < 60; seed++) {
    struct event events[PARTS * 200], found[PARTS * 200];
    size_t count = 0;
    struct error error;
    for (size_t part = 0; part < PARTS; part++) {
      struct history *history = random_part(seed * PARTS + part, part);
      count += collect(history, part, events + count);
      cr_assert_eq(history_save(history, paths[part], &error), 0);
      history_free(history);
    }
    qsort(events, count, sizeof *events, compare);
    cr_assert_eq(history_merge((const char *const *)paths, PARTS, merged_path, "{\"run\":1}", &error), 0,
                 "%s", error.message);
    struct history *merged;
    cr_assert_eq(history_read(merged_path, &merged, NULL, &error), 0, "seed %lu: %s", seed, error.message);
    cr_assert_eq(collect(merged, 0, found), count);
    for (size_t i = 0; i < count; i++)
      cr_assert(events[i].time_ns == found[i].time_ns && events[i].process == found[i].process &&
                    events[i].completion == found[i].completion,
                "seed %lu, event %zu", seed, i);
    for (size_t i = 0; i < merged->count; i++)
      cr_assert_eq(merged->operations[i].invoke_index, merged->operations[i].invoke_event);
    cr_assert_str_eq(merged->header.data, "{\"history\":1,\"model\":\"fs\",\"run\":1}");
    history_free(merged);
  }
  for (size_t part = 0; part < PARTS; part++) {
    unlink(paths[part]);
    free(paths[part]);
  }
  unlink(merged_path);
  free(merged_path);
}

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  cr_assert_not_null(file);
  fputs(text, file);
  fclose(file);
}

/* Merges two pieces of text; returns what history_merge does. */
static int merge_texts(const char *a, const char *b, struct bytes *merged, struct error *error) {
  char *paths[] = {part_path(0), part_path(1)}, *output = xstrdup(temporary_path("out.jsonl"));
  write_file(paths[0], a);
  write_file(paths[1], b);
  const int result = history_merge((const char *const *)paths, 2, output, NULL, error);
  bytes_clear(merged);
  if (result == 0)
    cr_assert_eq(file_read(output, merged, NULL), 0);
  bytes_append(merged, "", 1);
  for (size_t i = 0; i < 2; i++) {
    unlink(paths[i]);
    free(paths[i]);
  }
  unlink(output);
  free(output);
  return result;
}

Test(merge, lines_stay_as_they_are_but_for_the_index) {
  struct bytes merged = {0};
  struct error error;
  cr_assert_eq(merge_texts("{\"history\":1,\"model\":\"queue\",\"x\":2}\n"
                           "{\"odd\": [1, 2], \"time\": 5, \"index\": 77, \"process\":1,\"type\":\"ok\"}\n"
                           "{\"time\":7}",
                           "\n{\"time\":5,\"type\":\"invoke\"}\n\n{ \"time\":6, \"to", &merged, &error),
               0, "%s", error.message);
  cr_assert_str_eq((char *)merged.data,
                   "{\"history\":1,\"model\":\"queue\"}\n"
                   "{\"index\":0,\"time\":5,\"type\":\"invoke\"}\n"
                   "{\"odd\": [1, 2], \"time\": 5, \"index\": 1, \"process\":1,\"type\":\"ok\"}\n"
                   "{\"index\":2,\"time\":7}\n");
  cr_assert_eq(merge_texts("", "", &merged, &error), 0);
  cr_assert_str_eq((char *)merged.data, "{\"history\":1,\"model\":\"fs\"}\n");
  bytes_free(&merged);
}

Test(merge, bad_inputs_are_named) {
  struct bytes merged = {0};
  struct error error;
  cr_assert_eq(merge_texts("{\"time\":5}\n{\"time\":4}\n", "", &merged, &error), ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "part-0.jsonl:2: stands before the line above in time"), "%s",
            error.message);
  cr_assert_eq(
      merge_texts("", "{\"time\":5,\"type\":\"ok\"}\n{\"time\":5,\"type\":\"invoke\"}\n", &merged, &error),
      ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "part-1.jsonl:2: "), "%s", error.message);
  cr_assert_eq(merge_texts("{\"index\":5}\n", "", &merged, &error), ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "part-0.jsonl:1: column 12: \"time\" is missing"), "%s", error.message);
  cr_assert_eq(merge_texts("garbage\n{\"time\":5}\n", "", &merged, &error), ERR_BAD_INPUT);
  cr_assert_eq(
      merge_texts("{\"history\":1,\"model\":\"a\"}\n", "{\"history\":1,\"model\":\"b\"}\n", &merged, &error),
      ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "merge what belongs together"), "%s", error.message);
  const char *missing[] = {"/no/such/file"};
  cr_assert_eq(history_merge(missing, 1, temporary_path("out.jsonl"), NULL, &error), ERR_NOT_FOUND);
  const char *none[] = {NULL};
  cr_assert_eq(history_merge(none, 0, "/dev/full", NULL, &error), ERR_NO_SPACE);
  bytes_free(&merged);
}
