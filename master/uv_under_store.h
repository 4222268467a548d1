/* uv_under_store.h: real directories as under-store, read on libuv's threads. */
#ifndef ASSAY_MASTER_UV_UNDER_STORE_H
#define ASSAY_MASTER_UV_UNDER_STORE_H

#include <uv.h>

#include "master/under_roots.h"
#include "master/under_store.h"

/* Nothing outside of `roots` (copied) is read. The loop must run until the listings that were closed are
 * gone. */
struct under_store *uv_under_store_new(uv_loop_t *loop, const struct under_roots *roots);
/* Listings must have been closed. */
void uv_under_store_free(struct under_store *store);

#endif
