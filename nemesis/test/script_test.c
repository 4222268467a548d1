/* Schedules that are told: when their entries come, whom they hit, and what is said of wrong ones. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis/mix.h"
#include "nemesis/pace.h"
#include "nemesis/planner.h"
#include "nemesis/schedule.h"

#define SECOND NS_PER_S

static struct script read_script(const char *faults, size_t nodes) {
  struct script script = {0};
  struct error error = {0};
  struct bytes text = {0};
  bytes_append_format(&text, "{\"schedule\": 1, \"faults\": [%s]}", faults);
  cr_assert_eq(script_read((const char *)text.data, text.size, "s.json", nodes, &script, &error), 0, "%s",
               error.message);
  bytes_free(&text);
  return script;
}

static struct observation seen(enum counter counter, uint64_t count) {
  struct observation seen = {{0}};
  seen.counts[counter] = count;
  return seen;
}

static struct facts all_well(size_t nodes, int primary) {
  struct facts facts = {.nodes = nodes, .primary = primary, .old_primary = -1};
  for (size_t i = 0; i < nodes; i++)
    facts.free[i] = true;
  return facts;
}

/* ---- When ---- */

Test(script, entries_come_at_their_times_the_earliest_first) {
  struct script script = read_script("{\"fault\": \"kill-one\", \"at_ms\": 900}, {\"fault\": \"pause-one\", "
                                     "\"at_ms\": 300}, {\"fault\": \"kill-all\", \"at_ms\": 300}",
                                     3);
  cr_assert_eq(script_when(&script), NEVER, "it has not begun");
  script_begin(&script, 5 * SECOND);
  cr_assert_eq(script_when(&script), 5 * SECOND + 300 * NS_PER_MS);
  cr_assert_eq(script_due(&script, 5 * SECOND + 299 * NS_PER_MS), script.count);
  cr_assert_eq(script_due(&script, 6 * SECOND), 1, "of two that are due at once, the first one told");
  script.entries[1].done = true;
  cr_assert_eq(script_due(&script, 6 * SECOND), 2);
  script.entries[2].done = true;
  cr_assert_eq(script_due(&script, 6 * SECOND), 0);
  script_free(&script);
}

Test(script, every_counter_is_waited_for) {
  for (int i = 0; i < COUNTERS; i++) {
    char text[200];
    snprintf(text, sizeof text, "{\"fault\": \"kill-one\", \"on\": {\"%s\": 5}, \"after_ms\": 20}",
             counter_name((enum counter)i));
    struct script script = read_script(text, 3);
    script_begin(&script, SECOND);
    for (int other = 0; other < COUNTERS; other++) {
      const struct observation far = seen((enum counter)other, other == i ? 4 : 1000);
      script_observe(&script, &far, 2 * SECOND);
    }
    cr_assert_eq(script_when(&script), NEVER, "%s came too early", counter_name((enum counter)i));
    const struct observation reached = seen((enum counter)i, 7); /* 5 and 6 were missed between two looks */
    script_observe(&script, &reached, 3 * SECOND);
    cr_assert_eq(script_when(&script), 3 * SECOND + 20 * NS_PER_MS);
    script_observe(&script, &reached, 4 * SECOND);
    cr_assert_eq(script_when(&script), 3 * SECOND + 20 * NS_PER_MS, "once it is due it stays so");
    script_free(&script);
  }
}

Test(script, an_event_that_does_not_come_is_not_waited_for_for_ever) {
  struct script script =
      read_script("{\"fault\": \"kill-one\", \"on\": {\"election\": 2}, \"at_ms\": 4000}", 3);
  script_begin(&script, SECOND);
  cr_assert_eq(script_when(&script), 8 * SECOND, "three seconds after its time");
  const struct observation reached = seen(COUNTER_ELECTION, 2);
  script_observe(&script, &reached, 2 * SECOND);
  cr_assert_eq(script_when(&script), 2 * SECOND, "but on the event when it comes");
  script_free(&script);
}

/* ---- Whom ---- */

static struct aim aim_of(const char *entry, size_t nodes, int primary) {
  struct script script = read_script(entry, nodes);
  const struct facts facts = all_well(nodes, primary);
  struct aim aim;
  struct error error = {0};
  cr_assert_eq(script_aim(&script.entries[0], &facts, &aim, &error), 0, "%s", error.message);
  script_free(&script);
  return aim;
}

Test(script, targets_are_hit_and_no_others) {
  const struct aim aim =
      aim_of("{\"fault\": \"kill-one\", \"at_ms\": 0, \"targets\": [\"n1\", \"n3\"]}", 4, 1);
  for (size_t i = 0; i < 4; i++)
    cr_assert_eq(aim.targets[i], i == 0 || i == 2);
}

