#include "harness/report/charts.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report/html.h"

#define POINTS_MAX 20000
#define WIDTH 1000.0 /* units of the view box; page.js uses the same margins */
#define LEFT 64.0
#define RIGHT 12.0
#define LANE_HEIGHT 22.0
#define THROUGHPUT_HEIGHT 180.0

struct chart chart_of(const struct history *history, const struct timeline *timeline) {
  struct chart chart = {.history = history, .timeline = timeline};
  if (history->count > 0)
    chart.began_ns = history->operations[0].invoke_time_ns;
  for (size_t i = 0; i < history->count; i++) {
    const struct operation *operation = &history->operations[i];
    const int64_t end_ns =
        operation->complete_event == NO_EVENT ? operation->invoke_time_ns : operation->complete_time_ns;
    if (end_ns > chart.ended_ns)
      chart.ended_ns = end_ns;
  }
  if (chart.ended_ns <= chart.began_ns)
    chart.ended_ns = chart.began_ns + NS_PER_S;
  return chart;
}

static double x_of(const struct chart *chart, int64_t time_ns) {
  const double share = (double)(time_ns - chart->began_ns) / (double)(chart->ended_ns - chart->began_ns);
  return LEFT + (WIDTH - LEFT - RIGHT) * (share < 0 ? 0 : share > 1 ? 1 : share);
}

/* A step of 1, 2 or 5 times a power of ten that divides `range` into at most `count` parts. */
static double nice_step(double range, double count) {
  const double rough = range / count, power = pow(10, floor(log10(rough)));
  return rough <= power       ? power
         : rough <= 2 * power ? 2 * power
         : rough <= 5 * power ? 5 * power
                              : 10 * power;
}

/* ---- Scatter ---- */

static int64_t latency_ns(const struct operation *operation) {
  return operation->complete_time_ns - operation->invoke_time_ns;
}

static void add_point(struct bytes *data, const struct chart *chart, const struct operation *operation) {
  bytes_append_format(data, "%s%" PRId64 ",%" PRId64, data->size > 0 ? "," : "",
                      (operation->complete_time_ns - chart->began_ns) / NS_PER_MS,
                      latency_ns(operation) / NS_PER_US);
}

static void collect(const struct chart *chart, enum outcome outcome, size_t limit, struct bytes *data) {
  const struct history *history = chart->history;
  size_t total = 0, taken = 0;
  for (size_t i = 0; i < history->count; i++)
    total += history->operations[i].outcome == outcome && history->operations[i].complete_event != NO_EVENT;
  const size_t stride = total <= limit ? 1 : (2 * total + limit - 1) / limit;
  const struct operation *first = NULL, *slowest = NULL;
  for (size_t i = 0; i < history->count; i++) {
    const struct operation *operation = &history->operations[i];
    if (operation->outcome != outcome || operation->complete_event == NO_EVENT)
      continue;
    if (!first)
      first = operation;
    if (!slowest || latency_ns(operation) > latency_ns(slowest))
      slowest = operation;
    if (++taken % stride != 0 && taken != total)
      continue;
    add_point(data, chart, first);
    if (slowest != first)
      add_point(data, chart, slowest);
    first = slowest = NULL;
  }
}

static void append_bands(struct bytes *page, const struct chart *chart) {
  json_t *bands = json_array();
  for (size_t i = 0; i < chart->timeline->fault_count; i++) {
    const struct timeline_fault *fault = &chart->timeline->faults[i];
    if (fault->skipped)
      continue;
    const int64_t end_ns = fault->healed_ns ? fault->healed_ns : chart->ended_ns;
    json_array_append_new(bands, json_pack("[s, s, s, I, I]", fault->name, fault->family, fault->targets,
                                           (json_int_t)((fault->installed_ns - chart->began_ns) / NS_PER_MS),
                                           (json_int_t)((end_ns - chart->began_ns) / NS_PER_MS)));
  }
  char *text = json_dumps(bands, JSON_COMPACT | JSON_ENSURE_ASCII);
  /* Inside a script element only a "<" could end it. */
  for (const char *at = text; at && *at; at++)
    if (*at == '<')
      html_raw(page, "\\u003c");
    else
      bytes_append_u8(page, (uint8_t)*at);
  free(text);
  json_decref(bands);
}

