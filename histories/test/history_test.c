/* Histories in memory: building, cutting down, printing. */
#include <criterion/criterion.h>

#include "histories/test/random_history.h"

Test(history, times_are_moved_into_order) {
  struct history *history = history_new();
  struct arguments stat = {.kind = OPERATION_STAT, .path = text_of("/")};
  struct answer answer = {0};
  for (int i = 0; i < 3; i++)
    history_complete(history, history_invoke(history, 1, 0, &stat, 5), OUTCOME_OK, &answer, 5);
  for (size_t i = 0; i < 3; i++) {
    cr_assert_eq(history->operations[i].invoke_time_ns, 5 + (int64_t)i);
    cr_assert_eq(history->operations[i].complete_time_ns, 5 + (int64_t)i);
  }
  history_free(history);
}

/* The subset, said slowly: an event is kept when its operation is and it is no weakened completion. */
static void check_subset(const struct history *history, const bool *keep, const bool *weaken,
                         const struct history *subset) {
  size_t at = 0;
  for (size_t i = 0; i < history->count; i++) {
    if (!keep[i])
      continue;
    const struct operation *from = &history->operations[i], *to = &subset->operations[at++];
    cr_assert(text_equal(from->arguments.path, to->arguments.path));
    cr_assert(!from->arguments.path.data || from->arguments.path.data != to->arguments.path.data);
    cr_assert_eq(from->invoke_index, to->invoke_index);
    const bool open = from->complete_event == NO_EVENT || (weaken && weaken[i]);
    cr_assert_eq(to->complete_event == NO_EVENT, open);
    if (weaken && weaken[i])
      cr_assert_eq(to->outcome, OUTCOME_INFO);
    else
      cr_assert_eq(to->outcome, from->outcome);
    if (!open)
      cr_assert_eq(to->complete_index, from->complete_index);
    size_t before = 0;
    for (size_t j = 0; j < history->count; j++)
      if (keep[j]) {
        const struct operation *other = &history->operations[j];
        before += other->invoke_event < from->invoke_event;
        before += other->complete_event < from->invoke_event && !(weaken && weaken[j]);
      }
    cr_assert_eq(to->invoke_event, before);
  }
  cr_assert_eq(at, subset->count);
}

Test(history, subsets) {
  struct random random;
  random_seed(&random, 5);
  for (uint64_t seed = 0; seed < 100; seed++) {
    struct history *history = random_history(seed, 25);
    bool keep[25], weaken[25];
    for (size_t i = 0; i < 25; i++) {
      keep[i] = random_chance(&random, 0.6);
      weaken[i] = random_chance(&random, 0.2);
    }
    const bool *weakened = seed % 2 ? weaken : NULL;
    struct history *subset = history_subset(history, keep, weakened);
    check_subset(history, keep, weakened, subset);
    /* What is cut down can be saved and read, and means the same. */
    const char *path = temporary_path("subset.jsonl");
    struct history *read;
    struct error error;
    cr_assert_eq(history_save(subset, path, &error), 0);
    cr_assert_eq(history_read(path, &read, NULL, &error), 0, "%s", error.message);
    assert_histories_equal(subset, read);
    remove(path);
    history_free(history);
    history_free(subset);
    history_free(read);
  }
}

Test(history, names) {
  for (int i = 0; i < OPERATION_KINDS; i++)
    cr_assert_eq(operation_kind_of(text_of(operation_name((enum operation_kind)i))), i);
  for (int i = 0; i < ANSWER_CODES; i++)
    cr_assert_eq(answer_code_of(text_of(answer_name((enum answer_code)i))), i);
  cr_assert_null(operation_name(OPERATION_KINDS));
  cr_assert_eq(operation_kind_of(text_of("mkdi")), -1);
  cr_assert_eq(operation_kind_of((struct text){0}), -1);
  cr_assert(text_equal((struct text){0}, text_of(NULL)) && !text_equal((struct text){0}, text_of("")));
}

static void assert_prints(const char *lines, const char *expected) {
  struct history *history;
  struct error error;
  char text[200];
  cr_assert_eq(history_parse("h", lines, strlen(lines), &history, NULL, &error), 0, "%s", error.message);
  operation_print(&history->operations[0], text, sizeof text);
  cr_assert_str_eq(text, expected);
  for (size_t size = 1; size < sizeof text; size++) {
    char cut[200];
    memset(cut, 'x', sizeof cut);
    operation_print(&history->operations[0], cut, size);
    cr_assert(strlen(cut) < size && strncmp(cut, expected, strlen(cut)) == 0);
  }
  history_free(history);
}

#define INVOKE(f, value)                                                                                     \
  "{\"time\":1,\"process\":1,\"type\":\"invoke\",\"f\":\"" f "\",\"value\":" value "}\n"
#define COMPLETE(type, f, rest) "{\"time\":2,\"process\":1,\"type\":\"" type "\",\"f\":\"" f "\"," rest "}\n"

Test(history, operations_for_people) {
  assert_prints(
      INVOKE("stat", "{\"path\":\"/a/b\"}")
          COMPLETE("ok", "stat", "\"value\":{\"kind\":\"file\",\"creator\":17,\"version\":3,\"children\":0}"),
      "stat /a/b -> ok file, creator 17, version 3");
  assert_prints(INVOKE("rename", "{\"src\":\"/a b\",\"dst\":\"/\u00fc\"}")
                    COMPLETE("fail", "rename", "\"error\":\"exists\""),
                "rename \"/a b\" to /\u00fc -> fail exists");
  assert_prints(INVOKE("set", "{\"path\":\"/f\",\"value\":\"v\",\"if_version\":2}")
                    COMPLETE("fail", "set", "\"error\":{\"code\":\"version-mismatch\",\"version\":5}"),
                "set /f to \"v\" if version 2 -> fail version-mismatch version 5");
  assert_prints(INVOKE("mkdir", "{\"path\":\"/d\",\"parents\":true}")
                    COMPLETE("info", "mkdir", "\"error\":\"timeout\""),
                "mkdir /d with parents -> unknown (timeout)");
  assert_prints(INVOKE("list", "{\"path\":\"/d\"}")
                    COMPLETE("ok", "list",
                             "\"value\":{\"entries\":[{\"name\":\"x\",\"kind\":\"dir\"},{\"name\":\"y\"}]}"),
                "list /d -> ok [x/, y]");
  assert_prints(INVOKE("delete", "{\"path\":\"/d\",\"recursive\":true}"), "delete /d recursively -> unknown");
}
