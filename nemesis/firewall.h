/* firewall.h: the packet filter of the nodes: one table of ours, `ip assay`, in each node's network
 * namespace.
 *
 * A node drops at its input what comes from the hosts it shall not hear; that the other direction stays open
 * is what makes one-way cuts possible. Rules count what they drop, as evidence that the fault took hold. */
#ifndef ASSAY_NEMESIS_FIREWALL_H
#define ASSAY_NEMESIS_FIREWALL_H

#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "nemesis/nemesis.h"

/* One node's part of a change or a look; not owning what it points to. */
struct firewall_job {
  int network;                                  /* its network namespace */
  const char *name;                             /* the node's, for messages */
  const char *dropped_hosts[CLUSTER_NODES_MAX]; /* addresses */
  size_t dropped_count;
  size_t rules_found;       /* filled in: how many rules of ours the kernel lists now */
  uint64_t packets_dropped; /* filled in: by those rules */
};

/* Puts exactly the wanted rules into every namespace, each in one transaction, no table where none are
 * wanted; then asks the kernel for what is there and compares. */
int firewall_replace(struct firewall_job *jobs, size_t count, struct error *error);

/* Asks the kernel what is there. */
int firewall_list(struct firewall_job *jobs, size_t count, struct error *error);

#endif