Test(script, a_partition_with_targets_parts_them_from_the_rest) {
  const struct aim aim =
      aim_of("{\"fault\": \"partition-halves\", \"at_ms\": 0, \"targets\": [\"n1\", \"n2\"]}", 5, 4);
  for (size_t a = 0; a < 5; a++)
    for (size_t b = 0; b < 5; b++)
      cr_assert_eq(aim.hears[a * 5 + b], (a < 2) == (b < 2));
}

Test(script, recorded_nodes_mean_those_that_stand_so_to_the_primary) {
  /* n2 was primary, deaf towards n3; now n5 is, so it is deaf towards n1. */
  const struct aim aim = aim_of("{\"fault\": \"partition-one-way\", \"at_ms\": 0, \"primary\": \"n2\", "
                                "\"targets\": [\"n2\"], \"grudge\": {\"n2\": [\"n3\"]}}",
                                5, 4);
  for (size_t a = 0; a < 5; a++)
    for (size_t b = 0; b < 5; b++)
      cr_assert_eq(aim.hears[a * 5 + b], !(a == 4 && b == 0), "%zu hears %zu", a, b);
  for (size_t i = 0; i < 5; i++)
    cr_assert_eq(aim.targets[i], i == 4);
}

Test(script, roles_are_found_when_the_fault_comes) {
  struct script script = read_script("{\"fault\": \"kill-one\", \"at_ms\": 0, \"targets\": \"primary\"},"
                                     "{\"fault\": \"kill-one\", \"at_ms\": 0, \"targets\": \"old-primary\"},"
                                     "{\"fault\": \"kill-one\", \"at_ms\": 0, \"targets\": \"follower\"}",
                                     3);
  struct facts facts = all_well(3, 2);
  struct aim aim;
  struct error error = {0};
  cr_assert_eq(script_aim(&script.entries[0], &facts, &aim, &error), 0);
  cr_assert(aim.targets[2] && !aim.targets[0] && !aim.targets[1]);
  cr_assert_eq(script_aim(&script.entries[1], &facts, &aim, &error), ERR_UNAVAILABLE,
               "there was none before");
  facts.old_primary = 1;
  cr_assert_eq(script_aim(&script.entries[1], &facts, &aim, &error), 0);
  cr_assert(aim.targets[1] && !aim.targets[0] && !aim.targets[2]);
  cr_assert_eq(script_aim(&script.entries[2], &facts, &aim, &error), 0);
  cr_assert(!aim.targets[2] && aim.targets[0] != aim.targets[1]);
  script_free(&script);
}

/* What is written of an aim, read again, is the same aim: over all faults and many draws. */
Test(script, an_aim_that_was_written_is_read_again) {
  struct random random;
  random_seed(&random, 11);
  for (const struct fault_description *each = fault_list(); each->name; each++)
    for (int round = 0; round < 40; round++) {
      const size_t nodes = 3 + (size_t)random_below(&random, CLUSTER_NODES_MAX - 2);
      struct facts facts = all_well(nodes, (int)random_below(&random, nodes));
      const struct fault *fault = catalogue_find(each->name);
      struct aim aim, again;
      struct error error = {0};
      struct scripted entry;
      if (fault_aim(fault, &facts, &random, &aim, &error) != 0)
        continue; /* it needs something that this virtual cluster has not */
      json_t *object = json_pack("{s:s}", "fault", each->name);
      script_write_aim(object, &aim, nodes);
      cr_assert_eq(script_read_entry(object, "s.json", 1, nodes, &entry, &error), 0, "%s", error.message);
      json_decref(object);
      cr_assert_eq(script_aim(&entry, &facts, &again, &error), 0, "%s: %s", each->name, error.message);
      cr_assert_eq(memcmp(aim.targets, again.targets, sizeof aim.targets), 0, "%s: targets", each->name);
      cr_assert(aim.cuts == again.cuts && aim.shapes == again.shapes);
      for (size_t i = 0; i < nodes * nodes; i++) {
        cr_assert(!aim.cuts || aim.hears[i] == again.hears[i], "%s: links", each->name);
        cr_assert(!aim.shapes || aim.shaped[i] == again.shaped[i], "%s: links", each->name);
      }
      cr_assert_eq(aim.number_count, again.number_count);
      for (size_t i = 0; i < aim.number_count; i++)
        cr_assert_eq(aim.numbers[i].value, aim_get(&again, aim.numbers[i].name), "%s: %s", each->name,
                     aim.numbers[i].name);
    }
}

