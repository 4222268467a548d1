#include "harness/document.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int document_write(const char *path, const json_t *document, struct error *error) {
  char *text = json_dumps(document, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
  if (!text)
    return error_set(error, ERR_BAD_INPUT, "%s: a text that is not UTF-8 cannot be written as JSON", path);
  struct bytes content = {0};
  bytes_append_format(&content, "%s\n", text);
  free(text);
  const int status = file_replace(path, content.data, content.size, error);
  bytes_free(&content);
  return status;
}

json_t *document_read(const char *path, struct error *error) {
  struct bytes content = {0};
  if (file_read(path, &content, error) != 0) {
    bytes_free(&content);
    return NULL;
  }
  json_error_t defect;
  json_t *document = json_loadb((const char *)content.data, content.size, 0, &defect);
  if (!document)
    error_set(error, ERR_BAD_INPUT, "%s:%d: not JSON: %s", path, defect.line, defect.text);
  bytes_free(&content);
  return document;
}

int64_t document_integer(const json_t *object, const char *member, int64_t otherwise) {
  const json_t *value = json_object_get(object, member);
  return json_is_integer(value) ? (int64_t)json_integer_value(value) : otherwise;
}

double document_number(const json_t *object, const char *member, double otherwise) {
  const json_t *value = json_object_get(object, member);
  return json_is_number(value) ? json_number_value(value) : otherwise;
}

bool document_boolean(const json_t *object, const char *member, bool otherwise) {
  const json_t *value = json_object_get(object, member);
  return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

const char *document_string(const json_t *object, const char *member, const char *otherwise) {
  const json_t *value = json_object_get(object, member);
  return json_is_string(value) ? json_string_value(value) : otherwise;
}

void document_print_line(const json_t *object) {
  char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
  if (text)
    printf("%s\n", text);
  fflush(stdout);
  free(text);
}

const char *count_text(int64_t count, char out[COUNT_TEXT_SIZE]) {
  char digits[24];
  const int length = snprintf(digits, sizeof digits, "%" PRId64, count);
  size_t used = 0;
  for (int i = 0; i < length; i++) {
    if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-')
      out[used++] = ' ';
    out[used++] = digits[i];
  }
  out[used] = '\0';
  return out;
}

const char *duration_text(int64_t duration_ns, char out[COUNT_TEXT_SIZE]) {
  static const struct {
    double size_ns;
    const char *name;
  } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}, {1, "ns"}};
  size_t unit = 0;
  while (unit + 1 < ARRAY_SIZE(units) && (double)duration_ns < units[unit].size_ns)
    unit++;
  const double value = (double)duration_ns / units[unit].size_ns;
  const int decimals = units[unit].size_ns == 1 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  snprintf(out, COUNT_TEXT_SIZE, "%.*f %s", decimals, value, units[unit].name);
  return out;
}
