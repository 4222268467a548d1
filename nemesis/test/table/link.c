/* link.c: what becomes of numbered datagrams from n2 to n3, the direction that is hit; and of those that pass
 * where nothing is: back from n3 to n2, from n4 to n3, and between n2 and the clients.
 *
 * Shares of packets are held to four standard deviations of what the probability makes of that many. Delays
 * are held to what was drawn and, on top of it, to what the machine makes of a link without faults. */
#include <math.h>
#include <poll.h>
#include <stdio.h>

#include "nemesis/link/network.h"
#include "nemesis/test/inside.h"
#include "nemesis/test/link_probe.h"
#include "nemesis/test/table/table.h"

/* Datagrams while the fault is present; fewer show that there is none. */
#define COUNT 1500
#define PLAIN_COUNT 500
#define FROM 1
#define TO 2
#define BYSTANDER 3
#define CLIENTS_HOST "10.23.0.254"
#define TOLD(numbers) "\"targets\": [\"n2\"], \"links\": {\"n2\": [\"n3\"]}, \"numbers\": {" numbers "}"

#define MS(ns) ((double)(ns) / (double)NS_PER_MS)
#define PERCENT(part, of) (100.0 * (double)(part) / (double)(of))
/* Of a link without faults, on a machine with other work; there a packet may change its processor on the way,
 * and its place. */
#define PLAIN_DELAY_MS 2.0
#define PLAIN_OVERTAKEN (PLAIN_COUNT / 50)

static struct link_probe probe_between(const struct bed *bed, size_t from, size_t to) {
  const struct cluster_node *nodes = bed->cluster->nodes;
  return (struct link_probe){.from = nodes[from].network,
                             .to = nodes[to].network,
                             .to_host = nodes[to].host,
                             .count = COUNT,
                             .payload = 1000,
                             .every_ns = NS_PER_MS};
}

/* What nine of ten packets were late at most before there was a fault: each fault is proved in a process of
 * its own. */
static double slack_ms;

static size_t count_in(enum phase phase) {
  return phase == DURING ? COUNT : PLAIN_COUNT;
}

static struct link_probe_result send_over(const struct bed *bed, enum phase phase) {
  struct link_probe probe = probe_between(bed, FROM, TO);
  probe.count = count_in(phase);
  const struct link_probe_result found = link_probe_run(&probe);
  slack_ms = phase == BEFORE ? MS(found.delay_p90_ns) : slack_ms;
  return found;
}

static bool is_near_ms(double ms, double wanted) {
  return fabs(ms - wanted) <= fmax(2, 0.05 * wanted) + slack_ms;
}

static bool is_plain(const struct link_probe_result *found, size_t count) {
  return found->distinct == count && found->received == count && found->overtaken <= PLAIN_OVERTAKEN &&
         MS(found->delay_p50_ns) < PLAIN_DELAY_MS;
}

/* What nobody has asked to be hurt passes as it should: back, from a bystander, from clients and to them. */
static bool others_are_plain(const struct bed *bed) {
  struct error error = {0};
  const int home = network_open_own(&error);
  CHECK(home >= 0, "%s", error.message);
  struct link_probe others[] = {probe_between(bed, TO, FROM), probe_between(bed, BYSTANDER, TO),
                                probe_between(bed, FROM, FROM), probe_between(bed, FROM, TO)};
  others[2].from = home;
  others[3].to = home;
  others[3].to_host = CLIENTS_HOST;
  bool plain = true;
  for (size_t i = 0; i < ARRAY_SIZE(others) && plain; i++) {
    others[i].count = 200;
    const struct link_probe_result found = link_probe_run(&others[i]);
    plain = is_plain(&found, others[i].count);
  }
  close(home);
  return plain;
}

/* Of `count` packets a share with this probability, both in percent. */
static bool is_share(double percent, double probability, size_t count) {
  const double deviation = sqrt(probability * (100 - probability) / (double)count);
  return fabs(percent - probability) <= 4 * deviation;
}

/* ---- Delay ---- */

static void measure_delay(struct bed *bed, enum phase phase, struct row *row) {
  row->again = true;
  const struct link_probe_result found = send_over(bed, phase);
  const double median = MS(found.delay_p50_ns), width = MS(found.delay_p90_ns - found.delay_p10_ns);
  bool holds = is_plain(&found, PLAIN_COUNT);
  if (phase == DURING) {
    const double delay = bed_number(bed, "delay_ms"), jitter = bed_number(bed, "jitter_ms");
    /* Uniform: eight tenths of the packets lie in eight tenths of the width. */
    holds = found.distinct == COUNT && is_near_ms(median, delay) && width >= 1.2 * jitter &&
            width <= 2 * jitter + slack_ms && others_are_plain(bed);
    row_expect(row, "%.0f ms, 80 %% within %.0f", delay, 1.6 * jitter);
  }
  row_found(row, phase, holds, "%.2f ms, 80 %% within %.2f", median, width);
}

