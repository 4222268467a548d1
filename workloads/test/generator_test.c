/* The workloads: reproducible, contended, and neither all success nor all failure. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "workloads/test/naive_tree.h"
#include "workloads/workloads.h"

#define CLIENTS 16

struct tally {
  uint64_t drawn[OPERATION_KINDS], ok[OPERATION_KINDS];
  uint64_t drawn_in_all, ok_in_all;
};

static struct generator *make(const struct generator_options *options) {
  struct generator *generator;
  struct error error;
  cr_assert_eq(generator_new(options, &generator, &error), 0, "%s", error.message);
  return generator;
}

/* An operation that was executed and whose answer its client has not seen yet. */
struct outstanding {
  bool busy;
  struct arguments arguments;
  struct bytes text;
  struct answer answer;
};

/* Drives the generator with clients that answer late; in the first `outage` steps every operation is refused.
 */
static void drive(struct generator *generator, uint64_t seed, size_t steps, size_t outage,
                  struct tally *tally) {
  struct random random;
  random_seed(&random, seed);
  struct naive_tree tree;
  naive_tree_init(&tree);
  static struct outstanding clients[CLIENTS];
  for (size_t i = 0; i < CLIENTS; i++)
    clients[i].busy = false;
  for (size_t step = 0; step < steps; step++) {
    const size_t who = random_below(&random, CLIENTS);
    struct outstanding *client = &clients[who];
    if (client->busy) {
      const enum outcome outcome = client->answer.code ? OUTCOME_FAIL : OUTCOME_OK;
      generator_learn(generator, who, &client->arguments, outcome, &client->answer);
      client->busy = false;
    }
    struct arguments arguments;
    generator_next(generator, who, &arguments);
    arguments_keep(&arguments, &client->text, &client->arguments);
    client->busy = true;
    if (step < outage) {
      client->answer = (struct answer){.code = ANSWER_NOT_PRIMARY};
      continue;
    }
    naive_tree_execute(&tree, &arguments, step + 1, &client->answer);
    /* The parts of an answer live until the next one: it is learned at once. */
    if (arguments.kind == OPERATION_LIST || arguments.kind == OPERATION_BLOCKS ||
        arguments.kind == OPERATION_BATCH) {
      generator_learn(generator, who, &client->arguments, client->answer.code ? OUTCOME_FAIL : OUTCOME_OK,
                      &client->answer);
      client->busy = false;
    }
    tally->drawn[arguments.kind]++;
    tally->ok[arguments.kind] += client->answer.code == ANSWER_OK;
    tally->drawn_in_all++;
    tally->ok_in_all += client->answer.code == ANSWER_OK;
  }
  naive_tree_free(&tree);
}

static void assert_interesting(const char *workload, size_t outage) {
  struct tally tally = {0};
  struct generator *generator = make(&(struct generator_options){.workload = workload, .seed = 3});
  drive(generator, 4, 16000, outage, &tally);
  const double ok = (double)tally.ok_in_all / (double)tally.drawn_in_all;
  cr_assert(ok > 0.45 && ok < 0.95, "%s: %.2f of all operations succeed", workload, ok);
  for (int kind = 0; kind < OPERATION_KINDS; kind++) {
    const double share = (double)tally.ok[kind] / (double)tally.drawn[kind];
    if (tally.drawn[kind] > tally.drawn_in_all / 50)
      cr_assert(share > 0.2, "%s: %.2f of %s succeed", workload, share,
                operation_name((enum operation_kind)kind));
  }
  generator_free(generator);
}

Test(generator, every_workload_mixes_success_and_failure) {
  for (const struct workload_description *workload = workload_list(); workload->name; workload++) {
    cr_assert_not_null(workload->summary);
    assert_interesting(workload->name, 0);
  }
}

Test(generator, an_outage_at_the_beginning_does_no_lasting_harm) {
  for (const struct workload_description *workload = workload_list(); workload->name; workload++)
    assert_interesting(workload->name, 500);
}

Test(generator, mixed_draws_every_operation_that_a_master_answers) {
  struct tally tally = {0};
  struct generator *generator = make(&(struct generator_options){.workload = "mixed"});
  drive(generator, 1, 5000, 0, &tally);
  for (int kind = 0; kind < OPERATION_KINDS; kind++) {
    cr_assert_gt(tally.drawn[kind], 100, "%s", operation_name((enum operation_kind)kind));
  }
  generator_free(generator);
}

/* Appends all that was drawn, as text. */
static void record(struct generator *generator, size_t client, struct bytes *text) {
  struct arguments arguments;
  char line[400];
  generator_next(generator, client, &arguments);
  arguments_print(&arguments, line, sizeof line);
  bytes_append_format(text, "%s\n", line);
}

