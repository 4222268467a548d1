#include <criterion/criterion.h>
#include <math.h>

#include "nemesis/link/departures.h"
#include "nemesis/link/shaper.h"

#define FRAMES 20000
#define SIZE 1000

static const int64_t start_ns = 77 * NS_PER_S;

/* Within five standard deviations of what a share of FRAMES should be: the seed is fixed, so it never wavers.
 */
static void expect_share(uint64_t count, double share) {
  const double wanted = share * FRAMES, deviation = sqrt(FRAMES * share * (1 - share));
  cr_assert(fabs((double)count - wanted) <= 5 * deviation + 0.5, "%zu, not some %.0f", (size_t)count, wanted);
}

Test(shaper, a_plain_link_lets_everything_pass_at_once) {
  const struct link_shape plain = link_shape_plain();
  struct shaper shaper;
  shaper_init(&shaper, 1, 0);
  for (int i = 0; i < 100; i++) {
    const struct shaper_verdict verdict = shaper_decide(&shaper, &plain, start_ns + i, SIZE);
    cr_assert_eq(verdict.count, 1u);
    cr_assert_eq(verdict.copies[0].departs_ns, start_ns + i);
    cr_assert_eq(verdict.copies[0].flipped_bit, NO_BIT);
  }
  cr_assert_eq(shaper.counters.seen, 100u);
  cr_assert_eq(shaper.waiting, 0u);
}

Test(shaper, delay_and_jitter_are_uniform_around_the_delay) {
  const struct link_shape shape = {.delay_ns = 30 * NS_PER_MS, .jitter_ns = 10 * NS_PER_MS, .limit = FRAMES};
  struct shaper shaper;
  double sum = 0;
  uint64_t lower_quarter = 0;
  shaper_init(&shaper, 2, 0);
  for (int i = 0; i < FRAMES; i++) {
    const struct shaper_verdict verdict = shaper_decide(&shaper, &shape, start_ns, SIZE);
    const int64_t delay_ns = verdict.copies[0].departs_ns - start_ns;
    cr_assert(delay_ns >= 20 * NS_PER_MS && delay_ns <= 40 * NS_PER_MS);
    sum += (double)delay_ns;
    lower_quarter += delay_ns < 25 * NS_PER_MS;
  }
  cr_assert_float_eq(sum / FRAMES, 30e6, 0.2e6);
  expect_share(lower_quarter, 0.25);
  cr_assert_eq(shaper.counters.delayed, (uint64_t)FRAMES);
}

Test(shaper, a_jitter_beyond_the_delay_never_makes_a_frame_early) {
  const struct link_shape shape = {.delay_ns = NS_PER_MS, .jitter_ns = 100 * NS_PER_MS, .limit = FRAMES};
  struct shaper shaper;
  shaper_init(&shaper, 3, 0);
  for (int i = 0; i < 1000; i++)
    cr_assert(shaper_decide(&shaper, &shape, start_ns, SIZE).copies[0].departs_ns >= start_ns);
}

Test(shaper, loss_duplication_reordering_and_corruption_have_their_shares) {
  const struct link_shape shape = {.delay_ns = NS_PER_MS,
                                   .loss = 0.1,
                                   .duplicate = 0.2,
                                   .reorder = 0.3,
                                   .corrupt = 0.4,
                                   .limit = 2 * FRAMES};
  struct shaper shaper;
  uint64_t arrived = 0, at_once = 0, damaged = 0;
  shaper_init(&shaper, 4, 0);
  for (int i = 0; i < FRAMES; i++) {
    const struct shaper_verdict verdict = shaper_decide(&shaper, &shape, start_ns, SIZE);
    for (size_t k = 0; k < verdict.count; k++) {
      const struct shaper_copy *copy = &verdict.copies[k];
      arrived++;
      at_once += copy->departs_ns == start_ns;
      damaged += copy->flipped_bit != NO_BIT;
      cr_assert(copy->flipped_bit == NO_BIT ||
                (copy->flipped_bit >= ETHERNET_HEADER_BYTES * 8 && copy->flipped_bit < SIZE * 8));
    }
  }
  const struct link_counters *counters = &shaper.counters;
  expect_share(counters->duplicated, 0.2);
  cr_assert_float_eq((double)counters->lost / (double)(FRAMES + counters->duplicated), 0.1, 0.01);
  cr_assert_eq(arrived, FRAMES + counters->duplicated - counters->lost);
  cr_assert_float_eq((double)at_once / (double)arrived, 0.3, 0.02);
  cr_assert_float_eq((double)damaged / (double)arrived, 0.4, 0.02);
  cr_assert(counters->reordered == at_once && counters->corrupted == damaged);
  cr_assert_eq(counters->seen, (uint64_t)FRAMES);
}

Test(shaper, every_bit_behind_the_header_can_be_hit_and_a_bare_header_cannot) {
  const struct link_shape shape = {.corrupt = 1};
  struct shaper shaper;
  bool hit[24] = {false};
  shaper_init(&shaper, 5, 0);
  for (int i = 0; i < 2000; i++)
    hit[shaper_decide(&shaper, &shape, start_ns, ETHERNET_HEADER_BYTES + 3).copies[0].flipped_bit -
        ETHERNET_HEADER_BYTES * 8] = true;
  for (size_t i = 0; i < ARRAY_SIZE(hit); i++)
    cr_assert(hit[i], "bit %zu", i);
  cr_assert_eq(shaper_decide(&shaper, &shape, start_ns, ETHERNET_HEADER_BYTES).copies[0].flipped_bit, NO_BIT);
}

