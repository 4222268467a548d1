#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/document.h"
#include "harness/report/html.h"
#include "harness/report/report.h"

Test(html, markup_in_text_is_text) {
  struct bytes page = {0};
  html_text(&page, "<b a=\"x\">&'\n\x01\xff"
                   "é");
  bytes_append_u8(&page, 0);
  cr_expect_str_eq((char *)page.data, "&lt;b a=&quot;x&quot;&gt;&amp;&#39;\n\xef\xbf\xbd\xef\xbf\xbdé");
  bytes_free(&page);
}

/* Random bytes never yield a "<", an unescaped quote, or anything that is not UTF-8. */
Test(html, random_bytes_stay_text) {
  struct random random;
  random_seed(&random, 3);
  for (int round = 0; round < 20000; round++) {
    char text[16];
    const size_t size = (size_t)random_below(&random, sizeof text);
    for (size_t i = 0; i < size; i++)
      text[i] = (char)random_between(&random, 1, 255);
    text[size] = '\0';
    struct bytes page = {0};
    html_text(&page, text);
    bytes_append_u8(&page, 0);
    cr_assert_null(strpbrk((char *)page.data, "<>\"'"));
    json_t *utf8 = json_string((char *)page.data);
    cr_assert_not_null(utf8, "not UTF-8");
    json_decref(utf8);
    bytes_free(&page);
  }
}

static char directory[] = "/tmp/assay-report-XXXXXX";

static void save(const char *name, const char *text) {
  char *path = path_join(directory, name);
  cr_assert_eq(file_replace(path, text, strlen(text), NULL), 0);
  free(path);
}

static char *render(const struct history *history) {
  struct error error = {0};
  struct bytes page = {0};
  cr_assert_eq(report_write(directory, history, &error), 0, "%s", error.message);
  char *path = path_join(directory, "report.html");
  cr_assert_eq(file_read(path, &page, NULL), 0);
  free(path);
  bytes_append_u8(&page, 0);
  return (char *)page.data;
}

static struct history *hostile_history(size_t count) {
  struct history *history = history_new();
  for (size_t i = 0; i < count; i++) {
    const struct arguments arguments = {.kind = OPERATION_STAT,
                                        .path = text_of("/</script><script>alert(1)")};
    const struct answer answer = {.code = i % 3 == 0 ? ANSWER_OK : ANSWER_NOT_FOUND};
    const int64_t now_ns = (int64_t)i * 1000000;
    const size_t position = history_invoke(history, (int64_t)i, i + 1, &arguments, now_ns);
    if (i % 3 != 2)
      history_complete(history, position, i % 3 == 0 ? OUTCOME_OK : OUTCOME_FAIL, &answer, now_ns + 500000);
  }
  return history;
}

Test(report, nothing_hostile_becomes_markup_and_nothing_is_fetched) {
  cr_assert_not_null(mkdtemp(directory));
  struct history *history = hostile_history(50);
  char *path = path_join(directory, "counterexample.jsonl");
  cr_assert_eq(history_save(history, path, NULL), 0);
  free(path);
  save("test.json", "{\"name\":\"</script><script>alert(1)\",\"command\":\"<script>alert(1)\"}");
  save("result.json", "{\"verdict\":\"invalid\",\"sentence\":\"<script>alert(1)\",\"explanation\":"
                      "\"<script>alert(1)\",\"history_verdict\":\"invalid\"}");
  save(
      "events.jsonl",
      "{\"event\":\"fault\",\"phase\":\"installed\",\"fault\":\"</script><script>alert(1)\",\"family\":\"x\","
      "\"targets\":[\"<script>alert(1)\"],\"time_ns\":1000}\n"
      "{\"event\":\"primary\",\"node\":\"<script>alert(1)\",\"term\":1,\"time_ns\":0}\n");
  char *page = render(history);
  cr_expect_null(strstr(page, "<script>alert"));
  cr_expect_null(strstr(page, "http"), "the page must not need the network");
  cr_expect_not_null(strstr(page, "&lt;script&gt;alert(1)"));
  free(page);
  history_free(history);
  directory_remove(directory, NULL);
}

Test(report, a_run_that_holds_nothing_still_gets_a_page) {
  cr_assert_not_null(mkdtemp(directory));
  char *page = render(NULL);
  cr_expect_not_null(strstr(page, "never came to a result"));
  free(page);
  directory_remove(directory, NULL);
}

Test(report, a_large_history_is_sampled) {
  cr_assert_not_null(mkdtemp(directory));
  struct history *history = hostile_history(200000);
  char *page = render(history);
  const char *points = strstr(page, "\"ok\":[");
  cr_assert_not_null(points);
  size_t numbers = 1;
  for (const char *at = points; *at && *at != ']'; at++)
    numbers += *at == ',';
  cr_expect_leq(numbers, 2 * 20000);
  cr_expect_geq(numbers, 2 * 5000);
  free(page);
  history_free(history);
  directory_remove(directory, NULL);
}
