/* membership.c: who the members of the journal are and who leads, as the masters tell by `assay admin`; which
 * processes there are; and what is left of a file that was put beside a node's data. */
#include <signal.h>
#include <string.h>

#include "nemesis/test/inside.h"
#include "nemesis/test/table/masters.h"
#include "nemesis/test/table/table.h"

#define SPARE BED_NODES
#define REJOIN_NS (60 * NS_PER_S)

static size_t target_of(const struct bed *bed) {
  size_t node = 0;
  while (node < SPARE && !bed_is_target(bed, node))
    node++;
  return node;
}

static size_t count(const struct members *members, enum seat seat) {
  size_t found = 0;
  for (size_t i = 0; i < CLUSTER_NODES_MAX; i++)
    found += members->seats[i] == seat;
  return found;
}

/* Founders that run as the same process as ever. */
static size_t same_processes(const struct bed *bed) {
  size_t same = 0;
  for (size_t i = 0; i < BED_NODES; i++)
    same += cluster_node_pid(bed->cluster, i) == bed->pids[i] && kill(bed->pids[i], 0) == 0;
  return same;
}

static bool spare_runs(const struct bed *bed) {
  return cluster_size(bed->cluster) > SPARE && cluster_node_pid(bed->cluster, SPARE) >= 0;
}

/* "5 voters, 0 standbys, n2 leads". */
static void found(struct row *row, enum phase phase, bool holds, const struct members *members) {
  row_found(row, phase, holds, "%zu vote, %zu stand by, n%d leads", count(members, SEAT_VOTER),
            count(members, SEAT_STANDBY), members->leader + 1);
}

/* Before and after: the five founders vote, nobody else is a member or runs. */
static void measure_home(struct bed *bed, enum phase phase, struct row *row, size_t same) {
  const struct members members = masters_look(bed);
  bool home = count(&members, SEAT_STANDBY) == 0 && count(&members, SEAT_VOTER) == BED_NODES;
  for (size_t i = 0; i < BED_NODES; i++)
    home = home && members.seats[i] == SEAT_VOTER;
  found(row, phase,
        home && same_processes(bed) == same && !spare_runs(bed) &&
            (phase != BEFORE || members.leader == BED_PRIMARY),
        &members);
}

static void measure_transfer(struct bed *bed, enum phase phase, struct row *row) {
  if (phase != DURING) {
    measure_home(bed, phase, row, BED_NODES);
    return;
  }
  const struct members members = masters_look(bed);
  const int heir = (int)bed_number(bed, "to_node") - 1;
  row_expect(row, "n%d leads, 5 vote", heir + 1);
  found(row, phase, members.leader == heir && heir != BED_PRIMARY && count(&members, SEAT_VOTER) == BED_NODES,
        &members);
}

static void measure_add(struct bed *bed, enum phase phase, struct row *row) {
  if (phase != DURING) {
    measure_home(bed, phase, row, BED_NODES);
    return;
  }
  const struct members members = masters_look(bed);
  const bool votes = bed_number(bed, "votes") != 0;
  row_expect(row, "n6 %s", votes ? "votes, too" : "stands by");
  found(row, phase,
        members.seats[SPARE] == (votes ? SEAT_VOTER : SEAT_STANDBY) &&
            count(&members, SEAT_VOTER) == (size_t)BED_NODES + votes && bed_is_target(bed, SPARE) &&
            spare_runs(bed),
        &members);
}

/* One has the seat that it shall have; all others are as they were, and all run on. */
static void measure_seat(struct bed *bed, enum phase phase, struct row *row, enum seat seat) {
  if (phase != DURING) {
    measure_home(bed, phase, row, BED_NODES);
    return;
  }
  const struct members members = masters_look(bed);
  const size_t target = target_of(bed);
  row_expect(row, "n%zu %s, 4 others vote", target + 1, seat == SEAT_NONE ? "is no member" : "stands by");
  found(row, phase,
        members.seats[target] == seat && count(&members, SEAT_VOTER) == BED_NODES - 1 &&
            members.leader != (int)target && same_processes(bed) == BED_NODES,
        &members);
}

static void measure_remove(struct bed *bed, enum phase phase, struct row *row) {
  measure_seat(bed, phase, row, SEAT_NONE);
}

static void measure_demote(struct bed *bed, enum phase phase, struct row *row) {
  measure_seat(bed, phase, row, SEAT_STANDBY);
}

