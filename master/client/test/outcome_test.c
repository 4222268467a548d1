/* What a client may conclude, for every failure at every moment of a request. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "master/client/test/client_fixture.h"

/* ---- one request, servers that do the same ---- */

struct expectation {
  const char *name;
  action *actions[SERVERS]; /* of the servers; NULL: that server is gone */
  bool retry;
  enum master_outcome outcome;
  enum master_error error;
};

static const struct expectation expectations[] = {
    {"answered", {say_ok, say_nothing, say_nothing}, true, MASTER_OK, MASTER_ERROR_NONE},
    {"observation", {say_exists, say_nothing, say_nothing}, true, MASTER_FAIL, MASTER_ERROR_EXISTS},
    {"nobody there", {NULL, NULL, NULL}, true, MASTER_UNCHECKED, MASTER_ERROR_REFUSED},
    {"nobody there, once", {NULL, NULL, NULL}, false, MASTER_UNCHECKED, MASTER_ERROR_REFUSED},
    {"first is gone", {NULL, say_ok, say_ok}, true, MASTER_OK, MASTER_ERROR_NONE},
    {"closed after reading, once",
     {hang_up, say_ok, say_ok},
     false,
     MASTER_INFO,
     MASTER_ERROR_CONNECTION_LOST},
    {"closed after reading, always",
     {hang_up, hang_up, hang_up},
     true,
     MASTER_INFO,
     MASTER_ERROR_CONNECTION_LOST},
    {"closed, then answered", {hang_up, say_ok, say_ok}, true, MASTER_OK, MASTER_ERROR_NONE},
    {"closed, then observed", {hang_up, say_exists, say_exists}, true, MASTER_FAIL, MASTER_ERROR_EXISTS},
    {"closed, then not primary for ever",
     {hang_up, say_not_primary, say_not_primary},
     true,
     MASTER_INFO,
     MASTER_ERROR_CONNECTION_LOST},
    {"closed, then nobody", {hang_up, NULL, NULL}, true, MASTER_INFO, MASTER_ERROR_CONNECTION_LOST},
    {"half a frame, then closed",
     {say_half_and_hang_up, NULL, NULL},
     true,
     MASTER_INFO,
     MASTER_ERROR_CONNECTION_LOST},
    {"half a frame, then silence", {say_half, NULL, NULL}, false, MASTER_INFO, MASTER_ERROR_TIMEOUT},
    {"garbage", {say_garbage, NULL, NULL}, false, MASTER_INFO, MASTER_ERROR_CONNECTION_LOST},
    {"garbage, then answered", {say_garbage, say_ok, say_ok}, true, MASTER_OK, MASTER_ERROR_NONE},
    {"broken message", {say_broken_message, NULL, NULL}, false, MASTER_INFO, MASTER_ERROR_CONNECTION_LOST},
    {"silence, once", {say_nothing, say_ok, say_ok}, false, MASTER_INFO, MASTER_ERROR_TIMEOUT},
    {"silence, then answered", {say_nothing, say_ok, say_ok}, true, MASTER_OK, MASTER_ERROR_NONE},
    {"silence everywhere", {say_nothing, say_nothing, say_nothing}, true, MASTER_INFO, MASTER_ERROR_TIMEOUT},
    {"silence, then not primary for ever",
     {say_nothing, say_not_primary, say_not_primary},
     true,
     MASTER_INFO,
     MASTER_ERROR_TIMEOUT},
    {"not primary, once",
     {say_not_primary, say_ok, say_ok},
     false,
     MASTER_UNCHECKED,
     MASTER_ERROR_NOT_PRIMARY},
    {"not primary for ever",
     {say_not_primary, say_not_primary, say_not_primary},
     true,
     MASTER_UNCHECKED,
     MASTER_ERROR_NOT_PRIMARY},
    {"not primary, then answered",
     {say_not_primary, say_not_primary, say_ok},
     true,
     MASTER_OK,
     MASTER_ERROR_NONE},
    {"hint to itself",
     {say_leader_is_me, say_leader_is_me, say_leader_is_me},
     true,
     MASTER_UNCHECKED,
     MASTER_ERROR_NOT_PRIMARY},
    {"hint to itself, others know better",
     {say_leader_is_me, say_ok, NULL},
     true,
     MASTER_OK,
     MASTER_ERROR_NONE},
    {"hint to a dead node", {say_leader_is_third, say_ok, NULL}, true, MASTER_OK, MASTER_ERROR_NONE},
    {"overloaded, once", {say_overloaded, say_ok, say_ok}, false, MASTER_UNCHECKED, MASTER_ERROR_OVERLOADED},
    {"overloaded for ever",
     {say_overloaded, say_ok, say_ok},
     true,
     MASTER_UNCHECKED,
     MASTER_ERROR_OVERLOADED},
    {"unavailable, once", {say_unavailable, say_ok, say_ok}, false, MASTER_INFO, MASTER_ERROR_UNAVAILABLE},
    {"unavailable for ever", {say_unavailable, say_ok, say_ok}, true, MASTER_INFO, MASTER_ERROR_UNAVAILABLE},
};

