/* trace.c: a transition as one line for people. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "simulator/simulator.h"

#define NAME_SIZE 16
#define WHO_WIDTH 8
#define KIND_WIDTH 10
#define CLIENT_FRAMES (UINT64_C(1) << 40) /* clients number their messages from there on */

static const char *name_of(int node, char out[NAME_SIZE]) {
  if (node >= 0)
    snprintf(out, NAME_SIZE, "n%d", node + 1);
  else if (node == -1)
    snprintf(out, NAME_SIZE, "-");
  else
    snprintf(out, NAME_SIZE, "c%d", -1 - node);
  return out;
}

void transition_print(const struct transition *transition, char out[TRANSITION_TEXT_SIZE]) {
  char node[NAME_SIZE], peer[NAME_SIZE], who[2 * NAME_SIZE + 4], frame[32] = "";
  const struct transition *t = transition;
  if (t->peer == -1)
    snprintf(who, sizeof who, "%s", name_of(t->node, node));
  else if (strcmp(t->kind, "deliver") == 0 || strcmp(t->kind, "drop") == 0)
    snprintf(who, sizeof who, "%s > %s", name_of(t->peer, peer), name_of(t->node, node));
  else
    snprintf(who, sizeof who, "%s > %s", name_of(t->node, node), name_of(t->peer, peer));
  if (t->frame > CLIENT_FRAMES)
    snprintf(frame, sizeof frame, "  #c%" PRIu64, t->frame - CLIENT_FRAMES);
  else if (t->frame != 0)
    snprintf(frame, sizeof frame, "  #%" PRIu64, t->frame);
  snprintf(out, TRANSITION_TEXT_SIZE, "%8" PRIu64 " %11.6f  %-*s %-*s %s%s", t->number,
           (double)t->time_ns / 1e9, WHO_WIDTH, who, KIND_WIDTH, t->kind, t->text, frame);
}
