/* protocol.h: what the nemesis and an agent say to each other: JSON, one object a line, both ways.
 *
 *   nemesis ── {"id": 7, "do": "start", "arguments": […]} ──▶ agent      a request; requests are
 *           ◀── {"id": 7, "ok": true, "pid": 812} ──────────             answered in their order
 *           ◀── {"id": 7, "ok": false, "code": -5, "error": "…"}         (code: enum error_code)
 *           ── {"do": "signal", "number": 9} ──────────────▶             an order: it has no answer
 *           ◀── {"event": "ended", "life": 2, "status": 9} ─             unasked: how its second process
 *                                                                        ended, as wait() tells
 *
 * What can be asked, with what, and what the answer tells:
 *
 *   hello          protocol, node, address, directory, keep, master, own_clock, files: {"name": text}
 *                  that are put into the directory; the first request
 *                  -> protocol, version, build, host, kernel, master,
 *                     lacks: {"filter": null, "clock": "why not"}
 *   start          arguments, program (null: the master of hello) -> pid, life
 *   signal         number
 *   await-stopped  timeout_ms
 *   wipe           removes what a node that does not run has stored
 *   filter         hosts: whom the node shall not hear
 *   count          -> rules, dropped
 *   shape          hosts: to whom; shape: as link/link.h tells
 *   count-shapes   -> shaped, seen, lost
 *   set-clock      offset_ns, rate
 *   read-clock     -> offset_ns, rate
 *   log            from -> text: what follows in the node's log; next
 *   stay           a sign of life, when there is nothing else to say
 *
 * A "keep" directory outlives the agent and its successors; any other is removed by the next agent at the
 * latest. */
#ifndef ASSAY_NEMESIS_AGENT_PROTOCOL_H
#define ASSAY_NEMESIS_AGENT_PROTOCOL_H

#include "base/base.h"

/* Raised whenever one side would misunderstand the other. */
#define AGENT_PROTOCOL 2

/* An agent that hears nothing for so long has been cut off, and ends. */
#define AGENT_SILENCE_MAX_NS (90 * NS_PER_S)
#define AGENT_STAY_EVERY_MS 5000

/* A line longer than that is not one of ours. */
#define AGENT_LINE_MAX (4u << 20)

/* Bytes of a log in one answer, before JSON makes them more. */
#define AGENT_LOG_PART (256u << 10)

#endif
