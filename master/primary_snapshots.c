/* primary_snapshots.c: the journal's snapshot hooks, on the tables and their store. */
#include <assert.h>
#include <stdlib.h>

#include "master/primary_internal.h"

struct snapshot {
  struct row_store *store;
  struct store_checkpoint *checkpoint;
  uint64_t index, term;
};

struct snapshot_request {
  struct primary *primary;
  void (*done)(void *context, struct snapshot *snapshot, const struct error *error);
  void *context;
};

static void snapshot_close(struct snapshot *snapshot) {
  snapshot->store->functions->checkpoint_close(snapshot->store, snapshot->checkpoint);
  free(snapshot);
}

static void checkpoint_taken(void *context, struct store_checkpoint *checkpoint, uint64_t index,
                             uint64_t term, const struct error *error) {
  struct snapshot_request request = *(struct snapshot_request *)context;
  free(context);
  struct snapshot *snapshot = NULL;
  if (checkpoint) {
    snapshot = xmalloc(sizeof *snapshot);
    *snapshot = (struct snapshot){
        .store = request.primary->store, .checkpoint = checkpoint, .index = index, .term = term};
  }
  if (!request.primary->freed)
    request.done(request.context, snapshot, error);
  else if (snapshot)
    snapshot_close(snapshot); /* the journal that asked is gone */
}

static void snapshot_open(void *context,
                          void (*done)(void *done_context, struct snapshot *snapshot,
                                       const struct error *error),
                          void *done_context) {
  struct primary *primary = context;
  struct snapshot_request *request = xmalloc(sizeof *request);
  *request = (struct snapshot_request){primary, done, done_context};
  tables_checkpoint(primary->tables, checkpoint_taken, request);
}

struct checkpoint_asked {
  struct primary *primary;
  bool cut;
  void (*done)(void *context, struct snapshot *snapshot, uint64_t index, const struct error *error);
  void *context;
};

static void asked_checkpoint_taken(void *context, struct store_checkpoint *checkpoint, uint64_t index,
                                   uint64_t term, const struct error *error) {
  struct checkpoint_asked asked = *(struct checkpoint_asked *)context;
  struct primary *primary = asked.primary;
  free(context);
  if (!checkpoint) {
    asked.done(asked.context, NULL, 0, error);
    return;
  }
  struct snapshot *snapshot = xmalloc(sizeof *snapshot);
  *snapshot =
      (struct snapshot){.store = primary->store, .checkpoint = checkpoint, .index = index, .term = term};
  if (asked.cut && primary->journal && !primary->freed && primary->journal->functions->cut)
    primary->journal->functions->cut(primary->journal);
  asked.done(asked.context, snapshot, index, NULL);
}

void primary_checkpoint(struct primary *primary, bool cut,
                        void (*done)(void *context, struct snapshot *snapshot, uint64_t index,
                                     const struct error *error),
                        void *context) {
  struct checkpoint_asked *asked = xmalloc(sizeof *asked);
  *asked = (struct checkpoint_asked){primary, cut, done, context};
  tables_checkpoint(primary->tables, asked_checkpoint_taken, asked);
}

static void snapshot_describe(struct snapshot *snapshot, uint64_t *index, uint64_t *term,
                              const struct snapshot_file **files, size_t *file_count) {
  *index = snapshot->index;
  *term = snapshot->term;
  *files = snapshot->checkpoint->files;
  *file_count = snapshot->checkpoint->file_count;
}

static void snapshot_read(struct snapshot *snapshot, size_t file, uint64_t offset, void *buffer, size_t size,
                          snapshot_read_done *done, void *owner) {
  snapshot->store->functions->checkpoint_read(snapshot->store, snapshot->checkpoint, file, offset, buffer,
                                              size, done, owner);
}

static void make_durable(void *context) {
  const struct primary *primary = context;
  tables_make_durable(primary->tables);
}

static void receive_begin(void *context, uint64_t index, uint64_t term, const struct snapshot_file *files,
                          size_t file_count, snapshot_receive_done *done, void *owner) {
  (void)term;
  const struct primary *primary = context;
  primary->store->functions->receive_begin(primary->store, index, files, file_count, done, owner);
}

static void receive_write(void *context, uint64_t file, uint64_t offset, const void *data, size_t size,
                          snapshot_receive_done *done, void *owner) {
  const struct primary *primary = context;
  primary->store->functions->receive_write(primary->store, file, offset, data, size, done, owner);
}

static void receive_prepare(void *context, snapshot_receive_done *done, void *owner) {
  const struct primary *primary = context;
  primary->store->functions->receive_prepare(primary->store, done, owner);
}

static int receive_install(void *context, struct error *error) {
  struct primary *primary = context;
  assert(primary->role != ROLE_PRIMARY && overlay_is_empty(primary->overlay));
  const int status = tables_install(primary->tables, error);
  primary_schedule(primary); /* reads may have waited for what it brought */
  return status;
}

static void receive_forget(void *context, uint64_t index) {
  const struct primary *primary = context;
  primary->store->functions->receive_forget(primary->store, index);
}

void primary_snapshot_hooks(struct state_machine *machine) {
  machine->snapshot_open = snapshot_open;
  machine->snapshot_describe = snapshot_describe;
  machine->snapshot_read = snapshot_read;
  machine->snapshot_close = snapshot_close;
  machine->make_durable = make_durable;
  machine->receive_begin = receive_begin;
  machine->receive_write = receive_write;
  machine->receive_prepare = receive_prepare;
  machine->receive_install = receive_install;
  machine->receive_forget = receive_forget;
}
