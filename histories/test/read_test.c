/* The reader: any JSON that is a history, and a message of its own for everything that is not. */
#include <criterion/criterion.h>
#include <sys/stat.h>
#include <unistd.h>

#include "histories/test/random_history.h"

static struct history *parse(const char *text) {
  struct history *history;
  struct error error, warning;
  cr_assert_eq(history_parse("h", text, strlen(text), &history, &warning, &error), 0, "%s: %s", text,
               error.message);
  cr_assert_eq(warning.code, 0, "%s", warning.message);
  return history;
}

#define INVOKE "{\"time\":1,\"process\":1,\"type\":\"invoke\",\"f\":\"stat\",\"value\":{\"path\":\"/\"}}\n"
#define AT(time, process, rest) "{\"time\":" #time ",\"process\":" #process "," rest "}\n"
#define DO(f, value) "\"type\":\"invoke\",\"f\":\"" f "\",\"value\":" value
#define OK(f, value) "\"type\":\"ok\",\"f\":\"" f "\",\"value\":" value

Test(read, members_in_any_order_with_escapes_and_strangers) {
  struct history *history = parse(
      " {\"value\" : {\"x\":[[],{}, -1.5e+3 ,true,null,\"\\u0000\"], \"dst\":\"\\u00e4\\ud83d\\ude00\\n\\\"\" ,"
      "\"src\":\"\\/a\"}, \"\\u0066\":\"ren\\u0061me\",\"type\" : \"invoke\",\"op\":18446744073709551615,"
      "\"process\":-5, \"time\":-9223372036854775808}\r\n\n"
      "{\"error\":{\"why\":1,\"at\":3,\"code\":\"version-mismatch\",\"version\":8},\"time\":0,\"type\":\"fail\","
      "\"f\":\"rename\",\"process\":-5,\"index\":7,\"node\":\"n1\",\"term\":3,\"commit\":null}");
  cr_assert_eq(history->count, 1);
  const struct operation *operation = &history->operations[0];
  cr_assert_str_eq(operation->arguments.path.data, "/a");
  cr_assert_str_eq(operation->arguments.destination.data, "\u00e4\U0001F600\n\"");
  cr_assert_eq(operation->op_id, UINT64_MAX);
  cr_assert_eq(operation->process, -5);
  cr_assert_eq(operation->invoke_time_ns, INT64_MIN);
  cr_assert_eq(operation->invoke_index, 0);
  cr_assert_eq(operation->complete_index, 7);
  cr_assert_eq(operation->outcome, OUTCOME_FAIL);
  cr_assert_eq(operation->answer.code, ANSWER_VERSION_MISMATCH);
  /* "at" belongs to batches. */
  cr_assert_eq(operation->answer.seen, SEEN_VERSION);
  cr_assert(operation->answer.version == 8 && operation->answer.at == 0);
  cr_assert(operation->node == -1 && operation->term == 3 && operation->commit == 0);
  history_free(history);
}

Test(read, what_an_answer_leaves_out_is_not_seen) {
  struct history *history =
      parse(AT(1, 1, DO("stat", "{\"path\":\"/\"}")) AT(2, 1, OK("stat", "{\"version\":4,\"value\":null}"))
                AT(3, 1, DO("list", "{\"path\":\"/\"}")) AT(4, 1, OK("list", "null"))
                    AT(5, 1, DO("exists", "{\"path\":\"/\"}")) AT(6, 1, "\"type\":\"ok\",\"f\":\"exists\""));
  cr_assert_eq(history->operations[0].answer.seen, SEEN_VERSION);
  cr_assert_eq(history->operations[1].answer.seen, 0);
  cr_assert_eq(history->operations[2].answer.seen, 0);
  history_free(history);
}

