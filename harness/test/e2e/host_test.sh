#!/usr/bin/env bash
# Without namespaces: plain processes on loopback; partitions are skipped and said to be.
source "$(dirname "$0")/lib.sh"

output=$("$assay" run --provider host --time 5s --final 1s --clients 16 --nemesis partition,kill,pause \
  --fault-interval 400ms --fault-duration 500ms --seed 5 --store "$store" --json 2>"$scratch/text")
status=$?
json=$(tail -n 1 <<<"$output")
[ $status -eq 0 ] || fail "ended $status: $(cat "$scratch/text")"
[ "$(jq '[.faults | to_entries[] | select(.value.family == "partition") | .value.installed] | add // 0' <<<"$json")" -eq 0 ] ||
  fail "a partition was installed without namespaces: $json"
expect_nothing_left "after the run"
expect 2 'Vacuous' "$assay" run --provider host --nemesis partition --time 2s --final 0s --clients 8 --store "$store"

setsid "$assay" run --provider host --time 60s --clients 8 --name killed --store "$store" >"$scratch/killed" 2>&1 &
pid=$!
if await_text "$scratch/killed" "$store/killed" "$pid" &&
  await_text "$store/latest/events.jsonl" '"phase":"running"' "$pid"; then
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null
  expect_nothing_left "after kill -9"
fi
finish
