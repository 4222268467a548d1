/* tap.h: TAP devices: network interfaces whose cable ends in a file descriptor of ours
 * (Documentation/networking/tuntap.rst). */
#ifndef ASSAY_NEMESIS_LINK_TAP_H
#define ASSAY_NEMESIS_LINK_TAP_H

#include "base/base.h"

#define MAC_BYTES 6

/* 0 when TAP devices can be made by this process, in network namespaces where it may; else ERR_UNSUPPORTED
 * with why and what to do. */
int tap_supported(struct error *error);

/* Makes an interface, still down, in the calling thread's network namespace; *fd gets its cable, that reads
 * and writes one Ethernet frame a call and never blocks. The interface lives as long as the descriptor.
 *
 * No checksum is left to a device: what is damaged on the way is found by whoever receives it. */
int tap_open(const char *name, const unsigned char mac[MAC_BYTES], int *fd, struct error *error);

#endif
