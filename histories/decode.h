/* decode.h: arguments and answers out of JSON. */
#ifndef ASSAY_HISTORIES_DECODE_H
#define ASSAY_HISTORIES_DECODE_H

#include "histories/histories.h"
#include "histories/json.h"

/* What decoding needs beside the text: where to put strings and lists, and memory to gather lists in. */
struct decoder {
  struct json json;
  struct history *history;
  struct bytes scratch;
};

/* Each reads the value that comes next. False: json.problem says why not. Members that the operation does not
 * know are stepped over; null is the same as absent. `arguments` and `answer` must be zero. */
bool decode_arguments(struct decoder *decoder, enum operation_kind kind, struct arguments *arguments);
/* `asked` is what the operation was asked to do. */
bool decode_answer(struct decoder *decoder, const struct arguments *asked, struct answer *answer);
/* The `error` member of a completion: {"code": …, "version": …, "at": …}, or the code alone. The code of
 * anything else becomes ANSWER_OK, of a word that is not known ANSWER_OTHER. */
bool decode_error(struct decoder *decoder, struct answer *answer);

bool decode_text(struct decoder *decoder, struct text *text);

/* A member's name and the bit that stands for it. */
struct member {
  struct text name;
  unsigned bit;
};

#define MEMBER(literal, bit)                                                                                 \
  { {literal, sizeof(literal) - 1}, bit }

/* The bit of `key` among `members`, 0 when it is none of them. Members mostly come in the order in which they
 * are listed, so the search goes on from `*guess`, round the list, and leaves the place behind the found one
 * there. */
unsigned member_find(const struct member *members, size_t count, const struct json_string *key,
                     size_t *guess);
/* Notes in `present` that `bit` was met; a defect when it was met before. */
bool member_once(struct json *json, unsigned *present, unsigned bit);

#endif
