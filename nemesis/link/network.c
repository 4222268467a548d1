/* network.c: see network.h. */
#include "nemesis/link/network.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>

#include "nemesis/sandbox.h"

void network_enter(int network) {
  const int status = setns(network, CLONE_NEWNET);
  assert(status == 0); /* a namespace that is held open can be joined */
}

int network_open_own(struct error *error) {
  const int network = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  return network >= 0 ? network : error_set_errno(error, ERR_IO, "cannot open /proc/thread-self/ns/net");
}

int network_make(int home, struct error *error) {
  if (unshare(CLONE_NEWNET) != 0) {
    sandbox_explain(error, errno, "cannot make a network namespace for a node");
    return ERR_UNSUPPORTED;
  }
  const int network = network_open_own(error);
  network_enter(home);
  return network;
}
