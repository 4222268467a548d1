#!/usr/bin/env bash
# A master whose process may have no more memory goes on, or says so and ends with status 3; never by a signal. What it
# had acknowledged is there again once it has memory.
source "$(dirname "$0")/lib.sh"

client_port=$((20000 + $$ % 10000 * 2)) peer_port=$((20001 + $$ % 10000 * 2))
load() { "$assay" client --address "127.0.0.1:$client_port" --request-timeout 1s "$@"; }
marks=0

for spare_kib in 0 16 64 256 768 1536 3072 6144 12288; do
  "$ASSAY_BIN/assay-master" --id 1 --cluster-id 7 --data "$scratch/data" --member "1=127.0.0.1:$peer_port:$client_port" \
    --snapshot-threshold 2000 >"$scratch/master.log" 2>&1 &
  master=$!
  for mark in $(seq $marks); do
    expect 0 true "$assay" fs exists --address "127.0.0.1:$client_port" "/mark-$mark"
  done
  marks=$((marks + 1))
  expect 0 '' "$assay" fs mkdir --address "127.0.0.1:$client_port" "/mark-$marks"
  has_kib=$(awk '/^VmData/ { print $2 }' "/proc/$master/status")
  prlimit --pid $master --data=$(((has_kib + spare_kib) * 1024))
  load --time 4s --seed $spare_kib --history "$scratch/$spare_kib.jsonl" >/dev/null 2>&1
  if kill -0 $master 2>/dev/null; then
    kill $master
    wait $master
    status=$?
    [ $status -eq 0 ] || [ $status -eq 3 ] || fail "with $spare_kib KiB to spare it ended $status after SIGTERM"
  else
    wait $master
    status=$?
    [ $status -eq 3 ] || fail "with $spare_kib KiB to spare it ended $status, not 3"
    grep -qi 'memory' "$scratch/master.log" || fail "with $spare_kib KiB to spare it does not say why it ended"
    ended=yes
  fi
  [ $failures -eq 0 ] || { tail -n 5 "$scratch/master.log" >&2; break; }
done
[ -n "${ended:-}" ] || fail "no limit was low enough to be met: this test shows nothing"
expect_nothing_left "after masters without memory"
finish
