/* data_session.c: what a client asks of a worker, and the work on files that it takes, on threads. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/path.h"
#include "master/worker/data_internal.h"

/* ---- answers ---- */

static Rpc__DataStatus wire_status(int status) {
  switch (status) {
  case 0:
    return RPC__DATA_STATUS__DATA_STATUS_DONE;
  case ERR_NOT_FOUND:
    return RPC__DATA_STATUS__DATA_STATUS_NOT_FOUND;
  case ERR_CORRUPT:
    return RPC__DATA_STATUS__DATA_STATUS_CORRUPT;
  case ERR_NO_SPACE:
    return RPC__DATA_STATUS__DATA_STATUS_NO_ROOM;
  case ERR_BAD_INPUT:
  case ERR_OVERLOADED:
    return RPC__DATA_STATUS__DATA_STATUS_REFUSED;
  default:
    return RPC__DATA_STATUS__DATA_STATUS_FAILED;
  }
}

static void respond(struct session *session, Rpc__DataStatus status, const char *message) {
  Rpc__DataResponse response = RPC__DATA_RESPONSE__INIT;
  response.id = session->request_id;
  response.status = status;
  response.message = (char *)(uintptr_t)message;
  rpc_append(&session->output, RPC_DATA_RESPONSE, &response.base);
}

static void respond_error(struct session *session) {
  respond(session, wire_status(session->status), session->error.message);
}

/* ---- jobs ---- */

static bool is_under(const struct session *session) {
  return session->under_path.size > 0;
}

static struct slice under_path(const struct session *session) {
  return (struct slice){(const char *)session->under_path.data, session->under_path.size};
}

static int add_under(struct session *session) {
  int status = 0;
  if (!session->under_writer)
    status = under_writer_open(&session->server->options.roots, under_path(session), &session->under_writer,
                               &session->error);
  return status == 0 ? under_writer_add(session->under_writer, session->data.data, session->data.size,
                                        &session->error)
                     : status;
}

static int finish_under(struct session *session) {
  session->data.size = 0;
  const int status = add_under(session);
  if (status != 0)
    return status;
  struct under_writer *writer = session->under_writer;
  session->under_writer = NULL;
  return under_writer_finish(writer, session->length, session->sum, &session->error);
}

static int open_under(struct session *session) {
  const int status = under_file_open(&session->server->options.roots, under_path(session), &session->length,
                                     &session->under_file, &session->error);
  if (status != 0)
    session->under_file = 0;
  if (status == 0 && (session->offset > session->length || session->left > session->length - session->offset))
    return error_set(&session->error, ERR_BAD_INPUT, "the file has only %" PRIu64 " bytes", session->length);
  if (session->left == 0)
    session->left = session->length - session->offset;
  return status;
}

static int read_under(struct session *session) {
  session->data.size = 0;
  const int status = session->under_file ? 0 : open_under(session);
  const size_t size = session->left < RPC_DATA_PIECE ? (size_t)session->left : RPC_DATA_PIECE;
  return status == 0
             ? under_file_read(session->under_file, session->offset, size, &session->data, &session->error)
             : status;
}

static int job_add(struct session *session) {
  int status = 0;
  if (is_under(session))
    return add_under(session);
  if (!session->writer)
    status = block_writer_open(session->temporary, session->block, &session->writer, &session->error);
  return status == 0
             ? block_writer_add(session->writer, session->data.data, session->data.size, &session->error)
             : status;
}

/* A block that is there already stays, and is not written twice: a client may repeat what it was not told the
 * end of. */
