/* hosts.h: the flags that tell which hosts a cluster lives on (provider ssh), for every command that makes
 * one. */
#ifndef ASSAY_HARNESS_HOSTS_H
#define ASSAY_HARNESS_HOSTS_H

#include "base/base.h"
#include "nemesis/nemesis.h"

struct host_flags {
  struct flag_list hosts;
  const char *ssh, *config, *agent, *directory, *clocks;
};

/* Entries of a command's list of flags; `to` is a struct host_flags *. */
#define HOST_FLAGS(to)                                                                                       \
  {"host", FLAG_LIST, &(to)->hosts, "NODE=HOST", "ssh: n1=[user@]host[:port][,address], each node", 0, 0},   \
      {"ssh-config", FLAG_STRING, &(to)->config, "FILE", "ssh: as ssh -F", 0, 0},                            \
      {"ssh", FLAG_STRING, &(to)->ssh, "PROGRAM", "ssh: in place of ssh", 0, 0},                             \
      {"agent", FLAG_STRING, &(to)->agent, "COMMAND", "ssh: runs the agent (assay agent, as root)", 0, 0},   \
      {"remote-directory", FLAG_STRING, &(to)->directory, "DIR", "ssh: nodes' data (/var/lib/assay)", 0, 0}, \
  {                                                                                                          \
    "clocks", FLAG_STRING, &(to)->clocks, "own", "ssh: own: the hosts' clocks may be set wrong", 0, 0        \
  }

/* Valid as long as the flags are. */
struct cluster_hosts host_flags_hosts(const struct host_flags *flags);

/* How many nodes a cluster shall have: as many as were asked for, or, when that is 0, one for each host,
 * or 3. */
int64_t host_flags_nodes(const struct host_flags *flags, int64_t asked);

/* ERR_BAD_INPUT when hosts and provider do not fit, or a host cannot be understood. */
int host_flags_check(const struct host_flags *flags, enum provider provider, int64_t nodes,
                     struct error *error);

/* The flags as they must be given again: names and values, into `out`; returns how many. */
struct host_flag {
  const char *name, *value;
};
#define HOST_FLAGS_MAX (ARRAY_SIZE(((struct flag_list *)0)->items) + 5)
size_t host_flags_given(const struct host_flags *flags, struct host_flag out[HOST_FLAGS_MAX]);

#endif
