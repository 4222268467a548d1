/* snapshots.c: libraft 0.15's snapshots, from and to the state machine.
 *
 * A local snapshot, for cutting the log, holds nothing: the state machine's own tables are it, once they are
 * durable up to its index. One for a follower is collected into the single buffer that libraft sends:
 *
 *   ┌───────┬──────┬───────────────────────────────┬──────────┬──────────┐
 *   │ index │ term │ count, (name, size, checksum) │ file 0   │ file 1   │ …
 *   └───────┴──────┴───────────────────────────────┴──────────┴──────────┘
 *
 * and is installed between two records of the log, so that a restart knows which of the two states, the log's
 * or the installed one, the state machine is in. */
#include <assert.h>
#include <stdlib.h>

#include "simulator/canonical/canonical.h"

#define FILES_LIMIT 65536

/* -- for a follower ------------------------------------------------------------------------------------- */

struct get {
  struct canonical *canonical;
  struct raft_io_snapshot_get *request;
};

static int read_file(const struct state_machine *machine, struct snapshot *snapshot, size_t file,
                     uint64_t size, struct bytes *to) {
  struct error error;
  for (uint64_t at = 0; at < size; at += SNAPSHOT_CHUNK) {
    const size_t piece = size - at < SNAPSHOT_CHUNK ? (size_t)(size - at) : SNAPSHOT_CHUNK;
    if (machine->snapshot_read(snapshot, file, at, bytes_reserve(to, piece), piece, &error) != 0)
      return error.code;
    to->size += piece;
  }
  return 0;
}

static int collect(struct canonical *canonical, struct snapshot *snapshot, struct bytes *to, uint64_t *index,
                   uint64_t *term) {
  const struct state_machine *machine = canonical->machine;
  const struct snapshot_file *files;
  size_t count;
  machine->snapshot_describe(snapshot, index, term, &files, &count);
  bytes_append_le64(to, *index);
  bytes_append_le64(to, *term);
  bytes_append_varint(to, count);
  for (size_t i = 0; i < count; i++) {
    bytes_append_string(to, files[i].name, strlen(files[i].name));
    bytes_append_le64(to, files[i].size);
    bytes_append_le64(to, files[i].checksum);
  }
  int status = 0;
  for (size_t i = 0; status == 0 && i < count; i++)
    status = read_file(machine, snapshot, i, files[i].size, to);
  return status;
}

static struct raft_snapshot *for_libraft(struct canonical *canonical, const struct bytes *content,
                                         uint64_t index, uint64_t term) {
  struct raft_snapshot *snapshot = raft_calloc(1, sizeof *snapshot);
  snapshot->index = index;
  snapshot->term = term;
  snapshot->configuration_index = canonical->raft.configuration_index;
  struct bytes configuration = {0};
  canonical_encode_configuration(&canonical->raft.configuration, &configuration);
  const int status =
      canonical_decode_configuration(configuration.data, configuration.size, &snapshot->configuration);
  assert(status == 0);
  bytes_free(&configuration);
  snapshot->bufs = raft_calloc(1, sizeof *snapshot->bufs);
  snapshot->n_bufs = 1;
  snapshot->bufs[0].base = raft_malloc(content->size);
  snapshot->bufs[0].len = content->size;
  memcpy(snapshot->bufs[0].base, content->data, content->size);
  return snapshot;
}

static void opened_for_sending(void *owner, struct snapshot *snapshot, const struct error *error) {
  const struct get get = *(struct get *)owner;
  struct canonical *canonical = get.canonical;
  (void)error;
  free(owner);
  canonical->opens--;
  struct bytes content = {0};
  uint64_t index, term;
  struct raft_snapshot *whole = NULL;
  if (snapshot && canonical_runs(canonical) && collect(canonical, snapshot, &content, &index, &term) == 0)
    whole = for_libraft(canonical, &content, index, term);
  bytes_free(&content);
  if (snapshot)
    canonical->machine->snapshot_close(snapshot);
  get.request->cb(get.request, whole, whole ? 0 : RAFT_IOERR);
  canonical_after(canonical);
  canonical_wake(canonical);
}

int canonical_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                           raft_io_snapshot_get_cb done) {
  struct canonical *canonical = io->impl;
  struct get *get = xmalloc(sizeof *get);
  *get = (struct get){.canonical = canonical, .request = request};
  request->cb = done;
  canonical->opens++;
  canonical->machine->snapshot_open(canonical->machine->context, opened_for_sending, get);
  return 0;
}

/* -- from a leader -------------------------------------------------------------------------------------- */

static void end_put(struct canonical *canonical, int status) {
  struct raft_io_snapshot_put *request = canonical->put;
  canonical->put = NULL;
  canonical->put_data = NULL;
  canonical->put_writing = false;
  request->cb(request, status);
}

static void put_written(void *owner, int status) {
  struct canonical *canonical = owner;
  if (!canonical_runs(canonical) || !canonical->put)
    return;
  end_put(canonical, status == 0 ? 0 : RAFT_IOERR);
  canonical_after(canonical);
}