static int job_finish(struct session *session) {
  uint64_t length, sum;
  struct error error;
  char name[24];
  if (is_under(session))
    return finish_under(session);
  session->data.size = 0;
  int status = job_add(session);
  if (status != 0)
    return status;
  if (block_file_look(session->path, session->block, &length, &sum, &error) == 0 &&
      (length != session->length || sum != session->sum))
    return error_set(&session->error, ERR_BAD_INPUT,
                     "block %" PRIu64 " is here with other content: a block is written once", session->block);
  block_store_name(session->block, name);
  struct block_writer *writer = session->writer;
  session->writer = NULL;
  return block_writer_finish(writer, session->length, session->sum, session->directory, name,
                             &session->error);
}

static int job_read(struct session *session) {
  if (is_under(session))
    return read_under(session);
  session->data.size = 0;
  int status = 0;
  if (!session->reader) {
    status = block_reader_open(session->path, session->block, &session->reader, &session->error);
    if (status != 0)
      return status;
    const uint64_t length = block_reader_length(session->reader);
    if (session->offset > length || session->left > length - session->offset)
      return error_set(&session->error, ERR_BAD_INPUT, "block %" PRIu64 " has only %" PRIu64 " bytes",
                       session->block, length);
    if (session->left == 0)
      session->left = length - session->offset;
    session->length = length;
  }
  const size_t size = session->left < RPC_DATA_PIECE ? (size_t)session->left : RPC_DATA_PIECE;
  return block_reader_read(session->reader, session->offset, size, &session->data, &session->error);
}

static void on_job(uv_work_t *work) {
  struct session *session = work->data;
  switch (session->job) {
  case JOB_ADD:
    session->status = job_add(session);
    break;
  case JOB_FINISH:
    session->status = job_finish(session);
    break;
  case JOB_READ:
    session->status = job_read(session);
    break;
  case JOB_NONE:
    break;
  }
}

static void end_write(struct session *session) {
  if (session->writer)
    block_writer_abort(session->writer);
  session->writer = NULL;
  if (session->under_writer)
    under_writer_abort(session->under_writer);
  session->under_writer = NULL;
  bytes_clear(&session->under_path);
  block_store_unreserve(session->server->options.store, session->reserved);
  session->reserved = 0;
  free(session->temporary);
  free(session->directory);
  free(session->path);
  session->temporary = session->directory = session->path = NULL;
}

static void refuse_write(struct session *session) {
  respond_error(session);
  end_write(session);
  session->refused = true;
}

static void end_read(struct session *session) {
  if (session->reader)
    block_reader_close(session->reader);
  session->reader = NULL;
  if (session->under_file)
    close(session->under_file);
  session->under_file = 0;
  bytes_clear(&session->under_path);
  session->giving = false;
  free(session->path);
  session->path = NULL;
}

void session_clean(struct session *session) {
  end_write(session);
  end_read(session);
  bytes_free(&session->under_path);
}

static void finished(struct session *session) {
  struct data_server_options *options = &session->server->options;
  if (session->status != 0) {
    refuse_write(session);
    session->taking = session->refused = false;
    return;
  }
  const bool under = is_under(session);
  end_write(session);
  session->taking = false;
  if (under) {
    respond(session, RPC__DATA_STATUS__DATA_STATUS_DONE, NULL);
    return;
  }
  block_store_added(options->store, session->block, session->length);
  options->stored(options->context, session->block);
  respond(session, RPC__DATA_STATUS__DATA_STATUS_DONE, NULL);
}

/* Whatever the cause: this worker cannot give the block to anybody. */
static void set_aside(struct session *session) {
  struct data_server_options *options = &session->server->options;
  char *aside = block_store_corrupt(options->store, session->block);
  const bool moved = rename(session->path, aside) == 0;
  log_error("block %" PRIu64 " is not served any more: %s; %s", session->block, session->error.message,
            moved ? "it is in corrupt/ now" : "it cannot be set aside");
  free(aside);
  if (block_store_removed(options->store, session->block))
    options->lost(options->context, session->block);
}

