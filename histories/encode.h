/* encode.h: the lines of a history as text, appended to a buffer, each with its newline. */
#ifndef ASSAY_HISTORIES_ENCODE_H
#define ASSAY_HISTORIES_ENCODE_H

#include "histories/histories.h"

/* What a line of either sort carries besides its arguments or answer. */
struct line_head {
  uint64_t index;
  int64_t time_ns;
  int64_t process;
  uint64_t op_id; /* 0: left out */
};

void encode_invoke(struct bytes *out, const struct line_head *head, const struct arguments *arguments);

/* `node` -1, `term` 0 and `commit` 0 are left out. */
void encode_complete(struct bytes *out, const struct line_head *head, enum outcome outcome,
                     enum operation_kind kind, const struct answer *answer, int32_t node, uint64_t term,
                     uint64_t commit);

/* `value` is JSON text on one line, or absent. */
void encode_nemesis(struct bytes *out, uint64_t index, int64_t time_ns, bool start, struct text f,
                    struct text value);

/* `members` is a JSON object whose members follow the header's own, or NULL; ERR_BAD_INPUT when it is not. */
int encode_header(struct bytes *out, const char *model, const char *members, struct error *error);

/* Appends `value` (JSON text) with the newlines between its tokens taken out; ERR_BAD_INPUT when it is not
 * JSON. `what` names it in the message. */
int encode_json(struct bytes *out, const char *value, const char *what, struct error *error);

/* As a JSON string. Bytes that are not UTF-8 become U+FFFD: nothing that is not JSON is ever written. */
void encode_string(struct bytes *out, struct text text);
void encode_unsigned(struct bytes *out, uint64_t value);

#endif
