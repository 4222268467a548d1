/* plan.c: a plan from a seed.
 *
 * "Swarm testing" (Groce, Zhang, Eide, Chen, Regehr; ISSTA 2012): a test that may do everything does a little
 * of everything, and what is never done together with much else is never seen. So each seed draws first what
 * it will do at all, how often and for how long, and only then does it: many plans know no disk fault, some
 * know nothing else, and one in a few takes a snapshot every twenty entries.
 *
 * Each part of a plan has a stream of its own, so that a part given by hand does not shift the others. */
#include "simulator/plan.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "workloads/workloads.h"

/* Faults of a family stand together. */
static const struct {
  const char *name, *family;
} names[SIMULATED_FAULTS] = {
    [SIMULATED_PARTITION] = {"partition", "network"},
    [SIMULATED_ONE_WAY] = {"one-way", "network"},
    [SIMULATED_BRIDGE] = {"bridge", "network"},
    [SIMULATED_CLOG] = {"clog", "network"},
    [SIMULATED_STORM] = {"storm", "network"},
    [SIMULATED_CUT_CLIENTS] = {"cut-clients", "network"},
    [SIMULATED_CRASH] = {"crash", "process"},
    [SIMULATED_PAUSE] = {"pause", "process"},
    [SIMULATED_STALLED_PARTITION] = {"stalled-partition", "process"},
    [SIMULATED_RESTART] = {"restart", "process"},
    [SIMULATED_WIPE] = {"wipe", "process"},
    [SIMULATED_FULL_DISK] = {"full-disk", "disk"},
    [SIMULATED_SLOW_DISK] = {"slow-disk", "disk"},
    [SIMULATED_SYNC_ERROR] = {"sync-error", "disk"},
    [SIMULATED_ROT] = {"rot", "disk"},
    [SIMULATED_CLOCK_JUMP] = {"clock-jump", "clock"},
    [SIMULATED_CLOCK_DRIFT] = {"clock-drift", "clock"},
    [SIMULATED_ADD] = {"add", "membership"},
    [SIMULATED_PROMOTE] = {"promote", "membership"},
    [SIMULATED_DEMOTE] = {"demote", "membership"},
    [SIMULATED_REMOVE] = {"remove", "membership"},
    [SIMULATED_TRANSFER] = {"transfer", "membership"},
};

static const char *const target_names[SIMULATED_TARGETS] = {
    [TARGET_NODE] = "node",         [TARGET_PRIMARY] = "primary",   [TARGET_FOLLOWER] = "follower",
    [TARGET_MINORITY] = "minority", [TARGET_MAJORITY] = "majority", [TARGET_ALL] = "all",
    [TARGET_LAST] = "last",
};

const char *simulated_fault_name(enum simulated_fault fault) {
  assert((size_t)fault < ARRAY_SIZE(names));
  return names[fault].name;
}

const char *simulated_target_name(enum simulated_target target) {
  assert((size_t)target < ARRAY_SIZE(target_names));
  return target_names[target];
}

enum simulated_fault simulated_fault_by_name(const char *name) {
  size_t fault = 0;
  while (fault < SIMULATED_FAULTS && strcmp(names[fault].name, name) != 0)
    fault++;
  return (enum simulated_fault)fault;
}

const char *simulated_fault_names(char out[FAULT_NAMES_SIZE]) {
  size_t used = 0;
  for (size_t i = 0; i < SIMULATED_FAULTS; i++) {
    used += (size_t)snprintf(out + used, FAULT_NAMES_SIZE - used, "%s%s", i > 0 ? ", " : "", names[i].name);
    assert(used < FAULT_NAMES_SIZE);
  }
  return out;
}

const char *plan_workload(const char *name) {
  for (const struct workload_description *known = workload_list(); known->name; known++)
    if (strcmp(known->name, name) == 0)
      return known->name;
  return NULL;
}

struct weather plan_calm_weather(void) {
  return (struct weather){.delay_ns = 500 * NS_PER_US,
                          .jitter_ns = 200 * NS_PER_US,
                          .disk_ns = 200 * NS_PER_US,
                          .disk_jitter_ns = 100 * NS_PER_US,
                          .store_ns = NS_PER_MS};
}

