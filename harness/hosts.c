#include "harness/hosts.h"

#define NODES_DEFAULT 3

struct cluster_hosts host_flags_hosts(const struct host_flags *flags) {
  return (struct cluster_hosts){.hosts = flags->hosts.items,
                                .ssh = flags->ssh,
                                .config = flags->config,
                                .agent = flags->agent,
                                .directory = flags->directory,
                                .own_clocks = flags->clocks != NULL};
}

int64_t host_flags_nodes(const struct host_flags *flags, int64_t asked) {
  if (asked != 0)
    return asked;
  return flags->hosts.count > 0 ? (int64_t)flags->hosts.count : NODES_DEFAULT;
}

int host_flags_check(const struct host_flags *flags, enum provider provider, int64_t nodes,
                     struct error *error) {
  struct host_flag given[HOST_FLAGS_MAX];
  if (provider != PROVIDER_SSH && host_flags_given(flags, given) > 0)
    return error_set(error, ERR_BAD_INPUT, "--%s is for --provider ssh only", given[0].name);
  if (nodes > CLUSTER_NODES_MAX)
    return error_set(error, ERR_BAD_INPUT, "%d hosts at most, not %d", CLUSTER_NODES_MAX, (int)nodes);
  if (provider != PROVIDER_SSH)
    return 0;
  if (flags->clocks && strcmp(flags->clocks, "own") != 0)
    return error_set(error, ERR_BAD_INPUT, "--clocks takes own, or is not given; not '%s'", flags->clocks);
  const struct cluster_hosts all = host_flags_hosts(flags);
  return cluster_check_hosts(&all, (size_t)nodes, error);
}

size_t host_flags_given(const struct host_flags *flags, struct host_flag out[HOST_FLAGS_MAX]) {
  const struct host_flag single[] = {{"ssh-config", flags->config},
                                     {"ssh", flags->ssh},
                                     {"agent", flags->agent},
                                     {"remote-directory", flags->directory},
                                     {"clocks", flags->clocks}};
  size_t count = 0;
  for (size_t i = 0; i < flags->hosts.count; i++)
    out[count++] = (struct host_flag){"host", flags->hosts.items[i]};
  for (size_t i = 0; i < ARRAY_SIZE(single); i++)
    if (single[i].value)
      out[count++] = single[i];
  return count;
}