Test(outcome, one_request_ends_in_exactly_the_outcome_that_is_known) {
  for (size_t i = 0; i < ARRAY_SIZE(expectations); i++) {
    const struct expectation *expected = &expectations[i];
    start(SERVERS);
    struct master_client *client = open_client(expected->retry, 250);
    for (size_t server = 0; server < SERVERS; server++) {
      servers[server].request = expected->actions[server];
      if (!expected->actions[server])
        fake_server_close(&servers[server]);
    }
    uv_run(&loop, UV_RUN_NOWAIT);
    struct result result = {0};
    create(client, 1, &result);
    cr_assert_eq(result.count, 0, "never from inside submit");
    await(&result.count, 1);
    cr_assert_eq(result.answer.outcome, expected->outcome, "%s: outcome %d", expected->name,
                 (int)result.answer.outcome);
    cr_assert_eq(result.answer.error, expected->error, "%s: %s", expected->name,
                 master_error_name(result.answer.error));
    finish(client);
    cr_assert_eq(result.count, 1, "%s: once", expected->name);
  }
}

/* ---- anything at any time ---- */

struct trial {
  struct result result;
  uint64_t sequence;
};
/* What the servers did with each op: may have taken effect; said ok; said exists. */
static struct { bool touched, ok, exists; } done[4096];
static struct random dice;

static void do_anything(struct fake_server *server, struct fake_session *session,
                        const Rpc__Request *request) {
  const uint32_t sequence = (uint32_t)request->op_id;
  if (done[sequence].ok || done[sequence].exists) { /* the first answer, as a master gives it */
    fake_answer(session, request->id,
                done[sequence].ok ? RPC__STATUS__STATUS_OK : RPC__STATUS__STATUS_EXISTS);
    return;
  }
  const uint64_t face = random_below(&dice, 100);
  if (face < 30) {
    say_not_primary(server, session, request);
  } else if (face < 40) {
    say_overloaded(server, session, request);
  } else if (face < 45) {
    say_leader_is_third(server, session, request);
  } else if (face < 60) {
    done[sequence].ok = true;
    say_ok(server, session, request);
  } else if (face < 70) {
    done[sequence].exists = true;
    say_exists(server, session, request);
  } else {
    static action *const doubtful[] = {say_nothing, hang_up, say_unavailable, say_half, say_garbage};
    done[sequence].touched = true;
    doubtful[random_below(&dice, ARRAY_SIZE(doubtful))](server, session, request);
  }
}

Test(outcome, no_outcome_claims_more_than_is_known) {
  enum { CLIENTS = 40, PER_CLIENT = 40 };
  start(3);
  random_seed(&dice, 11);
  for (size_t i = 0; i < 3; i++)
    servers[i].request = do_anything;
  struct master_client *clients[CLIENTS];
  struct trial *trials = xcalloc(CLIENTS * PER_CLIENT, sizeof *trials);
  unsigned outcomes[4] = {0};
  for (size_t i = 0; i < CLIENTS; i++)
    clients[i] = open_client(i % 4 != 0, 150);
  for (uint32_t i = 0; i < CLIENTS * PER_CLIENT; i++)
    create(clients[i % CLIENTS], i, &trials[i].result);
  for (uint32_t i = 0; i < CLIENTS * PER_CLIENT; i++)
    await(&trials[i].result.count, 1);
  for (uint32_t i = 0; i < CLIENTS * PER_CLIENT; i++) {
    const struct master_answer *answer = &trials[i].result.answer;
    outcomes[answer->outcome]++;
    cr_assert_eq(trials[i].result.count, 1);
    switch (answer->outcome) {
    case MASTER_OK:
      cr_assert(done[i].ok && answer->error == MASTER_ERROR_NONE);
      break;
    case MASTER_FAIL:
      cr_assert(done[i].exists && answer->error == MASTER_ERROR_EXISTS);
      break;
    case MASTER_UNCHECKED:
      cr_assert(!done[i].touched && !done[i].ok && !done[i].exists, "op %u", i);
      cr_assert(answer->error == MASTER_ERROR_NOT_PRIMARY || answer->error == MASTER_ERROR_OVERLOADED ||
                answer->error == MASTER_ERROR_REFUSED);
      break;
    case MASTER_INFO:
      cr_assert(answer->error == MASTER_ERROR_TIMEOUT || answer->error == MASTER_ERROR_CONNECTION_LOST ||
                answer->error == MASTER_ERROR_UNAVAILABLE);
      break;
    }
  }
  for (size_t i = 0; i < 4; i++)
    cr_assert(outcomes[i] > 0, "outcome %zu never came", i);
  for (size_t i = 1; i < CLIENTS; i++)
    master_client_close(clients[i], NULL, NULL);
  finish(clients[0]);
  free(trials);
}
