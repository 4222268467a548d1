/* The write-ahead log alone: what it says after every kind of crash and damage. */
#include "master/raft/wal.h"

#include <criterion/criterion.h>
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/raft/wal_format.h"
#include "simulator/world.h"

#define MS INT64_C(1000000)

struct log_under_test {
  struct sim_world *world;
  struct wal *wal;
  uint64_t persisted;
  size_t terms_durable;
  bool failed, closed, reset_ready, accept;
};

static void on_persisted(void *owner, uint64_t index) {
  struct log_under_test *log = owner;
  cr_assert_gt(index, log->persisted);
  log->persisted = index;
}

static void on_term(void *owner) {
  ((struct log_under_test *)owner)->terms_durable++;
}

static void on_failed(void *owner, const struct error *error) {
  (void)error;
  ((struct log_under_test *)owner)->failed = true;
}

static void on_closed(void *owner) {
  ((struct log_under_test *)owner)->closed = true;
}

static int open_log(struct log_under_test *log, uint64_t durable_index, uint64_t durable_term,
                    struct error *error) {
  const struct wal_options options = {
      .world = sim_door(log->world, 0),
      .cluster = 5,
      .node = 1,
      .segment_size = 2048,
      .cache_size = 600,
      .observer = {.owner = log, .persisted = on_persisted, .term_durable = on_term, .failed = on_failed},
      .durable_index = durable_index,
      .durable_term = durable_term};
  log->persisted = 0;
  log->closed = false;
  const int status = wal_open(&options, &log->wal, error);
  if (status == 0)
    log->persisted = wal_persisted_index(log->wal);
  else
    log->wal = NULL;
  return status;
}

static void run(struct log_under_test *log) {
  sim_run(log->world, sim_now_ns(log->world) + 20 * MS, NULL);
}

static void begin(struct log_under_test *log, uint64_t seed) {
  log_open("wal", LOG_LEVEL_ERROR);
  *log = (struct log_under_test){
      .world = sim_world_new(&(struct sim_world_options){
          .seed = seed,
          .nodes = 1,
          .weather = {.delay_ns = 100000, .jitter_ns = 100000, .disk_ns = 100000, .disk_jitter_ns = 50000}})};
  cr_assert_eq(open_log(log, 0, 0, NULL), 0);
}

static void shut(struct log_under_test *log) {
  sim_crash(log->world, 0, false);
  if (log->wal) {
    wal_close(log->wal, on_closed, log);
  } else {
    log->closed = true;
  }
  sim_bury(log->world, 0, &log->closed);
  sim_revive(log->world, 0);
  log->wal = NULL;
}

static void end(struct log_under_test *log) {
  shut(log);
  sim_world_free(log->world);
}

/* The payload of an entry tells its index and term. */
static size_t payload_size(uint64_t index) {
  return 16 + (size_t)(index * 37 % 101);
}

static void append(struct log_under_test *log, uint64_t index, uint64_t term, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const size_t size = payload_size(index + i);
    struct batch *batch = batch_new(size);
    memset(batch->data, (int)(index + i), size);
    le64_store(batch->data, index + i);
    le64_store(batch->data + 8, term);
    const struct wal_entry entry = {.term = term,
                                    .type = RAFT_COMMAND,
                                    .size = (uint32_t)size,
                                    .checksum = checksum(batch->data, size),
                                    .batch = batch,
                                    .data = batch->data};
    wal_append(log->wal, index + i, &entry, 1);
    batch_drop(batch);
  }
  wal_flush(log->wal);
}

struct fetched {
  bool done;
};

static void on_fetched(void *owner) {
  ((struct fetched *)owner)->done = true;
}

/* Every entry is what was appended, in memory or read back. */
static void check_entries(struct log_under_test *log, uint64_t last, uint64_t (*term_of)(uint64_t index)) {
  cr_assert_eq(wal_last_index(log->wal), last);
  for (uint64_t index = wal_base_index(log->wal) + 1; index <= last; index++) {
    const struct wal_entry *entry = wal_entry(log->wal, index);
    cr_assert_eq(entry->term, term_of(index));
    cr_assert_eq(entry->size, payload_size(index));
    if (!entry->batch)
      continue;
    cr_assert_eq(le64_load(entry->data), index);
    cr_assert_eq(le64_load(entry->data + 8), term_of(index));
  }
}

