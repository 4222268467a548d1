/* link_probe.h: measures a link from outside: sends numbered, stamped UDP datagrams from one network
 * namespace to another and looks at what arrives.
 *
 * It does not know what shapes the link: our own switch and netem are measured alike. Datagrams carry no UDP
 * checksum, so that damaged ones arrive, too; stamps of arrival are the kernel's. One more, that counts for
 * nothing, goes ahead of them. */
#ifndef ASSAY_NEMESIS_TEST_LINK_PROBE_H
#define ASSAY_NEMESIS_TEST_LINK_PROBE_H

#include <stddef.h>
#include <stdint.h>

/* Of UDP's payload: Ethernet, IP and UDP headers come on top. */
#define LINK_PROBE_HEADERS (14 + 20 + 8)

struct link_probe {
  int from, to;        /* network namespaces */
  const char *to_host; /* address of the receiver */
  size_t count;        /* datagrams */
  size_t payload;      /* bytes of each; 0: 64 */
  int64_t every_ns;    /* 0: as fast as they can be sent */
  int64_t await_ns;    /* how long after the last was sent or received another may come; 0: 300 ms */
};

struct link_probe_result {
  size_t received; /* all of them: duplicates and damaged ones, too */
  size_t distinct; /* different sound ones */
  size_t damaged;
  size_t duplicates;
  size_t overtaken; /* arrived after one that was sent later */
  int64_t delay_min_ns, delay_p10_ns, delay_p50_ns, delay_p90_ns, delay_p99_ns, delay_max_ns;
  double bytes_per_s; /* whole frames, from the first arrival to the last */
};

/* CHECKs (inside.h) whatever is no matter of the link. */
struct link_probe_result link_probe_run(const struct link_probe *probe);

/* Half of the median round trip, one datagram under way at a time: both ends answer at once. */
int64_t link_probe_half_round_trip_ns(int from, int to, const char *to_host, size_t count);

#endif
