#!/usr/bin/env bash
# Data of files, through workers: written, read, moved by failures, removed, damaged.
source "$(dirname "$0")/lib.sh"
export ASAN_OPTIONS=detect_leaks=0 # see cluster_test.sh
ports=$(python3 - <<'END' 2>/dev/null || echo "$((20000 + RANDOM % 10000 * 4))"
import socket
held = [socket.socket() for _ in range(6)]
for one in held: one.bind(("127.0.0.1", 0))
print(" ".join(str(one.getsockname()[1]) for one in held))
END
)
set -- $ports
[ $# -eq 6 ] || set -- $(seq "$1" $(($1 + 5)))
members=(--member "1=127.0.0.1:$1:$2" --member "2=127.0.0.1:$3:$4" --member "3=127.0.0.1:$5:$6")
masters=(--master "127.0.0.1:$2" --master "127.0.0.1:$4" --master "127.0.0.1:$6")
on=(--address "127.0.0.1:$2" --address "127.0.0.1:$4" --address "127.0.0.1:$6")
addresses=(x "127.0.0.1:$2" "127.0.0.1:$4" "127.0.0.1:$6")
declare -A pids
trap 'kill -KILL "${pids[@]}" 2>/dev/null; rm -rf "$scratch"' EXIT

master() { # NUMBER
  "$ASSAY_BIN/assay-master" --id "$1" --data "$scratch/m$1" --cluster-id 9 "${members[@]}" --worker-lease 4s \
    2>>"$scratch/m$1.log" &
  pids[m$1]=$!
}
worker() { # NUMBER FLAGS…
  local number=$1
  shift
  "$ASSAY_BIN/assay-worker" --data "$scratch/w$number" "${masters[@]}" "$@" 2>>"$scratch/w$number.log" &
  pids[w$number]=$!
}
end() { # NAME SIGNAL
  kill "-$2" "${pids[$1]}"
  wait "${pids[$1]}" 2>/dev/null
  local code=$?
  unset "pids[$1]"
  return $code
}
fs() { "$assay" fs "$@" "${on[@]}"; }
blocks_of() { find "$scratch/w$1/blocks" -type f 2>/dev/null | wc -l; }
# Waits until the command succeeds, at most 60 s.
until_true() {
  for _ in $(seq 300); do
    "$@" && return 0
    sleep 0.2
  done
  fail "never: $*"
  return 1
}
has_blocks() { [ "$(blocks_of "$1")" -eq "$2" ]; }
placed() { [ "$(fs locate "$1" --json | jq '[.blocks[].workers | length] | min')" -eq "$2" ]; }
primary() { "$assay" admin report "${on[@]}" --json 2>/dev/null | jq .primary; }

# -- wrong usage
expect 64 '--data is missing' "$ASSAY_BIN/assay-worker"
expect 64 '--master is missing' "$ASSAY_BIN/assay-worker" --data "$scratch/x"
expect 64 'is not an address of this machine alone' "$ASSAY_BIN/assay-worker" --data "$scratch/x" \
  --master 127.0.0.1:1 --listen 0.0.0.0:0
expect 64 'takes LOCAL PATH' "$assay" fs put "$scratch/x" "${on[@]}"
expect 64 'cannot read .*/nothing' fs put "$scratch/nothing" /f

for i in 1 2 3; do master $i; done
printf hello >"$scratch/in"
expect 1 'workers live, 1 are needed' fs put "$scratch/in" /f --timeout 5s
expect 1 'no such file' fs stat /f
worker 1
worker 2
until_true grep -q 'serves blocks on' "$scratch/w1.log"
until_true grep -q 'serves blocks on' "$scratch/w2.log"
expect 3 'is in use by another assay-worker' "$ASSAY_BIN/assay-worker" --data "$scratch/w1" "${masters[@]}"

# -- sizes around a block's
for size in 0 1 65535 65536 65537 131072 300000; do
  head -c $size /dev/urandom >"$scratch/in"
  expect 0 '' fs put "$scratch/in" "/d/f$size" --parents --block-size 64K
  expect 0 '' fs get "/d/f$size" "$scratch/out"
  cmp "$scratch/in" "$scratch/out" || fail "$size bytes came back otherwise"
  fs cat "/d/f$size" | cmp - "$scratch/in" || fail "cat of $size bytes"
done
[ "$(fs stat /d/f300000 --json | jq -c '[.length, .blocks, .completed]')" = '[300000,5,true]' ] || fail "$(fs stat /d/f300000)"
expect 1 'exists already' fs put "$scratch/in" /d/f1
printf new | fs put - /d/f1 --overwrite || fail "standard input was not put"
[ "$(fs cat /d/f1)" = new ] || fail "the new content is not there"
expect 1 'is a directory' fs put "$scratch/in" /d --overwrite
expect 1 'no such file' fs get /nothing "$scratch/out"
[ "$(fs ls /d | grep -c put-)" -eq 0 ] || fail "something is left: $(fs ls /d)"
expect 0 '' fs create /open
expect 1 'not complete' fs cat /open
expect 0 '' fs create /hollow
expect 0 '' fs complete /hollow --length 5
expect 1 'nobody keeps its data' fs cat /hollow

# -- a worker that is killed keeps its blocks; the other one has the file meanwhile
head -c 300000 /dev/urandom >"$scratch/in"
expect 0 '' fs put "$scratch/in" /two --block-size 64K --replicas 2
until_true placed /two 2
end w1 KILL
expect 0 '' fs get /two "$scratch/out"
cmp "$scratch/in" "$scratch/out" || fail "the other replica is not the same"
expect 1 'workers live, 2 are needed' fs put "$scratch/in" /three --replicas 2 --timeout 8s
worker 1
until_true placed /two 2

# -- a damaged block is told, is not served, and the other replica is
file=$(find "$scratch/w1/blocks" -type f -name "$(fs locate /two --json | jq '.blocks[2].block')")
printf 'X' | dd of="$file" bs=1 seek=5000 conv=notrunc 2>/dev/null
for _ in $(seq 20); do # whom to ask is a matter of chance
  fs get /two "$scratch/out" && cmp "$scratch/in" "$scratch/out" || fail "the damaged block was read, or nothing was"
done
until_true grep -q 'is not served any more' "$scratch/w1.log"
[ -f "$scratch/w1/corrupt/$(basename "$file")" ] || fail "it is not set aside"
one_place() { [ "$(fs locate /two --json | jq '.blocks[2].workers | length')" -eq 1 ]; }
until_true one_place

# -- the primary is killed in the middle of a put, and the workers go over to the next
head -c 60000000 /dev/urandom >"$scratch/big"
fs put "$scratch/big" /big --block-size 1M --timeout 60s &
put=$!
some_blocks() { [ $(($(blocks_of 1) + $(blocks_of 2))) -ge 20 ]; } # 13 of /two
until_true some_blocks
p=$(primary)
end "m$p" KILL
wait $put || fail "put did not survive the primary"
expect 0 '' fs get /big "$scratch/out" --timeout 60s
cmp "$scratch/big" "$scratch/out" || fail "big came back otherwise"
master "$p"

# -- what belongs to no file any more leaves the disks
expect 0 '' fs rm /d --recursive
expect 0 '' fs rm /big
expect 0 '' fs rm /two
until_true has_blocks 1 0
until_true has_blocks 2 0

# -- a worker without masters takes no blocks, and says why; with room for little it says that
end w2 TERM || fail "worker 2 ended $? on SIGTERM"
expect 0 '' tail -n 1 "$scratch/w2.log"
worker 2 --capacity 100K
again() { [ "$(grep -c 'serves blocks on' "$scratch/w2.log")" -eq 2 ]; }
until_true again
end w1 TERM || fail "worker 1 ended $? on SIGTERM"
only_one() { [ "$("$assay" admin report "${on[@]}" --json | jq '[.workers[] | select(.live)] | length')" -eq 1 ]; }
until_true only_one
expect 1 '--capacity' fs put "$scratch/big" /big --timeout 5s
expect 1 'no such file' fs stat /big

for name in "${!pids[@]}"; do
  end "$name" TERM || fail "$name ended $?"
done

# -- workers beside the masters of a cluster to play with, and of a run
here=(--store "$store")
expect 64 'by hand' "$assay" cluster up --provider ssh --host 127.0.0.1 --workers 1 "${here[@]}"
expect 0 'n1 ' "$assay" cluster up --provider host --nodes 1 --workers 2 "${here[@]}"
head -c 100000 /dev/urandom >"$scratch/in"
expect 0 '' "$assay" fs put "$scratch/in" /f --replicas 2 --block-size 64K "${here[@]}"
"$assay" fs cat /f "${here[@]}" | cmp - "$scratch/in" || fail "cat of what a cluster's workers have"
[ "$("$assay" admin report "${here[@]}" | grep -c ' live ')" -eq 2 ] || fail "not two live workers: $("$assay" admin report "${here[@]}")"
expect 0 '1 nodes stopped' "$assay" cluster down "${here[@]}"
grep -q ' stopped$' "$store/cluster/nodes/worker-2/log" || fail "worker 2 was not ended in order"
expect 0 '' "$assay" run --provider host --workers 1 --time 2s --final 1s --clients 8 --nemesis none --name with-worker "${here[@]}"
grep -q ' stopped$' "$store/with-worker/latest/workers/worker-1/log" "$store/latest/workers/worker-1/log" 2>/dev/null ||
  fail "the run's worker was not ended in order"
expect_nothing_left "at the end"
finish
