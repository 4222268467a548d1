/* primary_reads.c: linearizable reads without the log (Ongaro 2014, §6.4).
 *
 * A read may be answered from the committed tables when, after it arrived, a majority confirmed that this
 * node still leads, and the tables have what was committed when they were asked. All reads that wait when a
 * round begins share it; a read that comes later needs a later round. The first condition of §6.4, an entry
 * of the own term committed, holds in ROLE_PRIMARY. */
#include <assert.h>
#include <stdlib.h>

#include "master/bugs.h"
#include "master/primary_internal.h"

#define ROUNDS_LIMIT 2 /* confirmations on their way; reads that come meanwhile gather for the next */

static void answer_read(struct primary *primary, struct pending *read) {
  struct answer answer;
  namespace_read(primary->tables, &read->request, &answer, &primary->listing);
  if (!primary_check_tables(primary)) {
    primary_reply(primary, read, STATUS_UNAVAILABLE);
    return;
  }
  answer.term = primary->term;
  answer.commit = tables_applied(primary->tables)->index;
  answer.leader = primary->leader;
  primary_deliver(primary, read, &answer);
}

static void answer_reads(struct primary *primary, struct pending_list reads) {
  for (struct pending *read; (read = pending_pop(&reads));)
    answer_read(primary, read);
  tables_trim(primary->tables);
}

static void confirmed(void *context, int status, uint64_t read_index) {
  struct read_round *round = context;
  struct primary *primary = round->primary;
  assert(!round->confirmed);
  round->confirmed = true;
  round->read_index = read_index;
  primary->rounds_unconfirmed--;
  if (status != 0)
    primary_reply_all(primary, &round->reads, STATUS_NOT_PRIMARY);
  primary_finish_reads(primary);
  if (primary->reads.first)
    primary_schedule(primary);
}

void primary_start_reads(struct primary *primary) {
  assert(primary->role == ROLE_PRIMARY);
  if (!primary->reads.first || primary->rounds_unconfirmed >= ROUNDS_LIMIT)
    return;
  const struct pending_list reads = primary->reads;
  primary->reads = (struct pending_list){0};
  if (bug_active(BUG_LOCAL_READS)) {
    answer_reads(primary, reads);
    return;
  }
  struct read_round *round = xcalloc(1, sizeof *round);
  round->primary = primary;
  round->reads = reads;
  struct read_round **at = &primary->rounds;
  while (*at)
    at = &(*at)->next;
  *at = round;
  primary->rounds_unconfirmed++;
  primary->journal->functions->confirm(primary->journal, confirmed, round);
}

void primary_finish_reads(struct primary *primary) {
  const uint64_t applied = tables_applied(primary->tables)->index;
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

/* Rounds on their way stay, empty, until their confirmation comes. */
void primary_drop_reads(struct primary *primary, enum answer_status status) {
  primary_reply_all(primary, &primary->reads, status);
  for (struct read_round *round = primary->rounds; round; round = round->next)
    primary_reply_all(primary, &round->reads, status);
}
