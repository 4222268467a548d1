/* pace.c: see pace.h. */
#include "nemesis/pace.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis/planner.h"

struct pace {
  char faults[200];
  int64_t every_ns;
};

/* Durations as flags have them: "20s", "500ms", "2m"; bare numbers are seconds. */
static int parse_time(const char *text, int64_t *time_ns) {
  static const struct {
    const char *unit;
    int64_t ns;
  } units[] = {
      {"", NS_PER_S}, {"s", NS_PER_S}, {"ms", NS_PER_MS}, {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S}};
  char *end;
  const double number = strtod(text, &end);
  for (size_t i = 0; end != text && i < ARRAY_SIZE(units); i++)
    if (strcmp(end, units[i].unit) == 0 && number * (double)units[i].ns >= (double)(10 * NS_PER_MS) &&
        number * (double)units[i].ns <= (double)(86400 * NS_PER_S)) {
      *time_ns = (int64_t)(number * (double)units[i].ns);
      return 0;
    }
  return ERR_BAD_INPUT;
}

static int parse(const char *text, struct pace *pace, struct error *error) {
  const char *equals = strrchr(text, '=');
  const size_t length = equals ? (size_t)(equals - text) : 0;
  if (length == 0 || length >= sizeof pace->faults || parse_time(equals + 1, &pace->every_ns) != 0)
    return error_set(error, ERR_BAD_INPUT,
                     "'%.80s' is no pace: it is FAULTS=TIME, as kill=20s, from 10ms to a day", text);
  memcpy(pace->faults, text, length);
  pace->faults[length] = '\0';
  return nemesis_check_families(pace->faults, error);
}

int nemesis_check_pace(const char *text, struct error *error) {
  struct pace pace = {0};
  return parse(text, &pace, error);
}

static void plan_one(const struct pace *pace, struct random *random, int64_t duration_ns, size_t room,
                     struct script *script) {
  const struct fault *mine[FAULTS_MAX] = {NULL};
  size_t count = 0;
  catalogue_select(pace->faults, mine, &count, NULL);
  int64_t at_ns = 0;
  for (size_t i = 0; count > 0 && i < room; i++) {
    at_ns += planner_around(random, pace->every_ns);
    const struct fault *fault = mine[random_below(random, count)];
    int64_t for_ns = planner_around(random, duration_ns > 0 ? duration_ns : DURATION_DEFAULT_NS);
    if (for_ns < fault->duration_min_ns)
      for_ns = fault->duration_min_ns;
    const struct scripted entry = {.fault = fault,
                                   .at_ns = at_ns,
                                   .for_ns = for_ns,
                                   .primary = -1,
                                   .draw = random_next(random),
                                   .due_ns = NEVER};
    script_add(script, &entry, 0, NULL, NULL);
  }
}

static void take_out(const struct pace *pace, const struct fault **faults, size_t *count) {
  const struct fault *mine[FAULTS_MAX];
  size_t mine_count, kept = 0;
  catalogue_select(pace->faults, mine, &mine_count, NULL);
  for (size_t i = 0; i < *count; i++) {
    bool taken = false;
    for (size_t k = 0; k < mine_count; k++)
      taken = taken || mine[k] == faults[i];
    if (!taken)
      faults[kept++] = faults[i];
  }
  *count = kept;
}

void pace_plan(const char *const *paces, uint64_t seed, int64_t duration_ns, const struct fault **faults,
               size_t *count, struct script *script) {
  size_t pace_count = 0;
  while (paces && paces[pace_count])
    pace_count++;
  struct random random;
  random_seed(&random, seed ^ 0x70616365);
  for (size_t i = 0; i < pace_count; i++) {
    struct pace pace = {0};
    struct random own = random_split(&random);
    const int status = parse(paces[i], &pace, NULL);
    assert(status == 0); /* checked when it was given */
    take_out(&pace, faults, count);
    plan_one(&pace, &own, duration_ns, (SCRIPT_ENTRIES_MAX - script->count) / (pace_count - i), script);
  }
}
