#include "harness/report/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/document.h"
#include "harness/report/charts.h"
#include "harness/report/counterexample.h"
#include "harness/report/html.h"
#include "harness/timeline.h"

/* page.css and page.js, put into the program by CMakeLists.txt; each ends with a 0. */
extern const unsigned char report_page_css[], report_page_js[];

struct material {
  const json_t *test, *result;
  const struct history *history; /* NULL: none could be read */
  const struct history *counterexample;
  struct timeline timeline;
};

/* ---- Sections ---- */

static void append_head(struct bytes *page, const struct material *material) {
  const char *verdict = document_string(material->result, "verdict", "failed");
  html_raw(page, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>");
  html_text(page, verdict);
  html_raw(page, " · ");
  html_text(page, document_string(material->test, "name", "run"));
  html_raw(page, " · assay</title><style>\n");
  html_raw(page, (const char *)report_page_css);
  html_raw(page, "</style></head><body>\n<h1 class=\"");
  html_text(page, verdict);
  html_raw(page, "\">");
  html_text(page, document_string(material->result, "sentence", "This run never came to a result."));
  html_raw(page, "</h1>\n<p class=\"dim\">");
  html_text(page, document_string(material->test, "name", ""));
  html_raw(page, " · ");
  html_text(page, document_string(material->test, "began", ""));
  html_raw(page, " · seed ");
  html_format(page, "%" PRId64 "</p>\n", document_integer(material->test, "seed", 0));
}

static void append_counterexample(struct bytes *page, const struct material *material) {
  const char *explanation = document_string(material->result, "explanation", NULL);
  if (strcmp(document_string(material->result, "history_verdict", ""), "valid") == 0)
    return;
  if (!material->counterexample && !explanation)
    return;
  html_raw(page, "<h2>Why</h2>\n");
  if (explanation)
    html_element(page, "pre", NULL, explanation);
  if (material->counterexample)
    counterexample_append(page, material->counterexample);
}

static void append_legend(struct bytes *page, const char *const (*entries)[2], size_t count) {
  html_raw(page, "<div class=\"legend\">");
  for (size_t i = 0; i < count; i++)
    html_format(page, "<span><i style=\"background:var(--%s)\"></i>%s</span>", entries[i][0], entries[i][1]);
  html_raw(page, "</div>\n");
}

static void append_charts(struct bytes *page, const struct material *material) {
  static const char *const outcomes[][2] = {
      {"ok", "ok"}, {"fail", "fail: took no effect"}, {"info", "info: outcome unknown"}};
  static const char *const faults[][2] = {
      {"partition", "partition"}, {"pause", "pause"}, {"kill", "kill"}, {"other", "other fault"}};
  if (!material->history || material->history->count == 0)
    return;
  const struct chart chart = chart_of(material->history, &material->timeline);
  html_raw(page, "<h2>Latency of every operation</h2>\n");
  append_legend(page, outcomes, ARRAY_SIZE(outcomes));
  chart_append_scatter(page, &chart);
  html_raw(page, "<h2>Faults, and who was primary</h2>\n");
  append_legend(page, faults, ARRAY_SIZE(faults));
  chart_append_lanes(page, &chart);
  html_raw(page, "<h2>Answers a second</h2>\n");
  append_legend(page, outcomes, ARRAY_SIZE(outcomes));
  chart_append_throughput(page, &chart);
}

static void append_count(struct bytes *page, int64_t count) {
  char text[COUNT_TEXT_SIZE];
  html_element(page, "td", NULL, count_text(count, text));
}

static void append_duration(struct bytes *page, bool measured, int64_t duration_ns) {
  char text[COUNT_TEXT_SIZE];
  html_element(page, "td", NULL, measured ? duration_text(duration_ns, text) : "–");
}

static void append_operations(struct bytes *page, const json_t *result) {
  json_t *operations = json_object_get(result, "per_operation");
  if (json_object_size(operations) == 0)
    return;
  html_raw(page,
           "<h2>Operations</h2>\n<div class=\"wide\"><table><tr><th>operation</th><th>ok</th><th>fail</th>"
           "<th>info</th><th>p50</th><th>p99</th><th>max</th></tr>\n");
  const char *name;
  json_t *one;
  json_object_foreach(operations, name, one) {
    const bool measured = document_integer(one, "ok", 0) > 0;
    html_raw(page, "<tr>");
    html_element(page, "td", NULL, name);
    append_count(page, document_integer(one, "ok", 0));
    append_count(page, document_integer(one, "fail", 0));
    append_count(page, document_integer(one, "info", 0));
    append_duration(page, measured, document_integer(one, "p50_ns", 0));
    append_duration(page, measured, document_integer(one, "p99_ns", 0));
    append_duration(page, measured, document_integer(one, "max_ns", 0));
    html_raw(page, "</tr>\n");
  }
  html_raw(page, "</table></div>\n");
}

static void append_faults(struct bytes *page, const json_t *result) {
  json_t *faults = json_object_get(result, "faults"), *missing = json_object_get(result, "faults_missing");
  if (json_object_size(faults) + json_object_size(missing) == 0)
    return;
  html_raw(page,
           "<h2>Faults</h2>\n<div class=\"wide\"><table><tr><th>fault</th><th>installed</th><th>healed</th>"
           "<th>skipped</th><th class=\"text\">why skipped</th></tr>\n");
  const char *name;
  json_t *one;
  json_object_foreach(faults, name, one) {
    html_raw(page, "<tr>");
    html_element(page, "td", NULL, name);
    append_count(page, document_integer(one, "installed", 0));
    append_count(page, document_integer(one, "healed", 0));
    append_count(page, document_integer(one, "skipped", 0));
    html_raw(page, "<td class=\"text\">");
    const json_t *reasons = json_object_get(one, "reasons");
    for (size_t i = 0; i < json_array_size(reasons); i++) {
      html_raw(page, i > 0 ? "; " : "");
      html_text(page, json_string_value(json_array_get(reasons, i)));
    }
    html_raw(page, "</td></tr>\n");
  }
  json_object_foreach(missing, name, one) {
    html_raw(page, "<tr>");
    html_element(page, "td", NULL, name);
    html_raw(page, "<td class=\"text\" colspan=\"4\">never took hold: ");
    html_text(page, json_string_value(one));
    html_raw(page, "</td></tr>\n");
  }
  html_raw(page, "</table></div>\n");
}

/* A member as people read it: durations, counts, text. */
static void append_value(struct bytes *page, const char *name, const json_t *value) {
  char text[COUNT_TEXT_SIZE];
  const size_t size = strlen(name);
  const bool is_ns = size > 3 && strcmp(name + size - 3, "_ns") == 0;
  const bool is_ms = size > 3 && strcmp(name + size - 3, "_ms") == 0;
  if (json_is_integer(value) && (is_ns || is_ms))
    html_text(page, duration_text(json_integer_value(value) * (is_ms ? NS_PER_MS : 1), text));
  else if (json_is_integer(value))
    html_format(page, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  else if (json_is_real(value))
    html_format(page, "%.3g", json_real_value(value));
  else if (json_is_boolean(value))
    html_raw(page, json_is_true(value) ? "yes" : "no");
  else
    html_text(page, json_is_string(value) ? json_string_value(value) : "–");
}

static void append_row(struct bytes *page, const char *label, const json_t *object, const char *member) {
  const json_t *value = json_object_get(object, member);
  if (!value || json_is_null(value))
    return;
  html_raw(page, "<tr>");
  html_element(page, "td", NULL, label);
  html_raw(page, "<td class=\"text\">");
  append_value(page, member, value);
  html_raw(page, "</td></tr>\n");
}

static void append_cluster(struct bytes *page, const json_t *result) {
  html_raw(page, "<h2>Cluster and check</h2>\n<table>\n");
  append_row(page, "elections", result, "elections");
  append_row(page, "longest without a primary", result, "longest_without_primary_ms");
  append_row(page, "longest without any ok", result, "longest_gap_ms");
  append_row(page, "longest from a heal to an ok", result, "longest_recovery_ms");
  append_row(page, "live again after the last fault", result, "live");
  append_row(page, "replicas' states at the end", result, "replicas");
  append_row(page, "links between the nodes", result, "link");
  append_row(page, "decided by", result, "method");
  append_row(page, "seconds to decide", result, "check_seconds");
  append_row(page, "seconds to read", result, "parse_seconds");
  append_row(page, "what failed", result, "error");
  html_raw(page, "</table>\n");
}

static void append_parameters(struct bytes *page, const struct material *material) {
  html_raw(page, "<h2>Again</h2>\n");
  html_element(page, "pre", NULL, document_string(material->test, "command", ""));
  html_raw(page, "<details><summary>All parameters</summary>\n<table>\n");
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)material->test, name, value) {
    if (!json_is_object(value) && !json_is_array(value) && strcmp(name, "command") != 0)
      append_row(page, name, material->test, name);
  }
  static const char *const groups[] = {"versions", "machine"};
  for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
    json_t *group = json_object_get(material->test, groups[i]);
    json_object_foreach(group, name, value) append_row(page, name, group, name);
  }
  html_raw(page, "</table></details>\n");
}

