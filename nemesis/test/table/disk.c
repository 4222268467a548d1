/* disk.c: what the disk under every node's data does with a file of ours. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "nemesis/test/inside.h"
#include "nemesis/test/table/table.h"

#define OLD "old"
#define NEW "new"

static int open_on(const struct bed *bed, size_t node, const char *name, int flags) {
  char path[512];
  snprintf(path, sizeof path, "%s/data/%s", bed->cluster->nodes[node].directory, name);
  return open(path, flags | O_CLOEXEC, 0644);
}

static bool is_hurt(const struct bed *bed, size_t node) {
  return bed->installed && !bed->healed && bed_is_target(bed, node);
}

/* Counts the nodes whose disk does what it should, told by `works`: it works if it is not hurt, and only
 * then. */
static size_t count_right(struct bed *bed, bool (*works)(struct bed *bed, size_t node), size_t *hurt) {
  size_t right = 0;
  *hurt = 0;
  for (size_t i = 0; i < BED_NODES; i++) {
    const bool worked = works(bed, i);
    *hurt += !worked;
    right += worked != is_hurt(bed, i);
  }
  return right;
}

static void measure(struct bed *bed, enum phase phase, struct row *row, const char *what,
                    bool (*works)(struct bed *bed, size_t node)) {
  size_t hurt;
  const size_t right = count_right(bed, works, &hurt);
  if (phase == DURING)
    row_expect(row, "%zu of %d %s", bed_targets(bed), BED_NODES, what);
  row_found(row, phase, right == BED_NODES, "%zu", hurt);
}

/* ---- Power ---- */

static void write_text(const struct bed *bed, size_t node, const char *text, bool synced) {
  const int fd = open_on(bed, node, "probe", O_CREAT | O_WRONLY);
  CHECK(fd >= 0 && pwrite(fd, text, strlen(text), 0) == (ssize_t)strlen(text), "%s", strerror(errno));
  const int directory = open_on(bed, node, ".", O_RDONLY | O_DIRECTORY);
  CHECK(!synced || (fsync(fd) == 0 && fsync(directory) == 0), "%s", strerror(errno));
  close(directory);
  close(fd);
}

static bool has_text(const struct bed *bed, size_t node, const char *text) {
  char found[16] = "";
  const int fd = open_on(bed, node, "probe", O_RDONLY);
  const ssize_t got = fd >= 0 ? pread(fd, found, sizeof found - 1, 0) : -1;
  if (fd >= 0)
    close(fd);
  return got == (ssize_t)strlen(text) && strcmp(found, text) == 0;
}

/* What was written last and never synced is still there. */
static bool remembers(struct bed *bed, size_t node) {
  if (bed->installed)
    return has_text(bed, node, NEW);
  write_text(bed, node, OLD, true);
  write_text(bed, node, NEW, false);
  return has_text(bed, node, NEW);
}

static void measure_loss(struct bed *bed, enum phase phase, struct row *row) {
  size_t old = 0, new = 0;
  bool holds = true;
  for (size_t i = 0; i < BED_NODES; i++) {
    const bool lost = bed->installed && bed_is_target(bed, i); /* a heal brings nothing back */
    holds = holds && remembers(bed, i) != lost && has_text(bed, i, lost ? OLD : NEW);
    old += has_text(bed, i, OLD);
    new += has_text(bed, i, NEW);
    if (phase == AFTER) {
      char reply[BED_REPLY_SIZE];
      bed_must_ask(bed, i, reply, "heard"); /* it runs again */
    }
  }
  if (phase == DURING)
    row_expect(row, "%zu of %d have what was synced", bed_targets(bed), BED_NODES);
  row_found(row, phase, holds, "%zu synced, %zu not", old, new);
}

/* ---- Room ---- */

static bool can_grow(struct bed *bed, size_t node) {
  const int fd = open_on(bed, node, "room", O_CREAT | O_WRONLY | O_APPEND);
  const bool grown = fd >= 0 && write(fd, "x", 1) == 1;
  CHECK(grown || errno == ENOSPC, "%s", strerror(errno));
  if (fd >= 0)
    close(fd);
  return grown;
}

static void measure_full(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, "have no room", can_grow);
}

/* ---- Calls that fail ---- */

static bool succeeds(ssize_t status) {
  CHECK(status >= 0 || errno == EIO, "%s", strerror(errno));
  return status >= 0;
}

static bool can_sync(struct bed *bed, size_t node) {
  const int fd = open_on(bed, node, "calls", O_CREAT | O_RDWR);
  CHECK(fd >= 0 && pwrite(fd, "x", 1, 0) == 1, "%s", strerror(errno));
  const bool synced = succeeds(fsync(fd));
  close(fd);
  return synced;
}

static bool can_write(struct bed *bed, size_t node) {
  const int fd = open_on(bed, node, "calls", O_CREAT | O_RDWR);
  CHECK(fd >= 0, "%s", strerror(errno));
  const bool written = succeeds(pwrite(fd, "x", 1, 0));
  close(fd);
  return written;
}

static bool can_read(struct bed *bed, size_t node) {
  char byte;
  const int fd = open_on(bed, node, "calls", O_CREAT | O_RDWR);
  CHECK(fd >= 0 && (bed->installed || pwrite(fd, "x", 1, 0) == 1), "%s", strerror(errno));
  const bool read_it = succeeds(pread(fd, &byte, 1, 0));
  close(fd);
  return read_it;
}

static void measure_sync(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, "cannot sync", can_sync);
}

static void measure_write(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, "cannot write", can_write);
}

static void measure_read(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, "cannot read", can_read);
}

/* ---- Time ---- */

#define DELAY_MS 400

static double sync_ms(const struct bed *bed, size_t node) {
  const int fd = open_on(bed, node, "calls", O_CREAT | O_RDWR);
  CHECK(fd >= 0 && pwrite(fd, "x", 1, 0) == 1, "%s", strerror(errno));
  const int64_t began_ns = time_monotonic_ns();
  CHECK(fsync(fd) == 0, "%s", strerror(errno));
  close(fd);
  return (double)(time_monotonic_ns() - began_ns) / (double)NS_PER_MS;
}

static bool is_fast(struct bed *bed, size_t node) {
  return sync_ms(bed, node) < DELAY_MS;
}

static void measure_slow(struct bed *bed, enum phase phase, struct row *row) {
  measure(bed, phase, row, "sync slowly", is_fast);
}

#define LOSS "a file, synced and written again", "\"numbers\": {\"keeps\": 0}", measure_loss
#define FULL "a file made to grow", NULL, measure_full
#define SLOW "time an fsync takes", "\"numbers\": {\"delay_ms\": 400}", measure_slow
#define ALWAYS "\"targets\": [\"n2\", \"n4\"], \"numbers\": {\"chance\": 1}"

static const struct proof proofs[] = {
    {"disk-power-loss-one", LOSS},
    {"disk-power-loss-primary", LOSS},
    {"disk-power-loss-minority", LOSS},
    {"disk-power-loss-all", LOSS},
    {"disk-full-one", FULL},
    {"disk-full-primary", FULL},
    {"disk-full-all", FULL},
    {"disk-slow-one", SLOW},
    {"disk-slow-primary", SLOW},
    {"disk-slow-all", SLOW},
    {"disk-error-sync", "what fsync answers", ALWAYS, measure_sync},
    {"disk-error-write", "what write answers", ALWAYS, measure_write},
    {"disk-error-read", "what read answers", ALWAYS, measure_read},
};
const struct proof_table disk_proofs = {proofs, ARRAY_SIZE(proofs)};
