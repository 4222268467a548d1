/* netem.h: shapes by the kernel: what one interface sends to some hosts goes through sch_netem (tc-netem(8)),
 * everything else past it.
 *
 *   eth0 ── prio 1: ──┬── 1:1  a plain queue: clients, address resolution, hosts that are not named
 *          u32 filters├── 1:2  netem ── to the first host that is named
 *                     └── 1:3  netem ── to the second
 *
 * Each host has a netem of its own, so that a rate and a limit are those of one link; but where frames are
 * duplicated all share one, since newer kernels allow no other netem beside one that duplicates. What waits
 * when a shape is taken away is gone with its queue. */
#ifndef ASSAY_NEMESIS_LINK_NETEM_H
#define ASSAY_NEMESIS_LINK_NETEM_H

#include <netinet/in.h>

#include "nemesis/link/link.h"
#include "nemesis/nemesis.h"

struct nlattr;
struct nl_msg;
struct netem;

/* Bands of prio are few (tc-prio(8)); there is one for all that is not shaped. */
#define NETEM_HOSTS_MAX 15

/* 0 when the kernel has all it takes, tried on the loopback interface of the calling thread's namespace,
 * which nobody must be using; else ERR_UNSUPPORTED with why and what to do. */
int netem_supported(struct error *error);

/* For an interface of the calling thread's namespace, whatever namespace the thread is in later. */
int netem_open(const char *interface, struct netem **netem, struct error *error);
void netem_close(struct netem *netem); /* leaves the shapes; NULL is fine */

/* Shapes what goes to `hosts` and nothing else; then the kernel is asked, and its answer compared. With the
 * same hosts as before the queues are kept, and what waits in them. No hosts: as netem_clear. */
int netem_set(struct netem *netem, const struct link_shape *shape, const struct in_addr *hosts, size_t count,
              struct error *error);
int netem_clear(struct netem *netem, struct error *error);

/* Takes away all that the interface's sending is put through, also what a process that is gone has set. */
int netem_take_away(struct netem *netem, struct error *error);

/* How many netems the kernel lists on the interface, and what befell the frames in them: netem tells of
 * `seen` and, as `lost`, of all that were dropped. */
int netem_count(struct netem *netem, size_t *count, struct link_counters *counters, struct error *error);

/* ---- Of use to tests ---- */

/* The request for one netem; to nlmsg_free(). */
struct nl_msg *netem_request(int interface, uint32_t parent, const struct link_shape *shape);
/* The shape that TCA_OPTIONS of a netem tells. */
int netem_parse(struct nlattr *options, struct link_shape *shape);

#endif