static void append_page(struct bytes *page, const struct material *material) {
  append_head(page, material);
  append_counterexample(page, material);
  append_charts(page, material);
  append_operations(page, material->result);
  append_faults(page, material->result);
  append_cluster(page, material->result);
  append_parameters(page, material);
  html_raw(page, "<script>\n");
  html_raw(page, (const char *)report_page_js);
  html_raw(page, "</script>\n</body></html>\n");
}

/* ---- The page ---- */

static struct history *read_beside(const char *run, const char *name) {
  char *path = path_join(run, name);
  struct history *history = NULL;
  if (!file_exists(path) || history_read(path, &history, NULL, NULL) != 0)
    history = NULL;
  free(path);
  return history;
}

static json_t *read_document(const char *run, const char *name) {
  char *path = path_join(run, name);
  json_t *document = document_read(path, NULL);
  free(path);
  return document ? document : json_object();
}

int report_write(const char *run, const struct history *history, struct error *error) {
  struct material material = {.history = history};
  struct history *read = history ? NULL : read_beside(run, "history.jsonl");
  struct history *counterexample = read_beside(run, "counterexample.jsonl");
  json_t *test = read_document(run, "test.json"), *result = read_document(run, "result.json");
  char *events = path_join(run, "events.jsonl"), *path = path_join(run, "report.html");
  if (!history)
    material.history = read;
  material.counterexample = counterexample;
  material.test = test;
  material.result = result;
  /* Without events the page lacks its faults, and says nothing wrong. */
  if (timeline_read(events, &material.timeline, NULL) != 0)
    material.timeline = (struct timeline){0};
  struct bytes page = {0};
  append_page(&page, &material);
  const int status = file_replace(path, page.data, page.size, error);
  bytes_free(&page);
  timeline_free(&material.timeline);
  history_free(read);
  history_free(counterexample);
  json_decref(test);
  json_decref(result);
  free(events);
  free(path);
  return status;
}
