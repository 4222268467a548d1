/* bench.c: `assay bench`: what is measured. */
#include "harness/bench.h"
#include "harness/commands.h"

int bench_command(int argc, char **argv) {
  static const struct command commands[] = {
      {"master", "operations a second and latencies of a fresh cluster, beside etcd's and ZooKeeper's",
       bench_master_command},
      {"scale", "steps of a measurement with many files, on a running cluster", bench_scale_command},
  };
  return command_dispatch("assay bench", "Measures.", commands, sizeof commands / sizeof commands[0], argc,
                          argv);
}
