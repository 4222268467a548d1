/* Row stores that outlive their nodes, against a list of everything that was written. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "simulator/world.h"

#define MS INT64_C(1000000)
#define S (1000 * MS)
#define KEYS 30
#define STEPS_MAX 4000

/* What all rows are after so many steps: the value of each key, 0: none. */
struct content {
  uint32_t value[KEYS];
};

struct trial {
  struct sim_world *sim;
  struct row_store *store;
  struct random random;
  struct content after[STEPS_MAX];
  size_t asked, reported, checkpoints;
  bool in_call, failed;
};

struct step {
  struct trial *trial;
  size_t number; /* of steps before it, itself included */
  bool checkpoint;
  const struct store_row *rows[KEYS];
  size_t count;
};

static struct store_row *new_row(size_t key, uint32_t value) {
  struct store_row *row = xcalloc(1, sizeof *row + 12);
  *row = (struct store_row){
      .table = TABLE_EDGES, .key_size = 8, .value_size = value ? 4 : 0, .deleted = value == 0};
  be64_store(row->bytes, key);
  le32_store(row->bytes + 8, value);
  return row;
}

static bool add_row(void *context, const unsigned char *key, size_t key_size, const unsigned char *value,
                    size_t value_size) {
  cr_assert_eq(key_size, 8);
  cr_assert_eq(value_size, 4);
  ((struct content *)context)->value[be64_load(key)] = le32_load(value);
  return true;
}

static struct content read_all(struct row_store *store) {
  struct content content = {0};
  cr_assert_eq(store->functions->scan(store, TABLE_EDGES, NULL, 0, NULL, 0, add_row, &content, NULL), 0);
  return content;
}

static bool equal(const struct content *a, const struct content *b) {
  return memcmp(a, b, sizeof *a) == 0;
}

static void free_step(struct step *step) {
  for (size_t i = 0; i < step->count; i++)
    free((void *)(uintptr_t)step->rows[i]);
  free(step);
}

static void written(void *context, int status, const struct error *error) {
  struct step *step = context;
  struct trial *trial = step->trial;
  cr_assert_not(trial->in_call, "a callback from inside the call");
  cr_assert_eq(status == 0, error == NULL);
  if (status == 0) {
    cr_assert_not(trial->failed, "a step is taken after one that failed");
    cr_assert_eq(step->number, trial->reported + 1, "out of order");
    trial->reported = step->number;
  } else {
    trial->failed = true;
  }
  free_step(step);
}

static void was_read(void *owner, int status, const struct error *error) {
  (void)error;
  *(int *)owner = status;
}

struct received {
  int status;
  struct snapshot_range missing;
};

static void was_received(void *owner, int status, const struct snapshot_range *missing,
                         const struct error *error) {
  (void)error;
  *(struct received *)owner = (struct received){status, *missing};
}

static struct received store_piece(struct row_store *to, struct snapshot_range at, const void *data,
                                   size_t size) {
  struct received received = {.status = 1};
  to->functions->receive_write(to, at.file, at.offset, data, size, was_received, &received);
  cr_assert_eq(received.status, 1, "a callback from inside the call");
  to->functions->drain(to, true);
  return received;
}

/* A checkpoint's rows, through another node's store. */
static struct content content_of(struct trial *trial, struct store_checkpoint *checkpoint) {
  struct row_store *other = sim_store(trial->sim, 1);
  struct received received = {.status = 1};
  other->functions->receive_begin(other, 1, checkpoint->files, checkpoint->file_count, was_received,
                                  &received);
  other->functions->drain(other, true);
  while (received.status == 0 && received.missing.file < checkpoint->file_count) {
    unsigned char piece[16];
    const struct snapshot_range at = received.missing;
    const uint64_t left = checkpoint->files[at.file].size - at.offset;
    const size_t size = left < sizeof piece ? (size_t)left : sizeof piece;
    int status = 1;
    other->functions->checkpoint_read(other, checkpoint, (size_t)at.file, at.offset, piece, size, was_read,
                                      &status);
    other->functions->drain(other, true);
    cr_assert_eq(status, 0);
    received = store_piece(other, at, piece, size);
  }
  cr_assert_eq(received.status, 0);
  other->functions->receive_prepare(other, was_received, &received);
  other->functions->drain(other, true);
  cr_assert_eq(received.status, 0);
  cr_assert_eq(other->functions->receive_install(other, NULL), 0);
  const struct content content = read_all(other);
  row_store_close(other);
  return content;
}