static void give_piece(struct session *session) {
  if (session->status != 0) {
    if (!is_under(session) && (session->status == ERR_CORRUPT || session->status == ERR_IO))
      set_aside(session);
    respond_error(session);
    end_read(session);
    return;
  }
  session->offset += session->data.size;
  session->left -= session->data.size;
  Rpc__DataResponse response = RPC__DATA_RESPONSE__INIT;
  response.id = session->request_id;
  response.status =
      session->left == 0 ? RPC__DATA_STATUS__DATA_STATUS_DONE : RPC__DATA_STATUS__DATA_STATUS_MORE;
  response.data = (ProtobufCBinaryData){.data = session->data.data, .len = session->data.size};
  response.checksum = checksum(session->data.data, session->data.size);
  response.length = session->length;
  rpc_append(&session->output, RPC_DATA_RESPONSE, &response.base);
  if (session->left == 0)
    end_read(session);
}

/* A session that was closed meanwhile: a block that became durable is kept all the same. */
static void after_job(uv_work_t *work, int cancelled) {
  struct session *session = work->data;
  const enum job job = session->job;
  (void)cancelled;
  session->job = JOB_NONE;
  session->progress_ns = (int64_t)uv_hrtime();
  if (job == JOB_FINISH)
    finished(session);
  else if (job == JOB_READ)
    give_piece(session);
  else if (session->status != 0)
    refuse_write(session);
  session_go_on(session);
}

static void begin_job(struct session *session, enum job job) {
  assert(session->job == JOB_NONE);
  session->job = job;
  session->work.data = session;
  uv_queue_work(session->server->options.loop, &session->work, on_job, after_job);
}

void session_drained(struct session *session) {
  if (session->giving)
    begin_job(session, JOB_READ);
}

/* ---- requests ---- */

static bool begin_write(struct session *session, const Rpc__DataRequest *request) {
  struct data_server_options *options = &session->server->options;
  if (session->taking || request->block == 0)
    return false;
  session->taking = true;
  session->refused = false;
  session->block = request->block;
  session->temporary = block_store_temporary(options->store, session->block);
  session->directory = block_store_directory(options->store, session->block);
  session->path = block_store_path(options->store, session->block);
  session->status = 0;
  if (!options->may_write(options->context, session->error.message, sizeof session->error.message)) {
    session->status = ERR_OVERLOADED;
    refuse_write(session);
  }
  return true;
}

static bool take_piece(struct session *session, const Rpc__DataRequest *request) {
  struct data_server_options *options = &session->server->options;
  if (!session->taking)
    return false;
  if (session->refused)
    return true;
  if (!is_under(session) && !block_store_reserve(options->store, request->data.len)) {
    session->status =
        error_set(&session->error, ERR_NO_SPACE,
                  "it holds %" PRIu64 " of %" PRIu64 " bytes (--capacity): remove files, or add "
                  "a worker",
                  block_store_stored(options->store), block_store_capacity(options->store));
    refuse_write(session);
    return true;
  }
  session->reserved += is_under(session) ? 0 : request->data.len;
  bytes_clear(&session->data);
  bytes_append(&session->data, request->data.data, request->data.len);
  begin_job(session, JOB_ADD);
  return true;
}

static bool finish_write(struct session *session, const Rpc__DataRequest *request) {
  if (!session->taking)
    return false;
  if (session->refused) {
    session->taking = session->refused = false;
    return true;
  }
  session->length = request->length;
  session->sum = request->checksum;
  begin_job(session, JOB_FINISH);
  return true;
}

static bool begin_read(struct session *session, const Rpc__DataRequest *request) {
  struct block_store *store = session->server->options.store;
  if (session->taking)
    return false;
  session->block = request->block;
  session->offset = request->offset;
  session->left = request->length;
  if (!block_store_has(store, request->block)) {
    session->status =
        error_set(&session->error, ERR_NOT_FOUND, "it has no block %" PRIu64, (uint64_t)request->block);
    respond_error(session);
    return true;
  }
  session->path = block_store_path(store, request->block);
  session->giving = true;
  begin_job(session, JOB_READ);
  return true;
}

