/* bugs_findings.c: what a defect's detections amount to. */
#ifdef ASSAY_BUGS

#include <stdlib.h>
#include <string.h>

#include "harness/bugs.h"

size_t finding_found(const struct finding *finding) {
  size_t found = 0;
  for (size_t i = 0; i < finding->count; i++)
    found += finding->detections[i].found;
  return found;
}

static int compare(const void *a, const void *b) {
  const struct detection *left = *(const struct detection *const *)a,
                         *right = *(const struct detection *const *)b;
  if (left->found != right->found)
    return left->found ? -1 : 1;
  if (left->simulated_seconds > 0 || right->simulated_seconds > 0)
    return (left->seeds > right->seeds) - (left->seeds < right->seeds);
  return (left->wall_seconds > right->wall_seconds) - (left->wall_seconds < right->wall_seconds);
}

static const struct detection *ranked(const struct finding *finding, size_t rank) {
  const struct detection *order[DETECTIONS_MAX];
  if (finding->count == 0)
    return NULL;
  for (size_t i = 0; i < finding->count; i++)
    order[i] = &finding->detections[i];
  qsort(order, finding->count, sizeof *order, compare);
  return order[rank]->found ? order[rank] : NULL;
}

const struct detection *finding_median(const struct finding *finding) {
  return ranked(finding, finding->count / 2);
}

const struct detection *finding_worst(const struct finding *finding) {
  return ranked(finding, finding->count > 0 ? finding->count - 1 : 0);
}

bool finding_holds(const struct finding *finding) {
  return finding->count > 0 && finding_found(finding) * 5 >= finding->count * 4;
}

size_t finding_counterexample(const struct finding *finding) {
  size_t smallest = 0;
  for (size_t i = 0; i < finding->count; i++) {
    const size_t size = finding->detections[i].counterexample;
    if (size > 0 && (smallest == 0 || size < smallest))
      smallest = size;
  }
  return smallest;
}

const char *finding_evidence(const struct finding *finding) {
  const char *most = "";
  size_t most_count = 0;
  for (size_t i = 0; i < finding->count; i++) {
    size_t count = 0;
    for (size_t j = 0; j < finding->count; j++)
      count += finding->detections[j].found &&
               strcmp(finding->detections[i].evidence, finding->detections[j].evidence) == 0;
    if (count > most_count) {
      most_count = count;
      most = finding->detections[i].evidence;
    }
  }
  return most;
}

static json_t *number_or_null(const struct detection *detection, double value) {
  return detection ? json_real(value) : json_null();
}

json_t *finding_json(const struct finding *finding) {
  json_t *object = json_pack("{s:s, s:s}", "bug", finding->bug, "where", finding->where);
  if (finding->reason) {
    json_object_set_new(object, "found", json_null());
    json_object_set_new(object, "reason", json_string(finding->reason));
    return object;
  }
  static const struct detection none;
  const struct detection *median = finding_median(finding), *worst = finding_worst(finding);
  const struct detection *m = median ? median : &none, *w = worst ? worst : &none;
  const bool simulated = strcmp(finding->where, "simulator") == 0;
  json_object_set_new(object, "found", json_boolean(finding_holds(finding)));
  json_object_set_new(object, "detections", json_integer((json_int_t)finding_found(finding)));
  json_object_set_new(object, "tries", json_integer((json_int_t)finding->count));
  json_object_set_new(object, "median_seeds", median ? json_integer((json_int_t)m->seeds) : json_null());
  json_object_set_new(object, "median_seconds", number_or_null(median, m->wall_seconds));
  json_object_set_new(object, "worst", number_or_null(worst, simulated ? (double)w->seeds : w->wall_seconds));
  if (simulated)
    json_object_set_new(object, "median_simulated_seconds", number_or_null(median, m->simulated_seconds));
  json_object_set_new(object, "counterexample_operations",
                      json_integer((json_int_t)finding_counterexample(finding)));
  json_object_set_new(object, "evidence", json_string(finding_evidence(finding)));
  json_t *each = json_array();
  for (size_t i = 0; i < finding->count; i++) {
    const struct detection *d = &finding->detections[i];
    json_array_append_new(each,
                          json_pack("{s:b, s:I, s:f, s:s}", "found", d->found, "seeds", (json_int_t)d->seeds,
                                    "wall_seconds", d->wall_seconds, "evidence", d->evidence));
  }
  json_object_set_new(object, "each", each);
  return object;
}

#else
typedef int bugs_of_another_build;
#endif
