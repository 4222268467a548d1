#!/usr/bin/env bash
# A short run in namespaces: valid, everything in the store, the certificate accepted; list and report know it.
source "$(dirname "$0")/lib.sh"
netns_works || { echo "skipped: no namespaces here"; exit 77; }

output=$("$assay" run --time 6s --final 1s --clients 16 --fault-interval 500ms --fault-duration 700ms --seed 7 \
  --name short --store "$store" --json 2>"$scratch/text")
status=$?
json=$(tail -n 1 <<<"$output")
[ $status -eq 0 ] || fail "ended $status: $(cat "$scratch/text")"
[ "$(field "$json" verdict)" = valid ] || fail "verdict: $json"
for key in verdict run operations ok fail info faults elections longest_gap_ms check_seconds counterexample; do
  jq -e "has(\"$key\")" <<<"$json" >/dev/null || fail "the contract's key $key is missing: $json"
done
[ "$(field "$json" ok)" -ge 500 ] || fail "only $(field "$json" ok) operations got an ok"
run=$(field "$json" run)
for file in test.json history.jsonl events.jsonl schedule.json result.json certificate report.html logs/nemesis.log \
  nodes/n1/log nodes/n2/log nodes/n3/log; do
  [ -s "$run/$file" ] || [ -e "$run/$file" ] || fail "$run/$file is missing"
done
[ -e "$run/parts" ] && fail "parts/ should be gone once they are merged"
[ -e "$run/nodes/n1/data" ] && fail "the masters' data should be gone after a good run"
[ "$(readlink -f "$store/latest")" = "$run" ] || fail "latest points at $(readlink -f "$store/latest")"
"$ASSAY_BIN/assay-verify" "$run/history.jsonl" "$run/certificate" >/dev/null || fail "assay-verify refuses the certificate"
[ "$(jq '[.faults[].installed] | add' <<<"$json")" -ge 1 ] || fail "no fault was installed"
[ "$(jq '[.faults[] | .installed - .healed] | add' <<<"$json")" -eq 0 ] || fail "a fault was not healed: $json"
[ "$(field "$json" replicas)" = equal ] || fail "replicas: $(field "$json" replicas)"
expect 0 'valid: [0-9 ]+ operations' "$assay" check "$run"
expect 0 'short +valid' "$assay" list --store "$store"
expect 0 'report.html' "$assay" report latest --store "$store"
grep -q 'Linearizable' "$run/report.html" || fail "the page lacks its sentence"
grep -q 'assay run' "$scratch/text" || fail "the command that repeats the run is not said"
expect_nothing_left "after the run"
finish
