/* backup.c: a copy of the state for a person who asks: taken, held and read piece by piece over one session.
 *
 * The copy is a snapshot as a follower would get: files that do not change any more (hard links), so the
 * master goes on meanwhile. A session holds one at most; it goes with the session, with BACKUP_END, or when
 * nothing was read from it for a minute. */
#include <stdlib.h>

#include "master/server/internal.h"

#define UNUSED_LIMIT_NS (60 * NS_PER_S)

/* A snapshot that is being taken for a session. */
struct taking {
  struct session *session;
  uint64_t request_id;
  bool keep; /* to be read, not only taken */
};

static const struct state_machine *machine_of(const struct session *session) {
  return primary_state_machine(session->server->primary);
}

static void answer_late(struct session *session, uint64_t request_id, Rpc__AdminResponse *response) {
  response->id = request_id;
  response->node = session->server->id;
  rpc_append(&session->output, RPC_ADMIN_RESPONSE, &response->base);
  session_touch(session);
}

/* A piece of a backup that is being read. */
struct reading {
  struct session *session;
  uint64_t request_id;
  size_t size;
  unsigned char piece[SNAPSHOT_CHUNK];
};

void backup_drop(struct session *session) {
  if (session->backup && session->backup_reads > 0)
    session->backup_ends = true; /* when that is read */
  else if (session->backup)
    machine_of(session)->snapshot_close(session->backup);
  if (session->backup_reads == 0)
    session->backup = NULL;
}

void backup_sweep(struct session *session, int64_t now_ns) {
  if (!session->backup || now_ns - session->backup_used_ns < UNUSED_LIMIT_NS)
    return;
  log_warn("a backup was not read for a minute: it is given up");
  backup_drop(session);
}

static void describe(struct session *session, Rpc__AdminResponse *response) {
  struct server *server = session->server;
  const struct snapshot_file *files;
  size_t count;
  machine_of(session)->snapshot_describe(session->backup, &response->index, &response->snapshot_term, &files,
                                         &count);
  rpc_arena_reset(&server->arena);
  Rpc__BackupFile *messages = rpc_arena_take(&server->arena, count * sizeof *messages);
  Rpc__BackupFile **pointers = rpc_arena_take(&server->arena, count * sizeof(Rpc__BackupFile *));
  for (size_t i = 0; i < count; i++) {
    rpc__backup_file__init(&messages[i]);
    messages[i].name = (char *)(uintptr_t)files[i].name;
    messages[i].size = files[i].size;
    messages[i].checksum = files[i].checksum;
    pointers[i] = &messages[i];
  }
  response->files = pointers;
  response->n_files = count;
  response->cluster = server->cluster;
  response->chunk = SNAPSHOT_CHUNK;
}

static void on_taken(void *context, struct snapshot *snapshot, uint64_t index, const struct error *error) {
  struct taking taking = *(struct taking *)context;
  free(context);
  struct session *session = taking.session;
  Rpc__AdminResponse response = RPC__ADMIN_RESPONSE__INIT;
  session->taking = false;
  if (error) {
    response.status = RPC__ADMIN_STATUS__ADMIN_STATUS_FAILED;
    response.message = (char *)(uintptr_t)error->message;
  } else if (!taking.keep || session->closing) {
    machine_of(session)->snapshot_close(snapshot);
    response.index = index;
  } else {
    session->backup = snapshot;
    session->backup_used_ns = (int64_t)uv_hrtime();
    describe(session, &response);
  }
  if (!session->closing)
    answer_late(session, taking.request_id, &response);
  session_release(session);
}

static void refuse(Rpc__AdminResponse *response, const char *why) {
  response->status = RPC__ADMIN_STATUS__ADMIN_STATUS_REFUSED;
  response->message = (char *)(uintptr_t)why;
}

static bool take(struct session *session, const Rpc__AdminRequest *request, Rpc__AdminResponse *response) {
  if (session->taking || session->backup_reads > 0) {
    refuse(response, "a snapshot is being taken or read for this session already");
    return false;
  }
  backup_drop(session);
  struct taking *taking = xmalloc(sizeof *taking);
  *taking = (struct taking){.session = session,
                            .request_id = request->id,
                            .keep = request->kind == RPC__ADMIN_KIND__ADMIN_KIND_BACKUP_BEGIN};
  session->taking = true;
  session->in_flight++;
  primary_checkpoint(session->server->primary, !taking->keep, on_taken, taking);
  return true;
}

static void on_read(void *owner, int status, const struct error *error) {
  struct reading *reading = owner;
  struct session *session = reading->session;
  Rpc__AdminResponse response = RPC__ADMIN_RESPONSE__INIT;
  session->backup_reads--;
  session->backup_used_ns = (int64_t)uv_hrtime();
  if (status != 0) {
    response.status = RPC__ADMIN_STATUS__ADMIN_STATUS_FAILED;
    response.message = (char *)(uintptr_t)error->message;
  } else {
    response.data = (ProtobufCBinaryData){.data = reading->piece, .len = reading->size};
  }
  if (!session->closing)
    answer_late(session, reading->request_id, &response);
  if (session->backup_ends && session->backup_reads == 0) {
    session->backup_ends = false;
    backup_drop(session);
  }
  free(reading);
  session_release(session);
}

/* One piece: SNAPSHOT_CHUNK bytes, or what is left of the file; read off the loop. True when it is answered
 * later. */
static bool read_piece(struct session *session, const Rpc__AdminRequest *request,
                       Rpc__AdminResponse *response) {
  if (!session->backup || session->backup_ends) {
    refuse(response, "there is no backup to read: it was given up after a minute without reading");
    return false;
  }
  const struct snapshot_file *files;
  size_t count;
  uint64_t index, term;
  machine_of(session)->snapshot_describe(session->backup, &index, &term, &files, &count);
  if (request->file >= count || request->offset >= files[request->file].size) {
    refuse(response, "there is no such piece in the backup");
    return false;
  }
  const uint64_t left = files[request->file].size - request->offset;
  struct reading *reading = xmalloc(sizeof *reading);
  reading->session = session;
  reading->request_id = request->id;
  reading->size = left < SNAPSHOT_CHUNK ? (size_t)left : SNAPSHOT_CHUNK;
  session->backup_reads++;
  session->in_flight++;
  machine_of(session)->snapshot_read(session->backup, request->file, request->offset, reading->piece,
                                     reading->size, on_read, reading);
  return true;
}

bool admin_answer_snapshot(struct session *session, const Rpc__AdminRequest *request,
                           Rpc__AdminResponse *response) {
  switch (request->kind) {
  case RPC__ADMIN_KIND__ADMIN_KIND_CHECKPOINT:
  case RPC__ADMIN_KIND__ADMIN_KIND_BACKUP_BEGIN:
    return take(session, request, response);
  case RPC__ADMIN_KIND__ADMIN_KIND_BACKUP_READ:
    return read_piece(session, request, response);
  default:
    backup_drop(session);
    return false;
  }
}
