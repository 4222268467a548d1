/* bench.h: the commands under `assay bench`. */
#ifndef ASSAY_HARNESS_BENCH_H
#define ASSAY_HARNESS_BENCH_H

int bench_master_command(int argc, char **argv);
int bench_scale_command(int argc, char **argv);

#endif
