/* control.h: what a disk's owner and its process say to each other: one question, one answer, over a socket
 * that keeps messages whole. The process ends when its owner's end of the socket is gone. */
#ifndef ASSAY_NEMESIS_DISK_CONTROL_H
#define ASSAY_NEMESIS_DISK_CONTROL_H

#include "nemesis/disk/disk.h"

enum disk_command { COMMAND_NONE, COMMAND_SET, COMMAND_COUNT, COMMAND_LOSE, COMMAND_SETTLE };

struct disk_question {
  enum disk_command command;
  struct disk_fault fault; /* SET */
  struct disk_loss loss; /* LOSE: the process ends after its answer; SETTLE: too, and everything is durable */
};

struct disk_answer {
  int number; /* errno; 0: done */
  char what[64];
  struct disk_counters counters;
};

/* The life of a disk's process: mounts, answers once when the mount is there, then serves. Everything that is
 * open but `control` and standard error has been closed. */
__attribute__((noreturn)) void daemon_run(int control, const char *data, const char *hidden);

#endif
