/* merge.c: the histories of several processes become one.
 *
 * Each input stands in the order of time already, so the next line of the output is always one of the inputs'
 * first lines that are left: one line of each is all that is held. Lines are copied as they stand but for
 * their `index`; what they mean is for history_read() to check. */
#include <inttypes.h>
#include <stdlib.h>

#include "histories/decode.h"
#include "histories/encode.h"
#include "histories/lines.h"
#include "histories/output.h"

#define FLUSH_SIZE ((size_t)1 << 20)

/* One input and its first line that is not written yet. */
struct input {
  struct line_source source;
  bool present; /* there is such a line */
  struct line_text line;
  int64_t time_ns;
  bool completion; /* not an invocation: comes later at equal times */
  size_t before,
      after; /* the line's text is kept up to `before` and from `after` on, the index goes between */
};

static int bad_line(const struct input *input, const struct json *json, struct error *error) {
  return error_set(error, ERR_BAD_INPUT,
                   "%s:%" PRIu64 ": column %td: %s; see histories/README.md for what a line holds",
                   input->source.name, input->source.number, json->at - json->begin + 1, json->problem);
}

/* Finds what ordering and numbering need. */
static int scan_line(struct input *input, struct error *error) {
  struct json json = json_make(input->line.data, input->line.size);
  struct json_string key, type = {0};
  struct text index = {0};
  bool timed = false;
  json_begin_object(&json);
  const char *inside = json.at;
  while (json_next_member(&json, &key)) {
    if (json_string_is(&key, "index"))
      json_skip(&json, &index);
    else if (json_string_is(&key, "time"))
      timed = json_signed(&json, &input->time_ns);
    else if (json_string_is(&key, "type"))
      json_take_string(&json, &type);
    else
      json_skip(&json, NULL);
  }
  if (json_end(&json) && !timed)
    json_fail(&json, "\"time\" is missing");
  if (json.problem)
    return bad_line(input, &json, error);
  input->completion = !type.raw.data || !json_string_is(&type, "invoke");
  const char *start = index.data ? index.data : inside;
  input->before = (size_t)(start - input->line.data);
  input->after = input->before + index.size;
  return 0;
}

/* A header has the member "history"; `model` becomes what it names, if it names one. */
static bool is_header(const struct line_text *line, struct bytes *model) {
  struct json json = json_make(line->data, line->size);
  struct json_string key, name = {0};
  bool header = false;
  json_begin_object(&json);
  while (json_next_member(&json, &key)) {
    header |= json_string_is(&key, "history");
    if (json_string_is(&key, "model") && json_peek(&json) == '"')
      json_take_string(&json, &name);
    else
      json_skip(&json, NULL);
  }
  if (!header || !name.raw.data)
    return header;
  bytes_clear(model);
  unsigned char *at = bytes_reserve(model, name.raw.size + 1);
  model->size = json_unescape(&name, (char *)at);
  at[model->size] = '\0';
  return true;
}

/* Steps to the input's next line, over headers and blank lines; a torn tail is its end. */
static int advance(struct input *input, struct bytes *model, struct error *error) {
  const int64_t last_ns = input->time_ns;
  const bool first = !input->present, completion = input->completion;
  for (;;) {
    const int result = lines_next(&input->source, &input->line, error);
    input->present = result > 0;
    if (result <= 0)
      return result;
    if (!input->line.finished && !json_is_valid(input->line.data, input->line.size)) {
      input->present = false;
      return 0;
    }
    if (!line_is_blank(&input->line) && !(input->source.number == 1 && is_header(&input->line, model)))
      break;
  }
  const int result = scan_line(input, error);
  if (result != 0 || first)
    return result;
  if (input->time_ns < last_ns || (input->time_ns == last_ns && completion && !input->completion))
    return error_set(error, ERR_BAD_INPUT,
                     "%s:%" PRIu64
                     ": stands before the line above in time; put the lines into the order of \"time\", "
                     "invocations first at equal times",
                     input->source.name, input->source.number);
  return 0;
}

static bool comes_first(const struct input *a, const struct input *b) {
  if (a->time_ns != b->time_ns)
    return a->time_ns < b->time_ns;
  return !a->completion && b->completion;
}

/* The inputs are few, so they are simply looked through. NULL when all are at their end. */
static struct input *choose(struct input *inputs, size_t count) {
  struct input *chosen = NULL;
  for (size_t i = 0; i < count; i++)
    if (inputs[i].present && (!chosen || comes_first(&inputs[i], chosen)))
      chosen = &inputs[i];
  return chosen;
}

static void write_line(struct bytes *out, const struct input *input, uint64_t index) {
  const char *data = input->line.data;
  bytes_append(out, data, input->before);
  if (input->before == input->after)
    bytes_append(out, "\"index\":", 8);
  encode_unsigned(out, index);
  if (input->before == input->after)
    bytes_append(out, ",", 1);
  bytes_append(out, data + input->after, input->line.size - input->after);
  bytes_append(out, "\n", 1);
}

static int merge_lines(struct input *inputs, size_t count, struct output *output, struct bytes *model,
                       struct error *error) {
  uint64_t index = 0;
  for (struct input *next; (next = choose(inputs, count));) {
    write_line(&output->buffer, next, index++);
    int result = output->buffer.size >= FLUSH_SIZE ? output_flush(output, error) : 0;
    if (result == 0)
      result = advance(next, model, error);
    if (result != 0)
      return result;
  }
  return 0;
}

/* Opens every input and steps to its first line. All inputs must be of one model. */
static int open_inputs(const char *const *paths, struct input *inputs, size_t count, struct bytes *model,
                       struct error *error) {
  struct bytes other = {0};
  int result = 0;
  for (size_t i = 0; i < count && result == 0; i++) {
    result = lines_open(&inputs[i].source, paths[i], error);
    if (result == 0)
      result = advance(&inputs[i], &other, error);
    if (result != 0 || other.size == 0)
      continue;
    if (model->size == 0)
      bytes_append(model, other.data, other.size + 1);
    else if (strcmp((char *)model->data, (char *)other.data) != 0)
      result = error_set(error, ERR_BAD_INPUT,
                         "%s is a history of model \"%s\", %s of \"%s\"; merge what belongs together",
                         paths[0], (char *)model->data, paths[i], (char *)other.data);
  }
  if (result == 0 && model->size == 0)
    bytes_append(model, "fs", 3);
  bytes_free(&other);
  return result;
}

int history_merge(const char *const *inputs, size_t input_count, const char *output, const char *header,
                  struct error *error) {
  struct input *opened = xcalloc(input_count + 1, sizeof *opened);
  for (size_t i = 0; i < input_count; i++)
    opened[i].source.descriptor = -1;
  struct bytes model = {0};
  struct output out;
  int result = open_inputs(inputs, opened, input_count, &model, error);
  if (result == 0)
    result = output_open(&out, output, error);
  if (result == 0) {
    result = encode_header(&out.buffer, (char *)model.data, header, error);
    if (result == 0)
      result = merge_lines(opened, input_count, &out, &model, error);
    if (result == 0)
      result = output_close(&out, error);
    else
      output_abandon(&out);
  }
  for (size_t i = 0; i < input_count; i++)
    lines_close(&opened[i].source);
  free(opened);
  bytes_free(&model);
  return result;
}
