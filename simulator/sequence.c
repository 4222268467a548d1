/* sequence.c: what happened in a run as a message-sequence picture.
 *
 *             n1        n2        n3        c1
 *   12.345    │ ─append──▶│         │         │       one row a transition, so that no two labels meet;
 *   12.346    │           ║ leader  │         │       time runs down, in steps and not to scale
 *   12.348    │           │ ─ ─ ✕   │         │
 *
 * Messages are kept when they are sent, and drawn when it is known what became of them: a frame that arrives
 * twice is drawn twice. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulator/simulator.h"

#define ROWS_DEFAULT 400
#define ROW_HEIGHT 21.0
#define LEFT 150.0
#define NODE_SPACING 230.0
#define CLIENT_SPACING 150.0
#define TOP 64.0
#define RIGHT 280.0
#define GLYPH_WIDTH 5.7 /* of a label, about */
#define PAUSE_NS (100 * NS_PER_MS)
#define HEADER_EVERY 60
#define QUIET_KEPT 4096

struct event {
  struct transition transition; /* its text is owned here */
  char *text;
};

struct sequence {
  struct sequence_options options;
  struct event *events;
  size_t count, capacity;
  const char *before[SIMULATOR_NODES_MAX]; /* how each node's line looks where what is kept begins */
  /* The latest messages that said nothing new: what becomes of them is not drawn either. */
  uint64_t quiet[QUIET_KEPT];
  size_t quiet_count;
};

struct picture {
  const struct sequence *sequence;
  struct bytes svg, over; /* `over` holds labels and marks, drawn above all lines */
  size_t first;           /* of events: the first one shown */
  double *y;              /* of each event; sends that nothing came of have one too */
  double bottom, width;
  bool *used;      /* of each client: whether it is shown … */
  size_t *columns; /* … and where */
};

/* ---- Collecting ---- */

struct sequence *sequence_new(const struct sequence_options *options) {
  struct sequence *sequence = xcalloc(1, sizeof *sequence);
  sequence->options = *options;
  if (sequence->options.rows_max == 0)
    sequence->options.rows_max = ROWS_DEFAULT;
  return sequence;
}

void sequence_free(struct sequence *sequence) {
  if (!sequence)
    return;
  for (size_t i = 0; i < sequence->count; i++)
    free(sequence->events[i].text);
  free(sequence->events);
  free(sequence);
}

static bool is_kind(const struct transition *transition, const char *kind) {
  return strcmp(transition->kind, kind) == 0;
}

static bool begins(const char *text, const char *with) {
  return strncmp(text, with, strlen(with)) == 0;
}

/* Of most transitions a picture would say too much: timers, disks, single commits. */
static bool is_drawn(const struct transition *transition) {
  static const char *const silent[] = {"timer", "disk", "commit", "log"};
  for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
    if (is_kind(transition, silent[i]))
      return false;
  return true;
}

/* How a node's line looks from this transition on; NULL: as before. */
static const char *state_after(const struct transition *t) {
  if (is_kind(t, "role"))
    return begins(t->text, "leader") ? "leader" : "follower";
  if (is_kind(t, "crash") || is_kind(t, "stop") || is_kind(t, "fatal") || is_kind(t, "refuse"))
    return "down";
  if (is_kind(t, "start"))
    return "follower";
  return NULL;
}

static void pass_by(struct sequence *sequence, const struct transition *t) {
  const char *state = t->node >= 0 && t->node < SIMULATOR_NODES_MAX ? state_after(t) : NULL;
  if (state)
    sequence->before[t->node] = state;
}

static bool in_window(const struct sequence_options *options, const struct transition *t) {
  return t->time_ns >= options->from_ns && (options->to_ns == 0 || t->time_ns <= options->to_ns) &&
         t->number >= options->from && (options->to == 0 || t->number <= options->to);
}

/* Twice as many events as rows are kept at least; older ones will not be shown. */
static void forget_old(struct sequence *sequence) {
  const size_t keep = 8 * sequence->options.rows_max;
  if (sequence->count < 2 * keep)
    return;
  const size_t gone = sequence->count - keep;
  for (size_t i = 0; i < gone; i++) {
    pass_by(sequence, &sequence->events[i].transition);
    free(sequence->events[i].text);
  }
  memmove(sequence->events, sequence->events + gone, keep * sizeof *sequence->events);
  sequence->count = keep;
}

static bool is_arrival(const struct transition *t) {
  return t->frame != 0 && (is_kind(t, "deliver") || is_kind(t, "drop"));
}

