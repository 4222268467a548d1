#include "harness/report/counterexample.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/report/html.h"

#define LEFT 90.0
#define SLOT 118.0 /* width of the distance between two events */
#define ROW 46.0
#define BAR 26.0
#define CHARACTER 7.0 /* width of one, about */

/* A counterexample that is not minimal may be long; a picture of it would show nothing. */
#define SHOWN_MAX 60

static int ascending(const void *a, const void *b) {
  const int64_t first = *(const int64_t *)a, second = *(const int64_t *)b;
  return (first > second) - (first < second);
}

/* The different processes in ascending order; returns how many. */
static size_t list_processes(const struct history *history, int64_t *processes) {
  for (size_t i = 0; i < history->count; i++)
    processes[i] = history->operations[i].process;
  qsort(processes, history->count, sizeof *processes, ascending);
  size_t count = 0;
  for (size_t i = 0; i < history->count; i++)
    if (i == 0 || processes[i] != processes[i - 1])
      processes[count++] = processes[i];
  return count;
}

static size_t row_of(const int64_t *processes, int64_t process) {
  size_t row = 0;
  while (processes[row] != process)
    row++;
  return row;
}

static void append_bar(struct bytes *page, const struct history *history, size_t index, double y) {
  const struct operation *operation = &history->operations[index];
  const bool open = operation->complete_event == NO_EVENT || operation->outcome == OUTCOME_INFO;
  const uint32_t end_event = open ? history->event_count : operation->complete_event;
  const double left = LEFT + SLOT * operation->invoke_event,
               right = LEFT + SLOT * end_event + (open ? 20 : 0);
  static const char *const classes[] = {"ok", "fail", "info"};
  char text[600], label[640];
  operation_print(operation, text, sizeof text);
  html_format(page,
              "<g><rect class=\"operation %s\" x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%g\" rx=\"4\"/>",
              classes[operation->outcome], left, y, right - left, BAR);
  const int room = (int)((right - left - 10) / CHARACTER);
  snprintf(label, sizeof label, "%zu  %s", index + 1, text);
  if ((int)strlen(label) > room) {
    size_t cut = room > 1 ? (size_t)room - 1 : 0;
    while (cut > 0 && ((unsigned char)label[cut] & 0xc0) == 0x80)
      cut--;
    snprintf(label + cut, sizeof label - cut, "…");
  }
  html_format(page, "<text x=\"%.0f\" y=\"%.0f\">", left + 6, y + BAR - 8);
  html_text(page, label);
  html_raw(page, "</text><title>");
  html_text(page, text);
  html_raw(page, "</title></g>");
}

static void append_picture(struct bytes *page, const struct history *history) {
  int64_t *processes = xcalloc(history->count, sizeof *processes);
  const size_t rows = list_processes(history, processes);
  const double width = LEFT + SLOT * history->event_count + 40, height = ROW * (double)rows + 10;
  html_format(page,
              "<div class=\"wide\"><svg class=\"counterexample\" style=\"width:%.0fpx\" viewBox=\"0 0 %.0f "
              "%.0f\" role=\"img\" aria-label=\"the counterexample\">",
              width, width, height);
  for (size_t row = 0; row < rows; row++) {
    const double y = ROW * (double)row + 18;
    html_format(page,
                "<text class=\"axis\" x=\"0\" y=\"%.0f\">process %" PRId64 "</text>"
                "<line class=\"grid\" x1=\"%g\" x2=\"%.0f\" y1=\"%.0f\" y2=\"%.0f\"/>",
                y + 5, processes[row], LEFT, width, y, y);
  }
  for (size_t i = 0; i < history->count; i++)
    append_bar(page, history, i,
               ROW * (double)row_of(processes, history->operations[i].process) + 18 - BAR / 2);
  html_raw(page, "</svg></div>\n");
  free(processes);
}

void counterexample_append(struct bytes *page, const struct history *history) {
  if (history->count > 0 && history->count <= SHOWN_MAX)
    append_picture(page, history);
  html_raw(page, "<ol class=\"operations\">");
  for (size_t i = 0; i < history->count && i < 10 * SHOWN_MAX; i++) {
    const struct operation *operation = &history->operations[i];
    char text[600];
    operation_print(operation, text, sizeof text);
    html_raw(page, "<li><code>");
    html_text(page, text);
    html_format(page, "</code> <span class=\"dim\">process %" PRId64 ", index %" PRIu64 "</span></li>",
                operation->process, operation->invoke_index);
  }
  html_raw(page, "</ol>\n");
}
