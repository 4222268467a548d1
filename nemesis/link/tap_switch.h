/* tap_switch.h: the owner's side of a switch in user space, for kernels without sch_netem: the nodes' and the
 * clients' interfaces are TAP devices (tap.h), and a process of ours carries the frames between them, with
 * the shapes of link.h.
 *
 * The process is a child of the owner and dies with it. It is seeded: the same frames at the same times meet
 * the same fate. */
#ifndef ASSAY_NEMESIS_LINK_TAP_SWITCH_H
#define ASSAY_NEMESIS_LINK_TAP_SWITCH_H

#include "nemesis/link/switch_loop.h"

struct tap_switch;

struct tap_switch_options {
  size_t nodes;
  struct switch_port ports[CLUSTER_NODES_MAX + 1]; /* the nodes', then the clients'; see tap_open */
  uint64_t seed;
  const char *pcap;    /* records the traffic to this file; NULL: nowhere. See pcap.h */
  uint64_t pcap_bytes; /* its bound; 0: 256 MiB */
};

/* Starts the process, which takes the cables: they are closed here, whatever the outcome. */
int tap_switch_open(const struct tap_switch_options *options, struct tap_switch **tap_switch,
                    struct error *error);
/* Ends the process, and with it every interface of its ports. NULL is fine. */
void tap_switch_close(struct tap_switch *tap_switch);

/* From the return on, frames from node b to node a have the shape if shaped[a * nodes + b], all others none.
 * NULL: no link has; what waited has been delivered. Waits for the switch's answer, some 0.1 ms; an error
 * after 2 s. */
int tap_switch_shape(struct tap_switch *tap_switch, const struct link_shape *shape, const bool *shaped,
                     struct error *error);

int tap_switch_report(struct tap_switch *tap_switch, struct switch_report *report, struct error *error);

#endif