/* A picture has little room: "append term 3, 140 bytes" is "append term 3". */
static char *without_size(const char *text) {
  char *copy = xstrdup(text), *comma = strrchr(copy, ',');
  size_t digits = comma ? strspn(comma + 1, " 0123456789") : 0;
  if (digits > 0 && strcmp(comma + 1 + digits, "bytes") == 0)
    *comma = '\0';
  return copy;
}

/* Whether a text, without its size, is one that was kept. */
static bool says_the_same(const char *kept, const char *text) {
  char *shorter = without_size(text);
  const bool same = strcmp(kept, shorter) == 0;
  free(shorter);
  return same;
}

/* A heartbeat and its answer that say what the last ones between the two said, and a client's search for a
 * primary. */
static bool says_nothing_new(const struct sequence *sequence, const struct transition *t) {
  for (size_t i = 0; is_arrival(t) && i < QUIET_KEPT; i++)
    if (sequence->quiet[i] == t->frame)
      return true;
  if (!is_kind(t, "send"))
    return false;
  if (begins(t->text, "hello") || begins(t->text, "greeting") || begins(t->text, "reset"))
    return true;
  if (!begins(t->text, "heartbeat") && !begins(t->text, "appended"))
    return false;
  for (size_t i = sequence->count; i-- > 0;) {
    const struct transition *last = &sequence->events[i].transition;
    if (is_kind(last, "send") && last->node == t->node && last->peer == t->peer &&
        last->text[0] == t->text[0])
      return says_the_same(last->text, t->text);
  }
  return false;
}

/* Those that look whether everything has healed stand beside the plan's own. */
static void note_client(struct sequence *sequence, int node) {
  const size_t number = node < -1 ? (size_t)(-1 - node) : 0;
  if (number > sequence->options.clients)
    sequence->options.clients = number;
}

void sequence_add(struct sequence *sequence, const struct transition *transition) {
  const struct sequence_options *options = &sequence->options;
  if (sequence->count == 0 && !in_window(options, transition))
    pass_by(sequence, transition);
  if (!in_window(options, transition) || !is_drawn(transition))
    return;
  note_client(sequence, transition->node);
  note_client(sequence, transition->peer);
  if (!options->heartbeats && says_nothing_new(sequence, transition)) {
    if (is_kind(transition, "send"))
      sequence->quiet[sequence->quiet_count++ % QUIET_KEPT] = transition->frame;
    return;
  }
  forget_old(sequence);
  if (sequence->count == sequence->capacity) {
    sequence->capacity = sequence->capacity ? 2 * sequence->capacity : 256;
    sequence->events = xrealloc(sequence->events, sequence->capacity * sizeof *sequence->events);
  }
  struct event *event = &sequence->events[sequence->count++];
  event->transition = *transition;
  event->text = without_size(transition->text);
  event->transition.text = event->text;
}

/* ---- Text of SVG ---- */

static void append_text(struct bytes *out, const char *text, size_t columns_max) {
  size_t columns = 0;
  for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
    const bool begins = (*at & 0xc0) != 0x80;
    if (begins && ++columns > columns_max) {
      bytes_append_format(out, "…");
      return;
    }
    if (*at == '<')
      bytes_append_format(out, "&lt;");
    else if (*at == '>')
      bytes_append_format(out, "&gt;");
    else if (*at == '&')
      bytes_append_format(out, "&amp;");
    else
      bytes_append_u8(out, *at < 0x20 ? ' ' : *at);
  }
}

static void append_label(struct bytes *out, double x, double y, const char *anchor, const char *class,
                         const char *text, size_t columns_max) {
  bytes_append_format(out, "<text class=\"%s\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, anchor, x,
                      y);
  append_text(out, text, columns_max);
  bytes_append_format(out, "</text>");
}

static void append_title(struct bytes *out, const struct transition *t) {
  bytes_append_format(out, "<title>%" PRIu64 " at %.6f s: %s ", t->number, (double)t->time_ns / 1e9, t->kind);
  append_text(out, t->text, 400);
  bytes_append_format(out, "</title>");
}

/* ---- Layout ---- */

static double x_of(const struct picture *picture, int node) {
  assert(node != -1);
  const double nodes_end = LEFT + (double)picture->sequence->options.nodes * NODE_SPACING;
  return node >= 0 ? LEFT + (double)node * NODE_SPACING
                   : nodes_end + (double)picture->columns[-2 - node] * CLIENT_SPACING;
}

static void note_use(struct picture *picture, int node) {
  if (node < -1)
    picture->used[-2 - node] = true;
}

