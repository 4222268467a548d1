/* netem.c: see netem.h.
 *
 * libnl-route has objects for prio and u32, and one for netem that knows neither rates nor nanoseconds (3.7):
 * so a netem's request and the kernel's listing of it are written and read here, with libnl's attributes. */
#include "nemesis/link/netem.h"

#include <assert.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/gen_stats.h>
#include <linux/if_ether.h>
#include <linux/pkt_sched.h>
#include <linux/sockios.h>
#include <math.h>
#include <net/if.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/u32.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/prio.h>
#include <netlink/route/tc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nemesis/link/interfaces.h"

#define ROOT TC_HANDLE(1, 0)
#define PLAIN_BAND 1 /* of the class 1:1 */
#define IP_DESTINATION_OFFSET 16

struct netem {
  char interface[IFNAMSIZ];
  int index;
  struct nl_sock *socket;
  int settings; /* a socket to ask for the interface's settings with */
  struct in_addr hosts[NETEM_HOSTS_MAX];
  size_t count;
  size_t queues; /* netems: one for each host, or one for all */
};

static uint32_t class_of(size_t queue) {
  return TC_HANDLE(1, (uint32_t)(PLAIN_BAND + 1 + queue));
}

/* ---- One netem, as messages have it ---- */

static uint32_t to_fraction(double probability) {
  return (uint32_t)lround(probability * UINT32_MAX);
}

static double from_fraction(uint32_t fraction) {
  return (double)fraction / UINT32_MAX;
}

/* Times stand in attributes of their own, in nanoseconds; those of the structure are in ticks, and 0. */
static int put_options(struct nl_msg *message, const struct link_shape *shape) {
  const struct tc_netem_qopt basics = {.limit = link_shape_limit(shape),
                                       .loss = to_fraction(shape->loss),
                                       .gap = shape->reorder > 0 ? 1 : 0,
                                       .duplicate = to_fraction(shape->duplicate)};
  const struct tc_netem_reorder reorder = {.probability = to_fraction(shape->reorder)};
  const struct tc_netem_corrupt corrupt = {.probability = to_fraction(shape->corrupt)};
  const uint64_t rate = shape->rate_bytes_per_s;
  const struct tc_netem_rate small_rate = {.rate = rate < UINT32_MAX ? (uint32_t)rate : UINT32_MAX};
  struct nlattr *options = nla_nest_start(message, TCA_OPTIONS);
  if (!options || nlmsg_append(message, (void *)&basics, sizeof basics, NLA_ALIGNTO) != 0 ||
      nla_put(message, TCA_NETEM_REORDER, sizeof reorder, &reorder) != 0 ||
      nla_put(message, TCA_NETEM_CORRUPT, sizeof corrupt, &corrupt) != 0 ||
      nla_put(message, TCA_NETEM_RATE, sizeof small_rate, &small_rate) != 0 ||
      (rate >= UINT32_MAX && nla_put_u64(message, TCA_NETEM_RATE64, rate) != 0) ||
      nla_put(message, TCA_NETEM_LATENCY64, sizeof shape->delay_ns, &shape->delay_ns) != 0 ||
      nla_put(message, TCA_NETEM_JITTER64, sizeof shape->jitter_ns, &shape->jitter_ns) != 0)
    return -NLE_NOMEM;
  return nla_nest_end(message, options);
}

struct nl_msg *netem_request(int interface, uint32_t parent, const struct link_shape *shape) {
  struct tcmsg subject = {.tcm_family = AF_UNSPEC, .tcm_ifindex = interface, .tcm_parent = parent};
  /* The band's number makes the handle: 1:2 has netem 2:0. Named, it is changed where it exists. */
  subject.tcm_handle = TC_H_MIN(parent) << 16;
  struct nl_msg *message = nlmsg_alloc_simple(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE);
  assert(message && nlmsg_append(message, &subject, sizeof subject, NLMSG_ALIGNTO) == 0 &&
         nla_put_string(message, TCA_KIND, "netem") == 0 && put_options(message, shape) == 0);
  return message;
}