static uint64_t term_one(uint64_t index) {
  (void)index;
  return 1;
}

/* 60 entries in frames of three, over several segments; a vote at the end. */
static void fill(struct log_under_test *log) {
  wal_set_term(log->wal, 1, 0);
  for (uint64_t index = 1; index <= 60; index += 3) {
    append(log, index, 1, 3);
    run(log);
  }
  wal_set_term(log->wal, 2, 1);
  wal_flush(log->wal);
  run(log);
  cr_assert_eq(log->persisted, 60);
}

Test(wal, comes_back_as_it_was) {
  struct log_under_test log;
  begin(&log, 1);
  cr_assert(wal_is_empty(log.wal));
  fill(&log);
  cr_assert(wal_term_is_durable(log.wal));
  shut(&log);
  cr_assert_eq(open_log(&log, 0, 0, NULL), 0);
  check_entries(&log, 60, term_one);
  cr_assert_eq(wal_term(log.wal), 2);
  cr_assert_eq(wal_vote(log.wal), 1);
  append(&log, 61, 2, 1);
  run(&log);
  cr_assert_eq(log.persisted, 61);
  end(&log);
}

Test(wal, entries_out_of_memory_are_fetched) {
  struct log_under_test log;
  begin(&log, 1);
  fill(&log);
  size_t missing = 0;
  for (uint64_t index = 1; index <= 60; index++) {
    if (wal_entry(log.wal, index)->batch)
      continue;
    missing++;
    struct fetched fetched = {0};
    wal_fetch(log.wal, index, 100, on_fetched, &fetched);
    run(&log);
    cr_assert(fetched.done);
  }
  cr_assert_gt(missing, 30);
  check_entries(&log, 60, term_one);
  end(&log);
}

static uint64_t term_after_conflict(uint64_t index) {
  return index < 20 ? 1 : 3;
}

Test(wal, later_entries_replace_earlier_ones) {
  struct log_under_test log;
  begin(&log, 1);
  fill(&log);
  wal_set_term(log.wal, 3, 0);
  append(&log, 20, 3, 5);
  cr_assert_eq(wal_persisted_index(log.wal), 19);
  log.persisted = 19;
  run(&log);
  cr_assert_eq(log.persisted, 24);
  check_entries(&log, 24, term_after_conflict);
  shut(&log);
  cr_assert_eq(open_log(&log, 0, 0, NULL), 0);
  check_entries(&log, 24, term_after_conflict);
  end(&log);
}

/* A truncation while the entries are being written: the write's end reports nothing that is gone. */
Test(wal, truncated_in_flight_is_not_reported) {
  struct log_under_test log;
  begin(&log, 1);
  wal_set_term(log.wal, 1, 0);
  append(&log, 1, 1, 10);
  run(&log);
  append(&log, 11, 1, 10);
  wal_set_term(log.wal, 2, 0);
  append(&log, 14, 2, 1);
  sim_run(log.world, sim_now_ns(log.world) + 150000, NULL);
  cr_assert_leq(log.persisted, 14);
  run(&log);
  cr_assert_eq(log.persisted, 14);
  cr_assert_eq(wal_last_index(log.wal), 14);
  end(&log);
}

Test(wal, compaction_keeps_what_is_above) {
  struct log_under_test log;
  begin(&log, 1);
  fill(&log);
  const uint64_t before = wal_disk_size(log.wal);
  wal_compact(log.wal, 45);
  cr_assert_leq(wal_base_index(log.wal), 45);
  cr_assert_gt(wal_base_index(log.wal), 20);
  cr_assert_lt(wal_disk_size(log.wal), before / 2);
  run(&log);
  shut(&log);
  cr_assert_eq(open_log(&log, 45, 1, NULL), 0);
  check_entries(&log, 60, term_one);
  shut(&log);
  struct error error;
  cr_assert_eq(open_log(&log, 10, 1, &error), ERR_CORRUPT, "the state lacks what was cut");
  cr_assert_eq(open_log(&log, 61, 2, &error), ERR_CORRUPT, "the state holds more than the log");
  cr_assert_eq(open_log(&log, 50, 9, &error), ERR_CORRUPT, "another term");
  end(&log);
}

