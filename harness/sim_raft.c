/* sim_raft.c: `assay sim` runs the Raft journal of master/raft. */
#include "harness/commands.h"
#include "harness/sim.h"
#include "master/raft/raft_journal.h"

const struct sim_design sim_raft = {
    .program = "assay sim", .journal = raft_journal_new, .frame_print = raft_frame_print};

int sim_command(int argc, char **argv) {
  return sim_main(&sim_raft, argc, argv);
}
