#include "harness/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/store.h"
#include "harness/vagrant.h"
#include "harness/workers.h"
#include "workloads/workloads.h"

static const struct settings defaults = {
    .cache_size = -1,
    .time_ns = 30 * NS_PER_S,
    .final_ns = 2 * NS_PER_S,
    .workload = "mixed",
    .reads_name = "primary",
    .seed = -1,
    .clients = 64,
    .client_processes = 2,
    .request_timeout_ns = 2 * NS_PER_S,
    .live_within_ns = 30 * NS_PER_S,
    .provider_name = "auto",
    .link_name = "auto",
    .store = "store",
    .vagrant_directory = "vagrant",
    .floor = 100,
    .time_budget_ns = 60 * NS_PER_S,
};

const struct settings *settings_defaults(void) {
  return &defaults;
}

/* Where a run's seed is shown, copied and typed again; 2^53 keeps it exact in every JSON reader. */
#define SEED_LIMIT (INT64_C(1) << 53)

#define MACHINES_REQUEST_TIMEOUT_NS (10 * NS_PER_S)
#define MACHINES_LIVE_WITHIN_NS (120 * NS_PER_S)

static int parse_flags(struct settings *s, int argc, char **argv) {
  const struct flag flags[] = {
      {"nodes", FLAG_INT, &s->nodes, "N", "master nodes (default 3; provider ssh: one a host)", 1,
       CLUSTER_NODES_MAX},
      {"workers", FLAG_INT, &s->workers, "N", "assay-workers beside them (default 0)", 0, WORKERS_AT_ONCE},
      {"time", FLAG_DURATION, &s->time_ns, "TIME", "how long to load and hurt the cluster (default 30s)", 1e9,
       86400e9},
      {"workload", FLAG_STRING, &s->workload, "NAME",
       "what clients do: mixed, register, names, moves, blocks, batches (default mixed)", 0, 0},
      {"reads", FLAG_STRING, &s->reads_name, "WHERE",
       "clients read at the primary, or at any node, linearizably too (default primary)", 0, 0},
      {"nemesis", FLAG_STRING, &s->nemesis, "FAULTS",
       "families, faults and mixes, comma-separated, swarm or none (default standard: partition,pause,kill)",
       0, 0},
      {"schedule", FLAG_STRING, &s->schedule, "FILE",
       "carry out the faults of this schedule (docs/schedules.md); without --nemesis no others", 0, 0},
      {"fault-every", FLAG_LIST, &s->paces, "FAULTS=TIME",
       "a pace of their own for these faults, as kill=20s", 0, 0},
      {"fault-interval", FLAG_DURATION, &s->fault_interval_ns, "TIME",
       "mean time between the heal of a fault and the next fault", 1e6, 3600e9},
      {"fault-duration", FLAG_DURATION, &s->fault_duration_ns, "TIME", "mean time a fault stays", 1e6,
       3600e9},
      {"seed", FLAG_INT, &s->seed, "N", "repeats workload and fault schedule (default: drawn)", 0,
       (double)SEED_LIMIT},
      {"clients", FLAG_INT, &s->clients, "N", "logical clients, one operation outstanding each (default 64)",
       1, 4096},
      {"client-processes", FLAG_INT, &s->client_processes, "N", "processes they are spread over (default 2)",
       1, CLIENT_PROCESSES_MAX},
      {"rate", FLAG_DOUBLE, &s->rate, "N", "operations a second over all clients; 0: no limit (default 0)", 0,
       1e9},
      {"operations-per-set", FLAG_INT, &s->operations_per_set, "N",
       "operations after which a working set rotates; 0: the workload's default", 0, 1e9},
      {"request-timeout", FLAG_DURATION, &s->request_timeout_ns, "TIME",
       "after which an outcome counts as unknown (default 2s)", 1e7, 600e9},
      {"final", FLAG_DURATION, &s->final_ns, "TIME", "load after the last fault healed (default 2s)", 0,
       3600e9},
      {"live-within", FLAG_DURATION, &s->live_within_ns, "TIME",
       "after the last fault healed, all nodes and clients must be served (default 30s)", 1e9, 3600e9},
      {"provider", FLAG_STRING, &s->provider_name, "NAME",
       "where nodes live: netns (namespaces), host (loopback), ssh (hosts of yours), vagrant, auto (default)",
       0, 0},
      {"vagrant-directory", FLAG_STRING, &s->vagrant_directory, "DIR",
       "provider vagrant: its folder (default vagrant)", 0, 0},
      {"link", FLAG_STRING, &s->link_name, "NAME",
       "what joins nodes of netns: veth, tap, auto (default: veth unless faults need the other)", 0, 0},
      {"pcap", FLAG_BOOL, &s->pcap, NULL, "record the cluster's traffic, in traffic.pcap (takes TAP links)",
       0, 0},
      HOST_FLAGS(&s->hosts),
      {"master", FLAG_STRING, &s->master, "PROGRAM", "the master (default: assay-master beside assay)", 0, 0},
      {"old-master", FLAG_STRING, &s->old_master, "PROGRAM", "an older master, for the fault old-build", 0,
       0},
      {"bug", FLAG_STRING, &s->bug, "NAME", "switch a named defect of a master built with defects on", 0, 0},
      {"cache-size", FLAG_SIZE, &s->cache_size, "SIZE",
       "memory of every master for rows that its tables on disk have too; 0: none (default: the master's)", 0,
       1e15},
      {"tls", FLAG_BOOL, &s->tls, NULL,
       "everybody speaks TLS, with certificates that are made for the run (docs/master.md)", 0, 0},
      {"master-flag", FLAG_LIST, &s->master_flags, "ARGUMENT", "a further argument for every master", 0, 0},
      {"floor", FLAG_INT, &s->floor, "N", "fewer ok operations than this are no test (default 100)", 0, 1e15},
      {"time-budget", FLAG_DURATION, &s->time_budget_ns, "TIME", "of the checker (default 60s)", 1e6,
       86400e9},
      {"memory-budget", FLAG_SIZE, &s->memory_budget, "SIZE",
       "of the checker (default: half of the machine's memory)", 1 << 20, 1e15},
      {"store", FLAG_STRING, &s->store, "DIR", "where runs are kept (default store)", 0, 0},
      {"name", FLAG_STRING, &s->name, "TEST", "name of the test (default: the workload)", 0, 0},
      {"json", FLAG_BOOL, &s->json, NULL, "one JSON object last, people's text on standard error", 0, 0},
  };
  const struct flag_set set = {
      .program = "assay run",
      .summary =
          "Starts a cluster, loads it with clients that record every answer, hurts it with the nemesis,\n"
          "then decides whether the history is linearizable. Exit codes: 0 valid, 1 invalid,\n"
          "2 unknown or vacuous, 3 the harness itself failed, 64 wrong usage.",
      .flags = flags,
      .count = ARRAY_SIZE(flags),
  };
  int positional;
  return flags_parse_or_exit_code(&set, argc, argv, &positional);
}

