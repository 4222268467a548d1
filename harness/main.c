/* main.c: the program `assay`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "harness/commands.h"

static const struct command commands[] = {
    {"run", "run a test: a cluster, its nemesis, its clients; check the history; report", run_command},
    {"sim", "run whole clusters on virtual time, each from one seed; save, shrink and show what fails",
     sim_command},
    {"bugs", "run the catalogue of named defects: is each found, by what, how soon?", bugs_command},
    {"check", "decide whether recorded histories are linearizable", check_command},
    {"replay", "run a stored run again, with its faults as they were recorded", replay_command},
    {"shrink", "find few faults of a stored run that lead to its verdict", shrink_command},
    {"list", "list the runs of a store", list_command},
    {"report", "write the web page of a run again", report_command},
    {"pack", "make one file of a run, for a bug report", pack_command},
    {"cluster", "start, end or look at a cluster to play with", cluster_command},
    {"fs", "file-system operations on that cluster, or on any other", fs_command},
    {"admin", "what an operator asks of running masters", admin_command},
    {"bench", "measure a fresh cluster: operations a second, latencies", bench_command},
    {"nemesis", "list faults; start and heal them by hand; own a cluster and hurt it", nemesis_command},
    {"agent", "start and hurt one node on this host (what provider ssh starts there)", agent_command},
    {"client", "load a cluster and record a history (what `assay run` starts several of)", client_command},
};

int main(int argc, char **argv) {
  log_open("assay", LOG_LEVEL_INFO);
  free(program_directory()); /* remembered for when this process is in a sandbox */
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    printf("assay %s\n", ASSAY_VERSION);
    return 0;
  }
  return command_dispatch("assay", "Tests whether a replicated file-system master is linearizable.", commands,
                          ARRAY_SIZE(commands), argc, argv);
}
