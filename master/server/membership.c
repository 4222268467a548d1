/* membership.c: what is asked about the members of the journal, and where they are. */
#include <stdlib.h>

#include "master/server/internal.h"

_Static_assert((int)MEMBER_SPARE == RPC__MEMBER_ROLE__MEMBER_ROLE_SPARE, "wire and core agree");
_Static_assert((int)MEMBER_STANDBY == RPC__MEMBER_ROLE__MEMBER_ROLE_STANDBY, "wire and core agree");

const char *server_member_address(struct server *server, uint64_t id) {
  struct journal *journal = primary_journal(server->primary);
  if (journal && journal->functions->member_address &&
      member_address_parse(journal->functions->member_address(journal, id), &server->address))
    return server->address.client_address;
  for (size_t i = 0; i < server->member_count; i++)
    if (server->members[i].id == id)
      return server->members[i].client_address;
  return "";
}

static void refuse(Rpc__AdminResponse *response, const char *why) {
  response->status = RPC__ADMIN_STATUS__ADMIN_STATUS_REFUSED;
  response->message = (char *)(uintptr_t)why;
}

/* ---- the members ---- */

static void answer_info(struct server *server, const struct journal *journal, Rpc__AdminResponse *response) {
  struct journal_membership *membership = rpc_arena_take(&server->arena, sizeof *membership);
  journal->functions->membership(journal, membership);
  const struct journal_status status = journal->functions->status(journal);
  Rpc__Member *members = rpc_arena_take(&server->arena, (membership->count + 1) * sizeof *members);
  Rpc__Member **pointers = rpc_arena_take(&server->arena, (membership->count + 1) * sizeof(Rpc__Member *));
  for (size_t i = 0; i < membership->count; i++) {
    struct journal_member *from = &membership->members[i];
    rpc__member__init(&members[i]);
    members[i].id = from->id;
    members[i].address = from->address;
    members[i].role = (Rpc__MemberRole)from->role;
    members[i].match_index = from->match_index;
    members[i].heard_ns = from->heard_ns;
    pointers[i] = &members[i];
  }
  response->members = pointers;
  response->n_members = membership->count;
  response->membership_index = membership->index;
  response->membership_committed = membership->committed;
  response->leader = status.leader;
  response->last_index = status.last_index;
}

/* ---- changes ---- */

static void on_changed(void *context, int status, const struct error *error) {
  struct ticket *ticket = context;
  struct session *session = ticket->session;
  struct server *server = session->server;
  Rpc__AdminResponse response = RPC__ADMIN_RESPONSE__INIT;
  response.id = ticket->request_id;
  response.node = server->id;
  response.message = (char *)(uintptr_t)error->message;
  response.status = status == 0                 ? RPC__ADMIN_STATUS__ADMIN_STATUS_DONE
                    : status == ERR_UNAVAILABLE ? RPC__ADMIN_STATUS__ADMIN_STATUS_FAILED
                                                : RPC__ADMIN_STATUS__ADMIN_STATUS_REFUSED;
  const struct primary_status now = primary_status(server->primary);
  response.leader = now.journal.leader;
  if (session_takes_answer(session))
    rpc_append(&session->output, RPC_ADMIN_RESPONSE, &response.base);
  ticket_give(ticket);
}

static int begin(struct journal *journal, const Rpc__AdminRequest *request, struct ticket *ticket,
                 struct error *error) {
  if (request->kind == RPC__ADMIN_KIND__ADMIN_KIND_QUORUM_ELECT)
    return journal->functions->transfer(journal, request->node, on_changed, ticket, error);
  const struct journal_change change = {
      .kind = request->kind == RPC__ADMIN_KIND__ADMIN_KIND_QUORUM_ADD       ? CHANGE_ADD
              : request->kind == RPC__ADMIN_KIND__ADMIN_KIND_QUORUM_PROMOTE ? CHANGE_PROMOTE
              : request->kind == RPC__ADMIN_KIND__ADMIN_KIND_QUORUM_DEMOTE  ? CHANGE_DEMOTE
                                                                            : CHANGE_REMOVE,
      .id = request->node,
      .address = request->text};
  struct member_address address;
  struct sockaddr_storage socket_address;
  if (change.kind == CHANGE_ADD && (!member_address_parse(request->text, &address) ||
                                    rpc_parse_address(address.client_address, &socket_address, NULL) != 0))
    return error_set(
        error, ERR_BAD_INPUT,
        "'%s' is no address of a member: give HOST:PEER_PORT:CLIENT_PORT with a numeric host, as in "
        "127.0.0.1:7300:7400",
        request->text);
  return journal->functions->change(journal, &change, on_changed, ticket, error);
}

bool admin_answer_membership(struct session *session, const Rpc__AdminRequest *request,
                             Rpc__AdminResponse *response) {
  struct server *server = session->server;
  struct journal *journal = primary_journal(server->primary);
  if (!journal || !journal->functions->membership) {
    refuse(response, "the members of this journal never change");
    return false;
  }
  if (request->kind == RPC__ADMIN_KIND__ADMIN_KIND_QUORUM_INFO) {
    answer_info(server, journal, response);
    return false;
  }
  struct error *error = rpc_arena_take(&server->arena, sizeof *error);
  struct ticket *ticket = ticket_take(session, request->id);
  if (begin(journal, request, ticket, error) == 0)
    return true;
  const struct primary_status now = primary_status(server->primary);
  response->leader = now.journal.leader;
  refuse(response, error->message);
  ticket_give(ticket);
  return false;
}
