/* rot.h: what is stored decays while nobody looks. */
#ifndef ASSAY_NEMESIS_DISK_ROT_H
#define ASSAY_NEMESIS_DISK_ROT_H

#include "nemesis/disk/disk.h"

/* As disk_rot and disk_restore, on a tree of files that nobody uses. */
int rot_tree(const char *tree, const struct disk_rot *rot, struct disk_rotten *rotten, struct error *error);
/* Whether rot_tree would find something; of a tree that may be in use. */
bool rot_possible(const char *tree, const struct disk_rot *rot, struct error *error);
int rot_restore(const char *tree, const struct disk_rotten *rotten, struct error *error);

#endif
