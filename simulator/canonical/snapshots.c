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
  struct snapshot *snapshot;
  const struct snapshot_file *files;
  size_t count;
  uint64_t index, term;
  size_t file; /* that is being read, into content */
  uint64_t offset;
  struct bytes content;
};

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

static void end_get(struct get *get, bool whole) {
  struct canonical *canonical = get->canonical;
  struct raft_io_snapshot_get *request = get->request;
  struct raft_snapshot *snapshot = NULL;
  canonical->opens--;
  if (whole && canonical_runs(canonical))
    snapshot = for_libraft(canonical, &get->content, get->index, get->term);
  bytes_free(&get->content);
  if (get->snapshot)
    canonical->machine->snapshot_close(get->snapshot);
  free(get);
  request->cb(request, snapshot, snapshot ? 0 : RAFT_IOERR);
  canonical_after(canonical);
  canonical_wake(canonical);
}

static size_t next_piece(const struct get *get) {
  const uint64_t left = get->files[get->file].size - get->offset;
  return left < SNAPSHOT_CHUNK ? (size_t)left : SNAPSHOT_CHUNK;
}

static void piece_read(void *owner, int status, const struct error *error);

static void read_more(struct get *get) {
  while (get->file < get->count && get->offset == get->files[get->file].size) {
    get->file++;
    get->offset = 0;
  }
  if (get->file == get->count) {
    end_get(get, true);
    return;
  }
  const size_t size = next_piece(get);
  get->canonical->machine->snapshot_read(get->snapshot, get->file, get->offset,
                                         bytes_reserve(&get->content, size), size, piece_read, get);
}

static void piece_read(void *owner, int status, const struct error *error) {
  struct get *get = owner;
  (void)error;
  if (status != 0 || !canonical_runs(get->canonical)) {
    end_get(get, false);
    return;
  }
  const size_t size = next_piece(get);
  get->content.size += size;
  get->offset += size;
  read_more(get);
}

static void opened_for_sending(void *owner, struct snapshot *snapshot, const struct error *error) {
  struct get *get = owner;
  (void)error;
  get->snapshot = snapshot;
  if (!snapshot || !canonical_runs(get->canonical)) {
    end_get(get, false);
    return;
  }
  get->canonical->machine->snapshot_describe(snapshot, &get->index, &get->term, &get->files, &get->count);
  bytes_append_le64(&get->content, get->index);
  bytes_append_le64(&get->content, get->term);
  bytes_append_varint(&get->content, get->count);
  for (size_t i = 0; i < get->count; i++) {
    bytes_append_string(&get->content, get->files[i].name, strlen(get->files[i].name));
    bytes_append_le64(&get->content, get->files[i].size);
    bytes_append_le64(&get->content, get->files[i].checksum);
  }
  read_more(get);
}

int canonical_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                           raft_io_snapshot_get_cb done) {
  struct canonical *canonical = io->impl;
  struct get *get = xcalloc(1, sizeof *get);
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

/* The buffer, on its way to the state machine. */
struct put {
  struct canonical *canonical;
  struct snapshot_file *files;
  size_t count;
  uint64_t index;
  const unsigned char *data; /* of the files, one after the other */
};

static void free_put(struct put *put) {
  free(put->files);
  free(put);
}

static void refuse_put(struct put *put) {
  struct canonical *canonical = put->canonical;
  free_put(put);
  if (canonical_runs(canonical) && canonical->put) {
    disk_log_abandon(canonical->log);
    end_put(canonical, RAFT_IOERR);
    canonical_after(canonical);
  }
  canonical_wake(canonical);
}

/* The state machine's state is the snapshot's when it says so. */
static void prepared(void *owner, int status, const struct snapshot_range *missing,
                     const struct error *error) {
  struct put *put = owner;
  struct canonical *canonical = put->canonical;
  (void)missing;
  (void)error;
  canonical->opens--;
  struct error refused;
  if (status != 0 || !canonical_runs(canonical) || !canonical->put ||
      put->index <= canonical->applied_index ||
      canonical->machine->receive_install(canonical->machine->context, &refused) != 0) {
    refuse_put(put);
    return;
  }
  canonical->applied_index = put->index;
  free_put(put);
  disk_log_installed(canonical->log, put_written, canonical);
}

static void stored(void *owner, int status, const struct snapshot_range *missing, const struct error *error) {
  struct put *put = owner;
  struct canonical *canonical = put->canonical;
  const struct state_machine *machine = canonical->machine;
  (void)error;
  if (status != 0 || !canonical_runs(canonical) || !canonical->put) {
    canonical->opens--;
    refuse_put(put);
    return;
  }
  if (missing->file >= put->count) {
    machine->receive_prepare(machine->context, prepared, put);
    return;
  }
  const unsigned char *at = put->data + missing->offset;
  for (uint64_t i = 0; i < missing->file; i++)
    at += put->files[i].size;
  const uint64_t left = put->files[missing->file].size - missing->offset;
  machine->receive_write(machine->context, missing->file, missing->offset, at,
                         left < SNAPSHOT_CHUNK ? (size_t)left : SNAPSHOT_CHUNK, stored, put);
}

static int begin_put(struct put *put, uint64_t *term) {
  const struct canonical *canonical = put->canonical;
  struct reader reader = reader_make(canonical->put_data->base, canonical->put_data->len);
  const int status = read_manifest(&reader, &put->index, term, &put->files, &put->count);
  uint64_t size = 0;
  for (size_t i = 0; status == 0 && i < put->count; i++)
    size += put->files[i].size;
  put->data = reader.at;
  return status == 0 && size == reader_left(&reader) && put->index == canonical->put_snapshot.index &&
                 put->index > canonical->applied_index
             ? 0
             : ERR_BAD_INPUT;
}

static void offer_written(void *owner, int status) {
  struct canonical *canonical = owner;
  const struct state_machine *machine = canonical->machine;
  if (!canonical_runs(canonical) || !canonical->put || status != 0)
    return;
  struct put *put = xcalloc(1, sizeof *put);
  put->canonical = canonical;
  uint64_t term;
  if (begin_put(put, &term) != 0) {
    refuse_put(put);
    return;
  }
  canonical->opens++;
  machine->receive_begin(machine->context, put->index, term, put->files, put->count, stored, put);
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
