/* agent_here.c: stands in for ssh in tests: takes its command line, and is the agent itself, on this host. */
#include "nemesis/nemesis.h"

int main(int argc, char **argv) {
  (void)argc;
  (void)argv;
  log_open("agent", LOG_LEVEL_INFO);
  return agent_run();
}
