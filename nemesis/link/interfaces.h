/* interfaces.h: makes and removes network interfaces, by netlink (rtnetlink(7)).
 *
 * Everything happens in the network namespace in which the socket was opened. */
#ifndef ASSAY_NEMESIS_LINK_INTERFACES_H
#define ASSAY_NEMESIS_LINK_INTERFACES_H

#include "nemesis/link/tap.h"

struct nl_sock;

int interfaces_open(struct nl_sock **socket, struct error *error);
void interfaces_close(struct nl_sock *socket);

/* A bridge that is up. ERR_UNSUPPORTED when there is an interface of that name already. */
int interfaces_add_bridge(struct nl_sock *socket, const char *name, const unsigned char mac[MAC_BYTES],
                          struct error *error);
/* A veth pair: `name`, up, a port of the bridge; the other end is `far_name` in the namespace `far_network`.
 */
int interfaces_add_pair(struct nl_sock *socket, const char *name, const char *bridge, const char *far_name,
                        const unsigned char far_mac[MAC_BYTES], int far_network, struct error *error);
/* `address`: "10.23.0.1/24". The calling thread must be in the socket's namespace. */
int interfaces_set_address(struct nl_sock *socket, const char *name, const char *address,
                           struct error *error);
int interfaces_set_up(struct nl_sock *socket, const char *name, struct error *error);
/* One that is not there is no error. */
void interfaces_remove(struct nl_sock *socket, const char *name);

#endif