Test(read, unknown_outcomes) {
  struct history *history = parse(
      INVOKE AT(1, 2, DO("stat", "{\"path\":\"/\"}")) AT(1, 3, DO("stat", "{\"path\":\"/\"}")) AT(
          1, 4, DO("stat", "{\"path\":\"/\"}")) AT(2, 1,
                                                   "\"type\":\"info\",\"f\":\"stat\",\"error\":\"timeout\"")
          AT(3, 2, "\"type\":\"info\",\"f\":\"stat\",\"error\":[\"indeterminate\", 5]")
              AT(3, 3,
                 "\"type\":\"info\",\"f\":\"stat\",\"value\":{\"path\":\"/\"},\"error\":{\"code\":\"odd\"}"));
  static const enum answer_code codes[] = {ANSWER_TIMEOUT, ANSWER_OTHER, ANSWER_OTHER, ANSWER_OTHER};
  for (size_t i = 0; i < 4; i++) {
    cr_assert_eq(history->operations[i].outcome, OUTCOME_INFO);
    cr_assert_eq(history->operations[i].answer.code, codes[i]);
    cr_assert_eq(history->operations[i].complete_event == NO_EVENT, i == 3);
  }
  history_free(history);
}

Test(read, a_torn_tail_is_dropped_and_said) {
  static const char text[] = INVOKE AT(2, 1, OK("stat", "{}")) INVOKE;
  const size_t whole = sizeof INVOKE AT(2, 1, OK("stat", "{}")) - 1;
  for (size_t size = whole + 1; size < sizeof text - 2; size++) {
    struct history *history;
    struct error error, warning;
    cr_assert_eq(history_parse("h", text, size, &history, &warning, &error), 0, "%s", error.message);
    cr_assert_eq(warning.code, ERR_CORRUPT);
    cr_assert(strncmp(warning.message, "h:3: ", 5) == 0, "%s", warning.message);
    cr_assert_eq(history->count, 1);
    history_free(history);
  }
}

Test(read, a_last_line_without_a_newline_counts_when_it_is_whole) {
  struct history *history = parse("{\"history\":1,\"model\":\"r\\u0065g\"}");
  cr_assert_str_eq(history->model.data, "reg");
  cr_assert_eq(history->count, 0);
  history_free(history);
  history = parse("");
  cr_assert_eq(history->count, 0);
  history_free(history);
}

#define BATCH(operations) AT(1, 1, DO("batch", "{\"operations\":" operations "}"))
#define ANSWERED(answers) AT(2, 1, OK("batch", "{\"answers\":" answers "}"))

