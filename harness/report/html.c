#include "harness/report/html.h"

#include <stdio.h>

void html_raw(struct bytes *page, const char *markup) {
  bytes_append(page, markup, strlen(markup));
}

/* Length of the UTF-8 sequence at `at`, 0 when there is none (Unicode 15, table 3-7: no overlong forms, no
 * surrogates, nothing above U+10FFFF). */
static size_t sequence(const unsigned char *at) {
  if (at[0] < 0x80)
    return 1;
  if (at[0] < 0xc2 || at[0] > 0xf4)
    return 0;
  const unsigned char low = at[0] == 0xe0 ? 0xa0 : at[0] == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = at[0] == 0xed ? 0x9f : at[0] == 0xf4 ? 0x8f : 0xbf;
  const size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
  if (at[1] < low || at[1] > high)
    return 0;
  for (size_t i = 2; i < length; i++)
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
