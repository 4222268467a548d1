/* tap.c: see tap.h. */
#include "nemesis/link/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEVICE "/dev/net/tun"

/* Frames that wait in the device for us: what arrives while that many do is lost, and a burst of a few
 * connections is longer than the kernel's default of 500. */
#define QUEUE_FRAMES 8192

static int explain(struct error *error) {
  if (errno == EACCES || errno == EPERM)
    return error_set(error, ERR_UNSUPPORTED, DEVICE " may not be opened (chmod 0666 " DEVICE ", or be root)");
  if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
    return error_set(error, ERR_UNSUPPORTED, "there is no " DEVICE " (modprobe tun)");
  return error_set_errno(error, ERR_UNSUPPORTED, "cannot open " DEVICE);
}

int tap_supported(struct error *error) {
  const int fd = open(DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return explain(error);
  close(fd);
  return 0;
}

/* The queue's length belongs to the interface, not to its cable: asked for by name. */
static int set_queue(const char *name) {
  struct ifreq request = {.ifr_qlen = QUEUE_FRAMES};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (any < 0)
    return -1;
  const int status = ioctl(any, SIOCSIFTXQLEN, &request);
  close(any);
  return status;
}

int tap_open(const char *name, const unsigned char mac[MAC_BYTES], int *fd, struct error *error) {
  struct ifreq device = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  struct ifreq address = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};
  snprintf(device.ifr_name, sizeof device.ifr_name, "%s", name);
  memcpy(address.ifr_hwaddr.sa_data, mac, MAC_BYTES);
  const int made = open(DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (made < 0)
    return explain(error);
  if (ioctl(made, TUNSETIFF, &device) != 0 || ioctl(made, SIOCSIFHWADDR, &address) != 0 ||
      set_queue(name) != 0) {
    error_set_errno(error, ERR_IO, "cannot make the TAP device %s", name);
    close(made);
    return ERR_IO;
  }
  *fd = made;
  return 0;
}
