/* mix.c: see mix.h. */
#include "nemesis/mix.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis/planner.h"

static const struct fault_mix mixes[] = {
    {"standard", "partition,pause,kill", 0, 0, "what every replicated service must bear"},
    {"process", "pause,kill,lifecycle", 0, 0, "everything that happens to processes"},
    {"network", "partition,link", 0, 0, "everything that happens between nodes"},
    {"time", "clock,pause,partition", 0, 0, "clocks that lie, and processes that sleep through elections"},
    {"storage", "disk,kill", 0, 0, "disks that fail, fill up and forget"},
    {"journal", "disk,kill,snapshot,partition", 0, 0, "what the log and its snapshots must bear"},
    {"members", "membership,kill,partition", 0, 0,
     "members that come and go while nodes fall and links are cut"},
    {"brutal", "all", 600 * NS_PER_MS, 1800 * NS_PER_MS, "every fault there is, thick and fast"},
    {0},
};

const struct fault_mix *fault_mixes(void) {
  return mixes;
}

const struct fault_mix *mix_find(const char *name) {
  for (const struct fault_mix *mix = mixes; mix->name; mix++)
    if (strcmp(mix->name, name) == 0)
      return mix;
  return NULL;
}

void mix_tempo(const char *list, struct tempo *tempo) {
  char *copy = xstrdup(list), *state = NULL;
  for (char *word = strtok_r(copy, ", ", &state); word; word = strtok_r(NULL, ", ", &state)) {
    const struct fault_mix *mix = mix_find(word);
    if (!mix)
      continue;
    if (tempo->interval_ns == 0)
      tempo->interval_ns = mix->interval_ns;
    if (tempo->duration_ns == 0)
      tempo->duration_ns = mix->duration_ns;
  }
  free(copy);
}

/* ---- Swarm ---- */

#define FAMILY_CHANCE 0.5
#define FAULT_CHANCE 0.6

static bool same_family(const struct fault *a, const struct fault *b) {
  return strcmp(a->description.family, b->description.family) == 0;
}

static int64_t stretch(struct random *random, int64_t mean_ns, int64_t default_ns) {
  static const double factors[] = {0.25, 0.5, 1, 1, 2};
  return (int64_t)((double)(mean_ns > 0 ? mean_ns : default_ns) *
                   factors[random_below(random, ARRAY_SIZE(factors))]);
}

void swarm_draw(uint64_t seed, const struct fault **faults, size_t *count, struct tempo *tempo) {
  struct random random;
  random_seed(&random, seed ^ 0x7377);
  tempo->interval_ns = stretch(&random, tempo->interval_ns, INTERVAL_DEFAULT_NS);
  tempo->duration_ns = stretch(&random, tempo->duration_ns, DURATION_DEFAULT_NS);
  if (*count == 0)
    return;
  const struct fault *spare = faults[random_below(&random, *count)];
  size_t kept = 0;
  bool family_stays = false;
  for (size_t i = 0; i < *count; i++) {
    /* Faults of a family stand together. */
    if (i == 0 || !same_family(faults[i], faults[i - 1]))
      family_stays = random_chance(&random, FAMILY_CHANCE);
    const bool stays = random_chance(&random, FAULT_CHANCE);
    if (family_stays && stays)
      faults[kept++] = faults[i];
  }
  if (kept == 0)
    faults[kept++] = spare;
  *count = kept;
}