/* Each input with a part of the message that says what is wrong, where, and what to do. */
static const struct {
  const char *text, *message;
} defects[] = {
    {"hello\n", "h:1: column 1: an object belongs here"},
    {"[]\n", "h:1: column 1: an object belongs here"},
    {"{\"time\":1,}\n", "h:1: column 11"},
    {"{\"time\":1 \"process\":1}\n", "a comma or the end of the object belongs here"},
    {"{\"time\" 1}\n", "a colon belongs here"},
    {"{\"a\":01}\n", "a number begins with 0"},
    {"{\"a\":1.}\n", "a digit belongs behind the point"},
    {"{\"a\":1e}\n", "a digit belongs into the exponent"},
    {"{\"a\":nul}\n", "a JSON value belongs here"},
    {"{\"a\":[1,]}\n", "a JSON value belongs here"},
    {"{\"a\":[1 2]}\n", "a comma or the end of the list"},
    {"{\"a\":\"b\n", "(or the string has no end)"},
    {"{\"a\":\"\t\"}\n", "a control character inside a string"},
    {"{\"a\":\"\\x\"}\n", "a malformed escape"},
    {"{\"a\":\"\\u12g4\"}\n", "a malformed escape"},
    {"{\"a\":\"\\ud800\"}\n", "a surrogate without its other half"},
    {"{\"a\":\"\\udc00\"}\n", "a surrogate without its other half"},
    {"{\"a\":\"\\ud800\\u0041\"}\n", "a surrogate without its other half"},
    {"{\"a\":\"\xC0\x80\"}\n", "not UTF-8"},
    {"{\"a\":\"\xED\xA0\x80\"}\n", "not UTF-8"},
    {"{\"a\":\"\xF4\x90\x80\x80\"}\n", "not UTF-8"},
    {"{} {}\n", "something stands behind the end of the object"},
    {"{\"history\":2}\n", "history format 2, but this program reads format 1"},
    {"{\"history\":\"x\"}\n", "h:1: column 12, in \"history\": a whole number"},
    {INVOKE "{\"history\":1}\n", "h:2: \"process\" is missing"},
    {"{\"process\":1}\n", "\"type\" is missing"},
    {"{\"process\":1,\"type\":\"invoke\"}\n", "\"f\" is missing"},
    {"{\"process\":1,\"type\":\"invoke\",\"f\":\"stat\"}\n", "\"time\" is missing"},
    {"{\"time\":1.5}\n", "in \"time\": a whole number"},
    {"{\"time\":9223372036854775808}\n", "in \"time\": a whole number"},
    {"{\"time\":1,\"time\":1}\n", "in \"time\": the member stands twice"},
    {"{\"index\":-1}\n", "in \"index\": a whole number"},
    {"{\"op\":18446744073709551616}\n", "in \"op\": a whole number"},
    {"{\"process\":\"n1\"}\n", "a whole number, or \"nemesis\""},
    {"{\"type\":\"done\"}\n", "unknown type \"done\"; it is one of invoke, ok, fail, info"},
    {AT(1, 1, DO("chmod", "{}")), "unknown operation \"chmod\"; known are mkdir,"},
    {AT(1, 1, "\"type\":\"invoke\",\"f\":\"stat\""), "\"value\" is missing"},
    {AT(1, 1, "\"type\":\"invoke\",\"f\":\"stat\",\"value\":null"), "\"value\" is missing"},
    {AT(1, 1, DO("stat", "{}")), "\"path\" is missing"},
    {AT(1, 1, DO("stat", "[]")), "an object belongs here"},
    {AT(1, 1, DO("stat", "{\"path\":7}")), "in \"path\": a string belongs here"},
    {AT(1, 1, DO("stat", "{\"path\":\"a\",\"path\":\"b\"}")), "stands twice"},
    {AT(1, 1, DO("rename", "{\"src\":\"/a\"}")), "\"dst\" is missing"},
    {AT(1, 1, DO("rename", "{\"path\":\"/a\",\"dst\":\"/b\"}")), "\"src\" is missing"},
    {AT(1, 1, DO("set", "{\"path\":\"/a\"}")), "\"value\" is missing"},
    {AT(1, 1, DO("set", "{\"path\":\"/a\",\"value\":\"\",\"if_version\":\"1\"}")), "in \"if_version\""},
    {AT(1, 1, DO("mkdir", "{\"path\":\"/a\",\"parents\":1}")), "true or false belongs here"},
    {AT(1, 1, DO("complete", "{\"path\":\"/a\"}")), "\"length\" is missing"},
    {AT(1, 1, DO("commit-block", "{\"length\":1}")), "\"block\" is missing"},
    {AT(1, 1, DO("batch", "{}")), "\"operations\" is missing"},
    {BATCH("[{\"f\":\"stat\",\"value\":{\"path\":\"/\"}}]"), "a mutation other than add-block and batch"},
    {BATCH("[{\"f\":\"add-block\",\"value\":{\"path\":\"/\"}}]"),
     "a mutation other than add-block and batch"},
    {BATCH("[{\"f\":\"batch\",\"value\":{\"operations\":[]}}]"), "a mutation other than add-block and batch"},
    {BATCH("[{\"value\":{}}]"), "needs an \"f\""},
    {BATCH("[{\"f\":\"mkdir\"}]"), "lacks its \"value\""},
    {BATCH("[{\"f\":\"mkdir\",\"value\":{\"path\":\"/a\"}}]") ANSWERED("[]"),
     "as many answers as operations"},
    {BATCH("[]") ANSWERED("[{}]"), "as many answers as operations"},
    {INVOKE AT(2, 1, OK("stat", "{\"kind\":\"link\"}")), "h:2: column 68, in \"kind\": \"dir\" or \"file\""},
    {INVOKE AT(2, 1, OK("stat", "{\"blocks\":[]}")), "in \"blocks\": a whole number"},
    {INVOKE AT(2, 1, OK("stat", "7")), "an object belongs here"},
    {AT(1, 1, DO("list", "{\"path\":\"/\"}")) AT(2, 1, OK("list", "{\"entries\":[{}]}")),
     "an entry lacks its \"name\""},
    {AT(1, 1, DO("list", "{\"path\":\"/\"}")) AT(2, 1, OK("list", "{\"entries\":{}}")),
     "a list belongs here"},
    {AT(1, 1, DO("blocks", "{\"path\":\"/\"}")) AT(2, 1, OK("blocks", "{\"blocks\":[{}]}")),
     "lacks its \"block\""},
    {AT(1, 1, OK("stat", "{}")), "process 1 completes an operation that it has not invoked"},
    {INVOKE AT(2, 1, OK("list", "{}")), "completes list, but what it invoked (index 0) is stat"},
    {INVOKE AT(2, 1, OK("stat", "{}")) AT(3, 1, OK("stat", "{}")), "h:3: process 1 completes"},
    {INVOKE INVOKE, "h:2: process 1 invokes while its operation of index 0 is open"},
    {INVOKE AT(2, 1, "\"type\":\"info\",\"f\":\"stat\"") AT(3, 1, DO("stat", "{\"path\":\"/\"}")),
     "h:3: process 1 invokes after its operation of index 0 ended in info"},
    {INVOKE AT(0, 2, DO("stat", "{\"path\":\"/\"}")),
     "time 0 stands behind time 1; put the lines into the order"},
    {INVOKE AT(2, 1, OK("stat", "{}")) AT(2, 2, DO("stat", "{\"path\":\"/\"}")),
     "behind a completion of the same time 2"},
    {"{\"index\":4,\"time\":1,\"process\":1,\"type\":\"invoke\",\"f\":\"stat\",\"value\":{\"path\":\"/\"}}\n"
     "{\"index\":4,\"time\":2,\"process\":1,\"type\":\"ok\",\"f\":\"stat\"}\n",
     "index 4 where 5 or more belongs"},
    {INVOKE AT(2, 1, "\"type\":\"fail\",\"f\":\"stat\""), "a fail needs an \"error\" with a \"code\""},
    {INVOKE AT(2, 1, "\"type\":\"fail\",\"f\":\"stat\",\"error\":{}"),
     "a fail needs an \"error\" with a \"code\""},
    {INVOKE AT(2, 1, "\"type\":\"fail\",\"f\":\"stat\",\"error\":\"odd\""),
     "is not known, so it says nothing certain"},
    {INVOKE AT(2, 1, "\"type\":\"fail\",\"f\":\"stat\",\"error\":\"timeout\""), "record it as info"},
    {INVOKE AT(2, 1, "\"type\":\"info\",\"f\":\"stat\",\"error\":\"exists\""), "record it as fail"},
    {AT(1, 1, "\"op\":5," DO("delete", "{\"path\":\"/a\"}"))
         AT(2, 2, "\"op\":5," DO("delete", "{\"path\":\"/a\"}")),
     "op id 5 was given to an earlier operation"},
    {AT(1, 1, "\"op\":5," DO("delete", "{\"path\":\"/a\"}")) AT(2, 1, "\"op\":6," OK("delete", "{}")),
     "op id 6 completes the operation of op id 5"},
    {"{\"time\":1,\"process\":\"nemesis\",\"type\":\"ok\",\"f\":\"heal\"}\n",
     "a line of the nemesis is of type invoke"},
};

