/* json.c: the scanner. Every byte of a string is looked up once in `classes`; what is plain costs no more. */
#include "histories/json.h"

#include <assert.h>
#include <string.h>

enum byte_class { PLAIN, QUOTE, ESCAPE, CONTROL, WIDE };

static const uint8_t classes[256] = {
    [0 ... 0x1F] = CONTROL, ['"'] = QUOTE, ['\\'] = ESCAPE, [0x80 ... 0xFF] = WIDE};

struct json json_make(const char *data, size_t size) {
  return (struct json){.begin = data, .at = data, .end = data + size};
}

bool json_fail(struct json *json, const char *problem) {
  if (!json->problem)
    json->problem = problem;
  return false;
}

static bool expect(struct json *json, char byte, const char *problem) {
  if (json->problem)
    return false;
  if (json_peek(json) != byte)
    return json_fail(json, problem);
  json->at++;
  return true;
}

static inline bool continues(unsigned char byte) {
  return (byte & 0xC0) == 0x80;
}

size_t utf8_length(const char *at, size_t left) {
  const unsigned char *byte = (const unsigned char *)at;
  const unsigned char lead = byte[0];
  if (lead < 0x80)
    return 1;
  if (lead >= 0xC2 && lead <= 0xDF)
    return left >= 2 && continues(byte[1]) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned char low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
    return left >= 3 && byte[1] >= low && byte[1] <= high && continues(byte[2]) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned char low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
    return left >= 4 && byte[1] >= low && byte[1] <= high && continues(byte[2]) && continues(byte[3]) ? 4 : 0;
  }
  return 0;
}

/* Four hexadecimal digits, or -1. */
static int hexadecimal(const char *at) {
  int value = 0;
  for (int i = 0; i < 4; i++) {
    const char digit = at[i];
    if (digit >= '0' && digit <= '9')
      value = value * 16 + (digit - '0');
    else if ((digit | 32) >= 'a' && (digit | 32) <= 'f')
      value = value * 16 + ((digit | 32) - 'a' + 10);
    else
      return -1;
  }
  return value;
}

/* The length of the escape at `at`, 0 when it is malformed. A surrogate counts only as a pair. */
static size_t escape_length(const char *at) {
  assert(*at == '\\');
  if (at[1] != '\0' && strchr("\"\\/bfnrt", at[1]))
    return 2;
  if (at[1] != 'u')
    return 0;
  const int unit = hexadecimal(at + 2);
  if (unit < 0 || (unit >= 0xDC00 && unit <= 0xDFFF))
    return 0;
  if (unit < 0xD800 || unit > 0xDBFF)
    return 6;
  if (at[6] != '\\' || at[7] != 'u')
    return 0;
  const int low = hexadecimal(at + 8);
  return low >= 0xDC00 && low <= 0xDFFF ? 12 : 0;
}

bool json_take_string(struct json *json, struct json_string *string) {
  if (!expect(json, '"', "a string belongs here"))
    return false;
  const char *start = json->at, *at = start;
  bool escaped = false;
  for (;;) {
    while (classes[(unsigned char)*at] == PLAIN)
      at++;
    size_t length = 0;
    const char *problem = "a control character inside a string (or the string has no end)";
    switch (classes[(unsigned char)*at]) {
    case QUOTE:
      *string = (struct json_string){{start, (size_t)(at - start)}, escaped};
      json->at = at + 1;
      return true;
    case ESCAPE:
      problem = "a malformed escape (a surrogate without its other half is one)";
      escaped = true;
      length = escape_length(at);
      break;
    case WIDE:
      problem = "bytes that are not UTF-8";
      length = utf8_length(at, (size_t)(json->end - at));
      break;
    default:
      break;
    }
    if (length == 0) {
      json->at = at;
      return json_fail(json, problem);
    }
    at += length;
  }
}

bool json_begin_object(struct json *json) {
  json->first = true;
  return expect(json, '{', "an object belongs here");
}

bool json_begin_array(struct json *json) {
  json->first = true;
  return expect(json, '[', "a list belongs here");
}

/* Steps to the next member or element; false at `close`. */
static inline bool next_item(struct json *json, char close, const char *problem) {
  if (json->problem)
    return false;
  if (json_peek(json) == close) {
    json->at++;
    json->first = false;
    return false;
  }
  if (!json->first) {
    if (*json->at != ',')
      return json_fail(json, problem);
    json->at++;
  }
  json->first = false;
  return true;
}

bool json_next_member(struct json *json, struct json_string *key) {
  if (!next_item(json, '}', "a comma or the end of the object belongs here") || !json_take_string(json, key))
    return false;
  json->member = key->raw;
  return expect(json, ':', "a colon belongs here");
}

bool json_next_element(struct json *json) {
  return next_item(json, ']', "a comma or the end of the list belongs here");
}

static inline bool is_digit(char byte) {
  return byte >= '0' && byte <= '9';
}

/* Digits without a leading zero; then no fraction and no exponent. */
bool json_unsigned(struct json *json, uint64_t *value) {
  static const char *const problem = "a whole number from 0 to 18446744073709551615 belongs here";
  if (json->problem)
    return false;
  json_peek(json);
  const char *at = json->at;
  uint64_t number = 0;
  while (is_digit(*at)) {
    const uint64_t digit = (uint64_t)(*at - '0');
    if (at - json->at >= 19 && (number > UINT64_MAX / 10 || number * 10 > UINT64_MAX - digit))
      return json_fail(json, problem);
    number = number * 10 + digit;
    at++;
  }
  const bool leading_zero = *json->at == '0' && at - json->at > 1;
  if (at == json->at || leading_zero || *at == '.' || (*at | 32) == 'e')
    return json_fail(json, problem);
  json->at = at;
  *value = number;
  return true;
}

