/* html.h: putting a page together in memory. Whatever comes from a history or a person goes through
 * html_text(): nothing in a name or a value can become markup. */
#ifndef ASSAY_HARNESS_REPORT_HTML_H
#define ASSAY_HARNESS_REPORT_HTML_H

#include "base/base.h"

/* Markup of our own, as it is. */
void html_raw(struct bytes *page, const char *markup);
#define html_format bytes_append_format

/* Text, escaped for elements and for attributes in double quotes. Bytes that are no UTF-8 become U+FFFD. */
void html_text(struct bytes *page, const char *text);

/* <tag>text</tag>, escaped; `attributes` is markup of our own or NULL. */
void html_element(struct bytes *page, const char *tag, const char *attributes, const char *text);

#endif