int settings_find_program(const char *given, const char *name, const char *flag, char *path, size_t size,
                          struct error *error) {
  if (given) {
    char *absolute = realpath(given, NULL);
    if (!absolute || access(absolute, X_OK) != 0 || strlen(absolute) >= size) {
      free(absolute);
      return error_set_errno(error, ERR_NOT_FOUND, "--%s %s cannot be executed", flag, given);
    }
    snprintf(path, size, "%s", absolute);
    free(absolute);
    return 0;
  }
  char *directory = program_directory();
  snprintf(path, size, "%s/%s", directory ? directory : ".", name);
  free(directory);
  if (access(path, X_OK) != 0)
    return error_set_errno(error, ERR_NOT_FOUND, "%s cannot be executed: build it, or name another with --%s",
                           path, flag);
  return 0;
}

int settings_find_master(const char *given, const char *flag, enum provider provider, char *path, size_t size,
                         struct error *error) {
  if (provider != PROVIDER_SSH)
    return settings_find_program(given, "assay-master", flag, path, size, error);
  if (given && (given[0] != '/' || strlen(given) >= size))
    return error_set(error, ERR_BAD_INPUT, "--%s %s: with provider ssh it is an absolute path on the hosts",
                     flag, given);
  snprintf(path, size, "%s", given ? given : "");
  return 0;
}

int settings_check_workers(int64_t workers, enum provider provider, struct error *error) {
  if (workers == 0 || provider != PROVIDER_SSH)
    return 0;
  return error_set(error, ERR_BAD_INPUT,
                   "--workers starts workers beside the command, on this machine alone: on other hosts start "
                   "assay-worker by hand");
}

const char *provider_name(enum provider provider) {
  static const char *const names[] = {
      [PROVIDER_NETNS] = "netns", [PROVIDER_HOST] = "host", [PROVIDER_SSH] = "ssh"};
  return names[provider];
}