static void taken(void *context, struct store_checkpoint *checkpoint, const struct error *error) {
  struct step *step = context;
  struct trial *trial = step->trial;
  cr_assert_not(trial->in_call);
  cr_assert_eq(checkpoint == NULL, error != NULL);
  if (checkpoint) {
    cr_assert_eq(step->number, trial->reported, "what was asked for before is in it");
    const struct content content = content_of(trial, checkpoint);
    cr_assert(equal(&content, &trial->after[step->number]));
    trial->store->functions->checkpoint_close(trial->store, checkpoint);
    trial->checkpoints++;
  }
  free_step(step);
}

static void ask(struct trial *trial) {
  struct step *step = xcalloc(1, sizeof *step);
  *step = (struct step){.trial = trial, .checkpoint = random_chance(&trial->random, 0.2)};
  trial->in_call = true;
  if (step->checkpoint) {
    step->number = trial->asked;
    trial->store->functions->checkpoint(trial->store, taken, step);
  } else {
    step->number = ++trial->asked;
    cr_assert_lt(step->number, STEPS_MAX);
    struct content *content = &trial->after[step->number];
    *content = trial->after[step->number - 1];
    for (size_t key = 0; key < KEYS; key++) {
      if (!random_chance(&trial->random, 0.3))
        continue;
      content->value[key] = random_chance(&trial->random, 0.3) ? 0 : (uint32_t)(step->number * KEYS + key);
      step->rows[step->count++] = new_row(key, content->value[key]);
    }
    trial->store->functions->write(trial->store, step->rows, step->count, written, step);
  }
  trial->in_call = false;
}

/* Exactly the first so many steps are there, at least those that were reported. */
static void live_again(struct trial *trial, bool orderly) {
  sim_crash(trial->sim, 0, orderly);
  row_store_close(trial->store);
  cr_assert(!orderly || trial->failed || trial->reported == trial->asked);
  sim_revive(trial->sim, 0);
  trial->store = sim_store(trial->sim, 0);
  const struct content content = read_all(trial->store);
  size_t found = trial->asked;
  while (found > trial->reported && !equal(&content, &trial->after[found]))
    found--;
  cr_assert(equal(&content, &trial->after[found]));
  trial->asked = trial->reported = found;
  trial->failed = false;
}

static struct trial *new_trial(uint64_t seed) {
  struct trial *trial = xcalloc(1, sizeof *trial);
  trial->sim = sim_world_new(
      &(struct sim_world_options){.seed = seed, .nodes = 2, .weather = {.store_ns = 5 * MS, .disk_ns = MS}});
  trial->store = sim_store(trial->sim, 0);
  random_seed(&trial->random, seed);
  return trial;
}

static void free_trial(struct trial *trial) {
  row_store_close(trial->store);
  sim_world_free(trial->sim);
  free(trial);
}

