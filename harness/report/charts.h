/* charts.h: a run over time: the latency scatter, throughput, and what was broken when. All three share one
 * time axis, so that they can be read together from top to bottom. */
#ifndef ASSAY_HARNESS_REPORT_CHARTS_H
#define ASSAY_HARNESS_REPORT_CHARTS_H

#include "harness/timeline.h"
#include "histories/histories.h"

struct chart {
  const struct history *history;
  const struct timeline *timeline;
  int64_t began_ns, ended_ns; /* of the time axis */
};

struct chart chart_of(const struct history *history, const struct timeline *timeline);

/* A canvas and the data that page.js draws on it. At most 20 000 points: where there are more, of each run of
 * neighbours the first and the slowest. */
void chart_append_scatter(struct bytes *page, const struct chart *chart);

/* Answers a second, stacked by outcome. */
void chart_append_throughput(struct bytes *page, const struct chart *chart);

/* One lane a fault, and one for who was primary. */
void chart_append_lanes(struct bytes *page, const struct chart *chart);

#endif
