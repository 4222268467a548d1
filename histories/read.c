/* read.c: a history out of its lines.
 *
 * A line is scanned once. Its members may stand in any order; `value` and `error` mean something only once
 * `process`, `type` and `f` are known, so when they come earlier (our writer never does that) their place is
 * noted and they are decoded at the end of the line. Arguments and answers go straight to where they stay. */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "histories/arena.h"
#include "histories/decode.h"
#include "histories/lines.h"
#include "histories/processes.h"

enum line_member {
  LINE_INDEX = 1 << 0,
  LINE_TIME = 1 << 1,
  LINE_PROCESS = 1 << 2,
  LINE_TYPE = 1 << 3,
  LINE_F = 1 << 4,
  LINE_OP = 1 << 5,
  LINE_VALUE = 1 << 6,
  LINE_ERROR = 1 << 7,
  LINE_NODE = 1 << 8,
  LINE_TERM = 1 << 9,
  LINE_COMMIT = 1 << 10,
};

static const struct member line_members[] = {
    MEMBER("index", LINE_INDEX), MEMBER("time", LINE_TIME),     MEMBER("process", LINE_PROCESS),
    MEMBER("type", LINE_TYPE),   MEMBER("f", LINE_F),           MEMBER("op", LINE_OP),
    MEMBER("value", LINE_VALUE), MEMBER("error", LINE_ERROR),   MEMBER("node", LINE_NODE),
    MEMBER("term", LINE_TERM),   MEMBER("commit", LINE_COMMIT),
};

enum line_type { TYPE_INVOKE, TYPE_OK, TYPE_FAIL, TYPE_INFO };

/* One line while it is read. */
struct line {
  unsigned present; /* of enum line_member */
  uint64_t index, op_id, term, commit;
  int64_t time_ns, process, node;
  enum line_type type;
  bool nemesis;
  struct json_string f;
  struct text value, error;    /* their places, when they could not be decoded at once */
  struct operation *operation; /* whom the line is about, once that is known */
  struct process_state *state;
  struct answer failure; /* from `error` */
};

struct parser {
  const char *name;
  uint64_t line_number;
  struct decoder decoder;
  struct history *history;
  struct process_table processes;
  struct id_set op_ids;
  struct error *error; /* never NULL */
};