Test(store, steps_are_whole_in_order_and_outlive_the_node, .timeout = 60) {
  size_t lost = 0, kept_unreported = 0, checkpoints = 0, waited = 0;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    struct trial *trial = new_trial(seed);
    for (int i = 0; i < 400; i++) {
      if (!trial->failed)
        ask(trial);
      if (random_chance(&trial->random, 0.05))
        sim_fill_disk(trial->sim, 0, random_chance(&trial->random, 0.4));
      if (random_chance(&trial->random, 0.05)) {
        const bool ending = random_chance(&trial->random, 0.3);
        trial->store->functions->drain(trial->store, ending);
        cr_assert(trial->failed || trial->reported == trial->asked);
      }
      sim_run(trial->sim, sim_now_ns(trial->sim) + random_between(&trial->random, 0, 8 * MS), NULL);
      if (random_chance(&trial->random, 0.05)) {
        const size_t asked = trial->asked, reported = trial->reported;
        const bool orderly = random_chance(&trial->random, 0.3);
        live_again(trial, orderly);
        lost += trial->asked < asked;
        kept_unreported += !orderly && trial->asked > reported;
      }
    }
    sim_fill_disk(trial->sim, 0, true);
    if (!trial->failed)
      ask(trial);
    const size_t before = trial->reported;
    sim_run(trial->sim, sim_now_ns(trial->sim) + S, NULL);
    waited += trial->reported == before && trial->asked > before && !trial->failed;
    sim_fill_disk(trial->sim, 0, false);
    sim_run(trial->sim, sim_now_ns(trial->sim) + S, NULL);
    cr_assert(trial->failed || trial->reported == trial->asked, "there is room again");
    checkpoints += trial->checkpoints;
    free_trial(trial);
  }
  cr_assert_gt(lost, 50, "%zu", lost);
  cr_assert_gt(kept_unreported, 50, "%zu", kept_unreported);
  cr_assert_gt(checkpoints, 500, "%zu", checkpoints);
  cr_assert_gt(waited, 10, "%zu", waited);
}

/* The rest of it is received in the next life; what a power loss damaged is noticed. */
Test(store, a_half_received_snapshot_is_gone_on_with) {
  static const char content[] = "\1\2ab\1c\1\2ac\1d"; /* rows: table, key, value */
  struct snapshot_file file = {.name = "rows-0", .size = sizeof content - 1};
  file.checksum = checksum_fold(0, content, sizeof content - 1);
  size_t again = 0;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    struct trial *trial = new_trial(seed);
    struct row_store *store = trial->store;
    struct received received;
    store->functions->receive_begin(store, 5, &file, 1, was_received, &received);
    store->functions->drain(store, true);
    cr_assert(received.status == 0 && received.missing.offset == 0);
    received = store_piece(store, received.missing, content, 7);
    cr_assert(received.status == 0 && received.missing.offset == 7);
    live_again(trial, seed % 2 == 0);
    store = trial->store;
    cr_assert_neq(store->functions->receive_install(store, NULL), 0, "it is not whole");
    store->functions->receive_begin(store, 5, &file, 1, was_received, &received);
    store->functions->drain(store, true);
    cr_assert(received.status == 0 && received.missing.offset <= 7);
    cr_assert(seed % 2 == 1 || received.missing.offset == 7);
    again += received.missing.offset > 0;
    size_t at = (size_t)received.missing.offset;
    received = store_piece(store, received.missing, content + at, sizeof content - 1 - at);
    if (received.status != 0) { /* damaged */
      cr_assert(seed % 2 == 1 && received.status == ERR_CORRUPT && received.missing.offset == 0);
      received = store_piece(store, received.missing, content, sizeof content - 1);
    }
    cr_assert(received.status == 0 && received.missing.file == 1);
    store->functions->receive_forget(store, 4);
    store->functions->receive_prepare(store, was_received, &received);
    store->functions->drain(store, true);
    cr_assert_eq(received.status, 0);
    cr_assert_eq(store->functions->receive_install(store, NULL), 0);
    free_trial(trial);
  }
  cr_assert_gt(again, 25, "%zu", again);
}

Test(store, a_wiped_node_has_no_rows) {
  struct trial *trial = new_trial(1);
  for (int i = 0; i < 10; i++)
    ask(trial);
  trial->store->functions->drain(trial->store, false);
  sim_crash(trial->sim, 0, false);
  row_store_close(trial->store);
  sim_wipe(trial->sim, 0);
  sim_revive(trial->sim, 0);
  trial->store = sim_store(trial->sim, 0);
  const struct content content = read_all(trial->store);
  cr_assert(equal(&content, &trial->after[0]));
  free_trial(trial);
}