/* Clients that take no part in what is shown have no lifeline. */
static void give_columns(struct picture *picture) {
  const struct sequence *sequence = picture->sequence;
  size_t columns = 0;
  for (size_t i = picture->first; i < sequence->count; i++) {
    note_use(picture, sequence->events[i].transition.node);
    note_use(picture, sequence->events[i].transition.peer);
  }
  for (size_t i = 0; i < sequence->options.clients; i++) {
    picture->columns[i] = columns;
    columns += picture->used[i];
  }
  picture->width =
      LEFT + (double)sequence->options.nodes * NODE_SPACING + (double)columns * CLIENT_SPACING + RIGHT;
}

/* The send that a frame's fate belongs to; NULL when it is older than what is kept. */
static const struct event *send_of(const struct sequence *sequence, size_t before, uint64_t frame) {
  for (size_t i = before; i-- > 0;) {
    const struct transition *t = &sequence->events[i].transition;
    if (t->frame == frame && is_kind(t, "send"))
      return &sequence->events[i];
  }
  return NULL;
}

/* What happens in one instant to the same node's messages shares a row: a broadcast leaves from one point. */
static bool shares_row(const struct transition *before, const struct transition *t) {
  return is_kind(t, "send") && is_kind(before, "send") && t->time_ns == before->time_ns &&
         t->node == before->node;
}

static void append_times(struct picture *picture, const struct transition *t, double y, int64_t silence_ns) {
  char time[48], number[32];
  snprintf(time, sizeof time, "%.6f", (double)t->time_ns / 1e9);
  snprintf(number, sizeof number, "%" PRIu64, t->number);
  append_label(&picture->svg, 66, y + 4, "end", "number", number, 20);
  append_label(&picture->svg, LEFT - 14, y + 4, "end", "time", time, 20);
  if (silence_ns >= PAUSE_NS) {
    snprintf(time, sizeof time, "%.3g s later", (double)silence_ns / 1e9);
    append_label(&picture->svg, LEFT - 14, y - ROW_HEIGHT + 2, "end", "number", time, 20);
  }
}

static void append_names(struct picture *picture, double y) {
  const struct sequence_options *options = &picture->sequence->options;
  char name[24];
  for (size_t i = 0; i < options->nodes; i++) {
    snprintf(name, sizeof name, "n%zu", i + 1);
    append_label(&picture->over, x_of(picture, (int)i), y, "middle", "name", name, 8);
  }
  for (size_t i = 0; i < options->clients; i++) {
    if (!picture->used[i])
      continue;
    snprintf(name, sizeof name, "c%zu", i + 1);
    append_label(&picture->over, x_of(picture, -2 - (int)i), y, "middle", "name", name, 8);
  }
}

/* Gives every event its height. */
static void lay_out(struct picture *picture) {
  const struct sequence *sequence = picture->sequence;
  size_t rows = 0;
  picture->first = sequence->count;
  while (picture->first > 0 && rows++ < sequence->options.rows_max)
    picture->first--;
  give_columns(picture);
  double y = TOP;
  rows = 0;
  append_names(picture, y - 22);
  for (size_t i = picture->first; i < sequence->count; i++) {
    const struct transition *t = &sequence->events[i].transition;
    const struct transition *before = i > picture->first ? &sequence->events[i - 1].transition : NULL;
    if (before && shares_row(before, t)) {
      picture->y[i] = y;
      continue;
    }
    const int64_t silence_ns = before ? t->time_ns - before->time_ns : 0;
    y += silence_ns >= PAUSE_NS ? 2.2 * ROW_HEIGHT : ROW_HEIGHT;
    if (++rows % HEADER_EVERY == 0) {
      y += 1.5 * ROW_HEIGHT;
      append_names(picture, y - ROW_HEIGHT);
    }
    picture->y[i] = y;
    append_times(picture, t, y, silence_ns);
  }
  picture->bottom = y + 1.5 * ROW_HEIGHT;
  append_names(picture, picture->bottom + ROW_HEIGHT);
}

/* ---- Lifelines ---- */

static void append_segment(struct picture *picture, double x, double from, double to, const char *state) {
  if (to > from)
    bytes_append_format(&picture->svg,
                        "<line class=\"life %s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", state, x,
                        x, from, to);
}

static void draw_lifeline(struct picture *picture, int node) {
  const struct sequence *sequence = picture->sequence;
  const double x = x_of(picture, node);
  const char *state = node >= 0 && sequence->before[node] ? sequence->before[node] : "follower";
  double from = TOP - 14;
  for (size_t i = 0; i < sequence->count; i++) {
    const struct transition *t = &sequence->events[i].transition;
    const char *next = t->node == node ? state_after(t) : NULL;
    if (!next)
      continue;
    if (i >= picture->first) {
      append_segment(picture, x, from, picture->y[i], state);
      from = picture->y[i];
    }
    state = next;
  }
  append_segment(picture, x, from, picture->bottom, state);
}