void plan_copy(const struct plan *from, struct plan *to) {
  *to = *from;
  to->faults = NULL;
  to->omitted = NULL;
  if (from->fault_count > 0) {
    to->faults = xmalloc(from->fault_count * sizeof *to->faults);
    memcpy(to->faults, from->faults, from->fault_count * sizeof *to->faults);
  }
  if (from->omitted_count > 0) {
    to->omitted = xmalloc(from->omitted_count * sizeof *to->omitted);
    memcpy(to->omitted, from->omitted, from->omitted_count * sizeof *to->omitted);
  }
}

void plan_free(struct plan *plan) {
  free(plan->faults);
  free(plan->omitted);
  *plan = (struct plan){0};
}

/* Insertion: schedules are short, and all but in order already. */
void plan_sort_faults(struct plan *plan) {
  for (size_t i = 1; i < plan->fault_count; i++) {
    const struct planned_fault fault = plan->faults[i];
    size_t to = i;
    for (; to > 0 && plan->faults[to - 1].at_ns > fault.at_ns; to--)
      plan->faults[to] = plan->faults[to - 1];
    plan->faults[to] = fault;
  }
}

/* ---- Numbers that people can read again ---- */

/* Three digits and zeros. */
static double three_digits(double value) {
  if (value == 0)
    return 0;
  const double scale = pow(10, 2 - floor(log10(fabs(value))));
  return round(value * scale) / scale;
}

/* As often between 1 and 2 as between 2 and 4. */
static double draw_scale(struct random *random, double low, double high) {
  assert(low > 0 && low <= high);
  return three_digits(low * pow(high / low, random_unit(random)));
}

static int64_t draw_time(struct random *random, double low_ns, double high_ns) {
  return (int64_t)draw_scale(random, low_ns, high_ns);
}

static uint64_t draw_count(struct random *random, double low, double high) {
  return (uint64_t)draw_scale(random, low, high);
}

/* A chance that is 0 as often as not. */
static double draw_rarity(struct random *random, double low, double high) {
  const double rarity = draw_scale(random, low, high);
  return random_chance(random, 0.5) ? rarity : 0;
}

/* ---- Parts ---- */

/* Three quarters of the runs see an ordinary day: what goes wrong then is the faults' doing. */
static struct weather draw_weather(struct random *random, size_t nodes) {
  struct weather weather = plan_calm_weather();
  const double day = random_unit(random);
  const bool rough = day > 0.75, awful = day > 0.93;
  weather.delay_ns = draw_time(random, 0.1e6, awful ? 20e6 : rough ? 10e6 : 2e6);
  weather.jitter_ns = draw_time(random, 0.05e6, awful ? 30e6 : rough ? 10e6 : 1e6);
  weather.disk_ns = draw_time(random, 0.05e6, awful ? 10e6 : rough ? 5e6 : 1e6);
  weather.disk_jitter_ns = draw_time(random, 0.02e6, awful ? 10e6 : rough ? 4e6 : 0.5e6);
  weather.store_ns = draw_time(random, 0.2e6, awful ? 100e6 : 20e6);
  if (rough) {
    weather.loss = draw_rarity(random, 0.001, awful ? 0.1 : 0.02);
    weather.duplication = draw_rarity(random, 0.001, awful ? 0.1 : 0.02);
    weather.slow_frame = draw_rarity(random, 0.0003, awful ? 0.01 : 0.003);
    weather.disk_stall = draw_rarity(random, 0.0003, awful ? 0.01 : 0.003);
  }
  if (random_chance(random, 0.3))
    for (size_t i = 0; i < nodes; i++)
      weather.clock_drift[i] = three_digits((random_unit(random) - 0.5) * 0.02);
  return weather;
}

/* Small everything finds what large defaults hide: segments that hold a few entries, rows that do not fit
 * into the cache, entries that must be fetched from the disk. */
