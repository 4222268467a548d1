/* primary_reads.c: linearizable reads without the log (Ongaro 2014, §6.4).
 *
 * A read may be answered from the committed tables when, after it arrived, a majority confirmed that this
 * node still leads, and the tables have what was committed when they were asked. All reads that wait when a
 * round begins share it; a read that comes later needs a later round. The first condition of §6.4, an entry
 * of the own term committed, holds in ROLE_PRIMARY.
 *
 * A standby answers reads that allow it (request.any) in the same way: its journal has the leader confirm.
 * Its tables may be behind the read index, and it waits; they may be ahead of it, which is no harm: what is
 * applied anywhere is committed, so later reads see it too. Nothing else of a standby's state matters, and a
 * read that was confirmed may be answered in whatever role the node is by then. */
#include <assert.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "master/primary_internal.h"

#define ROUNDS_LIMIT 2 /* confirmations on their way; reads that come meanwhile gather for the next */

/* A read that misses something is evaluated again later. What the tables hold then was committed later than
 * what it had to see. */
static void answer_read(struct primary *primary, struct pending *read) {
  struct answer answer;
  tables_try(primary->tables, read->wait);
  namespace_read(primary->tables, &read->request, &answer, &primary->listing);
  if (primary_park(primary, read) || primary_await_load(primary, &primary->listing.unloaded, read))
    return;
  if (!primary_check_tables(primary)) {
    primary_reply(primary, read, STATUS_UNAVAILABLE);
    return;
  }
  primary_answer_workers(primary, &read->request, &answer);
  answer.term = primary->term;
  answer.commit = tables_applied(primary->tables)->index;
  answer.leader = primary->leader;
  primary->statistics.standby_reads += primary->role != ROLE_PRIMARY;
  primary_deliver(primary, read, &answer);
}

static void answer_reads(struct primary *primary, struct pending_list reads) {
  for (struct pending *read; (read = pending_pop(&reads));)
    answer_read(primary, read);
  tables_trim(primary->tables);
}

static void retry_reads(struct primary *primary) {
  if (!primary->retried_reads.first || (bug_active(BUG_PARTIAL_BATCH) && primary->defects.torn))
    return;
  const struct pending_list reads = primary->retried_reads;
  primary->retried_reads = (struct pending_list){0};
  answer_reads(primary, reads);
}

#ifdef ASSAY_BUGS
void primary_answer_unconfirmed(struct primary *primary) {
  const struct pending_list reads = primary->reads;
  primary->reads = (struct pending_list){0};
  answer_reads(primary, reads);
}
#endif

/* The defect lease-clock: for this long after a confirmation was asked for, by the wall clock, nobody else is
 * believed to lead. */
#define LEASE_NS (100 * NS_PER_MS)

static int64_t wall_ns(const struct primary *primary) {
  return primary->world->wall_ns(primary->world->context);
}

static void extend_lease(struct primary *primary, const struct read_round *round) {
  if (primary->role == ROLE_PRIMARY)
    primary->defects.lease_until_ns = round->begun_wall_ns + LEASE_NS;
}

#ifdef ASSAY_BUGS
/* The defect stale-worker-report. */
static void answer_reports(struct primary *primary) {
  struct pending_list reads = primary->reads, reports = {0};
  primary->reads = (struct pending_list){0};
  for (struct pending *read; (read = pending_pop(&reads));)
    pending_push(read->request.code == OP_WORKER_REPORT ? &reports : &primary->reads, read);
  answer_reads(primary, reports);
}
#else
#define answer_reports(primary) (void)(primary)
#endif

static bool needs_no_confirmation(const struct primary *primary) {
  if (primary->role == ROLE_STANDBY)
    return bug_active(BUG_FOLLOWER_LOCAL_READS);
  return bug_active(BUG_LOCAL_READS) || (bug_active(BUG_LEASE_CLOCK) && primary_holds_lease(primary));
}

static void confirmed(void *context, int status, uint64_t read_index) {
  struct read_round *round = context;
  struct primary *primary = round->primary;
  assert(!round->confirmed);
  round->confirmed = true;
  primary->turn_ns = primary->world->now_ns(primary->world->context);
  round->read_index = read_index;
  primary->rounds_unconfirmed--;
  if (status != 0)
    primary_reply_all(primary, &round->reads, STATUS_NOT_PRIMARY);
  else if (bug_active(BUG_LEASE_CLOCK))
    extend_lease(primary, round);
  primary_finish_reads(primary);
  if (primary->reads.first)
    primary_schedule(primary);
}

static void start_reads(struct primary *primary) {
  if (bug_active(BUG_DIRTY_READS) && primary->role == ROLE_PRIMARY)
    primary_answer_dirty_reads(primary);
  if (bug_any_active() && needs_no_confirmation(primary))
    primary_answer_unconfirmed(primary);
  if (bug_active(BUG_STALE_WORKER_REPORT))
    answer_reports(primary);
  if (!primary->reads.first || primary->rounds_unconfirmed >= ROUNDS_LIMIT)
    return;
  const struct pending_list reads = primary->reads;
  primary->reads = (struct pending_list){0};
  struct read_round *round = xcalloc(1, sizeof *round);
  round->primary = primary;
  round->reads = reads;
  if (bug_active(BUG_LEASE_CLOCK))
    round->begun_wall_ns = wall_ns(primary);
  struct read_round **at = &primary->rounds;
  while (*at)
    at = &(*at)->next;
  *at = round;
  primary->rounds_unconfirmed++;
  primary->journal->functions->confirm(primary->journal, confirmed, round);
}

void primary_finish_reads(struct primary *primary) {
  const bool waits = !bug_active(BUG_READ_UNAPPLIED) || primary->role != ROLE_STANDBY;
  const uint64_t applied = waits ? tables_applied(primary->tables)->index : UINT64_MAX;
  if (bug_active(BUG_PARTIAL_BATCH) && primary->defects.torn)
    return; /* who is here sees operations whole */
  for (struct read_round **at = &primary->rounds; *at;) {
    struct read_round *round = *at;
    if (!round->confirmed || (round->reads.first && applied < round->read_index)) {
      at = &round->next;
      continue;
    }
    *at = round->next;
    const struct pending_list reads = round->reads;
    free(round);
    answer_reads(primary, reads);
  }
}

void primary_advance_reads(struct primary *primary) {
  if (primary->role == ROLE_PRIMARY || primary->role == ROLE_STANDBY)
    start_reads(primary);
  if (primary->role == ROLE_STANDBY)
    primary_finish_reads(primary); /* a snapshot may have brought what they wait for */
  retry_reads(primary);
}

/* Rounds on their way stay, empty, until their confirmation comes. */
void primary_drop_reads(struct primary *primary, enum answer_status status) {
  primary_reply_all(primary, &primary->reads, status);
  for (struct read_round *round = primary->rounds; round; round = round->next)
    primary_reply_all(primary, &round->reads, status);
}
