/* client.h: one client of the masters, in the modelled world: what master/client does on a real network.
 *
 * It has one connection at a time, one request at a time, and the doctrine of the client library: conclude.h
 * decides what the ends of attempts mean, and pacing and the search for the primary follow link.c. */
#ifndef ASSAY_SIMULATOR_CLIENT_H
#define ASSAY_SIMULATOR_CLIENT_H

#include "master/client/client.h"
#include "simulator/cluster_internal.h"

struct sim_client;

struct sim_client_options {
  size_t number;       /* in the world */
  size_t first, count; /* the nodes it knows, from 0: `count` in a ring from `first`, which it tries first */
  bool any_node;       /* for reads alone: stays with whatever node answers */
};

struct sim_client *sim_client_new(struct sim_cluster *cluster, const struct sim_client_options *options);
void sim_client_free(struct sim_client *client);

/* The callback comes once, never from inside this call. `first_client`: of a reservation. What the request
 * points to is copied. */
typedef void sim_client_answered(void *context, const struct master_answer *answer, uint32_t first_client);
void sim_client_submit(struct sim_client *client, const struct master_request *request,
                       sim_client_answered *answered, void *context);
void sim_client_reserve(struct sim_client *client, uint32_t count, sim_client_answered *answered,
                        void *context);

/* Reports blocks, as a worker does that nobody knows. The answer's numbers are those that do not exist. */
void sim_client_report(struct sim_client *client, const uint64_t *held, size_t count,
                       sim_client_answered *answered, void *context);

/* The process of a node is gone. */
void sim_client_node_died(struct sim_client *client, size_t node);

#endif
