/* health.c: whether a node can do its part, and why not. */
#include <inttypes.h>

#include "master/http/http.h"

/* Entries that a node may be behind what it knows to be committed and still be called in step. */
#define LAG_LIMIT 10000

static void problem(struct bytes *problems, const char *text) {
  bytes_append_format(problems, "%s\"%s\"", problems->size > 0 ? ", " : "", text);
}

static void find_problems(struct bytes *problems, const struct observation *seen, enum health asked) {
  const struct primary_status *status = &seen->status;
  if (status->role == ROLE_STEPPING_DOWN)
    problem(problems, "this node is at its end: see its log");
  if (status->journal.leader == 0)
    problem(problems,
            "no primary is known: is a majority of the nodes running, and can they reach each other?");
  if (status->journal.disk_full)
    problem(problems, "the disk of the log is full: nothing can be changed until there is room");
  if (seen->descriptors_short)
    problem(problems,
            "hardly a descriptor is left: new clients are turned away; raise the limit of open files");
  if (asked == HEALTH)
    return;
  if (status->role == ROLE_CATCHING_UP)
    problem(problems, "it will be primary when an entry of its term is committed");
  if (status->journal.snapshots.installing)
    problem(problems, "a snapshot is being installed");
  if (status->applied_index + LAG_LIMIT < status->journal.commit_index)
    problem(problems, "it has yet to apply what is committed");
  if (asked == HEALTH_PRIMARY && status->role != ROLE_PRIMARY)
    problem(problems, "this node is not primary");
}

bool health_write(struct bytes *page, const struct observation *observation, enum health asked) {
  static const char *const names[] = {
      [HEALTH] = "healthy", [HEALTH_READY] = "ready", [HEALTH_PRIMARY] = "primary"};
  const struct journal_status *journal = &observation->status.journal;
  struct bytes problems = {0};
  find_problems(&problems, observation, asked);
  const bool yes = problems.size == 0;
  bytes_append_u8(&problems, 0);
  bytes_append_format(page,
                      "{\"%s\": %s, \"node\": %" PRIu64 ", \"cluster\": %" PRIu64
                      ", \"role\": \"%s\", \"term\": %" PRIu64 ", \"leader\": %" PRIu64
                      ", \"applied\": %" PRIu64 ", \"committed\": %" PRIu64 ", \"problems\": [%s]}\n",
                      names[asked], yes ? "true" : "false", observation->node, observation->cluster,
                      observation_role(observation), journal->term, journal->leader,
                      observation->status.applied_index, journal->commit_index, (const char *)problems.data);
  bytes_free(&problems);
  return yes;
}
