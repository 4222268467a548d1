/* json.h: a scanner over one JSON text (RFC 8259), for the lines of a history.
 *
 * It walks the text once and hands out members and values as they come; nothing is built. The caller steps:
 *
 *   json_begin_object(&json);
 *   while (json_next_member(&json, &key))
 *     … json_integer / json_take_string / json_skip …
 *
 * The first defect stays in `problem` and makes every later call return false, so a caller checks once.
 *
 * The text must be followed by one readable byte that no JSON text continues with: the newline that ends a
 * line, or NUL. A newline inside the text is a defect: a history holds one object a line. */
#ifndef ASSAY_HISTORIES_JSON_H
#define ASSAY_HISTORIES_JSON_H

#include "histories/histories.h"

/* Deeper nesting than this is refused: the scanner recurses. */
#define JSON_MAX_DEPTH 64

struct json {
  const char *begin, *at, *end;
  const char *problem; /* static text, NULL while all is well */
  struct text member;  /* the key read last, as it stands: where a problem is */
  bool first;          /* no member or element of the innermost container was read yet */
};

/* A string as it stands in the text, between its quotes. */
struct json_string {
  struct text raw;
  bool escaped; /* contains at least one escape */
};

struct json json_make(const char *data, size_t size);
/* Returns false, so that a failing path reads `return json_fail(…)`. */
bool json_fail(struct json *json, const char *problem);

/* The first byte of the value that comes next; '\n' or NUL at the end. */
static inline char json_peek(struct json *json) {
  while (*json->at == ' ' || *json->at == '\t' || *json->at == '\r')
    json->at++;
  return *json->at;
}

bool json_begin_object(struct json *json);
/* False at the end of the object, or on a defect: see `problem`. The value of the member comes next. */
bool json_next_member(struct json *json, struct json_string *key);
bool json_begin_array(struct json *json);
bool json_next_element(struct json *json);

bool json_take_string(struct json *json, struct json_string *string);
/* Whole numbers only; others are defects. */
bool json_unsigned(struct json *json, uint64_t *value);
bool json_signed(struct json *json, int64_t *value);
bool json_boolean(struct json *json, bool *value);
/* Steps over a null; false without a defect when something else comes next. */
bool json_skip_null(struct json *json);
static inline bool json_null(struct json *json) {
  return json_peek(json) == 'n' && json_skip_null(json);
}
/* Steps over any value, checking it; `span` (may be NULL) becomes its text. */
bool json_skip(struct json *json, struct text *span);
/* Nothing but white space may be left. */
bool json_end(struct json *json);

/* True when the whole of `data` is one JSON value. Sentinel as above. */
bool json_is_valid(const char *data, size_t size);

/* Copies the string, escapes resolved, into `out` (room for raw.size bytes); returns its size. */
size_t json_unescape(const struct json_string *string, char *out);
/* The string with its escapes resolved, in `room` if need be; empty when it does not fit there. For words. */
struct text json_resolve(const struct json_string *string, char *room, size_t size);
bool json_string_is(const struct json_string *string, const char *text);

/* The length of the well-formed UTF-8 sequence at `at`, of which `left` > 0 bytes are readable; 0 when there
 * is none (Unicode 15.0, table 3-7). */
size_t utf8_length(const char *at, size_t left);

#endif
