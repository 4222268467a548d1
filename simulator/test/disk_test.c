/* A disk against a model that knows, of every byte, what it may be after a crash. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "simulator/world.h"

#define MS INT64_C(1000000)
#define S (1000 * MS)
#define FILES 3
#define SIZE 3000
#define WRITES_MAX 12 /* under way at a time */

struct write_asked {
  struct trial *trial;
  size_t file, offset, size;
  unsigned char data[600];
  bool open; /* not answered, or answered with an error that leaves everything open */
};

struct trial {
  uint64_t seed;
  struct sim_world *sim;
  const struct world *world;
  struct random random;
  struct disk_file *files[FILES];
  unsigned char durable[FILES][SIZE]; /* as last reported, or found after a crash */
  struct write_asked writes[WRITES_MAX];
  size_t under_way;
  bool idle, failed, sync_broken;
  size_t reported, refused, kept, lost, torn;
};

static void wrote(void *owner, int status) {
  struct write_asked *write = owner;
  struct trial *trial = write->trial;
  trial->idle = --trial->under_way == 0;
  if (status == 0) {
    memcpy(trial->durable[write->file] + write->offset, write->data, write->size);
    trial->reported++;
  }
  write->open = status == ERR_IO;
  trial->failed = trial->failed || (status == ERR_IO && sim_alive(trial->sim, 0));
  trial->refused += status == ERR_NO_SPACE;
}

static void ask(struct trial *trial) {
  struct write_asked *write = trial->writes;
  while (write < trial->writes + WRITES_MAX && write->open)
    write++;
  if (write == trial->writes + WRITES_MAX)
    return;
  *write = (struct write_asked){.trial = trial, .open = true};
  write->file = (size_t)random_below(&trial->random, FILES);
  write->size = (size_t)random_below(&trial->random, sizeof write->data + 1);
  write->offset = (size_t)random_below(&trial->random, SIZE - write->size + 1);
  for (size_t i = 0; i < write->size; i++)
    write->data[i] = (unsigned char)random_next(&trial->random);
  const size_t first = (size_t)random_below(&trial->random, write->size + 1);
  const struct iovec vectors[] = {{.iov_base = write->data, .iov_len = first},
                                  {.iov_base = write->data + first, .iov_len = write->size - first}};
  trial->under_way++;
  trial->idle = false;
  trial->world->disk_write(trial->files[write->file], write->offset, vectors, 2, wrote, write);
}

static const char *const names[FILES] = {"a", "b", "c"};

static void made(void *owner, int status, struct disk_file *file) {
  cr_assert_eq(status, 0);
  *(struct disk_file **)owner = file;
}

/* Every byte is what was reported last, or what a write said whose end nobody knows; then that is the truth.
 */
static void look_after_crash(struct trial *trial) {
  for (size_t file = 0; file < FILES; file++) {
    struct bytes content = {0};
    cr_assert_eq(trial->world->disk_read(trial->world->context, names[file], &content, NULL), 0);
    cr_assert_eq(content.size, SIZE);
    for (size_t at = 0; at < SIZE; at++) {
      const unsigned char is = content.data[at];
      bool known = is == trial->durable[file][at];
      for (size_t i = 0; i < WRITES_MAX && !known; i++) {
        const struct write_asked *write = &trial->writes[i];
        known = write->open && write->file == file && at >= write->offset &&
                at < write->offset + write->size && is == write->data[at - write->offset];
      }
      cr_assert(known, "seed %llu: byte %zu of file %zu was never written so, or was durable",
                (unsigned long long)trial->seed, at, file);
    }
    for (size_t i = 0; i < WRITES_MAX; i++) {
      const struct write_asked *write = &trial->writes[i];
      if (!write->open || write->file != file || write->size < 100)
        continue;
      size_t same = 0;
      for (size_t at = 0; at < write->size; at++)
        same += content.data[write->offset + at] == write->data[at];
      if (same == write->size)
        trial->kept++;
      else if (same < write->size / 20)
        trial->lost++;
      else
        trial->torn++;
    }
    memcpy(trial->durable[file], content.data, SIZE);
    bytes_free(&content);
  }
}

