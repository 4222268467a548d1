#!/usr/bin/env bash
# Schedules: told in a file, on the clock and on events; recorded; replayed; wrong ones refused.
source "$(dirname "$0")/lib.sh"
netns_works || { echo "no namespaces here"; exit 77; }

cat >"$scratch/told.json" <<'JSON'
{"schedule": 1, "nodes": 3, "faults": [
  {"fault": "kill-one", "on": {"operation": 200}, "for_ms": 600, "targets": "primary"},
  {"fault": "partition-one", "on": {"election": 1}, "after_ms": 50, "for_ms": 500, "targets": "primary"},
  {"fault": "pause-one", "at_ms": 4500, "for_ms": 300, "targets": ["n3"], "_note": "for people"}]}
JSON
faults='[.faults[].fault] | sort | join(" ")'
json=$("$assay" run --time 6 --clients 8 --client-processes 1 --seed 1 --schedule "$scratch/told.json" --store "$store" --json 2>/dev/null)
[ "$(field "$json" verdict)" = valid ] || fail "the run: $json"
run=$(field "$json" run)
[ "$(jq -r "$faults" "$run/schedule.json")" = "kill-one partition-one pause-one" ] ||
  fail "recorded: $(jq -c "$faults" "$run/schedule.json")"
jq -e '.faults[0]._seen | .operation >= 200 and .election == 0' "$run/schedule.json" >/dev/null ||
  fail "the first came before its operation"
jq -e '.faults[1].on.election >= 1' "$run/schedule.json" >/dev/null || fail "the second came before its election"
# A pause by the clock, of the node that was named.
jq -e '.faults[2] | .targets == ["n3"] and .at_ms >= 4500 and .at_ms < 6000' "$run/schedule.json" >/dev/null ||
  fail "the third: $(jq -c '.faults[2]' "$run/schedule.json")"

expect 0 'Linearizable' "$assay" replay "$run" --store "$store"
again=$(readlink -f "$store/latest")
[ "$(jq -r "$faults" "$again/schedule.json")" = "kill-one partition-one pause-one" ] ||
  fail "replayed: $(jq -c "$faults" "$again/schedule.json")"
expect 0 'invalid in 0 of 2 tries' "$assay" replay "$run" --tries 2 --store "$store"
expect 2 'not found again' "$assay" shrink "$run" --schedule --tries 1 --time-budget 30s --store "$store"

expect 64 'is not a run' "$assay" replay nowhere --store "$store"
expect 64 'for 3 nodes' "$assay" run --nodes 5 --schedule "$scratch/told.json" --store "$store"
expect 64 'cannot open' "$assay" run --schedule "$scratch/none.json" --store "$store"
echo '{"schedule": 1, "faults": [{"fault": "kill-one"}]}' >"$scratch/wrong.json"
expect 64 'wrong.json: fault 1: it needs at_ms' "$assay" run --schedule "$scratch/wrong.json" --store "$store"
expect 64 'is no pace' "$assay" run --fault-every kill --store "$store"
expect_nothing_left "at the end"
finish
