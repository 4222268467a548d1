/* disk.c: what every node's disk answers to a write, a sync and a read, how long it takes, and which bytes
 * are there again after a loss of power.
 *
 *   file "log":  AAAA…  synced    BBBB…  written, not synced
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nemesis/test/inside.h"
#include "nemesis/test/questions.h"
#include "nemesis/test/table/table.h"

#define MS(ns) ((double)(ns) / (double)NS_PER_MS)

static bool is_hurt(const struct bed *bed, size_t node) {
  return bed->installed && !bed->healed && bed_is_target(bed, node);
}

struct answer {
  int error; /* errno */
  double ms;
  char runs[BED_REPLY_SIZE];
};

static struct answer parse(const char *reply) {
  struct answer answer = {0};
  long long ns;
  CHECK(sscanf(reply, "%d %lld %511s", &answer.error, &ns, answer.runs) >= 2, "'%s' is no answer", reply);
  answer.ms = MS(ns);
  return answer;
}

static struct answer ask(struct bed *bed, size_t node, const char *question) {
  char reply[BED_REPLY_SIZE];
  bed_must_ask(bed, node, reply, "%s", question);
  return parse(reply);
}

/* ---- Calls that fail, or take long ---- */

struct calls {
  const char *question;
  int error; /* that the targets' disks answer with while they are hurt */
};

static void measure_error(struct bed *bed, enum phase phase, struct row *row, const struct calls *calls) {
  size_t failed = 0;
  bool holds = true;
  for (size_t i = 0; i < BED_NODES; i++) {
    const struct answer answer = ask(bed, i, calls->question);
    failed += answer.error != 0;
    holds = holds && answer.error == (is_hurt(bed, i) ? calls->error : 0);
  }
  if (phase == DURING)
    row_expect(row, "%s at %zu", strerrorname_np(calls->error), bed_targets(bed));
  row_found(row, phase, holds, "%zu of %d refuse", failed, BED_NODES);
}

/* Every file is there before anything is asked of it. */
static void lay_out(struct bed *bed, enum phase phase) {
  for (size_t i = 0; i < BED_NODES && phase == BEFORE; i++) {
    CHECK(ask(bed, i, "write log 0 4096 A").error == 0, "node n%zu cannot write", i + 1);
    CHECK(ask(bed, i, "sync log").error == 0, "node n%zu cannot sync", i + 1);
  }
}

/* Room for a new file is missing, and one that is there may be written over. */
static void measure_full(struct bed *bed, enum phase phase, struct row *row) {
  static const struct calls calls = {"write new 0 4096 A", ENOSPC};
  lay_out(bed, phase);
  const bool over = ask(bed, BED_PRIMARY, "write log 0 4096 B").error == 0;
  char remove[4200];
  for (size_t i = 0; i < BED_NODES; i++) {
    snprintf(remove, sizeof remove, "%s/data/new", bed->cluster->nodes[i].directory);
    unlink(remove);
  }
  measure_error(bed, phase, row, &calls);
  row->cells[phase].holds = row->cells[phase].holds && over;
}

static void measure_full_for_all(struct bed *bed, enum phase phase, struct row *row) {
  static const struct calls calls = {"write log 0 4096 A", ENOSPC};
  lay_out(bed, phase);
  measure_error(bed, phase, row, &calls);
}

/* Asks for one call that must fail and for the two others, that must not. */
static void measure_one_of(struct bed *bed, enum phase phase, struct row *row, const char *question) {
  static const char *const all[] = {"write log 0 4096 B", "sync log", "read log"};
  const struct calls calls = {question, EIO};
  bool others = true;
  lay_out(bed, phase);
  for (size_t i = 0; i < ARRAY_SIZE(all); i++)
    if (strcmp(all[i], question) != 0)
      others = others && ask(bed, BED_PRIMARY, all[i]).error == 0;
  measure_error(bed, phase, row, &calls);
  row->cells[phase].holds = row->cells[phase].holds && others;
}

static void measure_sync_errors(struct bed *bed, enum phase phase, struct row *row) {
  measure_one_of(bed, phase, row, "sync log");
}

static void measure_write_errors(struct bed *bed, enum phase phase, struct row *row) {
  measure_one_of(bed, phase, row, "write log 0 4096 B");
}

static void measure_read_errors(struct bed *bed, enum phase phase, struct row *row) {
  measure_one_of(bed, phase, row, "read log");
}

/* A file and its directory are synced, on a machine with other work. */
#define SYNC_MS 200

