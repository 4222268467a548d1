/* Certificates: right ones pass, each way of being wrong is refused and named. */
#include <criterion/criterion.h>

#include "checker/verify/specification.h"
#include "checker/verify/verify.h"

/* index 0 and 2: a mkdir; 1 and 3: a stat that overlaps it and sees nothing; 4 to 6: a set of unknown
 * outcome, seen by the stat behind it; 7 and 8: refused by a node that was not primary; 9: a list without an
 * answer. */
static const char history_text_a[] =
    "{\"time\":1,\"process\":1,\"type\":\"invoke\",\"f\":\"mkdir\",\"op\":71,\"value\":{\"path\":\"/a\"}}\n"
    "{\"time\":2,\"process\":2,\"type\":\"invoke\",\"f\":\"stat\",\"value\":{\"path\":\"/a\"}}\n"
    "{\"time\":3,\"process\":1,\"type\":\"ok\",\"f\":\"mkdir\",\"value\":{\"creator\":71}}\n"
    "{\"time\":4,\"process\":2,\"type\":\"fail\",\"f\":\"stat\",\"error\":{\"code\":\"not-found\"}}\n"
    "{\"time\":5,\"process\":1,\"type\":\"invoke\",\"f\":\"set\",\"op\":72,\"value\":{\"path\":\"/a\",\"value\":"
    "\"x\"}}\n"
    "{\"time\":6,\"process\":2,\"type\":\"invoke\",\"f\":\"stat\",\"value\":{\"path\":\"/a\"}}\n"
    "{\"time\":7,\"process\":2,\"type\":\"ok\",\"f\":\"stat\",\"value\":{\"value\":\"x\",\"version\":2}}\n"
    "{\"time\":8,\"process\":2,\"type\":\"invoke\",\"f\":\"delete\",\"op\":73,\"value\":{\"path\":\"/a\"}}\n"
    "{\"time\":9,\"process\":2,\"type\":\"fail\",\"f\":\"delete\",\"error\":{\"code\":\"not-primary\"}}\n"
    "{\"time\":10,\"process\":2,\"type\":\"invoke\",\"f\":\"list\",\"value\":{\"path\":\"/a\"}}\n";

static struct verification verify(const char *certificate) {
  struct history *history;
  struct error error;
  struct verification verification;
  cr_assert_eq(history_parse("a", history_text_a, sizeof history_text_a - 1, &history, NULL, &error), 0, "%s",
               error.message);
  cr_assert_eq(verify_certificate(history, "c", text_of(certificate), &verification, &error), 0, "%s",
               error.message);
  history_free(history);
  return verification;
}

static void assert_refused(const char *certificate, uint64_t line, uint64_t index, const char *why) {
  const struct verification verification = verify(certificate);
  cr_assert(!verification.accepted, "%s", certificate);
  cr_assert_eq(verification.line, line, "%s", verification.message);
  cr_assert_eq(verification.index, index, "%s", verification.message);
  cr_assert(strstr(verification.message, why), "%s", verification.message);
}

Test(verify, right_certificates_are_accepted) {
  const struct verification verification = verify("# a comment\n1\n0\n\n4\n 5 \n");
  cr_assert(verification.accepted, "%s", verification.message);
  cr_assert_eq(verification.executed, 4);
  cr_assert(verify("1\n0\n4\n5").accepted);
  /* What took no effect for certain may be named or not, a read without an answer too. */
  cr_assert(verify("1\n0\n7\n4\n5\n9\n").accepted);
}

Test(verify, tampered_certificates_are_refused) {
  assert_refused("1\n4\n5\n", 3, 5, "not-found"); /* the mkdir is missing, and missed */
  assert_refused("0\n1\n4\n5\n", 2, 1, "executed here it answers: ok directory"); /* swapped */
  assert_refused("1\n0\n5\n", 3, 5, "version 2"); /* the set must have happened */
  assert_refused("1\n0\n4\n", 0, 5, "is missing: stat /a -> ok");
  assert_refused("1\n0\n0\n4\n5\n", 3, 0, "stands twice");
  assert_refused("1\n0\n4\n5\n3\n", 5, 3, "no invocation"); /* 3 is a completion */
  assert_refused("1\n0\n4\n5\n99\n", 5, 99, "no invocation");
  assert_refused("4\n1\n0\n5\n", 2, 1, "before that of index 4 was invoked");
  assert_refused("", 0, 0, "is missing: mkdir");
}

