#include <criterion/criterion.h>
#include <string.h>

#include "harness/members_record.h"

static struct members told(uint64_t index, bool committed, enum seat third) {
  return (struct members){.index = index, .committed = committed, .seats = {SEAT_VOTER, SEAT_VOTER, third}};
}

static bool take(struct members_record *record, size_t node, struct members members, struct error *error) {
  return members_record_take(record, node, &members, error);
}

Test(members_record, one_entry_names_one_set_of_members) {
  static struct members_record record;
  struct error error = {0};
  cr_assert(take(&record, 0, told(1, true, SEAT_VOTER), &error));
  cr_assert(take(&record, 1, told(1, true, SEAT_VOTER), &error));
  cr_assert(take(&record, 0, told(7, true, SEAT_STANDBY), &error), "another entry, other members");
  cr_assert(take(&record, 2, told(1, false, SEAT_NONE), &error), "what is not committed may go");
  cr_assert(take(&record, 2, told(0, true, SEAT_NONE), &error), "a node that knows of no members yet");
  cr_assert(!take(&record, 2, told(7, true, SEAT_NONE), &error));
  cr_assert_str_eq(error.message, "of entry 7, which is committed, n1 says that the members are n1, n2, n3 "
                                  "(standby), and n3 that they are n1, n2");
}

Test(members_record, forgets_what_is_long_ago) {
  static struct members_record record;
  struct error error = {0};
  for (uint64_t index = 1; index <= 3 * MEMBERS_RECORD_SIZE; index++)
    cr_assert(take(&record, 0, told(index, true, SEAT_VOTER), &error));
  cr_assert(take(&record, 1, told(1, true, SEAT_NONE), &error));
  cr_assert(!take(&record, 1, told(3 * MEMBERS_RECORD_SIZE, true, SEAT_NONE), &error));
}
