/* client.c: `assay client`: one process of clients; what it does is in workloads/. */
#include <stdio.h>

#include "base/base.h"
#include "harness/bugs.h"
#include "harness/commands.h"
#include "harness/secure.h"
#include "harness/settings.h"
#include "nemesis/nemesis.h"
#include "workloads/workloads.h"

static int refuse(const char *message) {
  fprintf(stderr, "assay client: %s\n", message);
  return EXIT_USAGE;
}

int client_command(int argc, char **argv) {
  struct flag_list addresses = {0};
  struct client_options options = {
      .workload = "mixed", .history = "history.jsonl", .clients = 32, .shard_count = 1, .seed = 1};
  int64_t seed = 1, join = 0;
  const char *bug = NULL, *certificates = NULL, *reads = "primary";
  struct tls_files tls = {0};
  const struct flag flags[] = {
      {"address", FLAG_LIST, &addresses, "HOST:PORT", "client port of a node; once for each node", 0, 0},
      {"workload", FLAG_STRING, &options.workload, "NAME",
       "mixed, register, names, moves, blocks, batches (default mixed)", 0, 0},
      {"reads", FLAG_STRING, &reads, "WHERE", "at the primary, or at any node (default primary)", 0, 0},
      {"history", FLAG_STRING, &options.history, "FILE", "what it records (default history.jsonl)", 0, 0},
      {"seed", FLAG_INT, &seed, "N", "of the workload (default 1)", 0, 9e15},
      {"clients", FLAG_INT, &options.clients, "N", "logical clients (default 32)", 1, 4096},
      {"shard", FLAG_INT, &options.shard, "N", "which client process of a run this is, from 0", 0, 1023},
      {"shard-count", FLAG_INT, &options.shard_count, "N", "of how many (default 1)", 1, 1024},
      {"rate", FLAG_DOUBLE, &options.rate, "N", "operations a second; 0: no limit (default 0)", 0, 1e9},
      {"time", FLAG_DURATION, &options.time_ns, "TIME", "stop after it (default: when told to)", 1e6,
       86400e9},
      {"operations", FLAG_INT, &options.operations, "N", "stop after so many (default: no bound)", 0, 1e15},
      {"operations-per-set", FLAG_INT, &options.operations_per_set, "N",
       "operations after which a working set rotates; 0: the workload's default", 0, 1e9},
      {"request-timeout", FLAG_DURATION, &options.request_timeout_ns, "TIME",
       "after which an outcome counts as unknown (default 2s)", 1e7, 600e9},
      TLS_FLAGS(&tls),
      {"tls", FLAG_STRING, &certificates, "DIR", "of certificates that were made for a run", 0, 0},
      {"join", FLAG_INT, &join, "PID", "enter the sandbox of this process first (assay cluster status)", 0,
       1 << 22},
#ifdef ASSAY_BUGS
      {"bug", FLAG_STRING, &bug, "NAME", "a defect of the client library to have", 0, 0},
#endif
  };
  const struct flag_set set = {
      .program = "assay client",
      .summary = "Loads a cluster and records a history. Prints one JSON object a line; ends when its\n"
                 "time or operations are over, at SIGTERM, or when its standard input ends.",
      .flags = flags,
      .count = ARRAY_SIZE(flags),
  };
  int positional;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (code >= 0)
    return code;
  if (addresses.count == 0)
    return refuse("whom to load? --address HOST:PORT, once for each node");
  if (options.shard >= options.shard_count)
    return refuse("--shard must be below --shard-count");
  struct error error = {0};
  if (settings_choose_reads(reads, &options.reads_any, &error) != 0)
    return refuse(error.message);
  if (bug && bugs_find(bug, &error) != 0)
    return refuse(error.message);
  if (bug)
    bugs_enable(bug);
  if (join != 0 && sandbox_join((pid_t)join, &error) != 0) {
    fprintf(stderr, "assay client: %s\n", error.message);
    return EXIT_HARNESS;
  }
  struct generator *generator;
  const struct generator_options probe = {.workload = options.workload, .seed = 1, .shard_count = 1};
  if (generator_new(&probe, &generator, &error) != 0)
    return refuse(error.message);
  generator_free(generator);
  options.addresses = addresses.items;
  options.address_count = addresses.count;
  options.seed = (uint64_t)seed;
  if (secure_open(&tls, certificates, &options.tls, &error) != 0) {
    fprintf(stderr, "assay client: %s\n", error.message);
    return EXIT_HARNESS;
  }
  const int exit_code = client_run(&options);
  tls_context_free(options.tls);
  return exit_code;
}
