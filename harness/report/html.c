#include "harness/report/html.h"

#include <stdio.h>

void html_raw(struct bytes *page, const char *markup) {
  bytes_append(page, markup, strlen(markup));
}

/* Length of the UTF-8 sequence at `at`, 0 when there is none. */
static size_t sequence(const unsigned char *at) {
  if (at[0] < 0x80)
    return 1;
  const size_t length = at[0] >= 0xf0 && at[0] < 0xf5 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc2 ? 2 : 0;
  if (at[0] >= 0xf5)
    return 0;
  for (size_t i = 1; i < length; i++)
    if ((at[i] & 0xc0) != 0x80)
      return 0;
  return length;
}

static const char *escape_of(unsigned char byte) {
  switch (byte) {
  case '&':
    return "&amp;";
  case '<':
    return "&lt;";
  case '>':
    return "&gt;";
  case '"':
    return "&quot;";
  case '\'':
    return "&#39;";
  default:
    /* Control characters are not allowed in HTML, escaped or not. */
    return byte < 0x20 && byte != '\n' && byte != '\t' ? "\xef\xbf\xbd" : NULL;
  }
}

void html_text(struct bytes *page, const char *text) {
  for (const unsigned char *at = (const unsigned char *)text; *at;) {
    const char *escape = escape_of(*at);
    const size_t length = sequence(at);
    if (escape)
      html_raw(page, escape);
    else if (length == 0)
      html_raw(page, "\xef\xbf\xbd");
    else
      bytes_append(page, at, length);
    at += length > 0 ? length : 1;
  }
}

void html_element(struct bytes *page, const char *tag, const char *attributes, const char *text) {
  html_format(page, "<%s%s%s>", tag, attributes ? " " : "", attributes ? attributes : "");
  html_text(page, text);
  html_format(page, "</%s>", tag);
}
