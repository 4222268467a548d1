/* switch_loop.h: what the switch's process does: forwards frames between its ports until its owner is gone.
 *
 *        n1    n2    …    clients          ports: the cables of TAP devices
 *         │     │           │
 *       ┌─┴─────┴───────────┴──┐
 *       │ destination's MAC ── port           broadcasts go to all others
 *       │   │                  │
 *       │   └ shaped link? ── shaper ──┬── at once
 *       │                      │       └── departures, until their time
 *       └──────────────────────┘
 *
 * Commands and answers are packets on a socket: one answer to each command, so that a shape that was answered
 * is in force for every frame that is sent from then on. */
#ifndef ASSAY_NEMESIS_LINK_SWITCH_LOOP_H
#define ASSAY_NEMESIS_LINK_SWITCH_LOOP_H

#include "nemesis/link/link.h"
#include "nemesis/link/pcap.h"
#include "nemesis/link/tap.h"
#include "nemesis/nemesis.h"

#define SWITCH_LINKS_MAX (CLUSTER_NODES_MAX * CLUSTER_NODES_MAX)

struct switch_port {
  int cable; /* of a TAP device */
  unsigned char mac[MAC_BYTES];
};

struct switch_setup {
  size_t nodes;                                    /* of the cluster */
  struct switch_port ports[CLUSTER_NODES_MAX + 1]; /* the nodes', then the clients' */
  int control;                                     /* a SOCK_SEQPACKET socket; its end ends the switch */
  uint64_t seed;
  struct pcap *pcap; /* may be NULL */
};

struct switch_command {
  enum { SWITCH_REPORT, SWITCH_SHAPE } what;
  uint64_t number;
  struct link_shape shape;       /* plain: no link is shaped from now on, and what waits leaves at once */
  bool shaped[SWITCH_LINKS_MAX]; /* [a * nodes + b]: frames from b to a */
};

struct switch_report {
  uint64_t answers;                             /* the command of this number */
  uint64_t shaped;                              /* links that have a shape */
  uint64_t forwarded;                           /* frames put into a port since the beginning, */
  uint64_t refused;                             /* that the port would not take: its interface is down, */
  uint64_t stray;                               /* for nobody here, */
  uint64_t waiting;                             /* and those that wait now */
  struct link_counters links[SWITCH_LINKS_MAX]; /* since a shape was set where none was before */
};

/* Returns when the owner closes its end of `control`. */
void switch_run(const struct switch_setup *setup);

#endif
