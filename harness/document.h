/* document.h: JSON documents in files, and how long a line of people's numbers is. */
#ifndef ASSAY_HARNESS_DOCUMENT_H
#define ASSAY_HARNESS_DOCUMENT_H

#include <jansson.h>
#include <stdint.h>

#include "base/base.h"

/* Writes the document, indented, in one step (file_replace). */
int document_write(const char *path, const json_t *document, struct error *error);

/* NULL and an error that names the file, and the line for one that is not JSON. The caller json_decref()s. */
json_t *document_read(const char *path, struct error *error);

/* The member's value, or the default when it is absent or of another type. */
int64_t document_integer(const json_t *object, const char *member, int64_t otherwise);
double document_number(const json_t *object, const char *member, double otherwise);
bool document_boolean(const json_t *object, const char *member, bool otherwise);
const char *document_string(const json_t *object, const char *member, const char *otherwise);

/* Prints one object on one line of standard output and flushes it. */
void document_print_line(const json_t *object);

/* A count with thin groups of three ("1 234 567") into `out`, which it returns. */
#define COUNT_TEXT_SIZE 32
const char *count_text(int64_t count, char out[COUNT_TEXT_SIZE]);

/* A duration in the unit that suits it ("830 µs", "4.21 ms", "12.3 s") into `out`, which it returns. */
const char *duration_text(int64_t duration_ns, char out[COUNT_TEXT_SIZE]);

#endif