static void measure_slow(struct bed *bed, enum phase phase, struct row *row) {
  row->again = true;
  double slowest = 0, fastest_hurt = 0;
  bool holds = true;
  lay_out(bed, phase);
  for (size_t i = 0; i < BED_NODES; i++) {
    CHECK(ask(bed, i, "write log 0 4096 B").error == 0, "node n%zu cannot write", i + 1);
    const struct answer answer = ask(bed, i, "sync log");
    const double delay = is_hurt(bed, i) ? 2 * bed_number(bed, "delay_ms") : 0;
    holds = holds && answer.error == 0 && answer.ms >= delay && answer.ms < delay + SYNC_MS;
    slowest = answer.ms > slowest ? answer.ms : slowest;
    if (is_hurt(bed, i) && (fastest_hurt == 0 || answer.ms < fastest_hurt))
      fastest_hurt = answer.ms;
  }
  if (phase == DURING)
    row_expect(row, "2 x %.0f ms at %zu", bed_number(bed, "delay_ms"), bed_targets(bed));
  row_found(row, phase, holds, "%.1f ms", phase == DURING ? fastest_hurt : slowest);
}

/* ---- Loss of power ---- */

#define SYNCED 8192
#define UNSYNCED 16384
#define SECTOR 512

/* How many of that letter are in a file, and whether they stand together. Looked at from here: the node may
 * be down. */
static size_t count_letter(const struct bed *bed, size_t node, const char *file, char letter,
                           bool *together) {
  char question[64], reply[BED_REPLY_SIZE];
  char *data = path_join(bed->cluster->nodes[node].directory, "data");
  snprintf(question, sizeof question, "read %s", file);
  question_answer(data, question, reply, sizeof reply);
  free(data);
  const struct answer answer = parse(reply);
  CHECK(answer.error == 0, "%s of n%zu cannot be read: %s", file, node + 1, strerrorname_np(answer.error));
  size_t count = 0, runs = 0;
  for (char *at = (char *)answer.runs; *at != '\0'; at++) {
    const size_t length = strtoul(at, &at, 10);
    count += *at == letter ? length : 0;
    runs += *at == letter;
  }
  *together = runs <= 1;
  return count;
}

/* A new file, whose beginning is synced and whose end is not. */
static void write_file(struct bed *bed, size_t node, const char *file) {
  char question[64];
  snprintf(question, sizeof question, "write %s 0 %d A", file, SYNCED);
  CHECK(ask(bed, node, question).error == 0, "n%zu cannot write", node + 1);
  snprintf(question, sizeof question, "sync %s", file);
  CHECK(ask(bed, node, question).error == 0, "n%zu cannot sync", node + 1);
  snprintf(question, sizeof question, "write %s %d %d B", file, SYNCED, UNSYNCED);
  CHECK(ask(bed, node, question).error == 0, "n%zu cannot write", node + 1);
}

static void restart(struct bed *bed, size_t node) {
  char reply[BED_REPLY_SIZE];
  struct error error = {0};
  CHECK(cluster_kill(bed->cluster, node, &error) == 0, "%s", error.message);
  CHECK(cluster_start(bed->cluster, node, &error) == 0, "%s", error.message);
  bed_must_ask(bed, node, reply, "who");
}

/* Without a fault, kill -9 loses nothing. */
static void measure_kill_alone(struct bed *bed, enum phase phase, struct row *row, const char *file) {
  size_t lost = 0;
  bool together, all = true;
  for (size_t i = 0; i < BED_NODES; i++) {
    write_file(bed, i, file);
    restart(bed, i);
    lost += UNSYNCED - count_letter(bed, i, file, 'B', &together);
    all = all && count_letter(bed, i, file, 'A', &together) == SYNCED;
  }
  row_found(row, phase, all && lost == 0, "kill -9: %zu bytes lost", lost);
}

/* What of a target's file that was written before the fault may be left. */
static bool is_loss(const struct bed *bed, size_t node, int keeps, size_t *left) {
  bool together, ignored;
  const size_t synced = count_letter(bed, node, "hurt", 'A', &ignored);
  *left = count_letter(bed, node, "hurt", 'B', &together);
  return cluster_node_state(bed->cluster, node) == NODE_STOPPED && synced == SYNCED && *left % SECTOR == 0 &&
         (keeps != KEEPS_NOTHING || *left == 0) && (keeps != KEEPS_PREFIX || together);
}