static bool take_path(struct session *session, const Rpc__DataRequest *request) {
  if (session->taking || request->path.len == 0 || request->path.len > PATH_SIZE_LIMIT)
    return false;
  bytes_clear(&session->under_path);
  bytes_append(&session->under_path, request->path.data, request->path.len);
  return true;
}

static bool begin_under_read(struct session *session, const Rpc__DataRequest *request) {
  if (!take_path(session, request))
    return false;
  session->offset = request->offset;
  session->left = request->length;
  session->giving = true;
  begin_job(session, JOB_READ);
  return true;
}

static bool begin_under_write(struct session *session, const Rpc__DataRequest *request) {
  if (!take_path(session, request))
    return false;
  session->taking = true;
  session->refused = false;
  session->status = 0;
  return true;
}

static bool take_request(struct session *session, const Rpc__DataRequest *request) {
  session->request_id = request->id;
  switch (request->kind) {
  case RPC__DATA_KIND__DATA_KIND_WRITE_BEGIN:
    return begin_write(session, request);
  case RPC__DATA_KIND__DATA_KIND_WRITE_PIECE:
    return take_piece(session, request);
  case RPC__DATA_KIND__DATA_KIND_WRITE_END:
    return finish_write(session, request);
  case RPC__DATA_KIND__DATA_KIND_READ:
    return begin_read(session, request);
  case RPC__DATA_KIND__DATA_KIND_UNDER_READ:
    return begin_under_read(session, request);
  case RPC__DATA_KIND__DATA_KIND_UNDER_WRITE_BEGIN:
    return begin_under_write(session, request);
  default:
    return false;
  }
}

/* `fault`: why the client is not let in, "" when it is. */
static void append_hello(struct session *session, const char *fault) {
  uint64_t cluster, worker;
  block_store_identity(session->server->options.store, &cluster, &worker);
  Rpc__Hello answer = RPC__HELLO__INIT;
  answer.magic = RPC_MAGIC;
  answer.version = RPC_VERSION;
  answer.cluster = cluster;
  answer.error = (char *)(uintptr_t)fault;
  answer.node = worker;
  rpc_append(&session->output, RPC_HELLO, &answer.base);
  session->greeted = true;
  session->ending = fault[0] != '\0';
}

static bool greet(struct session *session, const struct rpc_frame *frame) {
  struct data_server *server = session->server;
  const Rpc__Hello *hello = rpc_unpack(&server->arena, &rpc__hello__descriptor, frame);
  if (!hello || hello->magic != RPC_MAGIC)
    return false;
  uint64_t cluster, worker;
  char fault[160] = "";
  block_store_identity(server->options.store, &cluster, &worker);
  if (hello->version != RPC_VERSION)
    snprintf(fault, sizeof fault, "this worker speaks protocol version %u, the client version %u",
             RPC_VERSION, (unsigned)hello->version);
  else if (hello->cluster != 0 && hello->cluster != cluster)
    snprintf(fault, sizeof fault,
             "this worker belongs to cluster %" PRIu64 ", the client asks for cluster %" PRIu64, cluster,
             (uint64_t)hello->cluster);
  append_hello(session, fault);
  if (session->ending)
    log_warn("a client is refused: %s", fault);
  return true;
}

void session_refuse(struct session *session, const char *why) {
  append_hello(session, why);
}

bool session_dispatch(struct session *session, const struct rpc_frame *frame) {
  struct rpc_arena *arena = &session->server->arena;
  rpc_arena_reset(arena);
  if (!session->greeted)
    return frame->kind == RPC_HELLO && greet(session, frame);
  if (frame->kind != RPC_DATA_REQUEST)
    return false;
  const Rpc__DataRequest *request = rpc_unpack(arena, &rpc__data_request__descriptor, frame);
  return request && take_request(session, request);
}