bool json_signed(struct json *json, int64_t *value) {
  static const char *const problem =
      "a whole number from -9223372036854775808 to 9223372036854775807 belongs here";
  if (json->problem)
    return false;
  const bool negative = json_peek(json) == '-';
  json->at += negative;
  uint64_t magnitude = 0;
  const uint64_t most = (uint64_t)INT64_MAX + negative;
  if (!is_digit(*json->at) || !json_unsigned(json, &magnitude) || magnitude > most) {
    json->problem = NULL;
    return json_fail(json, problem);
  }
  *value = (int64_t)(negative ? 0 - magnitude : magnitude);
  return true;
}

static bool literal(struct json *json, const char *word) {
  const size_t size = strlen(word);
  if (strncmp(json->at, word, size) != 0)
    return false;
  json->at += size;
  return true;
}

bool json_boolean(struct json *json, bool *value) {
  if (json->problem)
    return false;
  *value = json_peek(json) == 't';
  return literal(json, *value ? "true" : "false") || json_fail(json, "true or false belongs here");
}

bool json_skip_null(struct json *json) {
  return !json->problem && literal(json, "null");
}

/* RFC 8259, section 6. */
static bool skip_number(struct json *json) {
  const char *at = json->at;
  at += *at == '-';
  if (!is_digit(*at))
    return json_fail(json, "a JSON value belongs here");
  if (*at == '0' && is_digit(at[1]))
    return json_fail(json, "a number begins with 0");
  while (is_digit(*at))
    at++;
  if (*at == '.') {
    if (!is_digit(*++at))
      return json_fail(json, "a digit belongs behind the point");
    while (is_digit(*at))
      at++;
  }
  if ((*at | 32) == 'e') {
    at++;
    at += *at == '+' || *at == '-';
    if (!is_digit(*at))
      return json_fail(json, "a digit belongs into the exponent");
    while (is_digit(*at))
      at++;
  }
  json->at = at;
  return true;
}

static bool skip_value(struct json *json, int depth) {
  if (depth > JSON_MAX_DEPTH)
    return json_fail(json, "nested too deeply");
  struct json_string string;
  switch (json_peek(json)) {
  case '"':
    return json_take_string(json, &string);
  case '{':
    json_begin_object(json);
    while (json_next_member(json, &string))
      skip_value(json, depth + 1);
    return !json->problem;
  case '[':
    json_begin_array(json);
    while (json_next_element(json))
      skip_value(json, depth + 1);
    return !json->problem;
  case 't':
    return literal(json, "true") || json_fail(json, "a JSON value belongs here");
  case 'f':
    return literal(json, "false") || json_fail(json, "a JSON value belongs here");
  case 'n':
    return literal(json, "null") || json_fail(json, "a JSON value belongs here");
  default:
    return skip_number(json);
  }
}

bool json_skip(struct json *json, struct text *span) {
  if (json->problem)
    return false;
  json_peek(json);
  const char *start = json->at;
  if (!skip_value(json, 0))
    return false;
  if (span)
    *span = (struct text){start, (size_t)(json->at - start)};
  return true;
}

bool json_end(struct json *json) {
  if (json->problem)
    return false;
  json_peek(json);
  return json->at == json->end || json_fail(json, "something stands behind the end of the object");
}

bool json_is_valid(const char *data, size_t size) {
  struct json json = json_make(data, size);
  return json_skip(&json, NULL) && json_end(&json);
}

static size_t put_utf8(char *out, unsigned point) {
  if (point < 0x80) {
    out[0] = (char)point;
    return 1;
  }
  if (point < 0x800) {
    out[0] = (char)(0xC0 | point >> 6);
    out[1] = (char)(0x80 | (point & 63));
    return 2;
  }
  if (point < 0x10000) {
    out[0] = (char)(0xE0 | point >> 12);
    out[1] = (char)(0x80 | (point >> 6 & 63));
    out[2] = (char)(0x80 | (point & 63));
    return 3;
  }
  out[0] = (char)(0xF0 | point >> 18);
  out[1] = (char)(0x80 | (point >> 12 & 63));
  out[2] = (char)(0x80 | (point >> 6 & 63));
  out[3] = (char)(0x80 | (point & 63));
  return 4;
}

size_t json_unescape(const struct json_string *string, char *out) {
  const char *at = string->raw.data, *end = at + string->raw.size;
  size_t size = 0;
  while (at < end) {
    if (*at != '\\') {
      out[size++] = *at++;
      continue;
    }
    if (at[1] != 'u') {
      static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
      const char *letter = strchr(letters, at[1]);
      out[size++] = letter ? meanings[letter - letters] : at[1];
      at += 2;
      continue;
    }
    unsigned point = (unsigned)hexadecimal(at + 2);
    at += 6;
    if (point >= 0xD800 && point <= 0xDBFF) {
      point = 0x10000 + ((point - 0xD800) << 10) + ((unsigned)hexadecimal(at + 2) - 0xDC00);
      at += 6;
    }
    size += put_utf8(out + size, point);
  }
  return size;
}

struct text json_resolve(const struct json_string *string, char *room, size_t size) {
  if (!string->escaped)
    return string->raw;
  return (struct text){room, string->raw.size <= size ? json_unescape(string, room) : 0};
}

bool json_string_is(const struct json_string *string, const char *text) {
  char room[64];
  return text_equal(json_resolve(string, room, sizeof room), text_of(text));
}
