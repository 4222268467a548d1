/* leftovers.h: what an agent would leave on its host if it were killed: written down before it is done, so
 * that the next agent can take it away.
 *
 * The kernel ends the node's process with the agent. A packet filter, a shaped link, a mount and a wrong
 * clock stay. They belong to the host's network namespace (which is what makes a host of several on one
 * machine), and so does the file that tells of them, /run/assay-agent-<namespace>.json: it goes when the host
 * boots, as they do.
 *
 * One agent works on a host at a time; the lock is a socket in the abstract name space, which belongs to the
 * network namespace, too, and goes with its owner. */
#ifndef ASSAY_NEMESIS_AGENT_LEFTOVERS_H
#define ASSAY_NEMESIS_AGENT_LEFTOVERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/base.h"
#include "nemesis/clock/host_clock.h"

struct leftovers {
  pid_t pid; /* the node's process; -1: none */
  unsigned long long
      begun;       /* when it started, as /proc/PID/stat tells: a number may be somebody else's by now */
  char *directory; /* the node's; NULL: none */
  char *interface; /* whose sending was shaped; NULL: none */
  struct host_clock clock; /* how to tell the right time; calls NULL: the clock was left alone */
  bool keep;               /* it is for a cluster that comes back */
};

/* Waits for an agent that is about to end. ERR_OVERLOADED when another works on. The lock is held until the
 * process ends. */
int leftovers_lock(struct error *error);

int leftovers_save(const struct leftovers *left, struct error *error);

/* What an earlier agent wrote down; all of it nothing when there is none. */
int leftovers_load(struct leftovers *left, struct error *error);

/* Notes when a process of ours began. */
int leftovers_note_process(struct leftovers *left, pid_t pid, struct error *error);

/* Notes that what leaves through the interface is about to be shaped, that the clock is about to be set. */
int leftovers_note_interface(struct leftovers *left, const char *interface, struct error *error);
int leftovers_note_clock(struct leftovers *left, const struct host_clock *clock, struct error *error);

/* Ends the process if it is still the one that was started, and takes our rules out of the packet filter of
 * `network`, the host's, and our shapes from the interface; sets the clock right. Leaves the directory. */
int leftovers_clear(struct leftovers *left, int network, struct error *error);

/* Removes the directory, too, and the note. */
int leftovers_remove(struct leftovers *left, struct error *error);

void leftovers_free(struct leftovers *left);

#endif
