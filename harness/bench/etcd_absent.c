/* etcd_absent.c: in place of etcd.c where libnghttp2 was not there when Assay was built. */
#include "harness/bench/system.h"

static int absent_start(const struct system_options *options, struct system_cluster **cluster,
                        struct error *error) {
  (void)options;
  (void)cluster;
  return error_set(error, ERR_UNSUPPORTED,
                   "--peers: this assay was built without libnghttp2, which a client of etcd needs: run "
                   "ci/setup peers, then ci/build");
}

const struct bench_system system_etcd = {.name = "etcd", .start = absent_start};