void chart_append_scatter(struct bytes *page, const struct chart *chart) {
  static const char *const names[] = {"ok", "fail", "info"};
  static const size_t limits[] = {POINTS_MAX * 6 / 10, POINTS_MAX * 2 / 10, POINTS_MAX * 2 / 10};
  html_raw(page,
           "<canvas id=\"scatter\" width=\"1000\" height=\"320\" role=\"img\" aria-label=\"latency of every "
           "operation over time\"></canvas><p id=\"under\" class=\"dim\">&nbsp;</p>\n"
           "<script type=\"application/json\" id=\"data\">{");
  html_format(page, "\"duration_ms\":%" PRId64, (chart->ended_ns - chart->began_ns) / NS_PER_MS);
  for (int outcome = OUTCOME_OK; outcome <= OUTCOME_INFO; outcome++) {
    struct bytes data = {0};
    collect(chart, (enum outcome)outcome, limits[outcome], &data);
    html_format(page, ",\"%s\":[%.*s]", names[outcome], (int)data.size, data.data ? (char *)data.data : "");
    bytes_free(&data);
  }
  html_raw(page, ",\"faults\":");
  append_bands(page, chart);
  html_raw(page, "}</script>\n");
}

/* ---- Throughput ---- */

static void append_time_axis(struct bytes *page, const struct chart *chart, double top, double bottom) {
  const double seconds = (double)(chart->ended_ns - chart->began_ns) / 1e9, step = nice_step(seconds, 10);
  for (double at = 0; at <= seconds; at += step) {
    const double x = x_of(chart, chart->began_ns + (int64_t)(at * 1e9));
    html_format(page,
                "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text class=\"axis\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">%g s</text>",
                x, x, top, bottom, x, bottom + 15, at);
  }
}

static void append_bars(struct bytes *page, const struct chart *chart, const uint32_t (*counts)[3],
                        size_t buckets, double highest) {
  static const char *const classes[] = {"ok", "fail", "info"};
  const double bottom = THROUGHPUT_HEIGHT - 20, height = bottom - 10;
  for (size_t i = 0; i < buckets; i++) {
    const double left = x_of(chart, chart->began_ns + (int64_t)i * NS_PER_S);
    const double right = x_of(chart, chart->began_ns + (int64_t)(i + 1) * NS_PER_S);
    double base = bottom;
    for (size_t outcome = 0; outcome < 3; outcome++) {
      const double tall = height * counts[i][outcome] / highest;
      if (counts[i][outcome] == 0)
        continue;
      base -= tall;
      html_format(page, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                  classes[outcome], left, base, right - left > 1.5 ? right - left - 0.5 : right - left, tall);
    }
    html_format(page,
                "<rect class=\"hit\" x=\"%.1f\" y=\"10\" width=\"%.1f\" height=\"%.1f\"><title>second %zu: "
                "%u ok, %u fail, %u info</title></rect>",
                left, right - left, height, i, counts[i][0], counts[i][1], counts[i][2]);
  }
}

void chart_append_throughput(struct bytes *page, const struct chart *chart) {
  const size_t buckets = (size_t)((chart->ended_ns - chart->began_ns + NS_PER_S - 1) / NS_PER_S);
  uint32_t(*counts)[3] = xcalloc(buckets, sizeof *counts);
  double highest = 1;
  for (size_t i = 0; i < chart->history->count; i++) {
    const struct operation *operation = &chart->history->operations[i];
    if (operation->complete_event == NO_EVENT)
      continue;
    const size_t at = (size_t)((operation->complete_time_ns - chart->began_ns) / NS_PER_S);
    uint32_t *bucket = counts[at < buckets ? at : buckets - 1];
    bucket[operation->outcome]++;
    const double sum = (double)bucket[0] + bucket[1] + bucket[2];
    if (sum > highest)
      highest = sum;
  }
  const double bottom = THROUGHPUT_HEIGHT - 20, step = nice_step(highest, 4);
  html_format(page, "<svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"answers a second\">", WIDTH,
              THROUGHPUT_HEIGHT);
  append_time_axis(page, chart, 10, bottom);
  for (double at = 0; at <= highest; at += step) {
    const double y = bottom - (bottom - 10) * at / highest;
    html_format(page,
                "<line class=\"grid\" x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text class=\"axis\" text-anchor=\"end\" x=\"%g\" y=\"%.1f\">%g%s</text>",
                LEFT, WIDTH - RIGHT, y, y, LEFT - 6, y + 4, at >= 1000 ? at / 1000 : at,
                at >= 1000 ? " k" : "");
  }
  append_bars(page, chart, (const uint32_t(*)[3])counts, buckets, highest);
  html_raw(page, "</svg>\n");
  free(counts);
}