Test(read, every_defect_has_its_message) {
  for (size_t i = 0; i < ARRAY_SIZE(defects); i++) {
    struct history *history = NULL;
    struct error error = {0};
    const int result = history_parse("h", defects[i].text, strlen(defects[i].text), &history, NULL, &error);
    cr_assert_eq(result, ERR_BAD_INPUT, "%s", defects[i].text);
    cr_assert(strncmp(error.message, "h:", 2) == 0 && strstr(error.message, defects[i].message),
              "%s\nsays: %s\nnot: %s", defects[i].text, error.message, defects[i].message);
  }
}

Test(read, nesting_has_a_bound) {
  struct bytes text = {0};
  bytes_append_format(&text, "{\"x\":");
  for (int i = 0; i < 100000; i++)
    bytes_append(&text, "[", 1);
  bytes_append(&text, "\n", 1);
  struct history *history;
  struct error error;
  cr_assert_eq(history_parse("h", (char *)text.data, text.size, &history, NULL, &error), ERR_BAD_INPUT);
  cr_assert(strstr(error.message, "nested too deeply"), "%s", error.message);
  bytes_free(&text);
}

Test(read, files_that_cannot_be_read) {
  struct history *history;
  struct error error;
  cr_assert_eq(history_read("/no/such/file", &history, NULL, &error), ERR_NOT_FOUND);
  cr_assert(strstr(error.message, "/no/such/file"), "%s", error.message);
  cr_assert_eq(history_read("/", &history, NULL, &error), ERR_IO);
  cr_assert(strstr(error.message, "/ cannot be read"), "%s", error.message);
}

