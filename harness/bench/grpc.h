/* grpc.h: one gRPC connection's client side: calls of one request and one answer each, any number at a time,
 * as HTTP/2 frames (libnghttp2). Pure: it is handed what came and asked for what is to be sent. */
#ifndef ASSAY_HARNESS_BENCH_GRPC_H
#define ASSAY_HARNESS_BENCH_GRPC_H

#include "base/base.h"

struct grpc;

/* `authority` ("127.0.0.1:2379") must stay as long as the connection does. */
struct grpc *grpc_new(const char *authority);
/* Calls that are not answered end with the status -1. NULL: nothing happens. */
void grpc_free(struct grpc *grpc);

/* `status`: of the call, 0: fine; the message is valid during the callback only. -1: the stream ended without
 * one. */
typedef void grpc_done(void *context, int status, const unsigned char *message, size_t size);

/* Calls `method` ("/package.Service/Method", static) with the message that follows its first GRPC_PREFIX
 * bytes in `request`, which are filled in and which this takes over. */
#define GRPC_PREFIX 5u
void grpc_call(struct grpc *grpc, const char *method, struct bytes *request, grpc_done *done, void *context);

/* Takes what came; NULL, or why the connection is of no use any more. */
const char *grpc_receive(struct grpc *grpc, const void *data, size_t size);

/* Appends what is to be sent. */
void grpc_gather(struct grpc *grpc, struct bytes *out);

/* The name of a call's status, static; NULL for 0. */
const char *grpc_status_name(int status);

#endif