static void draw_master(struct plan *plan, struct random *random, bool snapshots) {
  plan->election_timeout_ms = (unsigned)draw_count(random, 150, 1500);
  plan->heartbeat_ms = (unsigned)(plan->election_timeout_ms / draw_scale(random, 2, 6));
  const uint64_t threshold = draw_count(random, 4, 120), trailing = draw_count(random, 1, 16),
                 segment = draw_count(random, 1 << 10, 8 << 10),
                 larger_segment = draw_count(random, 4 << 10, PLAN_SEGMENT);
  const bool often = snapshots && random_chance(random, 0.7);
  plan->snapshot_threshold = often ? threshold : PLAN_THRESHOLD;
  plan->snapshot_trailing = often ? trailing : PLAN_TRAILING;
  plan->segment_size = (often || random_chance(random, 0.3) ? segment : larger_segment) & ~UINT64_C(7);
  const size_t cache = (size_t)draw_count(random, 256, 64 << 10),
               rows = (size_t)draw_count(random, 1, 32 << 10),
               write = (size_t)draw_count(random, 256, 32 << 10);
  plan->cache_size = random_chance(random, 0.6) ? cache : PLAN_CACHE;
  plan->row_cache_size = random_chance(random, 0.6) ? rows : PLAN_ROWS;
  /* No row, one, some ten: everything that is written is soon cold, and must be fetched to be changed. */
  static const size_t next_to_nothing[] = {1, 200, 2000};
  if (random_chance(random, 0.4))
    plan->row_cache_size = next_to_nothing[random_below(random, ARRAY_SIZE(next_to_nothing))];
  plan->write_size = random_chance(random, 0.7) ? write : PLAN_WRITE;
}

/* All ways to work come to a few operations a second, or, in the short plans, to some dozens: in bursts,
 * where clients run into each other and which faults miss or meet; for seconds, with as long a rest; or
 * evenly, so that whatever a fault does, somebody asks meanwhile. */
static void draw_pace(struct plan *plan, struct random *random, bool dense) {
  const double rate = dense ? draw_scale(random, 5, 25) : draw_scale(random, 1, 5), answer_ns = 5e6,
               clients = (double)plan->clients;
  const double mode = random_unit(random);
  double burst_ns = 1e9;
  if (mode < 0.4) {
    plan->think_ns = draw_time(random, 0.1e6, 20e6);
    burst_ns = draw_scale(random, 4, 40) * ((double)plan->think_ns + answer_ns) / clients;
  } else if (mode < 0.75) {
    plan->think_ns = draw_time(random, 20e6, 300e6);
    burst_ns = draw_scale(random, 0.5e9, 8e9);
  } else {
    plan->think_ns = (int64_t)three_digits(clients / rate * 1e9);
  }
  const double rate_in_burst = clients / (((double)plan->think_ns + answer_ns) / 1e9);
  plan->burst_ns = (int64_t)three_digits(burst_ns);
  plan->silence_ns = mode < 0.75 ? (int64_t)three_digits(burst_ns * fmax(rate_in_burst / rate - 1, 0)) : 0;
  plan->operations = (uint64_t)fmax(20, rate * 1.5 * (double)plan->duration_ns / 1e9);
}

static void draw_workload(struct plan *plan, struct random *random, bool dense, const char *given) {
  size_t count = 0;
  for (const struct workload_description *known = workload_list(); known[count].name; count++)
    ;
  plan->workload = workload_list()[random_below(random, count)].name;
  if (given)
    plan->workload = plan_workload(given);
  plan->clients = (size_t)random_between(random, 2, 8);
  draw_pace(plan, random, dense);
  const uint64_t per_set = draw_count(random, 20, 400);
  plan->operations_per_set = random_chance(random, 0.6) ? per_set : 0;
  const bool impatient = random_chance(random, 0.3);
  const double patience = draw_scale(random, 0.2, 1);
  plan->request_timeout_ns = PLAN_REQUEST_TIMEOUT_NS;
  plan->attempt_timeout_ns = PLAN_ATTEMPT_TIMEOUT_NS;
  if (impatient) {
    plan->request_timeout_ns = (int64_t)(patience * 2e9);
    plan->attempt_timeout_ns = (int64_t)(patience * draw_scale(random, 0.2, 1) * 1e9);
  }
}

/* Some of the clients, so that what they are told can be held against what the primary says; or all. */
static size_t draw_any_readers(const struct plan *plan, struct random *random, const char *given) {
  const bool some = random_chance(random, 0.5), all = random_chance(random, 0.4);
  const size_t count = (size_t)random_between(random, 1, (int64_t)plan->clients);
  if (given)
    return strcmp(given, "any") == 0 ? plan->clients : 0;
  return !some ? 0 : all ? plan->clients : count;
}