int netem_parse(struct nlattr *options, struct link_shape *shape) {
  struct nlattr *found[TCA_NETEM_MAX + 1];
  struct tc_netem_qopt *basics = nla_data(options);
  const int rest = nla_len(options) - (int)sizeof *basics;
  if (rest < 0 || nla_parse(found, TCA_NETEM_MAX, (struct nlattr *)(void *)(basics + 1), rest, NULL) < 0)
    return ERR_CORRUPT;
  *shape = (struct link_shape){.loss = from_fraction(basics->loss),
                               .duplicate = from_fraction(basics->duplicate),
                               .limit = basics->limit};
  if (found[TCA_NETEM_LATENCY64])
    memcpy(&shape->delay_ns, nla_data(found[TCA_NETEM_LATENCY64]), sizeof shape->delay_ns);
  if (found[TCA_NETEM_JITTER64])
    memcpy(&shape->jitter_ns, nla_data(found[TCA_NETEM_JITTER64]), sizeof shape->jitter_ns);
  if (found[TCA_NETEM_REORDER] && basics->gap > 0)
    shape->reorder =
        from_fraction(((struct tc_netem_reorder *)nla_data(found[TCA_NETEM_REORDER]))->probability);
  if (found[TCA_NETEM_CORRUPT])
    shape->corrupt =
        from_fraction(((struct tc_netem_corrupt *)nla_data(found[TCA_NETEM_CORRUPT]))->probability);
  if (found[TCA_NETEM_RATE64])
    memcpy(&shape->rate_bytes_per_s, nla_data(found[TCA_NETEM_RATE64]), sizeof shape->rate_bytes_per_s);
  else if (found[TCA_NETEM_RATE])
    shape->rate_bytes_per_s = ((struct tc_netem_rate *)nla_data(found[TCA_NETEM_RATE]))->rate;
  return 0;
}

/* ---- Requests ---- */

static int refused(const struct netem *netem, const char *what, int nl_status, struct error *error) {
  if (nl_status == -NLE_OBJ_NOTFOUND || nl_status == -NLE_OPNOTSUPP)
    return error_set(error, ERR_UNSUPPORTED, "the kernel has no %s (modprobe -a sch_netem sch_prio cls_u32)",
                     what);
  return error_set(error, ERR_IO, "cannot set up %s on %s: %s", what, netem->interface,
                   nl_geterror(nl_status));
}

static int add_root(struct netem *netem, size_t bands, struct error *error) {
  uint8_t all_plain[TC_PRIO_MAX + 1] = {0};
  struct rtnl_qdisc *root = rtnl_qdisc_alloc();
  rtnl_tc_set_ifindex(TC_CAST(root), netem->index);
  rtnl_tc_set_parent(TC_CAST(root), TC_H_ROOT);
  rtnl_tc_set_handle(TC_CAST(root), ROOT);
  int status = rtnl_tc_set_kind(TC_CAST(root), "prio");
  if (status == 0) {
    rtnl_qdisc_prio_set_bands(root, (int)bands);
    status = rtnl_qdisc_prio_set_priomap(root, all_plain, ARRAY_SIZE(all_plain));
  }
  if (status == 0)
    status = rtnl_qdisc_add(netem->socket, root, NLM_F_CREATE | NLM_F_EXCL);
  rtnl_qdisc_put(root);
  return status == 0 ? 0 : refused(netem, "sch_prio", status, error);
}

static int set_netem(struct netem *netem, size_t queue, const struct link_shape *shape, struct error *error) {
  struct nl_msg *message = netem_request(netem->index, class_of(queue), shape);
  const int status = nl_send_sync(netem->socket, message); /* which frees it */
  return status >= 0 ? 0 : refused(netem, "sch_netem", status, error);
}

static int add_filter(struct netem *netem, size_t at, struct error *error) {
  struct rtnl_cls *filter = rtnl_cls_alloc();
  rtnl_tc_set_ifindex(TC_CAST(filter), netem->index);
  rtnl_tc_set_parent(TC_CAST(filter), ROOT);
  rtnl_cls_set_prio(filter, 1);
  rtnl_cls_set_protocol(filter, ETH_P_IP);
  int status = rtnl_tc_set_kind(TC_CAST(filter), "u32");
  if (status == 0)
    status =
        rtnl_u32_add_key_uint32(filter, ntohl(netem->hosts[at].s_addr), UINT32_MAX, IP_DESTINATION_OFFSET, 0);
  if (status == 0)
    status = rtnl_u32_set_classid(filter, class_of(netem->queues > 1 ? at : 0));
  if (status == 0)
    status = rtnl_u32_set_cls_terminal(filter);
  if (status == 0)
    status = rtnl_cls_add(netem->socket, filter, NLM_F_CREATE);
  rtnl_cls_put(filter);
  return status == 0 ? 0 : refused(netem, "cls_u32", status, error);
}

/* Whether the kernel may hand the interface pieces of a stream that are longer than a frame. While links are
 * shaped it may not: each frame is to meet its own fate. Only a refinement, so a refusal is no error. */
