#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/timeline.h"

static struct timeline read_text(const char *text) {
  char path[] = "/tmp/assay-events-XXXXXX";
  const int fd = mkstemp(path);
  cr_assert_geq(fd, 0);
  cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  close(fd);
  struct timeline timeline;
  struct error error = {0};
  cr_assert_eq(timeline_read(path, &timeline, &error), 0, "%s", error.message);
  unlink(path);
  return timeline;
}

Test(timeline, a_heal_ends_the_fault_of_its_number) {
  struct timeline timeline = read_text(
      "{\"event\":\"fault\",\"phase\":\"installed\",\"fault\":\"pause\",\"number\":1,\"targets\":[\"n1\"],"
      "\"time_ns\":10}\n"
      "{\"event\":\"fault\",\"phase\":\"installed\",\"fault\":\"pause\",\"number\":2,\"targets\":[\"n2\"],"
      "\"time_ns\":20}\n"
      "{\"event\":\"fault\",\"phase\":\"healed\",\"fault\":\"pause\",\"number\":1,\"targets\":[\"n1\"],"
      "\"time_ns\":30}\n"
      "{\"event\":\"fault\",\"phase\":\"skipped\",\"fault\":\"cut\",\"targets\":[],\"reason\":\"no\","
      "\"time_ns\":40}\n");
  cr_assert_eq(timeline.fault_count, 3);
  cr_expect_eq(timeline.faults[0].healed_ns, 30);
  cr_expect_eq(timeline.faults[1].healed_ns, 0);
  cr_expect(timeline.faults[2].skipped);
  cr_expect_str_eq(timeline.faults[2].reason, "no");
  timeline_free(&timeline);
}

Test(timeline, elections_are_new_terms_with_a_primary_after_the_first) {
  struct timeline timeline =
      read_text("{\"event\":\"primary\",\"node\":\"n1\",\"term\":2,\"time_ns\":100}\n"
                "{\"event\":\"primary\",\"node\":null,\"term\":2,\"time_ns\":200}\n"
                "{\"event\":\"primary\",\"node\":\"n1\",\"term\":2,\"time_ns\":500}\n"
                "{\"event\":\"primary\",\"node\":\"n2\",\"term\":5,\"time_ns\":600}\n"
                "{\"event\":\"primary\",\"node\":null,\"term\":5,\"time_ns\":700}\n"
                "{\"event\":\"phase\",\"phase\":\"clients finish\",\"time_ns\":1200}\n");
  cr_expect_eq(timeline.elections, 1);
  cr_expect_eq(timeline.longest_without_primary_ns, 500);
  timeline_free(&timeline);
}

Test(timeline, a_torn_last_line_is_passed_over) {
  struct timeline timeline = read_text("{\"event\":\"interrupted\",\"time_ns\":1}\n{\"event\":\"li");
  cr_expect(timeline.interrupted);
  cr_expect_not(timeline.liveness_known);
  timeline_free(&timeline);
}

Test(timeline, nodes_that_disagree_on_the_members) {
  struct timeline timeline =
      read_text("{\"event\":\"members\",\"agree\":false,\"message\":\"n1 and n2\",\"time_ns\":2}\n");
  cr_expect_str_eq(timeline.members, "n1 and n2");
  timeline_free(&timeline);
}

Test(timeline, replicas_and_liveness) {
  struct timeline timeline =
      read_text("{\"event\":\"live\",\"live\":false,\"time_ns\":1}\n"
                "{\"event\":\"replicas\",\"comparable\":true,\"equal\":false,\"nodes\":[],\"time_ns\":2}\n");
  cr_expect(timeline.liveness_known && !timeline.live);
  cr_expect_eq(timeline.replicas, REPLICAS_DIVERGED);
  timeline_free(&timeline);
}
