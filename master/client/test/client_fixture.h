/* client_fixture.h: servers that follow a script, a client of theirs, and one loop for all. */
#ifndef ASSAY_MASTER_CLIENT_FIXTURE_H
#define ASSAY_MASTER_CLIENT_FIXTURE_H

#include "master/client/client.h"
#include "master/client/test/fake_server.h"

#define SERVERS 3

extern uv_loop_t loop;
extern struct fake_server servers[SERVERS];
extern size_t server_count;

struct result {
  unsigned count;
  struct master_answer answer;
  uint64_t node;
  char value[64];
};

/* A master_answer_callback; the context is a struct result. */
void keep(void *context, const struct master_answer *answer);

/* `count` servers, all of them primaries that do nothing. */
void start(size_t count);
/* Closes the client, the servers and the loop. */
void finish(struct master_client *client);
/* Connections time out after 50 ms, silence after 60 ms. */
struct master_client *open_client(bool retry, int64_t timeout_ms);
/* Runs the loop until *count is at least `wanted`. */
void await(const unsigned *count, unsigned wanted);

/* Requests about /a/file; creates bear op id 5 << 32 | sequence. */
void create(struct master_client *client, uint64_t sequence, struct result *result);
void stat_file(struct master_client *client, struct result *result);

/* What servers do with a request: */
typedef void action(struct fake_server *server, struct fake_session *session, const Rpc__Request *request);
action say_ok, say_exists, say_not_primary, say_overloaded, say_unavailable;
action say_leader_is_me, say_leader_is_third;
action hang_up, say_nothing, say_half, say_half_and_hang_up, say_garbage, say_broken_message;

#endif
