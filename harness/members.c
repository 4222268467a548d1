#include "harness/members.h"

#include <assert.h>
#include <stdlib.h>

#include "harness/members_record.h"
#include "master/client/client.h"

#define LOOK_PATIENCE_NS (500 * NS_PER_MS)
/* A master waits ten seconds until a node has caught up that is to be a voter. */
#define CHANGE_PATIENCE_NS (12 * NS_PER_S)

#define WATCH_INTERVAL_MS 200

struct watched {
  struct members_asker *asker;
  size_t node;
  bool asking;
};

struct members_asker {
  struct cluster *cluster;
  struct master_client *client;
  uv_timer_t timer;
  struct watched watched[CLUSTER_NODES_MAX];
  struct members_record record;
  void (*disagree)(void *context, const char *message); /* NULL: nobody, or it was told */
  void *disagree_context;
  int handles;
  void (*closed)(void *context);
  void *closed_context;
};

struct question {
  const struct members_asker *asker;
  members_callback *callback;
  void *context;
};

/* Members that are none of our nodes are nobody's business here. */
static struct members take_members(const struct cluster *cluster, const struct quorum *quorum) {
  const size_t nodes = cluster_size(cluster);
  struct members members = {.leader =
                                quorum->leader >= 1 && quorum->leader <= nodes ? (int)quorum->leader - 1 : -1,
                            .index = quorum->index,
                            .committed = quorum->committed};
  for (size_t i = 0; i < quorum->count; i++) {
    const struct quorum_member *member = &quorum->members[i];
    if (member->id >= 1 && member->id <= nodes)
      members.seats[member->id - 1] = member->role == QUORUM_VOTER ? SEAT_VOTER : SEAT_STANDBY;
  }
  return members;
}

static void on_answer(void *context, const struct admin_answer *answer) {
  struct question *question = context;
  const struct members_answer told = {.done = answer->status == ADMIN_DONE,
                                      .message =
                                          answer->status == ADMIN_UNREACHABLE ? "no answer" : answer->message,
                                      .members = take_members(question->asker->cluster, &answer->quorum)};
  question->callback(question->context, &told);
  free(question);
}

static void ask(void *context, size_t asked, const struct members_request *request,
                members_callback *callback, void *callback_context) {
  static const enum admin_kind kinds[] = {
      [MEMBERS_LOOK] = ADMIN_QUORUM_INFO,       [MEMBERS_ADD] = ADMIN_QUORUM_ADD,
      [MEMBERS_PROMOTE] = ADMIN_QUORUM_PROMOTE, [MEMBERS_DEMOTE] = ADMIN_QUORUM_DEMOTE,
      [MEMBERS_REMOVE] = ADMIN_QUORUM_REMOVE,   [MEMBERS_ELECT] = ADMIN_QUORUM_ELECT};
  struct members_asker *asker = context;
  struct question *question = xcalloc(1, sizeof *question);
  *question = (struct question){asker, callback, callback_context};
  const bool look = request->verb == MEMBERS_LOOK;
  const struct admin_request admin = {.kind = kinds[request->verb],
                                      .node = look ? 0 : request->node + 1,
                                      .text = request->verb == MEMBERS_ADD ? request->address : NULL};
  master_client_admin(asker->client, asked, &admin, look ? LOOK_PATIENCE_NS : CHANGE_PATIENCE_NS, on_answer,
                      question);
}

/* ---- All of them say the same ---- */

static void on_watched(void *context, const struct admin_answer *answer) {
  struct watched *watched = context;
  struct members_asker *asker = watched->asker;
  struct error error = {0};
  watched->asking = false;
  if (answer->status != ADMIN_DONE || !asker->disagree)
    return;
  const struct members members = take_members(asker->cluster, &answer->quorum);
  if (members_record_take(&asker->record, watched->node, &members, &error))
    return;
  asker->disagree(asker->disagree_context, error.message);
  asker->disagree = NULL;
}

static void on_watch(uv_timer_t *timer) {
  struct members_asker *asker = timer->data;
  for (size_t i = 0; asker->disagree && i < cluster_size(asker->cluster); i++) {
    struct watched *watched = &asker->watched[i];
    if (watched->asking || cluster_node_state(asker->cluster, i) != NODE_RUNNING)
      continue;
    watched->asking = true;
    master_client_admin(asker->client, i, &(struct admin_request){.kind = ADMIN_QUORUM_INFO},
                        LOOK_PATIENCE_NS, on_watched, watched);
  }
}

/* ---- Life ---- */

int members_open(uv_loop_t *loop, struct cluster *cluster, struct tls_context *tls,
                 void (*disagree)(void *context, const char *message), void *context,
                 struct members_asker **asker, struct error *error) {
  const char *addresses[CLUSTER_NODES_MAX];
  for (size_t i = 0; i < cluster_size(cluster); i++)
    addresses[i] = cluster_client_address(cluster, i);
  const struct master_client_options options = {
      .addresses = addresses, .address_count = cluster_size(cluster), .only_given = true, .tls = tls};
  struct members_asker *made = xcalloc(1, sizeof *made);
  const int status = master_client_open(loop, &options, &made->client, error);
  if (status != 0) {
    free(made);
    return status;
  }
  made->cluster = cluster;
  made->disagree = disagree;
  made->disagree_context = context;
  made->handles = 2;
  for (size_t i = 0; i < CLUSTER_NODES_MAX; i++)
    made->watched[i] = (struct watched){.asker = made, .node = i};
  uv_timer_init(loop, &made->timer);
  made->timer.data = made;
  cluster_set_members_door(cluster, &(struct members_door){.context = made, .ask = ask});
  if (!cluster_lacks(cluster, CAN_MEMBERS))
    uv_timer_start(&made->timer, on_watch, WATCH_INTERVAL_MS, WATCH_INTERVAL_MS);
  *asker = made;
  return 0;
}

static void part_closed(struct members_asker *asker) {
  if (--asker->handles > 0)
    return;
  void (*closed)(void *) = asker->closed;
  void *closed_context = asker->closed_context;
  free(asker);
  if (closed)
    closed(closed_context);
}

static void client_closed(void *context) {
  part_closed(context);
}

static void timer_closed(uv_handle_t *handle) {
  part_closed(handle->data);
}

void members_close(struct members_asker *asker, void (*closed)(void *context), void *context) {
  if (!asker)
    return;
  asker->closed = closed;
  asker->closed_context = context;
  asker->disagree = NULL;
  cluster_set_members_door(asker->cluster, NULL);
  master_client_close(asker->client, client_closed, asker);
  uv_close((uv_handle_t *)&asker->timer, timer_closed);
}
