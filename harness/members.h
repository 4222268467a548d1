/* members.h: how the nemesis asks masters who the members of their journal are, and to change them: through
 * the client door, as `assay admin journal quorum` does. */
#ifndef ASSAY_HARNESS_MEMBERS_H
#define ASSAY_HARNESS_MEMBERS_H

#include <uv.h>

#include "base/base.h"
#include "master/rpc/tls.h"
#include "nemesis/nemesis.h"

struct members_asker;

/* The door is the cluster's until members_close. As long as members may change, all nodes that run are asked
 * who they are, too, and `disagree` is told when two say different things of one committed entry; once; may
 * be NULL. `tls` as in master_client_options. */
int members_open(uv_loop_t *loop, struct cluster *cluster, struct tls_context *tls,
                 void (*disagree)(void *context, const char *message), void *context,
                 struct members_asker **asker, struct error *error);

/* What is asked is answered, as if nobody were there; `closed` comes when nothing is left. NULL is fine. */
void members_close(struct members_asker *asker, void (*closed)(void *context), void *context);

#endif
