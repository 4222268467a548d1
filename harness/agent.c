/* agent.c: `assay agent`: what runs on the host of a node when a cluster is spread over hosts (provider ssh).
 */
#include <stdio.h>

#include "base/base.h"
#include "harness/commands.h"
#include "nemesis/nemesis.h"

int agent_command(int argc, char **argv) {
  const char *pack = NULL, *remove = NULL;
  const struct flag flags[] = {
      {"pack", FLAG_STRING, &pack, "DIR",
       "write what the last cluster has left in DIR to standard output, as a tar", 0, 0},
      {"remove", FLAG_STRING, &remove, "DIR", "remove that", 0, 0},
  };
  const struct flag_set set = {
      .program = "assay agent",
      .summary =
          "Starts, hurts and heals one node on this host, as it is told on standard input; undoes all of it\n"
          "when that ends. Started over ssh by --provider ssh; must be root.",
      .flags = flags,
      .count = ARRAY_SIZE(flags),
  };
  int positional;
  const int code = flags_parse_or_exit_code(&set, argc, argv, &positional);
  if (code >= 0)
    return code;
  log_open("agent", LOG_LEVEL_INFO);
  if (pack && remove) {
    fprintf(stderr, "assay agent: --pack or --remove, not both\n");
    return EXIT_USAGE;
  }
  if (pack || remove)
    return agent_collect(pack ? pack : remove, remove != NULL);
  return agent_run();
}
