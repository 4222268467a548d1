/* control.h: how commands talk to the nemesis of a cluster that `assay cluster up` left running: a socket in
 * STORE/cluster, one JSON object a line there, one back.
 *
 *   {"do": "start", "entry": {one entry of a schedule}}   {"ok": true, "number": 3}
 *   {"do": "heal", "number": 3}        (0: everything)    {"ok": true}
 *   {"do": "status"}                                      {"ok": true, "faults": […], "nodes": […]}
 *   whatever failed                                       {"ok": false, "error": "why, and the cure"} */
#ifndef ASSAY_HARNESS_CONTROL_H
#define ASSAY_HARNESS_CONTROL_H

#include <jansson.h>
#include <uv.h>

#include "base/base.h"
#include "nemesis/nemesis.h"

struct control;

/* Listens in `directory` (STORE/cluster) for as long as the loop runs. */
int control_open(uv_loop_t *loop, const char *directory, struct nemesis *nemesis, struct control **control,
                 struct error *error);
/* The loop must run once more for its handles to close. NULL is fine. */
void control_close(struct control *control);

/* Asks, and waits for the answer; the caller json_decref()s. NULL and an error when there is none, or when it
 * says that it failed. Takes `request`. */
json_t *control_ask(const char *store, json_t *request, struct error *error);

#endif
