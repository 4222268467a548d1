/* worker_options.h: the command line of assay-worker. */
#ifndef ASSAY_WORKER_OPTIONS_H
#define ASSAY_WORKER_OPTIONS_H

#include "base/base.h"
#include "master/rpc/tls.h"
#include "master/under_roots.h"

struct worker_options {
  const char *data, *listen;
  const char *advertise; /* NULL: as `listen`, with the port that it got */
  struct flag_list masters;
  int64_t capacity;     /* bytes; 0: what the disk has */
  struct tls_files tls; /* paths, point into argv */
  bool with_tls;        /* all of them are given */
  struct under_roots mount_roots;
  bool listen_insecure;
  int64_t parent; /* ends when this process, which started it, does; 0: outlives it */
};

/* -1: go on. Otherwise an exit code; what was wrong is printed, or the help. */
int worker_options_parse(struct worker_options *options, int argc, char **argv);

#endif
