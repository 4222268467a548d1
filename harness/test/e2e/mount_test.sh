#!/usr/bin/env bash
# A directory of this machine in the namespace of three masters: what it shows, what is refused, and the primary
# killed while it comes in.
source "$(dirname "$0")/lib.sh"
export ASAN_OPTIONS=detect_leaks=0 # see cluster_test.sh
under=$scratch/under
mkdir -p "$under/d/e" "$scratch/other"
printf '12345' >"$under/a"
printf '123' >"$under/d/b"
ln -s /etc/passwd "$under/link"
mkfifo "$under/pipe"

read -r -a ports < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(6)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))')
members=() addresses=()
declare -A pids
for i in 1 2 3; do
  members+=(--member "$i=127.0.0.1:${ports[2 * i - 2]}:${ports[2 * i - 1]}")
  addresses+=(--address "127.0.0.1:${ports[2 * i - 1]}")
done
start() { # NODE
  "${assay}-master" --id "$1" --data "$scratch/n$1" --cluster-id 77 "${members[@]}" --mount-root "$under" \
    >>"$scratch/n$1.log" 2>&1 &
  pids[$1]=$!
}
trap 'kill "${pids[@]}" 2>/dev/null; wait; rm -rf "$scratch"' EXIT
for i in 1 2 3; do start $i; done
fs() { local command=$1; shift; "$assay" fs "$command" "$@" "${addresses[@]}" --timeout 60s; }
admin() { local command=$1; shift; "$assay" admin "$command" "$@" "${addresses[@]}" --timeout 60s; }
primary() {
  "$assay" admin journal quorum info "${addresses[@]}" 2>/dev/null | awk '/ leads$/ { print $1 }'
}

expect 0 '' fs mkdir /before

# -- what is refused
expect 64 'mount-root takes an absolute directory' "${assay}-master" --id 1 --data "$scratch/x" --cluster-id 77 \
  "${members[@]}" --mount-root /
expect 64 'takes PATH DIR' admin mount /m
expect 1 'start every assay-master .*--mount-root' admin mount /m "$scratch/other"
expect 1 '--mount-root' admin mount /m /etc
expect 1 'absolute paths other than /' admin mount /m "$under/../other"
expect 1 'assay fs mkdir' admin mount /no/m "$under"
expect 1 'exists already' admin mount /before "$under"
expect 1 'nothing is mounted there' admin unmount /m

# -- what it shows
expect 0 '' admin mount /m "$under"
expect 0 "^/m +$under\$" admin mounts
expect 0 '"path":"/m"' admin mounts --json
expect 1 'cannot lie below' admin mount /m/x "$under/d"
expect 1 'mounted already' admin mount /n "$under/d"
expect 0 '2 items' fs ls /m
expect 0 'length +5' fs stat /m/a
expect 0 "source +$under/d/b" fs stat /m/d/b
expect 1 'no such file' fs stat /m/link
expect 1 'invalid' fs rm --recursive /m
expect 1 'invalid' fs mv /m /elsewhere
expect 1 'invalid' fs mv /m/a /a
expect 0 '' fs mv /m/a /m/d/a
expect 0 "source +$under/a\$" fs stat /m/d/a
expect 0 '' fs rm /m/d/b
[ -e "$under/d/b" ] || fail "removing a name touched the directory that is mounted"

