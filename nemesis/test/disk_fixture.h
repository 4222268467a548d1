/* disk_fixture.h: a disk for the tests that need one, made inside the sandbox. */
#ifndef ASSAY_NEMESIS_TEST_DISK_FIXTURE_H
#define ASSAY_NEMESIS_TEST_DISK_FIXTURE_H

#include "nemesis/disk/disk.h"
#include "nemesis/test/inside.h"

void disk_setup(void);
void disk_teardown(void);

/* Runs `body` in the sandbox of an ordinary user to whom /dev/fuse is open, whatever it is on this machine.
 */
int run_with_fuse(int (*body)(void *context), void *context);

/* Inside: a new empty disk. */
struct disk *disk_make(void);
void disk_unmake(struct disk *disk);
const char *disk_mount_point(void);

int must_open(const char *path, int flags);
/* The path of a name on the disk; to be used before the next call. */
const char *on_disk(const char *name);
/* The whole file's content, as text; to free(). NULL when there is none. */
char *content_of(const char *name);
void write_content(const char *name, const char *text, bool synced);

#endif