static void measure_loss_present(struct bed *bed, struct row *row) {
  static const char *const kept[] = {"nothing", "a prefix", "some sectors"};
  const int keeps = (int)bed_number(bed, "keeps");
  size_t sum = 0;
  bool holds = true;
  for (size_t i = 0; i < BED_NODES; i++) {
    size_t left = 0;
    bool together;
    if (is_hurt(bed, i))
      holds = is_loss(bed, i, keeps, &left) && holds;
    else
      holds = count_letter(bed, i, "hurt", 'B', &together) == UNSYNCED && holds;
    sum += left;
  }
  const size_t most = bed_targets(bed) * UNSYNCED;
  row_expect(row, "%zu down, %s of %zu stays", bed_targets(bed), kept[keeps], most);
  /* No draw for several nodes keeps all of it. */
  row_found(row, DURING, holds && sum < most && (keeps != KEEPS_SUBSET || sum > 0), "%zu of %zu bytes stay",
            sum, most);
}

static void measure_loss(struct bed *bed, enum phase phase, struct row *row) {
  if (phase == DURING) {
    measure_loss_present(bed, row);
    return;
  }
  measure_kill_alone(bed, phase, row, phase == BEFORE ? "before" : "after");
  for (size_t i = 0; i < BED_NODES && phase == BEFORE; i++)
    write_file(bed, i, "hurt");
}

/* ---- Rot ---- */

#define TABLES 3
#define TABLE_SIZE 4096

/* Asked from here, as count_letter(): the node may be down. True when every byte is what was written. */
static bool is_healthy(const struct bed *bed, size_t node, size_t table) {
  char file[64];
  bool together;
  snprintf(file, sizeof file, "tables/rows-1/%zu.sst", table);
  return count_letter(bed, node, file, 'A', &together) == TABLE_SIZE;
}

static void write_tables(struct bed *bed, size_t node) {
  char question[64], path[512];
  snprintf(path, sizeof path, "%s/data/tables/rows-1", bed->cluster->nodes[node].directory);
  CHECK(directory_make(path, NULL) == 0, "%s cannot be made", path);
  for (size_t table = 0; table < TABLES; table++) {
    snprintf(question, sizeof question, "write tables/rows-1/%zu.sst 0 %d A", table, TABLE_SIZE);
    CHECK(ask(bed, node, question).error == 0, "n%zu cannot write", node + 1);
  }
}

/* One table of the target is not what it was; afterwards all are. */
static void measure_rot(struct bed *bed, enum phase phase, struct row *row) {
  size_t rotten = 0, elsewhere = 0;
  for (size_t i = 0; i < BED_NODES; i++) {
    if (phase == BEFORE)
      write_tables(bed, i);
    for (size_t table = 0; table < TABLES; table++) {
      const bool ill = !is_healthy(bed, i, table);
      rotten += ill;
      elsewhere += ill && !is_hurt(bed, i);
    }
  }
  if (phase == DURING)
    row_expect(row, "1 file of 1 node");
  row_found(row, phase, rotten == (phase == DURING) && elsewhere == 0, "%zu files differ", rotten);
}

#define LOSS "bytes after kill -9"
#define ONE "\"targets\": [\"n2\"], "
#define ERRORS "\"targets\": [\"n2\"], \"numbers\": {\"chance\": 1}"

static const struct proof proofs[] = {
    {"disk-power-loss-one", LOSS, ONE "\"numbers\": {\"keeps\": 0}", measure_loss},
    {"disk-power-loss-primary", LOSS, "\"numbers\": {\"keeps\": 0}", measure_loss},
    {"disk-power-loss-minority", LOSS, "\"numbers\": {\"keeps\": 1}", measure_loss},
    {"disk-power-loss-majority", LOSS, "\"numbers\": {\"keeps\": 1}", measure_loss},
    {"disk-power-loss-all", LOSS, "\"numbers\": {\"keeps\": 2}", measure_loss},
    {"disk-full-one", "write of a new file", ONE "\"numbers\": {\"for_all\": 0}", measure_full},
    {"disk-full-primary", "write of a new file", "\"numbers\": {\"for_all\": 0}", measure_full},
    {"disk-full-all", "write of an old file", "\"numbers\": {\"for_all\": 1}", measure_full_for_all},
    {"disk-slow-one", "time of two fsyncs", ONE "\"numbers\": {\"delay_ms\": 300}", measure_slow},
    {"disk-slow-primary", "time of two fsyncs", "\"numbers\": {\"delay_ms\": 300}", measure_slow},
    {"disk-slow-all", "time of two fsyncs", "\"numbers\": {\"delay_ms\": 300}", measure_slow},
    {"disk-error-sync", "errno of fsync", ERRORS, measure_sync_errors},
    {"disk-error-write", "errno of write", ERRORS, measure_write_errors},
    {"disk-error-read", "errno of read", ERRORS, measure_read_errors},
    {"disk-rot-one", "every byte of the tables", NULL, measure_rot},
};
const struct proof_table disk_proofs = {proofs, ARRAY_SIZE(proofs)};
