/* restore.h: a node's data directory from a backup (assay admin backup). */
#ifndef ASSAY_MASTER_RESTORE_H
#define ASSAY_MASTER_RESTORE_H

#include "master/node_options.h"

/* Makes the data directory of the options from the backup of the options. Refuses a directory that is not
 * empty, a backup that is not whole and sound, and the backup's own cluster unless that is what was asked
 * for. Of a restore that fails nothing is left; one that a crash broke off leaves data that no master starts
 * with. */
int restore_backup(const struct node_options *options, struct error *error);

#endif
