/* processes.h: what each process of a history is doing while it is read. */
#ifndef ASSAY_HISTORIES_PROCESSES_H
#define ASSAY_HISTORIES_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum process_phase {
  PROCESS_UNKNOWN, /* never met */
  PROCESS_IDLE,
  PROCESS_OPEN,  /* its last operation is not completed yet */
  PROCESS_ENDED, /* its last operation ended in info */
};

struct process_state {
  int64_t process;
  enum process_phase phase;
  size_t operation; /* position of its last one */
};

/* Open addressing, linear probing; all zero is empty. Integers are their own keys. */
struct process_table {
  struct process_state *slots;
  size_t capacity, count;
};

/* The state of `process`, made when it is new; valid until the next call. */
struct process_state *process_find(struct process_table *table, int64_t process);
void process_table_free(struct process_table *table);

/* A set of op ids; 0 is never in it. */
struct id_set {
  uint64_t *slots;
  size_t capacity, count;
};

/* False when `id` was in it already. */
bool id_set_add(struct id_set *set, uint64_t id);
void id_set_free(struct id_set *set);

#endif
