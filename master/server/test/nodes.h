/* nodes.h: assay-master processes on free ports of 127.0.0.1, in a temporary directory, for tests. Blocking;
 * one set at a time. */
#ifndef ASSAY_MASTER_TEST_NODES_H
#define ASSAY_MASTER_TEST_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NODES_MAX 5

/* Chooses ports and a directory; starts nothing. */
void nodes_make(size_t count);
/* Kills what runs and removes the directory. */
void nodes_unmake(void);

const char *nodes_directory(void);
/* "host:port" of every client port, in node order. */
const char *const *nodes_addresses(void);

/* Further flags for all nodes that are started from now on, NULL-terminated and static; until nodes_make. */
void nodes_flags(const char *const *flags);

/* Nodes count from 0; the program's ids from 1. */
void nodes_start(size_t node);
void nodes_kill(size_t node);
pid_t nodes_pid(size_t node);
/* True: it has ended by itself; nodes_stop tells how. */
bool nodes_has_ended(size_t node);
/* SIGTERM; returns the exit status as wait() tells it. */
int nodes_stop(size_t node);

/* Runs assay-master with these arguments (NULL-terminated) to its end; returns its exit code,
 * -1 when it was ended by a signal. What it wrote to standard error is in `output`. */
int nodes_run(const char *const *arguments, char *output, size_t output_size);

/* The arguments nodes_start gives to a node, NULL-terminated; valid until the next call. */
const char **nodes_arguments(size_t node);

#endif
