/* descriptors.h: some descriptors put by for the log, the tables and the peers.
 *
 * A limit of open files can be lowered under a running master, or be eaten up. The next file that the tables
 * want to begin would then be refused, and with it the master would be at its end. So it holds some
 * descriptors that nobody needs, and gives them up when it notices that there are no others: the files that
 * it must open get those. As long as it has not got them back it turns new clients away, who would take them
 * again. */
#ifndef ASSAY_MASTER_DESCRIPTORS_H
#define ASSAY_MASTER_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

/* More than one write of the tables, one snapshot and one segment of the log open at one time. */
#define DESCRIPTORS_PUT_BY 48

struct descriptors {
  uv_timer_t look;
  int put_by[DESCRIPTORS_PUT_BY];
  size_t held; /* all or none of them */
};

/* The limit must allow for them. Looks around a hundred times a second. */
void descriptors_open(struct descriptors *descriptors, uv_loop_t *loop);
/* Closes its handle; the loop must run once more. */
void descriptors_close(struct descriptors *descriptors);

/* How many are open in this process. */
size_t descriptors_open_count(void);

/* True: hardly any are left but those that were put by. */
bool descriptors_are_short(const struct descriptors *descriptors);

#endif
