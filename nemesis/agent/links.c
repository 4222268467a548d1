/* links.c: what an agent does to the packets of its host: drops those of nodes that shall not be heard, and
 * shapes those that it sends to nodes. */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "nemesis/agent/agent_internal.h"
#include "nemesis/firewall.h"
#include "nemesis/link/netem.h"
#include "nemesis/link/network.h"

/* ---- Whom it hears ---- */

static int take_hosts(const json_t *request, const char *hosts[CLUSTER_NODES_MAX], size_t *count,
                      struct error *error) {
  const json_t *list = json_object_get(request, "hosts"), *host;
  size_t i;
  *count = 0;
  if (json_array_size(list) > CLUSTER_NODES_MAX)
    return error_set(error, ERR_BAD_INPUT, "more than %d hosts", CLUSTER_NODES_MAX);
  json_array_foreach(list, i, host) {
    struct in_addr address;
    hosts[*count] = json_string_value(host);
    if (!hosts[*count] || inet_pton(AF_INET, hosts[*count], &address) != 1)
      return error_set(error, ERR_BAD_INPUT, "a host is no IPv4 address");
    ++*count;
  }
  return 0;
}

int agent_filter(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  struct firewall_job job = {.network = agent->network, .name = agent->node};
  (void)answer;
  const int status = take_hosts(request, job.dropped_hosts, &job.dropped_count, error);
  return status != 0 ? status : firewall_replace(&job, 1, error);
}

int agent_count_rules(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  struct firewall_job job = {.network = agent->network, .name = agent->node};
  (void)request;
  const int status = firewall_list(&job, 1, error);
  json_object_set_new(answer, "rules", json_integer((json_int_t)job.rules_found));
  json_object_set_new(answer, "dropped", json_integer((json_int_t)job.packets_dropped));
  return status;
}

int agent_lacks_filter(const struct agent *agent, struct error *error) {
  struct firewall_job look = {.network = agent->network, .name = "this host"};
  return firewall_list(&look, 1, error);
}

/* ---- How what it sends gets there ---- */

/* The interface that has the node's address: what nodes say to each other passes there. */
static int find_interface(const char *address, char *name, size_t size, struct error *error) {
  struct ifaddrs *all = NULL;
  struct in_addr wanted = {0};
  inet_pton(AF_INET, address ? address : "", &wanted);
  if (getifaddrs(&all) != 0)
    return error_set_errno(error, ERR_IO, "cannot list the interfaces");
  name[0] = '\0';
  for (const struct ifaddrs *item = all; item; item = item->ifa_next) {
    const struct sockaddr_in *has = (const struct sockaddr_in *)(const void *)item->ifa_addr;
    if (has && has->sin_family == AF_INET && has->sin_addr.s_addr == wanted.s_addr)
      snprintf(name, size, "%s", item->ifa_name);
  }
  freeifaddrs(all);
  if (name[0] == '\0')
    return error_set(error, ERR_UNSUPPORTED,
                     "no interface has the node's address, %s: give it as ADDRESS of --host",
                     address ? address : "of which nothing was said");
  return 0;
}

/* It is tried on the loopback of a namespace that nobody uses. */
static int try_netem(const struct agent *agent, struct error *error) {
  if (unshare(CLONE_NEWNET) != 0)
    return error_set_errno(error, ERR_UNSUPPORTED, "cannot try netem in a network namespace of its own");
  const int status = netem_supported(error);
  network_enter(agent->network);
  return status;
}

int agent_open_shapes(struct agent *agent, const char *address, struct error *error) {
  int status = find_interface(address, agent->interface, sizeof agent->interface, error);
  if (status == 0)
    status = try_netem(agent, error);
  return status != 0 ? status : netem_open(agent->interface, &agent->netem, error);
}

static struct link_shape shape_of(const json_t *told) {
  const json_t *rate = json_object_get(told, "rate_bytes_per_s"), *limit = json_object_get(told, "limit");
  return (struct link_shape){.delay_ns = json_integer_value(json_object_get(told, "delay_ns")),
                             .jitter_ns = json_integer_value(json_object_get(told, "jitter_ns")),
                             .loss = json_number_value(json_object_get(told, "loss")),
                             .duplicate = json_number_value(json_object_get(told, "duplicate")),
                             .reorder = json_number_value(json_object_get(told, "reorder")),
                             .corrupt = json_number_value(json_object_get(told, "corrupt")),
                             .rate_bytes_per_s = (uint64_t)json_integer_value(rate),
                             .limit = (uint32_t)json_integer_value(limit)};
}

/* The note comes first: what is not noted would stay for ever. */
int agent_shape(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  const char *hosts[CLUSTER_NODES_MAX];
  struct in_addr addresses[CLUSTER_NODES_MAX];
  size_t count = 0;
  (void)answer;
  if (!agent->netem)
    return error_set(error, ERR_UNSUPPORTED, "links cannot be shaped here");
  const struct link_shape shape = shape_of(json_object_get(request, "shape"));
  int status = take_hosts(request, hosts, &count, error);
  if (status == 0 && count > 0)
    status = link_shape_check(&shape, error);
  if (status == 0 && count > 0 && !agent->left.interface)
    status = leftovers_note_interface(&agent->left, agent->interface, error);
  for (size_t i = 0; i < count && status == 0; i++)
    inet_pton(AF_INET, hosts[i], &addresses[i]);
  if (status != 0)
    return status;
  return count > 0 ? netem_set(agent->netem, &shape, addresses, count, error)
                   : netem_clear(agent->netem, error);
}

int agent_count_shapes(struct agent *agent, const json_t *request, json_t *answer, struct error *error) {
  struct link_counters counters = {0};
  size_t shaped = 0;
  (void)request;
  const int status = agent->netem ? netem_count(agent->netem, &shaped, &counters, error) : 0;
  json_object_set_new(answer, "shaped", json_integer((json_int_t)shaped));
  json_object_set_new(answer, "seen", json_integer((json_int_t)counters.seen));
  json_object_set_new(answer, "lost", json_integer((json_int_t)counters.lost));
  return status;
}
