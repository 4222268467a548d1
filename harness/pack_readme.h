/* pack_readme.h: the page that lies in a packed run and says to a stranger what is what. */
#ifndef ASSAY_HARNESS_PACK_README_H
#define ASSAY_HARNESS_PACK_README_H

#include "base/base.h"

/* From what the run's directory holds; a run without a result, or whose documents cannot be read, gets a page
 * that says less. `with_data`: the masters' data is in the pack. Appends to `page`. */
void pack_readme(const char *run, bool with_data, struct bytes *page);

#endif