Test(wal, another_owner_is_refused) {
  struct log_under_test log;
  begin(&log, 1);
  fill(&log);
  shut(&log);
  const struct wal_options options = {
      .world = sim_door(log.world, 0), .cluster = 6, .node = 1, .segment_size = 2048};
  struct error error;
  cr_assert_eq(wal_open(&options, &log.wal, &error), ERR_BAD_INPUT);
  log.wal = NULL;
  end(&log);
}

/* -- damage at rest ---------------------------------------------------------------------------------------
 */

/* Where the last frame of all begins, and in which file: rot there cannot be told from a torn write. */
static uint64_t last_frame(struct log_under_test *log, char name[WAL_NAME_SIZE]) {
  uint64_t best = 0, offset = 0;
  for (size_t i = 0; sim_file_name(log->world, 0, i); i++) {
    uint64_t number;
    const char *candidate = sim_file_name(log->world, 0, i);
    struct wal_frame frame;
    const struct bytes *content = sim_file(log->world, 0, candidate);
    if (!wal_parse_name(candidate, &number) || number < best || !wal_read_frame(content, 0, number, &frame))
      continue;
    best = number;
    offset = 0;
    while (wal_read_frame(content, offset + frame.size, number, &(struct wal_frame){0})) {
      offset += frame.size;
      wal_read_frame(content, offset, number, &frame);
    }
  }
  wal_segment_name(best, name);
  return offset;
}

struct damage_counts {
  size_t refused, whole, shortened;
};

/* Opens the damaged log: it must refuse, or be whole, or lack exactly the last frame. */
static void judge(struct log_under_test *log, bool in_last_frame, const char *what,
                  struct damage_counts *counts) {
  struct error error = {0};
  if (open_log(log, 0, 0, &error) != 0) {
    counts->refused++;
    cr_assert(strstr(error.message, "log") && strlen(error.message) > 40, "%s: '%s' names no place", what,
              error.message);
    return;
  }
  if (wal_vote(log->wal) == 1) {
    counts->whole++;
    check_entries(log, 60, term_one);
  } else {
    cr_assert(in_last_frame, "%s: something durable is forgotten", what);
    counts->shortened++;
    check_entries(log, 60, term_one); /* the last frame is the vote's */
    cr_assert_eq(wal_term(log->wal), 1);
  }
}

/* A fresh copy of the files for every trial. */
struct image {
  size_t count;
  char names[16][WAL_NAME_SIZE];
  struct bytes contents[16];
};

static void take_image(struct log_under_test *log, struct image *image) {
  *image = (struct image){0};
  for (const char *name; (name = sim_file_name(log->world, 0, image->count)); image->count++) {
    cr_assert_lt(image->count, 16);
    snprintf(image->names[image->count], WAL_NAME_SIZE, "%s", name);
    const struct bytes *content = sim_file(log->world, 0, name);
    bytes_append(&image->contents[image->count], content->data, content->size);
  }
}

static void put_image(struct log_under_test *log, const struct image *image) {
  sim_wipe(log->world, 0);
  for (size_t i = 0; i < image->count; i++)
    bytes_append(sim_make_file(log->world, 0, image->names[i]), image->contents[i].data,
                 image->contents[i].size);
}

static void free_image(struct image *image) {
  for (size_t i = 0; i < image->count; i++)
    bytes_free(&image->contents[i]);
}

