#include "harness/members_record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void describe(const enum seat *seats, char *out, size_t size) {
  size_t used = 0;
  out[0] = '\0';
  for (size_t i = 0; i < CLUSTER_NODES_MAX && used < size; i++)
    if (seats[i] != SEAT_NONE)
      used += (size_t)snprintf(out + used, size - used, "%sn%zu%s", used > 0 ? ", " : "", i + 1,
                               seats[i] == SEAT_STANDBY ? " (standby)" : "");
}

bool members_record_take(struct members_record *record, size_t node, const struct members *members,
                         struct error *error) {
  char first[160], second[160];
  if (!members->committed || members->index == 0)
    return true;
  const size_t kept = record->count < MEMBERS_RECORD_SIZE ? record->count : MEMBERS_RECORD_SIZE;
  for (size_t i = 0; i < kept; i++) {
    if (record->said[i].index != members->index)
      continue;
    if (memcmp(record->said[i].seats, members->seats, sizeof members->seats) == 0)
      return true;
    describe(record->said[i].seats, first, sizeof first);
    describe(members->seats, second, sizeof second);
    error_set(error, ERR_CORRUPT,
              "of entry %" PRIu64
              ", which is committed, n%zu says that the members are %s, and n%zu that they are %s",
              members->index, record->said[i].node + 1, first, node + 1, second);
    return false;
  }
  const size_t at = record->count++ % MEMBERS_RECORD_SIZE;
  record->said[at].index = members->index;
  record->said[at].node = node;
  memcpy(record->said[at].seats, members->seats, sizeof members->seats);
  return true;
}
