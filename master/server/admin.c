/* admin.c: what a person asks of this node (assay admin), whatever its role. */
#include "master/server/internal.h"

/* A request being answered. */
struct admin {
  struct session *session;
  const Rpc__AdminRequest *request;
  Rpc__AdminResponse response;
};

static void refuse(struct admin *admin, const char *why) {
  admin->response.status = RPC__ADMIN_STATUS__ADMIN_STATUS_REFUSED;
  admin->response.message = (char *)(uintptr_t)why;
}

static void answer_log_level(struct admin *admin) {
  enum log_level level = log_level();
  const char *asked = admin->request->text;
  if (asked[0] != '\0' && !log_level_parse(asked, &level)) {
    refuse(admin, "there is no such level: give debug, info, warn or error");
    return;
  }
  if (level != log_level())
    log_write(LOG_LEVEL_INFO, "messages are written from level %s on", log_level_name(level));
  log_set_level(level);
  admin->response.text = (char *)(uintptr_t)log_level_name(level);
}

static void answer_report(struct admin *admin) {
  struct server *server = admin->session->server;
  struct server_report asked = {0};
  if (server->report)
    server->report(server->report_context, &asked);
  Rpc__NodeReport *report = rpc_arena_take(&server->arena, sizeof *report);
  rpc__node_report__init(report);
  report->version = (char *)(uintptr_t)ASSAY_VERSION;
  report->log_level = (char *)(uintptr_t)log_level_name(log_level());
  report->resident_bytes = asked.resident_bytes;
  report->disk_size_bytes = asked.disk_size_bytes;
  report->disk_free_bytes = asked.disk_free_bytes;
  report->descriptors = asked.descriptors;
  report->descriptor_limit = asked.descriptor_limit;
  report->sessions = server->session_count;
  report->durable_index = asked.durable_index;
  report->write_behind_bytes = asked.write_behind_bytes;
  report->cache_bytes = asked.cache_bytes;
  report->disk_full = primary_status(server->primary).journal.disk_full;
  admin->response.report = report;
}

/* False: the answer comes later. */
static bool answer(struct admin *admin) {
  switch (admin->request->kind) {
  case RPC__ADMIN_KIND__ADMIN_KIND_QUORUM_INFO:
  case RPC__ADMIN_KIND__ADMIN_KIND_QUORUM_ADD:
  case RPC__ADMIN_KIND__ADMIN_KIND_QUORUM_PROMOTE:
  case RPC__ADMIN_KIND__ADMIN_KIND_QUORUM_DEMOTE:
  case RPC__ADMIN_KIND__ADMIN_KIND_QUORUM_REMOVE:
  case RPC__ADMIN_KIND__ADMIN_KIND_QUORUM_ELECT:
    return !admin_answer_membership(admin->session, admin->request, &admin->response);
  case RPC__ADMIN_KIND__ADMIN_KIND_LOG_LEVEL:
    answer_log_level(admin);
    break;
  case RPC__ADMIN_KIND__ADMIN_KIND_REPORT:
    answer_report(admin);
    break;
  case RPC__ADMIN_KIND__ADMIN_KIND_CHECKPOINT:
  case RPC__ADMIN_KIND__ADMIN_KIND_BACKUP_BEGIN:
  case RPC__ADMIN_KIND__ADMIN_KIND_BACKUP_READ:
  case RPC__ADMIN_KIND__ADMIN_KIND_BACKUP_END:
    return !admin_answer_snapshot(admin->session, admin->request, &admin->response);
  default:
    refuse(admin, "this master does not know what is asked: use an assay of its own version");
    break;
  }
  return true;
}

bool dispatch_admin(struct session *session, const struct rpc_frame *frame) {
  struct server *server = session->server;
  struct admin admin = {.session = session, .response = RPC__ADMIN_RESPONSE__INIT};
  admin.request = rpc_unpack(&server->arena, &rpc__admin_request__descriptor, frame);
  if (!admin.request)
    return false;
  admin.response.id = admin.request->id;
  admin.response.node = server->id;
  if (!answer(&admin))
    return true;
  rpc_append(&session->output, RPC_ADMIN_RESPONSE, &admin.response.base);
  session_touch(session);
  return true;
}