/* ---- Shares ---- */

static void measure_share(struct bed *bed, enum phase phase, struct row *row, const char *number,
                          double (*share)(const struct link_probe_result *found, size_t sent),
                          const char *word) {
  row->again = true;
  const struct link_probe_result found = send_over(bed, phase);
  const double percent = share(&found, count_in(phase));
  bool holds = is_plain(&found, PLAIN_COUNT);
  if (phase == DURING) {
    const double wanted = bed_number(bed, number);
    holds = is_share(percent, wanted, COUNT) && others_are_plain(bed);
    row_expect(row, "%.1f %% %s", wanted, word);
  }
  row_found(row, phase, holds, "%.1f %% %s", percent, word);
}

static double missing(const struct link_probe_result *found, size_t sent) {
  return PERCENT(sent - found->distinct - found->damaged, sent);
}

static double twice(const struct link_probe_result *found, size_t sent) {
  return PERCENT(found->duplicates, sent);
}

/* Where the damage hits a header, the packet does not arrive at all. */
static double unsound(const struct link_probe_result *found, size_t sent) {
  return found->damaged > 0 ? PERCENT(sent - found->distinct, sent) : 0;
}

static void measure_loss(struct bed *bed, enum phase phase, struct row *row) {
  measure_share(bed, phase, row, "loss_percent", missing, "lost");
}

static void measure_duplicate(struct bed *bed, enum phase phase, struct row *row) {
  measure_share(bed, phase, row, "duplicate_percent", twice, "twice");
}

static void measure_corrupt(struct bed *bed, enum phase phase, struct row *row) {
  measure_share(bed, phase, row, "corrupt_percent", unsound, "damaged");
}

/* Those that are not delayed overtake all that are. */
static void measure_reorder(struct bed *bed, enum phase phase, struct row *row) {
  row->again = true;
  const struct link_probe_result found = send_over(bed, phase);
  const double percent = PERCENT(found.overtaken, count_in(phase));
  bool holds = is_plain(&found, PLAIN_COUNT);
  if (phase == DURING) {
    const double wanted = 100 - bed_number(bed, "reorder_percent"), delay = bed_number(bed, "delay_ms");
    holds = found.distinct == COUNT && is_share(percent, wanted, COUNT) &&
            MS(found.delay_p10_ns) < PLAIN_DELAY_MS + slack_ms && is_near_ms(MS(found.delay_p50_ns), delay) &&
            others_are_plain(bed);
    row_expect(row, "%.1f %% overtaken by %.0f ms", wanted, delay);
  }
  row_found(row, phase, holds, "%.1f %%, median %.1f ms", percent, MS(found.delay_p50_ns));
}

/* ---- Rates ---- */

#define UNLIMITED 600 /* kB a second; more than any rate here */

/* kB a second of packets that are sent as fast as the sender can. */
static double flood(const struct bed *bed, size_t count) {
  struct link_probe probe = probe_between(bed, FROM, TO);
  probe.count = count;
  probe.every_ns = 0;
  return link_probe_run(&probe).bytes_per_s / 1000;
}

static bool is_rate(double rate, double wanted) {
  return fabs(rate - wanted) <= 0.1 * wanted;
}

static void measure_rate(struct bed *bed, enum phase phase, struct row *row) {
  row->again = true;
  const double rate = flood(bed, 200), wanted = phase == DURING ? bed_number(bed, "rate_kb_per_s") : 0;
  if (phase == DURING)
    row_expect(row, "%.0f kB/s", wanted);
  row_found(row, phase, phase == DURING ? is_rate(rate, wanted) && others_are_plain(bed) : rate > UNLIMITED,
            "%.0f kB/s", rate);
}

/* Two steps of a quarter each, then until nothing to speak of passes. */
static void measure_slow_close(struct bed *bed, enum phase phase, struct row *row) {
  if (phase != DURING) {
    measure_rate(bed, phase, row);
    return;
  }
  const double wanted = bed_number(bed, "rate_kb_per_s"), first = flood(bed, 100);
  bool holds = bed_await_acts(bed, 2, 10000) && is_rate(first, wanted);
  const double third = flood(bed, 20);
  holds = holds && bed->acts == 2 && is_rate(third, wanted / 16) && bed_await_over(bed, 10000);
  struct link_probe last = probe_between(bed, FROM, TO);
  last.count = 10;
  last.every_ns = 0;
  last.await_ns = NS_PER_S;
  const size_t passed = link_probe_run(&last).received;
  row_expect(row, "%.0f, %.0f kB/s; then 10 stay", wanted, wanted / 16);
  row_found(row, phase, holds && passed <= 1 && others_are_plain(bed), "%.0f, %.0f kB/s; %zu stay", first,
            third, 10 - passed);
}

