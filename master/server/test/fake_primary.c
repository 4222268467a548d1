#include "master/server/test/fake_primary.h"

#include <stdlib.h>

void primary_submit(struct primary *primary, const struct request *request, primary_callback *callback,
                    void *context) {
  if (primary->count == primary->capacity) {
    primary->capacity = primary->capacity ? 2 * primary->capacity : 64;
    primary->requests = xrealloc(primary->requests, primary->capacity * sizeof *primary->requests);
  }
  struct fake_request *kept = &primary->requests[primary->count++];
  *kept = (struct fake_request){.request = *request, .callback = callback, .context = context};
  const size_t size = request->path.size < sizeof kept->path - 1 ? request->path.size : sizeof kept->path - 1;
  if (size > 0)
    memcpy(kept->path, request->path.data, size);
  primary->submitted++;
}

struct primary_status primary_status(const struct primary *primary) {
  return primary->status;
}

uint64_t primary_state_hash(struct primary *primary) {
  (void)primary;
  return 4711;
}

const struct state_machine *primary_state_machine(struct primary *primary) {
  return &primary->machine;
}

void primary_checkpoint(struct primary *primary, bool cut,
                        void (*done)(void *context, struct snapshot *snapshot, uint64_t index,
                                     const struct error *error),
                        void *context) {
  primary->cut = cut;
  primary->checkpoint = done;
  primary->checkpoint_context = context;
}

void fake_primary_answer_all(struct primary *primary, const struct answer *answer) {
  const size_t count = primary->count;
  for (size_t i = 0; i < count; i++)
    primary->requests[i].callback(primary->requests[i].context, answer);
  primary->count = 0;
}

void fake_primary_free(struct primary *primary) {
  fake_primary_answer_all(primary, &(struct answer){.status = STATUS_UNAVAILABLE});
  free(primary->requests);
}

struct journal *primary_journal(const struct primary *primary) {
  (void)primary;
  return NULL;
}