static void measure_replace(struct bed *bed, enum phase phase, struct row *row) {
  if (phase != DURING) {
    measure_home(bed, phase, row, phase == BEFORE ? BED_NODES : BED_NODES - 1);
    return;
  }
  const struct members members = masters_look(bed);
  const size_t target = target_of(bed);
  row_expect(row, "n6 in place of n%zu, which is stopped", target + 1);
  found(row, phase,
        members.seats[target] == SEAT_NONE && members.seats[SPARE] == SEAT_VOTER &&
            count(&members, SEAT_VOTER) == BED_NODES && same_processes(bed) == BED_NODES - 1 &&
            cluster_node_pid(bed->cluster, target) < 0,
        &members);
}

/* The one that is cut off has a change in its log that the others, who have another primary, know nothing of;
 * afterwards it has not. */
static void measure_cut(struct bed *bed, enum phase phase, struct row *row) {
  const int64_t give_up_ns = time_monotonic_ns() + REJOIN_NS;
  struct members own = {0}, members = masters_look(bed);
  if (phase != DURING) {
    while (!masters_look_at(bed, BED_PRIMARY, &own) || !own.committed ||
           count(&own, SEAT_VOTER) < BED_NODES) {
      CHECK(time_monotonic_ns() < give_up_ns, "n%d does not go back", BED_PRIMARY + 1);
      bed_turn(bed);
    }
    measure_home(bed, phase, row, BED_NODES);
    return;
  }
  const size_t demoted = (size_t)bed_number(bed, "demoted_node") - 1;
  bool open = false;
  while (!open || members.leader == BED_PRIMARY) {
    CHECK(time_monotonic_ns() < give_up_ns, "no change is open at n%d, or nobody else leads",
          BED_PRIMARY + 1);
    open = masters_look_at(bed, BED_PRIMARY, &own) && !own.committed && own.seats[demoted] == SEAT_STANDBY;
    members = masters_look(bed);
    bed_turn(bed);
  }
  row_expect(row, "n%zu stands by for n2 alone", demoted + 1);
  found(row, phase, members.seats[demoted] == SEAT_VOTER && same_processes(bed) == BED_NODES, &members);
}

/* ---- Wiping ---- */

static char *marker_of(const struct bed *bed, size_t node) {
  return path_join(bed->cluster->nodes[node].directory, "data/marker");
}

static size_t markers(const struct bed *bed) {
  size_t there = 0;
  for (size_t i = 0; i < BED_NODES; i++) {
    char *path = marker_of(bed, i);
    there += file_exists(path);
    free(path);
  }
  return there;
}

static void put_markers(const struct bed *bed) {
  for (size_t i = 0; i < BED_NODES; i++) {
    struct error error = {0};
    char *path = marker_of(bed, i);
    CHECK(file_replace(path, "here", 4, &error) == 0, "%s", error.message);
    free(path);
  }
}

/* The target votes again, as another process on an empty disk. */
static void measure_wipe(struct bed *bed, enum phase phase, struct row *row) {
  if (phase != DURING) {
    measure_home(bed, phase, row, phase == BEFORE ? BED_NODES : BED_NODES - 1);
    put_markers(bed);
    return;
  }
  const size_t target = target_of(bed);
  const int64_t give_up_ns = time_monotonic_ns() + REJOIN_NS;
  char *marker = marker_of(bed, target);
  bool left = false;
  struct members members = masters_look(bed);
  for (; file_exists(marker) || members.seats[target] != SEAT_VOTER; members = masters_look(bed)) {
    CHECK(time_monotonic_ns() < give_up_ns, "n%zu does not come back", target + 1);
    left = left || members.seats[target] == SEAT_NONE;
    bed_turn(bed);
  }
  row_expect(row, "n%zu left, and is back with nothing", target + 1);
  found(row, phase,
        left && !file_exists(marker) && markers(bed) == BED_NODES - 1 && same_processes(bed) == BED_NODES - 1,
        &members);
  free(marker);
}

#define MEMBERS "assay admin journal quorum info"

static const struct proof proofs[] = {
    {"membership-transfer", MEMBERS, NULL, measure_transfer},
    {"membership-add", MEMBERS, NULL, measure_add},
    {"membership-remove-one", MEMBERS, NULL, measure_remove},
    {"membership-remove-primary", MEMBERS, NULL, measure_remove},
    {"membership-replace", MEMBERS ", processes", NULL, measure_replace},
    {"membership-demote", MEMBERS, NULL, measure_demote},
    {"membership-cut", MEMBERS, "\"numbers\": {\"again\": 0}", measure_cut},
    {"membership-wipe", MEMBERS ", a file", NULL, measure_wipe},
};
const struct proof_table membership_proofs = {proofs, ARRAY_SIZE(proofs)};
