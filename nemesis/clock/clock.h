/* clock.h: the clocks of a node, set off and made to run fast or slow, while everybody else's stay right.
 *
 * Two ways. Where nodes share a machine, a small library (shim.c) is loaded before the node's own and bends
 * what it reads of the clocks: no right is needed, and the clients' time, which the history rests on, is
 * never touched. Where a node has a machine to itself, that machine's clock is set (host_clock.h).
 *
 * Why not libfaketime: it reads a changed setting up to 10 s late; told to look at every call it needs 50 to
 * 100 times as long a call; and it also bends times of files and takes over getpid and getrandom. */
#ifndef ASSAY_NEMESIS_CLOCK_H
#define ASSAY_NEMESIS_CLOCK_H

#include <stdint.h>
#include <sys/types.h>

#include "base/base.h"

/* How a clock goes. A jump moves the wall clock (CLOCK_REALTIME) alone, as when somebody sets it. A rate
 * bends the monotonic clock as well, and with it every wait: one oscillator drives both. */
struct clock_setting {
  int64_t offset_ns; /* the wall clock's, ahead of the right time, at the moment of setting or reading */
  double rate;       /* seconds it counts in a true second: 1 is right */
};

#define CLOCK_RIGHT ((struct clock_setting){.offset_ns = 0, .rate = 1})
#define CLOCK_OFFSET_MAX_NS (INT64_C(10) * 365 * 24 * 3600 * NS_PER_S)
#define CLOCK_RATE_MIN 0.01
#define CLOCK_RATE_MAX 100.0

/* ERR_BAD_INPUT with the bounds. */
int clock_setting_check(const struct clock_setting *setting, struct error *error);

/* ---- Nodes on this machine ---- */

struct clock_page;

/* The shim's file, to free(): in lib/assay, beside the folder that the running program is in. NULL with
 * ERR_UNSUPPORTED and the reason where nodes cannot be given one. */
char *clock_shim_path(struct error *error);

/* What must stand in the environment of a node's process: "NAME=value", ending with NULL. */
char **clock_environment(const char *shim, const char *page_path);
void clock_environment_free(char **environment);

/* Makes the file that one node's shim reads; the clock is right. */
int clock_page_open(const char *path, struct clock_page **page, struct error *error);
void clock_page_close(struct clock_page *page); /* the file stays, and the clock as it is; NULL is fine */

/* Holds for every call that begins after this returns, within 2 ms; waits that have begun keep the length
 * they had. One caller at a time. */
int clock_page_set(struct clock_page *page, const struct clock_setting *setting, struct error *error);
struct clock_setting clock_page_get(const struct clock_page *page);

/* The process whose shim mapped the page last, 0: none did. Any other than the node means that the node's
 * program cannot be preloaded (it is static, or has privileges). */
pid_t clock_page_reader(const struct clock_page *page);

#endif