static void crash(struct trial *trial, bool orderly) {
  bool open[WRITES_MAX];
  for (size_t i = 0; i < WRITES_MAX; i++)
    open[i] = trial->writes[i].open;
  sim_crash(trial->sim, 0, orderly);
  const size_t reported = trial->reported, under_way = trial->under_way;
  sim_bury(trial->sim, 0, &trial->idle);
  cr_assert(!orderly || trial->failed || trial->sync_broken ||
                trial->reported + trial->refused >= reported + under_way,
            "an orderly end does what was asked");
  for (size_t i = 0; i < FILES; i++)
    trial->world->disk_close(trial->files[i]);
  sim_revive(trial->sim, 0);
  for (size_t i = 0; i < WRITES_MAX && !orderly; i++)
    trial->writes[i].open = open[i];
  look_after_crash(trial);
  for (size_t i = 0; i < WRITES_MAX; i++)
    trial->writes[i].open = false;
  for (size_t i = 0; i < FILES; i++)
    cr_assert_eq(trial->world->disk_open(trial->world->context, names[i], &trial->files[i], NULL), 0);
  trial->failed = trial->sync_broken = false;
}

static void begin(struct trial *trial, uint64_t seed) {
  *trial = (struct trial){.seed = seed, .idle = true};
  random_seed(&trial->random, seed);
  trial->sim = sim_world_new(&(struct sim_world_options){
      .seed = seed,
      .nodes = 1,
      .weather = {.disk_ns = MS, .disk_jitter_ns = MS, .disk_stall = seed % 2 ? 0.05 : 0}});
  trial->world = sim_door(trial->sim, 0);
  for (size_t i = 0; i < FILES; i++)
    trial->world->disk_create(trial->world->context, names[i], SIZE, made, &trial->files[i]);
  sim_run(trial->sim, S, NULL);
}

static void end(struct trial *trial) {
  for (size_t i = 0; i < FILES; i++)
    trial->world->disk_close(trial->files[i]);
  sim_world_free(trial->sim);
}

Test(disk, what_was_reported_is_there_after_any_crash_and_nothing_else, .timeout = 60) {
  size_t kept = 0, lost = 0, torn = 0, refused = 0;
  for (uint64_t seed = 1; seed <= 150; seed++) {
    struct trial trial;
    begin(&trial, seed);
    for (int step = 0; step < 300; step++) {
      if (!trial.failed)
        ask(&trial);
      if (random_chance(&trial.random, 0.02)) {
        trial.sync_broken = true;
        sim_break_sync(trial.sim, 0);
      }
      if (random_chance(&trial.random, 0.05))
        sim_fill_disk(trial.sim, 0, random_chance(&trial.random, 0.3));
      sim_run(trial.sim, sim_now_ns(trial.sim) + random_between(&trial.random, 0, 3 * MS), NULL);
      if (random_chance(&trial.random, 0.03))
        crash(&trial, random_chance(&trial.random, 0.3));
    }
    crash(&trial, false);
    kept += trial.kept;
    lost += trial.lost;
    torn += trial.torn;
    refused += trial.refused;
    end(&trial);
  }
  cr_assert_gt(kept, 20, "%zu", kept);
  cr_assert_gt(lost, 100, "%zu", lost);
  cr_assert_gt(torn, 100, "%zu", torn);
  cr_assert_gt(refused, 100, "%zu", refused);
}

/* -- single rules --------------------------------------------------------------------------------------- */

struct answers {
  int status[10];
  size_t count;
  struct disk_file *file;
};

static void answered(void *owner, int status) {
  struct answers *answers = owner;
  answers->status[answers->count++] = status;
}

static void file_made(void *owner, int status, struct disk_file *file) {
  answered(owner, status);
  ((struct answers *)owner)->file = file;
}

