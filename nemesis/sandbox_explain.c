/* sandbox_explain.c: why a machine does not allow sandboxes, in words that lead to the cure.
 *
 * The kernel says EPERM for half a dozen different reasons. Each of them leaves a trace that can be read
 * without any right. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "nemesis/sandbox.h"

#define OR_ELSE "or run as root, or use the provider host"

/* The number in a file of /proc/sys, or -1. */
static long setting(const char *path) {
  struct bytes content = {0};
  long value = -1;
  if (file_read(path, &content, NULL) == 0 && content.size > 0) {
    bytes_append_u8(&content, '\0');
    value = strtol((const char *)content.data, NULL, 10);
  }
  bytes_free(&content);
  return value;
}

/* In the plain chroot that is not itself a mount point, no mount of "/" is to be seen. */
static bool in_chroot(void) {
  FILE *mounts = fopen("/proc/self/mountinfo", "re");
  if (!mounts)
    return false;
  bool root_seen = false;
  char line[4096], at[2048];
  while (!root_seen && fgets(line, sizeof line, mounts))
    root_seen = sscanf(line, "%*s %*s %*s %*s %2047s", at) == 1 && strcmp(at, "/") == 0;
  fclose(mounts);
  return !root_seen;
}

/* The cure of the cause that this machine shows. */
static const char *cure(int number) {
  if (setting("/proc/sys/user/max_user_namespaces") == 0)
    return "user namespaces are switched off here: sysctl -w user.max_user_namespaces=10000, " OR_ELSE;
  if (setting("/proc/sys/user/max_net_namespaces") == 0)
    return "network namespaces are switched off here: sysctl -w user.max_net_namespaces=10000, or use the "
           "provider host";
  if (number == ENOSPC || number == EUSERS)
    return "the limit on namespaces (/proc/sys/user/max_*_namespaces) is reached: raise it, " OR_ELSE;
  if (number == EINVAL || number == ENOSYS)
    return "this kernel lacks user, network or pid namespaces (Linux >= 5.8 has them): use the provider host";
  if (number != EPERM && number != EACCES)
    return "use the provider host";
  if (geteuid() == 0)
    return "this root lacks CAP_SYS_ADMIN, as in a container: start the container privileged, or use the "
           "provider host";
  if (setting("/proc/sys/kernel/unprivileged_userns_clone") == 0)
    return "only root may make user namespaces here: sysctl -w kernel.unprivileged_userns_clone=1, " OR_ELSE;
  if (setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") > 0)
    return "AppArmor restricts user namespaces here: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, " OR_ELSE;
  if (in_chroot())
    return "the kernel allows no user namespace inside a chroot: leave the chroot, " OR_ELSE;
  return "a container's seccomp filter or a security module forbids it: allow user namespaces there, " OR_ELSE;
}

int sandbox_explain(struct error *error, int number, const char *what) {
  const char *why = cure(number);
  errno = number;
  return error_set(error, ERR_UNSUPPORTED, "%s (%s): %s", what, strerror(number), why);
}