int settings_choose_link(const char *name, enum link_kind *link, struct error *error) {
  static const char *const names[] = {[LINK_AUTO] = "auto", [LINK_VETH] = "veth", [LINK_TAP] = "tap"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (strcmp(name, names[i]) == 0) {
      *link = (enum link_kind)i;
      return 0;
    }
  return error_set(error, ERR_BAD_INPUT, "--link takes auto, veth or tap, not '%s'", name);
}

int settings_choose_reads(const char *name, bool *any, struct error *error) {
  *any = strcmp(name, "any") == 0;
  return *any || strcmp(name, "primary") == 0
             ? 0
             : error_set(error, ERR_BAD_INPUT, "--reads takes primary or any, not '%s'", name);
}

int settings_choose_provider(const char *name, enum provider *provider, char *reason, struct error *error) {
  reason[0] = '\0';
  if (strcmp(name, "host") == 0) {
    *provider = PROVIDER_HOST;
    return 0;
  }
  if (strcmp(name, "ssh") == 0 || strcmp(name, "vagrant") == 0) {
    *provider = PROVIDER_SSH;
    return 0;
  }
  if (strcmp(name, "netns") != 0 && strcmp(name, "auto") != 0)
    return error_set(error, ERR_BAD_INPUT, "--provider takes auto, netns, host, ssh or vagrant, not '%s'",
                     name);
  struct error why = {0};
  const int status = sandbox_supported(&why);
  *provider = PROVIDER_NETNS;
  if (status == 0)
    return 0;
  if (strcmp(name, "netns") == 0)
    return error_set(error, ERR_UNSUPPORTED, "--provider netns does not work here: %s", why.message);
  *provider = PROVIDER_HOST;
  snprintf(reason, sizeof why.message, "%s", why.message);
  return 0;
}

static int check_workload(const char *workload, struct error *error) {
  struct generator *generator;
  const struct generator_options options = {.workload = workload, .seed = 1, .shard_count = 1};
  const int status = generator_new(&options, &generator, error);
  if (status == 0)
    generator_free(generator);
  return status;
}

static int check(struct settings *s, struct error *error) {
  int status = check_workload(s->workload, error);
  if (status == 0)
    status = settings_choose_reads(s->reads_name, &s->reads_any, error);
  s->nodes = host_flags_nodes(&s->hosts, s->nodes);
  if (!s->nemesis)
    s->nemesis = s->schedule ? "none" : "partition,pause,kill";
  if (status == 0)
    status = nemesis_check_families(s->nemesis, error);
  for (size_t i = 0; i < s->paces.count && status == 0; i++)
    status = nemesis_check_pace(s->paces.items[i], error);
  unsigned needs;
  if (status == 0 && s->schedule)
    status = nemesis_schedule_needs(s->schedule, (size_t)s->nodes, &needs, error);
  if (status != 0)
    return status;
  if (s->clients < s->client_processes)
    return error_set(error, ERR_BAD_INPUT,
                     "--clients %" PRId64 " cannot be spread over --client-processes %" PRId64, s->clients,
                     s->client_processes);
  if (!s->name)
    s->name = s->workload;
  if (!store_name_valid(s->name))
    return error_set(error, ERR_BAD_INPUT,
                     "--name %s: a test's name is letters, digits, '.', '_' and '-', not dot first, and not "
                     "'latest' or 'cluster'",
                     s->name);
  if (s->seed < 0)
    s->seed = (int64_t)(random_seed_from_system() & ((1 << 30) - 1));
  s->cluster_id = (int64_t)(random_seed_from_system() >> 12);
  return 0;
}

/* An emulated machine is ten times as slow as the one that the other defaults are for. */
static int choose_machines(struct settings *s, struct error *error) {
  if (strcmp(s->provider_name, "vagrant") != 0)
    return 0;
  if (s->request_timeout_ns == defaults.request_timeout_ns)
    s->request_timeout_ns = MACHINES_REQUEST_TIMEOUT_NS;
  if (s->live_within_ns == defaults.live_within_ns)
    s->live_within_ns = MACHINES_LIVE_WITHIN_NS;
  s->delegated = !vagrant_is_control();
  return s->delegated ? 0 : vagrant_hosts(&s->hosts, error);
}

int settings_parse(struct settings *settings, int argc, char **argv) {
  *settings = defaults;
  const int code = parse_flags(settings, argc, argv);
  if (code >= 0)
    return code;
  struct error error = {0};
  int status = choose_machines(settings, &error);
  if (status != 0 || check(settings, &error) != 0) {
    fprintf(stderr, "assay run: %s\n", error.message);
    return status != 0 ? EXIT_HARNESS : EXIT_USAGE;
  }
  if (settings->delegated)
    return -1;
  status = settings_choose_provider(settings->provider_name, &settings->provider, settings->provider_reason,
                                    &error);
  if (status == 0)
    status = settings_check_workers(settings->workers, settings->provider, &error);
  if (status == 0)
    status = settings_choose_link(settings->link_name, &settings->link, &error);
  if (status == 0 && settings->pcap && settings->link == LINK_VETH)
    status = error_set(&error, ERR_BAD_INPUT, "--pcap records TAP links: it excludes --link veth");
  if (status == 0)
    status = host_flags_check(&settings->hosts, settings->provider, settings->nodes, &error);
  if (status == 0)
    status = settings_find_master(settings->master, "master", settings->provider, settings->master_path,
                                  sizeof settings->master_path, &error);
  if (status == 0 && settings->old_master)
    status = settings_find_master(settings->old_master, "old-master", settings->provider,
                                  settings->old_master_path, sizeof settings->old_master_path, &error);
  if (status != 0) {
    fprintf(stderr, "assay run: %s\n", error.message);
    return status == ERR_BAD_INPUT || (status == ERR_NOT_FOUND && (settings->master || settings->old_master))
               ? EXIT_USAGE
               : EXIT_HARNESS;
  }
  return -1;
}
