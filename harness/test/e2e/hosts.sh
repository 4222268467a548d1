# Hosts to log in to, without machines: network namespaces on one bridge, a real sshd in each, all of it inside namespaces
# of the test's own that vanish with it. The test itself is on 10.24.0.254 and is the control host.
#
#   in_namespaces "$@"      starts the calling script again in there, once; skips the test where that cannot be
#   hosts_up 3              10.24.0.1 … 10.24.0.3; sets ssh_flags: what assay needs to reach them as n1 … n3
#   at_host 1 command…      runs something there, beside sshd
#   expect_clean 3          complains about what is left on the hosts

in_namespaces() {
  [ "${ASSAY_TEST_INSIDE:-}" != yes ] || return 0
  rm -rf "$scratch"
  command -v sshd >/dev/null || PATH=$PATH:/usr/sbin
  command -v sshd >/dev/null || { echo "skipped: no sshd here (Debian: openssh-server)"; exit 77; }
  [ "$(id -u)" -eq 0 ] || { echo "skipped: sshd changes users, so this takes root"; exit 77; }
  unshare --net --mount --pid --fork true 2>/dev/null || { echo "skipped: no namespaces here"; exit 77; }
  ASSAY_TEST_INSIDE=yes exec unshare --net --mount --pid --fork --kill-child --mount-proc bash "$0" "$@"
}

at_host() {
  local host=$1
  shift
  nsenter --net="/run/netns/host$host" -- "$@"
}

hosts_up() {
  local count=$1 i
  PATH=$PATH:/usr/sbin
  mount -t tmpfs tmpfs /run && mkdir -p /run/sshd /run/netns && chmod 755 /run/sshd
  mkdir "$scratch/home" # not root's own: what its shell does at a login is none of the test's business
  ip link set lo up
  ip link add hosts type bridge && ip addr add 10.24.0.254/24 dev hosts && ip link set hosts up
  [ ! -w /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables
  ssh-keygen -q -t ed25519 -N '' -f "$scratch/key"
  cp "$scratch/key.pub" "$scratch/authorized"
  ssh-keygen -q -t ed25519 -N '' -f "$scratch/hostkey"
  cat >"$scratch/ssh_config" <<END
IdentityFile $scratch/key
IdentitiesOnly yes
UserKnownHostsFile $scratch/known
StrictHostKeyChecking accept-new
END
  ssh_flags=(--provider ssh --ssh-config "$scratch/ssh_config" --agent "$assay agent" --remote-directory "$scratch/remote")
  for ((i = 1; i <= count; i++)); do
    ip netns add "host$i"
    ip link add "h$i" type veth peer name eth0 netns "host$i"
    ip link set "h$i" master hosts up
    at_host "$i" ip link set lo up
    at_host "$i" ip addr add "10.24.0.$i/24" dev eth0
    at_host "$i" ip link set eth0 up
    cat >"$scratch/sshd$i" <<END
ListenAddress 10.24.0.$i
HostKey $scratch/hostkey
AuthorizedKeysFile $scratch/authorized
PidFile $scratch/sshd$i.pid
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
MaxStartups 100
SetEnv HOME=$scratch/home
END
    at_host "$i" "$(command -v sshd)" -f "$scratch/sshd$i" -E "$scratch/sshd$i.log" || fail "sshd $i did not start: $(cat "$scratch/sshd$i.log")"
    ssh_flags+=(--host "n$i=root@10.24.0.$i")
  done
}

# What a run may leave on a host: nothing. Waits for agents that are about to end, at most 30 s.
host_is_clean() {
  [ -z "$(at_host "$1" nft list tables 2>&1)" ] && ! at_host "$1" tc qdisc show | grep -q netem &&
    [ -z "$(ls -A "$scratch/remote" 2>/dev/null | grep -- "-n$1\$")" ] && ! compgen -G "/run/assay-agent-*.json" >/dev/null
}
expect_clean() {
  local count=$1 i
  for ((i = 1; i <= count; i++)); do
    for _ in $(seq 300); do
      ! host_is_clean "$i" || continue 2
      sleep 0.1
    done
    fail "host $i is not clean: $(at_host "$i" nft list tables) $(ls -A "$scratch/remote" /run)"
  done
}
