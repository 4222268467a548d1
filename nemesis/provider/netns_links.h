/* netns_links.h: what joins the nodes' network namespaces and the clients' one, the sandbox's own.
 *
 *   with veth pairs and a bridge:                       with TAP devices and our own switch:
 *
 *   assay0 (bridge) ──┬── n1 ═════ eth0 of n1           assay0 (TAP) ──┬─ switch ─┬── eth0 (TAP) of n1
 *                     ├── n2 ═════ eth0 of n2                          │ (process)├── eth0 (TAP) of n2
 *                     └── …                                            └──────────┴── …
 *
 * The former costs least, and has shapes if the kernel has sch_netem; the latter has them anywhere. Nodes
 * have 10.23.0.1/24 and so on, clients 10.23.0.254/24, and MACs that are fixed, so that no neighbour table
 * ever holds a stale one. */
#ifndef ASSAY_NEMESIS_NETNS_LINKS_H
#define ASSAY_NEMESIS_NETNS_LINKS_H

#include "nemesis/link/link.h"
#include "nemesis/nemesis.h"

struct netns_links;

struct netns_links_options {
  enum link_kind kind;
  bool shapes; /* they shall be shaped: LINK_AUTO takes what can be, if there is any */
  size_t nodes;
  int home;            /* the sandbox's namespace, in which the calling thread is */
  const int *networks; /* the nodes'; both outlive the links */
  uint64_t seed;       /* of what happens to frames on TAP links */
  const char *pcap;    /* where the traffic is recorded, which TAP links can; may be NULL */
};

/* "10.23.0.1" and so on: what a node is reached at. */
void netns_links_host(size_t node, char *out, size_t size);

/* ERR_UNSUPPORTED when the links that are asked for, or those that a record of the traffic takes, cannot be
 * had here; that none that can be shaped can be had is no error, see netns_links_lack_shapes. */
int netns_links_open(const struct netns_links_options *options, struct netns_links **links,
                     struct error *error);
void netns_links_close(struct netns_links *links); /* NULL is fine */

/* Why these links cannot be shaped, with the cure; NULL: they can. */
const char *netns_links_lack_shapes(const struct netns_links *links);

/* "veth", "netem" (veth, which can be shaped) or "tap". */
const char *netns_links_kind(const struct netns_links *links);

/* From the return on, what node b sends to node a has the shape if shaped[a * nodes + b], nothing else has
 * one. NULL: nothing has, and the kernel or the switch has confirmed it. */
int netns_links_shape(struct netns_links *links, const struct link_shape *shape, const bool *shaped,
                      struct error *error);

/* How many shapes there are now, as the kernel or the switch says, and what befell the frames that met one
 * since one was set where none was before. */
int netns_links_count(struct netns_links *links, size_t *shaped, struct link_counters *counters,
                      struct error *error);

#endif
