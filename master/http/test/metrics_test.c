/* The metrics page is what Prometheus' text format allows, read by a parser that lets nothing pass; health
 * says why not. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/http/http.h"

/* ---- a strict reader of the format ---- */

#define FAMILIES_MAX 128
#define SAMPLES_MAX 1024

struct sample {
  char name[128], labels[256]; /* labels: without braces, and without "le" */
  char le[32];
  double value;
};

static struct {
  char family[FAMILIES_MAX][128], type[FAMILIES_MAX][16];
  size_t family_count;
  struct sample samples[SAMPLES_MAX];
  size_t sample_count;
} page;

static bool is_name(const char *text, size_t size) {
  if (size == 0 || isdigit((unsigned char)text[0]))
    return false;
  for (size_t i = 0; i < size; i++)
    if (!isalnum((unsigned char)text[i]) && text[i] != '_' && text[i] != ':')
      return false;
  return true;
}

static void read_family(const char *help, const char *type) {
  char name[128], again[128], kind[16], text[200];
  cr_assert_eq(sscanf(help, "# HELP %127s %199[^\n]", name, text), 2, "no help: %s", help);
  cr_assert_eq(sscanf(type, "# TYPE %127s %15s", again, kind), 2, "no type behind '%s'", help);
  cr_assert_str_eq(name, again);
  cr_assert(is_name(name, strlen(name)), "%s", name);
  cr_assert(strcmp(kind, "counter") == 0 || strcmp(kind, "gauge") == 0 || strcmp(kind, "histogram") == 0);
  for (size_t i = 0; i < page.family_count; i++)
    cr_assert_str_neq(page.family[i], name, "%s is there twice", name);
  const size_t size = strlen(name);
  const bool total = size > 6 && strcmp(name + size - 6, "_total") == 0;
  cr_assert_eq(total, strcmp(kind, "counter") == 0, "%s is a %s", name, kind);
  cr_assert_lt(page.family_count, FAMILIES_MAX);
  snprintf(page.family[page.family_count], sizeof page.family[0], "%s", name);
  snprintf(page.type[page.family_count++], sizeof page.type[0], "%s", kind);
}

/* name="value",… up to the brace. */
static const char *read_labels(const char *at, struct sample *sample) {
  while (*at != '}') {
    const char *equals = strchr(at, '=');
    cr_assert(equals && is_name(at, (size_t)(equals - at)) && equals[1] == '"', "labels: %s", at);
    const char *end = strchr(equals + 2, '"');
    cr_assert(end && !memchr(equals, '\\', (size_t)(end - equals)));
    if (equals - at == 2 && strncmp(at, "le", 2) == 0)
      snprintf(sample->le, sizeof sample->le, "%.*s", (int)(end - equals - 2), equals + 2);
    else
      snprintf(sample->labels + strlen(sample->labels), sizeof sample->labels - strlen(sample->labels),
               "%.*s;", (int)(end + 1 - at), at);
    at = end + 1;
    cr_assert(*at == '}' || (*at == ',' && at[1] != '}'), "labels: %s", at);
    at += *at == ',';
  }
  return at + 1;
}

static void read_sample(const char *line) {
  cr_assert_lt(page.sample_count, SAMPLES_MAX);
  struct sample *sample = &page.samples[page.sample_count];
  *sample = (struct sample){0};
  const size_t size = strcspn(line, "{ ");
  cr_assert(is_name(line, size), "%s", line);
  snprintf(sample->name, sizeof sample->name, "%.*s", (int)size, line);
  const char *at = line + size;
  if (*at == '{')
    at = read_labels(at + 1, sample);
  cr_assert_eq(*at, ' ', "%s", line);
  char *end;
  sample->value = strtod(at + 1, &end);
  cr_assert(end != at + 1 && *end == '\0', "no number: %s", line);
  cr_assert_geq(sample->value, 0);
  for (size_t i = 0; i < page.sample_count; i++) {
    const struct sample *other = &page.samples[i];
    cr_assert(strcmp(other->name, sample->name) != 0 || strcmp(other->labels, sample->labels) != 0 ||
                  strcmp(other->le, sample->le) != 0,
              "twice: %s", line);
  }
  /* It belongs to the family that was begun last. */
  const char *family = page.family[page.family_count - 1];
  const bool histogram = strcmp(page.type[page.family_count - 1], "histogram") == 0;
  const char *suffix = sample->name + strlen(family);
  cr_assert_eq(strncmp(sample->name, family, strlen(family)), 0, "%s stands under %s", line, family);
  cr_assert(histogram ? strcmp(suffix, "_bucket") == 0 || strcmp(suffix, "_sum") == 0 ||
                            strcmp(suffix, "_count") == 0
                      : *suffix == '\0',
            "%s stands under %s", line, family);
  cr_assert_eq(sample->le[0] != '\0', histogram && strcmp(suffix, "_bucket") == 0, "%s", line);
  page.sample_count++;
}