/* ---- Transitions ---- */

static size_t columns_of(double width) {
  return width < 6 * GLYPH_WIDTH ? 6 : (size_t)(width / GLYPH_WIDTH);
}

static void draw_cross(struct picture *picture, double x, double y) {
  bytes_append_format(&picture->over, "<path class=\"lost\" d=\"M%.1f %.1fl8 8m0 -8l-8 8\"/>", x - 4, y - 4);
}

static void draw_arrow(struct picture *picture, const struct transition *sent, double from_y,
                       const struct transition *arrived, double to_y) {
  const bool lost = is_kind(arrived, "drop");
  const double from_x = x_of(picture, sent->node), whole_x = x_of(picture, sent->peer);
  const double to_x = lost ? from_x + (whole_x - from_x) * 0.55 : whole_x;
  const bool rightward = whole_x > from_x;
  bytes_append_format(&picture->svg,
                      "<g><line class=\"message%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"%s/>",
                      lost ? " lost" : "", from_x, from_y,
                      to_x + (lost        ? 0
                              : rightward ? -3
                                          : 3),
                      to_y, lost ? "" : " marker-end=\"url(#arrow)\"");
  append_title(&picture->svg, sent);
  bytes_append_format(&picture->svg, "</g>");
  if (lost)
    draw_cross(picture, to_x, to_y);
  /* Above the line's last part: a row belongs to one arrival, so nothing else is written there. */
  const char *text = sent->text[0] ? sent->text : arrived->text;
  const double width = (rightward ? to_x - from_x : from_x - to_x) - 20;
  const double drawn =
      GLYPH_WIDTH * (double)strlen(text) < width ? GLYPH_WIDTH * (double)strlen(text) : width;
  const double label_y = to_y - (to_y - from_y) * (10 + drawn) / (width + 20);
  append_label(&picture->over, rightward ? to_x - 10 : to_x + 10,
               (label_y > to_y - 5 ? label_y : to_y - 5) - 4, rightward ? "end" : "start",
               lost ? "label dim" : "label", text, columns_of(width));
}

/* Where it is not known when it was sent: the last piece of its way. */
static void draw_stub(struct picture *picture, const struct transition *t, double y) {
  const double x = x_of(picture, t->node);
  const bool rightward = t->peer == -1 || x_of(picture, t->peer) < x;
  const double from = rightward ? x - 40 : x + 40;
  if (is_kind(t, "drop")) {
    draw_cross(picture, from, y);
    return;
  }
  bytes_append_format(
      &picture->svg,
      "<line class=\"message\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" marker-end=\"url(#arrow)\"/>",
      from, y - 6, x + (rightward ? -3 : 3), y);
}

/* What concerns all: a fault, what it ended in. */
static void draw_band(struct picture *picture, const struct transition *t, double y) {
  bytes_append_format(&picture->svg,
                      "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                      is_kind(t, "violation") ? "violation" : "fault", LEFT - 8, y - ROW_HEIGHT / 2,
                      picture->width - LEFT, ROW_HEIGHT);
  char text[300];
  snprintf(text, sizeof text, "%s %s", t->kind, t->text);
  append_label(&picture->over, LEFT + 10, y + 4, "start", "label fault", text, columns_of(picture->width));
}

static void draw_mark(struct picture *picture, const struct transition *t, double y) {
  const double x = x_of(picture, t->node);
  char text[300];
  const bool bold = is_kind(t, "role") || is_kind(t, "crash") || is_kind(t, "start") || is_kind(t, "fatal");
  if (is_kind(t, "role"))
    snprintf(text, sizeof text, "%s", t->text);
  else
    snprintf(text, sizeof text, "%s %s", t->kind, t->text);
  bytes_append_format(&picture->over, "<g><circle class=\"mark %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>",
                      t->kind, x, y);
  append_title(&picture->over, t);
  bytes_append_format(&picture->over, "</g>");
  append_label(&picture->over, x + 8, y + 4, "start", bold ? "label role" : "label", text,
               columns_of(picture->width - x));
}

