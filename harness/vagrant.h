/* vagrant.h: provider vagrant: the machines of vagrant/. Seen from outside of them, a run is had done on
 * their control host, by vagrant/delegate; there, it is a run of provider ssh on the nodes of that machine's
 * /etc/assay/hosts. */
#ifndef ASSAY_HARNESS_VAGRANT_H
#define ASSAY_HARNESS_VAGRANT_H

#include "harness/settings.h"

/* True on the control host. */
bool vagrant_is_control(void);

/* The nodes that a control host knows, as flags; the names stay valid. */
int vagrant_hosts(struct host_flags *flags, struct error *error);

/* In place of this process: the run that argv tells ("run", flags), done on the control host and brought into
 * our store. Returns only when it cannot. */
int vagrant_delegate(const struct settings *settings, int argc, char **argv, struct error *error);

#endif