static int read_manifest(struct reader *reader, uint64_t *index, uint64_t *term, struct snapshot_file **files,
                         size_t *count) {
  *index = reader_le64(reader);
  *term = reader_le64(reader);
  *count = (size_t)reader_varint(reader);
  if (reader->failed || *count > FILES_LIMIT)
    return ERR_CORRUPT;
  *files = xcalloc(*count + 1, sizeof **files);
  for (size_t i = 0; i < *count; i++) {
    struct snapshot_file *file = &(*files)[i];
    size_t size;
    const unsigned char *name = reader_string(reader, &size);
    if (reader->failed || size >= sizeof file->name) {
      reader->failed = true;
      break;
    }
    memcpy(file->name, name, size);
    file->size = reader_le64(reader);
    file->checksum = reader_le64(reader);
  }
  return reader->failed ? ERR_CORRUPT : 0;
}

static int receive_file(const struct state_machine *machine, struct reader *reader, size_t file,
                        uint64_t size, struct error *error) {
  for (uint64_t at = 0; at < size; at += SNAPSHOT_CHUNK) {
    const size_t piece = size - at < SNAPSHOT_CHUNK ? (size_t)(size - at) : SNAPSHOT_CHUNK;
    const unsigned char *data = reader_bytes(reader, piece);
    if (reader->failed)
      return ERR_CORRUPT;
    const int status = machine->receive_write(machine->context, file, at, data, piece, error);
    if (status != 0)
      return status;
  }
  return 0;
}

/* Hands the buffer to the state machine; its state is the snapshot's when this returns 0. */
static int install(struct canonical *canonical) {
  const struct state_machine *machine = canonical->machine;
  struct reader reader = reader_make(canonical->put_data->base, canonical->put_data->len);
  struct snapshot_file *files = NULL;
  uint64_t index, term;
  size_t count = 0;
  struct error error;
  int status = read_manifest(&reader, &index, &term, &files, &count);
  if (status == 0 && (index != canonical->put_snapshot.index || index <= canonical->applied_index))
    status = ERR_BAD_INPUT;
  if (status == 0)
    status = machine->receive_begin(machine->context, index, term, files, count, &error);
  for (size_t i = 0; status == 0 && i < count; i++)
    status = receive_file(machine, &reader, i, files[i].size, &error);
  if (status == 0)
    status = machine->receive_install(machine->context, &error);
  free(files);
  if (status == 0)
    canonical->applied_index = index;
  return status;
}

static void offer_written(void *owner, int status) {
  struct canonical *canonical = owner;
  if (!canonical_runs(canonical) || !canonical->put || status != 0)
    return;
  if (install(canonical) == 0) {
    disk_log_installed(canonical->log, put_written, canonical);
    return;
  }
  disk_log_abandon(canonical->log);
  end_put(canonical, RAFT_IOERR);
  canonical_after(canonical);
}

/* -- for cutting the log -------------------------------------------------------------------------------- */

int canonical_fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *buffers[], unsigned *count) {
  (void)fsm;
  *buffers = raft_calloc(1, sizeof **buffers);
  *count = 1;
  return 0;
}

int canonical_fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buffer) {
  (void)fsm;
  raft_free(buffer->base); /* libraft gives it away; the state machine has what it held */
  return 0;
}

static void opened_for_forcing(void *owner, struct snapshot *snapshot, const struct error *error) {
  struct canonical *canonical = owner;
  (void)error;
  canonical->opens--;
  canonical->forcing = false;
  if (snapshot)
    canonical->machine->snapshot_close(snapshot);
  canonical_wake(canonical);
}

void canonical_snapshot_progress(struct canonical *canonical) {
  if (!canonical->put || canonical->put_data || canonical->put_writing)
    return;
  const struct logged_snapshot *snapshot = &canonical->put_snapshot;
  uint64_t index, term;
  canonical->machine->durable(canonical->machine->context, &index, &term);
  if (index >= snapshot->index) {
    canonical->put_writing = true;
    const uint64_t base =
        snapshot->index > canonical->put_trailing ? snapshot->index - canonical->put_trailing : 0;
    disk_log_compact(canonical->log, snapshot, base, put_written, canonical);
  } else if (!canonical->forcing && canonical->applied_index >= snapshot->index) {
    canonical->forcing = true;
    canonical->opens++;
    canonical->machine->snapshot_open(canonical->machine->context, opened_for_forcing, canonical);
  }
}

int canonical_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *request,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done) {
  struct canonical *canonical = io->impl;
  struct logged_snapshot *put = &canonical->put_snapshot;
  assert(!canonical->put);
  request->cb = done;
  canonical->put = request;
  canonical->put_trailing = trailing;
  put->index = snapshot->index;
  put->term = snapshot->term;
  put->configuration_index = snapshot->configuration_index;
  bytes_clear(&put->configuration);
  canonical_encode_configuration(&snapshot->configuration, &put->configuration);
  if (snapshot == &canonical->raft.snapshot.pending) {
    canonical_wake(canonical);
    return 0;
  }
  canonical->put_data = &snapshot->bufs[0];
  canonical->next_index = snapshot->index + 1;
  disk_log_offer(canonical->log, put, offer_written, canonical);
  return 0;
}

void canonical_end_snapshots(struct canonical *canonical) {
  if (canonical->put)
    end_put(canonical, RAFT_CANCELED);
}
