/* interfaces.c: see interfaces.h. */
#include "nemesis/link/interfaces.h"

#include <assert.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/link/veth.h>

static int refused(struct error *error, const char *what, const char *name, int nl_status) {
  return error_set(error, ERR_IO, "cannot %s %s: %s; does the kernel have bridge, veth and tun?", what, name,
                   nl_geterror(nl_status));
}

int interfaces_open(struct nl_sock **socket, struct error *error) {
  *socket = nl_socket_alloc();
  const int status = *socket ? nl_connect(*socket, NETLINK_ROUTE) : -NLE_NOMEM;
  if (status == 0)
    return 0;
  nl_socket_free(*socket);
  *socket = NULL;
  return error_set(error, ERR_IO, "cannot open a netlink socket: %s", nl_geterror(status));
}

void interfaces_close(struct nl_sock *socket) {
  nl_socket_free(socket);
}

static void set_mac(struct rtnl_link *link, const unsigned char mac[MAC_BYTES]) {
  struct nl_addr *address = nl_addr_build(AF_LLC, mac, MAC_BYTES);
  assert(address);
  rtnl_link_set_addr(link, address);
  nl_addr_put(address);
}

int interfaces_add_bridge(struct nl_sock *socket, const char *name, const unsigned char mac[MAC_BYTES],
                          struct error *error) {
  struct rtnl_link *bridge = rtnl_link_bridge_alloc();
  rtnl_link_set_name(bridge, name);
  rtnl_link_set_flags(bridge, IFF_UP);
  set_mac(bridge, mac);
  const int status = rtnl_link_add(socket, bridge, NLM_F_CREATE | NLM_F_EXCL);
  rtnl_link_put(bridge);
  if (status == -NLE_EXIST)
    return error_set(error, ERR_UNSUPPORTED, "there is an interface %s already", name);
  return status == 0 ? 0 : refused(error, "make the bridge", name, status);
}

int interfaces_add_pair(struct nl_sock *socket, const char *name, const char *bridge, const char *far_name,
                        const unsigned char far_mac[MAC_BYTES], int far_network, struct error *error) {
  struct rtnl_link *near = rtnl_link_veth_alloc();
  struct rtnl_link *far = rtnl_link_veth_get_peer(near);
  rtnl_link_set_name(near, name);
  rtnl_link_set_flags(near, IFF_UP);
  rtnl_link_set_master(near, (int)if_nametoindex(bridge));
  rtnl_link_set_name(far, far_name);
  set_mac(far, far_mac);
  rtnl_link_set_ns_fd(far, far_network);
  const int status = rtnl_link_add(socket, near, NLM_F_CREATE | NLM_F_EXCL);
  rtnl_link_put(far);
  rtnl_link_veth_release(near);
  return status == 0 ? 0 : refused(error, "make the pair of veth interfaces", name, status);
}

int interfaces_set_address(struct nl_sock *socket, const char *name, const char *text, struct error *error) {
  struct nl_addr *local = NULL;
  struct rtnl_addr *address = rtnl_addr_alloc();
  int status = nl_addr_parse(text, AF_INET, &local);
  if (status == 0) {
    rtnl_addr_set_ifindex(address, (int)if_nametoindex(name));
    status = rtnl_addr_set_local(address, local);
  }
  if (status == 0)
    status = rtnl_addr_add(socket, address, NLM_F_EXCL);
  nl_addr_put(local);
  rtnl_addr_put(address);
  return status == 0 ? 0 : refused(error, "give an address to", name, status);
}

int interfaces_set_up(struct nl_sock *socket, const char *name, struct error *error) {
  struct rtnl_link *link = rtnl_link_alloc(), *change = rtnl_link_alloc();
  rtnl_link_set_ifindex(link, (int)if_nametoindex(name));
  rtnl_link_set_flags(change, IFF_UP);
  const int status = rtnl_link_change(socket, link, change, 0);
  rtnl_link_put(change);
  rtnl_link_put(link);
  return status == 0 ? 0 : refused(error, "bring up", name, status);
}

void interfaces_remove(struct nl_sock *socket, const char *name) {
  struct rtnl_link *link = rtnl_link_alloc();
  rtnl_link_set_name(link, name);
  rtnl_link_delete(socket, link);
  rtnl_link_put(link);
}