/* Where nodes are added, some may begin outside. */
static size_t draw_members(const struct plan *plan, struct random *random) {
  bool grows = false;
  for (size_t i = 0; i < plan->fault_count; i++)
    grows |= plan->faults[i].fault == SIMULATED_ADD;
  const size_t fewer = (size_t)random_between(random, 1, (int64_t)plan->nodes - 1);
  return grows && random_chance(random, 0.5) ? fewer : plan->nodes;
}

/* ---- Options ---- */

/* The family's or the fault's bits, 0 for an unknown word. */
static unsigned bits_of(const char *word, size_t size) {
  unsigned bits = 0;
  for (size_t i = 0; i < SIMULATED_FAULTS; i++)
    if ((strlen(names[i].name) == size && memcmp(names[i].name, word, size) == 0) ||
        (strlen(names[i].family) == size && memcmp(names[i].family, word, size) == 0))
      bits |= FAULT_BIT(i);
  return bits;
}

static bool word_is(const char *word, size_t size, const char *text) {
  return strlen(text) == size && memcmp(word, text, size) == 0;
}

static int parse_faults(const char *list, unsigned *allowed, bool *snapshots, struct error *error) {
  *allowed = 0;
  *snapshots = false;
  for (const char *word = list;; word++) {
    const size_t size = strcspn(word, ",");
    const unsigned bits = bits_of(word, size);
    if (word_is(word, size, "all")) {
      *allowed = EVERY_FAULT;
      *snapshots = true;
    } else if (word_is(word, size, "snapshot")) {
      *snapshots = true;
    } else if (bits == 0 && !word_is(word, size, "none")) {
      char all[FAULT_NAMES_SIZE];
      return error_set(
          error, ERR_BAD_INPUT,
          "there is no fault '%.*s': name families (network, process, disk, clock, membership, snapshot), "
          "faults (%s), all or none",
          (int)size, word, simulated_fault_names(all));
    }
    *allowed |= bits;
    word += size;
    if (*word == '\0')
      return 0;
  }
}

static int check_options(const struct plan_options *options, unsigned *allowed, bool *snapshots,
                         struct error *error) {
  *allowed = EVERY_FAULT;
  *snapshots = true;
  if (options->nodes != 0 && options->nodes != 3 && options->nodes != 5)
    return error_set(error, ERR_BAD_INPUT, "a plan has 3 or 5 nodes, not %zu", options->nodes);
  if (options->duration_ns < 0)
    return error_set(error, ERR_BAD_INPUT, "a plan's duration cannot be negative");
  if (options->workload && !plan_workload(options->workload))
    return error_set(error, ERR_BAD_INPUT, "there is no workload '%s': there are %s", options->workload,
                     workload_list_names());
  if (options->reads && strcmp(options->reads, "primary") != 0 && strcmp(options->reads, "any") != 0)
    return error_set(error, ERR_BAD_INPUT, "clients read at primary or any, not at '%s'", options->reads);
  return options->faults ? parse_faults(options->faults, allowed, snapshots, error) : 0;
}

int plan_draw(uint64_t seed, const struct plan_options *options, struct plan *plan, struct error *error) {
  unsigned allowed;
  bool snapshots;
  const struct plan_options none = {0};
  options = options ? options : &none;
  *plan = (struct plan){0};
  const int status = check_options(options, &allowed, &snapshots, error);
  if (status != 0)
    return status;
  struct random root;
  random_seed(&root, seed);
  struct random size = random_split(&root), master = random_split(&root), weather = random_split(&root),
                work = random_split(&root), faults = random_split(&root);
  struct random members = random_split(&root), readers = random_split(&root), reports = random_split(&root);
  plan->seed = seed;
  const size_t nodes = random_chance(&size, 0.75) ? 3 : 5;
  plan->nodes = options->nodes ? options->nodes : nodes;
  const bool dense = random_chance(&size, 0.25);
  const int64_t duration_ns = draw_time(&size, 20e9, dense ? 35e9 : 120e9);
  plan->duration_ns = options->duration_ns ? options->duration_ns : duration_ns;
  draw_master(plan, &master, snapshots);
  plan->weather = draw_weather(&weather, plan->nodes);
  draw_workload(plan, &work, dense, options->workload);
  plan_draw_schedule(plan, &faults, allowed);
  plan->members = draw_members(plan, &members);
  plan->any_readers = draw_any_readers(plan, &readers, options->reads);
  plan->reports = random_chance(&reports, 0.3);
  return 0;
}