/* ---- Up and down ---- */

#define FLAPS 6
#define FLAP_PATIENCE_NS (20 * NS_PER_S)

struct flaps {
  size_t count;
  double every_ms; /* on average */
};

static bool passes(const struct bed *bed) {
  struct link_probe one = probe_between(bed, FROM, TO);
  one.count = 1;
  one.await_ns = 20 * NS_PER_MS;
  return link_probe_run(&one).received == 1;
}

static struct flaps watch_flaps(struct bed *bed) {
  const int64_t begun_ns = time_monotonic_ns();
  int64_t first_ns = 0, last_ns = begun_ns;
  struct flaps flaps = {0};
  bool up = passes(bed);
  while (flaps.count < FLAPS && last_ns - begun_ns < FLAP_PATIENCE_NS) {
    bed_turn(bed);
    const bool now = passes(bed);
    last_ns = time_monotonic_ns();
    if (now != up)
      first_ns = flaps.count++ == 0 ? last_ns : first_ns;
    up = now;
  }
  if (flaps.count > 1)
    flaps.every_ms = MS(last_ns - first_ns) / (double)(flaps.count - 1);
  return flaps;
}

static void measure_flap(struct bed *bed, enum phase phase, struct row *row) {
  if (phase != DURING) {
    measure_share(bed, phase, row, "", missing, "lost");
    return;
  }
  const double every = (bed_number(bed, "down_ms") + bed_number(bed, "up_ms")) / 2;
  row->again = true;
  const struct flaps flaps = watch_flaps(bed);
  row_expect(row, "up or down every %.0f ms", every);
  /* The acts come by the nemesis's timer, which this probe holds up: late, and never early. */
  row_found(row, phase, flaps.count == FLAPS && flaps.every_ms > 0.8 * every && flaps.every_ms < 10 * every,
            "%zu changes, every %.0f ms", flaps.count, flaps.every_ms);
}

/* ---- All at once ---- */

static void measure_mess(struct bed *bed, enum phase phase, struct row *row) {
  row->again = true;
  const struct link_probe_result found = send_over(bed, phase);
  const double late = MS(found.delay_p50_ns),
               gone = PERCENT(count_in(phase) - found.distinct, count_in(phase)),
               doubled = twice(&found, count_in(phase));
  bool holds = is_plain(&found, PLAIN_COUNT);
  if (phase == DURING) {
    const double delay = bed_number(bed, "delay_ms"), jitter = bed_number(bed, "jitter_ms"),
                 again = bed_number(bed, "duplicate_percent"),
                 hurt = bed_number(bed, "loss_percent") + bed_number(bed, "corrupt_percent");
    /* A packet that comes twice is gone only if both are, so these are bounds and no means. */
    holds = late > delay - jitter && late < delay + jitter + slack_ms && gone > 0.4 * hurt &&
            gone < 1.4 * hurt && found.damaged > 0 && doubled > 0.5 * again && doubled < 1.4 * again &&
            found.overtaken > COUNT / 4 && others_are_plain(bed);
    row_expect(row, "late %.0f, gone %.0f %%, twice %.0f %%", delay, hurt, again);
  }
  row_found(row, phase, holds, "%.1f ms, %.0f %%, %.0f %%", late, gone, doubled);
}

#define DATAGRAMS "1500 datagrams n2 to n3"
#define FLOOD "a flood of datagrams n2 to n3"

static const struct proof proofs[] = {
    {"link-delay", DATAGRAMS, TOLD("\"delay_ms\": 120, \"jitter_ms\": 30"), measure_delay},
    {"link-loss", DATAGRAMS, TOLD("\"loss_percent\": 20"), measure_loss},
    {"link-duplicate", DATAGRAMS, TOLD("\"duplicate_percent\": 40"), measure_duplicate},
    {"link-reorder", DATAGRAMS, TOLD("\"delay_ms\": 50, \"reorder_percent\": 30"), measure_reorder},
    {"link-corrupt", DATAGRAMS, TOLD("\"corrupt_percent\": 20"), measure_corrupt},
    {"link-rate", FLOOD, TOLD("\"rate_kb_per_s\": 200"), measure_rate},
    {"link-slow-close", FLOOD, TOLD("\"rate_kb_per_s\": 200"), measure_slow_close},
    {"link-flap", "datagrams n2 to n3, one by one", TOLD("\"down_ms\": 200, \"up_ms\": 200"), measure_flap},
    {"link-mess", DATAGRAMS,
     TOLD("\"delay_ms\": 40, \"jitter_ms\": 10, \"loss_percent\": 10, \"duplicate_percent\": 20, "
          "\"reorder_percent\": 20, \"corrupt_percent\": 5"),
     measure_mess},
};
const struct proof_table link_proofs = {proofs, ARRAY_SIZE(proofs)};
