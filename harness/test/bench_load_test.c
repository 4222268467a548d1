#include <criterion/criterion.h>
#include <stdlib.h>

#include "harness/bench/load.h"

/* A cluster that answers everything after `delay`, all of a stall at its end, and counts what it is asked. */
struct waiting {
  int64_t due_ns;
  system_done *done;
  void *context;
};

struct system_cluster {
  uv_loop_t loop;
  uv_timer_t timer;
  int64_t delay_ns, stall_from_ns, stall_to_ns; /* since the first stat */
  int64_t first_ns;
  struct waiting waiting[CONNECTIONS_MAX * OUTSTANDING_MAX];
  size_t count, lanes;
  size_t most; /* outstanding, of all that is no creation */
  uint64_t asked[LOAD_KINDS];
  uint64_t new_directories;
  const char *error; /* of every answer but those to creations */
  bool mute;
  void (*lost)(void *context, const char *why);
  void *lost_context;
};

static void answer_due(uv_timer_t *timer) {
  struct system_cluster *cluster = timer->data;
  const int64_t now_ns = time_monotonic_ns();
  for (size_t i = 0; i < cluster->count;) {
    const struct waiting waiting = cluster->waiting[i];
    if (waiting.due_ns > now_ns) {
      i++;
      continue;
    }
    cluster->waiting[i] = cluster->waiting[--cluster->count];
    waiting.done(waiting.context, cluster->asked[LOAD_STAT] > 0 ? cluster->error : NULL);
  }
}

static int fake_open(struct system_cluster *cluster, size_t lanes,
                     void (*lost)(void *context, const char *why), void *context, struct error *error) {
  (void)error;
  cluster->lanes = lanes;
  cluster->lost = lost;
  cluster->lost_context = context;
  uv_timer_init(&cluster->loop, &cluster->timer);
  cluster->timer.data = cluster;
  uv_timer_start(&cluster->timer, answer_due, 1, 1);
  return 0;
}

static void fake_submit(struct system_cluster *cluster, size_t lane, const struct system_request *request,
                        system_done *done, void *context) {
  const int64_t now_ns = time_monotonic_ns();
  cr_assert(lane < cluster->lanes);
  cr_assert_neq(request->kind, LOAD_MIXED);
  if (request->kind == LOAD_STAT && cluster->asked[LOAD_STAT] == 0)
    cluster->first_ns = now_ns;
  cluster->asked[request->kind]++;
  cluster->new_directories += request->new_directory;
  int64_t due_ns = now_ns + (request->kind == LOAD_CREATE ? 0 : cluster->delay_ns);
  const int64_t at_ns = now_ns - cluster->first_ns;
  if (request->kind == LOAD_STAT && at_ns >= cluster->stall_from_ns && at_ns < cluster->stall_to_ns)
    due_ns = cluster->first_ns + cluster->stall_to_ns;
  if (cluster->mute && request->kind == LOAD_STAT) {
    if (cluster->asked[LOAD_STAT] == 10)
      cluster->lost(cluster->lost_context, "it hangs up");
    return;
  }
  cluster->waiting[cluster->count++] = (struct waiting){due_ns, done, context};
  if (request->kind != LOAD_CREATE && cluster->count > cluster->most)
    cluster->most = cluster->count;
}

static void on_closed(uv_handle_t *handle) {
  ((struct system_cluster *)handle->data)->lanes = 0;
}

static void fake_close(struct system_cluster *cluster) {
  uv_close((uv_handle_t *)&cluster->timer, on_closed);
  while (cluster->lanes > 0)
    uv_run(&cluster->loop, UV_RUN_ONCE);
}

static const struct bench_system fake = {
    .name = "fake", .rate = 1000, .open = fake_open, .submit = fake_submit, .close = fake_close};

static bool interrupted;

static int run(struct system_cluster *cluster, const char *text, uint64_t rate, struct load_result *result,
               struct error *error) {
  struct load_case cases[CASES_MAX];
  size_t count;
  cr_assert_eq(cases_parse(text, cases, &count, error), 0, "%s", error->message);
  const struct load_options options = {.item = cases[0],
                                       .rate = rate,
                                       .warm_up_ns = 100 * NS_PER_MS,
                                       .time_ns = 900 * NS_PER_MS,
                                       .interrupted = &interrupted,
                                       .round = 3};
  uv_loop_init(&cluster->loop);
  const int status = load_run(&cluster->loop, &fake, cluster, &options, result, error);
  cr_assert_eq(uv_loop_close(&cluster->loop), 0, "a handle is left");
  return status;
}

static double quantile_ms(const struct load_result *result, double quantile) {
  return (double)histogram_quantile(&result->latencies, quantile) / (double)NS_PER_MS;
}

Test(load, a_closed_loop_keeps_so_many_requests_outstanding_and_no_more) {
  struct system_cluster *cluster = xcalloc(1, sizeof *cluster);
  struct load_result *result = xmalloc(sizeof *result);
  struct error error;
  cluster->delay_ns = 10 * NS_PER_MS;
  cr_assert_eq(run(cluster, "set:4x8", 0, result, &error), 0, "%s", error.message);
  cr_assert_eq(cluster->most, 32);
  cr_assert(quantile_ms(result, 0) >= 9.9, "%g", quantile_ms(result, 0));
  /* 32 at a time, each 10 ms or more. */
  cr_assert(result->done > 0 && result->done <= 32 * 91, "%lu", (unsigned long)result->done);
  cr_assert_eq(result->done, result->latencies.count);
  cr_assert_eq(result->created, 4 * 1000);
  cr_assert_eq(cluster->new_directories, 4);
  cr_assert_float_eq(result->seconds, 0.9, 0.001);
  free(result);
  free(cluster);
}

