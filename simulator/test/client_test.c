/* What a client concludes, from masters that answer as they are told. */
#include "simulator/client.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/operation.h"

#define NODES 3
#define OP_ID ((UINT64_C(9) << 32) | 1)

/* One behaviour for each time a node is asked; the last one stays. */
enum behaviour { ANSWERS, IS_SILENT, NOT_PRIMARY, UNAVAILABLE, OVERLOADED, NOT_FOUND, DIES_ASKED };

static struct sim_world *world;
static struct plan plan;
static struct sim_cluster cluster;
static struct sim_client *client;
static enum behaviour behaviours[NODES][4];
static size_t asked[NODES], waiting;
static uint64_t leader, op_ids[16], floors[16];
static size_t asked_in_all, any_asked;
static bool standby[NODES];

static struct {
  bool done;
  enum master_outcome outcome;
  enum master_error error;
  uint64_t node;
  int64_t at_ns;
} told;

/* -- the masters ---------------------------------------------------------------------------------------- */

bool cluster_serves(const struct sim_cluster *asked_of, size_t node, uint64_t life) {
  return asked_of->nodes[node].up && asked_of->nodes[node].life == life;
}

bool sim_cluster_up(const struct sim_cluster *asked_of, size_t node) {
  return asked_of->nodes[node].up;
}

struct greeting cluster_greet(const struct sim_cluster *asked_of, size_t node) {
  return (struct greeting){.life = asked_of->nodes[node].life, .leader = leader, .serves = !standby[node]};
}

void cluster_check_answer(struct sim_cluster *asked_of, size_t node, const struct request *request,
                          const struct answer *answer) {
  (void)asked_of;
  (void)node;
  (void)request;
  (void)answer;
}

struct waiting {
  void (*answered)(void *context, const struct answer *answer);
  void *context;
};

static struct waiting silent[16];

void cluster_ask(struct sim_cluster *asked_of, size_t node, const struct request *request,
                 void (*answered)(void *context, const struct answer *answer), void *context) {
  static const enum answer_status statuses[] = {[ANSWERS] = STATUS_OK,
                                                [NOT_PRIMARY] = STATUS_NOT_PRIMARY,
                                                [UNAVAILABLE] = STATUS_UNAVAILABLE,
                                                [OVERLOADED] = STATUS_OVERLOADED,
                                                [NOT_FOUND] = STATUS_NOT_FOUND};
  const size_t time = asked[node] < 3 ? asked[node] : 3;
  const enum behaviour behaviour = behaviours[node][time];
  asked[node]++;
  if (asked_in_all < ARRAY_SIZE(op_ids)) {
    op_ids[asked_in_all] = request->op_id;
    floors[asked_in_all] = request->retry_floor;
  }
  asked_in_all++;
  any_asked += request->any;
  if (behaviour == IS_SILENT || behaviour == DIES_ASKED) {
    cr_assert_lt(waiting, ARRAY_SIZE(silent));
    silent[waiting++] = (struct waiting){answered, context};
    if (behaviour == DIES_ASKED) {
      asked_of->nodes[node].up = false;
      sim_client_node_died(client, node);
    }
    return;
  }
  const struct answer answer = {.status = statuses[behaviour], .leader = leader, .version = 5};
  answered(context, &answer);
}

/* -- the client ----------------------------------------------------------------------------------------- */

static void on_answer(void *context, const struct master_answer *answer, uint32_t first_client) {
  (void)context;
  (void)first_client;
  cr_assert(!told.done, "a request is answered twice");
  told.done = true;
  told.outcome = answer->outcome;
  told.error = answer->error;
  told.node = answer->node;
  told.at_ns = sim_now_ns(world);
}

static void begin(void) {
  const struct sim_world_options options = {.seed = 7, .nodes = NODES, .weather = {.delay_ns = NS_PER_MS}};
  world = sim_world_new(&options);
  plan = (struct plan){
      .nodes = NODES, .request_timeout_ns = 2 * NS_PER_S, .attempt_timeout_ns = 500 * NS_PER_MS};
  cluster = (struct sim_cluster){.world = world, .plan = &plan};
  for (size_t i = 0; i < NODES; i++)
    cluster.nodes[i] = (struct sim_node){.cluster = &cluster, .number = i, .up = true, .life = 1};
  client = sim_client_new(&cluster, &(struct sim_client_options){.count = NODES});
}

static void end(void) {
  const struct answer nothing = {.status = STATUS_UNAVAILABLE};
  sim_client_free(client);
  for (size_t i = 0; i < waiting; i++)
    silent[i].answered(silent[i].context, &nothing);
  sim_world_free(world);
}

TestSuite(client, .init = begin, .fini = end);

static void behave(size_t node, enum behaviour first, enum behaviour second, enum behaviour then) {
  behaviours[node][0] = first;
  behaviours[node][1] = second;
  behaviours[node][2] = behaviours[node][3] = then;
}

static void behave_all(enum behaviour behaviour) {
  for (size_t i = 0; i < NODES; i++)
    behave(i, behaviour, behaviour, behaviour);
}

static void set_something(void) {
  const struct master_request request = {.operation = MASTER_SET, .op_id = OP_ID, .path = "/a", .value = "b"};
  sim_client_submit(client, &request, on_answer, NULL);
  sim_run(world, 5 * NS_PER_S, NULL);
  cr_assert(told.done);
}