/* A defect of the present line. Always returns false. */
static bool defect(struct parser *parser, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool defect(struct parser *parser, const char *format, ...) {
  char text[480];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  error_set(parser->error, ERR_BAD_INPUT, "%s:%" PRIu64 ": %s", parser->name, parser->line_number, text);
  return json_fail(&parser->decoder.json, "");
}

/* A defect that the scanner found. */
static bool defect_of_json(struct parser *parser) {
  const struct json *json = &parser->decoder.json;
  if (parser->error->code)
    return false;
  const ptrdiff_t column = json->at - json->begin + 1;
  const int key_size = json->member.size > 40 ? 40 : (int)json->member.size;
  if (json->member.data)
    return defect(parser, "column %td, in \"%.*s\": %s; see histories/README.md for what a line holds",
                  column, key_size, json->member.data, json->problem);
  return defect(parser, "column %td: %s; see histories/README.md for what a line holds", column,
                json->problem);
}

/* ---- The members of a line ---- */

static bool read_type(struct parser *parser, struct line *line) {
  static const struct text names[] = {
      [TYPE_INVOKE] = {"invoke", 6},
      [TYPE_OK] = {"ok", 2},
      [TYPE_FAIL] = {"fail", 4},
      [TYPE_INFO] = {"info", 4},
  };
  struct json_string word;
  if (!json_take_string(&parser->decoder.json, &word))
    return false;
  char room[32];
  const struct text name = json_resolve(&word, room, sizeof room);
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (name.size == names[i].size && memcmp(name.data, names[i].data, name.size) == 0) {
      line->type = (enum line_type)i;
      return true;
    }
  return defect(parser, "unknown type \"%.*s\"; it is one of invoke, ok, fail, info",
                (int)(word.raw.size > 40 ? 40 : word.raw.size), word.raw.data);
}

static bool read_process(struct parser *parser, struct line *line) {
  struct json *json = &parser->decoder.json;
  if (json_peek(json) != '"')
    return json_signed(json, &line->process);
  struct json_string word;
  if (!json_take_string(json, &word))
    return false;
  line->nemesis = json_string_is(&word, "nemesis");
  return line->nemesis || defect(parser, "the process is a word; give a whole number, or \"nemesis\"");
}

/* A hint: what is no number of ours is some other system's, and of no use here. */
static void read_hint(struct json *json, uint64_t *value) {
  const char first = json_peek(json);
  if (first >= '0' && first <= '9')
    json_unsigned(json, value);
  else
    json_skip(json, NULL);
}

static bool read_node(struct json *json, struct line *line) {
  uint64_t node = UINT64_MAX;
  read_hint(json, &node);
  line->node = node <= INT32_MAX ? (int32_t)node : -1;
  return !json->problem;
}

static bool find_operation(struct parser *parser, struct line *line);

/* Decodes `value` or `error` where the scanner stands, or notes its place when it is too early for that. */
static void read_content(struct parser *parser, struct line *line, unsigned member) {
  struct json *json = &parser->decoder.json;
  const unsigned needed = LINE_PROCESS | LINE_TYPE | LINE_F;
  if ((line->present & needed) != needed || line->nemesis) {
    json_skip(json, member == LINE_VALUE ? &line->value : &line->error);
    return;
  }
  if (!line->operation && !find_operation(parser, line))
    return;
  if (member == LINE_VALUE && line->type == TYPE_INVOKE)
    decode_arguments(&parser->decoder, line->operation->arguments.kind, &line->operation->arguments);
  else if (member == LINE_VALUE && line->type == TYPE_OK)
    decode_answer(&parser->decoder, &line->operation->arguments, &line->operation->answer);
  else if (member == LINE_ERROR && (line->type == TYPE_FAIL || line->type == TYPE_INFO))
    decode_error(&parser->decoder, &line->failure);
  else
    json_skip(json, NULL);
}

static void read_member(struct parser *parser, struct line *line, unsigned member) {
  struct json *json = &parser->decoder.json;
  switch (member) {
  case LINE_INDEX:
    json_unsigned(json, &line->index);
    break;
  case LINE_TIME:
    json_signed(json, &line->time_ns);
    break;
  case LINE_PROCESS:
    read_process(parser, line);
    break;
  case LINE_TYPE:
    read_type(parser, line);
    break;
  case LINE_F:
    json_take_string(json, &line->f);
    break;
  case LINE_OP:
    json_unsigned(json, &line->op_id);
    break;
  case LINE_NODE:
    read_node(json, line);
    break;
  case LINE_TERM:
    read_hint(json, &line->term);
    break;
  case LINE_COMMIT:
    read_hint(json, &line->commit);
    break;
  default:
    read_content(parser, line, member);
    break;
  }
}

/* ---- Whom a line is about ---- */

static bool find_invocation(struct parser *parser, struct line *line, enum operation_kind kind) {
  const struct operation *last = &parser->history->operations[line->state->operation];
  if (line->state->phase == PROCESS_OPEN)
    return defect(parser,
                  "process %" PRId64 " invokes while its operation of index %" PRIu64
                  " is open; a process has one operation at a time",
                  line->process, last->invoke_index);
  if (line->state->phase == PROCESS_ENDED)
    return defect(parser,
                  "process %" PRId64 " invokes after its operation of index %" PRIu64
                  " ended in info; let a new process number take its place",
                  line->process, last->invoke_index);
  line->operation = history_next_operation(parser->history);
  line->operation->arguments.kind = kind;
  return true;
}

static bool find_completion(struct parser *parser, struct line *line, enum operation_kind kind) {
  if (line->state->phase != PROCESS_OPEN)
    return defect(parser,
                  "process %" PRId64 " completes an operation that it has not invoked; its invocation must "
                  "stand before",
                  line->process);
  line->operation = &parser->history->operations[line->state->operation];
  if (line->operation->arguments.kind == kind)
    return true;
  return defect(parser,
                "process %" PRId64 " completes %s, but what it invoked (index %" PRIu64
                ") is %s; both lines of an operation carry the same \"f\"",
                line->process, operation_name(kind), line->operation->invoke_index,
                operation_name(line->operation->arguments.kind));
}

static bool find_operation(struct parser *parser, struct line *line) {
  char room[32];
  const int kind = operation_kind_of(json_resolve(&line->f, room, sizeof room));
  if (kind < 0)
    return defect(parser,
                  "unknown operation \"%.*s\"; known are mkdir, create, complete, delete, rename, set, "
                  "add-block, commit-block, stat, list, exists, blocks, batch",
                  (int)(line->f.raw.size > 40 ? 40 : line->f.raw.size), line->f.raw.data);
  line->state = process_find(&parser->processes, line->process);
  return line->type == TYPE_INVOKE ? find_invocation(parser, line, (enum operation_kind)kind)
                                   : find_completion(parser, line, (enum operation_kind)kind);
}

/* ---- What a whole line means ---- */

static bool missing_member(struct parser *parser, unsigned present) {
  const char *name = !(present & LINE_PROCESS) ? "process"
                     : !(present & LINE_TYPE)  ? "type"
                     : !(present & LINE_F)     ? "f"
                                               : "time";
  return defect(parser,
                "\"%s\" is missing; every line but the header has \"time\", \"process\", \"type\" and \"f\"",
                name);
}

/* Lines stand in the order of time, an invocation before a completion at equal times, and of index. */
static bool check_order(struct parser *parser, struct line *line) {
  struct history_arena *arena = parser->history->arena;
  const bool event = !line->nemesis, invocation = event && line->type == TYPE_INVOKE;
  const bool same_time = line->time_ns == arena->last_time_ns;
  if (line->time_ns < arena->last_time_ns)
    return defect(parser,
                  "time %" PRId64 " stands behind time %" PRId64 "; put the lines into the order of \"time\"",
                  line->time_ns, arena->last_time_ns);
  if (same_time && invocation && arena->last_was_completion)
    return defect(parser,
                  "an invocation stands behind a completion of the same time %" PRId64
                  "; nothing tells that it came later, so put it before",
                  line->time_ns);
  if (!(line->present & LINE_INDEX))
    line->index = arena->next_index;
  if (line->index < arena->next_index || line->index == UINT64_MAX)
    return defect(parser,
                  "index %" PRIu64 " where %" PRIu64
                  " or more belongs; number the lines upwards, or leave \"index\" out",
                  line->index, arena->next_index);
  arena->last_was_completion = (same_time && arena->last_was_completion) || (event && !invocation);
  arena->last_time_ns = line->time_ns;
  arena->next_index = line->index + 1;
  return true;
}

static bool finish_nemesis(struct parser *parser, struct line *line) {
  if (line->type != TYPE_INVOKE && line->type != TYPE_INFO)
    return defect(parser, "a line of the nemesis is of type invoke (before it acts) or info (after)");
  struct nemesis_event *event = history_next_nemesis(parser->history);
  event->time_ns = line->time_ns;
  event->index = line->index;
  event->start = line->type == TYPE_INVOKE;
  event->f = history_text(parser->history, line->f.raw.data, line->f.raw.size);
  if (line->f.escaped) {
    char *copy = (char *)event->f.data;
    event->f.size = json_unescape(&line->f, copy);
    copy[event->f.size] = '\0';
  }
  event->text = history_text(parser->history, line->value.data, line->value.size);
  parser->history->nemesis_count++;
  return true;
}

static bool finish_invocation(struct parser *parser, struct line *line) {
  struct operation *operation = line->operation;
  struct history *history = parser->history;
  if (line->op_id && operation_is_mutation(operation->arguments.kind) &&
      !id_set_add(&parser->op_ids, line->op_id))
    return defect(parser, "op id %" PRIu64 " was given to an earlier operation; every mutation has its own",
                  line->op_id);
  operation->answer.code = ANSWER_OTHER;
  operation->outcome = OUTCOME_INFO;
  operation->process = line->process;
  operation->op_id = line->op_id;
  operation->node = -1;
  operation->invoke_time_ns = line->time_ns;
  operation->invoke_index = line->index;
  operation->invoke_event = history->event_count++;
  operation->complete_event = NO_EVENT;
  line->state->phase = PROCESS_OPEN;
  line->state->operation = history->count++;
  return true;
}

/* What `error` says must fit the type: a fail is certain, an info is not. */
static bool check_failure(struct parser *parser, struct line *line) {
  struct answer *failure = &line->failure;
  if (line->type == TYPE_FAIL && failure->code == ANSWER_OK)
    return defect(parser,
                  "a fail needs an \"error\" with a \"code\"; what failed for reasons unknown is an info");
  if (line->type == TYPE_FAIL && failure->code == ANSWER_OTHER)
    return defect(parser,
                  "the code of this fail is not known, so it says nothing certain; record it as info");
  if (line->type == TYPE_FAIL && answer_is_indefinite(failure->code))
    return defect(parser, "a fail with code %s may still take effect; record it as info",
                  answer_name(failure->code));
  if (line->type == TYPE_INFO && failure->code == ANSWER_OK)
    failure->code = ANSWER_OTHER;
  if (line->type == TYPE_INFO && !answer_is_indefinite(failure->code))
    return defect(parser, "an info with code %s: that outcome is certain; record it as fail",
                  answer_name(failure->code));
  return true;
}

/* Members that belong to another error, or to another operation's, were not observed. */
static void drop_strangers(struct answer *failure, enum operation_kind kind) {
  if (failure->code != ANSWER_VERSION_MISMATCH) {
    failure->seen &= ~(unsigned)SEEN_VERSION;
    failure->version = 0;
  }
  if (kind != OPERATION_BATCH) {
    failure->seen &= ~(unsigned)SEEN_AT;
    failure->at = 0;
  }
}

static bool finish_completion(struct parser *parser, struct line *line) {
  struct operation *operation = line->operation;
  if (line->op_id && operation->op_id && line->op_id != operation->op_id)
    return defect(parser, "op id %" PRIu64 " completes the operation of op id %" PRIu64, line->op_id,
                  operation->op_id);
  if (line->type == TYPE_OK) {
    operation->outcome = OUTCOME_OK;
    operation->answer.code = ANSWER_OK;
  } else {
    if (!check_failure(parser, line))
      return false;
    operation->outcome = line->type == TYPE_FAIL ? OUTCOME_FAIL : OUTCOME_INFO;
    drop_strangers(&line->failure, operation->arguments.kind);
    operation->answer = line->failure;
  }
  operation->node = (int32_t)line->node;
  operation->term = line->term;
  operation->commit = line->commit;
  operation->complete_time_ns = line->time_ns;
  operation->complete_index = line->index;
  operation->complete_event = parser->history->event_count++;
  line->state->phase = line->type == TYPE_INFO ? PROCESS_ENDED : PROCESS_IDLE;
  return true;
}

/* Decodes what stood before `process`, `type` and `f` were known. */
static bool read_deferred(struct parser *parser, struct line *line) {
  struct json *json = &parser->decoder.json;
  if (!line->operation && !find_operation(parser, line))
    return false;
  if (line->value.data) {
    json->at = line->value.data;
    read_content(parser, line, LINE_VALUE);
  }
  if (line->error.data && !json->problem) {
    json->at = line->error.data;
    read_content(parser, line, LINE_ERROR);
  }
  return !json->problem;
}

static bool finish_line(struct parser *parser, struct line *line) {
  const unsigned required = LINE_PROCESS | LINE_TYPE | LINE_F | LINE_TIME;
  if ((line->present & required) != required)
    return missing_member(parser, line->present);
  if (!line->nemesis && !read_deferred(parser, line))
    return false;
  if (!check_order(parser, line))
    return false;
  if (line->nemesis)
    return finish_nemesis(parser, line);
  if (parser->history->event_count >= NO_EVENT - 1)
    return defect(parser, "a history holds at most %u events; split it", NO_EVENT - 1);
  if (line->type != TYPE_INVOKE)
    return finish_completion(parser, line);
  if (!(line->present & LINE_VALUE))
    return defect(parser, "\"value\" is missing: the arguments of the operation");
  return finish_invocation(parser, line);
}

static bool parse_line(struct parser *parser, const struct line_text *text) {
  struct json *json = &parser->decoder.json;
  struct line line = {.node = -1};
  struct members members = MEMBERS(line_members, ~0u);
  *json = json_make(text->data, text->size);
  json_begin_object(json);
  for (unsigned member; (member = members_next(json, &members)) != 0;) {
    line.present |= member;
    read_member(parser, &line, member);
  }
  if (!json->problem)
    json->member = (struct text){0};
  if (!json_end(json) || !finish_line(parser, &line))
    return defect_of_json(parser);
  return true;
}

/* ---- Headers and whole files ---- */

/* Looks for a header: returns 1 when the line is one, 0 when it is not, or ERR_BAD_INPUT. */
static int parse_header(struct parser *parser, const struct line_text *text) {
  struct json *json = &parser->decoder.json;
  struct json_string key;
  uint64_t format = 0;
  bool is_header = false;
  struct text model = {0};
  *json = json_make(text->data, text->size);
  json_begin_object(json);
  while (json_next_member(json, &key)) {
    if (json_string_is(&key, "history")) {
      is_header = true;
      json_unsigned(json, &format);
    } else if (json_string_is(&key, "model"))
      decode_text(&parser->decoder, &model);
    else
      json_skip(json, NULL);
  }
  if (!is_header)
    return 0;
  if (json_end(json) && format != 1)
    defect(parser, "history format %" PRIu64 ", but this program reads format 1; use a newer one", format);
  if (json->problem) {
    defect_of_json(parser);
    return ERR_BAD_INPUT;
  }
  if (model.data)
    parser->history->model = model;
  parser->history->header = history_text(parser->history, text->data, text->size);
  return 1;
}

static void warn_of_torn_tail(const struct parser *parser, struct error *warning) {
  error_set(warning, ERR_CORRUPT,
            "%s:%" PRIu64 ": the last line has no end and was dropped: its writer was stopped in the middle",
            parser->name, parser->line_number);
}

static int parse_lines(struct parser *parser, struct line_source *source, struct error *warning) {
  struct line_text line;
  int result;
  while ((result = lines_next(source, &line, parser->error)) > 0) {
    parser->line_number = source->number;
    if (!line.finished && !json_is_valid(line.data, line.size)) {
      warn_of_torn_tail(parser, warning);
      return 0;
    }
    if (line_is_blank(&line))
      continue;
    if (source->number == 1) {
      result = parse_header(parser, &line);
      if (result < 0)
        return result;
      if (result > 0)
        continue;
    }
    if (!parse_line(parser, &line))
      return ERR_BAD_INPUT;
  }
  return result;
}

static int parse_source(struct line_source *source, struct history **history, struct error *warning,
                        struct error *error) {
  struct error own = {0};
  struct history *parsed = history_new();
  struct parser parser = {.name = source->name, .history = parsed, .decoder.history = parsed, .error = &own};
  if (warning)
    *warning = (struct error){0};
  const int result = parse_lines(&parser, source, warning);
  process_table_free(&parser.processes);
  id_set_free(&parser.op_ids);
  bytes_free(&parser.decoder.scratch);
  lines_close(source);
  if (result == 0) {
    *history = parsed;
    return 0;
  }
  history_free(parsed);
  if (error)
    *error = own;
  return result;
}

int history_read(const char *path, struct history **history, struct error *warning, struct error *error) {
  struct line_source source;
  const int result = lines_open(&source, path, error);
  return result ? result : parse_source(&source, history, warning, error);
}

int history_parse(const char *name, const char *data, size_t size, struct history **history,
                  struct error *warning, struct error *error) {
  struct line_source source;
  lines_from_memory(&source, name, data, size);
  return parse_source(&source, history, warning, error);
}
