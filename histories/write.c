/* write.c: the streaming writer, and whole histories. */
#include <assert.h>
#include <stdlib.h>

#include "histories/arena.h"
#include "histories/encode.h"
#include "histories/output.h"

struct history_writer {
  struct output output;
  uint64_t next_index;
  struct error failure; /* of the first line that could not be written; its code is 0 until then */
};

int history_writer_open(const char *path, const char *model, const char *header,
                        struct history_writer **writer, struct error *error) {
  struct history_writer *opened = xcalloc(1, sizeof *opened);
  int result = output_open(&opened->output, path, error);
  if (result != 0) {
    free(opened);
    return result;
  }
  result = encode_header(&opened->output.buffer, model, header, error);
  if (result == 0)
    result = output_flush(&opened->output, error);
  if (result != 0) {
    output_abandon(&opened->output);
    free(opened);
    return result;
  }
  *writer = opened;
  return 0;
}

static int still_failed(const struct history_writer *writer, struct error *error) {
  if (error)
    *error = writer->failure;
  return writer->failure.code;
}

/* Ends a line: it goes to the kernel, or the writer is done for. */
static int flush_line(struct history_writer *writer, struct error *error) {
  if (output_flush(&writer->output, &writer->failure) != 0)
    return still_failed(writer, error);
  writer->next_index++;
  return 0;
}

int history_write_invoke(struct history_writer *writer, int64_t process, uint64_t op_id,
                         const struct arguments *arguments, int64_t time_ns, struct error *error) {
  if (writer->failure.code)
    return still_failed(writer, error);
  const struct line_head head = {writer->next_index, time_ns, process, op_id};
  encode_invoke(&writer->output.buffer, &head, arguments);
  return flush_line(writer, error);
}

int history_write_complete(struct history_writer *writer, int64_t process, uint64_t op_id,
                           enum outcome outcome, enum operation_kind kind, const struct answer *answer,
                           int64_t time_ns, int32_t node, uint64_t term, uint64_t commit,
                           struct error *error) {
  if (writer->failure.code)
    return still_failed(writer, error);
  const struct line_head head = {writer->next_index, time_ns, process, op_id};
  encode_complete(&writer->output.buffer, &head, outcome, kind, answer, node, term, commit);
  return flush_line(writer, error);
}

int history_write_nemesis(struct history_writer *writer, bool start, const char *f, const char *value,
                          int64_t time_ns, struct error *error) {
  if (writer->failure.code)
    return still_failed(writer, error);
  struct bytes json = {0};
  const int result = value ? encode_json(&json, value, "the value of a nemesis event", error) : 0;
  if (result == 0) {
    const struct text text = {(const char *)json.data, json.size};
    encode_nemesis(&writer->output.buffer, writer->next_index, time_ns, start, text_of(f), text);
  }
  bytes_free(&json);
  return result ? result : flush_line(writer, error);
}

int history_writer_close(struct history_writer *writer, struct error *error) {
  int result;
  if (writer->failure.code) {
    result = still_failed(writer, error);
    output_abandon(&writer->output);
  } else {
    result = output_close(&writer->output, error);
  }
  free(writer);
  return result;
}

/* Whose invocation or completion each event is: twice the operation's position, plus 1 for a completion. */
static uint64_t *map_events(const struct history *history) {
  uint64_t *owners = xcalloc((size_t)history->event_count + 1, sizeof *owners);
  for (size_t i = 0; i < history->count; i++) {
    const struct operation *operation = &history->operations[i];
    owners[operation->invoke_event] = 2 * i;
    if (operation->complete_event != NO_EVENT)
      owners[operation->complete_event] = 2 * i + 1;
  }
  return owners;
}

static uint64_t event_index(const struct history *history, uint64_t owner) {
  const struct operation *operation = &history->operations[owner / 2];
  return owner % 2 ? operation->complete_index : operation->invoke_index;
}

static void encode_event(struct bytes *out, const struct history *history, uint64_t owner) {
  const struct operation *operation = &history->operations[owner / 2];
  struct line_head head = {
      .index = event_index(history, owner), .process = operation->process, .op_id = operation->op_id};
  if (owner % 2 == 0) {
    head.time_ns = operation->invoke_time_ns;
    encode_invoke(out, &head, &operation->arguments);
  } else {
    head.time_ns = operation->complete_time_ns;
    encode_complete(out, &head, operation->outcome, operation->arguments.kind, &operation->answer,
                    operation->node, operation->term, operation->commit);
  }
}

/* Flushed at this size when many lines are written at once. */
#define FLUSH_SIZE ((size_t)1 << 20)

static int save_events(const struct history *history, const uint64_t *owners, struct output *output,
                       struct error *error) {
  uint32_t event = 0;
  size_t nemesis = 0;
  while (event < history->event_count || nemesis < history->nemesis_count) {
    const struct nemesis_event *other = history->nemesis + nemesis;
    if (event == history->event_count ||
        (nemesis < history->nemesis_count && other->index < event_index(history, owners[event]))) {
      encode_nemesis(&output->buffer, other->index, other->time_ns, other->start, other->f, other->text);
      nemesis++;
    } else {
      encode_event(&output->buffer, history, owners[event++]);
    }
    const int result = output->buffer.size >= FLUSH_SIZE ? output_flush(output, error) : 0;
    if (result != 0)
      return result;
  }
  return 0;
}

int history_save(const struct history *history, const char *path, struct error *error) {
  struct output output;
  int result = output_open(&output, path, error);
  if (result != 0)
    return result;
  if (history->header.data) {
    bytes_append(&output.buffer, history->header.data, history->header.size);
    bytes_append(&output.buffer, "\n", 1);
  } else {
    result = encode_header(&output.buffer, history->model.data, NULL, error);
  }
  uint64_t *owners = map_events(history);
  if (result == 0)
    result = save_events(history, owners, &output, error);
  free(owners);
  if (result != 0) {
    output_abandon(&output);
    return result;
  }
  return output_close(&output, error);
}
