/* simulator.h: long histories of many clients on a server that is correct, or wrong in one known way.
 *
 * Clients have one operation outstanding each. An operation takes effect at the server at some moment after
 * it was asked and is answered at some moment after that; moments are drawn so that about all clients overlap
 * at any time. The server is the naive specification. */
#ifndef ASSAY_CHECKER_TEST_SIMULATOR_H
#define ASSAY_CHECKER_TEST_SIMULATOR_H

#include "base/base.h"
#include "histories/histories.h"

enum defect {
  DEFECT_NONE,
  DEFECT_STALE_READ,  /* a read is answered from an old state */
  DEFECT_LOST_WRITE,  /* a mutation is answered ok and never happens */
  DEFECT_DUPLICATE,   /* a mutation happens twice */
  DEFECT_DIRTY_READ,  /* a read shows what was then refused */
  DEFECT_HALF_DELETE, /* a recursive delete leaves something */
  DEFECT_GHOST,       /* a list shows a name that is long gone */
  DEFECT_LOCAL_READS, /* from some time on, many reads are answered from old states */
  DEFECTS
};

const char *defect_name(enum defect defect);

/* Draws the next operation of a client; texts live until the next call. `learn` may be NULL. */
struct workload_source {
  void *context;
  void (*draw)(void *context, size_t client, struct arguments *asked);
  void (*learn)(void *context, size_t client, const struct arguments *asked, enum outcome outcome,
                const struct answer *answer);
};

struct simulation {
  uint64_t seed;
  size_t clients;
  size_t operations;
  size_t rotation; /* operations until work moves to a new top-level directory */
  size_t files;    /* names in each of the four directories of a working set */
  double unknown;  /* chance of an operation to end unknown; half of them take effect */
  size_t storms;   /* times at which everything in flight ends unknown at once */
  enum defect defect;
  const struct workload_source *source; /* NULL: the built-in mix */
};

struct history *simulate(const struct simulation *simulation);

#endif