#define EXPECT(what, why)                                                                                    \
  do {                                                                                                       \
    cr_assert_eq(told.outcome, what, "outcome %d, %s", (int)told.outcome, master_error_name(told.error));    \
    cr_assert_eq(told.error, why, "%s", master_error_name(told.error));                                      \
  } while (0)

Test(client, is_answered) {
  set_something();
  EXPECT(MASTER_OK, MASTER_ERROR_NONE);
  cr_assert_eq(told.node, 1);
  cr_assert_eq(asked_in_all, 1);
  cr_assert_eq(floors[0], OP_ID);
}

Test(client, takes_an_observation_for_an_answer) {
  behave_all(NOT_FOUND);
  set_something();
  EXPECT(MASTER_FAIL, MASTER_ERROR_NOT_FOUND);
}

Test(client, follows_the_hint_to_the_primary) {
  leader = 3;
  behave(0, NOT_PRIMARY, NOT_PRIMARY, NOT_PRIMARY);
  set_something();
  EXPECT(MASTER_OK, MASTER_ERROR_NONE);
  cr_assert_eq(told.node, 3);
  cr_assert_eq(asked[1], 0);
}

Test(client, leaves_a_standby_that_greets_it) {
  leader = 2;
  standby[0] = true;
  set_something();
  EXPECT(MASTER_OK, MASTER_ERROR_NONE);
  cr_assert_eq(asked[0], 0);
  cr_assert_eq(told.node, 2);
}

static void look_anywhere(void) {
  const struct master_request request = {.operation = MASTER_STAT, .path = "/a"};
  sim_client_free(client);
  client =
      sim_client_new(&cluster, &(struct sim_client_options){.first = 1, .count = NODES, .any_node = true});
  sim_client_submit(client, &request, on_answer, NULL);
  sim_run(world, 5 * NS_PER_S, NULL);
  cr_assert(told.done);
}

Test(client, that_reads_at_any_node_stays_with_a_standby) {
  leader = 3;
  standby[1] = true;
  look_anywhere();
  EXPECT(MASTER_OK, MASTER_ERROR_NONE);
  cr_assert_eq(told.node, 2);
  cr_assert_eq(any_asked, asked_in_all);
}

Test(client, that_reads_at_any_node_goes_on_to_the_next) {
  leader = 1;
  standby[1] = true;
  behave(1, NOT_PRIMARY, NOT_PRIMARY, NOT_PRIMARY);
  look_anywhere();
  EXPECT(MASTER_OK, MASTER_ERROR_NONE);
  cr_assert_eq(told.node, 3, "not to whom the hint names");
}

Test(client, gives_up_unchecked_when_everybody_refused) {
  behave_all(NOT_PRIMARY);
  set_something();
  EXPECT(MASTER_UNCHECKED, MASTER_ERROR_NOT_PRIMARY);
  cr_assert_geq(told.at_ns, 2 * NS_PER_S);
}

Test(client, gives_up_unchecked_when_nobody_is_there) {
  for (size_t i = 0; i < NODES; i++)
    cluster.nodes[i].up = false;
  set_something();
  EXPECT(MASTER_UNCHECKED, MASTER_ERROR_REFUSED);
}

Test(client, tries_again_after_an_overload) {
  behave(0, OVERLOADED, OVERLOADED, ANSWERS);
  set_something();
  EXPECT(MASTER_OK, MASTER_ERROR_NONE);
  cr_assert_eq(asked[0], 3);
}

Test(client, is_in_doubt_after_silence) {
  behave_all(IS_SILENT);
  set_something();
  EXPECT(MASTER_INFO, MASTER_ERROR_TIMEOUT);
  cr_assert_gt(asked_in_all, 1);
  for (size_t i = 0; i < asked_in_all && i < ARRAY_SIZE(op_ids); i++)
    cr_assert_eq(op_ids[i], OP_ID, "a retry has another op id");
}

Test(client, settles_its_doubt_by_a_retry_elsewhere) {
  behave(0, IS_SILENT, IS_SILENT, IS_SILENT);
  set_something();
  EXPECT(MASTER_OK, MASTER_ERROR_NONE);
  cr_assert_eq(asked_in_all, 2);
  cr_assert_eq(op_ids[1], OP_ID);
}

/* A refusal says nothing of the attempt before it. */
Test(client, stays_in_doubt_whatever_is_refused_later) {
  behave_all(NOT_PRIMARY);
  behave(0, UNAVAILABLE, NOT_PRIMARY, NOT_PRIMARY);
  set_something();
  EXPECT(MASTER_INFO, MASTER_ERROR_UNAVAILABLE);
}

Test(client, is_in_doubt_when_the_node_dies_with_its_request) {
  behave_all(NOT_PRIMARY);
  behave(0, DIES_ASKED, DIES_ASKED, DIES_ASKED);
  set_something();
  cr_assert_eq(told.outcome, MASTER_INFO);
}

Test(client, that_knows_one_node_waits_for_it) {
  sim_client_free(client);
  client = sim_client_new(&cluster, &(struct sim_client_options){.first = 1, .count = 1});
  leader = 3;
  behave(1, NOT_PRIMARY, NOT_PRIMARY, ANSWERS);
  set_something();
  EXPECT(MASTER_OK, MASTER_ERROR_NONE);
  cr_assert_eq(told.node, 2);
  cr_assert_eq(asked[2], 0);
}

Test(client, whose_link_is_cut_is_in_doubt_only_when_the_request_had_left) {
  for (size_t i = 0; i < NODES; i++)
    sim_client_link(world, i, false);
  set_something();
  EXPECT(MASTER_UNCHECKED, MASTER_ERROR_REFUSED);
}