Test(wal, every_damaged_byte_is_noticed, .timeout = 60) {
  struct log_under_test log;
  begin(&log, 1);
  fill(&log);
  shut(&log);
  struct image image;
  take_image(&log, &image);
  char last_name[WAL_NAME_SIZE];
  const uint64_t last_offset = last_frame(&log, last_name);
  struct damage_counts counts = {0};
  log_open("wal", LOG_LEVEL_ERROR);
  for (size_t file = 0; file < image.count; file++) {
    for (size_t at = 0; at < image.contents[file].size; at++) {
      put_image(&log, &image);
      sim_file(log.world, 0, image.names[file])->data[at] ^= 0x5a;
      char what[64];
      snprintf(what, sizeof what, "%s byte %zu", image.names[file], at);
      judge(&log, strcmp(image.names[file], last_name) == 0 && at >= last_offset, what, &counts);
      shut(&log);
    }
  }
  cr_assert_gt(counts.refused, 6000, "%zu", counts.refused);
  cr_assert_gt(counts.whole, 100);
  cr_assert_eq(counts.shortened, WAL_FRAME_HEADER + WAL_RECORD_HEADER);
  free_image(&image);
  end(&log);
}

Test(wal, every_cut_is_noticed, .timeout = 60) {
  struct log_under_test log;
  begin(&log, 1);
  fill(&log);
  shut(&log);
  struct image image;
  take_image(&log, &image);
  struct damage_counts counts = {0};
  for (size_t file = 0; file < image.count; file++) {
    for (size_t size = 0; size < image.contents[file].size; size++) {
      put_image(&log, &image);
      sim_file(log.world, 0, image.names[file])->size = size;
      char what[64];
      snprintf(what, sizeof what, "%s cut at %zu", image.names[file], size);
      judge(&log, false, what, &counts);
      shut(&log);
    }
  }
  free_image(&image);
  end(&log);
}

Test(wal, every_missing_file_is_noticed) {
  struct log_under_test log;
  begin(&log, 1);
  fill(&log);
  shut(&log);
  struct image image;
  take_image(&log, &image);
  char last_name[WAL_NAME_SIZE];
  last_frame(&log, last_name);
  for (size_t file = 0; file < image.count; file++) {
    put_image(&log, &image);
    sim_drop_file(log.world, 0, image.names[file]);
    struct error error;
    const bool first = strcmp(image.names[file], "log-0000000000000001") == 0;
    const bool spare = strcmp(image.names[file], last_name) > 0;
    /* What only the newest file told is known to the state, if to anybody: it was applied, or never
     * acknowledged. */
    const int status = open_log(&log, 60, 1, &error);
    if (spare || first)
      cr_assert_eq(status, 0, "%s: %s", image.names[file], error.message);
    else
      cr_assert_eq(status, ERR_CORRUPT, "%s", image.names[file]);
    shut(&log);
  }
  free_image(&image);
  end(&log);
}

/* -- crashes ----------------------------------------------------------------------------------------------
 */

/* Random work, a crash in the middle, again and again: what was reported durable is there, what is there was
 * appended. */
static void crash_rounds(uint64_t seed) {
  struct log_under_test log;
  begin(&log, seed);
  struct random random;
  random_seed(&random, seed);
  uint64_t terms[4000] = {0};
  uint64_t term = 1, durable_term = 0;
  for (int round = 0; round < 12; round++) {
    const int steps = (int)random_between(&random, 1, 30);
    for (int i = 0; i < steps; i++) {
      if (random_chance(&random, 0.2) || term == 1) {
        wal_set_term(log.wal, ++term, random_below(&random, 3));
        wal_flush(log.wal);
      }
      uint64_t index = wal_last_index(log.wal) + 1;
      const bool conflict =
          index > 4 && wal_term_at(log.wal, index - 1) < term && random_chance(&random, 0.2);
      if (conflict)
        index -= 1 + random_below(&random, 3);
      const size_t count = (size_t)random_between(&random, 1, 6);
      if (conflict && log.persisted >= index)
        log.persisted = index - 1;
      append(&log, index, term, count);
      for (size_t k = 0; k < count; k++)
        terms[index + k] = term;
      sim_run(log.world, sim_now_ns(log.world) + random_between(&random, 0, 300) * 1000, NULL);
      if (wal_term_is_durable(log.wal))
        durable_term = term;
      cr_assert_lt(wal_last_index(log.wal), 3900);
    }
    const uint64_t persisted = log.persisted;
    shut(&log);
    struct error error = {0};
    cr_assert_eq(open_log(&log, 0, 0, &error), 0, "seed %llu: %s", (unsigned long long)seed, error.message);
    cr_assert_geq(wal_last_index(log.wal), persisted, "seed %llu: durable entries are lost",
                  (unsigned long long)seed);
    cr_assert_geq(wal_term(log.wal), durable_term);
    for (uint64_t index = 1; index <= persisted; index++)
      cr_assert_eq(wal_term_at(log.wal, index), terms[index], "seed %llu", (unsigned long long)seed);
    for (uint64_t index = 1; index <= wal_last_index(log.wal); index++)
      terms[index] = wal_term_at(log.wal, index);
    term = wal_term(log.wal) > term ? wal_term(log.wal) : term;
    wal_set_term(log.wal, ++term, 0);
  }
  end(&log);
}

