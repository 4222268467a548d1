/* probe.h: asks echo nodes, from where the clients are, who hears whom. */
#ifndef ASSAY_NEMESIS_TEST_PROBE_H
#define ASSAY_NEMESIS_TEST_PROBE_H

#include "nemesis/nemesis.h"

struct probe;

struct probe *probe_new(const struct cluster *cluster);
void probe_free(struct probe *probe);

/* Waits until a node answers. */
void probe_await(struct probe *probe, size_t node);

/* Has every running node send to every other and CHECKs that exactly those hear it that shall; a node that is
 * not running sends and hears nothing. The nodes' answers pass the clients' side: it works throughout. */
void probe_expect(struct probe *probe, const bool *hears);

#endif