static struct sim_world *one_disk(const struct world **world) {
  struct sim_world *sim = sim_world_new(
      &(struct sim_world_options){.seed = 1, .nodes = 1, .weather = {.disk_ns = MS, .disk_jitter_ns = MS}});
  *world = sim_door(sim, 0);
  return sim;
}

Test(disk, a_name_is_made_once_and_requests_keep_their_order) {
  const struct world *world;
  struct sim_world *sim = one_disk(&world);
  struct answers first = {0}, second = {0}, read = {0};
  unsigned char content[3] = {9, 9, 9};
  world->disk_create(world->context, "x", 2, file_made, &first);
  world->disk_create(world->context, "x", 2, file_made, &second);
  cr_assert_eq(first.count, 0, "no answer from inside the call");
  sim_run(sim, S, NULL);
  cr_assert_eq(first.status[0], 0);
  cr_assert_eq(second.status[0], ERR_IO);
  cr_assert_null(second.file);
  world->disk_write(first.file, 1, &(struct iovec){.iov_base = (char[]){7}, .iov_len = 1}, 1, answered,
                    &first);
  world->disk_fetch(first.file, 0, content, 2, answered, &read);
  world->disk_fetch(first.file, 0, content, 3, answered, &read);
  sim_run(sim, 2 * S, NULL);
  cr_assert_arr_eq(content, ((unsigned char[]){0, 7, 9}), 3);
  cr_assert_eq(read.status[0], 0);
  cr_assert_eq(read.status[1], ERR_IO, "behind the end");
  world->disk_remove(world->context, "x");
  world->disk_write(first.file, 0, &(struct iovec){.iov_base = (char[]){7}, .iov_len = 1}, 1, answered,
                    &first);
  world->disk_close(first.file);
  sim_run(sim, 3 * S, NULL);
  cr_assert_null(sim_file(sim, 0, "x"));
  cr_assert_null(sim_file_name(sim, 0, 0));
  cr_assert_eq(first.count, 3);
  sim_world_free(sim);
}

Test(disk, a_full_disk_makes_and_grows_nothing) {
  const struct world *world;
  struct sim_world *sim = one_disk(&world);
  struct answers answers = {0}, none = {0};
  world->disk_create(world->context, "x", 10, file_made, &answers);
  sim_run(sim, S, NULL);
  sim_fill_disk(sim, 0, true);
  world->disk_create(world->context, "y", 10, file_made, &none);
  world->disk_write(answers.file, 10, &(struct iovec){.iov_base = (char[]){7}, .iov_len = 1}, 1, answered,
                    &answers);
  sim_run(sim, 2 * S, NULL);
  cr_assert_eq(none.status[0], ERR_NO_SPACE);
  cr_assert_null(sim_file(sim, 0, "y"));
  cr_assert_eq(answers.status[1], ERR_NO_SPACE);
  cr_assert_eq(sim_file(sim, 0, "x")->size, 10);
  sim_fill_disk(sim, 0, false);
  world->disk_write(answers.file, 10, &(struct iovec){.iov_base = (char[]){7}, .iov_len = 1}, 1, answered,
                    &answers);
  sim_run(sim, 3 * S, NULL);
  cr_assert_eq(answers.status[2], 0);
  cr_assert_eq(sim_file(sim, 0, "x")->size, 11);
  world->disk_close(answers.file);
  sim_world_free(sim);
}

Test(disk, a_slow_disk_takes_its_factor) {
  const struct world *world;
  struct sim_world *sim = one_disk(&world);
  struct answers answers = {0};
  sim_slow_disk(sim, 0, 50);
  world->disk_create(world->context, "x", 10, file_made, &answers);
  sim_run(sim, 49 * MS, NULL);
  cr_assert_eq(answers.count, 0);
  sim_run(sim, 101 * MS, NULL);
  cr_assert_eq(answers.count, 1);
  world->disk_close(answers.file);
  sim_world_free(sim);
}
