/* pcap.h: writes frames to a file that wireshark and tcpdump read (draft-ietf-opsawg-pcap, nanoseconds).
 *
 * The stamps are those of the monotonic clock that stamps histories, too, so that a frame can be held against
 * an operation; as dates they are meaningless. When the file has grown to half its bound it becomes
 * `PATH.old`, in the place of the one before, and a new one is begun: the last frames are always there, and
 * the bound holds for both together. */
#ifndef ASSAY_NEMESIS_LINK_PCAP_H
#define ASSAY_NEMESIS_LINK_PCAP_H

#include <stdint.h>

#include "base/base.h"

struct pcap;

/* `bound_bytes` at least 64 KiB. The file is replaced if it exists. Until the first pcap_write() nothing is
 * buffered, so that a child may take over from here. */
int pcap_open(const char *path, uint64_t bound_bytes, struct pcap **pcap, struct error *error);

/* Buffered. The first error is told to the log and ends the recording, not the traffic. */
void pcap_write(struct pcap *pcap, int64_t time_ns, const void *frame, size_t size);

void pcap_flush(struct pcap *pcap);
int pcap_fd(const struct pcap *pcap); /* of its file */
void pcap_close(struct pcap *pcap);   /* NULL is fine */

#endif
