/* commands.h: every command of the program `assay`, one function and one file each.
 *
 * Each takes its own name as argv[0] and returns an exit code (base/error.h). */
#ifndef ASSAY_HARNESS_COMMANDS_H
#define ASSAY_HARNESS_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

int run_command(int argc, char **argv);
int check_command(int argc, char **argv);
int replay_command(int argc, char **argv);
int shrink_command(int argc, char **argv);
int list_command(int argc, char **argv);
int report_command(int argc, char **argv);
int pack_command(int argc, char **argv);
int cluster_command(int argc, char **argv);
int fs_command(int argc, char **argv);
int admin_command(int argc, char **argv);
int nemesis_command(int argc, char **argv);
int nemesis_by_hand_command(int argc, char **argv); /* `assay nemesis list` and the like */
int client_command(int argc, char **argv);
int agent_command(int argc, char **argv);
int bench_command(int argc, char **argv);
int sim_command(int argc, char **argv);
int bugs_command(int argc, char **argv);

/* A command made of others ("cluster up"): finds argv[1] among `count` names, each with its function, and
 * calls it with argv + 1. Prints the list for none or --help, the nearest name for an unknown one. */
struct command {
  const char *name;
  const char *summary; /* one line; NULL: not shown in the list */
  int (*run)(int argc, char **argv);
};
int command_dispatch(const char *program, const char *summary, const struct command *commands, size_t count,
                     int argc, char **argv);

/* The flags of a command that only needs to know which cluster of assay cluster up: --store and --json.
 * Leaves what stands beside flags in argv[1 … *argc - 1]. -1 to go on, or the exit code. */
int cluster_command_flags(const char *program, const char *summary, const char *positional, int *argc,
                          char **argv, const char **store, bool *json);

#endif
