#!/usr/bin/env bash
# What is kept of runs that do not end well: stacks of a master that hangs, the core of one that crashes, and why not.
source "$(dirname "$0")/lib.sh"

start() { # NAME FLAGS…
  local name=$1
  shift
  "$assay" run --clients 8 --name "$name" --store "$store" --nemesis none --final 500ms "$@" >"$scratch/$name" 2>&1 &
  pid=$!
  await_text "$store/$name/*/events.jsonl" '"phase":"running"' "$pid" || { cat "$scratch/$name" >&2; finish; }
  run=$(readlink -f "$store/latest")
}
master() { pgrep -f -- "--id $1 --data $run/nodes/n$1/data"; } # N: its process, as seen from here

# From outside, behind the nemesis's back.
start hung --time 3s --live-within 2s
kill -STOP "$(master 2)"
wait "$pid"
status=$?
[ $status -eq 1 ] || fail "a cluster with a node that hangs ended $status: $(tail -n 20 "$scratch/hung")"
[ "$(jq -r .violation "$run/result.json")" = liveness ] || fail "the violation is $(jq -r .violation "$run/result.json")"
stacks=$run/logs/stacks-n2.txt
grep -qs 'T (stopped)' "$stacks" || fail "$stacks does not tell that n2 was stopped: $(cat "$stacks")"
grep -qs 'waiting for the cluster to recover' "$stacks" || fail "$stacks does not tell when"
if command -v eu-stack >/dev/null; then
  for name in n2 nemesis client-0; do
    grep -qs ' uv_run' "$run/logs/stacks-$name.txt" || fail "no call stack of $name: $(cat "$run/logs/stacks-$name.txt")"
  done
fi
grep -q '^logs/stacks-n2.txt' "$run/diagnostics.txt" || fail "not in diagnostics.txt: $(cat "$run/diagnostics.txt")"
grep -q 'diagnostics.txt' "$scratch/hung" || fail "the summary does not name diagnostics.txt"
grep -q '^kernel.log: ' "$run/diagnostics.txt" || fail "nothing on kernel messages in diagnostics.txt"
[ -e "$run/kernel.log" ] || fail "kernel.log is missing"
expect_nothing_left "after a node that hung"

start crashed --time 60s
kill -ABRT "$(master 3)"
wait "$pid"
status=$?
[ $status -eq 3 ] || fail "a crashed node ended the run with $status: $(tail -n 20 "$scratch/crashed")"
cores=("$run"/nodes/n3/*core*)
if [ -e "${cores[0]}" ]; then
  grep -q "^${cores[0]#"$run/"}: a core of .*gdb .*assay-master" "$run/diagnostics.txt" || fail "the core is not told: $(cat "$run/diagnostics.txt")"
else
  grep -q '^cores: none would be kept here: .' "$run/diagnostics.txt" || fail "no core and no reason: $(cat "$run/diagnostics.txt")"
fi
expect_nothing_left "after a node that crashed"

# What ends well leaves none of it.
"$assay" run --clients 8 --name good --store "$store" --nemesis none --time 1s --final 0 >"$scratch/good" 2>&1 ||
  fail "a good run ended badly: $(cat "$scratch/good")"
run=$(readlink -f "$store/latest")
for file in diagnostics.txt kernel.log logs/stacks-n1.txt nodes/n1/core; do
  [ ! -e "$run/$file" ] || fail "a good run leaves $file"
done
finish