/* Lines that lie across the pieces in which a file is read. */
Test(read, a_file_is_read_in_pieces) {
  const char *path = temporary_path("pieces.jsonl");
  struct history *history = history_new(), *read;
  struct error error;
  struct bytes name = {0};
  for (size_t i = 0; i < 3000; i++) {
    bytes_append_format(&name, "/%zu", i);
    struct arguments exists = {.kind = OPERATION_EXISTS, .path = {(char *)name.data, name.size}};
    struct answer answer = {.seen = SEEN_EXISTS, .exists = i % 2};
    history_complete(history, history_invoke(history, 1, 0, &exists, 0), OUTCOME_OK, &answer, 0);
  }
  cr_assert_eq(history_save(history, path, &error), 0);
  cr_assert_eq(history_read(path, &read, NULL, &error), 0, "%s", error.message);
  assert_histories_equal(history, read);
  bytes_free(&name);
  history_free(history);
  history_free(read);
  unlink(path);
}

Test(read, the_corpus) {
  struct bytes list = {0}, path = {0};
  struct error error;
  const char *source = getenv("ASSAY_SOURCE");
  cr_assert_not_null(source, "run by ctest, or set ASSAY_SOURCE to the root of the sources");
  bytes_append_format(&path, "%s/histories/corpus/verdicts.tsv", source);
  bytes_append(&path, "", 1);
  cr_assert_eq(file_read((char *)path.data, &list, &error), 0, "%s", error.message);
  bytes_append(&list, "", 1);
  size_t count = 0;
  for (char *line = strtok((char *)list.data, "\n"); line; line = strtok(NULL, "\n")) {
    if (line[0] == '#')
      continue;
    struct history *history;
    line[strcspn(line, "\t")] = '\0';
    bytes_clear(&path);
    bytes_append_format(&path, "%s/histories/corpus/%s", source, line);
    bytes_append(&path, "", 1);
    struct error warning;
    cr_assert_eq(history_read((char *)path.data, &history, &warning, &error), 0, "%s", error.message);
    cr_assert_eq(warning.code, 0);
    history_free(history);
    count++;
  }
  cr_assert_geq(count, 16);
  bytes_free(&list);
  bytes_free(&path);
}