/* ---- What is refused ---- */

Test(script, wrong_schedules_are_refused_with_the_place) {
  static const struct {
    const char *text, *says;
  } wrong[] = {
      {"{", "line 1"},
      {"[]", "not a schedule"},
      {"{\"schedule\": 2, \"faults\": []}", "not a schedule"},
      {"{\"schedule\": 1, \"nodes\": 5, \"faults\": []}", "--nodes 5"},
      {"{\"schedule\": 1, \"faults\": [{\"at_ms\": 1}]}", "fault 1"},
      {"{\"schedule\": 1, \"faults\": [{\"fault\": \"kill-one\"}]}", "at_ms"},
      {"{\"schedule\": 1, \"faults\": [{\"fault\": \"kil-one\", \"at_ms\": 1}]}", "'kil-one'"},
      {"{\"schedule\": 1, \"faults\": [{\"fault\": \"kill-one\", \"at_ms\": -1}]}", "milliseconds"},
      {"{\"schedule\": 1, \"faults\": [{\"fault\": \"kill-one\", \"at_ms\": \"1\"}]}", "milliseconds"},
      {"{\"schedule\": 1, \"faults\": [{\"fault\": \"kill-one\", \"at\": 1}]}", "'at' is unknown"},
      {"{\"schedule\": 1, \"faults\": [{\"fault\": \"kill-one\", \"on\": {\"elections\": 1}}]}",
       "\"election\": N"},
      {"{\"schedule\": 1, \"faults\": [{\"fault\": \"kill-one\", \"at_ms\": 1, \"targets\": [\"n5\"]}]}",
       "n1 to n3"},
      {"{\"schedule\": 1, \"faults\": [{\"fault\": \"kill-one\", \"at_ms\": 1, \"targets\": \"leader\"}]}",
       "not \"leader\""},
      {"{\"schedule\": 1, \"faults\": [{\"fault\": \"kill-one\", \"at_ms\": 1, \"numbers\": {\"x\": \"y\"}}]}",
       "numbers.x"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    struct script script = {0};
    struct error error = {0};
    cr_assert_eq(script_read(wrong[i].text, strlen(wrong[i].text), "s.json", 3, &script, &error),
                 ERR_BAD_INPUT, "%s", wrong[i].text);
    cr_assert(strstr(error.message, "s.json") && strstr(error.message, wrong[i].says),
              "'%s' does not say '%s'", error.message, wrong[i].says);
    script_free(&script);
  }
}

/* ---- In a schedule ---- */

static struct schedule begin(const char *faults) {
  struct schedule schedule = {.script = read_script(faults, 3), .next_ns = NEVER};
  const struct facts facts = all_well(3, 0);
  planner_init(&schedule.planner, 1, NULL, 0, &facts, 0, 0);
  schedule_begin(&schedule, SECOND);
  return schedule;
}

Test(script, what_conflicts_waits_for_some_seconds_and_is_then_skipped) {
  struct schedule schedule = begin("{\"fault\": \"kill-one\", \"at_ms\": 0, \"targets\": [\"n1\"]},"
                                   "{\"fault\": \"pause-one\", \"at_ms\": 10, \"targets\": [\"n1\"]},"
                                   "{\"fault\": \"pause-one\", \"at_ms\": 10, \"targets\": [\"n2\"]}");
  const struct facts facts = all_well(3, 0);
  struct aim aim;
  struct error error = {0};
  size_t which;
  int64_t now_ns = SECOND;
  cr_assert_eq(schedule_turn(&schedule, now_ns, &which), TURN_INSTALL);
  cr_assert_eq(schedule_aim(&schedule, which, &facts, &aim, &error), 0);
  schedule_installed(&schedule, which, &aim, now_ns);
  size_t waited = 0;
  bool other = false;
  while (schedule_when(&schedule) != NEVER) {
    now_ns = schedule_when(&schedule);
    cr_assert_eq(schedule_turn(&schedule, now_ns, &which), TURN_INSTALL);
    const int status = schedule_aim(&schedule, which, &facts, &aim, &error);
    cr_assert_eq(status, which == 1 ? ERR_UNAVAILABLE : 0);
    if (status == 0) {
      schedule_installed(&schedule, which, &aim, now_ns);
      other = true;
    } else {
      cr_assert(strstr(error.message, "kill-one is present"), "%s", error.message);
      waited += schedule_skipped(&schedule, which, true, now_ns);
    }
  }
  cr_assert(other && waited >= 15 && now_ns > 5 * SECOND && now_ns < 8 * SECOND, "%zu", waited);
  cr_assert_eq(schedule.present_count, 2);
  cr_assert_eq(schedule.present[0].heal_ns, NEVER, "without for_ms it stays");
  script_free(&schedule.script);
}

Test(script, an_event_heals_what_stays_until_it) {
  struct schedule schedule =
      begin("{\"fault\": \"kill-one\", \"at_ms\": 0, \"for_ms\": 9000, \"until\": {\"operation\": 50}}");
  const struct facts facts = all_well(3, 0);
  struct aim aim;
  size_t which;
  cr_assert_eq(schedule_turn(&schedule, SECOND, &which), TURN_INSTALL);
  cr_assert_eq(schedule_aim(&schedule, which, &facts, &aim, NULL), 0);
  schedule_installed(&schedule, which, &aim, SECOND);
  cr_assert_eq(schedule_when(&schedule), 10 * SECOND);
  const struct observation reached = seen(COUNTER_OPERATION, 50);
  schedule_observe(&schedule, &reached, 3 * SECOND);
  cr_assert_eq(schedule_turn(&schedule, 3 * SECOND, &which), TURN_HEAL);
  script_free(&schedule.script);
}

/* ---- Mixes, swarm, paces ---- */

Test(mix, every_mix_is_made_of_what_there_is) {
  for (const struct fault_mix *mix = fault_mixes(); mix->name; mix++) {
    const struct fault *faults[FAULTS_MAX];
    size_t count;
    struct error error = {0};
    cr_assert_eq(catalogue_select(mix->name, faults, &count, &error), 0, "%s", error.message);
    cr_assert_gt(count, 1);
    cr_assert_eq(catalogue_select(mix->faults, faults, &count, &error), 0, "%s: %s", mix->name,
                 error.message);
  }
}

Test(swarm, draws_differ_and_repeat) {
  size_t sizes[200], distinct = 0, smallest = FAULTS_MAX, greatest = 0, all;
  const struct fault *faults[FAULTS_MAX], *again[FAULTS_MAX];
  catalogue_select("all", faults, &all, NULL);
  for (uint64_t seed = 0; seed < 200; seed++) {
    size_t count, count_again;
    struct tempo tempo = {0}, tempo_again = {0};
    cr_assert_eq(catalogue_select("swarm", faults, &count, NULL), 0);
    cr_assert_eq(count, all, "alone it draws from all");
    swarm_draw(seed, faults, &count, &tempo);
    catalogue_select("all,swarm", again, &count_again, NULL);
    swarm_draw(seed, again, &count_again, &tempo_again);
    cr_assert(count == count_again && memcmp(faults, again, count * sizeof *faults) == 0 &&
              tempo.interval_ns == tempo_again.interval_ns);
    cr_assert(count >= 1 && tempo.interval_ns > 0 && tempo.duration_ns > 0);
    sizes[seed] = count;
    distinct += seed > 0 && sizes[seed] != sizes[seed - 1];
    smallest = count < smallest ? count : smallest;
    greatest = count > greatest ? count : greatest;
  }
  cr_assert(distinct > 100 && smallest < all / 4 && greatest > all / 3, "%zu %zu %zu", distinct, smallest,
            greatest);
}

Test(pace, paced_faults_leave_the_turns_and_come_as_often_as_told) {
  const struct fault *faults[FAULTS_MAX];
  size_t count;
  struct script script = {0};
  catalogue_select("partition,kill", faults, &count, NULL);
  const char *const paces[] = {"kill=2s", NULL};
  pace_plan(paces, 5, 0, faults, &count, &script);
  for (size_t i = 0; i < count; i++)
    cr_assert_str_eq(faults[i]->description.family, "partition");
  size_t in_a_minute = 0;
  int64_t last_ns = 0;
  for (size_t i = 0; i < script.count; i++) {
    cr_assert_str_eq(script.entries[i].fault->description.family, "kill");
    const int64_t gap_ns = script.entries[i].at_ns - last_ns;
    cr_assert(gap_ns >= SECOND && gap_ns <= 3 * SECOND);
    last_ns = script.entries[i].at_ns;
    in_a_minute += last_ns < 60 * SECOND;
  }
  cr_assert(in_a_minute >= 20 && in_a_minute <= 60 && script.count == SCRIPT_ENTRIES_MAX);
  script_free(&script);
  struct error error = {0};
  const char *const wrong[] = {"kill", "kill=", "kill=x", "=3s", "kills=3s", "kill=1ms"};
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
    cr_assert_eq(nemesis_check_pace(wrong[i], &error), ERR_BAD_INPUT, "%s", wrong[i]);
}