Test(wal, durable_is_durable_over_crashes) {
  for (uint64_t seed = 1; seed <= 300; seed++)
    crash_rounds(seed);
}

/* -- reset ------------------------------------------------------------------------------------------------
 */

static void on_reset_ready(void *owner) {
  struct log_under_test *log = owner;
  log->reset_ready = true;
  if (log->accept)
    wal_reset_accept(log->wal);
  else
    wal_reset_abandon(log->wal);
}

static void reset_to(struct log_under_test *log, uint64_t index, bool accept) {
  const struct bytes configuration = {.data = (unsigned char *)"membership", .size = 10};
  log->accept = accept;
  log->reset_ready = false;
  wal_reset(log->wal, index, 2, 1, &configuration, on_reset_ready, log);
}

static uint64_t term_two(uint64_t index) {
  (void)index;
  return 2;
}

Test(wal, reset_begins_anew_behind_a_snapshot) {
  struct log_under_test log;
  begin(&log, 1);
  fill(&log);
  reset_to(&log, 500, true);
  run(&log);
  cr_assert(log.reset_ready);
  cr_assert_eq(wal_base_index(log.wal), 500);
  cr_assert_eq(wal_last_index(log.wal), 500);
  log.persisted = 500;
  append(&log, 501, 2, 20);
  run(&log);
  shut(&log);
  cr_assert_eq(open_log(&log, 500, 2, NULL), 0);
  check_entries(&log, 520, term_two);
  cr_assert_eq(wal_term(log.wal), 2);
  cr_assert_eq(wal_vote(log.wal), 1);
  uint64_t configuration_index;
  const struct bytes *configuration = wal_configuration_at(log.wal, 510, &configuration_index);
  cr_assert_eq(configuration_index, 1);
  cr_assert_arr_eq(configuration->data, "membership", 10);
  end(&log);
}

/* The crash comes between the reset and its acceptance: the state decides. */
Test(wal, reset_counts_when_the_state_holds_it) {
  for (int installed = 0; installed < 2; installed++) {
    struct log_under_test log;
    begin(&log, 1);
    fill(&log);
    struct image before;
    reset_to(&log, 500, true);
    while (!log.reset_ready)
      sim_run(log.world, sim_now_ns(log.world) + 1000, NULL);
    take_image(&log, &before);
    shut(&log);
    put_image(&log, &before);
    if (installed) {
      cr_assert_eq(open_log(&log, 500, 2, NULL), 0);
      cr_assert_eq(wal_last_index(log.wal), 500);
    } else {
      cr_assert_eq(open_log(&log, 30, 1, NULL), 0);
      check_entries(&log, 60, term_one);
    }
    cr_assert_eq(wal_term(log.wal), 2);
    free_image(&before);
    end(&log);
  }
}

Test(wal, abandoned_reset_leaves_the_log) {
  struct log_under_test log;
  begin(&log, 1);
  fill(&log);
  reset_to(&log, 500, false);
  run(&log);
  cr_assert(log.reset_ready);
  append(&log, 61, 2, 3);
  run(&log);
  cr_assert_eq(log.persisted, 63);
  shut(&log);
  cr_assert_eq(open_log(&log, 0, 0, NULL), 0);
  cr_assert_eq(wal_last_index(log.wal), 63);
  end(&log);
}