/* ---- Lanes ---- */

static void append_bar(struct bytes *page, const struct chart *chart, int64_t from_ns, int64_t to_ns,
                       double y, const char *class, const char *label, const char *title) {
  const double left = x_of(chart, from_ns), right = x_of(chart, to_ns);
  const double width = right - left > 2 ? right - left : 2;
  html_format(page, "<g><rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%g\" rx=\"3\"/>",
              class, left, y + 3, width, LANE_HEIGHT - 6);
  if (width > 7.0 * (double)strlen(label) + 6) {
    html_format(page, "<text class=\"onbar\" x=\"%.1f\" y=\"%.1f\">", left + 4, y + LANE_HEIGHT - 7);
    html_text(page, label);
    html_raw(page, "</text>");
  }
  html_format(page, "<title>");
  html_text(page, title);
  html_format(page, "\n%.2f s to %.2f s</title></g>", (double)(from_ns - chart->began_ns) / 1e9,
              (double)(to_ns - chart->began_ns) / 1e9);
}

static void append_lane_name(struct bytes *page, double y, const char *name) {
  html_format(page, "<text class=\"axis\" x=\"%g\" y=\"%.1f\">", LEFT, y + 11);
  html_text(page, name);
  html_raw(page, "</text>");
}

static void append_primaries(struct bytes *page, const struct chart *chart, double y) {
  const struct timeline *timeline = chart->timeline;
  append_lane_name(page, y, "primary");
  for (size_t i = 0; i < timeline->primary_count; i++) {
    const struct timeline_primary *primary = &timeline->primaries[i];
    int64_t end_ns = i + 1 < timeline->primary_count ? timeline->primaries[i + 1].time_ns : chart->ended_ns;
    if (end_ns > chart->ended_ns)
      end_ns = chart->ended_ns;
    if (end_ns <= chart->began_ns || primary->time_ns >= chart->ended_ns)
      continue;
    char title[64], class[24];
    if (primary->node[0])
      snprintf(title, sizeof title, "%s, term %" PRIu64, primary->node, primary->term);
    else
      snprintf(title, sizeof title, "nobody known as primary");
    snprintf(class, sizeof class, primary->node[0] ? "node%u" : "nobody",
             primary->node[0] ? (unsigned)(strtoul(primary->node + 1, NULL, 10) % 5) : 0);
    append_bar(page, chart, primary->time_ns < chart->began_ns ? chart->began_ns : primary->time_ns, end_ns,
               y + 14, class, primary->node, title);
  }
}

/* True when an earlier fault has the same name: its lane is there already. */
static bool has_lane(const struct timeline *timeline, size_t index) {
  for (size_t i = 0; i < index; i++)
    if (!timeline->faults[i].skipped && strcmp(timeline->faults[i].name, timeline->faults[index].name) == 0)
      return true;
  return false;
}

static void append_fault_lane(struct bytes *page, const struct chart *chart, const char *name, double y) {
  append_lane_name(page, y, name);
  for (size_t i = 0; i < chart->timeline->fault_count; i++) {
    const struct timeline_fault *fault = &chart->timeline->faults[i];
    if (fault->skipped || strcmp(fault->name, name) != 0)
      continue;
    char title[300], class[40];
    snprintf(title, sizeof title, "%s: %s", fault->name, fault->targets);
    snprintf(class, sizeof class, "fault %s", fault->family);
    append_bar(page, chart, fault->installed_ns, fault->healed_ns ? fault->healed_ns : chart->ended_ns,
               y + 14, class, fault->targets, title);
  }
}

void chart_append_lanes(struct bytes *page, const struct chart *chart) {
  const struct timeline *timeline = chart->timeline;
  const double pitch = LANE_HEIGHT + 16;
  size_t lanes = 1;
  for (size_t i = 0; i < timeline->fault_count; i++)
    lanes += !timeline->faults[i].skipped && !has_lane(timeline, i);
  const double bottom = (double)lanes * pitch + 4;
  html_format(page, "<svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"faults and primaries over time\">",
              WIDTH, bottom + 20);
  append_time_axis(page, chart, 0, bottom);
  append_primaries(page, chart, 0);
  double y = pitch;
  for (size_t i = 0; i < timeline->fault_count; i++) {
    if (timeline->faults[i].skipped || has_lane(timeline, i))
      continue;
    append_fault_lane(page, chart, timeline->faults[i].name, y);
    y += pitch;
  }
  html_raw(page, "</svg>\n");
}
