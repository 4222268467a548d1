/* roster.c: see roster.h. */
#include "nemesis/roster.h"

void roster_home(struct roster *roster) {
  roster->leader = -1;
  for (size_t i = 0; i < roster->nodes; i++) {
    roster->wanted[i] = i < roster->founders ? SEAT_VOTER : SEAT_NONE;
    roster->stops[i] = i >= roster->founders;
  }
}

bool roster_needs(const struct members *seen, const bool *runs, size_t nodes, size_t voter) {
  size_t others = 0, running = 0;
  for (size_t i = 0; i < nodes; i++)
    if (i != voter && seen->seats[i] == SEAT_VOTER) {
      others++;
      running += runs[i];
    }
  return others == 0 || running < others / 2 + 1;
}

static struct roster_step step(enum deed deed, size_t node) {
  return (struct roster_step){.deed = deed, .node = node};
}

static struct roster_step wait_because(const char *why) {
  return (struct roster_step){.deed = DEED_WAIT, .why = why};
}

/* A voter that will stay one, to lead in place of `not`. */
static bool find_heir(const struct roster *roster, const struct members *seen,
                      const struct roster_nodes *nodes, size_t not, size_t *heir) {
  for (size_t i = 0; i < roster->nodes; i++)
    if (i != not &&seen->seats[i] == SEAT_VOTER && roster->wanted[i] == SEAT_VOTER && nodes->runs[i] &&
        !roster->bare[i]) {
      *heir = i;
      return true;
    }
  return false;
}

/* Takes the vote, or the seat, of a voter. */
static struct roster_step take_down(const struct roster *roster, const struct members *seen,
                                    const struct roster_nodes *nodes, size_t node, enum deed deed) {
  size_t heir;
  if (roster_needs(seen, nodes->runs, roster->nodes, node))
    return wait_because("without that voter too few others run");
  if (seen->leader != (int)node)
    return step(deed, node);
  return find_heir(roster, seen, nodes, node, &heir) ? step(DEED_ELECT, heir)
                                                     : wait_because("there is no voter to hand over to");
}

/* Who shall be more than it is. */
static struct roster_step raise_up(const struct members *seen, const struct roster_nodes *nodes,
                                   size_t node) {
  const enum seat has = seen->seats[node];
  if (nodes->off[node])
    return step(DEED_START, node);
  if (has == SEAT_NONE)
    return step(DEED_ADD, node);
  return nodes->runs[node] ? step(DEED_PROMOTE, node) : wait_because("the node to be promoted does not run");
}

static struct roster_step lower(const struct roster *roster, const struct members *seen,
                                const struct roster_nodes *nodes, size_t node) {
  const enum deed deed = roster->wanted[node] == SEAT_NONE ? DEED_REMOVE : DEED_DEMOTE;
  return seen->seats[node] == SEAT_VOTER ? take_down(roster, seen, nodes, node, deed) : step(deed, node);
}

struct roster_step roster_next(const struct roster *roster, const struct members *seen,
                               const struct roster_nodes *nodes) {
  if (!seen->committed)
    return wait_because("a change of membership is not committed");
  for (size_t i = 0; i < roster->nodes; i++)
    if (roster->bare[i] && seen->seats[i] != SEAT_NONE)
      return seen->seats[i] == SEAT_VOTER ? take_down(roster, seen, nodes, i, DEED_REMOVE)
                                          : step(DEED_REMOVE, i);
  for (size_t i = 0; i < roster->nodes; i++)
    if (roster->wanted[i] > seen->seats[i] || (roster->wanted[i] != SEAT_NONE && nodes->off[i]))
      return raise_up(seen, nodes, i);
  for (size_t i = 0; i < roster->nodes; i++)
    if (roster->wanted[i] < seen->seats[i])
      return lower(roster, seen, nodes, i);
  for (size_t i = 0; i < roster->nodes; i++)
    if (roster->wanted[i] == SEAT_NONE && roster->stops[i] && !nodes->off[i])
      return step(DEED_STOP, i);
  if (roster->leader >= 0 && seen->leader != roster->leader)
    return step(DEED_ELECT, (size_t)roster->leader);
  return step(DEED_NONE, 0);
}