# -- contents, through a worker
masters=()
for i in 1 2 3; do masters+=(--master "127.0.0.1:${ports[2 * i - 1]}"); done
worker() {
  "${assay}-worker" --data "$scratch/w" "${masters[@]}" "$@" >>"$scratch/w.log" 2>&1 &
  pids[w]=$!
}
end_worker() { # SIGNAL
  kill "-$1" "${pids[w]}"
  wait "${pids[w]}" 2>/dev/null
  unset "pids[w]"
}
expect 64 'mount-root takes' "${assay}-worker" --data "$scratch/x" "${masters[@]}" --mount-root here
expect 1 'no worker lives' "$assay" fs cat /m/d/a "${addresses[@]}" --timeout 300ms
worker
await_text "$scratch/w.log" 'serves blocks' "${pids[w]}"
expect 1 'lies in no --mount-root of this worker' fs cat /m/d/a
end_worker TERM
worker --mount-root "$under"
[ "$(fs cat /m/d/a)" = 12345 ] || fail "a renamed file has not the content that is mounted"
expect 0 '' fs get /m/d/a "$scratch/copy"
cmp -s "$under/a" "$scratch/copy" || fail "what was read is not what is mounted"
head -c 3000000 /dev/urandom >"$scratch/content"
expect 0 '' fs mkdir /m/new/deep --parents
expect 0 '' fs put "$scratch/content" /m/new/deep/f --block-size 1M
[ ! -e "$under/new" ] || fail "a file that was not persisted is in the directory that is mounted"
expect 0 '' fs put "$scratch/content" /outside
expect 1 'lies below no mount' fs persist /outside
expect 1 'it is a directory' fs persist /m/d
expect 0 "^$under/new/deep/f\$" fs persist /m/new/deep/f
cmp -s "$scratch/content" "$under/new/deep/f" || fail "what was persisted is not what was put"
expect 0 "source +$under/new/deep/f\$" fs stat /m/new/deep/f
expect 0 "^$under/new/deep/f\$" fs persist /m/new/deep/f
fs cat /m/new/deep/f | cmp -s - "$scratch/content" || fail "a persisted file is read otherwise than it was written"
printf 'mine' >"$under/taken"
expect 0 '' fs put "$scratch/content" /m/taken --overwrite
expect 1 'nothing there is replaced' fs persist /m/taken
[ "$(cat "$under/taken")" = mine ] || fail "persist replaced a file"
cp "$scratch/content" "$under/same"
expect 0 '' fs put "$scratch/content" /m/same --overwrite
expect 0 "^$under/same\$" fs persist /m/same
expect 0 '' fs put "$scratch/content" /m/whole
fs persist /m/whole >"$scratch/persisted" 2>&1 &
asked=$!
end_worker KILL
[ ! -e "$under/whole" ] || cmp -s "$scratch/content" "$under/whole" || fail "a part of a file was persisted"
worker --mount-root "$under"
wait $asked || fail "persist did not go on with a worker that came back: $(cat "$scratch/persisted")"
cmp -s "$scratch/content" "$under/whole" || fail "what was persisted in the end is not what was put"
[ -z "$(find "$under" -name '.assay*')" ] || fail "something is left: $(find "$under" -name '.assay*')"
end_worker TERM

# -- what goes away
mkdir "$under/gone"
expect 0 '' admin unmount /m
expect 0 'false' fs exists /m/d/a
expect 0 '' admin mount /m "$under"
expect 0 'true' fs exists /m/gone
rmdir "$under/gone"
expect 3 'cannot be read by the primary' fs stat /m/gone/x
grep -q "mounted directory $under/gone, /m/gone in the namespace, cannot be read: No such file" "$scratch"/n?.log ||
  fail "no master says what cannot be read"
expect 0 '' fs rm --recursive /m/gone
expect 0 '' admin unmount /m

# -- a large directory, and the primary is killed while it comes in
mkdir "$under/many"
(cd "$under/many" && seq -f 'file-%06.0f' 20000 | xargs touch)
for round in 1 2 3; do
  expect 0 '' admin mount /many "$under/many"
  fs stat /many --json >"$scratch/stat" 2>&1 &
  asked=$!
  victim=$(primary)
  if [ -n "$victim" ]; then
    kill -9 "${pids[$victim]}"
    wait "${pids[$victim]}" 2>/dev/null
    start "$victim"
  fi
  wait $asked || fail "nobody could tell what /many is: $(cat "$scratch/stat")"
  expect 0 'children +20000$' fs stat /many
  expect 0 'version +20001$' fs stat /many
  expect 0 '^20000 items' fs ls /many
  expect 0 '' admin unmount /many
done

# -- the same on all nodes, and nothing is left behind
for i in 1 2 3; do
  kill "${pids[$i]}"
  wait "${pids[$i]}" || fail "node $i ended $?: $(tail -3 "$scratch/n$i.log")"
done
pids=()
expect_nothing_left "after the masters were stopped"
trap - EXIT
finish