Test(generator, a_seed_is_a_sequence) {
  for (const struct workload_description *workload = workload_list(); workload->name; workload++) {
    struct bytes texts[4] = {0};
    const struct generator_options options[4] = {
        {.workload = workload->name, .seed = 1, .shard_count = 2},
        {.workload = workload->name, .seed = 1, .shard_count = 2},
        {.workload = workload->name, .seed = 2, .shard_count = 2},
        {.workload = workload->name, .seed = 1, .shard = 1, .shard_count = 2},
    };
    for (size_t i = 0; i < 4; i++) {
      struct generator *generator = make(&options[i]);
      for (size_t step = 0; step < 1000; step++)
        record(generator, step * 7 % CLIENTS, &texts[i]);
      bytes_append(&texts[i], "", 1);
      generator_free(generator);
    }
    cr_assert_str_eq((char *)texts[0].data, (char *)texts[1].data);
    cr_assert_str_neq((char *)texts[0].data, (char *)texts[2].data);
    cr_assert_str_neq((char *)texts[0].data, (char *)texts[3].data);
    for (size_t i = 0; i < 4; i++)
      bytes_free(&texts[i]);
  }
}

/* "/w0-1-2/a/f" -> "/w0-1-2" */
static void top_of(struct text path, char *top) {
  const char *slash = memchr(path.data + 1, '/', path.size - 1);
  const size_t size = slash ? (size_t)(slash - path.data) : path.size;
  memcpy(top, path.data, size);
  top[size] = '\0';
}

/* Of the operation, or of the first in a batch that has one; absent when there is none. */
static struct text some_path(const struct arguments *arguments) {
  for (size_t i = 0; i < arguments->item_count; i++)
    if (arguments->items[i].path.data)
      return arguments->items[i].path;
  return arguments->path;
}

Test(generator, working_sets_rotate) {
  struct generator *generator =
      make(&(struct generator_options){.workload = "mixed", .operations_per_set = 100, .shard_count = 1});
  char last[64] = "", top[64];
  size_t sets = 0;
  for (size_t step = 0; step < 1000; step++) {
    struct arguments arguments;
    generator_next(generator, step % 3, &arguments); /* none of them a reader */
    const struct text path = some_path(&arguments);
    if (!path.data)
      continue;
    top_of(path, top);
    if (arguments.destination.data) {
      char other[64];
      top_of(arguments.destination, other);
      cr_assert_str_eq(top, other);
    }
    sets += strcmp(top, last) != 0;
    memcpy(last, top, sizeof last);
  }
  cr_assert_eq(sets, 10, "%zu", sets);
  generator_free(generator);
}

Test(generator, an_answer_from_the_set_before_teaches_nothing) {
  struct generator *generator =
      make(&(struct generator_options){.workload = "names", .operations_per_set = 50});
  const struct answer answer = {0};
  for (size_t round = 0; round < 20; round++) {
    struct arguments arguments, late[6];
    for (size_t client = 0; client < 6; client++)
      generator_next(generator, client, &late[client]);
    for (size_t step = 0; step < 50; step++) {
      generator_next(generator, 0, &arguments);
      /* This set has not seen its directories made, so that is what is drawn for it. */
      cr_assert_eq(arguments.kind, OPERATION_MKDIR);
    }
    for (size_t client = 1; client < 6; client++)
      generator_learn(generator, client, &late[client], OUTCOME_OK, &answer);
  }
  generator_free(generator);
}

Test(generator, shards_and_groups_work_apart_unless_shared) {
  for (int shared = 0; shared < 2; shared++) {
    char tops[2][2][64];
    for (size_t shard = 0; shard < 2; shard++) {
      struct generator *generator = make(&(struct generator_options){
          .workload = "names", .shard = shard, .shard_count = 2, .shared = shared});
      for (size_t group = 0; group < 2; group++) {
        struct arguments arguments;
        generator_next(generator, group * 8, &arguments);
        top_of(arguments.path, tops[shard][group]);
      }
      generator_free(generator);
    }
    cr_assert_str_neq(tops[0][0], tops[0][1]);
    cr_assert_eq(strcmp(tops[0][0], tops[1][0]) == 0, shared);
  }
}

Test(generator, no_value_is_set_twice) {
  struct history *seen = history_new();
  struct bytes values = {0};
  for (size_t shard = 0; shard < 2; shard++) {
    struct tally tally = {0};
    struct generator *generator =
        make(&(struct generator_options){.workload = "register", .shard = shard, .shard_count = 2});
    drive(generator, 1, 200, 0, &tally);
    for (size_t step = 0; step < 500; step++) {
      struct arguments arguments;
      generator_next(generator, step % CLIENTS, &arguments);
      if (arguments.kind != OPERATION_SET)
        continue;
      char quoted[80];
      snprintf(quoted, sizeof quoted, "[%s]", arguments.value.data);
      bytes_append(&values, "", 1);
      cr_assert_null(strstr((char *)values.data, quoted), "%s", quoted);
      values.size--;
      bytes_append(&values, quoted, strlen(quoted));
    }
    generator_free(generator);
  }
  cr_assert_gt(values.size, 1000);
  bytes_free(&values);
  history_free(seen);
}

Test(generator, an_unknown_workload_names_the_known_ones) {
  struct generator *generator;
  struct error error;
  cr_assert_eq(generator_new(&(struct generator_options){.workload = "mixd"}, &generator, &error),
               ERR_BAD_INPUT);
  cr_assert_str_eq(error.message,
                   "unknown workload \"mixd\"; known are mixed, register, names, moves, blocks, "
                   "batches");
}