/* At a thousand a second, a stall of 300 ms delays 300 requests, of which the closed loop would see four. */
Test(load, an_open_loop_charges_a_stall_with_all_that_it_delays) {
  struct system_cluster *cluster = xcalloc(1, sizeof *cluster);
  struct load_result *result = xmalloc(sizeof *result);
  struct error error;
  cluster->delay_ns = NS_PER_MS;
  cluster->stall_from_ns = 400 * NS_PER_MS;
  cluster->stall_to_ns = 700 * NS_PER_MS;
  cr_assert_eq(run(cluster, "stat:4x1", 1000, result, &error), 0, "%s", error.message);
  cr_assert_eq(result->latencies.count, 900, "every request that was due is counted, %lu were",
               (unsigned long)result->latencies.count);
  /* 300 of 900 wait, evenly from 0 to 300 ms. */
  cr_assert(quantile_ms(result, 0.70) > 5, "%g ms", quantile_ms(result, 0.70));
  cr_assert(quantile_ms(result, 0.9) > 150, "%g ms", quantile_ms(result, 0.9));
  cr_assert(quantile_ms(result, 0.99) > 270, "%g ms", quantile_ms(result, 0.99));
  free(result);
  free(cluster);
}

Test(load, a_closed_loop_omits_what_a_stall_delays) {
  struct system_cluster *cluster = xcalloc(1, sizeof *cluster);
  struct load_result *result = xmalloc(sizeof *result);
  struct error error;
  cluster->delay_ns = NS_PER_MS;
  cluster->stall_from_ns = 400 * NS_PER_MS;
  cluster->stall_to_ns = 700 * NS_PER_MS;
  cr_assert_eq(run(cluster, "stat:4x1", 0, result, &error), 0, "%s", error.message);
  cr_assert(quantile_ms(result, 0.9) < 150, "%g ms: the difference to the open loop is gone",
            quantile_ms(result, 0.9));
  free(result);
  free(cluster);
}

/* 100 ms for each of two places: 20 a second of the 1000 wanted. */
Test(load, an_open_loop_that_falls_behind_tells_what_was_never_sent) {
  struct system_cluster *cluster = xcalloc(1, sizeof *cluster);
  struct load_result *result = xmalloc(sizeof *result);
  struct error error;
  cluster->delay_ns = 100 * NS_PER_MS;
  cr_assert_eq(run(cluster, "stat:1x2", 1000, result, &error), 0, "%s", error.message);
  cr_assert(result->unsent > 850 && result->unsent <= 900, "%lu", (unsigned long)result->unsent);
  cr_assert(result->done > 5 && result->done < 25, "%lu", (unsigned long)result->done);
  cr_assert(result->latencies.count >= result->unsent, "what was never sent has waited, too");
  cr_assert(quantile_ms(result, 0.9) > 500, "%g ms", quantile_ms(result, 0.9));
  free(result);
  free(cluster);
}

Test(load, errors_are_counted_and_named) {
  struct system_cluster *cluster = xcalloc(1, sizeof *cluster);
  struct load_result *result = xmalloc(sizeof *result);
  struct error error;
  cluster->error = "no-luck";
  cr_assert_eq(run(cluster, "stat:2x2", 0, result, &error), 0, "%s", error.message);
  cr_assert(result->failed > 0 && result->done == 0 && result->latencies.count == 0);
  cr_assert_str_eq(result->first_error, "no-luck");
  free(result);
  free(cluster);
}

Test(load, a_connection_that_is_lost_ends_it) {
  struct system_cluster *cluster = xcalloc(1, sizeof *cluster);
  struct load_result *result = xmalloc(sizeof *result);
  struct error error;
  cluster->mute = true;
  cr_assert_eq(run(cluster, "stat:4x8", 0, result, &error), ERR_UNAVAILABLE);
  cr_assert(strstr(error.message, "fake: a connection was lost: it hangs up"), "%s", error.message);
  free(result);
  free(cluster);
}

Test(load, deleting_ends_when_everything_is_gone) {
  struct system_cluster *cluster = xcalloc(1, sizeof *cluster);
  struct load_result *result = xmalloc(sizeof *result);
  struct error error;
  cluster->delay_ns = 2 * NS_PER_MS;
  cr_assert_eq(run(cluster, "delete:4x1", 0, result, &error), 0, "%s", error.message);
  cr_assert_eq(cluster->asked[LOAD_CREATE], 4 * 251);
  cr_assert(result->seconds > 0 && result->seconds < 0.91, "%g s", result->seconds);
  free(result);
  free(cluster);
}

Test(load, mixed_asks_for_all_it_is_made_of) {
  struct system_cluster *cluster = xcalloc(1, sizeof *cluster);
  struct load_result *result = xmalloc(sizeof *result);
  struct error error;
  cr_assert_eq(run(cluster, "mixed:8x16:50", 0, result, &error), 0, "%s", error.message);
  const double all = (double)result->answered - 8 * 50;
  cr_assert_float_eq((double)cluster->asked[LOAD_STAT] / all, 0.5, 0.03);
  cr_assert_float_eq((double)cluster->asked[LOAD_LIST] / all, 0.1, 0.03);
  cr_assert_float_eq((double)(cluster->asked[LOAD_CREATE] - 8 * 50) / all, 0.25, 0.03);
  cr_assert_float_eq((double)cluster->asked[LOAD_SET] / all, 0.15, 0.03);
  cr_assert_geq(cluster->new_directories, 16, "what is created goes where nobody lists");
  free(result);
  free(cluster);
}
