/* sim_canonical.c: the program assay-sim-canonical, which is `assay sim` for the journal on libraft 0.15. */
#include "harness/sim.h"
#include "simulator/canonical/canonical_journal.h"

int main(int argc, char **argv) {
  static const struct sim_design design = {.program = "assay-sim-canonical",
                                           .journal = canonical_journal_new,
                                           .members_fixed = true,
                                           .frame_print = canonical_frame_print};
  log_open("assay-sim-canonical", LOG_LEVEL_INFO);
  return sim_main(&design, argc, argv);
}