static void allow_long_pieces(const struct netem *netem, bool allow) {
  static const uint32_t commands[] = {ETHTOOL_STSO, ETHTOOL_SGSO};
  for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
    struct ethtool_value value = {.cmd = commands[i], .data = allow};
    struct ifreq request = {.ifr_data = (void *)&value};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", netem->interface);
    if (ioctl(netem->settings, SIOCETHTOOL, &request) != 0)
      log_debug("%s: segmentation stays as it is: %s", netem->interface, strerror(errno));
  }
}

/* ---- What the kernel lists ---- */

struct listing {
  int index;
  size_t count;
  bool failed;
  uint32_t parents[NETEM_HOSTS_MAX];
  struct link_shape shapes[NETEM_HOSTS_MAX];
  struct link_counters counters;
};

static void add_statistics(struct nlattr *statistics, struct link_counters *counters) {
  struct nlattr *found[TCA_STATS_MAX + 1];
  struct gnet_stats_basic basic = {0};
  struct gnet_stats_queue queue = {0};
  if (!statistics || nla_parse_nested(found, TCA_STATS_MAX, statistics, NULL) < 0)
    return;
  if (found[TCA_STATS_BASIC])
    nla_memcpy(&basic, found[TCA_STATS_BASIC], sizeof basic);
  if (found[TCA_STATS_QUEUE])
    nla_memcpy(&queue, found[TCA_STATS_QUEUE], sizeof queue);
  counters->seen += basic.packets + queue.drops + queue.qlen;
  counters->lost += queue.drops;
}

static int on_qdisc(struct nl_msg *message, void *context) {
  struct listing *listing = context;
  struct nlattr *found[TCA_MAX + 1];
  const struct tcmsg *subject = nlmsg_data(nlmsg_hdr(message));
  if (nlmsg_parse(nlmsg_hdr(message), sizeof *subject, found, TCA_MAX, NULL) < 0) {
    listing->failed = true;
    return NL_OK;
  }
  if (subject->tcm_ifindex != listing->index || !found[TCA_KIND] ||
      strcmp(nla_get_string(found[TCA_KIND]), "netem") != 0)
    return NL_OK;
  if (listing->count == NETEM_HOSTS_MAX || !found[TCA_OPTIONS] ||
      netem_parse(found[TCA_OPTIONS], &listing->shapes[listing->count]) != 0) {
    listing->failed = true;
    return NL_OK;
  }
  listing->parents[listing->count++] = subject->tcm_parent;
  add_statistics(found[TCA_STATS2], &listing->counters);
  return NL_OK;
}

static int list(struct netem *netem, struct listing *listing, struct error *error) {
  *listing = (struct listing){.index = netem->index};
  struct tcmsg all = {.tcm_family = AF_UNSPEC, .tcm_ifindex = netem->index};
  int status = nl_socket_modify_cb(netem->socket, NL_CB_VALID, NL_CB_CUSTOM, on_qdisc, listing);
  if (status == 0)
    status = nl_send_simple(netem->socket, RTM_GETQDISC, NLM_F_DUMP, &all, sizeof all);
  if (status >= 0)
    status = nl_recvmsgs_default(netem->socket);
  nl_socket_modify_cb(netem->socket, NL_CB_VALID, NL_CB_DEFAULT, NULL, NULL);
  if (status < 0 || listing->failed)
    return error_set(error, ERR_IO, "cannot list what shapes %s: %s", netem->interface,
                     status < 0 ? nl_geterror(status) : "what the kernel lists cannot be read");
  return 0;
}

static bool same_probability(double a, double b) {
  return fabs(a - b) < 1e-6;
}

static bool same_shape(const struct link_shape *a, const struct link_shape *b) {
  return a->delay_ns == b->delay_ns && a->jitter_ns == b->jitter_ns && same_probability(a->loss, b->loss) &&
         same_probability(a->duplicate, b->duplicate) && same_probability(a->reorder, b->reorder) &&
         same_probability(a->corrupt, b->corrupt) && a->rate_bytes_per_s == b->rate_bytes_per_s &&
         link_shape_limit(a) == link_shape_limit(b);
}

