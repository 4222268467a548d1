/* disk_oracle.h: what a disk must hold, told slowly and plainly: whole images of small files, a sector at a
 * time, and names that are done again from the durable ones on, where the disk undoes. */
#ifndef ASSAY_NEMESIS_TEST_DISK_ORACLE_H
#define ASSAY_NEMESIS_TEST_DISK_ORACLE_H

#include "nemesis/disk/disk.h"

#define ORACLE_SECTORS 16u
#define ORACLE_FILE_SIZE (ORACLE_SECTORS * 512u)
#define ORACLE_OBJECTS 4096 /* files and directories of one oracle's life */
#define ORACLE_NAMES 6      /* in a directory: 0 … */

enum oracle_state { STATE_CLEAN, STATE_DIRTY, STATE_DOOMED, STATE_CUT };

/* A file or a directory; 0 is the root. */
struct oracle_object {
  bool directory;
  int names[ORACLE_NAMES];         /* of a directory, now: objects; -1: none */
  int durable_names[ORACLE_NAMES]; /* after a power loss in which nothing survives */
  size_t size, durable_size;
  unsigned char bytes[ORACLE_FILE_SIZE], durable[ORACLE_FILE_SIZE];
  enum oracle_state states[ORACLE_SECTORS];
  uint64_t orders[ORACLE_SECTORS];
  bool cut;
  size_t cut_to;
  uint64_t cut_order;
};

/* A name was set to an object, or to nothing, and so was a second one, in one step. */
struct oracle_change {
  uint64_t order;
  int directory, name, object;
  int to_directory, to_name, to_object; /* of a move; else -1 */
  int taken;                            /* what lost a name by it; -1: nothing */
  int made, removed;                    /* directories, -1: none */
  bool lost;
};

struct oracle {
  struct oracle_object *objects;
  int count;
  struct oracle_change *changes; /* un-synced, oldest first */
  size_t change_count, change_capacity;
  uint64_t next_order;
};

struct oracle *oracle_new(void);
void oracle_free(struct oracle *oracle);
int oracle_at(const struct oracle *oracle, int directory, int name); /* the object, -1: none */

int oracle_make(struct oracle *oracle, int directory, int name, bool is_directory);
void oracle_link(struct oracle *oracle, int object, int directory, int name);
void oracle_remove(struct oracle *oracle, int directory, int name);
void oracle_move(struct oracle *oracle, int directory, int name, int to_directory, int to_name);
void oracle_write(struct oracle *oracle, int object, const void *data, size_t size, size_t offset);
void oracle_resize(struct oracle *oracle, int object, size_t size);
void oracle_sync(struct oracle *oracle, int object, bool fails);
void oracle_lose_power(struct oracle *oracle, const struct disk_loss *loss);

#endif