Test(verify, what_is_no_certificate_is_an_error) {
  struct history *history = history_new();
  struct verification verification;
  struct error error;
  static const char *const bad[] = {"x\n", "-1\n", "1 2\n", "99999999999999999999999\n", "1.5\n"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    cr_assert_eq(verify_certificate(history, "c", text_of(bad[i]), &verification, &error), ERR_BAD_INPUT);
    cr_assert(strncmp(error.message, "c:1: ", 5) == 0, "%s", error.message);
  }
  cr_assert_eq(verify_certificate(history, "c", text_of(""), &verification, &error), 0);
  cr_assert(verification.accepted);
  history_free(history);
}

#define PROCESSES 4
#define OPERATIONS 60

/* A path of two letters at most, so that operations meet. */
static struct text any_path(struct random *random, struct history *history) {
  static const char *const paths[] = {"/a", "/b", "/a/a", "/a/b", "/b/a", "/", "/a/b/a", "//"};
  const char *path = paths[random_below(random, ARRAY_SIZE(paths))];
  return history_text(history, path, strlen(path));
}

static void any_arguments(struct random *random, struct history *history, struct arguments *arguments) {
  *arguments = (struct arguments){
      .kind = (enum operation_kind)random_below(random, OPERATION_BATCH),
      .path = any_path(random, history),
      .parents = random_chance(random, 0.3),
      .exist_ok = random_chance(random, 0.5),
      .overwrite = random_chance(random, 0.5),
      .recursive = random_chance(random, 0.3),
      .length = random_below(random, 2),
      .block = 1000 + random_below(random, OPERATIONS),
  };
  if (arguments->kind == OPERATION_RENAME)
    arguments->destination = any_path(random, history);
  if (arguments->kind == OPERATION_SET)
    arguments->value = text_of("v");
  else
    arguments->value = (struct text){0};
}

/* Runs the specification behind a random interleaving of invocations, effects and completions; `order`
 * becomes the indexes in the order of the effects. */
static struct history *simulate(uint64_t seed, struct bytes *order) {
  struct random random;
  random_seed(&random, seed);
  struct history *history = history_new();
  struct specification *state = specification_new();
  size_t open[PROCESSES];
  enum { IDLE, INVOKED, EXECUTED } phase[PROCESSES] = {IDLE};
  struct answer answers[PROCESSES];
  while (history->count < OPERATIONS) {
    const size_t who = random_below(&random, PROCESSES);
    if (phase[who] == IDLE) {
      struct arguments arguments;
      any_arguments(&random, history, &arguments);
      open[who] = history_invoke(history, (int64_t)who, 1000 + history->count, &arguments, 0);
      phase[who] = INVOKED;
      continue;
    }
    struct operation *operation = &history->operations[open[who]];
    if (phase[who] == INVOKED) {
      specification_execute(state, &operation->arguments, operation->op_id, &answers[who]);
      bytes_append_format(order, "%lu\n", operation->invoke_index);
      /* Executed at its completion: the answer's lists live until the next execution only. */
      if (answers[who].seen & (SEEN_ENTRIES | SEEN_BLOCKS | SEEN_VALUE)) {
        history_complete(history, open[who], OUTCOME_OK, &answers[who], 0);
        phase[who] = IDLE;
      } else {
        phase[who] = EXECUTED;
      }
      continue;
    }
    history_complete(history, open[who], answers[who].code ? OUTCOME_FAIL : OUTCOME_OK, &answers[who], 0);
    phase[who] = IDLE;
  }
  specification_free(state);
  return history;
}

Test(verify, the_order_of_the_effects_is_accepted_and_no_wrong_answer_is) {
  for (uint64_t seed = 0; seed < 300; seed++) {
    struct bytes order = {0};
    struct history *history = simulate(seed, &order);
    struct verification verification;
    struct error error;
    const struct text text = {(char *)order.data, order.size};
    cr_assert_eq(verify_certificate(history, "c", text, &verification, &error), 0, "%s", error.message);
    cr_assert(verification.accepted, "seed %lu: %s", seed, verification.message);
    struct operation *victim = &history->operations[seed % (OPERATIONS - PROCESSES)];
    if (victim->complete_event != NO_EVENT) {
      if (victim->answer.seen & SEEN_VERSION)
        victim->answer.version++;
      else if (victim->answer.seen & SEEN_CREATOR)
        victim->answer.creator += 5000;
      else if (victim->answer.seen & SEEN_EXISTS)
        victim->answer.exists = !victim->answer.exists;
      else {
        victim->outcome = OUTCOME_FAIL;
        victim->answer.code = victim->answer.code == ANSWER_EXISTS ? ANSWER_NOT_EMPTY : ANSWER_EXISTS;
      }
      cr_assert_eq(verify_certificate(history, "c", text, &verification, &error), 0);
      cr_assert(!verification.accepted, "seed %lu", seed);
      cr_assert_eq(verification.index, victim->invoke_index);
    }
    bytes_free(&order);
    history_free(history);
  }
}