Test(shaper, a_rate_keeps_frames_in_a_row) {
  const struct link_shape shape = {.delay_ns = 5 * NS_PER_MS, .rate_bytes_per_s = 1000000};
  struct shaper shaper;
  shaper_init(&shaper, 6, 0);
  for (int i = 0; i < 10; i++) /* 1 ms each, one behind the other */
    cr_assert_eq(shaper_decide(&shaper, &shape, start_ns, SIZE).copies[0].departs_ns,
                 start_ns + (6 + i) * NS_PER_MS);
  /* An idle link saves nothing up. */
  cr_assert_eq(shaper_decide(&shaper, &shape, start_ns + NS_PER_S, SIZE).copies[0].departs_ns,
               start_ns + NS_PER_S + 6 * NS_PER_MS);
}

Test(shaper, what_comes_when_too_many_wait_is_dropped_until_one_departs) {
  const struct link_shape shape = {.delay_ns = NS_PER_S, .limit = 3};
  struct shaper shaper;
  shaper_init(&shaper, 7, 0);
  for (int i = 0; i < 3; i++)
    cr_assert_eq(shaper_decide(&shaper, &shape, start_ns, SIZE).count, 1u);
  cr_assert_eq(shaper_decide(&shaper, &shape, start_ns, SIZE).count, 0u);
  cr_assert_eq(shaper.counters.overflowed, 1u);
  shaper_departed(&shaper);
  cr_assert_eq(shaper_decide(&shaper, &shape, start_ns, SIZE).count, 1u);
}

static uint64_t history_of(uint64_t seed, uint64_t link) {
  const struct link_shape shape = {.delay_ns = NS_PER_MS,
                                   .jitter_ns = NS_PER_MS,
                                   .loss = 0.2,
                                   .duplicate = 0.2,
                                   .reorder = 0.2,
                                   .corrupt = 0.2,
                                   .limit = 4000};
  struct shaper shaper;
  uint64_t digest = 0;
  shaper_init(&shaper, seed, link);
  for (int i = 0; i < 1000; i++) {
    const struct shaper_verdict verdict = shaper_decide(&shaper, &shape, start_ns + i, SIZE);
    for (size_t k = 0; k < verdict.count; k++) {
      const int64_t told[] = {verdict.copies[k].departs_ns, verdict.copies[k].flipped_bit};
      digest = checksum_fold(digest, told, sizeof told);
    }
  }
  return digest;
}

Test(shaper, a_seed_decides_everything_and_links_differ) {
  cr_assert_eq(history_of(8, 3), history_of(8, 3));
  cr_assert_neq(history_of(8, 3), history_of(8, 4));
  cr_assert_neq(history_of(8, 3), history_of(9, 3));
}

Test(shaper, shapes_out_of_range_are_refused) {
  const struct link_shape bad[] = {{.delay_ns = -1},     {.delay_ns = LINK_DELAY_MAX_NS + 1},
                                   {.jitter_ns = -1},    {.loss = 1.01},
                                   {.duplicate = -0.01}, {.corrupt = NAN},
                                   {.reorder = 0.5}};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    struct error error = {0};
    cr_assert_eq(link_shape_check(&bad[i], &error), ERR_BAD_INPUT, "shape %zu", i);
    cr_assert(strstr(error.message, "link"), "%s", error.message);
  }
  const struct link_shape good = {.delay_ns = NS_PER_MS, .reorder = 0.5, .loss = 1};
  cr_assert_eq(link_shape_check(&good, NULL), 0);
}

/* ---- Departures ---- */

Test(departures, leave_in_the_order_of_their_times_and_then_of_arrival) {
  struct departures *departures = departures_new(1000);
  struct random random;
  random_seed(&random, 1);
  for (uint32_t i = 0; i < 1000; i++) {
    const int64_t at_ns = random_between(&random, 0, 99);
    const uint32_t stamp[2] = {i, (uint32_t)at_ns};
    cr_assert(departures_add(departures, at_ns, i, stamp, sizeof stamp));
  }
  cr_assert_null(departures_add(departures, 0, 0, "", 1), "the pool is full");
  uint32_t taken = 0;
  for (int64_t now_ns = 0, last = -1; now_ns < 100; now_ns++) {
    uint32_t last_tag = 0;
    for (const struct departure *due; (due = departures_take(departures, now_ns)); taken++) {
      uint32_t stamp[2];
      cr_assert_eq(due->size, sizeof stamp);
      memcpy(stamp, due->frame, sizeof stamp);
      cr_assert(due->at_ns == now_ns && stamp[0] == due->tag && stamp[1] == (uint32_t)now_ns);
      cr_assert(last != now_ns || due->tag > last_tag);
      last = now_ns;
      last_tag = due->tag;
    }
    cr_assert(departures_next_ns(departures) > now_ns);
  }
  cr_assert(taken == 1000 && departures_count(departures) == 0);
  cr_assert_null(departures_take(departures, INT64_MAX));
  departures_free(departures);
}

Test(departures, room_is_used_again) {
  struct departures *departures = departures_new(2);
  for (int64_t i = 0; i < 10; i++) {
    cr_assert(departures_add(departures, i, (uint32_t)i, &i, sizeof i));
    if (i == 0)
      continue;
    const struct departure *due = departures_take(departures, INT64_MAX);
    cr_assert(due && due->tag == i - 1 && memcmp(due->frame, &(int64_t){i - 1}, sizeof i) == 0);
  }
  departures_free(departures);
}