static void draw_event(struct picture *picture, size_t i) {
  const struct sequence *sequence = picture->sequence;
  const struct transition *t = &sequence->events[i].transition;
  if (is_kind(t, "send"))
    return;
  if (t->node == -1) {
    draw_band(picture, t, picture->y[i]);
  } else if (is_arrival(t)) {
    const struct event *send = send_of(sequence, i, t->frame);
    const size_t sent = send ? (size_t)(send - sequence->events) : 0;
    if (send)
      draw_arrow(picture, &send->transition, sent >= picture->first ? picture->y[sent] : TOP, t,
                 picture->y[i]);
    else
      draw_stub(picture, t, picture->y[i]);
  } else if (is_kind(t, "fault")) {
    draw_band(picture, t, picture->y[i]);
  } else {
    draw_mark(picture, t, picture->y[i]);
  }
}

/* ---- The file ---- */

static const char style[] =
    "<style>svg{--back:#fcfcfb;--text:#1c1e21;--dim:#8a9098;--line:#c4c8ce;--message:#3b76c4;--bad:#c22f2f;"
    "--leader:#1a7f4b;--fault:#f3e3c3;background:var(--back);color-scheme:light dark}"
    "@media(prefers-color-scheme:dark){svg{--back:#16181b;--text:#e4e6e9;--dim:#808890;--line:#454b53;"
    "--message:#6ca6f0;--bad:#ff7b72;--leader:#53c58b;--fault:#3f3420}}"
    "text{font:11px system-ui,\"DejaVu Sans\",sans-serif;fill:var(--text)}"
    ".label{font-size:10px;paint-order:stroke;stroke:var(--back);stroke-width:3px}.label.fault{stroke:none}"
    ".role,.name{font-weight:600}.name{font-size:13px}.dim,.number{fill:var(--dim)}.number{font-size:9.5px}"
    ".time{font-variant-numeric:tabular-nums}.title{font-size:14px;font-weight:600}"
    ".life{stroke:var(--line);stroke-width:1.5}.life.leader{stroke:var(--leader);stroke-width:6;opacity:.7}"
    ".life.down{stroke-dasharray:1 6}"
    ".message{stroke:var(--message);stroke-width:1.2}.message.lost{stroke-dasharray:5 4;opacity:.8}"
    "path.lost{stroke:var(--bad);stroke-width:1.8;fill:none}.arrow{fill:var(--message)}"
    ".mark{fill:var(--text)}.mark.crash,.mark.fatal,.mark.violation{fill:var(--bad)}"
    "rect.fault{fill:var(--fault)}rect.violation{fill:var(--bad);opacity:.35}</style>";

static void append_head(const struct picture *picture, const char *title, struct bytes *out) {
  const double height = picture->bottom + 3 * ROW_HEIGHT;
  bytes_append_format(out,
                      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
                      "viewBox=\"0 0 %.0f %.0f\" role=\"img\">%s<defs><marker id=\"arrow\" markerWidth=\"8\" "
                      "markerHeight=\"8\" refX=\"7\" refY=\"4\" orient=\"auto\"><path class=\"arrow\" "
                      "d=\"M0 0.8L8 4L0 7.2z\"/></marker></defs>\n",
                      picture->width, height, picture->width, height, style);
  bytes_append_format(out, "<rect width=\"100%%\" height=\"100%%\" style=\"fill:var(--back)\"/>\n");
  append_label(out, 14, 20, "start", "title", title, 200);
  bytes_append_u8(out, '\n');
}

int sequence_write(const struct sequence *sequence, const char *title, const char *path,
                   struct error *error) {
  const struct sequence_options *options = &sequence->options;
  struct picture picture = {.sequence = sequence,
                            .y = xcalloc(sequence->count + 1, sizeof *picture.y),
                            .used = xcalloc(options->clients + 1, sizeof *picture.used),
                            .columns = xcalloc(options->clients + 1, sizeof *picture.columns)};
  lay_out(&picture);
  for (size_t i = 0; i < options->nodes; i++)
    draw_lifeline(&picture, (int)i);
  for (size_t i = 0; i < options->clients; i++)
    if (picture.used[i])
      draw_lifeline(&picture, -2 - (int)i);
  bytes_append_u8(&picture.svg, '\n');
  for (size_t i = picture.first; i < sequence->count; i++)
    draw_event(&picture, i);
  struct bytes out = {0};
  append_head(&picture, title, &out);
  bytes_append(&out, picture.svg.data, picture.svg.size);
  bytes_append_u8(&out, '\n');
  if (picture.over.size > 0)
    bytes_append(&out, picture.over.data, picture.over.size);
  bytes_append_format(&out, "\n</svg>\n");
  const int status = file_replace(path, out.data, out.size, error);
  bytes_free(&out);
  bytes_free(&picture.svg);
  bytes_free(&picture.over);
  free(picture.used);
  free(picture.columns);
  free(picture.y);
  return status;
}
