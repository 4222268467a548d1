/* network.h: network namespaces, held by file descriptors: one goes, with everything in it, some time after
 * the last of its descriptors, processes and interfaces' cables. */
#ifndef ASSAY_NEMESIS_LINK_NETWORK_H
#define ASSAY_NEMESIS_LINK_NETWORK_H

#include "base/base.h"

/* Moves the calling thread, and no other, into the namespace. */
void network_enter(int network);

/* The one that the calling thread is in, or a negative error code. */
int network_open_own(struct error *error);

/* A new one, or a negative error code; the calling thread, whose namespace is `home`, does not move. */
int network_make(int home, struct error *error);

#endif
