/* primary_defects.c: the longer ones of the primary's named defects, docs/bugs.md. */
#include "master/bugs.h"

#ifdef ASSAY_BUGS

#include "master/primary_internal.h"

/* The defect dirty-reads: the primary's own memory is the truth, and what stands there is answered, whatever
 * becomes of its entry. */
void primary_answer_dirty_reads(struct primary *primary) {
  struct pending_list reads = primary->reads;
  primary->reads = (struct pending_list){0};
  for (struct pending *read; (read = pending_pop(&reads));) {
    struct answer answer;
    if (!namespace_read_uncommitted(&primary->space, &read->request, &answer, &primary->listing)) {
      pending_push(&primary->reads, read);
      continue;
    }
    answer.term = primary->term;
    answer.leader = primary->leader;
    primary_deliver(primary, read, &answer);
  }
}

/* The defect snapshot-back: a primary that was deposed starts over from its last snapshot, and forgets to
 * have the entries behind it applied again. */
void primary_go_back(struct primary *primary) {
  struct error error;
  if (tables_go_back(primary->tables, &error) != 0)
    primary_fail(primary, &error);
}

/* -- rename-early-free, delete-not-atomic: an operation in several steps -- */

bool primary_postpone_rename(struct primary *primary, struct pending *pending) {
  /* With an entry in flight the rename's own would have to wait; until then the name is free. */
  const bool busy = primary->flights || overlay_open_size(primary->overlay) > 0;
  if (pending->request.code != OP_RENAME || !busy ||
      !namespace_free_early(&primary->space, &pending->request))
    return false;
  pending_push(&primary->defects.postponed, pending);
  return true;
}

void primary_resume_postponed(struct primary *primary) {
  for (struct pending *pending; (pending = pending_pop(&primary->defects.postponed));)
    pending_push(&primary->queue, pending);
}

/* -- partial-batch -- */

void primary_cut_batch(void *context) {
  struct primary *primary = context;
  struct primary_defects *defects = &primary->defects;
  if (defects->first_part || defects->torn)
    return;
  primary_encode_batch(primary, &defects->first_bytes);
  defects->first_part = primary->open;
  defects->first_part->first_part = true;
  primary->open = NULL;
}

bool primary_first_part_committed(struct primary *primary) {
  struct primary_defects *defects = &primary->defects;
  if (!defects->first_part)
    return !primary->flights_end || !primary->flights_end->first_part;
  if (primary->journal->functions->append(primary->journal, defects->first_bytes.data,
                                          defects->first_bytes.size, defects->first_part) != 0)
    return false; /* tried again with the next request */
  primary_push_flight(primary, defects->first_part);
  bytes_clear(&defects->first_bytes);
  defects->first_part = NULL;
  defects->torn = true;
  return false;
}

void primary_drop_first_part(struct primary *primary, enum answer_status status) {
  struct primary_defects *defects = &primary->defects;
  if (defects->first_part) {
    primary_reply_all(primary, &defects->first_part->waiters, status);
    primary_flight_free(defects->first_part);
  }
  defects->first_part = NULL;
  defects->torn = false;
  bytes_clear(&defects->first_bytes);
}

/* -- step-down-late, old-primary-writes, lease-clock: a primary that was deposed, and has yet to act on it --
 */

#define LINGER_NS (500 * NS_PER_MS) /* after it heard of the next one */

void primary_note_role(struct primary *primary, enum journal_role role, bool deposed) {
  struct primary_defects *defects = &primary->defects;
  const int64_t until_ns = primary->world->now_ns(primary->world->context) + LINGER_NS;
  if (deposed)
    defects->deposed_until_ns = INT64_MAX;
  if (role == JOURNAL_LEADER)
    defects->deposed_until_ns = 0;
  else if (primary->leader != 0 && until_ns < defects->deposed_until_ns)
    defects->deposed_until_ns = until_ns;
}

bool primary_holds_lease(const struct primary *primary) {
  return bug_active(BUG_LEASE_CLOCK) &&
         primary->world->wall_ns(primary->world->context) < primary->defects.lease_until_ns;
}

bool primary_lingers(const struct primary *primary, const struct request *request) {
  const bool is_read = op_is_read(request->code);
  if (is_read && primary_holds_lease(primary))
    return true;
  return bug_active(is_read ? BUG_STEP_DOWN_LATE : BUG_OLD_PRIMARY_WRITES) &&
         primary->world->now_ns(primary->world->context) < primary->defects.deposed_until_ns;
}

/* Appends what waits as if it still led, and tells whoever waits for it that it is done: its own journal has
 * it.
 */
static void append_deposed(struct primary *primary) {
  primary_fill_batch(primary);
  if (overlay_open_size(primary->overlay) == 0)
    return;
  primary_seal_batch(primary);
  struct flight *flight = primary->open;
  primary->open = NULL;
  if (primary->journal->functions->append(primary->journal, primary->unsent.data, primary->unsent.size,
                                          flight) != 0)
    primary_reply_all(primary, &flight->waiters, STATUS_NOT_PRIMARY);
  for (struct pending *pending; (pending = pending_pop(&flight->waiters));)
    pending_push(&primary->replies, pending);
  primary_flight_free(flight);
  bytes_clear(&primary->unsent);
  namespace_reset(&primary->space);
}

void primary_linger(struct primary *primary) {
  if (primary_lingers(primary, &(struct request){.code = OP_STAT}))
    primary_answer_unconfirmed(primary);
  while (primary->queue.first || primary->retried.first)
    append_deposed(primary);
}

#endif