static void read_page(struct bytes *text) {
  page.family_count = page.sample_count = 0;
  cr_assert_gt(text->size, 0);
  cr_assert_eq(text->data[text->size - 1], '\n', "the last line has no end");
  bytes_append_u8(text, 0);
  char *rest = NULL;
  for (char *line = strtok_r((char *)text->data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    if (line[0] == '#')
      read_family(line, strtok_r(NULL, "\n", &rest));
    else
      read_sample(line);
  }
}

static double value_of(const char *name, const char *labels) {
  for (size_t i = 0; i < page.sample_count; i++)
    if (strcmp(page.samples[i].name, name) == 0 && strcmp(page.samples[i].labels, labels) == 0)
      return page.samples[i].value;
  cr_assert(false, "there is no %s{%s}", name, labels);
  return -1;
}

/* Buckets grow with their bounds, the last is +Inf and equals the count. */
static void check_histogram(const char *family, const char *labels) {
  char name[160];
  snprintf(name, sizeof name, "%s_bucket", family);
  double bound = -1, count = 0;
  bool ended = false;
  for (size_t i = 0; i < page.sample_count; i++) {
    const struct sample *sample = &page.samples[i];
    if (strcmp(sample->name, name) != 0 || strcmp(sample->labels, labels) != 0)
      continue;
    cr_assert(!ended, "a bucket behind +Inf");
    ended = strcmp(sample->le, "+Inf") == 0;
    cr_assert(ended || strtod(sample->le, NULL) > bound);
    bound = strtod(sample->le, NULL);
    cr_assert_geq(sample->value, count);
    count = sample->value;
  }
  cr_assert(ended);
  snprintf(name, sizeof name, "%s_count", family);
  cr_assert_eq(value_of(name, labels), count);
  snprintf(name, sizeof name, "%s_sum", family);
  cr_assert_geq(value_of(name, labels), 0);
}

/* ---- the tests ---- */

static struct primary_statistics primary;
static struct disk_statistics disk;

static struct observation healthy(void) {
  return (struct observation){.cluster = 7,
                              .node = 2,
                              .primary = &primary,
                              .disk = &disk,
                              .status = {.role = ROLE_PRIMARY,
                                         .applied_index = 41,
                                         .inodes = 9,
                                         .journal = {.term = 3, .leader = 2, .commit_index = 41}}};
}

static void check_page(const struct observation *observation) {
  struct bytes text = {0};
  metrics_write(&text, observation);
  read_page(&text);
  check_histogram("assay_operation_duration_seconds", "kind=\"read\";");
  check_histogram("assay_operation_duration_seconds", "kind=\"mutation\";");
  check_histogram("assay_log_sync_duration_seconds", "");
  bytes_free(&text);
}

Test(metrics, a_master_that_has_just_begun_has_a_sound_page) {
  const struct observation observation = healthy();
  check_page(&observation);
  cr_assert_eq(value_of("assay_operations_total", "operation=\"stat\";outcome=\"ok\";"), 0);
}

Test(metrics, numbers_of_any_size_make_a_sound_page) {
  struct random random;
  random_seed(&random, 11);
  for (int round = 0; round < 50; round++) {
    for (size_t code = 0; code < STATISTICS_OPERATIONS; code++)
      for (size_t status = 0; status < STATISTICS_STATUSES; status++)
        primary.answers[code][status] = random_next(&random) >> random_below(&random, 64);
    for (int i = 0; i < 1000; i++) {
      durations_add(&primary.reads, (int64_t)(random_next(&random) >> (1 + random_below(&random, 60))));
      durations_add(&disk.syncs, (int64_t)(random_next(&random) >> (30 + random_below(&random, 30))));
    }
    struct observation observation = healthy();
    observation.tables.dirty_bytes = UINT64_MAX / 4;
    observation.resident_bytes = UINT64_MAX;
    check_page(&observation);
  }
}

Test(metrics, what_was_counted_is_told) {
  primary.answers[OP_CREATE][STATUS_EXISTS] = 5;
  primary.answers[OP_RESERVE_CLIENTS + 20][STATUS_OK] = 6;
  disk.bytes = 4096;
  struct observation observation = healthy();
  observation.tables = (struct tables_statistics){.durable_index = 40, .dirty_bytes = 30, .frozen_bytes = 12};
  check_page(&observation);
  cr_assert_eq(value_of("assay_operations_total", "operation=\"create\";outcome=\"exists\";"), 5);
  cr_assert_eq(value_of("assay_operations_total", "operation=\"operation-30\";outcome=\"ok\";"), 6);
  cr_assert_eq(value_of("assay_role", "role=\"primary\";"), 1);
  cr_assert_eq(value_of("assay_role", "role=\"standby\";"), 0);
  cr_assert_eq(value_of("assay_term", ""), 3);
  cr_assert_eq(value_of("assay_applied_index", ""), 41);
  cr_assert_eq(value_of("assay_durable_index", ""), 40);
  cr_assert_eq(value_of("assay_write_behind_bytes", ""), 42);
  cr_assert_eq(value_of("assay_log_written_bytes_total", ""), 4096);
}

Test(metrics, what_tls_has_refused_is_told_by_its_reason) {
  const struct tls_statistics tls = {.established = 9,
                                     .faults = {[TLS_FAULT_ROLE] = 3, [TLS_FAULT_PLAIN] = 2}};
  struct observation observation = healthy();
  check_page(&observation); /* without it, nothing is told */
  observation.tls = &tls;
  observation.tls_expires_s = INT64_C(1796083200);
  check_page(&observation);
  cr_assert_eq(value_of("assay_tls_handshakes_total", ""), 9);
  cr_assert_eq(value_of("assay_tls_failures_total", "reason=\"role\";"), 3);
  cr_assert_eq(value_of("assay_tls_failures_total", "reason=\"plain\";"), 2);
  cr_assert_eq(value_of("assay_tls_failures_total", "reason=\"time\";"), 0);
  cr_assert_eq(value_of("assay_tls_certificate_expires_seconds", ""), 1796083200);
}

Test(metrics, a_duration_is_counted_in_the_bucket_that_holds_it) {
  struct durations durations = {0};
  durations_add(&durations, -5);
  durations_add(&durations, 1000);
  durations_add(&durations, 1001);
  durations_add(&durations, 2000);
  durations_add(&durations, 2001);
  durations_add(&durations, INT64_MAX);
  cr_assert_eq(durations.counts[0], 2);
  cr_assert_eq(durations.counts[1], 2);
  cr_assert_eq(durations.counts[2], 1);
  cr_assert_eq(durations.counts[DURATION_BUCKETS - 1], 1);
  cr_assert_eq(durations.sum_ns, UINT64_C(6002) + INT64_MAX);
}

static void expect_health(const struct observation *observation, enum health asked, bool yes,
                          const char *text) {
  struct bytes answer = {0};
  cr_assert_eq(health_write(&answer, observation, asked), yes);
  bytes_append_u8(&answer, 0);
  cr_assert(strstr((char *)answer.data, text), "no '%s' in: %s", text, answer.data);
  bytes_free(&answer);
}

Test(health, a_node_says_why_it_cannot_do_its_part) {
  struct observation seen = healthy();
  expect_health(&seen, HEALTH, true, "\"healthy\": true, \"node\": 2, \"cluster\": 7, \"role\": \"primary\"");
  expect_health(&seen, HEALTH_READY, true, "\"problems\": []");
  expect_health(&seen, HEALTH_PRIMARY, true, "\"primary\": true");
  seen.status.journal.disk_full = true;
  expect_health(&seen, HEALTH, false, "the disk of the log is full");
  seen.descriptors_short = true;
  expect_health(&seen, HEALTH_PRIMARY, false, "until there is room\", \"hardly a descriptor");
  seen = healthy();
  seen.status.role = ROLE_STANDBY;
  expect_health(&seen, HEALTH_READY, true, "\"role\": \"standby\"");
  expect_health(&seen, HEALTH_PRIMARY, false, "this node is not primary");
  seen.status.journal.commit_index = 100000;
  expect_health(&seen, HEALTH, true, "\"committed\": 100000");
  expect_health(&seen, HEALTH_READY, false, "yet to apply");
  seen.status.journal.leader = 0;
  expect_health(&seen, HEALTH, false, "no primary is known");
  seen.status.role = ROLE_STEPPING_DOWN;
  expect_health(&seen, HEALTH, false, "at its end");
}