static int verify(struct netem *netem, const struct link_shape *shape, struct error *error) {
  struct listing listing;
  const int status = list(netem, &listing, error);
  size_t right = 0;
  for (size_t i = 0; i < listing.count; i++)
    right += same_shape(&listing.shapes[i], shape) && TC_H_MAJ(listing.parents[i]) == ROOT;
  if (status == 0 && (right != netem->queues || listing.count != netem->queues))
    return error_set(error, ERR_IO,
                     "%s: %zu shapes were to be set, but the kernel lists %zu of them and %zu others",
                     netem->interface, netem->queues, right, listing.count - right);
  return status;
}

/* ---- The door ---- */

int netem_open(const char *interface, struct netem **netem, struct error *error) {
  struct netem *made = xcalloc(1, sizeof *made);
  snprintf(made->interface, sizeof made->interface, "%s", interface);
  made->index = (int)if_nametoindex(interface);
  made->settings = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int status = interfaces_open(&made->socket, error);
  if (status == 0 && (made->index == 0 || made->settings < 0))
    status = error_set_errno(error, ERR_NOT_FOUND, "cannot find the interface %s", interface);
  if (status != 0) {
    netem_close(made);
    return status;
  }
  *netem = made;
  return 0;
}

void netem_close(struct netem *netem) {
  if (!netem)
    return;
  if (netem->settings >= 0)
    close(netem->settings);
  interfaces_close(netem->socket);
  free(netem);
}

/* Since Linux 6.17, and in what was derived from it, "cannot mix duplicating netems with other netems in
 * tree": a copy is enqueued at the root again. */
static size_t queues_for(const struct link_shape *shape, size_t hosts) {
  return shape->duplicate > 0 && hosts > 1 ? 1 : hosts;
}

static bool is_laid_out(const struct netem *netem, const struct link_shape *shape,
                        const struct in_addr *hosts, size_t count) {
  return netem->count == count && netem->queues == queues_for(shape, count) &&
         memcmp(netem->hosts, hosts, count * sizeof *hosts) == 0;
}

/* Filters come last: until then everything goes the plain way. */
int netem_set(struct netem *netem, const struct link_shape *shape, const struct in_addr *hosts, size_t count,
              struct error *error) {
  assert(count <= NETEM_HOSTS_MAX);
  int status = link_shape_check(shape, error);
  const bool anew = !is_laid_out(netem, shape, hosts, count);
  if (status == 0 && anew)
    status = netem_clear(netem, error);
  if (status != 0 || count == 0)
    return status;
  netem->count = count;
  netem->queues = queues_for(shape, count);
  memcpy(netem->hosts, hosts, count * sizeof *hosts);
  if (anew) {
    allow_long_pieces(netem, false);
    status = add_root(netem, netem->queues + 1, error);
  }
  for (size_t i = 0; i < netem->queues && status == 0; i++)
    status = set_netem(netem, i, shape, error);
  for (size_t i = 0; i < count && status == 0 && anew; i++)
    status = add_filter(netem, i, error);
  return status == 0 ? verify(netem, shape, error) : status;
}

int netem_clear(struct netem *netem, struct error *error) {
  size_t left = 0;
  struct link_counters counters;
  struct rtnl_qdisc *root = rtnl_qdisc_alloc();
  rtnl_tc_set_ifindex(TC_CAST(root), netem->index);
  rtnl_tc_set_parent(TC_CAST(root), TC_H_ROOT);
  if (netem->count > 0) {
    rtnl_qdisc_delete(netem->socket, root); /* what is there is asked for below */
    allow_long_pieces(netem, true);
  }
  rtnl_qdisc_put(root);
  netem->count = netem->queues = 0;
  const int status = netem_count(netem, &left, &counters, error);
  if (status == 0 && left > 0)
    return error_set(error, ERR_IO, "%s: %zu shapes are still there", netem->interface, left);
  return status;
}

int netem_take_away(struct netem *netem, struct error *error) {
  netem->count = 1; /* whatever it is */
  return netem_clear(netem, error);
}

int netem_count(struct netem *netem, size_t *count, struct link_counters *counters, struct error *error) {
  struct listing listing;
  const int status = list(netem, &listing, error);
  *count = listing.count;
  *counters = listing.counters;
  return status;
}

int netem_supported(struct error *error) {
  const struct link_shape shape = {.delay_ns = NS_PER_MS};
  const struct in_addr nobody = {.s_addr = htonl(INADDR_LOOPBACK + 1)};
  struct netem *loopback;
  int status = netem_open("lo", &loopback, error);
  if (status != 0)
    return status;
  status = netem_set(loopback, &shape, &nobody, 1, error);
  const int cleared = netem_clear(loopback, status == 0 ? error : NULL);
  netem_close(loopback);
  return status != 0 ? status : cleared;
}
